//! What a request would mean, asked without a gateway and without an EMR: for explanations of a policy's author.
//!
//! *Never*: on the request path. It shares the choice of the route, the reading of fields, the patches and the
//! inspection with [`super::map`].

use std::time::Duration;

use super::choose::{Beyond, choose};
use super::inspection::Inspection;
use super::map::{check_head, mapping_of};
use super::overrides;
use super::patches::Applied;
use super::profile::{Need, PatientRule, Profile};
use crate::config;
use crate::refusal::Refusal;
use crate::request::Received;
use crate::request::facts::Mapping;

/// A body at hand is read at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What a request would mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// Route, action, section, the patients that the request names, and what inspection finds.
    pub mapping: Mapping,
    /// Whose chart it is about beside those.
    pub chart: Chart,
    /// Why a virtual patch or the inspection refuses it, if one does.
    pub refused: Option<Refusal>,
}

/// Whose chart a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// That of the patients it names, or nobody's.
    Named,
    /// That of the patient who is selected in the EMR session.
    Selected,
    /// Somebody's must be named, and none is: refused before policy is asked.
    Missing,
}

/// Finds out what `received` means to `profile`.
///
/// # Errors
/// The [`Refusal`] of a request with two readings.
pub async fn rehearse(
    profile: &Profile,
    received: &mut Received,
    settings: config::inspection::Inspection,
) -> Result<Rehearsed, Refusal> {
    overrides::refuse_in_head(&received.parts().headers, &received.parts().target)?;
    let mut choice = choose(profile, received, AT_ONCE).await?;
    let route = choice.route.clone();
    check_head(received, route.as_deref())?;
    let mut mapping = mapping_of(route.as_deref());
    let applied = Applied::to(profile, received);
    if let Some(route) = route.as_deref() {
        let beyond = Beyond {
            patched: applied.need(),
            ..Beyond::default()
        };
        choice.complete(route, beyond, received, AT_ONCE).await?;
    }
    let patched = applied.refuse(&choice, received, &mut mapping.inspected);
    let looked = patched.and_then(|()| {
        Inspection::new(settings).examine(
            profile,
            route.as_deref(),
            &choice,
            received,
            &mut mapping.inspected,
        )
    });
    let refused = looked.err();
    let Some(route) = route else {
        return Ok(Rehearsed {
            mapping,
            chart: Chart::Named,
            refused,
        });
    };
    let inputs = choice.inputs(received);
    if refused.is_none() {
        mapping.patients = inputs.patients(route.patient(), choice.path, &|_, _| None)?;
        mapping.fields = inputs.recorded(&route)?;
    }
    let chart = if *route.patient() == PatientRule::Sticky {
        Chart::Selected
    } else if mapping.patients.is_empty() && route.need() == Need::Required {
        Chart::Missing
    } else {
        Chart::Named
    };
    Ok(Rehearsed {
        mapping,
        chart,
        refused,
    })
}
