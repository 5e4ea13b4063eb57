//! Comparing checkpoints with the log that was found, before it is continued.
//!
//! SECURITY: a log restored from an old copy, or cut by someone with access to the disk, is whole
//! in itself; only a checkpoint that is ahead of it tells. Continuing it would also give sequence
//! numbers out twice, so the log is not opened unless an operator accepts the loss, and then goes
//! on behind the numbers that are gone. A witness that answers only later is compared then, before anything is given
//! to it ([`Later`]).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::checkpoint::Checkpoint;
use super::crypt::Head;
use super::error::LogError;
use super::files::{Access, Files};
use super::header::{AcceptedLoss, Header};
use super::headers::headers;
use super::loss;
use super::note::VerifierKey;
use super::options::Truncation;
use super::recover::{End, Known, known, names, open};
use super::segment::SUFFIX;
use super::waiting::lock;
use super::walk::{Step, Walk};
use super::witness::WitnessError;

/// A checkpoint, and who held it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) by: By,
    pub(super) place: String,
    pub(super) note: String,
}

/// The log that was found.
#[derive(Debug)]
pub(super) struct Found<'l> {
    pub(super) known: &'l [Known],
    pub(super) end: &'l End,
    /// Headers, made with this log's master key, that declare a loss which was accepted before.
    pub(super) losses: &'l [&'l Header],
}

impl Found<'_> {
    /// Whether a loss that was accepted before is why a checkpoint is not found. Without that, a log would stay shut that
    /// was interrupted before a witness took its first checkpoint behind the loss.
    fn explains(&self, checkpoint: &Checkpoint) -> bool {
        let is_there = |id| {
            let mut known = self.known.iter();
            known.any(|known| known.header().segment == id)
        };
        let mut losses = self.losses.iter();
        losses.any(|header| loss::explains(header, checkpoint, is_there))
    }
}

/// Who held a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The log's own file.
    Log,
    Witness,
}

/// What an operator accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Records that are gone.
    pub(super) loss: Option<AcceptedLoss>,
    /// What witnesses hold of places where this log has other records, and who.
    contradictions: Vec<(String, Checkpoint)>,
}

impl Accepted {
    /// The contradictions, as they go on record.
    pub(super) fn words(&self) -> Vec<String> {
        let words = |(place, held): &(String, Checkpoint)| {
            format!("{place} holds checkpoint {}", held.sequence)
        };
        self.contradictions.iter().map(words).collect()
    }
}

/// Checks every checkpoint against the log; returns what was accepted and goes on record, if anything.
pub(super) fn check(
    files: &dyn Files,
    found: &Found<'_>,
    held: &[Held],
    key: &VerifierKey,
    truncation: Truncation,
) -> Result<Accepted, LogError> {
    let mut accepted = Accepted::default();
    for Held { by, place, note } in held {
        let checkpoint =
            Checkpoint::open(note, key).map_err(|source| LogError::ForeignCheckpoint {
                place: place.clone(),
                source,
            })?;
        let end = found.end;
        match compare(files, found.known, end, &checkpoint)? {
            Standing::Contained => {}
            Standing::Ahead | Standing::Diverged if found.explains(&checkpoint) => {}
            Standing::Diverged => match (truncation, by) {
                (Truncation::Accept, By::Witness) => {
                    accepted.contradictions.push((place.clone(), checkpoint));
                }
                (Truncation::Accept, By::Log) | (Truncation::Refuse, By::Log | By::Witness) => {
                    return Err(LogError::Diverged {
                        place: place.clone(),
                        witnessed: checkpoint.sequence,
                    });
                }
            },
            Standing::Ahead if truncation == Truncation::Refuse => {
                return Err(LogError::Ahead {
                    place: place.clone(),
                    witnessed: checkpoint.sequence,
                    recovered: end.previous.sequence,
                });
            }
            Standing::Ahead => {
                let known = accepted.loss.as_ref();
                if known.is_none_or(|loss| loss.to < checkpoint.sequence) {
                    accepted.loss = Some(AcceptedLoss {
                        from: end.previous.sequence.saturating_add(1),
                        to: checkpoint.sequence,
                        place: place.clone(),
                    });
                }
            }
        }
    }
    Ok(accepted)
}

/// Compares a witness that answers when the log is open already.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) key: VerifierKey,
    /// What an operator accepted when the log was opened.
    accepted: Mutex<Vec<Head>>,
}

impl Later {
    pub(super) fn new(files: &Arc<dyn Files>, directory: &Path, key: &VerifierKey) -> Self {
        Self {
            files: Arc::clone(files),
            directory: directory.to_owned(),
            key: key.clone(),
            accepted: Mutex::default(),
        }
    }

    /// An operator accepted these.
    pub(super) fn accept(&self, accepted: &Accepted) {
        let heads = accepted.contradictions.iter();
        lock(&self.accepted).extend(heads.map(|(_, checkpoint)| checkpoint.head));
    }

    /// Checks what a witness holds.
    ///
    /// # Errors
    /// [`WitnessError::Contradicts`] where it is not in this log, and no operator accepted that.
    pub(super) fn check(&self, place: &str, note: &str) -> Result<(), WitnessError> {
        let checkpoint =
            Checkpoint::open(note, &self.key).map_err(|source| WitnessError::Note {
                place: place.to_owned(),
                source,
            })?;
        let is_accepted = lock(&self.accepted).contains(&checkpoint.head);
        let is_known = is_accepted
            || self
                .contains(&checkpoint)
                .map_err(|error| WitnessError::Other(error.to_string()))?;
        if is_known {
            return Ok(());
        }
        Err(WitnessError::Contradicts {
            held: checkpoint.sequence,
        })
    }

    /// Whether the log, as it is now, has that place, or says that an operator accepted its loss.
    fn contains(&self, checkpoint: &Checkpoint) -> Result<bool, LogError> {
        let (files, directory) = (&*self.files, self.directory.as_path());
        let end = format!("-{}{SUFFIX}", checkpoint.segment);
        let mut segments = names(files, directory)?.into_iter();
        if let Some(name) = segments.find(|name| name.ends_with(&end)) {
            let segment = known(files, directory, name)?;
            match look(files, &segment, checkpoint)? {
                Spot::There => return Ok(true),
                Spot::Missing | Spot::Other => {}
            }
        }
        let headers = headers(files, directory)?;
        let is_there = |id| headers.iter().any(|header| header.segment == id);
        Ok(headers
            .iter()
            .any(|header| loss::explains(header, checkpoint, is_there)))
    }
}

enum Standing {
    /// The checkpoint is of a place behind the log's end.
    Ahead,
    Contained,
    /// The log has other records there.
    Diverged,
}

fn compare(
    files: &dyn Files,
    known: &[Known],
    end: &End,
    checkpoint: &Checkpoint,
) -> Result<Standing, LogError> {
    // At or behind the newest record, a head that is missing was cut off with what followed it.
    let missing = if checkpoint.sequence >= end.previous.sequence {
        Standing::Ahead
    } else {
        Standing::Diverged
    };
    let segment = known
        .iter()
        .find(|known| known.header().segment == checkpoint.segment);
    let Some(segment) = segment else {
        return Ok(missing);
    };
    // Of the newest record only the seal may be missing, which is no leaf: with another tree it was altered.
    let previous = &end.previous;
    let is_last =
        (previous.segment, previous.sequence) == (checkpoint.segment, checkpoint.sequence);
    let is_altered = is_last && checkpoint.tree.is_some() && checkpoint.tree != previous.tree;
    Ok(match look(files, segment, checkpoint)? {
        Spot::There => Standing::Contained,
        Spot::Other => Standing::Diverged,
        Spot::Missing if is_altered => Standing::Diverged,
        Spot::Missing => missing,
    })
}

/// What a segment has where a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// It ends before.
    Missing,
    /// Something else.
    Other,
    There,
}

fn look(files: &dyn Files, segment: &Known, checkpoint: &Checkpoint) -> Result<Spot, LogError> {
    let file = open(files, &segment.path, Access::Read)?;
    let mut walk = Walk::at_start(&*file, segment.parsed.clone());
    loop {
        if walk.head == checkpoint.head && walk.last() == checkpoint.sequence {
            return Ok(Spot::There);
        }
        let step = walk.step();
        match step.map_err(LogError::io("reading", &segment.path))? {
            Step::Record { sequence, .. } if sequence > checkpoint.sequence => {
                return Ok(Spot::Other);
            }
            Step::Record { .. } | Step::Sealed => {}
            Step::End | Step::Broken(_) => break,
        }
    }
    // Nothing was cut from a segment that was closed: it is another one.
    if walk.sealed.is_some() && walk.last() == checkpoint.sequence {
        return Ok(Spot::Other);
    }
    Ok(Spot::Missing)
}
