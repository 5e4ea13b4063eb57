//! Whether the gateway can do its work, part by part.

use std::fmt::Debug;

use serde::Serialize;

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Green,
    /// It works; someone should look before it does not.
    Amber,
    /// It does not work.
    Red,
}

/// What it means when a part does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// The gateway cannot serve and must be given no requests.
    Critical,
    /// The gateway serves on; somebody has to act.
    Advisory,
}

/// One part with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name: `trail`, `store`, `certificate:emr.hospital.example`.
    pub name: String,
    /// Its state.
    pub status: Status,
    /// What a red state means.
    pub weight: Weight,
    /// For a person: what was found, and what to do.
    pub detail: String,
}

impl Check {
    /// A part without which the gateway serves on.
    #[must_use]
    pub fn advisory(name: impl Into<String>, status: Status, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status,
            weight: Weight::Advisory,
            detail: detail.into(),
        }
    }
}

/// Who knows how the parts are. Called for each `/readyz`: it must not wait or work.
pub trait Health: Send + Sync + Debug {
    /// The state of every part.
    fn checks(&self) -> Vec<Check>;
}

/// All checks and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether requests may come.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Ready is a gateway none of whose critical parts is red.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        let stops = |check: &Check| check.weight == Weight::Critical && check.status == Status::Red;
        Self {
            ready: !checks.iter().any(stops),
            checks,
        }
    }
}
