//! Until when a user's training holds, by a claim of their provider. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::claims::numeric_date;
use crate::request::handled::TRAINING_VALID_UNTIL;

/// The longest text that can be a date and time.
const LONGEST_TIME: usize = 40;

/// What a provider states of a user's training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatedTraining {
    /// Nothing.
    Nothing,
    /// It holds until then.
    Until(Timestamp),
    /// Something that is no date.
    Unreadable,
}

impl StatedTraining {
    /// As a particular of a record; nothing where nothing is known.
    #[must_use]
    pub fn particular(self) -> Option<(String, String)> {
        match self {
            Self::Until(until) => Some((TRAINING_VALID_UNTIL.to_owned(), until.to_string())),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

/// A date (all of that day, UTC), an RFC 3339 time, or a `NumericDate`.
pub(super) fn stated_training(value: Option<&Value>) -> StatedTraining {
    let until = match value {
        None | Some(Value::Null) => return StatedTraining::Nothing,
        Some(Value::String(text)) if text.len() <= LONGEST_TIME => {
            let end_of_day = |day: jiff::civil::Date| {
                let next = day.tomorrow().ok()?;
                Some(next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
            };
            let time = text.parse::<Timestamp>().ok();
            let is_date = text.len() == "2027-03-31".len();
            time.or_else(|| end_of_day(text.parse().ok().filter(|_| is_date)?))
        }
        Some(number @ Value::Number(_)) => numeric_date(number),
        Some(_) => None,
    };
    until.map_or(StatedTraining::Unreadable, StatedTraining::Until)
}
