//! Builds frames: what can be done for each record by itself, sealing and hashing. What depends on the record before,
//! the chain value, is filled in afterwards, in order.
//!
//! Sealing and hashing are most of what a record costs the writer, so a second thread does half where there are many.
//!
//! *Never*: touches the disk. *On failure*: nothing of what was built may be written.

use std::io;
use std::path::Path;

use super::crypt::{DataKey, Head, TAG_BYTES};
use super::error::LogError;
use super::format;
use super::segment::SEGMENTS;
use super::tree::{self, Tree};
use super::walk::{CHAIN_BYTES, FRAME_EXTRA, KIND_RECORD, KIND_SEAL, Seal};

/// From so many records on a second thread helps: below it, starting that thread costs more than it saves.
const MANY: usize = 128;

/// Frames, one behind the other.
#[derive(Debug)]
pub(super) struct Frames {
    /// One zero, then the frames. A leaf is hashed with a zero before it, which so needs no copy.
    bytes: Vec<u8>,
    /// Frames whose chain value is not filled in yet.
    open: Vec<Open>,
}

/// A frame without its chain value.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Where the value is to stand.
    at: usize,
    kind: u8,
    leaf: Head,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            bytes: vec![0],
            open: Vec::new(),
        }
    }
}

/// How long the frame of a record is.
pub(super) const fn frame_bytes(payload: &[u8]) -> usize {
    payload.len().saturating_add(TAG_BYTES + FRAME_EXTRA)
}

impl Frames {
    /// The frames; they are whole once [`Self::chain`] filled in what was open.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(1..).unwrap_or_default()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(1);
        self.open.clear();
    }

    /// Adds records, numbered from `first` on.
    pub(super) fn add_records(
        &mut self,
        key: &DataKey,
        first: u64,
        payloads: &[&[u8]],
    ) -> Result<(), LogError> {
        if payloads.len() < MANY {
            return self.add_in_order(key, first, payloads);
        }
        let (here, there) = payloads.split_at(payloads.len() / 2);
        let middle = first.saturating_add(here.len() as u64);
        let other = || {
            let mut frames = Self::default();
            frames.add_in_order(key, middle, there).map(|()| frames)
        };
        std::thread::scope(|scope| {
            let helper = std::thread::Builder::new()
                .name("audit-sealer".to_owned())
                .spawn_scoped(scope, other);
            self.add_in_order(key, first, here)?;
            match helper {
                Ok(helper) => {
                    let built = helper.join().unwrap_or_else(|_| Err(broke_off()))?;
                    self.append(&built);
                    Ok(())
                }
                // Alone it takes longer.
                Err(_) => self.add_in_order(key, middle, there),
            }
        })
    }

    fn add_in_order(
        &mut self,
        key: &DataKey,
        first: u64,
        payloads: &[&[u8]],
    ) -> Result<(), LogError> {
        for (sequence, payload) in (first..).zip(payloads) {
            let from = self.begin(KIND_RECORD, sequence, payload, TAG_BYTES)?;
            let start = self.bytes.len().saturating_sub(payload.len());
            let plain = self.bytes.get_mut(start..).unwrap_or_default();
            let tag = key
                .seal_record(KIND_RECORD, sequence, plain)
                .map_err(LogError::crypt("sealing a record"))?;
            self.bytes.extend_from_slice(&tag);
            self.leave_open(from, KIND_RECORD);
        }
        Ok(())
    }

    /// Adds the frame that closes a segment.
    pub(super) fn add_seal(&mut self, seal: &Seal) -> Result<(), LogError> {
        let body = serde_json::to_vec(seal).ok().ok_or(LogError::Option {
            name: "seal",
            problem: "it could not be rendered",
        })?;
        let from = self.begin(KIND_SEAL, seal.last, &body, 0)?;
        self.leave_open(from, KIND_SEAL);
        Ok(())
    }

    /// Adds the head of a frame and its body; says where it begins.
    fn begin(
        &mut self,
        kind: u8,
        sequence: u64,
        body: &[u8],
        tag_bytes: usize,
    ) -> Result<usize, LogError> {
        let word = body
            .len()
            .saturating_add(tag_bytes)
            .saturating_add(FRAME_EXTRA - 4);
        let word = u32::try_from(word).ok().ok_or(LogError::Option {
            name: "payload",
            problem: "it is longer than a frame can be",
        })?;
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&word.to_be_bytes());
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&sequence.to_be_bytes());
        self.bytes.extend_from_slice(body);
        Ok(from)
    }

    /// Hashes a frame and leaves room for its chain value.
    fn leave_open(&mut self, from: usize, kind: u8) {
        let before = from.saturating_sub(1);
        let kept = self.replace(before, tree::LEAF);
        let leaf = tree::prefixed_leaf_hash(self.bytes.get(before..).unwrap_or_default());
        self.replace(before, kept);
        let at = self.bytes.len();
        self.open.push(Open { at, kind, leaf });
        self.bytes.extend_from_slice(&[0; CHAIN_BYTES]);
    }

    fn replace(&mut self, at: usize, with: u8) -> u8 {
        let byte = self.bytes.get_mut(at);
        byte.map_or(0, |byte| std::mem::replace(byte, with))
    }

    fn append(&mut self, built: &Self) {
        let shift = self.bytes.len().saturating_sub(1);
        self.bytes.extend_from_slice(built.bytes());
        self.open.extend(built.open.iter().map(|open| Open {
            at: open.at.saturating_add(shift),
            ..*open
        }));
    }

    /// Fills in what is open, behind `head`; records become leaves of `tree`. Returns the new head.
    pub(super) fn chain(&mut self, mut head: Head, tree: &mut Tree) -> Head {
        for Open { at, kind, leaf } in self.open.drain(..) {
            head = format::chained(head, leaf);
            if kind == KIND_RECORD {
                tree.push(leaf);
            }
            let end = at.saturating_add(CHAIN_BYTES);
            if let Some(value) = self.bytes.get_mut(at..end) {
                value.copy_from_slice(head.as_bytes());
            }
        }
        head
    }
}

fn broke_off() -> LogError {
    let source = io::Error::other("a thread that seals records broke off");
    LogError::io("sealing records for", Path::new(SEGMENTS))(source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::audit::log::format::Format;
    use crate::secret::Secret;

    /// The frames of these records, added in pieces, and what chain and tree come to.
    fn built(payloads: &[Vec<u8>], pieces: &[usize]) -> (Vec<u8>, Head, tree::TreeHead) {
        let key = DataKey::new(&Secret::new([7; 32]), Uuid::from_u128(7), Head::ZERO);
        let (mut frames, mut tree, mut head) = (Frames::default(), Tree::default(), Head::ZERO);
        let (mut rest, mut first) = (payloads, 1);
        let mut all = Vec::new();
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            let now: Vec<&[u8]> = now.iter().map(Vec::as_slice).collect();
            frames.add_records(&key, first, &now).unwrap();
            head = frames.chain(head, &mut tree);
            first += now.len() as u64;
            rest = later;
            if piece.is_multiple_of(2) {
                all.extend_from_slice(frames.bytes());
                frames.clear();
            }
        }
        all.extend_from_slice(frames.bytes());
        (all, head, tree.head())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// How many are built at once, and by how many threads, does not show.
        #[test]
        fn frames_are_the_same_however_they_are_built(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..400),
            pieces in proptest::collection::vec(0_usize..300, 0..4),
        ) {
            let one_by_one = vec![1; payloads.len()];
            let (bytes, head, tree) = built(&payloads, &pieces);
            prop_assert_eq!((&bytes, head, tree), {
                let (bytes, head, tree) = &built(&payloads, &one_by_one);
                (&bytes.clone(), *head, *tree)
            });
            // As a reader goes through them.
            let (mut at, mut value, mut count) = (0, Head::ZERO, 0_usize);
            while at < bytes.len() {
                let word: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
                let end = at + 4 + u32::from_be_bytes(word) as usize;
                prop_assert_eq!(end - at, frame_bytes(&payloads[count]));
                value = Format::Two.chain(value, &bytes[at..end - CHAIN_BYTES]);
                prop_assert_eq!(&bytes[end - CHAIN_BYTES..end], value.as_bytes());
                (at, count) = (end, count + 1);
            }
            prop_assert_eq!((count, value), (payloads.len(), head));
        }
    }
}
