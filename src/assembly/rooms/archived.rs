//! The archive of the trail, as the status sees it.

use crate::admin::health::{Check, Status};
use crate::archive::{Archives, Standing};

/// How the archive is, where one is configured.
pub(super) fn check(archives: Option<&Archives>) -> Option<Check> {
    let (status, detail) = match archives?.standing() {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Look(detail) => (Status::Amber, detail),
        Standing::Bad(detail) => (Status::Red, detail),
    };
    Some(Check::advisory("archive", status, detail))
}
