//! What operators ask of the trail, and the pieces of an answer.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::proving::Named;
use crate::audit::export::Format;
use crate::audit::hold::{self, Hold};
use crate::audit::index::Progress;
use crate::audit::links::Links;
use crate::audit::log::{Content, Proof, Retired};
use crate::audit::query::join::Joined;
use crate::audit::retention::{Expired, Kept};
use crate::audit::show::Filter;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Rows that match.
    Query {
        /// Which.
        filter: Filter,
        /// No more than so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Rows for a report.
    Report {
        /// Which report, for the record: `patient 4`.
        report: String,
        /// Which rows.
        filter: Filter,
    },
    /// Text in a format.
    Export {
        /// The format.
        format: Format,
        /// Which records.
        filter: Filter,
    },
    /// What is older than the retention.
    Retention {
        /// Whether it is to be removed.
        apply: bool,
        /// Nothing behind this record, the last of what was shown to whoever agreed.
        #[serde(default)]
        shown: Option<u64>,
    },
    /// The same, whose records are to become unreadable while the files stay.
    Shred {
        /// Whether it is to be done.
        apply: bool,
        /// Nothing behind this record, the last of what was shown to whoever agreed.
        #[serde(default)]
        shown: Option<u64>,
    },
    /// A proof that records stand in the trail.
    Prove {
        /// Which.
        named: Named,
        /// Whether it says what they say.
        content: Content,
    },
    /// Legal holds.
    Hold(hold::Ask),
    /// The index made anew.
    Reindex {
        /// That of one segment, by its id, number or file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
    },
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// A row.
    Row(Box<Joined>),
    /// A part of an export, byte for byte.
    Text(String),
    /// What the export was.
    Manifest(Manifest),
    /// A segment that may be removed, or was.
    Expired(Expired),
    /// How old the trail is.
    Age(Age),
    /// Further identifiers of the patient whom the question named: the answer is about all of them.
    Aliases(Vec<String>),
    /// How many segments were removed, or shredded.
    Removed(usize),
    /// A proof.
    Proof(Box<Proof>),
    /// The first segment that is old enough to be removed and stays.
    Kept(Kept),
    /// A legal hold.
    Hold(Hold),
    /// How many segments had to be read through so far, because their index was missing or of no use.
    ReadThrough(usize),
    /// How far the making of the index is.
    Indexed(Progress),
    /// Shredded segments that the question reaches over: the answer says nothing of them.
    Shredded(Vec<Retired>),
    /// Which trail answers, to whom, and up to which record.
    Asked(Asked),
}

/// Which trail answers, to whom, and up to which record: what whoever holds the answer can check it against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The node whose trail it is.
    pub node: String,
    /// Who asked.
    pub operator: String,
    /// The newest record that was looked at.
    pub through: u64,
    /// The chain head at that record, in hexadecimal.
    pub head: String,
}

/// What an export was: on record, and with whoever has the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    pub format: Format,
    /// What was asked for.
    pub filter: Filter,
    /// Lines written, a heading included.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of these, in hexadecimal.
    pub sha256: String,
    /// The newest record that was looked at.
    pub through: u64,
    /// Records that nothing is said of, as their keys were destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shredded: Vec<Span>,
}

/// Records from one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Span {
    /// The fewest spans of what lies between these firsts and lasts.
    pub(super) fn joined(all: &BTreeMap<u64, u64>) -> Vec<Self> {
        let mut spans: Vec<Self> = Vec::new();
        for (&first, &last) in all {
            match spans.last_mut() {
                Some(before) if before.last.saturating_add(1) >= first => {
                    before.last = before.last.max(last);
                }
                Some(_) | None => spans.push(Self { first, last }),
            }
        }
        spans
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}

impl Manifest {
    /// The numbers of shredded records in words, where there are any.
    #[must_use]
    pub fn passed_over(&self) -> Option<String> {
        let spans: Vec<String> = self.shredded.iter().map(Span::to_string).collect();
        (!spans.is_empty()).then(|| spans.join(", "))
    }
}

/// How far back the trail reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// When its oldest segment was begun.
    pub oldest: Option<Timestamp>,
    /// Segments that there are.
    pub segments: usize,
    /// Calendar years that records are kept.
    pub years: u16,
    /// Segments, by their ends, whose retention is over.
    pub over: usize,
}

impl Ask {
    /// The question about everything that is the same patient's, and by which identifiers beside the one that was named.
    pub(super) fn widened(mut self, links: &Links) -> (Self, Vec<String>) {
        let filter = match &mut self {
            Self::Query { filter, .. }
            | Self::Report { filter, .. }
            | Self::Export { filter, .. } => filter,
            Self::Retention { .. }
            | Self::Shred { .. }
            | Self::Prove { .. }
            | Self::Hold(_)
            | Self::Reindex { .. } => {
                return (self, Vec::new());
            }
        };
        let asked = filter.patient.as_deref().filter(|_| !filter.exact);
        let also = asked.map_or_else(Vec::new, |patient| links.also(patient));
        filter.aliases.extend(also.iter().cloned());
        (self, also)
    }

    /// Whether it cannot be answered without what the store keeps: legal holds, and what is archived.
    #[must_use]
    pub const fn needs_store(&self) -> bool {
        match self {
            Self::Retention { .. } | Self::Shred { .. } | Self::Hold(_) => true,
            Self::Query { .. }
            | Self::Report { .. }
            | Self::Export { .. }
            | Self::Prove { .. }
            | Self::Reindex { .. } => false,
        }
    }

    /// What is asked, for the record: the command, and the filter where there is one.
    pub(super) fn described(&self) -> (String, Option<&Filter>) {
        match self {
            Self::Query { filter, .. } => ("query".to_owned(), Some(filter)),
            Self::Report { report, filter } => (format!("report {report}"), Some(filter)),
            Self::Export { format, filter } => (format!("export {format}"), Some(filter)),
            Self::Retention { .. } => ("retention".to_owned(), None),
            Self::Shred { .. } => ("retention --shred".to_owned(), None),
            Self::Prove { named, content } => match content {
                Content::Opened => (format!("prove {named}"), None),
                Content::Sealed => (format!("prove {named} without content"), None),
            },
            Self::Hold(ask) => (ask.described().to_owned(), None),
            Self::Reindex { only: None } => ("reindex".to_owned(), None),
            Self::Reindex { only: Some(only) } => (format!("reindex {only}"), None),
        }
    }
}
