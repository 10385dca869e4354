//! One user's waiting requests, in the order of arrival.

use crate::ranked::RankedSet;

/// Items in order, which come at the end and leave anywhere. The first stands apart: most users have no other,
/// and 100,000 of them are not to be 100,000 trees.
#[derive(Clone, Debug)]
pub(crate) struct Line<I> {
    first: Option<I>,
    rest: Option<Box<RankedSet<I>>>,
}

impl<I> Default for Line<I> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<I: Copy + Ord> Line<I> {
    pub(crate) const fn first(&self) -> Option<I> {
        self.first
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// How many came before this one, if it is there.
    pub(crate) fn rank(&self, item: I) -> Option<usize> {
        if self.first == Some(item) {
            return Some(0);
        }
        self.rest.as_ref()?.place(&item).map(|place| place + 1)
    }

    /// Adds one that is younger than all.
    pub(crate) fn push(&mut self, item: I) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.get_or_insert_default().insert(item);
        }
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, item: I) -> bool {
        let is_first = self.first == Some(item);
        let Some(rest) = &mut self.rest else {
            self.first = self.first.filter(|_| !is_first);
            return is_first;
        };
        let leaving = if is_first { rest.first() } else { Some(item) };
        let was_there = leaving.is_some_and(|leaving| rest.remove(&leaving));
        if is_first {
            self.first = leaving;
        }
        if rest.is_empty() {
            self.rest = None;
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn it_is_a_list_in_order() {
        let (mut line, mut plain) = (Line::default(), Vec::new());
        for item in 0..40_u32 {
            line.push(item);
            plain.push(item);
        }
        for item in [0, 39, 20, 1, 1, 2, 99].into_iter().chain(0..40) {
            let place = plain.iter().position(|own| *own == item);
            assert_eq!((line.rank(item), line.remove(item)), (place, place.is_some()), "{item}");
            plain.retain(|own| *own != item);
            assert_eq!((line.first(), line.len()), (plain.first().copied(), plain.len()));
        }
        line.push(7);
        assert_eq!((line.first(), line.len()), (Some(7), 1));
    }
}
