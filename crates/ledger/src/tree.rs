//! Merkle trees as RFC 6962, section 2.1, defines them. Pure computation.
use reeve_record::Hash;
use sha2::{Digest, Sha256};

/// Hash of two children: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root over leaf hashes; of none, the hash of the empty string.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            // Pairing level by level and carrying an odd last node up gives the same tree as the recursive definition.
            let mut level = leaves.to_vec();
            while level.len() > 1 {
                let pairs = level.len().div_ceil(2);
                for pair in 0..pairs {
                    level[pair] = match level.get(2 * pair + 1) {
                        Some(right) => node_hash(&level[2 * pair], right),
                        None => level[2 * pair],
                    };
                }
                level.truncate(pairs);
            }
            level[0]
        }
    }
}

/// Inclusion path of the leaf at `index`, from its sibling up to the root's child. `None` if there is no such leaf.
pub fn inclusion_path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The root that `path` leads to from a leaf hash at `index` in a tree of `size` leaves. `None` if the path has the wrong length for that place.
///
/// RFC 9162, section 2.1.3.2.
pub fn root_from_path(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The right edge of a growing tree: roots of its perfect subtrees, the largest first.
#[derive(Clone, Default, Debug)]
pub struct Peaks {
    size: u64,
    roots: Vec<Hash>,
}

impl Peaks {
    /// Adds a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root over them.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev().copied();
        let Some(last) = roots.next() else { return root(&[]) };
        roots.fold(last, |right, left| node_hash(&left, &right))
    }
}

/// Proof that the tree of `new` leaves begins with that of `old` leaves, 0 < `old` ≤ `new` (RFC 6962, section 2.1.2). `root_of` gives the root of the
/// leaves in a range that starts at a multiple of its length rounded up to a power of two.
///
/// # Errors
/// Those of `root_of`.
pub fn consistency_path<E>(
    old: u64,
    new: u64,
    root_of: &mut impl FnMut(std::ops::Range<u64>) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let (mut range, mut whole, mut path) = (0..new, true, Vec::new());
    while old > range.start && old < range.end {
        let middle = range.start + split_u64(range.end - range.start);
        if old <= middle {
            path.push(root_of(middle..range.end)?);
            range.end = middle;
        } else {
            path.push(root_of(range.start..middle)?);
            (range.start, whole) = (middle, false);
        }
    }
    if !whole {
        path.push(root_of(range)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` shows that the tree of `new` leaves with `new_root` begins with that of `old` leaves with `old_root`. RFC 9162, section 2.1.4.2.
pub fn is_consistent(old: u64, old_root: &Hash, new: u64, new_root: &Hash, path: &[Hash]) -> bool {
    if old == 0 || old >= new {
        return path.is_empty() && (old == 0 || (old == new && old_root == new_root));
    }
    let mut path = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut left, mut right) = (*first, *first);
    for node in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            left = node_hash(node, &left);
            right = node_hash(node, &right);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            right = node_hash(&right, node);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && left == *old_root && right == *new_root
}

fn split_u64(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reeve_record::leaf_hash;

    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&(n as u64).to_be_bytes())).collect()
    }

    /// The definition of RFC 6962, written as it stands there.
    fn definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&definition(&leaves[..k]), &definition(&leaves[k..]))
            }
        }
    }

    proptest! {
        #[test]
        fn roots_follow_the_definition(count in 0usize..600) {
            prop_assert_eq!(root(&leaves(count)), definition(&leaves(count)));
        }

        #[test]
        fn a_path_leads_to_the_root_and_no_altered_one_does(count in 1usize..400, pick: prop::sample::Index, bit in 0usize..256) {
            let leaves = leaves(count);
            let index = pick.index(count);
            let path = inclusion_path(&leaves, index).unwrap();
            let lead = |leaf: &Hash, index: usize, path: &[Hash]| root_from_path(leaf, index as u64, count as u64, path);
            prop_assert_eq!(lead(&leaves[index], index, &path), Some(root(&leaves)));
            let flip = |hash: &Hash| { let mut hash = *hash; hash[bit / 8] ^= 1 << (bit % 8); hash };
            prop_assert_ne!(lead(&flip(&leaves[index]), index, &path), Some(root(&leaves)));
            for at in 0..path.len() {
                let mut altered = path.clone();
                altered[at] = flip(&path[at]);
                prop_assert_ne!(lead(&leaves[index], index, &altered), Some(root(&leaves)));
                prop_assert_ne!(lead(&leaves[index], index, &path[..at]), Some(root(&leaves)));
            }
            let longer = [&path[..], &[[0; 32]]].concat();
            prop_assert_eq!(lead(&leaves[index], index, &longer), None);
            prop_assert_eq!(lead(&leaves[index], count, &path), None);
        }
    }

    proptest! {
        #[test]
        fn a_longer_tree_is_shown_to_continue_the_shorter_and_no_other(new in 1usize..300, old in 0usize..300, pick: prop::sample::Index, bit in 0usize..256) {
            let old = old.min(new);
            let leaves = leaves(new);
            let (old_root, new_root) = (root(&leaves[..old]), root(&leaves));
            let mut peaks = Peaks::default();
            leaves[..old].iter().for_each(|leaf| peaks.push(*leaf));
            prop_assert_eq!((peaks.root(), peaks.size()), (old_root, old as u64));
            let mut root_of = |range: std::ops::Range<u64>| Ok::<_, ()>(root(&leaves[range.start as usize..range.end as usize]));
            let path = if old == 0 { Vec::new() } else { consistency_path(old as u64, new as u64, &mut root_of).unwrap() };
            let holds = |old_root: &Hash, new_root: &Hash, path: &[Hash]| is_consistent(old as u64, old_root, new as u64, new_root, path);
            prop_assert!(holds(&old_root, &new_root, &path));
            let flip = |hash: &Hash| { let mut hash = *hash; hash[bit / 8] ^= 1 << (bit % 8); hash };
            prop_assert!(old == 0 || !holds(&flip(&old_root), &new_root, &path));
            prop_assert!(old == 0 || !holds(&old_root, &flip(&new_root), &path));
            if !path.is_empty() {
                let mut altered = path.clone();
                let at = pick.index(path.len());
                altered[at] = flip(&path[at]);
                prop_assert!(!holds(&old_root, &new_root, &altered));
                prop_assert!(!holds(&old_root, &new_root, &path[1..]));
            }
            prop_assert!(!holds(&old_root, &new_root, &[&path[..], &[[0; 32]]].concat()));
        }
    }

    #[test]
    fn there_is_no_path_to_a_leaf_that_is_not_there() {
        assert_eq!(inclusion_path(&leaves(3), 3), None);
        assert_eq!(inclusion_path(&[], 0), None);
    }
}
