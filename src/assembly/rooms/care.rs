//! Care relation feeds: on what they stand, and how the status sees them.

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::feeds::{CareFeeds, Condition, FeedError, Ground};

/// Opens the feeds, where some are configured.
///
/// # Errors
/// [`FeedError`] where one can never be followed.
pub(super) async fn open(on: &Foundations<'_>) -> Result<Option<CareFeeds>, FeedError> {
    let Some(settings) = &on.config.care else {
        return Ok(None);
    };
    let ground = Ground {
        settings: settings.clone(),
        policies: on.policies.clone(),
        audit: on.audit.clone(),
        clock: on.clock.clone(),
    };
    CareFeeds::open(ground).await.map(Some)
}

/// What feeds say, and what is wrong with them.
pub(super) fn check(conditions: &[Condition]) -> Check {
    let mut status = Status::Green;
    let mut said = Vec::new();
    for one in conditions {
        let written = one
            .as_of
            .map_or_else(|| "never read".to_owned(), |as_of| format!("of {as_of:.0}"));
        let mut line = format!("{}: {} patients, {written}", one.feed, one.patients);
        if !one.is_fresh {
            line.push_str(", too old: relations are unknown");
        }
        if let Some(problem) = &one.problem {
            line.push_str(": ");
            line.push_str(problem);
        }
        if !one.is_fresh || one.problem.is_some() {
            status = Status::Amber;
        }
        said.push(line);
    }
    Check::advisory("care relations", status, said.join("; "))
}
