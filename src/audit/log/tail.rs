//! What stands behind the last whole frame: nothing, the trace of a crash, or damage.
//!
//! A crash leaves parts of at most one unsynced batch. Segments are allocated as zeroes and disks
//! write whole sectors, so what did not reach the disk reads as zeroes or as the end of the file.
//! Where a whole frame follows one that is broken, and no such gap explains the break, something
//! else wrote there.

use std::io;
use std::path::Path;

use super::crypt::Head;
use super::files::{Access, Files, ReadAt};
use super::format::Format;
use super::walk::{BATCH_LIMIT, CHAIN_BYTES, FRAME_EXTRA, MAX_PAYLOAD, frame_length};

const SECTOR: u64 = 512;
const LONGEST_TORN: u64 = (BATCH_LIMIT + MAX_PAYLOAD + FRAME_EXTRA + 16) as u64;
/// As many bytes are hashed in search of a whole frame. What a crash leaves needs some 10 MiB at most: its frames do not
/// overlap, and each is hashed twice. Bytes that look like frames at every place would keep the search busy for hours.
const HASHED_AT_MOST: u64 = 64 * 1024 * 1024;

/// What a segment ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing but allocated zeroes.
    Clean,
    /// A batch that a crash left unfinished: this many bytes.
    Torn(u64),
    /// Bytes that no crash leaves: this many.
    Damaged(u64),
}

/// Examines what follows `offset`, where the last whole frame of an unsealed segment ends with the
/// chain value `head`; `next` is the sequence number that would have followed.
pub(super) fn examine(
    source: &dyn ReadAt,
    format: Format,
    offset: u64,
    head: Head,
    next: u64,
) -> io::Result<Tail> {
    let used = used_bytes(source, offset)?;
    if used == 0 {
        return Ok(Tail::Clean);
    }
    if used > LONGEST_TORN {
        return Ok(Tail::Damaged(used));
    }
    let used_length = usize::try_from(used).unwrap_or_default();
    // A frame ends with its chain value, which may itself end with zeroes.
    let mut bytes = vec![0; used_length.saturating_add(CHAIN_BYTES)];
    fill(source, offset, &mut bytes)?;
    // Without a whole frame behind the broken one, its end is what the crash took.
    let torn = match resync(format, &bytes, head, next, HASHED_AT_MOST) {
        Whole::Nowhere => true,
        Whole::At(whole) => has_gap(offset, whole, bytes.get(..used_length).unwrap_or(&bytes)),
        Whole::Unsought => false,
    };
    Ok(if torn {
        Tail::Torn(used)
    } else {
        Tail::Damaged(used)
    })
}

/// How many bytes follow `offset` up to the last one that is not zero.
pub(super) fn used_bytes(source: &dyn ReadAt, offset: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 65_536];
    let mut at = offset;
    let mut used = 0;
    loop {
        let count = source.read_at(at, &mut buffer)?;
        if count == 0 {
            return Ok(used);
        }
        let last = buffer
            .get(..count)
            .unwrap_or_default()
            .iter()
            .rposition(|byte| *byte != 0);
        if let Some(last) = last {
            let end = at.saturating_add(last as u64).saturating_add(1);
            used = end.saturating_sub(offset);
        }
        at = at.saturating_add(count as u64);
    }
}

/// Fills `bytes` from `offset`; what the file does not have stays zero. Returns how many it had.
pub(super) fn fill(source: &dyn ReadAt, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut held = 0_usize;
    while let Some(rest) = bytes.get_mut(held..).filter(|rest| !rest.is_empty()) {
        let count = source.read_at(offset.saturating_add(held as u64), rest)?;
        if count == 0 {
            break;
        }
        held = held.saturating_add(count);
    }
    Ok(held)
}

/// What a small file holds, up to `most` bytes; nothing where there is none.
pub(super) fn whole(files: &dyn Files, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let size = usize::try_from(file.size()?.min(most)).unwrap_or_default();
    let mut bytes = vec![0; size];
    fill(&*file, 0, &mut bytes)?;
    Ok(Some(bytes))
}

/// Where a whole frame begins behind a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    At(usize),
    Nowhere,
    /// There were more bytes to hash than a crash leaves.
    Unsought,
}

/// Where the first whole frame begins that follows from the chain value before it: the one that
/// stands there, or the one that should. No more than `budget` bytes are hashed.
fn resync(format: Format, bytes: &[u8], head: Head, next: u64, budget: u64) -> Whole {
    let near = next.saturating_sub(1)..next.saturating_add(LONGEST_TORN);
    let first = frame_at(bytes).map(|(committed, _)| {
        let end = committed.len().saturating_add(CHAIN_BYTES);
        (end, format.chain(head, committed))
    });
    let mut left = budget;
    for at in CHAIN_BYTES..bytes.len() {
        let Some((before, rest)) = bytes.split_at_checked(at) else {
            continue;
        };
        let Some(sequence) = rest.get(5..13).and_then(|bytes| bytes.first_chunk::<8>()) else {
            continue;
        };
        if !near.contains(&u64::from_be_bytes(*sequence)) {
            continue;
        }
        let Some((committed, stored)) = frame_at(rest) else {
            continue;
        };
        let stands = before.last_chunk().copied().map(Head::from_bytes);
        let should = first.and_then(|(end, value)| (end == at).then_some(value));
        for before in stands.into_iter().chain(should) {
            let Some(rest) = left.checked_sub(committed.len() as u64) else {
                return Whole::Unsought;
            };
            left = rest;
            if format.chain(before, committed) == stored {
                return Whole::At(at);
            }
        }
    }
    Whole::Nowhere
}

/// The frame that begins here, if it is long enough: its bytes without the chain value, and that.
fn frame_at(bytes: &[u8]) -> Option<(&[u8], Head)> {
    let length = frame_length(u32::from_be_bytes(*bytes.first_chunk::<4>()?))?;
    let (committed, stored) = bytes.get(..length)?.split_last_chunk::<CHAIN_BYTES>()?;
    Some((committed, Head::from_bytes(*stored)))
}

/// Whether a sector that the first `broken` bytes touch is, as far as `bytes` reach, all zero.
fn has_gap(offset: u64, broken: usize, bytes: &[u8]) -> bool {
    let broken_end = offset.saturating_add(broken as u64);
    let end = offset.saturating_add(bytes.len() as u64);
    // What the length word of a single broken frame must have been.
    let word = u32::try_from(broken.saturating_sub(4))
        .unwrap_or_default()
        .to_be_bytes();
    let mut from = offset;
    while from < broken_end {
        let boundary = from
            .checked_next_multiple_of(SECTOR)
            .filter(|boundary| *boundary > from)
            .unwrap_or_else(|| from.saturating_add(SECTOR));
        let to = boundary.min(end);
        let piece = index(from, offset)
            .zip(index(to, offset))
            .and_then(|(from, to)| bytes.get(from..to))
            .unwrap_or_default();
        // Up to three zero bytes may be the beginning of a length word that was always zero.
        let telling =
            piece.len() >= word.len() || word.iter().take(piece.len()).any(|byte| *byte != 0);
        if telling && piece.iter().all(|byte| *byte == 0) {
            return true;
        }
        from = boundary;
    }
    false
}

fn index(at: u64, offset: u64) -> Option<usize> {
    usize::try_from(at.checked_sub(offset)?).ok()
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests {
    use super::*;
    use crate::audit::log::walk::KIND_RECORD;

    const START: u64 = 300;

    /// Three whole frames, 10 to 12, with bodies of `body` bytes.
    fn frames(body: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut head = Head::ZERO;
        for sequence in 10_u64..13 {
            let word = u32::try_from(body + FRAME_EXTRA - 4).unwrap();
            let mut frame = word.to_be_bytes().to_vec();
            frame.push(KIND_RECORD);
            frame.extend(sequence.to_be_bytes());
            frame.extend(std::iter::repeat_n(0xa7, body));
            head = Format::Two.chain(head, &frame);
            frame.extend(head.as_bytes());
            bytes.extend(frame);
        }
        bytes
    }

    fn examined(bytes: &[u8]) -> Tail {
        let mut file = vec![0xff; usize::try_from(START).unwrap()];
        file.extend(bytes);
        file.resize(8192, 0);
        examine(&file.as_slice(), Format::Two, START, Head::ZERO, 10).unwrap()
    }

    #[test]
    fn zeroes_are_an_end() {
        assert_eq!(examined(&[]), Tail::Clean);
        assert_eq!(
            examine(&[].as_slice(), Format::Two, 100, Head::ZERO, 1).unwrap(),
            Tail::Clean
        );
    }

    #[test]
    fn a_missing_end_is_a_tear() {
        let mut whole = frames(700);
        whole[200] = 0;
        for end in 4..700 {
            assert!(matches!(examined(&whole[..end]), Tail::Torn(_)), "{end}");
        }
    }

    #[test]
    fn a_missing_sector_is_a_tear_wherever_the_frame_begins() {
        for body in 300..900 {
            let whole = frames(body);
            // The sectors that the first frame touches, by their edges within the bytes.
            let mut from = 0;
            let mut to = 512 - usize::try_from(START).unwrap();
            while from < body + FRAME_EXTRA {
                let mut bytes = whole.clone();
                let end = to.min(bytes.len());
                bytes[from..end].fill(0);
                assert!(
                    matches!(examined(&bytes), Tail::Torn(_)),
                    "{body} {from}..{to}"
                );
                (from, to) = (to, to + 512);
            }
        }
    }

    #[test]
    fn wrong_bytes_without_a_gap_are_damage() {
        let whole = frames(700);
        for at in 0..700 + FRAME_EXTRA {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert!(matches!(examined(&bytes), Tail::Damaged(_)), "{at}");
        }
    }

    #[test]
    fn a_frame_whose_chain_value_ends_with_a_zero_is_whole() {
        // The body decides how the chain value of the last of two frames ends.
        let (body, mut bytes) = (300..3000_usize)
            .map(|body| (body, frames(body)))
            .map(|(body, mut frames)| {
                frames.truncate(2 * (body + FRAME_EXTRA));
                (body, frames)
            })
            .find(|(_, bytes)| bytes.ends_with(&[0]))
            .unwrap();
        bytes[body / 2] ^= 0x40;
        assert!(matches!(examined(&bytes), Tail::Damaged(_)), "{body}");
    }

    #[test]
    fn bytes_that_look_like_a_frame_at_every_place_are_not_all_hashed() {
        let mut bytes = Vec::new();
        for _ in 0..200 {
            bytes.extend(1000_u32.to_be_bytes());
            bytes.push(KIND_RECORD);
            bytes.extend(11_u64.to_be_bytes());
        }
        let sought = |budget| resync(Format::Two, &bytes, Head::ZERO, 10, budget);
        assert_eq!(sought(20 * 1000), Whole::Unsought);
        assert_eq!(sought(HASHED_AT_MOST), Whole::Nowhere);
        // The longest batch that a crash can leave, of records as long as they may be and as short as they may be.
        for body in [MAX_PAYLOAD, 16] {
            let mut whole = frames(body);
            whole[20] ^= 1;
            assert!(matches!(
                resync(Format::Two, &whole, Head::ZERO, 10, 4 * whole.len() as u64),
                Whole::At(_)
            ));
        }
    }

    #[test]
    fn more_than_a_batch_is_damage() {
        let far = vec![1; usize::try_from(LONGEST_TORN).unwrap() + 1];
        assert!(matches!(
            examine(&far.as_slice(), Format::Two, 0, Head::ZERO, 1).unwrap(),
            Tail::Damaged(_)
        ));
    }
}
