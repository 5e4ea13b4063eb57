//! What stands behind the last whole frame: nothing, the trace of a crash, or damage.
//!
//! A crash leaves parts of at most one unsynced batch. Segments are allocated as zeroes and disks
//! write whole sectors, so what did not reach the disk reads as zeroes or as the end of the file.
//! Bytes that are wrong without such a gap were written by something else.

use std::io;

use super::files::ReadAt;
use super::walk::{BATCH_LIMIT, FRAME_EXTRA, MAX_PAYLOAD, frame_length};

const SECTOR: u64 = 512;
/// Fewer zero bytes than this at the edge of a sector prove nothing.
const LEAST_GAP: u64 = 4;
const LONGEST_TORN: u64 = (BATCH_LIMIT + MAX_PAYLOAD + FRAME_EXTRA + 16) as u64;

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

/// Examines what follows `offset`, where the last whole frame of an unsealed segment ends.
pub(super) fn examine(source: &dyn ReadAt, offset: u64) -> io::Result<Tail> {
    let used = used_bytes(source, offset)?;
    if used == 0 {
        return Ok(Tail::Clean);
    }
    if used > LONGEST_TORN {
        return Ok(Tail::Damaged(used));
    }
    let mut bytes = vec![0; usize::try_from(used).unwrap_or_default()];
    fill(source, offset, &mut bytes)?;
    Ok(if is_torn(offset, &bytes) {
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

/// Fills `bytes` from `offset`; what the file does not have stays zero.
pub(super) fn fill(source: &dyn ReadAt, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = source.read_at(at, rest)?;
        if count == 0 {
            break;
        }
        at = at.saturating_add(count as u64);
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// `bytes` end with a byte that is not zero.
fn is_torn(offset: u64, bytes: &[u8]) -> bool {
    let word = bytes
        .first_chunk::<4>()
        .map(|word| u32::from_be_bytes(*word));
    let Some(word) = word else {
        return true;
    };
    let frame = frame_length(word);
    // Nothing was written behind the broken frame: its own end is what is missing.
    let length = frame.unwrap_or(4);
    if bytes.len() <= length {
        return true;
    }
    let region = match frame {
        Some(length) => bytes.get(..length).unwrap_or(bytes),
        None => bytes,
    };
    has_gap(offset, region, bytes)
}

/// Whether a sector that `region` touches is, as far as `bytes` reach, all zero.
fn has_gap(offset: u64, region: &[u8], bytes: &[u8]) -> bool {
    let region_end = offset.saturating_add(region.len() as u64);
    let end = offset.saturating_add(bytes.len() as u64);
    let mut from = offset;
    while from < region_end {
        let boundary = from
            .checked_next_multiple_of(SECTOR)
            .filter(|boundary| *boundary > from)
            .unwrap_or_else(|| from.saturating_add(SECTOR));
        let to = boundary.min(end);
        let piece = index(from, offset)
            .zip(index(to, offset))
            .and_then(|(from, to)| bytes.get(from..to))
            .unwrap_or_default();
        if to.saturating_sub(from) >= LEAST_GAP && piece.iter().all(|byte| *byte == 0) {
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
mod tests {
    use super::*;

    /// Three frames' worth of bytes, none zero but the length words' first two.
    fn frames(length: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend(std::iter::repeat_n(0xa7, length as usize));
        }
        bytes
    }

    #[test]
    fn zeroes_are_an_end() {
        assert_eq!(examine(&[0_u8; 2000].as_slice(), 100).unwrap(), Tail::Clean);
        assert_eq!(examine(&[].as_slice(), 100).unwrap(), Tail::Clean);
    }

    #[test]
    fn a_missing_end_is_a_tear() {
        let whole = frames(700);
        for end in 1..704 {
            let mut bytes = whole[..end].to_vec();
            bytes.resize(4096, 0);
            assert!(matches!(
                examine(&bytes.as_slice(), 0).unwrap(),
                Tail::Torn(_) | Tail::Clean
            ));
        }
    }

    #[test]
    fn a_missing_sector_is_a_tear() {
        for lost in 0..4 {
            let mut bytes = frames(700);
            bytes[lost * 512..][..512].fill(0);
            let found = examine(&bytes.as_slice(), 0).unwrap();
            // The last sector is beyond the first frame, which then is whole for this test.
            let expected = if lost <= 1 {
                Tail::Torn(2112)
            } else {
                Tail::Damaged(2112)
            };
            assert_eq!(found, expected, "sector {lost}");
        }
    }

    #[test]
    fn wrong_bytes_without_a_gap_are_damage() {
        assert_eq!(
            examine(&frames(700).as_slice(), 0).unwrap(),
            Tail::Damaged(2112)
        );
        let far = vec![1; usize::try_from(LONGEST_TORN).unwrap() + 1];
        assert!(matches!(
            examine(&far.as_slice(), 0).unwrap(),
            Tail::Damaged(_)
        ));
    }
}
