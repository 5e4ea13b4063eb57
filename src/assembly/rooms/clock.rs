//! The clock, as the status sees it.

use crate::admin::health::{Check, Status};
use crate::timekeeping::{Standing, Timekeeping};

/// Whether it is right, and who says so.
pub(super) fn check(timekeeping: &Timekeeping) -> Check {
    let (status, detail) = match timekeeping.standing() {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Look(detail) => (Status::Amber, detail),
    };
    Check::advisory("clock", status, detail)
}
