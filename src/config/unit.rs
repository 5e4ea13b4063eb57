//! Quantities as people write them: durations (`"15m"`), sizes (`"64KiB"`) and rates (`"600/1m burst 120"`).
//!
//! Each has one form in, one form out, and a message that says what is wrong with anything else.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::Rate;

/// Units of a duration in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of a size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing, or no digits where a number must stand.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// The number has no unit, or one that does not exist here.
    #[error("`{found}` is not a unit; units are {known}")]
    Unit {
        /// What stands after the number.
        found: String,
        /// The units there are.
        known: &'static str,
    },
    /// Units must go from large to small, each at most once.
    #[error("`{0}` does not go from large units to small ones")]
    Order(String),
    /// The quantity does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
    /// A rate without its slash or its burst.
    #[error("`{0}` is not of the form `requests/interval burst requests`")]
    RateForm(String),
    /// A part of a rate that must not be zero.
    #[error("the {0} of a rate must be more than zero")]
    Zero(&'static str),
}

/// Reads a duration: numbers with units `d h m s ms`, from large to small (`"15m"`, `"1h30m"`).
///
/// # Errors
/// [`UnitError`] says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const KNOWN: &str = "d, h, m, s and ms";
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = DURATION_UNITS.as_slice();
    loop {
        let (number, after) =
            split_number(rest).ok_or_else(|| UnitError::NoNumber(rest.to_owned()))?;
        let (unit, after) = split_letters(after);
        if !DURATION_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(UnitError::Unit {
                found: unit.to_owned(),
                known: KNOWN,
            });
        }
        let mut smaller = units.iter();
        let (_, factor) = smaller
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| UnitError::Order(text.to_owned()))?;
        units = smaller.as_slice();
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*factor))
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
        if after.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = after;
    }
}

/// Writes a duration as [`parse_duration`] reads it, to the millisecond.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS {
        let count = rest.checked_div(factor).unwrap_or_default();
        rest = rest.checked_rem(factor).unwrap_or_default();
        if count > 0 {
            text.extend([count.to_string().as_str(), unit]);
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A number of bytes, written with a binary unit (`"64KiB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const KNOWN: &str = "B, KiB, MiB and GiB (1 KiB = 1024 B)";
        let (number, unit) =
            split_number(text).ok_or_else(|| UnitError::NoNumber(text.to_owned()))?;
        let (_, factor) = SIZE_UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| UnitError::Unit {
                found: unit.to_owned(),
                known: KNOWN,
            })?;
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor));
        bytes
            .map(Self)
            .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS
            .into_iter()
            .find(|(_, factor)| self.0 != 0 && self.0.checked_rem(*factor) == Some(0));
        match exact {
            Some((unit, factor)) => write!(
                f,
                "{}{unit}",
                self.0.checked_div(factor).unwrap_or_default()
            ),
            None => f.write_str("0B"),
        }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let form = || UnitError::RateForm(text.to_owned());
        let mut words = text.split_whitespace();
        let (Some(rate), Some("burst"), Some(burst), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(form());
        };
        let (requests, per) = rate.split_once('/').ok_or_else(form)?;
        let per = parse_duration(per)?;
        if per.is_zero() {
            return Err(UnitError::Zero("interval"));
        }
        Ok(Self {
            requests: count(requests, "requests")?,
            per,
            burst: count(burst, "burst")?,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} burst {}",
            self.requests,
            show_duration(self.per),
            self.burst
        )
    }
}

fn count(text: &str, what: &'static str) -> Result<NonZeroU32, UnitError> {
    match split_number(text) {
        Some((number, "")) => {
            let number = number.parse::<u32>().ok();
            let number = number.ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
            NonZeroU32::new(number).ok_or(UnitError::Zero(what))
        }
        Some(_) | None => Err(UnitError::NoNumber(text.to_owned())),
    }
}

/// The digits that `text` starts with and what follows; `None` without a digit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end)
        .filter(|(number, _)| !number.is_empty())
}

/// The text up to the next digit and what follows.
fn split_letters(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_say_what_is_wrong() {
        let ok = |text| parse_duration(text).unwrap();
        assert_eq!(ok("15m"), Duration::from_mins(15));
        assert_eq!(ok("1h30m"), Duration::from_mins(90));
        assert_eq!(ok("500ms"), Duration::from_millis(500));
        assert_eq!(ok("0s"), Duration::ZERO);
        let message = |text| parse_duration(text).unwrap_err().to_string();
        assert_eq!(message(""), "`` does not start with a number");
        assert_eq!(message("-1s"), "`-1s` does not start with a number");
        assert_eq!(
            message("15"),
            "`` is not a unit; units are d, h, m, s and ms"
        );
        assert_eq!(
            message("15 min"),
            "` min` is not a unit; units are d, h, m, s and ms"
        );
        assert_eq!(
            message("30m1h"),
            "`30m1h` does not go from large units to small ones"
        );
        assert_eq!(
            message("1m1m"),
            "`1m1m` does not go from large units to small ones"
        );
        assert_eq!(
            message("99999999999999999999d"),
            "`99999999999999999999d` is too large"
        );
    }

    #[test]
    fn sizes_say_what_is_wrong() {
        assert_eq!("64KiB".parse::<Size>().unwrap(), Size(65_536));
        let message = |text: &str| text.parse::<Size>().unwrap_err().to_string();
        assert_eq!(
            message("64KB"),
            "`KB` is not a unit; units are B, KiB, MiB and GiB (1 KiB = 1024 B)"
        );
        assert_eq!(message("KiB"), "`KiB` does not start with a number");
        assert_eq!(message("99999999999GiB"), "`99999999999GiB` is too large");
    }

    #[test]
    fn rates_say_what_is_wrong() {
        assert_eq!(
            "600/1m burst 120".parse::<Rate>().unwrap().to_string(),
            "600/1m burst 120"
        );
        let message = |text: &str| text.parse::<Rate>().unwrap_err().to_string();
        let form = "is not of the form `requests/interval burst requests`";
        assert_eq!(message("600/1m"), format!("`600/1m` {form}"));
        assert_eq!(message("600 burst 2"), format!("`600 burst 2` {form}"));
        assert_eq!(
            message("0/1m burst 2"),
            "the requests of a rate must be more than zero"
        );
        assert_eq!(
            message("1/1m burst 0"),
            "the burst of a rate must be more than zero"
        );
        assert_eq!(
            message("1/0s burst 1"),
            "the interval of a rate must be more than zero"
        );
        assert_eq!(
            message("1/1m burst 5000000000"),
            "`5000000000` is too large"
        );
        assert_eq!(message("x/1m burst 1"), "`x` does not start with a number");
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(millis in 0..u64::MAX) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_shown_size_reads_back(bytes in any::<u64>()) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn a_shown_rate_reads_back(requests in 1..u32::MAX, burst in 1..u32::MAX, millis in 1..u64::MAX) {
            let rate = Rate {
                requests: NonZeroU32::new(requests).unwrap(),
                per: Duration::from_millis(millis),
                burst: NonZeroU32::new(burst).unwrap(),
            };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            }
            if let Ok(size) = text.parse::<Size>() {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
            if let Ok(rate) = text.parse::<Rate>() {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }
    }
}
