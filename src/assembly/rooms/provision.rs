//! Provisioning: on what it stands, and how the status sees it.

use std::sync::Arc;

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::operate::break_glass::BreakGlass;
use crate::operate::containment::Containment;
use crate::provision::{Condition, Ground, ProvisionError, Provisions};

/// Opens the room, where it is configured.
///
/// # Errors
/// [`ProvisionError`] when the store cannot be read.
pub(super) async fn open(
    on: &Foundations<'_>,
    containment: &Arc<Containment>,
    break_glass: &BreakGlass,
) -> Result<Option<Provisions>, ProvisionError> {
    let Some(settings) = &on.config.provisioning else {
        return Ok(None);
    };
    let ground = Ground {
        settings: settings.clone(),
        store: on.store.clone(),
        audit: on.audit.clone(),
        identity: on.identity.clone(),
        containment: containment.clone(),
        break_glass: break_glass.clone(),
        clock: on.clock.clone(),
    };
    Provisions::open(ground).await.map(Some)
}

/// Who is known, and what is wrong.
pub(super) fn check(condition: &Condition) -> Check {
    let Condition {
        people,
        stated,
        inactive,
        left_over,
        problem,
    } = condition;
    let mut said = vec![format!(
        "{people} of the directory, {stated} of the file; {inactive} kept out; see `chartgate provisioning status`"
    )];
    if *left_over > 0 {
        said.push(format!("of {left_over} something is still open"));
    }
    if let Some(problem) = problem {
        said.push(format!("the file is not taken over: {problem}"));
    }
    let status = if problem.is_some() || *left_over > 0 {
        Status::Amber
    } else {
        Status::Green
    };
    Check::advisory("provisioning", status, said.join("; "))
}
