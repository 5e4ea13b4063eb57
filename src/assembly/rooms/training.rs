//! Training, as the status sees it.

use crate::admin::health::{Check, Status, Weight};
use crate::training::Condition;

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
    Check {
        name: "training".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}
