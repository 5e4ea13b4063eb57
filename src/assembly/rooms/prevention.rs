//! Inspection and virtual patches, as the status sees them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::admin::health::{Check, Status, Weight};
use crate::emr::emrs::Emrs;

/// What inspection and the patches did since the start, and which patches wait for somebody.
pub(super) fn checks(emrs: &Emrs, now: Timestamp) -> Vec<Check> {
    let (blocked, detected) = emrs.inspection_counts();
    vec![
        Check::advisory(
            "inspection",
            Status::Green,
            format!(
                "{blocked} requests refused, {detected} findings passed on record since the start"
            ),
        ),
        patches(emrs, now),
    ]
}

fn patches(emrs: &Emrs, now: Timestamp) -> Check {
    let today = TimeZone::UTC.to_datetime(now).date();
    let all = emrs.all();
    let mut count = 0_usize;
    let mut hit = Vec::new();
    let mut expired = Vec::new();
    for emr in all.iter() {
        for patch in emr.profile().patches() {
            count = count.saturating_add(1);
            if patch.hits() > 0 {
                hit.push(format!("{} {}", patch.id(), patch.hits()));
            }
            if patch.expires() < today {
                expired.push(format!("{} on {}", patch.id(), patch.expires()));
            }
        }
    }
    let hits = if hit.is_empty() {
        "no hit since the start".to_owned()
    } else {
        format!("hits since the start: {}", hit.join(", "))
    };
    let (status, detail) = if expired.is_empty() {
        (Status::Green, format!("{count} in force; {hits}"))
    } else {
        let expired = expired.join(", ");
        (
            Status::Amber,
            format!(
                "{count} in force; expired, and still in force: {expired}; see whether the EMR is mended; {hits}"
            ),
        )
    };
    Check {
        name: "virtual-patches".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}
