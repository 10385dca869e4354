//! The semaphore against the rule in its plainest words, over random histories: each change looks at all
//! that wait, from the front, again and again until nobody may go.

#![allow(clippy::unwrap_used, reason = "numbers of the tests that are known not to be zero")]

mod support;

use std::num::NonZeroU64;

use modelway_core::semaphore::Acquired;
use modelway_core::{Ticket, WeightedSemaphore};
use proptest::prelude::*;
use support::cases;

#[derive(Clone, Debug)]
enum Step {
    Acquire(u64),
    /// The n-th ticket that was ever made (counted round) ends, be it held, waiting or ended.
    Release(usize),
    Resize(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![4 => 1_u64..4, 1 => 8_u64..13].prop_map(Step::Acquire),
        7 => any::<usize>().prop_map(Step::Release),
        1 => (0_u64..14).prop_map(Step::Resize),
    ]
}

/// Somebody who waits, and how often others passed.
#[derive(Clone, Debug)]
struct Waiting {
    ticket: Ticket,
    weight: u64,
    passed: u64,
    /// As the implementation bounds it: all passing since the arrival, also further back.
    passing_since: u64,
}

#[derive(Debug, Default)]
struct Rules {
    capacity: u64,
    held: Vec<(Ticket, u64)>,
    waiting: Vec<Waiting>,
}

impl Rules {
    fn in_use(&self) -> u64 {
        self.held.iter().map(|(_, weight)| weight).sum()
    }

    /// The first who may go goes, until nobody may.
    fn settle(&mut self) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some(place) = self.next() {
            let gone = self.waiting.remove(place);
            for (behind, one) in self.waiting.iter_mut().enumerate() {
                one.passed += u64::from(behind < place);
                one.passing_since += u64::from(place > 0);
            }
            self.held.push((gone.ticket, gone.weight));
            granted.push(gone.ticket);
        }
        granted
    }

    fn next(&self) -> Option<usize> {
        let free = self.capacity.saturating_sub(self.in_use());
        let is_stopped =
            self.waiting.first().is_some_and(|first| first.passing_since >= WeightedSemaphore::MAX_OVERTAKES);
        let reach = if is_stopped { 1 } else { WeightedSemaphore::LOOKAHEAD };
        self.waiting.iter().take(reach).position(|one| one.weight <= free)
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn the_semaphore_does_what_the_rules_say(steps in proptest::collection::vec(step(), 1..250)) {
        let mut semaphore = WeightedSemaphore::new(12);
        let mut rules = Rules { capacity: 12, ..Rules::default() };
        let mut known = Vec::new();
        for step in steps {
            match step {
                Step::Acquire(weight) => match semaphore.acquire(NonZeroU64::new(weight).unwrap()) {
                    Acquired::Refused { .. } => prop_assert!(weight > rules.capacity),
                    acquired @ (Acquired::Now(ticket) | Acquired::Queued(ticket)) => {
                        prop_assert!(weight <= rules.capacity);
                        known.push(ticket);
                        rules.waiting.push(Waiting { ticket, weight, passed: 0, passing_since: 0 });
                        let granted = rules.settle();
                        let is_now = acquired == Acquired::Now(ticket);
                        prop_assert_eq!(granted, if is_now { vec![ticket] } else { vec![] });
                    }
                },
                Step::Release(which) => {
                    if known.is_empty() {
                        continue;
                    }
                    let ticket = known[which % known.len()];
                    let before = rules.held.len() + rules.waiting.len();
                    rules.held.retain(|(held, _)| *held != ticket);
                    rules.waiting.retain(|one| one.ticket != ticket);
                    let was_known = rules.held.len() + rules.waiting.len() < before;
                    let expected = was_known.then(|| rules.settle());
                    prop_assert_eq!(semaphore.release(ticket).map(|granted| granted.to_vec()), expected);
                }
                Step::Resize(capacity) => {
                    rules.capacity = capacity;
                    let refused: Vec<Ticket> =
                        rules.waiting.iter().filter(|one| one.weight > capacity).map(|one| one.ticket).collect();
                    rules.waiting.retain(|one| one.weight <= capacity);
                    let in_use = semaphore.in_use();
                    let resized = semaphore.resize(capacity);
                    prop_assert!(semaphore.in_use() == in_use || semaphore.in_use() <= capacity);
                    prop_assert_eq!(resized.refused.to_vec(), refused);
                    prop_assert_eq!(resized.granted.to_vec(), rules.settle());
                }
            }
            prop_assert_eq!(semaphore.in_use(), rules.in_use());
            prop_assert_eq!(semaphore.waiting(), rules.waiting.len());
            for one in &rules.waiting {
                prop_assert!(one.passed <= WeightedSemaphore::MAX_OVERTAKES, "{:?} was passed too often", one);
                prop_assert!(!semaphore.is_held(one.ticket));
            }
        }
        // Whoever waits, goes on when all that hold give back: nobody is forgotten.
        while let Some((ticket, _)) = rules.held.pop() {
            let expected = rules.settle();
            prop_assert_eq!(semaphore.release(ticket).map(|granted| granted.to_vec()), Some(expected));
        }
        prop_assert!(rules.waiting.is_empty() || rules.capacity == 0);
        prop_assert_eq!(semaphore.in_use(), 0);
    }
}

/// The xorshift* of Vigna (2016): a number from a state, the same on every machine.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

#[test]
#[ignore = "seconds in a release build: run by `cargo test --release -- --ignored`"]
fn ten_million_operations_leave_nothing_behind() {
    let mut state = 20_260_102;
    let mut semaphore = WeightedSemaphore::new(100);
    // Those that hold and those that wait, with their weights; any may be released at any time.
    let (mut live, mut held) = (Vec::<(Ticket, u64, bool)>::new(), 0_u64);
    for _ in 0..10_000_000 {
        let mut granted = Vec::new();
        if live.len() < 60 && next(&mut state).is_multiple_of(2) {
            let weight = 1 + next(&mut state) % if next(&mut state).is_multiple_of(10) { 100 } else { 20 };
            match semaphore.acquire(NonZeroU64::new(weight).unwrap()) {
                Acquired::Now(ticket) => {
                    held += weight;
                    live.push((ticket, weight, true));
                }
                Acquired::Queued(ticket) => live.push((ticket, weight, false)),
                Acquired::Refused { .. } => assert!(weight > semaphore.capacity()),
            }
        } else if !live.is_empty() {
            let (ticket, weight, is_held) = live.swap_remove(next(&mut state) as usize % live.len());
            held -= if is_held { weight } else { 0 };
            granted = semaphore.release(ticket).unwrap().to_vec();
            assert_eq!(semaphore.release(ticket), None);
        }
        for one in &mut live {
            if granted.contains(&one.0) {
                assert!(!one.2, "granted once");
                one.2 = true;
                held += one.1;
            }
        }
        assert_eq!(
            (semaphore.in_use(), semaphore.waiting()),
            (held, live.iter().filter(|one| !one.2).count())
        );
        assert!(held <= 100);
    }
    for (ticket, ..) in live {
        let _ = semaphore.release(ticket).unwrap();
    }
    assert_eq!((semaphore.in_use(), semaphore.waiting()), (0, 0));
}
