//! Break-glass, as the status sees it.

use crate::admin::health::{Check, Status, Weight};
use crate::operate::break_glass;

/// How reviews stand.
pub(super) fn check(condition: break_glass::Condition) -> Check {
    let break_glass::Condition {
        open,
        unreviewed,
        overdue,
    } = condition;
    let look = "see `chartgate breakglass list --unreviewed`";
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
    Check {
        name: "break-glass".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}
