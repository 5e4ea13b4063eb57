//! `[inspection]`

use crate::config::inspection::{Inspection, Mode};
use crate::config::section::Section;
use crate::config::unit::Size;

/// `[inspection]`
pub(super) fn inspection(root: &mut Section<'_>) -> Inspection {
    let mut section = root.table("inspection");
    let usual = Inspection::default();
    let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    let size = |bytes: usize| Size(u64::try_from(bytes).unwrap_or(u64::MAX));
    let settings = Inspection {
        mode: section.or::<Mode>("mode", usual.mode),
        at_most: section.or::<Mode>("at_most", usual.at_most),
        max_values: section.within("max_values", usual.max_values, 1..=10_000),
        max_value_bytes: bytes(section.within(
            "max_value_bytes",
            size(usual.max_value_bytes),
            Size(64)..=Size(1024 * 1024),
        )),
        max_bytes: bytes(section.within(
            "max_bytes",
            size(usual.max_bytes),
            Size(1024)..=Size(4 * 1024 * 1024),
        )),
    };
    section.done();
    settings
}
