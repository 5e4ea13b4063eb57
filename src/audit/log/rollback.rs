//! Comparing checkpoints with the log that was found, before it is continued.
//!
//! SECURITY: a log restored from an old copy, or cut by someone with access to the disk, is whole
//! in itself; only a checkpoint that is ahead of it tells. Continuing it would also give sequence
//! numbers out twice, so the log is not opened unless an operator accepts the loss, and then goes
//! on behind the numbers that are gone.

use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::files::{Access, Files};
use super::header::AcceptedLoss;
use super::note::VerifierKey;
use super::options::Truncation;
use super::recover::{End, Known, open};
use super::walk::{Step, Walk};

/// A checkpoint, and who held it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) place: String,
    pub(super) note: String,
}

/// Checks every checkpoint against the log; returns the loss that goes on record, if any.
pub(super) fn check(
    files: &dyn Files,
    known: &[Known],
    end: &End,
    held: &[Held],
    key: &VerifierKey,
    truncation: Truncation,
) -> Result<Option<AcceptedLoss>, LogError> {
    let mut loss: Option<AcceptedLoss> = None;
    for Held { place, note } in held {
        let checkpoint =
            Checkpoint::open(note, key).map_err(|source| LogError::ForeignCheckpoint {
                place: place.clone(),
                source,
            })?;
        match compare(files, known, end, &checkpoint)? {
            Standing::Contained => {}
            Standing::Diverged => {
                return Err(LogError::Diverged {
                    place: place.clone(),
                    witnessed: checkpoint.sequence,
                });
            }
            Standing::Ahead if truncation == Truncation::Refuse => {
                return Err(LogError::Ahead {
                    place: place.clone(),
                    witnessed: checkpoint.sequence,
                    recovered: end.previous.sequence,
                });
            }
            Standing::Ahead => {
                if loss
                    .as_ref()
                    .is_none_or(|loss| loss.to < checkpoint.sequence)
                {
                    loss = Some(AcceptedLoss {
                        from: end.previous.sequence.saturating_add(1),
                        to: checkpoint.sequence,
                        place: place.clone(),
                    });
                }
            }
        }
    }
    Ok(loss)
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
    let file = open(files, &segment.path, Access::Read)?;
    let mut walk = Walk::at_start(&*file, segment.parsed.clone());
    loop {
        if walk.head == checkpoint.head && walk.last() == checkpoint.sequence {
            return Ok(Standing::Contained);
        }
        let step = walk.step();
        match step.map_err(LogError::io("reading", &segment.path))? {
            Step::Record { sequence, .. } if sequence > checkpoint.sequence => {
                return Ok(Standing::Diverged);
            }
            Step::Record { .. } | Step::Sealed => {}
            Step::End | Step::Broken(_) => break,
        }
    }
    // Nothing was cut from a segment that was closed: it is another one.
    if walk.sealed.is_some() && walk.last() == checkpoint.sequence {
        return Ok(Standing::Diverged);
    }
    Ok(missing)
}
