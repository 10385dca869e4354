//! The semaphore behind a lock, in every order in which three threads can take it.
//!
//! The threads are as the binding's callers: who is queued sleeps until told, whoever releases tells those that
//! were granted. A wake-up that is lost is a deadlock, which loom reports. All interleavings are tried, without
//! a bound on preemptions.

#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

use std::num::NonZeroU64;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use modelway_core::semaphore::{Acquired, WeightedSemaphore};
use modelway_core::{Granted, Ticket};

struct Shared {
    semaphore: Mutex<WeightedSemaphore>,
    granted: Condvar,
}

impl Shared {
    /// No test has a larger capacity at any time.
    const MOST: u64 = 2;

    fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self { semaphore: Mutex::new(WeightedSemaphore::new(capacity)), granted: Condvar::new() })
    }

    fn acquire(&self, weight: u64) -> Acquired {
        self.semaphore.lock().unwrap().acquire(NonZeroU64::new(weight).unwrap())
    }

    fn wait(&self, ticket: Ticket) {
        let mut semaphore = self.semaphore.lock().unwrap();
        while !semaphore.is_held(ticket) {
            semaphore = self.granted.wait(semaphore).unwrap();
        }
        assert!(semaphore.in_use() <= Self::MOST);
    }

    fn release(&self, ticket: Ticket) {
        let granted = self.semaphore.lock().unwrap().release(ticket);
        self.wake(&granted.unwrap());
    }

    /// Wakes nobody unless somebody was granted: a grant that is not returned would be slept through.
    fn wake(&self, granted: &Granted) {
        if !granted.is_empty() {
            self.granted.notify_all();
        }
    }

    fn use_once(&self, weight: u64) {
        match self.acquire(weight) {
            Acquired::Now(ticket) => self.release(ticket),
            Acquired::Queued(ticket) => {
                self.wait(ticket);
                self.release(ticket);
            }
            Acquired::Refused { .. } => {}
        }
    }

    /// Gives up at once when queued, perhaps after the grant.
    fn give_up(&self, weight: u64) {
        if let Acquired::Now(ticket) | Acquired::Queued(ticket) = self.acquire(weight) {
            self.release(ticket);
        }
    }

    fn is_as_new(&self) -> bool {
        let semaphore = self.semaphore.lock().unwrap();
        semaphore.in_use() == 0 && semaphore.waiting() == 0
    }
}

#[test]
fn weights_are_passed_on_in_every_order() {
    loom::model(|| {
        let shared = Shared::new(2);
        let others = [2, 1].map(|weight| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.use_once(weight))
        });
        shared.use_once(1);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(shared.is_as_new());
    });
}

#[test]
fn who_gives_up_blocks_nobody() {
    loom::model(|| {
        let shared = Shared::new(2);
        let user = Arc::clone(&shared);
        let user = thread::spawn(move || user.use_once(1));
        let leaver = Arc::clone(&shared);
        let leaver = thread::spawn(move || leaver.give_up(2));
        shared.use_once(2);
        user.join().unwrap();
        leaver.join().unwrap();
        assert!(shared.is_as_new());
    });
}

#[test]
fn a_capacity_that_changes_wakes_or_refuses_everybody() {
    loom::model(|| {
        let shared = Shared::new(1);
        let others = [1, 1].map(|weight| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.use_once(weight))
        });
        for capacity in [2, 1] {
            let resized = shared.semaphore.lock().unwrap().resize(capacity);
            assert!(resized.refused.is_empty());
            shared.wake(&resized.granted);
        }
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(shared.is_as_new());
    });
}
