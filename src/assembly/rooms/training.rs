//! Training: on what it stands, and how the status sees it.

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::audit::follow::Place;
use crate::training::{Condition, Ground, Training, TrainingError};

/// Opens the room.
///
/// # Errors
/// [`TrainingError`] when the store cannot be read.
pub(super) async fn open(on: &Foundations<'_>) -> Result<Training, TrainingError> {
    Training::open(Ground {
        settings: on.config.training.clone(),
        store: on.store.clone(),
        audit: on.audit.clone(),
        place: Place {
            directory: on.trail.clone(),
            master: on.master.clone(),
        },
        policies: on.policies.clone(),
        clock: on.clock.clone(),
    })
    .await
}

/// How people stand with their courses.
pub(super) fn check(condition: &Condition) -> Check {
    let Condition { counts, problems } = condition;
    let behind = counts.iter().any(|count| count.lapsed > 0);
    let mut said: Vec<String> = problems.clone();
    said.extend(counts.iter().map(|count| {
        format!(
            "{}: {} current, {} due, {} urgent, {} lapsed",
            count.course, count.current, count.due, count.urgent, count.lapsed
        )
    }));
    let detail = if counts.is_empty() {
        said.push("the policy bundle has no course".to_owned());
        said.join("; ")
    } else {
        format!("{}; see `chartgate training status`", said.join("; "))
    };
    let status = if behind || !problems.is_empty() {
        Status::Amber
    } else {
        Status::Green
    };
    Check::advisory("training", status, detail)
}
