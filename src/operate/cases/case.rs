//! One case, as it is kept, shown and put on record.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MOST_RECORDS, PREFIX, key};

/// How much harm may be done.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// To be looked at when there is time.
    Low,
    /// To be looked at today.
    #[default]
    Medium,
    /// To be looked at now.
    High,
    /// To be acted on now.
    Critical,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: &'static [Self] = &[Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word for it, in records and commands.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where a case comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A detection rule or a check fired.
    Alarm,
    /// A user reported something suspicious.
    Report,
    /// A use of break-glass needs a closer look.
    BreakGlass,
    /// An operator opened it.
    Operator,
    /// An incident was opened without a case.
    Incident,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Report => "report",
            Self::BreakGlass => "break-glass",
            Self::Operator => "operator",
            Self::Incident => "incident",
        }
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What was suspected had happened.
    Confirmed,
    /// Nothing wrong had happened.
    FalseAlarm,
    /// The cause was put right.
    Resolved,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::FalseAlarm => "false-alarm",
            Self::Resolved => "resolved",
        }
    }
}

/// What a case is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Where it comes from.
    pub kind: Kind,
    /// What it is about, in a line.
    pub title: String,
    /// How much harm may be done.
    pub level: Level,
    /// The rule that fired, by its stable id. Without one, nothing is joined.
    pub rule: Option<String>,
    /// The user it is about: stable id, or name.
    pub user: Option<String>,
    /// The patient it is about.
    pub patient: Option<String>,
    /// The ids of the trail's entries that belong to it.
    pub records: BTreeSet<String>,
    /// Who opened it: an operator, a user, or a rule.
    pub by: String,
}

/// A note on a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub text: String,
}

/// How a case was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// With what outcome.
    pub outcome: Outcome,
    /// Why.
    pub note: String,
}

/// Whether a case is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Somebody has to look into it.
    Open,
    /// It was closed.
    Closed(Ended),
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    version: u8,
    /// Its number.
    pub number: u64,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was last joined by the same rule.
    pub latest: Timestamp,
    /// How often its cause occurred.
    pub occurrences: u64,
    /// Where it comes from.
    pub kind: Kind,
    /// What it is about.
    pub title: String,
    /// How much harm may be done.
    pub level: Level,
    /// The rule that fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The patient it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The ids of the trail's entries that belong to it.
    pub records: BTreeSet<String>,
    /// How many more there are than a case names.
    #[serde(default)]
    pub more_records: u64,
    /// Who opened it.
    pub by: String,
    /// Notes.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Whether it is open.
    pub state: State,
}

/// What a listing says of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub number: u64,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was last joined.
    pub latest: Timestamp,
    /// Where it comes from.
    pub kind: Kind,
    /// What it is about.
    pub title: String,
    /// How much harm may be done.
    pub level: Level,
    /// The rule that fired.
    pub rule: Option<String>,
    /// The user it is about.
    pub user: Option<String>,
    /// The patient it is about.
    pub patient: Option<String>,
    /// How often its cause occurred.
    pub occurrences: u64,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

const VERSION: u8 = 1;

impl Case {
    pub(super) fn opened(number: u64, opening: Opening, now: Timestamp) -> Self {
        let mut case = Self {
            version: VERSION,
            number,
            opened: now,
            latest: now,
            occurrences: 1,
            kind: opening.kind,
            title: opening.title,
            level: opening.level,
            rule: opening.rule,
            user: opening.user,
            patient: opening.patient,
            records: BTreeSet::new(),
            more_records: 0,
            by: opening.by,
            notes: Vec::new(),
            state: State::Open,
        };
        case.add(&opening.records);
        case
    }

    /// The same happened again.
    pub(super) fn join(&mut self, again: &Opening, now: Timestamp) {
        self.latest = now;
        self.occurrences = self.occurrences.saturating_add(1);
        self.level = self.level.max(again.level);
        if self.patient.is_none() {
            self.patient.clone_from(&again.patient);
        }
        self.add(&again.records);
    }

    pub(super) fn add(&mut self, records: &BTreeSet<String>) {
        for record in records {
            if self.records.contains(record) {
                continue;
            }
            if self.records.len() < MOST_RECORDS {
                self.records.insert(record.clone());
            } else {
                self.more_records = self.more_records.saturating_add(1);
            }
        }
    }

    /// Whether it is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// What a listing says of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            number: self.number,
            opened: self.opened,
            latest: self.latest,
            kind: self.kind,
            title: self.title.clone(),
            level: self.level,
            rule: self.rule.clone(),
            user: self.user.clone(),
            patient: self.patient.clone(),
            occurrences: self.occurrences,
            outcome: match &self.state {
                State::Open => None,
                State::Closed(ended) => Some(ended.outcome),
            },
        }
    }

    /// The particulars of the record of its opening.
    pub(super) fn as_recorded(&self) -> BTreeMap<String, String> {
        let mut detail = BTreeMap::from([
            ("case".to_owned(), self.number.to_string()),
            ("kind".to_owned(), self.kind.word().to_owned()),
            ("title".to_owned(), self.title.clone()),
            ("level".to_owned(), self.level.word().to_owned()),
            ("by".to_owned(), self.by.clone()),
        ]);
        let optional = [
            ("rule", &self.rule),
            ("user", &self.user),
            ("patient", &self.patient),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                detail.insert(key.to_owned(), value.clone());
            }
        }
        if !self.records.is_empty() {
            // As many as fit into a record beside the rest; the case itself names them all.
            let named: Vec<&str> = self.records.iter().take(50).map(String::as_str).collect();
            detail.insert("records".to_owned(), named.join(" "));
        }
        detail
    }

    /// Reads what the store keeps; `None`, with a line in the log, for what this version did not write.
    pub(super) fn decode(at: &str, value: &[u8]) -> Option<Self> {
        if !at.starts_with(PREFIX) {
            return None;
        }
        let case = serde_json::from_slice::<Self>(value).ok();
        let case = case.filter(|case| case.version == VERSION && key(case.number) == at);
        if case.is_none() {
            tracing::error!(key = at, "a stored case cannot be read and was passed over");
        }
        case
    }
}
