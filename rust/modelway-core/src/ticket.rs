//! Tickets: names for what somebody waits for or holds.
//!
//! A ticket is its owner's only handle: it is made once, means one thing for its whole life and is never
//! used again, so giving back twice, or giving back what somebody else holds now, can't happen.

use smallvec::SmallVec;

/// The name of one request from its first step to its last. Later tickets are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Counts all tickets of one table; first, because it gives the order.
    serial: u64,
    index: u32,
}

impl Ticket {
    /// The number that only this ticket of its table has, from 1 on.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.serial
    }
}

/// Tickets that a change let go on; nearly always one or none.
pub type Granted = SmallVec<[Ticket; 4]>;

/// What each ticket stands for. Places are used again, tickets are not.
#[derive(Clone, Debug)]
pub(crate) struct Tickets<T> {
    places: Vec<Option<(u64, T)>>,
    free: Vec<u32>,
    last_serial: u64,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), last_serial: 0 }
    }
}

impl<T> Tickets<T> {
    pub(crate) fn insert(&mut self, value: T) -> Ticket {
        self.last_serial += 1;
        let serial = self.last_serial;
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[index as usize] = Some((serial, value));
        Ticket { serial, index }
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&T> {
        match self.places.get(ticket.index as usize) {
            Some(Some((serial, value))) if *serial == ticket.serial => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        match self.places.get_mut(ticket.index as usize) {
            Some(Some((serial, value))) if *serial == ticket.serial => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.get(ticket)?;
        let (_, value) = self.places[ticket.index as usize].take()?;
        self.free.push(ticket.index);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Tickets;

    #[test]
    fn a_ticket_means_one_thing_once() {
        let mut tickets = Tickets::default();
        let first = tickets.insert('a');
        assert_eq!(tickets.remove(first), Some('a'));
        let second = tickets.insert('b');
        assert_eq!(first.index, second.index, "the place is used again");
        assert!(first < second);
        assert_eq!(tickets.get(first), None);
        assert_eq!(tickets.get_mut(first), None);
        assert_eq!(tickets.remove(first), None);
        assert_eq!(tickets.get(second), Some(&'b'));
    }
}
