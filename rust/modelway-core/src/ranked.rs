//! An ordered set that knows how many of its keys are smaller than a given one: the places in a queue.
//!
//! A weight-balanced tree (Adams 1993, with the factors 3 and 2 for which Hirai and Yamamoto proved in 2011
//! that insertion and removal keep it balanced) in one vector. The standard library's sets have no ranks.

use std::cmp::Ordering;

/// The index of no node.
const NIL: u32 = u32::MAX;
/// No side of a node weighs more than so many times the other.
const DELTA: u64 = 3;
/// A single rotation is enough if the inner grandchild weighs less than so many times the outer one.
const GAMMA: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct Node<K> {
    key: K,
    left: u32,
    right: u32,
    size: u32,
}

/// A set of keys in order. All operations take O(log n).
#[derive(Clone, Debug)]
pub(crate) struct RankedSet<K> {
    nodes: Vec<Node<K>>,
    free: Vec<u32>,
    root: u32,
}

impl<K> Default for RankedSet<K> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NIL }
    }
}

impl<K: Copy + Ord> Extend<K> for RankedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.insert(key));
    }
}

impl<K: Copy + Ord> RankedSet<K> {
    pub(crate) fn len(&self) -> usize {
        self.size(self.root) as usize
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.root == NIL
    }

    pub(crate) fn first(&self) -> Option<K> {
        let mut first = None;
        let mut at = self.root;
        while let Some(node) = self.nodes.get(at as usize) {
            first = Some(node.key);
            at = node.left;
        }
        first
    }

    /// How many keys are smaller.
    pub(crate) fn rank(&self, key: &K) -> usize {
        let mut smaller = 0;
        let mut at = self.root;
        while let Some(node) = self.nodes.get(at as usize) {
            if *key <= node.key {
                at = node.left;
            } else {
                smaller += self.size(node.left) as usize + 1;
                at = node.right;
            }
        }
        smaller
    }

    /// Adds a key that is not in the set.
    pub(crate) fn insert(&mut self, key: K) {
        let node = Node { key, left: NIL, right: NIL, size: 1 };
        let index = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            index
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        };
        self.root = self.insert_below(self.root, index);
    }

    /// Whether the key was in the set; now it is not.
    pub(crate) fn remove(&mut self, key: &K) -> bool {
        let before = self.len();
        self.root = self.remove_below(self.root, key);
        self.len() < before
    }

    // The depth of the recursions is that of the tree, at most 2.5 times the logarithm of the size.

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        if at == NIL {
            return new;
        }
        let Node { key, left, right, .. } = self.nodes[at as usize];
        if self.nodes[new as usize].key < key {
            self.nodes[at as usize].left = self.insert_below(left, new);
        } else {
            self.nodes[at as usize].right = self.insert_below(right, new);
        }
        self.balance(at)
    }

    fn remove_below(&mut self, at: u32, key: &K) -> u32 {
        let Some(&node) = self.nodes.get(at as usize) else { return NIL };
        match key.cmp(&node.key) {
            Ordering::Less => self.nodes[at as usize].left = self.remove_below(node.left, key),
            Ordering::Greater => self.nodes[at as usize].right = self.remove_below(node.right, key),
            Ordering::Equal => {
                self.free.push(at);
                if node.left == NIL || node.right == NIL {
                    // NIL is the largest index: this is the other side, if there is one.
                    return node.left.min(node.right);
                }
                let (first, rest) = self.take_first(node.right);
                self.nodes[first as usize].left = node.left;
                self.nodes[first as usize].right = rest;
                return self.balance(first);
            }
        }
        self.balance(at)
    }

    /// The first node below `at`, and what is left without it.
    fn take_first(&mut self, at: u32) -> (u32, u32) {
        let Node { left, right, .. } = self.nodes[at as usize];
        if left == NIL {
            return (at, right);
        }
        let (first, rest) = self.take_first(left);
        self.nodes[at as usize].left = rest;
        (first, self.balance(at))
    }

    /// Puts a node right of which one side changed by one, and returns who stands in its place.
    fn balance(&mut self, at: u32) -> u32 {
        let Node { left, right, .. } = self.nodes[at as usize];
        if self.weight(right) > DELTA * self.weight(left) {
            let Node { left: inner, right: outer, .. } = self.nodes[right as usize];
            if self.weight(inner) >= GAMMA * self.weight(outer) {
                self.nodes[at as usize].right = self.rotate_right(right);
            }
            return self.rotate_left(at);
        }
        if self.weight(left) > DELTA * self.weight(right) {
            let Node { left: outer, right: inner, .. } = self.nodes[left as usize];
            if self.weight(inner) >= GAMMA * self.weight(outer) {
                self.nodes[at as usize].left = self.rotate_left(left);
            }
            return self.rotate_right(at);
        }
        self.count(at);
        at
    }

    fn rotate_left(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].right;
        self.nodes[at as usize].right = self.nodes[up as usize].left;
        self.nodes[up as usize].left = at;
        self.count(at);
        self.count(up);
        up
    }

    fn rotate_right(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].left;
        self.nodes[at as usize].left = self.nodes[up as usize].right;
        self.nodes[up as usize].right = at;
        self.count(at);
        self.count(up);
        up
    }

    fn count(&mut self, at: u32) {
        let Node { left, right, .. } = self.nodes[at as usize];
        self.nodes[at as usize].size = self.size(left) + self.size(right) + 1;
    }

    fn size(&self, at: u32) -> u32 {
        self.nodes.get(at as usize).map_or(0, |node| node.size)
    }

    fn weight(&self, at: u32) -> u64 {
        u64::from(self.size(at)) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{DELTA, NIL, RankedSet};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeSet;

    /// The height, after a look at every balance and count.
    fn height(set: &RankedSet<u16>, at: u32) -> usize {
        if at == NIL {
            return 0;
        }
        let node = set.nodes[at as usize];
        let (left, right) = (set.weight(node.left), set.weight(node.right));
        assert!(left <= DELTA * right && right <= DELTA * left, "{left} against {right}");
        assert_eq!(u64::from(node.size) + 1, left + right);
        1 + height(set, node.left).max(height(set, node.right))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn ranks_are_those_of_a_sorted_list(
            steps in proptest::collection::vec((proptest::bool::weighted(0.6), 0_u16..300), 0..600),
        ) {
            let (mut set, mut plain) = (RankedSet::default(), BTreeSet::new());
            for (is_insertion, key) in steps {
                if is_insertion {
                    if plain.insert(key) {
                        set.insert(key);
                    }
                } else {
                    prop_assert_eq!(set.remove(&key), plain.remove(&key));
                }
                prop_assert_eq!((set.len(), set.first()), (plain.len(), plain.first().copied()));
                prop_assert_eq!(set.rank(&key), plain.range(..key).count());
            }
            height(&set, set.root);
        }
    }

    #[test]
    fn rising_and_falling_keys_keep_it_flat() {
        let mut set = RankedSet::default();
        (0..10_000).for_each(|key| set.insert(key));
        (20_000..30_000).rev().for_each(|key| set.insert(key));
        assert!(height(&set, set.root) <= 35, "2.5 times the logarithm of 20,000");
        assert!((0..10_000).all(|key| set.remove(&key)));
        height(&set, set.root);
        assert_eq!((set.len(), set.first(), set.rank(&25_000)), (10_000, Some(20_000), 5_000));
    }
}
