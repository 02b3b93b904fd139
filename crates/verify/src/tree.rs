//! Merkle trees of RFC 6962, section 2.1. Pure computation.
use sha2::{Digest, Sha256};

use crate::Hash;

/// A tree that grows leaf by leaf and keeps only the roots of its perfect subtrees.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    /// Largest first; their sizes are the bits of `size`.
    peaks: Vec<Hash>,
    size: u64,
}

impl Tree {
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Every full pair of equal subtrees joins: as many as there are ones at the low end of the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn root(&self) -> Hash {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| node(&left, &right));
        joined.unwrap_or_else(|| Sha256::digest([]).into())
    }
}

pub(crate) fn root<'a>(leaves: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut tree = Tree::default();
    leaves.into_iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

pub(crate) fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root that a leaf at `index` of `size` has with this inclusion path (RFC 9162, 2.1.3.2); `None` if the path has the wrong length.
pub(crate) fn root_of_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let (mut at, mut siblings) = (index, path.iter());
    let mut hash = leaf;
    while last > 0 {
        if at % 2 == 1 {
            hash = node(siblings.next()?, &hash);
        } else if at < last {
            hash = node(&hash, siblings.next()?);
        }
        // A node without a sibling on its right rises unchanged.
        (at, last) = (at / 2, last / 2);
    }
    siblings.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recursive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&recursive(left), &recursive(right))
            }
        }
    }

    fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
        if leaves.len() < 2 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, other) = match index.checked_sub(left.len()) {
            None => (path(left, index), right),
            Some(index) => (path(right, index), left),
        };
        path.push(recursive(other));
        path
    }

    /// Against the definition, word for word, for all sizes up to 70.
    #[test]
    fn roots_and_paths_are_those_of_the_definition() {
        let leaves: Vec<Hash> = (0..70u8).map(|n| leaf(&[n])).collect();
        for size in 0..=leaves.len() {
            let leaves = &leaves[..size];
            assert_eq!(root(leaves), recursive(leaves));
            for index in 0..size {
                let path = path(leaves, index);
                let check = |at: usize, path: &[Hash]| root_of_path(leaves[index], at as u64, size as u64, path);
                assert_eq!(check(index, &path), Some(root(leaves)));
                assert_ne!(check(index ^ 1, &path).filter(|_| size > 1), Some(root(leaves)));
                let longer = [&path[..], &[leaves[0]]].concat();
                assert_eq!(check(index, &longer), None);
                assert_eq!(path.split_last().and_then(|(_, shorter)| check(index, shorter)), None);
            }
        }
    }
}
