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
use super::index::{Index, Records};
use super::log::{Files, LogError, MasterKey, Reader, Retired, Sequences};
use super::outcome::Outcome;
use super::query::scan::{first_of, late_from};

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
///
/// [`Show::through`] looks up in the index what to open; what is shown is decided here, by the records themselves.
#[derive(Debug)]
pub struct Show {
    source: Source,
    filter: Filter,
    /// The last record to show.
    to: u64,
    /// Admissions shown whose outcome has not come yet; bounded by what can be in flight.
    awaited: BTreeSet<uuid::Uuid>,
    shown: bool,
    /// Shredded segments that were passed over before the source changed.
    passed: Vec<Retired>,
}

/// Where records come from.
#[derive(Debug)]
enum Source {
    /// Not begun yet: nothing is read before the first look.
    Asked(Index),
    Planned(Box<Records>),
    /// In order. From the record `late` on nothing matches but outcomes that are awaited.
    Read {
        reader: Box<Reader>,
        late: u64,
    },
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
        let reader = Box::new(Reader::new(files, directory, master, range));
        let late = u64::MAX;
        Self::of(Source::Read { reader, late }, filter, to)
    }

    /// Reads up to the record `to`, through the index where that narrows it down, else in order from where the time
    /// asked for begins to where it ends.
    #[must_use]
    pub fn through(index: &Index, filter: Filter, to: u64) -> Self {
        Self::of(Source::Asked(index.clone()), filter, to)
    }

    const fn of(source: Source, filter: Filter, to: u64) -> Self {
        Self {
            source,
            filter,
            to,
            awaited: BTreeSet::new(),
            shown: false,
            passed: Vec::new(),
        }
    }

    /// Goes on up to the record `to`: a follower moves it as records become durable.
    pub fn extend(&mut self, to: u64) {
        self.to = to;
        match &mut self.source {
            Source::Read { reader, .. } => reader.set_end(to),
            Source::Asked(_) | Source::Planned(_) => {}
        }
    }

    /// How many segments had to be read through because their index was missing or of no use.
    #[must_use]
    pub fn unindexed(&self) -> usize {
        match &self.source {
            Source::Planned(records) => records.scanned(),
            Source::Asked(_) | Source::Read { .. } => 0,
        }
    }

    /// The shredded segments that were passed over since this was last asked.
    pub fn take_shredded(&mut self) -> Vec<Retired> {
        let mut passed = std::mem::take(&mut self.passed);
        passed.extend(match &mut self.source {
            Source::Asked(_) => Vec::new(),
            Source::Planned(records) => records.take_shredded(),
            Source::Read { reader, .. } => reader.take_shredded(),
        });
        passed
    }

    /// The next entry that matches.
    ///
    /// # Errors
    /// [`ShowError`] for a log or a record that cannot be read.
    pub fn next_match(&mut self) -> Result<Option<Shown>, ShowError> {
        while let Some((seq, entry)) = self.next_entry()? {
            if self.keeps(&entry) {
                self.shown = true;
                return Ok(Some(Shown { seq, entry }));
            }
        }
        Ok(None)
    }

    fn next_entry(&mut self) -> Result<Option<(u64, Entry)>, ShowError> {
        loop {
            match &mut self.source {
                Source::Asked(index) => {
                    self.source = match Records::new(index, &self.filter, self.to)? {
                        Some(records) => Source::Planned(Box::new(records)),
                        None => in_order(index, &self.filter, self.to)?,
                    };
                }
                Source::Planned(records) => {
                    if let Some(found) = records.next_record(&self.awaited)? {
                        return Ok(Some(found));
                    }
                    if !self.shown && records.widen()? {
                        continue;
                    }
                    let from = records.to().saturating_add(1);
                    if self.to < from {
                        return Ok(None);
                    }
                    // It has grown since: what is new is read in order.
                    self.passed.extend(records.take_shredded());
                    let range = Sequences { from, to: self.to };
                    self.source = read(records.index(), range, u64::MAX);
                }
                Source::Read { reader, late } => {
                    let Some(record) = reader.next_record()? else {
                        return Ok(None);
                    };
                    let seq = record.sequence;
                    if seq >= *late && self.awaited.is_empty() {
                        return Ok(None);
                    }
                    let read = Entry::from_bytes(&record.payload);
                    let entry = read.map_err(|source| ShowError::Entry {
                        sequence: seq,
                        source,
                    })?;
                    return Ok(Some((seq, entry)));
                }
            }
        }
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

/// Reads what was written in the time asked for, in order.
fn in_order(index: &Index, filter: &Filter, to: u64) -> Result<Source, LogError> {
    let segments = index.segments()?;
    let begun: Vec<_> = segments
        .iter()
        .map(|segment| (segment.header().created, segment.header().first))
        .collect();
    let range = Sequences {
        from: filter.since.map_or(0, |since| first_of(&begun, since)),
        to,
    };
    let late = filter.until.map(|until| late_from(&begun, until));
    Ok(read(index, range, late.unwrap_or(u64::MAX)))
}

fn read(index: &Index, range: Sequences, late: u64) -> Source {
    let (files, directory, master) = index.files();
    let reader = Reader::new(Arc::clone(files), directory, Arc::clone(master), range);
    let reader = Box::new(reader);
    Source::Read { reader, late }
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

/// SECURITY: what came from outside cannot move the cursor, forge a line on the reader's terminal, or turn round the
/// order in which others are shown.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if is_steering(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A control character, a line or paragraph separator, or a control of text direction (Unicode `Bidi_Control`).
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
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
