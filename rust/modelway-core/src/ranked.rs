//! An ordered set that knows how many of its keys are smaller than a given one: the places in a queue.
//!
//! A B+ tree (Bayer and `McCreight` 1972) whose inner nodes count the keys below each child; the standard
//! library's sets have no ranks. Nodes are freed when empty and not merged before: the height stays logarithmic
//! in the number of insertions (Sen and Tarjan 2014).

use smallvec::SmallVec;

/// Keys in a leaf and children of an inner node, at most.
const WIDTH: usize = 32;

/// A set of keys in order. All operations take O(log n).
#[derive(Clone, Debug)]
pub(crate) struct RankedSet<K> {
    nodes: Vec<Node<K>>,
    free: Vec<u32>,
    root: u32,
    len: usize,
}

#[derive(Clone, Debug)]
enum Node<K> {
    Leaf(SmallVec<[K; WIDTH]>),
    Inner(Vec<Child<K>>),
}

#[derive(Clone, Copy, Debug)]
struct Child<K> {
    /// No key below is larger, and all keys of later children are.
    last: K,
    node: u32,
    /// Keys below.
    count: u32,
}

impl<K> Default for RankedSet<K> {
    fn default() -> Self {
        Self { nodes: vec![Node::Leaf(SmallVec::new())], free: Vec::new(), root: 0, len: 0 }
    }
}

impl<K: Copy + Ord> Extend<K> for RankedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.insert(key));
    }
}

impl<K: Copy + Ord> RankedSet<K> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn first(&self) -> Option<K> {
        let mut at = self.root;
        loop {
            match &self.nodes[at as usize] {
                Node::Leaf(keys) => return keys.first().copied(),
                Node::Inner(children) => at = children.first()?.node,
            }
        }
    }

    /// How many keys are smaller.
    pub(crate) fn rank(&self, key: &K) -> usize {
        let mut smaller = 0;
        let mut at = self.root;
        loop {
            match &self.nodes[at as usize] {
                Node::Leaf(keys) => return smaller + keys.partition_point(|own| own < key),
                Node::Inner(children) => {
                    let place = place_of(children, key);
                    smaller += children[..place].iter().map(|child| child.count as usize).sum::<usize>();
                    match children.get(place) {
                        Some(child) => at = child.node,
                        None => return smaller,
                    }
                }
            }
        }
    }

    /// How many keys are smaller than this one, if it is in the set.
    pub(crate) fn place(&self, key: &K) -> Option<usize> {
        let mut at = self.root;
        loop {
            match &self.nodes[at as usize] {
                Node::Leaf(keys) => return keys.binary_search(key).is_ok().then(|| self.rank(key)),
                Node::Inner(children) => at = children.get(place_of(children, key))?.node,
            }
        }
    }

    /// Adds a key that is not in the set.
    pub(crate) fn insert(&mut self, key: K) {
        self.len += 1;
        if let Some(right) = self.insert_below(self.root, key) {
            let children: Vec<_> =
                [self.root, right].into_iter().filter_map(|node| self.child(node)).collect();
            self.root = self.add(Node::Inner(children));
        }
    }

    /// Whether the key was in the set; now it is not.
    pub(crate) fn remove(&mut self, key: &K) -> bool {
        let was_there = self.remove_below(self.root, key);
        self.len -= usize::from(was_there);
        while let Node::Inner(children) = &self.nodes[self.root as usize]
            && let [only] = children[..]
        {
            self.discard(self.root);
            self.root = only.node;
        }
        was_there
    }

    /// The recursions are as deep as the tree is high. Returns a new node that stands right of this one.
    fn insert_below(&mut self, at: u32, key: K) -> Option<u32> {
        let (place, below) = match &mut self.nodes[at as usize] {
            Node::Leaf(keys) => {
                let place = keys.partition_point(|own| *own < key);
                if keys.len() < WIDTH {
                    keys.insert(place, key);
                    return None;
                }
                let mut right: SmallVec<_> = keys.drain(WIDTH / 2..).collect();
                if place <= WIDTH / 2 {
                    keys.insert(place, key);
                } else {
                    right.insert(place - WIDTH / 2, key);
                }
                return Some(self.add(Node::Leaf(right)));
            }
            Node::Inner(children) => {
                let place = place_of(children, &key).min(children.len() - 1);
                let child = &mut children[place];
                child.last = child.last.max(key);
                child.count += 1;
                (place, child.node)
            }
        };
        let right = self.insert_below(below, key)?;
        let halves = [self.child(below), self.child(right)].into_iter().flatten();
        let Node::Inner(children) = &mut self.nodes[at as usize] else { return None };
        children.splice(place..=place, halves);
        if children.len() <= WIDTH {
            return None;
        }
        let right = children.split_off(WIDTH / 2);
        Some(self.add(Node::Inner(right)))
    }

    fn remove_below(&mut self, at: u32, key: &K) -> bool {
        let (place, below) = match &mut self.nodes[at as usize] {
            Node::Leaf(keys) => {
                let found = keys.binary_search(key);
                return found.map(|place| keys.remove(place)).is_ok();
            }
            Node::Inner(children) => {
                let place = place_of(children, key);
                let Some(child) = children.get(place) else { return false };
                (place, child.node)
            }
        };
        let was_there = self.remove_below(below, key);
        if was_there && let Node::Inner(children) = &mut self.nodes[at as usize] {
            children[place].count -= 1;
            // The last leaf stays, though empty: every inner node has a child.
            if children[place].count == 0 && children.len() > 1 {
                children.remove(place);
                self.discard(below);
            }
        }
        was_there
    }

    /// A node as its parent knows it.
    fn child(&self, node: u32) -> Option<Child<K>> {
        let (last, count) = match &self.nodes[node as usize] {
            Node::Leaf(keys) => (*keys.last()?, keys.len() as u32),
            Node::Inner(children) => (children.last()?.last, children.iter().map(|child| child.count).sum()),
        };
        Some(Child { last, node, count })
    }

    fn add(&mut self, node: Node<K>) -> u32 {
        if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            return index;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn discard(&mut self, node: u32) {
        self.nodes[node as usize] = Node::Leaf(SmallVec::new());
        self.free.push(node);
    }
}

/// The first child that may hold the key; behind the last, if all keys are smaller.
fn place_of<K: Ord>(children: &[Child<K>], key: &K) -> usize {
    children.partition_point(|child| child.last < *key)
}

#[cfg(test)]
mod tests {
    use super::{Node, RankedSet, WIDTH};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeSet;

    /// The height and the keys below a node, after a look at every count and bound.
    fn measure(set: &RankedSet<u32>, at: u32) -> (usize, Vec<u32>) {
        match &set.nodes[at as usize] {
            Node::Leaf(keys) => (1, keys.to_vec()),
            Node::Inner(children) => {
                assert!((1..=WIDTH).contains(&children.len()));
                let mut all = Vec::new();
                let mut heights = BTreeSet::new();
                for child in children {
                    let (height, keys) = measure(set, child.node);
                    assert_eq!(keys.len(), child.count as usize);
                    assert!(keys.iter().all(|key| *key <= child.last));
                    heights.insert(height);
                    all.extend(keys);
                }
                assert_eq!(heights.len(), 1, "all leaves are equally deep");
                (1 + heights.first().unwrap(), all)
            }
        }
    }

    fn height(set: &RankedSet<u32>) -> usize {
        let (height, keys) = measure(set, set.root);
        assert!(keys.is_sorted_by(|one, other| one < other));
        assert_eq!(keys.len(), set.len());
        height
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(60)
        })]

        #[test]
        fn ranks_are_those_of_a_sorted_list(
            (bias, steps) in (0.3_f64..0.9).prop_flat_map(|bias| {
                (Just(bias), proptest::collection::vec((proptest::bool::weighted(bias), 0_u32..3_000), 0..3_000))
            }),
        ) {
            let (mut set, mut plain) = (RankedSet::default(), BTreeSet::new());
            for (is_insertion, key) in steps {
                if is_insertion {
                    if plain.insert(key) {
                        set.insert(key);
                    }
                } else if bias < 0.5 {
                    let first = plain.pop_first();
                    prop_assert_eq!(first.is_some_and(|first| set.remove(&first)), first.is_some());
                } else {
                    prop_assert_eq!(set.remove(&key), plain.remove(&key));
                }
                prop_assert_eq!((set.len(), set.first()), (plain.len(), plain.first().copied()));
                prop_assert_eq!(set.rank(&key), plain.range(..key).count());
            }
            height(&set);
        }
    }

    #[test]
    fn rising_and_falling_keys_keep_it_flat() {
        let mut set = RankedSet::default();
        (0..10_000).for_each(|key| set.insert(key));
        (20_000..30_000).rev().for_each(|key| set.insert(key));
        assert!(height(&set) <= 4, "a sixteenth at each level");
        assert!((0..10_000).all(|key| set.remove(&key)));
        height(&set);
        assert_eq!((set.len(), set.first(), set.rank(&25_000)), (10_000, Some(20_000), 5_000));
        assert!((20_000..30_000).all(|key| set.remove(&key)));
        assert_eq!((height(&set), set.is_empty(), set.first()), (1, true, None));
        set.insert(7);
        assert_eq!((set.first(), set.rank(&7), set.rank(&8)), (Some(7), 0, 1));
    }
}
