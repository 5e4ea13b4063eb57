//! `[training]`

use std::time::Duration;

use crate::config::Training;
use crate::config::section::Section;

/// `[training]`
pub(super) fn training(root: &mut Section<'_>) -> Training {
    let mut section = root.table("training");
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    let settings = Training {
        grace: section.within("grace", days(45), days(7)..=days(366)),
        // Not looked for here: a feed that comes later is taken over then, and one that is missing is an alarm.
        feed: section
            .optional::<String>("feed")
            .map(|path| section.document().source().resolve(&path)),
    };
    section.done();
    settings
}
