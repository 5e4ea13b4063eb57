//! `[break_glass]`

use std::time::Duration;

use crate::config::BreakGlass;
use crate::config::section::Section;

/// `[break_glass]`
pub(super) fn break_glass(root: &mut Section<'_>) -> BreakGlass {
    let mut section = root.table("break_glass");
    let (minutes, hours) = (Duration::from_mins, Duration::from_hours);
    let settings = BreakGlass {
        duration: section.within("duration", hours(4), minutes(5)..=hours(24)),
        fresh: section.within("fresh", minutes(5), Duration::from_secs(10)..=hours(12)),
        per_day: section.within("per_day", 3, 1..=100),
        review_within: section.within("review_within", hours(24), hours(1)..=hours(24 * 14)),
    };
    section.done();
    settings
}
