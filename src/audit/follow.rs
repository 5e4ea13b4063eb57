//! Follows the trail inside the gateway: entries in order, as they become durable, without holding a thread.
//!
//! *Never*: an entry that is not durable yet. *On failure*: [`ShowError`]; the next step tries the same record again.

use std::path::PathBuf;
use std::sync::Arc;

use super::entry::Entry;
use super::log::{MasterKey, Reader, RealFiles, Record, Sequences};
use super::show::{ShowError, Shown};
use super::trail::Audit;

/// Most entries of a step.
pub const STEP: usize = 256;

/// Where the trail lies, and the key that opens it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its directory.
    pub directory: PathBuf,
    /// The key.
    pub master: Arc<MasterKey>,
}

/// Follows the trail from a position on.
#[derive(Debug)]
pub struct Follower {
    audit: Audit,
    place: Place,
    reader: Option<Reader>,
    next: u64,
}

impl Follower {
    /// Follows from the record `next` on.
    #[must_use]
    pub const fn new(audit: Audit, place: Place, next: u64) -> Self {
        Self {
            audit,
            place,
            reader: None,
            next,
        }
    }

    /// The record that comes next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The newest durable record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.audit.log().status().sequence
    }

    /// How many durable records have not been read.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.end().saturating_add(1).saturating_sub(self.next)
    }

    /// Up to [`STEP`] entries that are durable; none where all have been read.
    ///
    /// # Errors
    /// [`ShowError`] for a record that cannot be read.
    pub async fn step(&mut self) -> Result<Vec<Shown>, ShowError> {
        let end = self.end();
        if self.next > end {
            return Ok(Vec::new());
        }
        let mut reader = self.reader.take().unwrap_or_else(|| {
            let range = Sequences {
                from: self.next,
                to: end,
            };
            let Place { directory, master } = &self.place;
            Reader::new(Arc::new(RealFiles), directory, master.clone(), range)
        });
        reader.set_end(end);
        let read = tokio::task::spawn_blocking(move || {
            let step = read_step(&mut reader);
            (reader, step)
        });
        let Ok((reader, (records, failure))) = read.await else {
            // The runtime ends.
            return Ok(Vec::new());
        };
        match failure {
            None => self.reader = Some(reader),
            Some(failure) if records.is_empty() => return Err(failure),
            // A reader that failed has lost its place; the next step makes another one. What was read before counts.
            Some(_) => {}
        }
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            self.next = record.sequence.saturating_add(1);
            match Entry::from_bytes(&record.payload) {
                Ok(entry) => entries.push(Shown {
                    seq: record.sequence,
                    entry,
                }),
                Err(error) => {
                    tracing::error!(%error, record = record.sequence, "a record was passed over");
                }
            }
        }
        Ok(entries)
    }
}

fn read_step(reader: &mut Reader) -> (Vec<Record>, Option<ShowError>) {
    let mut records = Vec::new();
    while records.len() < STEP {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            Err(error) => return (records, Some(error.into())),
        }
    }
    (records, None)
}
