//! What is known of this machine's clock, and how it is said: on checkpoints, in the status, to an assessment.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::sntp::Sample;

/// Where systemd's time service says that it set the clock.
const TIMESYNC: &str = "/run/systemd/timesync";

/// Who keeps the clock, and how well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Time servers were asked, and some answered.
    Ntp(Compared),
    /// Time servers were asked, and none answered.
    Silent {
        /// How many were asked.
        asked: usize,
        /// Why the last of them told no time.
        reason: String,
    },
    /// The machine's own time service says that it set the clock.
    Timesyncd,
    /// It has not set the clock.
    TimesyncdWaits,
    /// Nobody says.
    Unknown,
}

/// What came of asking time servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The one in the middle.
    pub median: Sample,
    /// How many were asked.
    pub asked: usize,
    /// How many answered.
    pub answered: usize,
    /// How far those who answered are apart.
    pub spread: Duration,
    /// When.
    pub at: Timestamp,
}

impl Compared {
    /// The middle of these; of the two in the middle of an even number, the one nearer to this machine's own clock.
    pub(super) fn of(mut samples: Vec<Sample>, asked: usize, at: Timestamp) -> Option<Self> {
        samples.sort_by_key(|sample| sample.offset);
        let (first, last) = (samples.first()?, samples.last()?);
        let spread = last.offset.saturating_sub(first.offset);
        let answered = samples.len();
        let upper = samples.get(answered.div_euclid(2))?;
        let lower = samples.get(answered.saturating_sub(1).div_euclid(2))?;
        let median = if lower.offset.abs() <= upper.offset.abs() {
            lower
        } else {
            upper
        };
        Some(Self {
            median: *median,
            asked,
            answered,
            spread: Duration::try_from(spread).unwrap_or_default(),
            at,
        })
    }
}

/// What the machine's own time service says.
pub(super) fn by_this_machine() -> Kept {
    read(Path::new(TIMESYNC))
}

fn read(directory: &Path) -> Kept {
    if directory.join("synchronized").exists() {
        Kept::Timesyncd
    } else if directory.is_dir() {
        Kept::TimesyncdWaits
    } else {
        Kept::Unknown
    }
}

/// A span in thousandths of `unit`, written with sign and three decimals.
fn thousandths(count: i128, unit: &str) -> String {
    let sign = if count < 0 { '-' } else { '+' };
    let count = count.unsigned_abs();
    format!(
        "{sign}{}.{:03}{unit}",
        count.div_euclid(1000),
        count.rem_euclid(1000)
    )
}

/// A span in milliseconds with its sign.
pub(super) fn millis(span: SignedDuration) -> String {
    thousandths(span.as_micros(), "ms")
}

/// A span in seconds with its sign.
pub(super) fn seconds(span: SignedDuration) -> String {
    thousandths(span.as_millis(), " s")
}

/// The state on a checkpoint's `clock` line.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ntp(compared) => {
                let Sample {
                    server,
                    stratum,
                    offset,
                    dispersion,
                } = compared.median;
                write!(
                    f,
                    "ntp stratum={stratum} offset={} dispersion={}ms server={server} answers={}/{} at={}",
                    millis(offset),
                    dispersion.as_millis(),
                    compared.answered,
                    compared.asked,
                    compared.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                )
            }
            Self::Silent { asked, .. } => write!(f, "ntp silent answers=0/{asked}"),
            Self::Timesyncd => f.write_str("timesyncd synchronised"),
            Self::TimesyncdWaits => f.write_str("timesyncd not synchronised"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the spans of these tests are small"
)]
mod tests {
    use super::super::sntp::tests::ADDRESS;
    use super::*;

    fn sample(millis: i64) -> Sample {
        Sample {
            server: ADDRESS.parse().unwrap(),
            stratum: 2,
            offset: SignedDuration::from_micros(millis * 1000 + 400),
            dispersion: Duration::from_millis(3),
        }
    }

    fn middle(offsets: &[i64]) -> Option<i64> {
        let at = "2026-03-01T10:00:00Z".parse().unwrap();
        let samples = offsets.iter().copied().map(sample).collect();
        let compared = Compared::of(samples, 3, at)?;
        assert_eq!(compared.answered, offsets.len());
        Some(i64::try_from(compared.median.offset.as_millis()).unwrap())
    }

    #[test]
    fn one_liar_among_three_moves_nothing() {
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[7]), Some(7));
        assert_eq!(middle(&[3_600_000, 2, 1]), Some(2));
        assert_eq!(middle(&[-3_600_000, 2, 1]), Some(1));
        assert_eq!(middle(&[3_600_000, 2]), Some(2));
        assert_eq!(middle(&[-3_600_000, 2]), Some(2));
    }

    #[test]
    fn the_state_is_one_line_that_fits_a_checkpoint() {
        let at = "2026-03-01T10:00:00.5Z".parse().unwrap();
        let compared = Compared::of(vec![sample(-12)], 3, at).unwrap();
        let said = Kept::Ntp(compared).to_string();
        assert_eq!(
            said,
            "ntp stratum=2 offset=-11.600ms dispersion=3ms server=192.0.2.1:123 answers=1/3 at=2026-03-01T10:00:00Z"
        );
        assert!(said.len() < 150);
    }

    #[test]
    fn without_servers_the_machine_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("timesync")), Kept::Unknown);
        assert_eq!(read(dir.path()), Kept::TimesyncdWaits);
        std::fs::write(dir.path().join("synchronized"), "").unwrap();
        assert_eq!(read(dir.path()), Kept::Timesyncd);
    }
}
