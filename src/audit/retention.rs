//! Retention: what is older than it is listed, and removed only at an operator's word.
//!
//! The removal is on record with segment ids and heads, and a checkpoint that covers this record is at every witness,
//! before the first file goes. *Never*: the segment that is written, a segment of which one record is younger, one that
//! has something under legal hold, one that the configured archive does not hold, or a hole: nothing behind such a
//! segment either. *On failure*: [`RetentionError`]; what is not removed stays and can be removed again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answers::Holdings;
use super::archived::Shelf;
use super::entry::{Entry, EntryError};
use super::hold::{Book, Held, Hold, HoldError, Sieve};
use super::log::{
    KeyError, LogError, Reader, Retired, Sequences, SigningKey, is_over, kept_through, retirable,
    retire,
};
use super::trail::{Audit, AuditError};
use crate::request::Event;
use crate::store::StoreError;

/// How often the witnesses are looked at.
const LOOK: Duration = Duration::from_millis(100);
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
    /// What the archive holds is not known.
    #[error("what the archive holds is not known, so nothing may be removed: {0}")]
    Store(#[from] StoreError),
    /// Holds were set or released since the segments were looked at.
    #[error("nothing was removed: legal holds changed in the meantime; ask again")]
    Changed,
    /// A hold is on record that the store does not know.
    #[error(
        "nothing was removed: hold {0} (matter {1}) is on record and was never released, but the store does not know it, as after a restore from an older backup; set it again with `chartgate audit hold add`"
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
}

impl Bars {
    fn holds(&self) -> Vec<Hold> {
        self.book.in_force().cloned().collect()
    }

    /// The first of these that stays.
    fn first(&self, expired: &[Expired], held: &Held) -> Option<(usize, Why)> {
        let by_hold = held.segments.first().map(|(index, _)| *index);
        let not_archived = self.archived.as_ref().and_then(|archived| {
            let is_missing = |expired: &Expired| !archived.contains(&expired.segment.segment);
            expired.iter().position(is_missing)
        });
        let first = [by_hold, held.uncertain, not_archived];
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
        } else {
            Why::NotArchived
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
        Ok(Bars {
            book: holds.book().await?,
            archived,
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
        for segment in retirable(&headers, self.years, now) {
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
            });
        }
        let kept = bars.first(&expired, &sieve.finish());
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
        let mut in_force: BTreeMap<u64, String> = BTreeMap::new();
        while let Some(record) = reader.next_record()? {
            if about_holds.find(&record.payload).is_none() {
                continue;
            }
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|error| RetentionError::Entry(record.sequence, error))?;
            let said = |name: &str| entry.detail.get(name);
            let Some(id) = said("hold").and_then(|id| id.parse().ok()) else {
                continue;
            };
            if entry.event == Some(Event::LegalHoldSet) {
                in_force.insert(id, said("matter").cloned().unwrap_or_default());
            } else if entry.event == Some(Event::LegalHoldReleased) {
                in_force.remove(&id);
            }
        }
        in_force.retain(|_, matter| !bars.book.knows(matter));
        match in_force.pop_first() {
            Some((id, matter)) => Err(RetentionError::Forgotten(id, matter)),
            None => Ok(()),
        }
    }

    /// Removes these segments; returns when they are gone.
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
        let _unchanged = holds.settle().await;
        if holds.book().await? != bars.book {
            return Err(RetentionError::Changed);
        }
        let signer = SigningKey::read(&self.signing_key)?;
        let segments: Vec<Retired> = expired.iter().map(|e| e.segment.clone()).collect();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let named: Vec<String> = segments
            .iter()
            .map(|s| format!("{} {} {}", s.number, s.segment, s.head))
            .collect();
        let detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("segments".to_owned(), named.join("; ")),
            ("first".to_owned(), first.first.to_string()),
            ("last".to_owned(), last.last.to_string()),
            ("retention_years".to_owned(), self.years.to_string()),
        ]);
        audit.event(Event::AuditRetired, None, detail).await?;
        self.witnessed(audit).await?;
        retire(&*self.files, &self.directory, &signer, &segments)?;
        self.index.forget_removed()?;
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

#[cfg(test)]
mod tests;
