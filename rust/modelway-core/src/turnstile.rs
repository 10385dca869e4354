//! So many slots, and a fair queue before them: what a program that serves several users needs on its own.

use crate::ewma::Millis;
use crate::fair::{FairQueue, Full, Place, Share, Waiting};
use crate::ticket::{Ticket, Tickets};

/// Slots that users take in fair turns. All operations take O(log n).
#[derive(Clone, Debug)]
pub struct Turnstile {
    slots: usize,
    running: usize,
    queue: FairQueue<Ticket>,
    entries: Tickets<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    share: Share,
    cost: u64,
    is_waiting: bool,
}

impl Entry {
    /// What the queue calls it.
    const fn waiting(&self, ticket: Ticket) -> Waiting<Ticket> {
        Waiting { ticket, user: self.share.user, cost: self.cost }
    }
}

/// What became of somebody who came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a slot is held until its ticket leaves"]
pub enum Entered {
    /// It has a slot.
    Now(Ticket),
    /// It waits; a later call grants it.
    Queued(Ticket),
}

impl Turnstile {
    /// With all slots free; at most `max_waiting` wait.
    #[must_use]
    pub fn new(slots: usize, max_waiting: usize) -> Self {
        Self { slots, running: 0, queue: FairQueue::new(max_waiting), entries: Tickets::default() }
    }

    /// Takes a slot, or a place in the queue, for something thought to cost so much.
    ///
    /// # Errors
    /// [`Full`]; nothing has changed.
    pub fn enter(&mut self, share: Share, cost: u64, now: Millis) -> Result<Entered, Full> {
        let is_waiting = !self.queue.is_empty() || self.running >= self.slots;
        let ticket = self.entries.insert(Entry { share, cost, is_waiting });
        if !is_waiting {
            self.queue.pass(share, cost);
            self.running += 1;
            return Ok(Entered::Now(ticket));
        }
        if let Err(full) = self.queue.push(ticket, share, cost, now) {
            self.entries.remove(ticket);
            return Err(full);
        }
        Ok(Entered::Queued(ticket))
    }

    /// Ends a ticket, whether it has its slot or waits, and returns who goes on. `None`: it had ended before.
    #[must_use = "the granted ticket's owner must be woken"]
    pub fn leave(&mut self, ticket: Ticket, now: Millis) -> Option<Option<Ticket>> {
        let entry = self.entries.remove(ticket)?;
        if entry.is_waiting {
            self.queue.cancel(entry.waiting(ticket));
            return Some(None);
        }
        self.running -= 1;
        let next = self.queue.pop(now).map(|next| next.ticket);
        if let Some(entry) = next.and_then(|next| self.entries.get_mut(next)) {
            entry.is_waiting = false;
            self.running += 1;
        }
        Some(next)
    }

    /// Takes note of what somebody who has a slot really costs.
    pub fn correct(&mut self, ticket: Ticket, real: u64) {
        if let Some(entry) = self.entries.get_mut(ticket)
            && !entry.is_waiting
        {
            self.queue.correct(entry.share, entry.cost, real);
            entry.cost = real;
        }
    }

    /// Whether a ticket has its slot.
    #[must_use]
    pub fn is_held(&self, ticket: Ticket) -> bool {
        self.entries.get(ticket).is_some_and(|entry| !entry.is_waiting)
    }

    /// Where a ticket stands; `None` if it does not wait.
    #[must_use]
    pub fn place(&self, ticket: Ticket) -> Option<Place> {
        let entry = self.entries.get(ticket).filter(|entry| entry.is_waiting)?;
        self.queue.place(entry.waiting(ticket))
    }

    /// How many have a slot.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// How many wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entered, Turnstile};
    use crate::fair::{Full, Share};
    use crate::ticket::Ticket;

    fn enter(turnstile: &mut Turnstile, user: u64, cost: u64) -> Ticket {
        match turnstile.enter(Share::of(user), cost, 0).unwrap() {
            Entered::Now(ticket) | Entered::Queued(ticket) => ticket,
        }
    }

    #[test]
    fn users_take_turns_and_a_full_queue_refuses() {
        let mut turnstile = Turnstile::new(1, 3);
        let running = enter(&mut turnstile, 1, 20);
        let (second, third) = (enter(&mut turnstile, 1, 10), enter(&mut turnstile, 1, 10));
        let other = enter(&mut turnstile, 2, 10);
        assert_eq!(turnstile.enter(Share::of(3), 1, 0), Err(Full));
        assert_eq!((turnstile.running(), turnstile.waiting()), (1, 3));
        assert_eq!(turnstile.place(other).unwrap().position, 1);
        assert_eq!(turnstile.leave(running, 0), Some(Some(other)));
        assert_eq!(turnstile.leave(second, 0), Some(None), "it waited");
        assert_eq!(turnstile.leave(other, 0), Some(Some(third)));
        assert_eq!(turnstile.leave(third, 0), Some(None));
        assert_eq!(turnstile.leave(third, 0), None, "given back once");
        assert_eq!((turnstile.running(), turnstile.waiting()), (0, 0));
        assert!(matches!(turnstile.enter(Share::of(1), 1, 0), Ok(Entered::Now(_))));
    }

    #[test]
    fn the_real_cost_decides_whose_turn_is_next() {
        let mut turnstile = Turnstile::new(2, 9);
        let (dear, cheap) = (enter(&mut turnstile, 1, 5), enter(&mut turnstile, 2, 5));
        let (after_dear, after_cheap) = (enter(&mut turnstile, 1, 5), enter(&mut turnstile, 2, 5));
        turnstile.correct(dear, 500);
        turnstile.correct(dear, 900);
        turnstile.correct(after_dear, 1);
        assert_eq!(turnstile.leave(dear, 0), Some(Some(after_cheap)));
        assert_eq!(turnstile.leave(cheap, 0), Some(Some(after_dear)));
        assert_eq!(turnstile.place(after_dear), None);
    }
}
