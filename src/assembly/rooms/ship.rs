//! The sinks of the trail, as a room of this gateway.

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::assembly::StartError;
use crate::audit::follow::Place;
use crate::ship::{Ground, Shipping};

pub(super) fn open(on: &Foundations<'_>) -> Result<Shipping, StartError> {
    let ground = Ground {
        audit: on.audit.clone(),
        place: Place {
            directory: on.trail.clone(),
            master: on.master.clone(),
        },
        store: on.store.clone(),
        clock: on.clock.clone(),
    };
    Ok(Shipping::new(&on.config.audit.sinks, ground)?)
}

/// The lines of `chartgate status`.
pub(super) fn checks(shipping: &Shipping) -> Vec<Check> {
    let check = |(name, condition): (&str, crate::ship::Condition)| {
        let last = condition.last.map_or_else(
            || "nothing sent since the start".to_owned(),
            |at| format!("last sent {}", at.strftime("%Y-%m-%d %H:%M:%SZ")),
        );
        let mut said = vec![last, format!("{} records behind", condition.behind)];
        if let Some(newest) = &condition.refused.newest {
            said.push(format!(
                "{} messages it refused for good, the newest of record {} at {} ({})",
                condition.refused.count,
                newest.record,
                newest.at.strftime("%Y-%m-%d %H:%M:%SZ"),
                newest.answer
            ));
        }
        if condition.missed > 0 {
            said.push(format!(
                "{} records were removed before it had them",
                condition.missed
            ));
        }
        let trouble =
            condition.problem.is_some() || condition.refused_lately || condition.missed > 0;
        if let Some(problem) = condition.problem {
            said.push(format!("the last attempt failed: {problem}"));
        }
        let status = if trouble {
            Status::Amber
        } else {
            Status::Green
        };
        Check::advisory(format!("sink:{name}"), status, said.join("; "))
    };
    shipping.sinks().map(check).collect()
}
