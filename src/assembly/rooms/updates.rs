//! Known vulnerabilities, as the status sees them.

use crate::admin::health::{Check, Status};
use crate::posture::updates::State;

/// How the newest comparison stands.
pub(super) fn check(state: &State) -> Check {
    let (status, detail) = match state {
        State::NoFeed => (
            Status::Amber,
            "no advisory feed is configured (`update.feed`); nobody compares this build".to_owned(),
        ),
        State::Unknown(problem) => (Status::Amber, problem.clone()),
        State::Stale(newest) => (
            Status::Amber,
            format!(
                "the advisory feed is old: its newest record is of {}",
                newest.feed_newest
            ),
        ),
        State::Known(newest) if newest.findings.is_empty() => (
            Status::Green,
            format!(
                "nothing known against {} components, feed of {}",
                newest.components, newest.feed_newest
            ),
        ),
        State::Known(newest) => (
            Status::Red,
            format!(
                "{} known vulnerabilities; see `chartgate update check`",
                newest.findings.len()
            ),
        ),
    };
    Check::advisory("updates", status, detail)
}
