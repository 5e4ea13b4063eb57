//! Break-glass, as the status sees it.

use super::Foundations;
use crate::admin::health::{Check, Status};
use crate::assembly::StartError;
use crate::operate::break_glass::{self, BreakGlass};

/// Opens the room; grants of before are in force when this returns.
pub(super) async fn open(on: &Foundations<'_>) -> Result<BreakGlass, StartError> {
    let room = BreakGlass::open(break_glass::Ground {
        settings: on.config.break_glass.clone(),
        store: on.store.clone(),
        audit: on.audit.clone(),
        trail: on.trail.clone(),
        master: on.master.clone(),
        policies: on.policies.clone(),
        offers: on.offers.clone(),
        providers: on.identity.clone(),
        clock: on.clock.clone(),
    });
    Ok(room.await?)
}

/// How reviews stand.
pub(super) fn check(condition: break_glass::Condition) -> Check {
    let break_glass::Condition {
        open,
        unreviewed,
        overdue,
        wards,
    } = condition;
    let look = "see `chartgate breakglass list --unreviewed`";
    let wards: Vec<String> = wards
        .into_iter()
        .map(|(ward, until)| {
            let until = until.strftime("%Y-%m-%dT%H:%M:%SZ");
            format!("mass-casualty event on ward {ward} until {until}")
        })
        .collect();
    let (status, detail) = if overdue > 0 {
        (
            Status::Red,
            format!("{overdue} reviews are overdue, {unreviewed} to do, {open} open; {look}"),
        )
    } else if unreviewed > 0 {
        (
            Status::Amber,
            format!("{unreviewed} reviews to do, {open} open; {look}"),
        )
    } else {
        (Status::Green, "none open, every one reviewed".to_owned())
    };
    if wards.is_empty() {
        return Check::advisory("break-glass", status, detail);
    }
    let status = match status {
        Status::Green => Status::Amber,
        Status::Amber | Status::Red => status,
    };
    let wards = wards.join(", ");
    Check::advisory("break-glass", status, format!("{wards}; {detail}"))
}
