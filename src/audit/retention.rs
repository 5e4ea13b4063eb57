//! Retention: what is older than it is listed, and removed or shredded only at an operator's word.
//!
//! The removal is on record with segment ids and heads, and a checkpoint that covers this record is at every witness,
//! before the first file goes. *Never*: the segment that is written, a segment of which one record is younger, one that
//! has something under legal hold, one that the configured archive does not hold, one that a configured sink has yet to
//! get something of, or a hole: nothing behind such a segment either. *On failure*: [`RetentionError`]; what is not removed stays and can be removed again.

mod shred;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answers::Holdings;
use super::archived::Shelf;
use super::entry::{Entry, EntryError};
use super::hold::{Book, Held, Hold, HoldError, Holds, Recorded, Sieve, Unchanged};
use super::log::{
    Fate, KeyError, LogError, Reader, Retired, Sequences, SigningKey, is_over, kept_through,
    retirable, retire, shred,
};
use super::shipped::wanting;
use super::trail::{Audit, AuditError};
use crate::request::Event;
use crate::store::StoreError;

/// How often the witnesses are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Most segments of one removal: each is some 130 bytes of the record that names them, which is at most 1 MiB.
const AT_ONCE: usize = 4_000;
/// What stands in every record about a legal hold.
const ABOUT_HOLDS: &[u8] = b"legal_hold_";

/// Why nothing, or not everything, was removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key that signs notes.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The record of it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A record that cannot be read, whose age is not known therefore.
    #[error("record {0} cannot be read, so its age is not known: {1}")]
    Entry(u64, EntryError),
    /// A witness holds no proof of the record yet.
    #[error("nothing was removed: {0} did not take the checkpoint that has the removal on record")]
    Witness(String),
    /// What is held is not known.
    #[error("what is under legal hold is not known, so nothing may be removed: {0}")]
    Hold(#[from] HoldError),
    /// What archive and sinks have is not known.
    #[error("what archive and sinks have is not known, so nothing may be removed: {0}")]
    Store(#[from] StoreError),
    /// Some went; then something failed.
    #[error("{0} segments were removed, and what is left stays: {1}")]
    Partly(usize, Box<RetentionError>),
    /// Holds were set or released since the segments were looked at.
    #[error(
        "nothing was removed: legal holds, or the identifiers that they cover, changed in the meantime; ask again"
    )]
    Changed,
    /// A hold is on record that the store does not know.
    #[error(
        "nothing was removed: hold {0} (matter {1}) is on record and was never released, but the store does not know it, as after a restore from an older backup; see it with `chartgate audit show --event legal-hold-set`, and set it again with `chartgate audit hold add`, of the same matter, patient, user and period"
    )]
    Forgotten(u64, String),
}

/// A segment that may be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The segment.
    pub segment: Retired,
    /// The time of its newest record.
    pub newest: Timestamp,
    /// The last day on which it had to be kept.
    pub kept_through: jiff::civil::Date,
    /// When it was shredded, where it was.
    #[serde(default)]
    pub shredded: Option<Timestamp>,
}

/// The first segment that is old enough and stays all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The segment.
    pub segment: Retired,
    /// Why it stays.
    pub why: Why,
    /// How many that are old enough stay with it: a removal leaves no hole.
    pub behind: usize,
}

/// Why a segment that is old enough stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Something in it is under legal hold.
    Held(Vec<Stop>),
    /// A request in it has its outcome in a later segment, and may turn out to be under legal hold.
    Undecided,
    /// The archive does not hold it.
    NotArchived,
    /// These sinks have yet to get something of it.
    NotShipped(Vec<String>),
    /// It has no key of its own that could be destroyed.
    Keyless,
}

/// A legal hold that stops a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The hold.
    pub hold: u64,
    /// Its matter.
    pub matter: String,
}

/// What retention found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What may be removed, oldest first.
    pub expired: Vec<Expired>,
    /// What is old enough and stays.
    pub kept: Option<Kept>,
}

/// What beside age keeps segments.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// Legal holds.
    book: Book,
    /// What the archive holds, where one is configured.
    archived: Option<BTreeSet<Uuid>>,
    /// The first record that each configured sink has yet to get.
    wanting: Vec<(String, u64)>,
}

impl Bars {
    fn holds(&self) -> Vec<Hold> {
        self.book.in_force().cloned().collect()
    }

    /// The sinks that have yet to get something of it.
    fn wanting(&self, expired: &Expired) -> Vec<String> {
        let Retired { first, last, .. } = expired.segment;
        // A segment without records has its last before its first.
        let sinks = self
            .wanting
            .iter()
            .filter(|(_, from)| first <= last && *from <= last);
        sinks.map(|(sink, _)| sink.clone()).collect()
    }

    /// The first of these that stays.
    fn first(&self, expired: &[Expired], held: &Held) -> Option<(usize, Why)> {
        let by_hold = held.segments.first().map(|(index, _)| *index);
        let not_archived = self.archived.as_ref().and_then(|archived| {
            let is_missing = |expired: &Expired| !archived.contains(&expired.segment.segment);
            expired.iter().position(is_missing)
        });
        let not_shipped = |expired: &Expired| !self.wanting(expired).is_empty();
        let not_shipped = expired.iter().position(not_shipped);
        let first = [by_hold, held.uncertain, not_archived, not_shipped];
        let first = first.into_iter().flatten().min()?;
        let why = if by_hold == Some(first) {
            let on_it = held.segments.iter().filter(|(index, _)| *index == first);
            let stops = on_it.filter_map(|(_, id)| {
                let hold = self.book.in_force().find(|hold| hold.id == *id)?;
                Some(Stop {
                    hold: hold.id,
                    matter: hold.matter.clone(),
                })
            });
            Why::Held(stops.collect())
        } else if held.uncertain == Some(first) {
            Why::Undecided
        } else if not_archived == Some(first) {
            Why::NotArchived
        } else {
            Why::NotShipped(
                expired
                    .get(first)
                    .map_or_else(Vec::new, |e| self.wanting(e)),
            )
        };
        Some((first, why))
    }
}

impl Holdings {
    /// What beside age keeps segments, as it is now.
    ///
    /// # Errors
    /// [`RetentionError`], where that cannot be told: nothing may be removed then.
    pub async fn bars(&self) -> Result<Bars, RetentionError> {
        let holds = self.holds()?;
        let archived = match &self.archive {
            Some(target) => {
                let shelf = Shelf::new(holds.store().clone(), target);
                let all = shelf.all().await?;
                Some(all.into_values().map(|known| known.segment).collect())
            }
            None => None,
        };
        let book = holds.book().await?;
        book.doubt(holds.links())?;
        Ok(Bars {
            book,
            archived,
            wanting: wanting(holds.store(), &self.sinks).await?,
        })
    }

    /// The oldest segments whose every record is older than retention and that nothing else keeps. Reads them: do not
    /// call it where nothing may wait.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub fn expired(&self, now: Timestamp, bars: &Bars) -> Result<Found, RetentionError> {
        let headers = self.headers()?;
        let holds = bars.holds();
        let mut sieve = Sieve::new(&holds);
        let mut expired: Vec<Expired> = Vec::new();
        let shredded = self.shredded(&headers)?;
        for segment in retirable(&headers, self.years, now) {
            if let Some((time, end)) = shredded.get(&segment.segment) {
                expired.push(self.unseen(segment, *time, *end));
                continue;
            }
            // The clock may have jumped while it was written; what counts is each record.
            let mut newest = None;
            let index = expired.len();
            self.look(&segment, |entry| {
                newest = newest.max(Some(entry.time));
                sieve.see(index, entry);
            })?;
            let newest = newest.unwrap_or(Timestamp::MIN);
            if !is_over(newest, self.years, now) {
                break;
            }
            expired.push(Expired {
                kept_through: kept_through(newest, self.years),
                newest,
                segment,
                shredded: None,
            });
        }
        let mut held = sieve.finish();
        bars.hold_unseen(&expired, &mut held);
        let kept = bars.first(&expired, &held);
        let kept = kept.and_then(|(first, why)| {
            let stay = expired.split_off(first.min(expired.len()));
            Some(Kept {
                segment: stay.first()?.segment.clone(),
                why,
                behind: stay.len().saturating_sub(1),
            })
        });
        Ok(Found { expired, kept })
    }

    /// Hands each record of an ended segment to `see`.
    ///
    /// # Errors
    /// [`RetentionError`] for a record that cannot be read.
    pub fn look(
        &self,
        segment: &Retired,
        mut see: impl FnMut(&Entry),
    ) -> Result<(), RetentionError> {
        if segment.last < segment.first {
            return Ok(());
        }
        let range = Sequences {
            from: segment.first,
            to: segment.last,
        };
        let mut reader = self.reader(range);
        while let Some(record) = reader.next_record()? {
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|error| RetentionError::Entry(record.sequence, error))?;
            see(&entry);
        }
        Ok(())
    }

    fn reader(&self, range: Sequences) -> Reader {
        let files = Arc::clone(&self.files);
        Reader::new(files, &self.directory, Arc::clone(&self.master), range)
    }

    /// Makes sure that the store knows every hold that is on record: one that was restored from an older backup does
    /// not. Reads the whole trail, as a removal cannot be undone.
    ///
    /// # Errors
    /// [`RetentionError::Forgotten`] for the first hold that is not known.
    pub fn remembered(&self, through: u64, bars: &Bars) -> Result<(), RetentionError> {
        let mut reader = self.reader(Sequences {
            from: 0,
            to: through,
        });
        let about_holds = memchr::memmem::Finder::new(ABOUT_HOLDS);
        let mut recorded = Recorded::default();
        while let Some(record) = reader.next_record()? {
            if about_holds.find(&record.payload).is_none() {
                continue;
            }
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|error| RetentionError::Entry(record.sequence, error))?;
            recorded.see(&entry);
        }
        match recorded.forgotten(&bars.book) {
            Some((id, matter)) => Err(RetentionError::Forgotten(id, matter.to_owned())),
            None => Ok(()),
        }
    }

    /// Removes these segments, or shreds them as they say; returns when that is done.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn retire(
        &self,
        audit: &Audit,
        operator: &str,
        (expired, bars): (&[Expired], &Bars),
    ) -> Result<(), RetentionError> {
        let holds = self.holds()?;
        // Until they are gone, no hold is set that nobody has looked at.
        let unchanged = holds.settle().await;
        still(holds, &unchanged, bars).await?;
        let mut gone = 0_usize;
        for group in expired.chunks(AT_ONCE) {
            let removal = self.retire_group(audit, operator, group, (&unchanged, bars));
            if let Err(error) = removal.await {
                return Err(if gone == 0 {
                    error
                } else {
                    RetentionError::Partly(gone, Box::new(error))
                });
            }
            gone = gone.saturating_add(group.len());
        }
        Ok(())
    }

    async fn retire_group(
        &self,
        audit: &Audit,
        operator: &str,
        expired: &[Expired],
        (unchanged, bars): (&Unchanged, &Bars),
    ) -> Result<(), RetentionError> {
        let signer = SigningKey::read(&self.signing_key)?;
        let segments: Vec<Retired> = expired.iter().map(|e| e.segment.clone()).collect();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("segments".to_owned(), named(&segments)),
            ("first".to_owned(), first.first.to_string()),
            ("last".to_owned(), last.last.to_string()),
            ("retention_years".to_owned(), self.years.to_string()),
        ]);
        let fate = first.fate;
        if fate == Fate::Shredded {
            detail.insert("manner".to_owned(), "shredded".to_owned());
        }
        audit.event(Event::AuditRetired, None, detail).await?;
        let mut may_go = self.witnessed(audit).await;
        if may_go.is_ok() {
            // Witnesses take their time; what is linked may have changed in it.
            may_go = still(self.holds()?, unchanged, bars).await;
        }
        if let Err(error) = may_go {
            stays(audit, operator, (first, last), &error).await?;
            return Err(error);
        }
        match fate {
            Fate::Removed => {
                retire(&*self.files, &self.directory, &signer, &segments)?;
                self.index.forget_removed()?;
            }
            Fate::Shredded => {
                shred(&*self.files, &self.directory, &signer, &segments)?;
                self.index.forget_shredded()?;
            }
        }
        Ok(())
    }

    /// Waits until every witness holds a checkpoint of all that is on record now.
    async fn witnessed(&self, audit: &Audit) -> Result<(), RetentionError> {
        let recorded = audit.log().status().sequence;
        let behind = || {
            let witnesses = audit.log().status().witnesses;
            let late = |newest: Option<u64>| newest.is_none_or(|newest| newest < recorded);
            witnesses.into_iter().find(|witness| late(witness.newest))
        };
        let waiting = async {
            while behind().is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(self.patience, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err(RetentionError::Witness(
                behind().map_or_else(|| "a witness".to_owned(), |witness| witness.name),
            )),
        }
    }
}

/// Makes sure that what is held is what it was when the segments were looked at, links included.
async fn still(holds: &Holds, unchanged: &Unchanged, bars: &Bars) -> Result<(), RetentionError> {
    let book = holds.settled(unchanged).await?;
    book.doubt(holds.links())?;
    if book == bars.book {
        Ok(())
    } else {
        Err(RetentionError::Changed)
    }
}

/// The segments as a record names them.
fn named(segments: &[Retired]) -> String {
    let named: Vec<String> = segments
        .iter()
        .map(|s| format!("{} {} {}", s.number, s.segment, s.head))
        .collect();
    named.join("; ")
}

/// Puts on record that a removal that is on record did not take place.
async fn stays(
    audit: &Audit,
    operator: &str,
    (first, last): (&Retired, &Retired),
    why: &RetentionError,
) -> Result<(), RetentionError> {
    let detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        ("removed".to_owned(), "nothing".to_owned()),
        ("reason".to_owned(), why.to_string()),
        ("first".to_owned(), first.first.to_string()),
        ("last".to_owned(), last.last.to_string()),
    ]);
    Ok(audit.event(Event::AuditRetired, None, detail).await?)
}

#[cfg(test)]
mod tests;
