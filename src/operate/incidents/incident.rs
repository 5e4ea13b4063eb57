//! One incident, as it is kept and shown, and the clocks that run from its opening.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{PREFIX, key};

const VERSION: u8 = 1;

/// A time by which somebody has to be told, counted from the opening of the incident: the discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// GDPR Article 33(1): the supervisory authority.
    Gdpr,
    /// HIPAA 45 CFR 164.404(b), 164.408: the individuals, and for 500 or more the Secretary.
    Hipaa,
}

impl Clock {
    /// Every clock, the shorter first.
    pub const ALL: &'static [Self] = &[Self::Gdpr, Self::Hipaa];

    /// Its name and where it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gdpr => "GDPR Art. 33, authority, 72 h",
            Self::Hipaa => "HIPAA 164.404, individuals, 60 days",
        }
    }

    /// When it runs out for what was discovered at `opened`.
    #[must_use]
    pub fn until(self, opened: Timestamp) -> Timestamp {
        let span = match self {
            Self::Gdpr => SignedDuration::from_hours(72),
            Self::Hipaa => SignedDuration::from_hours(60 * 24),
        };
        opened.saturating_add(span).unwrap_or(opened)
    }
}

/// How an incident was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// With what result.
    pub note: String,
}

/// Whether an incident is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its clocks run.
    Open,
    /// It was closed.
    Closed(Ended),
}

/// A bundle that was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// With how many records.
    pub records: u64,
    /// The SHA-256 of the bundle, in hexadecimal.
    pub sha256: String,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    version: u8,
    /// Its number.
    pub number: u64,
    /// What it is about.
    pub title: String,
    /// When it was opened: the discovery.
    pub opened: Timestamp,
    /// Who opened it.
    pub by: String,
    /// Its cases.
    pub cases: BTreeSet<u64>,
    /// The bundles that were packed.
    #[serde(default)]
    pub packed: Vec<Packed>,
    /// Whether it is open.
    pub state: State,
}

impl Incident {
    pub(super) fn opened(number: u64, title: String, case: u64, by: &str, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            number,
            title,
            opened: now,
            by: by.to_owned(),
            cases: BTreeSet::from([case]),
            packed: Vec::new(),
            state: State::Open,
        }
    }

    /// Whether it is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Reads what the store keeps; `None`, with a line in the log, for what this version did not write.
    pub(super) fn decode(at: &str, value: &[u8]) -> Option<Self> {
        if !at.starts_with(PREFIX) {
            return None;
        }
        let incident = serde_json::from_slice::<Self>(value).ok();
        let incident = incident.filter(|i| i.version == VERSION && key(i.number) == at);
        if incident.is_none() {
            tracing::error!(
                key = at,
                "a stored incident cannot be read and was passed over"
            );
        }
        incident
    }
}
