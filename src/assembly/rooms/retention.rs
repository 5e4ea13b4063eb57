//! Retention of the trail, as the status sees it.

use crate::admin::health::{Check, Status};
use crate::audit::answers::Age;
use crate::audit::log::LogError;

/// How old the trail is.
pub(super) fn check(age: Result<Age, LogError>) -> Check {
    let (status, detail) = match age {
        Err(error) => (
            Status::Amber,
            format!("the trail's age is not known: {error}"),
        ),
        Ok(Age {
            oldest,
            segments,
            years,
            over,
        }) => {
            let oldest = oldest.map_or_else(
                || "nothing yet".to_owned(),
                |oldest| oldest.strftime("%Y-%m-%d").to_string(),
            );
            let over = match over {
                0 => String::new(),
                over => format!("; {over} may be removed: see `chartgate audit retention`"),
            };
            let detail = format!(
                "oldest record {oldest}, {segments} segments, kept {years} calendar years{over}"
            );
            (Status::Green, detail)
        }
    };
    Check::advisory("retention", status, detail)
}
