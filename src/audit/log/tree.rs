//! Merkle trees in the hashing of RFC 6962, section 2.1: what the records of a segment are the leaves of.
//!
//! *Never*: holds the leaves. The roots of a tree's perfect subtrees, at most 64, are enough to go on and to state its
//! root; an audit path is gathered while the leaves go by.

use serde::{Deserialize, Serialize};

use super::crypt::{self, Head};

/// No audit path is longer: a tree has fewer than 2^64 leaves.
pub(super) const LONGEST_PATH: usize = 64;
/// What stands before a leaf when it is hashed.
pub(super) const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;
/// Longer leaves are not copied to be hashed in one piece.
const COPIED: usize = 16 * 1024;

/// What a tree comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeHead {
    /// How many leaves it has.
    pub size: u64,
    /// Its root.
    pub root: Head,
}

/// The hash of a leaf. `scratch` only saves allocations.
pub(super) fn leaf_hash(leaf: &[u8], scratch: &mut Vec<u8>) -> Head {
    if leaf.len() > COPIED {
        return crypt::sha256(&[&[LEAF], leaf]);
    }
    scratch.clear();
    scratch.push(LEAF);
    scratch.extend_from_slice(leaf);
    prefixed_leaf_hash(scratch)
}

/// The hash of a leaf that [`LEAF`] stands before.
pub(super) fn prefixed_leaf_hash(leaf: &[u8]) -> Head {
    crypt::sha256_whole(leaf)
}

fn node_hash(left: Head, right: Head) -> Head {
    let mut bytes = [NODE; 65];
    let (_, hashes) = bytes.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(left.as_bytes());
    second.copy_from_slice(right.as_bytes());
    crypt::sha256_whole(&bytes)
}

/// Two subtrees that are joined: leaves `first..middle` and `middle..end`.
struct Joined {
    left: Head,
    right: Head,
    first: u64,
    middle: u64,
    end: u64,
}

impl Joined {
    fn node(&self) -> Head {
        node_hash(self.left, self.right)
    }

    /// What stands beside the subtree that holds a leaf.
    fn beside(&self, leaf: u64) -> Option<Head> {
        if (self.first..self.middle).contains(&leaf) {
            Some(self.right)
        } else if (self.middle..self.end).contains(&leaf) {
            Some(self.left)
        } else {
            None
        }
    }
}

/// A tree that grows leaf by leaf.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    size: u64,
    /// The roots of its perfect subtrees, the largest first: one for each bit of `size`.
    peaks: Vec<Head>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            size: 0,
            peaks: Vec::with_capacity(LONGEST_PATH),
        }
    }
}

impl Tree {
    /// How many leaves it has.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of a leaf.
    pub(super) fn push(&mut self, leaf: Head) {
        self.grow(leaf, |_| {});
    }

    fn grow(&mut self, leaf: Head, mut joined: impl FnMut(&Joined)) {
        let end = self.size.saturating_add(1);
        let (mut node, mut width) = (leaf, 1_u64);
        while self.size & width != 0 {
            let Some(left) = self.peaks.pop() else {
                break;
            };
            let middle = end.saturating_sub(width);
            let pair = Joined {
                left,
                right: node,
                first: middle.saturating_sub(width),
                middle,
                end,
            };
            joined(&pair);
            node = pair.node();
            width = width.saturating_mul(2);
        }
        self.peaks.push(node);
        self.size = end;
    }

    /// Its size and its root; that of no leaves is the hash of nothing.
    pub(super) fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: self.fold(|_| {}),
        }
    }

    fn fold(&self, mut joined: impl FnMut(&Joined)) -> Head {
        let mut peaks = self.peaks.iter().rev();
        let Some(mut node) = peaks.next().copied() else {
            return crypt::sha256(&[]);
        };
        let mut left_over = self.size;
        // Clears the lowest bit: the leaves of the smallest perfect subtree that is left.
        left_over &= left_over.wrapping_sub(1);
        for left in peaks {
            let middle = left_over;
            left_over &= left_over.wrapping_sub(1);
            let pair = Joined {
                left: *left,
                right: node,
                first: left_over,
                middle,
                end: self.size,
            };
            joined(&pair);
            node = pair.node();
        }
        node
    }
}

/// Gathers the audit path of one leaf while the leaves go by.
#[derive(Clone, Debug)]
pub(super) struct Tracing {
    tree: Tree,
    leaf: u64,
    path: Vec<Head>,
}

impl Tracing {
    /// Of the leaf with this index.
    pub(super) fn of(leaf: u64) -> Self {
        Self {
            tree: Tree::default(),
            leaf,
            path: Vec::with_capacity(LONGEST_PATH),
        }
    }

    /// How many leaves went by.
    pub(super) const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Adds the hash of a leaf.
    pub(super) fn push(&mut self, leaf: Head) {
        let (index, path) = (self.leaf, &mut self.path);
        self.tree
            .grow(leaf, |joined| path.extend(joined.beside(index)));
    }

    /// The path, from the leaf up, and the tree that it leads to.
    pub(super) fn finish(mut self) -> (Vec<Head>, TreeHead) {
        let (index, path) = (self.leaf, &mut self.path);
        let root = self.tree.fold(|joined| path.extend(joined.beside(index)));
        let size = self.tree.size();
        (self.path, TreeHead { size, root })
    }
}

/// The root that a path leads to from a leaf (RFC 9162, section 2.1.3.2); `None` where the path fits no tree of that
/// size.
pub(super) fn root_of(leaf: Head, index: u64, size: u64, path: &[Head]) -> Option<Head> {
    let mut last = size.checked_sub(1)?;
    let mut at = index;
    if at > last {
        return None;
    }
    let mut node = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            node = node_hash(*beside, node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(node, *beside);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use ct_merkle::{InclusionProof, RootHash};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    fn hash(leaf: &[u8]) -> Head {
        leaf_hash(leaf, &mut Vec::new())
    }

    fn grown(leaves: &[Vec<u8>]) -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(hash(leaf));
        }
        tree
    }

    fn traced(leaves: &[Vec<u8>], index: usize) -> (Vec<Head>, TreeHead) {
        let mut tracing = Tracing::of(index as u64);
        for leaf in leaves {
            tracing.push(hash(leaf));
        }
        tracing.finish()
    }

    /// MTH of RFC 6962, section 2.1, word for word.
    fn root_by_definition(leaves: &[Vec<u8>]) -> Head {
        match leaves {
            [] => crypt::sha256(&[]),
            [one] => crypt::sha256(&[&[0], one]),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                let (left, right) = (root_by_definition(left), root_by_definition(right));
                crypt::sha256(&[&[1], left.as_bytes(), right.as_bytes()])
            }
        }
    }

    /// PATH of RFC 6962, section 2.1.1, word for word.
    fn path_by_definition(index: usize, leaves: &[Vec<u8>]) -> Vec<Head> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let at = split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut path, beside) = if index < at {
            (path_by_definition(index, left), root_by_definition(right))
        } else {
            (
                path_by_definition(index - at, right),
                root_by_definition(left),
            )
        };
        path.push(beside);
        path
    }

    /// The largest power of two below `count`.
    fn split(count: usize) -> usize {
        count.next_power_of_two() / 2
    }

    /// The leaves and roots that Certificate Transparency's implementations are tested with.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(tree.head().root.to_string(), empty);
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(hash(&hex::decode(leaf).unwrap()));
            assert_eq!(tree.head().root.to_string(), root);
        }
    }

    #[test]
    fn a_long_leaf_is_hashed_as_a_short_one() {
        for length in [COPIED - 1, COPIED, COPIED + 1, 100_000] {
            let leaf = vec![7; length];
            assert_eq!(hash(&leaf), crypt::sha256(&[&[0], &leaf]));
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_has_its_path() {
        let leaves: Vec<Vec<u8>> = (0..70_u8).map(|n| vec![n; usize::from(n)]).collect();
        for size in 1..=leaves.len() {
            let some = &leaves[..size];
            let head = grown(some).head();
            assert_eq!(head.root, root_by_definition(some));
            for (index, leaf) in some.iter().enumerate() {
                let (path, traced) = traced(some, index);
                assert_eq!(traced, head);
                assert_eq!(path, path_by_definition(index, some), "{index} of {size}");
                let root = root_of(hash(leaf), index as u64, head.size, &path);
                assert_eq!(root, Some(head.root), "{index} of {size}");
            }
        }
    }

    #[test]
    fn another_implementation_finds_the_same() {
        let leaves: Vec<Vec<u8>> = (0..130_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for (count, leaf) in leaves.iter().enumerate() {
            other.push(leaf.clone());
            let some = &leaves[..=count];
            let head = grown(some).head();
            let root: RootHash<Sha256> = other.root();
            assert_eq!(root.as_bytes().as_slice(), head.root.as_bytes());
            let index = count / 2;
            let (path, _) = traced(some, index);
            let bytes: Vec<u8> = path.iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(other.prove_inclusion(index).as_bytes(), bytes);
            let proof = InclusionProof::<Sha256>::try_from_bytes(bytes).unwrap();
            root.verify_inclusion(&leaves[index], index as u64, &proof)
                .unwrap();
        }
    }

    proptest! {
        #[test]
        fn a_path_proves_its_leaf_and_nothing_else(
            leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..200),
            chosen: prop::sample::Index,
            other: prop::sample::Index,
            bit in 0_usize..256,
        ) {
            let index = chosen.index(leaves.len());
            let (path, head) = traced(&leaves, index);
            let (at, leaf) = (index as u64, hash(&leaves[index]));
            prop_assert_eq!(root_of(leaf, at, head.size, &path), Some(head.root));
            // Another leaf, another place, a longer or shorter path, an altered one.
            let elsewhere = other.index(leaves.len());
            if leaves[elsewhere] != leaves[index] {
                let wrong = hash(&leaves[elsewhere]);
                prop_assert_ne!(root_of(wrong, at, head.size, &path), Some(head.root));
            }
            let mut longer = path.clone();
            longer.push(head.root);
            prop_assert_ne!(root_of(leaf, at, head.size, &longer), Some(head.root));
            prop_assert_eq!(root_of(leaf, head.size, head.size, &path), None);
            if !path.is_empty() {
                prop_assert_ne!(root_of(leaf, at, head.size, &path[1..]), Some(head.root));
                let mut altered = path;
                let which = other.index(altered.len());
                let mut bytes = *altered[which].as_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                altered[which] = Head::from_bytes(bytes);
                prop_assert_ne!(root_of(leaf, at, head.size, &altered), Some(head.root));
            }
        }

        #[test]
        fn any_path_is_walked(index: u64, size: u64, length in 0_usize..80) {
            let path = vec![Head::ZERO; length];
            let _root = root_of(Head::ZERO, index, size, &path);
        }
    }
}
