//! The fair queue against its rule in plain lists, and against what it promises: equal service, places that
//! come true, nobody starved.

#![allow(clippy::unwrap_used, reason = "what can't be is a failed test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use modelway_core::Ticket;
use modelway_core::fair::{FairQueue, Full, Share};
use proptest::prelude::*;
use support::cases;

const CAPACITY: usize = 40;

fn share(user: u64) -> Share {
    // Weights are powers of two, so that the rule can be calculated in whole numbers.
    Share { user, weight: NonZeroU32::new(1 << (user % 3)).unwrap() }
}

/// Tokens in units of which even the largest weight gets whole ones.
fn units(user: u64, tokens: u64) -> i128 {
    (i128::from(tokens.max(1)) * 4) >> (user % 3)
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64, u64),
    Pop,
    /// The n-th request ever made (counted round) gives up.
    Cancel(usize),
    /// The n-th served request (counted round) turns out to cost so much.
    Correct(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let cost = || prop_oneof![Just(100_u64), 0_u64..1_000];
    prop_oneof![
        6 => (0_u64..7, cost()).prop_map(|(user, cost)| Step::Push(user, cost)),
        4 => Just(Step::Pop),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), cost()).prop_map(|(which, cost)| Step::Correct(which, cost)),
    ]
}

/// The rule in plain words.
#[derive(Default)]
struct Rules {
    clock: i128,
    given: BTreeMap<u64, i128>,
    /// The clock when the user came, until it was served.
    came_at: BTreeMap<u64, i128>,
    /// Ticket, user and cost of all that wait, in the order of arrival.
    waiting: Vec<(Ticket, u64, u64)>,
}

impl Rules {
    fn waits(&self, user: u64) -> bool {
        self.waiting.iter().any(|(_, waiting, _)| *waiting == user)
    }

    fn given(&self, user: u64) -> i128 {
        self.given.get(&user).copied().unwrap_or(0)
    }

    fn first(&self, user: u64) -> (Ticket, u64, u64) {
        *self.waiting.iter().find(|(_, waiting, _)| *waiting == user).unwrap()
    }

    /// What orders the user's first request among those of others.
    fn order(&self, user: u64) -> (i128, Ticket) {
        let (ticket, _, cost) = self.first(user);
        let behind_clock = self.came_at.get(&user).map_or(0, |clock| clock + units(user, cost));
        (self.given(user).max(behind_clock), ticket)
    }

    fn users(&self) -> BTreeSet<u64> {
        self.waiting.iter().map(|(_, user, _)| *user).collect()
    }

    fn push(&mut self, ticket: Ticket, user: u64, cost: u64) {
        if !self.waits(user) {
            self.given.insert(user, self.given(user).max(self.clock));
            self.came_at.insert(user, self.clock);
        }
        self.waiting.push((ticket, user, cost));
    }

    fn pop(&mut self) -> Option<(Ticket, u64, u64)> {
        let user = self.users().into_iter().min_by_key(|user| self.order(*user))?;
        let (ticket, _, cost) = self.first(user);
        let (before, _) = self.order(user);
        self.clock = self.clock.max(before);
        self.given.insert(user, before + units(user, cost));
        self.came_at.remove(&user);
        self.waiting.retain(|(waiting, ..)| *waiting != ticket);
        Some((ticket, user, cost))
    }

    fn correct(&mut self, user: u64, charged: u64, real: u64) {
        if units(user, charged) == units(user, real) {
            return;
        }
        let given = if self.waits(user) { self.given(user) } else { self.given(user).max(self.clock) };
        self.given.insert(user, (given + units(user, real) - units(user, charged)).max(0));
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn the_queue_does_what_the_rule_says(steps in proptest::collection::vec(step(), 1..200)) {
        let mut queue = FairQueue::new(CAPACITY);
        let mut rules = Rules::default();
        let (mut known, mut served) = (Vec::new(), Vec::new());
        for (now, step) in (0..).zip(steps) {
            match step {
                Step::Push(user, cost) => {
                    let pushed = queue.push(share(user), cost, (user, cost), now);
                    prop_assert_eq!(pushed.is_err(), rules.waiting.len() == CAPACITY);
                    if let Ok(ticket) = pushed {
                        rules.push(ticket, user, cost);
                        known.push(ticket);
                    }
                }
                Step::Pop => {
                    let expected = rules.pop();
                    prop_assert_eq!(queue.first().map(|(ticket, _)| ticket), expected.map(|(ticket, ..)| ticket));
                    prop_assert_eq!(queue.pop(now), expected.map(|(_, user, cost)| (user, cost)));
                    served.extend(expected);
                }
                Step::Cancel(which) => {
                    if let Some(ticket) = known.get(which % known.len().max(1)) {
                        let was = rules.waiting.iter().position(|(waiting, ..)| waiting == ticket);
                        prop_assert_eq!(queue.cancel(*ticket).is_some(), was.is_some());
                        was.map(|place| rules.waiting.remove(place));
                    }
                }
                Step::Correct(which, real) => {
                    if !served.is_empty() {
                        let (_, user, charged) = served.swap_remove(which % served.len());
                        queue.correct(share(user), charged, real);
                        rules.correct(user, charged, real);
                    }
                }
            }
            prop_assert_eq!(queue.len(), rules.waiting.len());
            prop_assert!(queue.users() <= 7);
        }
        let mut users: Vec<u64> = rules.users().into_iter().collect();
        users.sort_by_key(|user| rules.order(*user));
        for (before, user) in users.iter().enumerate() {
            let (ticket, ..) = rules.first(*user);
            prop_assert_eq!(queue.place(ticket).unwrap().position, before + 1);
        }
    }

    #[test]
    fn places_come_true_when_all_cost_alike(users in proptest::collection::vec(0_u64..6, 1..40)) {
        let mut queue = FairQueue::new(CAPACITY);
        let tickets: Vec<Ticket> =
            users.iter().map(|user| queue.push(Share::of(*user), 100, (), 0).unwrap()).collect();
        let places: Vec<usize> = tickets.iter().map(|ticket| queue.place(*ticket).unwrap().position).collect();
        let mut turn = 0;
        while let Some((ticket, ())) = queue.first() {
            turn += 1;
            let at = tickets.iter().position(|other| *other == ticket).unwrap();
            let is_first = !users[..at].contains(&users[at]);
            prop_assert!(if is_first { places[at] == turn } else { places[at] >= turn }, "{:?}", places);
            prop_assert!(places[at] <= tickets.len());
            queue.pop(0);
        }
    }
}

/// Which estimates a run has.
#[derive(Clone, Copy, Debug)]
enum Estimates {
    Right,
    Wrong,
}

/// Serves users that always wait, one request at a time, and returns the largest difference in service that
/// built up between any two over any stretch of time.
fn largest_difference(costs: &[(u64, u64)], users: u64, estimates: Estimates) -> i128 {
    let mut queue = FairQueue::new(1_000);
    let mut costs = costs.iter().copied().cycle();
    let mut push = |queue: &mut FairQueue<(u64, u64, u64)>, user| {
        let (estimate, real) = costs.next().unwrap();
        let estimate = if matches!(estimates, Estimates::Right) { real } else { estimate };
        queue.push(Share::of(user), estimate, (user, estimate, real), 0).unwrap();
    };
    (0..users).for_each(|user| (0..3).for_each(|_| push(&mut queue, user)));
    let mut given = vec![0_i128; users as usize];
    // For each pair the least and the largest difference so far: their distance is the worst stretch.
    let mut extremes = vec![(0_i128, 0_i128); (users * users) as usize];
    for _ in 0..2_000 {
        let (user, estimate, real) = queue.pop(0).unwrap();
        queue.correct(Share::of(user), estimate, real);
        push(&mut queue, user);
        given[user as usize] += i128::from(real);
        for (a, one) in given.iter().enumerate() {
            for (b, other) in given.iter().enumerate() {
                let extreme = &mut extremes[a * users as usize + b];
                *extreme = (extreme.0.min(one - other), extreme.1.max(one - other));
            }
        }
    }
    extremes.iter().map(|(least, most)| most - least).max().unwrap()
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn two_that_wait_differ_by_at_most_twice_the_largest_cost(
        costs in proptest::collection::vec((1_u64..2_000, prop_oneof![1_u64..50, 1_u64..2_000]), 50..400),
        users in 2_u64..8,
    ) {
        let largest = costs.iter().map(|(_, real)| *real).max().unwrap();
        prop_assert!(largest_difference(&costs, users, Estimates::Right) <= 2 * i128::from(largest));
        let largest = costs.iter().map(|(estimate, real)| *estimate.max(real)).max().unwrap();
        prop_assert!(largest_difference(&costs, users, Estimates::Wrong) <= 2 * i128::from(largest));
    }
}

#[test]
fn one_who_sends_fifty_times_as_much_gets_no_more() {
    // Nine users send a request a round each, the tenth fifty; ten a round are served.
    let mut queue = FairQueue::new(100_000);
    let mut given = [0_u64; 10];
    for round in 0..1_000 {
        for user in 0..10 {
            for sent in 0..if user == 9 { 50 } else { 1 } {
                let cost = 200 + (round * 131 + user * 17 + sent * 7) % 400;
                queue.push(Share::of(user), cost / 2, (user, cost), round).unwrap();
            }
        }
        for _ in 0..10 {
            let (user, cost) = queue.pop(round).unwrap();
            queue.correct(Share::of(user), cost / 2, cost);
            given[user as usize] += cost;
        }
    }
    let sum: f64 = given.iter().map(|tokens| *tokens as f64).sum();
    let squares: f64 = given.iter().map(|tokens| (*tokens as f64).powi(2)).sum();
    let jain = sum * sum / (10.0 * squares);
    assert!(jain >= 0.99, "{jain} for {given:?}");
}

#[test]
fn a_stream_of_new_users_starves_nobody() {
    let mut queue = FairQueue::new(100);
    queue.push(Share::of(0), 4_000, 0, 0).unwrap();
    queue.pop(0);
    queue.push(Share::of(0), 4_000, 0, 0).unwrap();
    // There are always ten newcomers waiting, each of whom costs 100 and was never seen before.
    let newcomers = (1_u64..).map(|user| {
        if user > 10 {
            assert!(queue.first().is_some());
        }
        queue.push(Share::of(user), 100, user, 0).unwrap();
        if user > 10 { queue.pop(0) } else { None }
    });
    let served = newcomers.flatten().position(|user| user == 0);
    assert!(served.is_some_and(|turn| turn <= 4_000 / 100 * 11), "{served:?}");
}

#[test]
fn who_gives_up_is_as_if_never_there() {
    let mut queue = FairQueue::new(3);
    let first = queue.push(Share::of(1), 10, 'a', 0).unwrap();
    let second = queue.push(Share::of(1), 10, 'b', 0).unwrap();
    let other = queue.push(Share::of(2), 50, 'c', 0).unwrap();
    assert_eq!(queue.push(Share::of(3), 1, 'd', 0), Err(Full));
    assert_eq!(queue.cancel(first), Some('a'));
    assert_eq!(queue.cancel(first), None);
    assert_eq!((queue.place(first), queue.place(second).unwrap().position), (None, 1));
    assert_eq!(queue.pop(0), Some('b'));
    assert_eq!(queue.cancel(other), Some('c'));
    assert!(queue.is_empty());
    assert_eq!(queue.users(), 1, "only who was served is remembered");
}

#[test]
fn million_users_leave_no_more_than_the_bound() {
    let mut queue: FairQueue<()> = FairQueue::new(50);
    for user in 0..100_000 {
        queue.correct(Share::of(user), 1, 1_000 + user);
        queue.pass(Share::of(user), user % 700);
        assert!(queue.users() <= 50);
    }
}

#[test]
fn the_wait_is_known_from_the_pace() {
    let mut queue = FairQueue::new(10);
    for user in 0..5 {
        queue.push(Share::of(user), 10, user, 0).unwrap();
    }
    let last = queue.push(Share::of(9), 10, 9, 0).unwrap();
    assert_eq!(queue.place(last).unwrap().eta_ms, None);
    assert_eq!(queue.pop(400), Some(0));
    assert_eq!(queue.pop(800), Some(1));
    let place = queue.place(last).unwrap();
    assert_eq!(place.position, 4);
    assert!(place.eta_ms.is_some_and(|ms| (1_590..=1_600).contains(&ms)), "{place:?}");
}
