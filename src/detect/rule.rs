//! A detection rule, as read and checked.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::matcher::Selection;
pub use crate::config::alarm::Level;

/// What a rule does beside alarming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Ends the user's sessions.
    EndSession,
    /// Ends the user's sessions and locks the user out.
    LockUser,
}

impl Response {
    /// Every response.
    pub const ALL: &'static [Self] = &[Self::EndSession, Self::LockUser];

    /// Its name in rules and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndSession => "end_session",
            Self::LockUser => "lock_user",
        }
    }
}

/// Looks at one record.
#[derive(Debug, Clone)]
pub(super) struct Detection {
    /// The named selections.
    pub(super) selections: Vec<(String, Selection)>,
    /// How they combine; names are positions in `selections`.
    pub(super) condition: Condition,
}

/// How a correlation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// Records, at least so many.
    Events(usize),
    /// Different values of a field, at least so many.
    Values(usize),
    /// Every referenced rule, in any order.
    Together,
    /// Every referenced rule, in the order of the list.
    InOrder,
}

/// Looks at what other rules found, within a sliding window.
#[derive(Debug, Clone)]
pub(super) struct Correlation {
    /// How it counts.
    pub(super) counting: Counting,
    /// The field whose values are counted.
    pub(super) field: Option<String>,
    /// The rules it refers to, by position in the rule set.
    pub(super) rules: Vec<usize>,
    /// What must be the same.
    pub(super) group_by: Vec<String>,
    /// The window.
    pub(super) timespan: Duration,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub(super) enum Logic {
    /// One record.
    Detection(Detection),
    /// Several.
    Correlation(Correlation),
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// A stable name; on every alarm.
    pub name: String,
    /// What a person reads.
    pub title: String,
    /// What the rule is about, and what to do.
    pub description: String,
    /// How serious it is.
    pub level: Level,
    /// What it does beside alarming.
    pub response: Option<Response>,
    /// How long the same alarm about the same user or address is not repeated.
    pub suppress: Duration,
    /// Whether it alarms, or only serves others.
    pub alarms: bool,
    /// Its file, relative to the directory of the rules, and its line there.
    pub place: (PathBuf, usize),
    pub(super) logic: Logic,
}
