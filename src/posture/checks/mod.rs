//! The checks: each a question, the rules it is evidence for, and a function from facts to an answer.
//!
//! A check is added to the table of its area, with a fixture that makes it fail beside it; the test of this module
//! demands both.
//! *Never*: a check that asks the world itself, or that passes where something is not known.

mod archive;
mod backups;
#[cfg(test)]
pub(in crate::posture) mod fixture;
mod keys;
mod monitoring;
mod network;
mod permissions;
mod prevention;
mod sign_in;
#[cfg(test)]
mod tests;
mod trail;
mod training;
mod transport;
mod upkeep;

use serde::Serialize;

use super::facts::Facts;
pub use crate::config::alarm::Level;

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Between browser, gateway and EMR.
    Transport,
    /// Who people are.
    SignIn,
    /// What they may do.
    Permissions,
    /// What is on record.
    Trail,
    /// Keys and secrets.
    Keys,
    /// Copies, and the way back.
    Backups,
    /// The way around the gateway.
    Network,
    /// What is noticed, and who acts.
    Monitoring,
    /// What is kept away from the EMR, from readers' disks, and from people who were not told.
    Prevention,
    /// What people have to know.
    Training,
    /// How the gateway is run.
    Upkeep,
}

impl Area {
    /// Every area, in the order of reports.
    pub const ALL: &'static [Self] = &[
        Self::Transport,
        Self::SignIn,
        Self::Permissions,
        Self::Trail,
        Self::Keys,
        Self::Backups,
        Self::Network,
        Self::Monitoring,
        Self::Prevention,
        Self::Training,
        Self::Upkeep,
    ];

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Transport => "Transport",
            Self::SignIn => "Sign-in",
            Self::Permissions => "Permissions",
            Self::Trail => "Trail",
            Self::Keys => "Keys and secrets",
            Self::Backups => "Backups",
            Self::Network => "Network",
            Self::Monitoring => "Monitoring",
            Self::Prevention => "Prevention",
            Self::Training => "Training",
            Self::Upkeep => "Upkeep",
        }
    }
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name for ever.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// How much it matters when it fails.
    pub level: Level,
    /// What it asks.
    pub asks: &'static str,
    /// The rules that it is evidence for, by citation.
    pub controls: &'static [&'static str],
    /// The answer.
    pub judge: fn(&Facts) -> Verdict,
}

/// The answer of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it must be.
    Pass {
        /// What was seen.
        evidence: String,
    },
    /// It holds, and somebody should look.
    Warn {
        /// What was seen.
        evidence: String,
        /// What to do.
        remedy: String,
    },
    /// It is not as it must be.
    Fail {
        /// What was seen.
        evidence: String,
        /// What to do.
        remedy: String,
    },
    /// There is nothing to check.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It could not be learnt.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// The word in reports and records.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Warn { .. } => "warn",
            Self::Fail { .. } => "fail",
            Self::NotApplicable { .. } => "not_applicable",
            Self::Unknown { .. } => "unknown",
        }
    }
}

fn pass(evidence: impl Into<String>) -> Verdict {
    Verdict::Pass {
        evidence: evidence.into(),
    }
}

fn warn(evidence: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict::Warn {
        evidence: evidence.into(),
        remedy: remedy.into(),
    }
}

fn fail(evidence: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    Verdict::Fail {
        evidence: evidence.into(),
        remedy: remedy.into(),
    }
}

fn unknown(why: &str) -> Verdict {
    Verdict::Unknown {
        why: why.to_owned(),
    }
}

fn not_applicable(why: impl Into<String>) -> Verdict {
    Verdict::NotApplicable { why: why.into() }
}

/// Fails where something was found that must not be there; names the first few.
fn none_of(found: &[String], evidence: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    if found.is_empty() {
        pass(evidence)
    } else {
        fail(named(found), remedy)
    }
}

/// The first few of many, and how many more.
fn named(found: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = found.iter().take(SHOWN).map(String::as_str).collect();
    match found.len().saturating_sub(shown.len()) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// A time span as a person reads it.
fn span(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        u64::MAX => "an unknown time".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How far ahead a time may lie: what counts for the whole of a day, and a clock that is set a little.
const AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_hours(25);

/// How long ago something was. What lies further ahead was written by a clock that was wrong: nobody knows how long ago
/// that is, and it counts as longer than anything.
fn since(at: jiff::Timestamp, facts: &Facts) -> std::time::Duration {
    match std::time::Duration::try_from(facts.now.duration_since(at)) {
        Ok(age) => age,
        Err(_) if at.duration_since(facts.now) <= AHEAD => std::time::Duration::ZERO,
        Err(_) => std::time::Duration::MAX,
    }
}

/// Every check, by area.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
        transport::CHECKS,
        sign_in::CHECKS,
        permissions::CHECKS,
        trail::CHECKS,
        archive::CHECKS,
        keys::CHECKS,
        backups::CHECKS,
        network::CHECKS,
        monitoring::CHECKS,
        prevention::CHECKS,
        training::CHECKS,
        upkeep::CHECKS,
    ]
    .into_iter()
    .flatten()
}
