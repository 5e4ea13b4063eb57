//! Reads the trail for a person: filtered entries with their positions.
//!
//! *Never*: a reading without a record of it; whoever calls this records [`crate::request::Event::AuditRead`] first.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{Entry, EntryError, Phase};
use super::events;
pub use super::filter::{Ending, Filter};
use super::log::{Files, LogError, MasterKey, Reader, Sequences};
use super::outcome::Outcome;

/// Why the trail could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record.
    #[error("record {sequence}: {source}")]
    Entry {
        /// Its position.
        sequence: u64,
        /// What is wrong with it.
        source: EntryError,
    },
}

/// An entry with its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its sequence number.
    pub seq: u64,
    /// The entry.
    pub entry: Entry,
}

/// Walks the trail and keeps what matches, with the outcomes of admissions that matched.
#[derive(Debug)]
pub struct Show {
    reader: Reader,
    filter: Filter,
    /// Admissions shown whose outcome has not come yet; bounded by what can be in flight.
    awaited: BTreeSet<uuid::Uuid>,
}

impl Show {
    /// Reads from the beginning up to the record `to`.
    #[must_use]
    pub fn new(
        files: Arc<dyn Files>,
        directory: &Path,
        master: Arc<MasterKey>,
        filter: Filter,
        to: u64,
    ) -> Self {
        let range = Sequences { from: 0, to };
        Self::within(files, directory, master, filter, range)
    }

    /// Reads these records only.
    #[must_use]
    pub fn within(
        files: Arc<dyn Files>,
        directory: &Path,
        master: Arc<MasterKey>,
        filter: Filter,
        range: Sequences,
    ) -> Self {
        Self {
            reader: Reader::new(files, directory, master, range),
            filter,
            awaited: BTreeSet::new(),
        }
    }

    /// Goes on up to the record `to`: a follower moves it as records become durable.
    pub const fn extend(&mut self, to: u64) {
        self.reader.set_end(to);
    }

    /// The next entry that matches.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn next_match(&mut self) -> Result<Option<Shown>, ShowError> {
        while let Some(record) = self.reader.next_record()? {
            let seq = record.sequence;
            let entry = Entry::from_bytes(&record.payload).map_err(|source| ShowError::Entry {
                sequence: seq,
                source,
            })?;
            if self.keeps(&entry) {
                return Ok(Some(Shown { seq, entry }));
            }
        }
        Ok(None)
    }

    fn keeps(&mut self, entry: &Entry) -> bool {
        let follows = entry.of.is_some_and(|of| self.awaited.remove(&of));
        let matches = self.filter.matches(entry);
        if matches && entry.phase == Phase::Admit {
            self.awaited.insert(entry.id);
        }
        matches || follows
    }
}

/// One line for a person.
#[must_use]
pub fn line(shown: &Shown) -> String {
    let entry = &shown.entry;
    let facts = entry.facts.as_ref();
    let who = facts
        .and_then(|f| f.principal.as_ref())
        .map_or("-", |principal| principal.display());
    let mapping = facts.and_then(|f| f.mapping.as_ref());
    let what = mapping.map_or_else(String::new, |m| {
        format!("{} {}", m.action.name(), m.section)
    });
    let charts: Vec<&str> = entry.charts().map(|patient| patient.id.as_str()).collect();
    let place = facts.map_or_else(String::new, |f| format!("{} {}", f.method, f.path));
    let (phase, result) = match entry.phase {
        Phase::Admit => ("admit", String::new()),
        Phase::Refuse => ("refuse", entry.refusal.clone().unwrap_or_default()),
        Phase::Event => (entry.event.map_or("event", events::name), detail(entry)),
        Phase::Outcome => ("outcome", outcome(entry)),
    };
    let mut patients = String::new();
    if !charts.is_empty() {
        patients = format!("patient {}", charts.join(","));
    }
    if let Some(listed) = entry.outcome.as_ref().and_then(listed_in) {
        if !patients.is_empty() {
            patients.push(' ');
        }
        patients.push_str(&listed);
    }
    let request = facts.map_or("", |f| f.request.as_str());
    let fields = [
        format!("{:>8}", shown.seq),
        entry.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        format!("{phase:<8}"),
        who.to_owned(),
        what,
        patients,
        place,
        result,
        request.to_owned(),
    ];
    let kept: Vec<String> = fields
        .into_iter()
        .filter(|field| !field.is_empty())
        .map(|field| printable(&field))
        .collect();
    kept.join("  ")
}

/// How many patients appeared in a list, and why that may not be all; nothing where there was none.
pub(super) fn listed(count: u64, unknown: &str) -> Option<String> {
    match (count, unknown) {
        (0, "") => None,
        (0, reason) => Some(format!("in a list: unknown ({reason})")),
        (count, "") => Some(format!("{count} in a list")),
        (count, reason) => Some(format!("{count} in a list, perhaps more ({reason})")),
    }
}

fn listed_in(outcome: &Outcome) -> Option<String> {
    let named = u64::try_from(outcome.appeared.len()).unwrap_or(u64::MAX);
    let count = named.saturating_add(outcome.appeared_more);
    listed(
        count,
        outcome.appeared_unknown.as_deref().unwrap_or_default(),
    )
}

/// SECURITY: what came from outside cannot move the cursor or forge a line on the reader's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn outcome(entry: &Entry) -> String {
    let Some(outcome) = &entry.outcome else {
        return String::new();
    };
    let status = outcome
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    let end = serde_json::to_string(&outcome.end).unwrap_or_default();
    let of = entry.of.map_or_else(String::new, |of| of.to_string());
    format!(
        "{} {status} {} bytes {} ms of {of}",
        end.trim_matches('"'),
        outcome.bytes_out,
        outcome.millis
    )
}

fn detail(entry: &Entry) -> String {
    let pairs: Vec<String> = entry
        .detail
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(" ")
}
