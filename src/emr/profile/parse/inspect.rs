//! Reads what a profile says about inspection.

use super::super::Modes;
use super::super::problem::Problems;
use super::super::raw::RawInspect;

/// `inspect = { .. }` of a route.
pub(super) fn modes(raw: &RawInspect) -> Modes {
    Modes {
        mode: raw.mode,
        fields: raw.fields.clone(),
    }
}

/// `[inspect]`
pub(super) fn of_profile(raw: &RawInspect, line: usize, problems: &mut Problems<'_>) -> Modes {
    if raw.body.is_some() {
        problems.add(
            line,
            "`body` belongs to a route: which bodies are read is said of each by itself",
            "write it in `inspect = { .. }` of the routes",
        );
    }
    modes(raw)
}
