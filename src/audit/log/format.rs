//! What the versions of the format do differently: how frames are chained, and whether they are leaves of a tree.

use super::crypt::{self, Head};
use super::tree;

/// A version that this program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The chain runs over the frames themselves; no tree.
    One,
    /// The chain runs over the frames' leaf hashes, which are also the leaves of a Merkle tree.
    Two,
}

const START_ONE: &[u8] = b"chartgate/audit/segment-start/v1\0";
const FRAME_ONE: &[u8] = b"chartgate/audit/frame/v1\0";
const START_TWO: &[u8; 33] = b"chartgate/audit/segment-start/v2\0";
const FRAME_TWO: &[u8; 25] = b"chartgate/audit/frame/v2\0";

/// What a frame, or a header, adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The chain value behind it.
    pub(super) head: Head,
    /// Its leaf hash, where the format has a tree.
    pub(super) leaf: Option<Head>,
}

impl Format {
    /// The version with this number.
    pub(super) const fn of(version: u32) -> Option<Self> {
        match version {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }

    /// Its number.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The start value of a segment whose header's bytes, before that value, are `header`.
    pub(super) fn start(self, previous: Head, header: &[u8]) -> Link {
        match self {
            Self::One => Link {
                head: crypt::sha256(&[START_ONE, previous.as_bytes(), header]),
                leaf: None,
            },
            Self::Two => {
                let leaf = tree::leaf_hash(header, &mut Vec::new());
                let parts: [&[u8]; 3] = [START_TWO, previous.as_bytes(), leaf.as_bytes()];
                Link {
                    head: crypt::sha256(&parts),
                    leaf: Some(leaf),
                }
            }
        }
    }

    /// The values of a frame whose bytes, before its chain value, are `frame`. `scratch` only saves allocations.
    pub(super) fn link(self, before: Head, frame: &[u8], scratch: &mut Vec<u8>) -> Link {
        match self {
            Self::One => Link {
                head: crypt::sha256(&[FRAME_ONE, before.as_bytes(), frame]),
                leaf: None,
            },
            Self::Two => {
                let leaf = tree::leaf_hash(frame, scratch);
                Link {
                    head: chained(before, leaf),
                    leaf: Some(leaf),
                }
            }
        }
    }

    /// The chain value alone.
    pub(super) fn chain(self, before: Head, frame: &[u8]) -> Head {
        self.link(before, frame, &mut Vec::new()).head
    }
}

/// The chain value of a frame with this leaf hash, in the format that is written.
pub(super) fn chained(before: Head, leaf: Head) -> Head {
    let mut bytes = [0; FRAME_TWO.len() + 64];
    let (domain, hashes) = bytes.split_at_mut(FRAME_TWO.len());
    let (first, second) = hashes.split_at_mut(32);
    domain.copy_from_slice(FRAME_TWO);
    first.copy_from_slice(before.as_bytes());
    second.copy_from_slice(leaf.as_bytes());
    crypt::sha256_whole(&bytes)
}
