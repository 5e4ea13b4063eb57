//! Decision tables: what a bundle's authors expect of it, written beside the policies in `tests/*.toml`.
//!
//! A `[[case]]` names who, what and when, and the answer; a `[[matrix]]` names everything that someone may do, and
//! what it does not name must be refused. A bundle that misses its own tables is not put in force by a running
//! gateway.
//!
//! *Never*: an expectation that is skipped. A word that the bundle does not know keeps it from loading.

mod raw;
mod read;
mod run;
mod situation;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(super) use read::Words;
pub use run::{Miss, Report};

use super::scene::Scene;
use crate::request::facts::Verdict;

/// Most questions that the tables of a bundle may ask.
const MOST_QUESTIONS: usize = 100_000;

/// One question with the answer that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The file, relative to the bundle's directory.
    pub file: PathBuf,
    /// The line of its case or matrix, from 1.
    pub line: usize,
    /// The name of its case or matrix.
    pub name: String,
    /// The question.
    pub scene: Scene,
    /// The answer.
    pub answer: Answer,
}

/// An expected answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Allow or deny.
    pub verdict: Verdict,
    /// Exactly the policies that decide, where the author says.
    pub policies: Option<BTreeSet<String>>,
    /// Exactly what is obliged, where the author says.
    pub obligations: Option<BTreeSet<String>>,
}

/// Every expectation of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables(Vec<Expectation>);

impl Tables {
    /// The expectations, by file and line.
    #[must_use]
    pub fn expectations(&self) -> &[Expectation] {
        &self.0
    }

    /// Whether nothing is expected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
