//! Builds frames: seals records, hashes them, and chains each to the one before.
//!
//! *Never*: touches the disk. *On failure*: nothing of what was built may be written.

use super::crypt::{DataKey, Head, TAG_BYTES};
use super::error::LogError;
use super::format;
use super::tree::{self, Tree};
use super::walk::{FRAME_EXTRA, KIND_RECORD, KIND_SEAL, Seal};

/// Frames, one behind the other.
#[derive(Debug)]
pub(super) struct Frames {
    /// One zero, then the frames. A leaf is hashed with a zero before it, which so needs no copy.
    bytes: Vec<u8>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { bytes: vec![0] }
    }
}

impl Frames {
    /// The frames.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(1..).unwrap_or_default()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(1);
    }

    /// Adds a record behind the chain value `head`; it becomes a leaf of `tree`. Returns the new head.
    pub(super) fn add_record(
        &mut self,
        key: &DataKey,
        (head, tree): (Head, &mut Tree),
        sequence: u64,
        payload: &[u8],
    ) -> Result<Head, LogError> {
        let from = self.begin(KIND_RECORD, sequence, payload, TAG_BYTES)?;
        let start = self.bytes.len().saturating_sub(payload.len());
        let plain = self.bytes.get_mut(start..).unwrap_or_default();
        let tag = key
            .seal_record(KIND_RECORD, sequence, plain)
            .map_err(LogError::crypt("sealing a record"))?;
        self.bytes.extend_from_slice(&tag);
        let leaf = self.leaf(from);
        tree.push(leaf);
        Ok(self.close(head, leaf))
    }

    /// Adds the frame that closes a segment, behind the chain value `head`. Returns the new head.
    pub(super) fn add_seal(&mut self, head: Head, seal: &Seal) -> Result<Head, LogError> {
        let body = serde_json::to_vec(seal).ok().ok_or(LogError::Option {
            name: "seal",
            problem: "it could not be rendered",
        })?;
        let from = self.begin(KIND_SEAL, seal.last, &body, 0)?;
        let leaf = self.leaf(from);
        Ok(self.close(head, leaf))
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

    /// The leaf hash of the frame that begins at `from`. For as long as that takes, the byte before it is what stands
    /// before a leaf.
    fn leaf(&mut self, from: usize) -> Head {
        let before = from.saturating_sub(1);
        let kept = self.replace(before, tree::LEAF);
        let leaf = tree::prefixed_leaf_hash(self.bytes.get(before..).unwrap_or_default());
        self.replace(before, kept);
        leaf
    }

    fn replace(&mut self, at: usize, with: u8) -> u8 {
        let byte = self.bytes.get_mut(at);
        byte.map_or(0, |byte| std::mem::replace(byte, with))
    }

    fn close(&mut self, head: Head, leaf: Head) -> Head {
        let head = format::chained(head, leaf);
        self.bytes.extend_from_slice(head.as_bytes());
        head
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::audit::log::format::Format;
    use crate::audit::log::walk::CHAIN_BYTES;
    use crate::secret::Secret;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What was built before, in this batch or an earlier one, is left as it was; chain and tree are those that a
        /// reader computes frame by frame.
        #[test]
        fn a_reader_finds_the_same_chain_and_tree(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..60),
            batch in 1_usize..20,
        ) {
            let key = DataKey::new(&Secret::new([7; 32]), Uuid::from_u128(7), Head::ZERO);
            let (mut frames, mut tree, mut head) = (Frames::default(), Tree::default(), Head::ZERO);
            let mut written = Vec::new();
            for (sequence, payload) in (1..).zip(&payloads) {
                head = frames.add_record(&key, (head, &mut tree), sequence, payload).unwrap();
                if sequence % batch as u64 == 0 {
                    written.extend_from_slice(frames.bytes());
                    frames.clear();
                }
            }
            written.extend_from_slice(frames.bytes());

            let (mut at, mut value, mut read) = (0, Head::ZERO, Tree::default());
            for payload in &payloads {
                let word: [u8; 4] = written[at..at + 4].try_into().unwrap();
                let end = at + 4 + u32::from_be_bytes(word) as usize;
                prop_assert_eq!(end - at, payload.len() + TAG_BYTES + FRAME_EXTRA);
                let link = Format::Two.link(value, &written[at..end - CHAIN_BYTES], &mut Vec::new());
                prop_assert_eq!(&written[end - CHAIN_BYTES..end], link.head.as_bytes());
                read.push(link.leaf.unwrap());
                (at, value) = (end, link.head);
            }
            prop_assert_eq!((at, value), (written.len(), head));
            prop_assert_eq!(read.head(), tree.head());
        }
    }
}
