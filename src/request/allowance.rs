//! How often a permit lets one user do what it permits: `20/h`.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// The span that an allowance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// 24 hours.
    Day,
}

impl Span {
    const ALL: &'static [Self] = &[Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// The letter that it is written with.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }

    /// How long it is.
    #[must_use]
    pub const fn time(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
        }
    }
}

/// So many requests in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quota {
    /// How many.
    pub requests: NonZeroU32,
    /// In which time.
    pub span: Span,
}

impl Quota {
    /// The most requests that can be written; more is no limit.
    pub const MOST: u32 = 100_000;

    /// Reads `20/h`: a whole number from 1 to [`Quota::MOST`], and `s`, `m`, `h` or `d`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (requests, span) = text.split_once('/')?;
        // `u32::from_str` would take a sign.
        let digits = !requests.is_empty() && requests.bytes().all(|b| b.is_ascii_digit());
        let requests = requests.parse().ok().filter(|_| digits)?;
        let span = Span::ALL.iter().find(|one| one.letter() == span)?;
        (requests <= Self::MOST).then_some(())?;
        Some(Self {
            requests: NonZeroU32::new(requests)?,
            span: *span,
        })
    }

    /// The time after which one request more is allowed.
    #[must_use]
    pub fn interval(self) -> Duration {
        let interval = self.span.time().checked_div(self.requests.get());
        interval.unwrap_or(Duration::ZERO)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.span.letter())
    }
}

/// The quota of one permit. It is counted for each user and permit by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// The permit's id.
    pub permit: Arc<str>,
    /// How often.
    pub quota: Quota,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_in_a_span_and_is_said_as_it_is_written() {
        for text in ["1/s", "20/h", "5/m", "100000/d"] {
            let quota = Quota::parse(text).unwrap();
            assert_eq!(quota.to_string(), text);
        }
        for wrong in [
            "",
            "20",
            "/h",
            "0/h",
            "-1/h",
            "+1/h",
            "20/",
            "20/H",
            "20/hour",
            "20/1h",
            "20 / h",
            "1.5/h",
            "100001/d",
            "99999999999/d",
            "２/h",
        ] {
            assert_eq!(Quota::parse(wrong), None, "{wrong}");
        }
        let interval = Quota::parse("20/h").unwrap().interval();
        assert_eq!(interval, Duration::from_mins(3));
    }
}
