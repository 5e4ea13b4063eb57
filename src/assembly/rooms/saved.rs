//! Backups and probes, as the status sees them.

use crate::admin::health::{Check, Status};
use crate::backup::{Backups, Standing};
use crate::segmentation::{self, Probes};

/// What probes around the gateway found.
pub(super) fn segmentation(probes: &Probes) -> Check {
    let (status, detail) = match probes.standing() {
        segmentation::Standing::Fine(detail) => (Status::Green, detail),
        segmentation::Standing::Look(detail) => (Status::Amber, detail),
        segmentation::Standing::Bad(detail) => (Status::Red, detail),
    };
    Check::advisory("segmentation", status, detail)
}

/// How old the newest backup is.
pub(super) fn backup(backups: Option<&Backups>) -> Check {
    let standing = backups.map_or_else(
        || Standing::Look("none is configured: add [backup]".to_owned()),
        Backups::standing,
    );
    let (status, detail) = match standing {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Look(detail) => (Status::Amber, detail),
        Standing::Bad(detail) => (Status::Red, detail),
    };
    Check::advisory("backup", status, detail)
}
