//! What was done where a segment's frames break off: the nearest explanation of what stands there.
//!
//! *Never*: changes what is in doubt; that is found before, by the chain.

use std::io;

use memchr::memmem;

use crate::audit::log::crypt::Head;
use crate::audit::log::files::ReadAt;
use crate::audit::log::report::Damage;
use crate::audit::log::tail::fill;
use crate::audit::log::walk::{
    CHAIN_BYTES, FRAME_HEAD, Flaw, KIND_RECORD, KIND_SEAL, Walk, frame_length, frame_parts,
};

const READ_BYTES: usize = 256 * 1024;

/// The beginning of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Begun {
    kind: u8,
    sequence: u64,
    length: usize,
}

/// What was done behind the last whole frame of `walk`.
pub(super) fn of(source: &dyn ReadAt, walk: &Walk<'_>, flaw: &Flaw) -> io::Result<Damage> {
    match flaw {
        Flaw::Kind(_) | Flaw::Length(_) => Ok(Damage::Flipped),
        Flaw::Excess => Ok(Damage::Inserted),
        // The chain fits, so it was computed anew over something else.
        Flaw::Seal | Flaw::Tree => Ok(Damage::Replaced),
        Flaw::CutOff => cut_off(source, walk),
        Flaw::Chain => {
            let here = begun(source, walk.offset)?;
            let behind = match here {
                Some(here) => begun(source, after(walk.offset, here))?,
                None => None,
            };
            let twice = here.zip(behind).is_some_and(|(here, behind)| {
                here.kind == behind.kind && here.sequence == behind.sequence
            });
            Ok(if twice {
                Damage::Inserted
            } else {
                Damage::Flipped
            })
        }
        Flaw::OutOfPlace(found) => out_of_place(source, walk, *found),
    }
}

/// Another number stands here than the next.
fn out_of_place(source: &dyn ReadAt, walk: &Walk<'_>, found: u64) -> io::Result<Damage> {
    let Some(here) = begun(source, walk.offset)? else {
        return Ok(Damage::Flipped);
    };
    if is_renumbered(source, walk, here)? {
        return Ok(Damage::Flipped);
    }
    if here.kind == KIND_SEAL {
        let missing = found >= walk.next;
        return Ok(if missing {
            Damage::Dropped
        } else {
            Damage::Inserted
        });
    }
    if found < walk.next {
        return Ok(Damage::Inserted);
    }
    let (mut wanted_later, mut found_later) = (false, false);
    let mut at = after(walk.offset, here);
    while let Some(frame) = begun(source, at)? {
        if frame.kind == KIND_RECORD {
            wanted_later |= frame.sequence == walk.next;
            found_later |= frame.sequence == found;
        }
        at = after(at, frame);
    }
    Ok(match (wanted_later, found_later) {
        (false, _) => Damage::Dropped,
        (true, false) => Damage::Swapped,
        (true, true) => Damage::Inserted,
    })
}

/// Whether the chain fits once the frame has the number that should stand here: then that is all that was altered.
fn is_renumbered(source: &dyn ReadAt, walk: &Walk<'_>, here: Begun) -> io::Result<bool> {
    let mut bytes = vec![0; here.length];
    fill(source, walk.offset, &mut bytes)?;
    let Some((committed, stored)) = bytes.split_last_chunk_mut::<CHAIN_BYTES>() else {
        return Ok(false);
    };
    let expected = if here.kind == KIND_SEAL {
        walk.next.saturating_sub(1)
    } else {
        walk.next
    };
    if let Some(number) = committed.get_mut(5..FRAME_HEAD) {
        number.copy_from_slice(&expected.to_be_bytes());
    }
    Ok(walk.format.chain(walk.head, committed) == Head::from_bytes(*stored))
}

/// The frame goes on past the end of the file: its length was altered where the next frame follows all the same.
fn cut_off(source: &dyn ReadAt, walk: &Walk<'_>) -> io::Result<Damage> {
    let next = [
        mark(KIND_RECORD, walk.next.saturating_add(1)),
        mark(KIND_SEAL, walk.next),
    ];
    let mut at = walk.offset;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = source.read_at(at, &mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if next.iter().any(|mark| memmem::find(read, mark).is_some()) {
            return Ok(Damage::Flipped);
        }
        // A mark may lie across two readings.
        let fresh = count.saturating_sub(FRAME_HEAD);
        if fresh == 0 {
            return Ok(Damage::Truncated);
        }
        at = at.saturating_add(fresh as u64);
    }
}

/// How a frame goes on behind its length.
fn mark(kind: u8, sequence: u64) -> [u8; 9] {
    let mut mark = [kind; 9];
    let (_, number) = mark.split_at_mut(1);
    number.copy_from_slice(&sequence.to_be_bytes());
    mark
}

fn begun(source: &dyn ReadAt, at: u64) -> io::Result<Option<Begun>> {
    let mut head = [0; FRAME_HEAD];
    fill(source, at, &mut head)?;
    let length = head
        .first_chunk::<4>()
        .and_then(|word| frame_length(u32::from_be_bytes(*word)));
    let parts = frame_parts(&head);
    let whole = length
        .zip(parts)
        .map(|(length, (kind, sequence, _))| Begun {
            kind,
            sequence,
            length,
        });
    Ok(whole.filter(|begun| begun.kind == KIND_RECORD || begun.kind == KIND_SEAL))
}

const fn after(at: u64, frame: Begun) -> u64 {
    at.saturating_add(frame.length as u64)
}
