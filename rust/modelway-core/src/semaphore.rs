//! A semaphore whose permits have weights: so many bytes of memory, shared by models of different size.
//!
//! A request gets its whole weight or nothing: parts held by somebody who waits for the rest would block
//! everybody. Who waits is served in the order of arrival, except that a lighter one may pass those that
//! don't fit yet. A ticket is passed at most [`WeightedSemaphore::MAX_OVERTAKES`] times; then all behind it
//! wait until it has been served, which happens at the latest when what is held then has been given back.
//!
//! Nothing here waits: who releases gets the tickets that may go on and wakes their owners. A ticket that
//! was granted while its owner gave up is released like any other, so a grant can't get lost.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use crate::ticket::{Granted, Ticket, Tickets};

/// A weighted semaphore. All operations but `resize` take constant amortised time.
#[derive(Clone, Debug)]
pub struct WeightedSemaphore {
    capacity: u64,
    in_use: u64,
    entries: Tickets<Entry>,
    /// Those that wait in the order of arrival, and some that gave up and were not met since; never at the
    /// front.
    queue: VecDeque<Ticket>,
    /// How many in `queue` gave up.
    gone: usize,
    /// How often anybody was granted before somebody who had come earlier.
    overtakes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    weight: u64,
    is_held: bool,
    /// The semaphore's `overtakes` when it came: the difference bounds how often it was passed.
    overtakes_before: u64,
}

/// What became of a request for a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a granted weight is held until its ticket is released"]
pub enum Acquired {
    /// It holds its weight.
    Now(Ticket),
    /// It waits; a later call grants it.
    Queued(Ticket),
    /// It can never be granted: the whole capacity is less.
    Refused {
        /// What was asked for.
        weight: u64,
        /// What there is at most.
        capacity: u64,
    },
}

/// What a new capacity changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "granted tickets go on, refused ones must be told"]
pub struct Resized {
    /// They hold their weight now.
    pub granted: Granted,
    /// They waited for more than there is now; they are known no more.
    pub refused: Granted,
}

impl WeightedSemaphore {
    /// A waiting ticket is passed by later ones at most so often.
    pub const MAX_OVERTAKES: u64 = 16;
    /// Only so many of those that wait longest are looked at for one that fits: the bound of a call's time.
    pub const LOOKAHEAD: usize = 16;

    /// A semaphore with nothing in use. A capacity of zero grants nothing until it is resized.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            in_use: 0,
            entries: Tickets::default(),
            queue: VecDeque::new(),
            gone: 0,
            overtakes: 0,
        }
    }

    /// Asks for a weight.
    pub fn acquire(&mut self, weight: NonZeroU64) -> Acquired {
        let weight = weight.get();
        if weight > self.capacity {
            return Acquired::Refused { weight, capacity: self.capacity };
        }
        // What fits and was left waiting stands beyond the lookahead or behind one that was passed too often:
        // so a newcomer may go exactly if it is within the first and not stopped by the second.
        let is_alone = self.waiting() == 0;
        let may_go = is_alone || (self.queue.len() < Self::LOOKAHEAD && self.may_overtake());
        let is_held = may_go && weight <= self.free();
        let ticket = self.entries.insert(Entry { weight, is_held, overtakes_before: self.overtakes });
        if is_held {
            self.in_use += weight;
            self.overtakes += u64::from(!is_alone);
            Acquired::Now(ticket)
        } else {
            self.queue.push_back(ticket);
            Acquired::Queued(ticket)
        }
    }

    /// Ends a ticket, whether it holds its weight or still waits, and returns whom that let go on. `None`: the
    /// ticket had ended before, and nothing has changed.
    #[must_use = "the granted tickets' owners must be woken"]
    pub fn release(&mut self, ticket: Ticket) -> Option<Granted> {
        let entry = self.entries.remove(ticket)?;
        if entry.is_held {
            self.in_use -= entry.weight;
        } else {
            self.gone += 1;
        }
        let granted = self.grant();
        while self.queue.front().is_some_and(|ticket| self.entries.get(*ticket).is_none()) {
            self.queue.pop_front();
            self.gone -= 1;
        }
        if self.gone > self.queue.len() / 2 {
            self.forget_gone();
        }
        Some(granted)
    }

    /// Changes the capacity. Below what is in use nothing new is granted until enough was given back; who
    /// waits for more than the new capacity is refused. Takes time in proportion to those that wait.
    pub fn resize(&mut self, capacity: u64) -> Resized {
        self.capacity = capacity;
        self.forget_gone();
        let entries = &mut self.entries;
        let mut refused = Granted::new();
        self.queue.retain(|ticket| {
            let is_possible = entries.get(*ticket).is_some_and(|entry| entry.weight <= capacity);
            if !is_possible {
                entries.remove(*ticket);
                refused.push(*ticket);
            }
            is_possible
        });
        Resized { granted: self.grant(), refused }
    }

    /// Grants all that may go, in order.
    fn grant(&mut self) -> Granted {
        let mut granted = Granted::new();
        let mut place = 0;
        while place < Self::LOOKAHEAD && self.in_use < self.capacity {
            let Some(&ticket) = self.queue.get(place) else { break };
            let free = self.free();
            let is_passing = place > 0;
            let may_overtake = !is_passing || self.may_overtake();
            match self.entries.get_mut(ticket) {
                None => {
                    self.queue.remove(place);
                    self.gone -= 1;
                }
                Some(_) if !may_overtake => break,
                Some(entry) if entry.weight <= free => {
                    entry.is_held = true;
                    self.in_use += entry.weight;
                    self.overtakes += u64::from(is_passing);
                    self.queue.remove(place);
                    granted.push(ticket);
                }
                Some(_) => place += 1,
            }
        }
        granted
    }

    /// Whether the one that waits longest may be passed once more. Nobody was passed more often than it:
    /// whoever passed another since that one came has passed it too.
    fn may_overtake(&self) -> bool {
        let longest = self.queue.front().and_then(|ticket| self.entries.get(*ticket));
        longest.is_none_or(|entry| self.overtakes - entry.overtakes_before < Self::MAX_OVERTAKES)
    }

    fn forget_gone(&mut self) {
        let entries = &self.entries;
        self.queue.retain(|ticket| entries.get(*ticket).is_some());
        self.gone = 0;
    }

    /// Whether the ticket holds its weight.
    #[must_use]
    pub fn is_held(&self, ticket: Ticket) -> bool {
        self.entries.get(ticket).is_some_and(|entry| entry.is_held)
    }

    /// What may be held in all.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What is held. Above the capacity only after that was made smaller.
    #[must_use]
    pub const fn in_use(&self) -> u64 {
        self.in_use
    }

    /// What nobody holds.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.in_use)
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len() - self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::{Acquired, WeightedSemaphore};
    use crate::ticket::Ticket;
    use std::num::NonZeroU64;

    fn acquire(semaphore: &mut WeightedSemaphore, weight: u64) -> Acquired {
        semaphore.acquire(NonZeroU64::new(weight).unwrap())
    }

    fn held(semaphore: &mut WeightedSemaphore, weight: u64) -> Ticket {
        match acquire(semaphore, weight) {
            Acquired::Now(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn queued(semaphore: &mut WeightedSemaphore, weight: u64) -> Ticket {
        match acquire(semaphore, weight) {
            Acquired::Queued(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn weights_are_granted_whole_and_in_order() {
        let mut semaphore = WeightedSemaphore::new(10);
        let first = held(&mut semaphore, 6);
        let second = queued(&mut semaphore, 6);
        let third = queued(&mut semaphore, 5);
        assert_eq!(semaphore.release(first).unwrap().as_slice(), [second]);
        assert_eq!((semaphore.in_use(), semaphore.waiting()), (6, 1));
        assert_eq!(semaphore.release(second).unwrap().as_slice(), [third]);
        assert_eq!(semaphore.release(second), None, "given back once");
        assert!(semaphore.release(third).unwrap().is_empty());
        assert_eq!(semaphore.in_use(), 0);
    }

    #[test]
    fn a_weight_that_can_never_fit_is_refused_at_once() {
        let mut semaphore = WeightedSemaphore::new(10);
        assert_eq!(acquire(&mut semaphore, 11), Acquired::Refused { weight: 11, capacity: 10 });
        assert_eq!(acquire(&mut WeightedSemaphore::new(0), 1), Acquired::Refused { weight: 1, capacity: 0 });
    }

    #[test]
    fn light_ones_pass_a_heavy_one_only_so_often() {
        let mut semaphore = WeightedSemaphore::new(10);
        let mut holder = held(&mut semaphore, 1);
        let heavy = queued(&mut semaphore, 10);
        for _ in 0..WeightedSemaphore::MAX_OVERTAKES {
            let next = held(&mut semaphore, 1);
            assert!(semaphore.release(holder).unwrap().is_empty());
            holder = next;
        }
        let light = queued(&mut semaphore, 1);
        assert_eq!(semaphore.release(holder).unwrap().as_slice(), [heavy]);
        assert_eq!(semaphore.release(heavy).unwrap().as_slice(), [light]);
    }

    #[test]
    fn who_gives_up_lets_those_behind_go_on() {
        let mut semaphore = WeightedSemaphore::new(10);
        let _holder = held(&mut semaphore, 5);
        let heavy = queued(&mut semaphore, 10);
        for _ in 0..WeightedSemaphore::MAX_OVERTAKES {
            let passing = held(&mut semaphore, 5);
            let _ = semaphore.release(passing);
        }
        let behind = queued(&mut semaphore, 5);
        assert_eq!(semaphore.release(heavy).unwrap().as_slice(), [behind]);
        assert!(semaphore.is_held(behind));
    }

    #[test]
    fn a_smaller_capacity_admits_nothing_new_and_refuses_what_became_impossible() {
        let mut semaphore = WeightedSemaphore::new(10);
        let holder = held(&mut semaphore, 8);
        let heavy = queued(&mut semaphore, 9);
        let light = queued(&mut semaphore, 4);
        let resized = semaphore.resize(4);
        assert_eq!((resized.granted.as_slice(), resized.refused.as_slice()), (&[][..], &[heavy][..]));
        assert_eq!((semaphore.in_use(), semaphore.free()), (8, 0));
        assert_eq!(semaphore.release(heavy), None);
        assert_eq!(semaphore.release(holder).unwrap().as_slice(), [light]);
        let waits = queued(&mut semaphore, 4);
        assert_eq!(semaphore.resize(8).granted.as_slice(), [waits]);
    }
}
