//! The segment that is being written: its part of the index is in memory, and becomes a file when the segment is closed.
//!
//! Memory: about a fifth of `audit.segment_bytes`, twice as much while the file is made.

use std::sync::{Arc, MutexGuard};

use super::build::Builder;
use super::part::Part;
use super::sheet::Fault;
use super::shredded::Nothing;
use super::store::take_up;
use super::{Index, lock};
use crate::audit::log::{Closed, Frames, LogError, Retired, Shelved};

/// The part in memory, and how far the segment has been read.
#[derive(Debug)]
pub(super) struct Live {
    frames: Frames,
    pub(super) builder: Builder,
}

impl Live {
    fn segment(&self) -> &Shelved {
        self.frames.shelved()
    }

    fn is(&self, segment: &Shelved) -> bool {
        self.segment().header().segment == segment.header().segment
    }
}

/// What came of a question to the index of a segment.
#[derive(Debug)]
pub(super) struct Asked<T> {
    /// The answer.
    pub(super) value: T,
    /// Whether the segment had to be read through for it.
    pub(super) scanned: bool,
    /// Where the segment is damaged, which ends the answer.
    pub(super) failure: Option<LogError>,
    /// Why nothing can be said of the segment.
    pub(super) shredded: Option<Retired>,
}

impl<T> Asked<T> {
    const fn of(value: T) -> Self {
        Self {
            value,
            scanned: false,
            failure: None,
            shredded: None,
        }
    }
}

impl Index {
    /// Asks the index of a segment, as far as the durable record `to`.
    ///
    /// # Errors
    /// [`LogError`] for a segment that cannot be read.
    pub(super) fn ask<T>(
        &self,
        segment: &Shelved,
        to: u64,
        question: impl Fn(&dyn Part) -> Result<T, Fault>,
    ) -> Result<Asked<T>, LogError> {
        if let Some(note) = self.shredded(segment) {
            return self.ask_nothing(note, question);
        }
        let closed = match segment.closed() {
            Some(closed) => closed,
            None => match self.live(segment, to, u64::MAX)? {
                Some(live) => {
                    let part = live.as_ref().map(|live| &live.builder);
                    let part = part.ok_or_else(|| self.unusable(&Fault::Damaged))?;
                    let value = question(part).map_err(|fault| self.unusable(&fault))?;
                    return Ok(Asked::of(value));
                }
                // It was closed since the question was asked.
                None => self.closed(segment)?,
            },
        };
        if let Some(stored) = self.stored(segment, closed)? {
            match question(&*stored) {
                Ok(value) => return Ok(Asked::of(value)),
                Err(fault) => self.distrust(segment, &fault),
            }
        } else if self.finish_live(segment)?
            && let Some(stored) = self.stored(segment, closed)?
            && let Ok(value) = question(&*stored)
        {
            // It was complete in memory.
            return Ok(Asked::of(value));
        }
        let ready = match self.read_through(segment, closed) {
            Err(LogError::Shredded(note)) => {
                self.remember_shredded((*note).clone());
                return self.ask_nothing(*note, question);
            }
            ready => ready?,
        };
        let value = question(&*ready.part).map_err(|fault| self.unusable(&fault))?;
        Ok(Asked {
            value,
            scanned: true,
            failure: ready.failure.map(LogError::from),
            shredded: None,
        })
    }

    fn ask_nothing<T>(
        &self,
        note: Retired,
        question: impl Fn(&dyn Part) -> Result<T, Fault>,
    ) -> Result<Asked<T>, LogError> {
        let value = question(&Nothing).map_err(|fault| self.unusable(&fault))?;
        Ok(Asked {
            shredded: Some(note),
            ..Asked::of(value)
        })
    }

    /// How a segment ended that was open before.
    fn closed(&self, segment: &Shelved) -> Result<Closed, LogError> {
        let id = segment.header().segment;
        let segments = self.segments()?;
        let now = segments.iter().find(|known| known.header().segment == id);
        now.and_then(Shelved::closed).ok_or(LogError::Missing {
            segment: id,
            number: segment.header().number,
        })
    }

    /// The part in memory of the newest segment, with at most `most` further records up to the durable record `to`;
    /// `None` where a newer segment has been begun since.
    ///
    /// # Errors
    /// [`LogError`] for a record that cannot be read.
    pub(super) fn live(
        &self,
        segment: &Shelved,
        to: u64,
        most: u64,
    ) -> Result<Option<MutexGuard<'_, Option<Live>>>, LogError> {
        let mut live = lock(&self.0.live);
        let newer = live
            .as_ref()
            .is_some_and(|known| known.segment().header().number > segment.header().number);
        if newer {
            return Ok(None);
        }
        if !live.as_ref().is_some_and(|known| known.is(segment)) {
            if let Some(old) = live.take() {
                self.finish(old)?;
            }
            let keys = self.keys()?;
            let frames = Frames::open(&*self.0.files, segment, &self.0.master)?;
            *live = Some(Live {
                builder: Builder::new(Arc::clone(&keys.terms), segment.header().first),
                frames,
            });
        }
        if let Some(part) = &mut *live {
            let taken = take_up(&mut part.frames, &mut part.builder, to, most);
            if taken.is_err() {
                // It has lost its place; the next question begins anew.
                *live = None;
            }
            taken?;
        }
        Ok(Some(live))
    }

    /// The record that the part in memory takes up next, if it is of this segment.
    pub(super) fn live_next(&self, segment: &Shelved) -> Option<u64> {
        let live = lock(&self.0.live);
        let part = live.as_ref().filter(|part| part.is(segment))?;
        Some(part.builder.next())
    }

    /// Makes a file of the part in memory, where it is of this closed segment; says whether it was.
    ///
    /// # Errors
    /// [`LogError`] for a segment that cannot be read.
    fn finish_live(&self, segment: &Shelved) -> Result<bool, LogError> {
        let mut live = lock(&self.0.live);
        let Some(part) = live.take_if(|part| part.is(segment)) else {
            return Ok(false);
        };
        self.finish(part)?;
        Ok(true)
    }

    fn finish(&self, mut part: Live) -> Result<(), LogError> {
        let segment = part.segment().clone();
        let segments = self.segments()?;
        let id = segment.header().segment;
        let now = segments.iter().find(|known| known.header().segment == id);
        let Some(closed) = now.and_then(Shelved::closed) else {
            // Removed, or still the newest: the part is made anew when it is asked for.
            return Ok(());
        };
        match take_up(&mut part.frames, &mut part.builder, closed.last, u64::MAX) {
            Ok(_) => self.keep(&segment, closed, &part.builder, None).map(drop),
            // It is read through when it is asked for, which says how far it is whole.
            Err(LogError::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
