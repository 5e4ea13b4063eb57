//! Cases: what somebody has to look into, from its opening to how it ended.
//!
//! *Owns*: `Table::Cases`; the numbers; which cases are open.
//! *Never*: a case that vanishes: one is closed, with an outcome and a note, and kept as long as the trail is.
//! *On failure*: [`CaseError`]; what was put on record and could not be stored is opened again under another number.

mod ask;
mod case;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;

pub use ask::{Ask, Which};
pub use case::{Case, Ended, Kind, Level, Note, Opening, Outcome, State, Summary};

/// The same rule about the same user joins the open case for so long after it last did.
const JOINS_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// A closed case is kept as long as the trail that it points into: six calendar years and the rest of the first.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 366 * 24);
/// Open cases at once: more than anybody could look into.
const MOST_OPEN: usize = 10_000;
/// Cases that a listing names.
const MOST_LISTED: usize = 500;
/// Records that a case names; more are counted.
const MOST_RECORDS: usize = 1_000;
/// Notes of a case.
const MOST_NOTES: usize = 200;
/// Longest text of a title, name or note, in bytes.
const LONGEST: usize = 4_096;

const PREFIX: &str = "case-";

/// Why something could not be done with a case.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// There is no such case.
    #[error("there is no case {0}; `chartgate case list` names them")]
    Unknown(u64),
    /// It is closed.
    #[error("case {0} is closed already")]
    Closed(u64),
    /// There are too many open cases.
    #[error("{MOST_OPEN} cases are open; close some first")]
    TooMany,
    /// A case has too many notes.
    #[error("case {0} has {MOST_NOTES} notes; close it, and open another one")]
    TooManyNotes(u64),
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST} bytes")]
    Text(&'static str),
}

/// What became of an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// A new case.
    New(u64),
    /// The case that it joined.
    Joined(u64),
}

impl Opened {
    /// The case's number.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::New(number) | Self::Joined(number) => number,
        }
    }
}

/// All cases.
#[derive(Debug)]
pub struct Cases {
    store: Store,
    audit: Audit,
    clock: SharedClock,
    // One change at a time: the number of the next case.
    next: Mutex<u64>,
    open: RwLock<BTreeMap<u64, Summary>>,
}

impl Cases {
    /// Finds the cases that the store keeps.
    ///
    /// # Errors
    /// [`CaseError::Store`].
    pub async fn load(
        store: Store,
        audit: Audit,
        clock: SharedClock,
    ) -> Result<Arc<Self>, CaseError> {
        let (mut newest, mut open) = (0_u64, BTreeMap::new());
        let mut after = Some(PREFIX.to_owned());
        while let Some(from) = after {
            let page = store.scan(Table::Cases, Some(&from)).await?;
            for (key, entry) in page.entries {
                let Some(case) = Case::decode(&key, entry.value.expose()) else {
                    continue;
                };
                newest = newest.max(case.number);
                if case.is_open() {
                    open.insert(case.number, case.summary());
                }
            }
            after = page.next;
        }
        let cases = Self {
            store,
            audit,
            clock,
            next: Mutex::new(newest.saturating_add(1)),
            open: RwLock::new(open),
        };
        cases.measure();
        Ok(Arc::new(cases))
    }

    /// Opens a case, or adds to the one that is open for the same rule and user.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn open(&self, opening: Opening) -> Result<Opened, CaseError> {
        self.opened(opening, Vec::new()).await
    }

    /// Opens a case with what its opener has to say, as its first note.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn open_with(
        &self,
        opening: Opening,
        by: &str,
        said: &str,
    ) -> Result<Opened, CaseError> {
        text("note", said)?;
        let note = Note {
            at: self.clock.now(),
            by: by.to_owned(),
            text: said.to_owned(),
        };
        self.opened(opening, vec![note]).await
    }

    async fn opened(&self, opening: Opening, notes: Vec<Note>) -> Result<Opened, CaseError> {
        text("title", &opening.title)?;
        for name in [&opening.user, &opening.patient, &opening.rule]
            .into_iter()
            .flatten()
        {
            text("name", name)?;
        }
        let mut next = self.next.lock().await;
        let now = self.clock.now();
        if let Some(number) = self.joinable(&opening, now)
            && let Some(mut case) = self.read(number).await?
        {
            case.join(&opening, now);
            let room = MOST_NOTES.saturating_sub(case.notes.len());
            case.notes.extend(notes.into_iter().take(room));
            self.write(&case).await?;
            return Ok(Opened::Joined(number));
        }
        if self.read_open().len() >= MOST_OPEN {
            return Err(CaseError::TooMany);
        }
        let number = *next;
        let mut case = Case::opened(number, opening, now);
        case.notes = notes;
        self.audit
            .event(Event::CaseOpened, None, case.as_recorded())
            .await?;
        *next = number.saturating_add(1);
        self.write(&case).await?;
        Ok(Opened::New(number))
    }

    /// Adds records to an open case.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn add_records(
        &self,
        number: u64,
        records: &BTreeSet<String>,
    ) -> Result<(), CaseError> {
        let _one = self.next.lock().await;
        let mut case = self.read_for_change(number).await?;
        case.add(records);
        self.write(&case).await
    }

    /// Adds a note to an open case: what was done about it. The act itself is on record where it was done.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn note(&self, number: u64, by: &str, note: &str) -> Result<(), CaseError> {
        text("note", note)?;
        let _one = self.next.lock().await;
        let mut case = self.read_for_change(number).await?;
        if case.notes.len() >= MOST_NOTES {
            return Err(CaseError::TooManyNotes(number));
        }
        case.notes.push(Note {
            at: self.clock.now(),
            by: by.to_owned(),
            text: note.to_owned(),
        });
        self.write(&case).await
    }

    /// Closes a case, on record.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn close(
        &self,
        number: u64,
        by: &str,
        outcome: Outcome,
        note: &str,
    ) -> Result<Case, CaseError> {
        text("note", note)?;
        let _one = self.next.lock().await;
        let mut case = self.read_for_change(number).await?;
        let detail = BTreeMap::from([
            ("case".to_owned(), number.to_string()),
            ("outcome".to_owned(), outcome.word().to_owned()),
            ("note".to_owned(), note.to_owned()),
            ("operator".to_owned(), by.to_owned()),
        ]);
        self.audit.event(Event::CaseClosed, None, detail).await?;
        case.state = State::Closed(Ended {
            at: self.clock.now(),
            by: by.to_owned(),
            outcome,
            note: note.to_owned(),
        });
        self.write(&case).await?;
        Ok(case)
    }

    /// A case.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn show(&self, number: u64) -> Result<Case, CaseError> {
        self.read(number).await?.ok_or(CaseError::Unknown(number))
    }

    /// The newest cases, newest first; at most 500.
    ///
    /// # Errors
    /// [`CaseError::Store`].
    pub async fn list(&self, which: Which) -> Result<Vec<Summary>, CaseError> {
        if which == Which::Open {
            let open = self.read_open();
            return Ok(open.values().rev().take(MOST_LISTED).cloned().collect());
        }
        let newest = self.next.lock().await.saturating_sub(1);
        let mut found = Vec::new();
        for number in (1..=newest).rev() {
            if let Some(case) = self.read(number).await? {
                found.push(case.summary());
            }
            if found.len() >= MOST_LISTED {
                break;
            }
        }
        Ok(found)
    }

    /// How many cases are open, by level.
    #[must_use]
    pub fn open_by_level(&self) -> BTreeMap<Level, usize> {
        let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
        for case in self.read_open().values() {
            let count = counts.entry(case.level).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    fn joinable(&self, opening: &Opening, now: Timestamp) -> Option<u64> {
        let joins = |case: &&Summary| {
            opening.rule.is_some()
                && (case.kind, &case.rule, &case.user)
                    == (opening.kind, &opening.rule, &opening.user)
                && now.duration_since(case.latest) < JOINS_WITHIN
        };
        let open = self.read_open();
        open.values().rev().find(joins).map(|case| case.number)
    }

    async fn read_for_change(&self, number: u64) -> Result<Case, CaseError> {
        let case = self.show(number).await?;
        if case.is_open() {
            Ok(case)
        } else {
            Err(CaseError::Closed(number))
        }
    }

    async fn read(&self, number: u64) -> Result<Option<Case>, CaseError> {
        let key = key(number);
        let entry = self.store.get(Table::Cases, &key).await?;
        Ok(entry.and_then(|entry| Case::decode(&key, entry.value.expose())))
    }

    async fn write(&self, case: &Case) -> Result<(), CaseError> {
        let expires = match &case.state {
            State::Open => NEVER,
            State::Closed(ended) => ended.at.saturating_add(KEPT).unwrap_or(NEVER),
        };
        self.store
            .keep(Table::Cases, &key(case.number), case, expires)
            .await?;
        {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if case.is_open() {
                open.insert(case.number, case.summary());
            } else {
                open.remove(&case.number);
            }
        }
        self.measure();
        Ok(())
    }

    fn measure(&self) {
        let counts = self.open_by_level();
        for level in Level::ALL {
            let count = counts.get(level).copied().unwrap_or_default();
            #[expect(
                clippy::cast_precision_loss,
                reason = "Prometheus numbers are floating point"
            )]
            metrics::gauge!(names::OPEN_CASES, "level" => level.word()).set(count as f64);
        }
    }

    fn read_open(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u64, Summary>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

fn text(what: &'static str, text: &str) -> Result<(), CaseError> {
    if text.trim().is_empty() || text.len() > LONGEST {
        return Err(CaseError::Text(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
