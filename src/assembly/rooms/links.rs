//! The patient link feed: on what it stands, and how the status sees it.

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::audit::links::Known;
use crate::feeds::links::{Condition, Ground, LinkError, LinkFeed};

/// Opens the feed, where one is configured.
///
/// # Errors
/// [`LinkError`].
pub(super) async fn open(
    on: &Foundations<'_>,
    known: Known,
) -> Result<Option<LinkFeed>, LinkError> {
    let Some(settings) = &on.config.patient_links else {
        return Ok(None);
    };
    let ground = Ground {
        settings: settings.clone(),
        known,
        audit: on.audit.clone(),
        store: on.store.clone(),
    };
    LinkFeed::open(ground).await.map(Some)
}

/// What it says, and what is wrong with it.
pub(super) fn check(condition: &Condition) -> Check {
    let mut said = vec![format!(
        "{} patients with more than one identifier",
        condition.patients
    )];
    said.extend(condition.problems.iter().cloned());
    let status = if condition.problems.is_empty() {
        Status::Green
    } else {
        Status::Amber
    };
    Check::advisory("patient links", status, said.join("; "))
}
