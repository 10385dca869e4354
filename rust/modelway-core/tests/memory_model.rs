//! Random traffic on devices that load, unload and fail as they like, with the models of two backends: memory is never
//! exceeded, nothing in use goes, one model loads at a time, embedding models and others leave each other alone, nobody
//! waits beyond a bound, and it ends.
//!
//! The bound. Of k models none whose first request waits for memory waits longer than
//! `max_wait + k * (5 L + D + 3 U)`, where L is the longest load, D the longest request and U the longest unload. For once
//! `max_wait` is over, only models go before it that have waited for longer, each once, and each of them waits for at
//! most: a load that is under way (L), the residence of what was loaded last (L), what runs (D), the unload (U), and its
//! own load (L). Before each of the last two an embedding model may go and another come (U + L). Where one model at a time
//! computes, a turn of `max(1 s, 4 D) + D` comes on top for each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, Effects, ModelResources};
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::swap::{Claim, Doing, Policy, Resident, View, plan};
use modelway_core::users::UserLimits;
use modelway_core::vram::{Device, Stage};
use modelway_core::{Millis, Ticket};
use proptest::prelude::*;
use support::cases;

const CAPACITY: u64 = 10;
/// A load that was never measured is thought to take so long.
const UNMEASURED_MS: Millis = 250;

#[derive(Clone, Debug)]
struct Kind {
    bytes: u64,
    load_ms: Millis,
    service_ms: Millis,
    slots: u32,
    is_pinned: bool,
    makes_embeddings: bool,
}

#[derive(Clone, Debug)]
struct Case {
    kinds: Vec<Kind>,
    /// When the next comes after the one before, and what it asks for.
    arrivals: Vec<(Millis, usize)>,
    max_wait_ms: Millis,
    unload_ms: Millis,
    is_managed: bool,
    computes_alone: bool,
    linger_percent: u64,
    embedding_bytes: u64,
    /// Of a hundred loads so many fail, or turn out to be larger; of a hundred requests so many find that their model has
    /// crashed or leave the queue.
    trouble_percent: u64,
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrive(usize),
    Leave(Ticket),
    Served(Ticket),
    Loaded(usize),
    Unloaded(usize),
}

struct World {
    case: Case,
    admission: Admission,
    now: Millis,
    events: BTreeSet<(Millis, usize, What)>,
    count: usize,
    live: BTreeMap<Ticket, usize>,
    /// Since when the first request of a model waits though it has a free slot.
    kept_since: Vec<Option<Millis>>,
    /// Loads under way.
    loading: BTreeSet<usize>,
    longest_wait_ms: Millis,
    ended: usize,
    random: u64,
}

impl World {
    fn new(case: Case) -> Self {
        let mut admission = Admission::new(UserLimits::default(), 100, Limits::default());
        let policy = Policy {
            max_wait_ms: case.max_wait_ms,
            linger_percent: case.linger_percent,
            ..Policy::default()
        };
        let device = admission.add_device(Device {
            capacity: Some(CAPACITY),
            is_managed: case.is_managed,
            computes_alone: case.computes_alone,
            embedding_bytes: Some(case.embedding_bytes),
            policy,
        });
        // The models are those of two backends, by turns.
        let backends = [(); 2].map(|()| admission.add_backend(device, BackendResources::default()));
        for (number, kind) in case.kinds.iter().enumerate() {
            let resources = ModelResources {
                memory_bytes: kind.bytes,
                max_concurrent: Some(kind.slots),
                is_pinned: kind.is_pinned,
                makes_embeddings: kind.makes_embeddings,
                ..ModelResources::default()
            };
            admission.add_model(backends[number % 2], resources);
        }
        let mut world = Self {
            admission,
            now: 0,
            events: BTreeSet::new(),
            count: 0,
            live: BTreeMap::new(),
            kept_since: vec![None; case.kinds.len()],
            loading: BTreeSet::new(),
            longest_wait_ms: 0,
            ended: 0,
            random: case.seed | 1,
            case,
        };
        let mut when = 0;
        for (after, model) in world.case.arrivals.clone() {
            when += after;
            world.at(when, What::Arrive(model));
        }
        world
    }

    fn at(&mut self, when: Millis, what: What) {
        self.count += 1;
        self.events.insert((when, self.count, what));
    }

    /// Whether trouble strikes: xorshift of Marsaglia (2003).
    fn strikes(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100 < self.case.trouble_percent
    }

    /// Whether the model's place is the part of embedding models. Before anything was measured otherwise.
    fn is_of_share(&self, model: usize) -> bool {
        let Kind { bytes, makes_embeddings, is_pinned, .. } = self.case.kinds[model];
        let pinned = self.case.kinds.iter().filter(|kind| kind.is_pinned && kind.makes_embeddings);
        let of_pinned: u64 = pinned.map(|kind| kind.bytes).sum();
        makes_embeddings && of_pinned + if is_pinned { 0 } else { bytes } <= self.case.embedding_bytes
    }

    /// Whether embedding models have a part that nothing but they ever needs.
    fn is_parted(&self) -> bool {
        let rest = CAPACITY - self.case.embedding_bytes;
        let others = || (0..self.case.kinds.len()).filter(|model| !self.is_of_share(*model));
        let bytes = |model: usize| self.case.kinds[model].bytes;
        let of_pinned: u64 = others().filter(|model| self.is_pinned(*model)).map(bytes).sum();
        let is_fitting = |model: usize| bytes(model) + of_pinned <= rest;
        self.case.is_managed && self.case.trouble_percent == 0 && others().all(is_fitting)
    }

    fn is_pinned(&self, model: usize) -> bool {
        self.case.kinds[model].is_pinned
    }

    fn apply(&mut self, effects: &Effects) {
        for model in &effects.evicted {
            assert!(!self.is_pinned(*model), "pinned");
            let same = |other: &usize| self.is_of_share(*other) == self.is_of_share(*model);
            let waits = |other: usize| self.admission.load(other, self.now).waiting > 0;
            let is_for_same = (0..self.case.kinds.len()).filter(same).any(waits);
            assert!(is_for_same || !self.is_parted(), "pushed out by the other kind");
            // Where it is done at once, a model may go, come back and be granted within one call.
            let granted = effects.granted.iter().filter(|ticket| self.live[*ticket] == *model).count();
            let running = self.admission.load(*model, self.now).running as usize;
            assert!(running <= granted, "in use");
            assert!(running == 0 || !self.case.is_managed, "in use");
            if self.case.is_managed {
                self.at(self.now + self.case.unload_ms, What::Unloaded(*model));
            }
        }
        for model in &effects.load {
            assert!(self.case.is_managed);
            assert!(self.loading.insert(*model));
            assert_eq!(self.loading.len(), 1, "one at a time");
            self.at(self.now + self.case.kinds[*model].load_ms, What::Loaded(*model));
        }
        for ticket in &effects.granted {
            self.serve(*ticket);
        }
        for (ticket, _) in &effects.refused {
            assert!(self.live.remove(ticket).is_some());
            self.ended += 1;
        }
    }

    fn serve(&mut self, ticket: Ticket) {
        let service_ms = self.case.kinds[self.live[&ticket]].service_ms;
        self.at(self.now + service_ms, What::Served(ticket));
    }

    fn step(&mut self, what: What) {
        let now = self.now;
        let effects = match what {
            What::Arrive(model) => {
                let ask = Ask {
                    model,
                    share: Share::of(self.count as u64 % 3),
                    tokens: 1,
                    deadline: None,
                    is_retry: false,
                };
                let (answer, effects) = self.admission.admit(&ask, now);
                match answer {
                    Answer::Admitted(ticket) => {
                        self.live.insert(ticket, model);
                        self.serve(ticket);
                    }
                    Answer::Queued(ticket) => {
                        self.live.insert(ticket, model);
                        if self.strikes() {
                            self.at(now + 100, What::Leave(ticket));
                        }
                    }
                    Answer::Refused(_) => self.ended += 1,
                }
                effects
            }
            What::Leave(ticket) if self.admission.is_admitted(ticket) => return,
            What::Leave(ticket) => {
                self.ended += usize::from(self.live.remove(&ticket).is_some());
                self.admission.cancel(ticket, now).unwrap_or_default()
            }
            What::Served(ticket) => {
                let model = self.live.remove(&ticket).unwrap();
                self.ended += 1;
                if self.strikes() {
                    let effects = self.admission.gone(model, now);
                    self.apply(&effects);
                }
                self.admission.finish(ticket, None, now).unwrap()
            }
            What::Loaded(model) => {
                self.loading.remove(&model);
                let load_ms = self.case.kinds[model].load_ms;
                match (self.strikes(), self.random & 1) {
                    (false, _) => self.admission.loaded(model, None, Some(load_ms as f64), now),
                    (true, 0) => self.admission.failed(model, now),
                    (true, _) => {
                        let bytes = self.case.kinds[model].bytes + 1;
                        self.admission.did_not_fit(model, bytes, now)
                    }
                }
            }
            What::Unloaded(model) => self.admission.gone(model, now),
        };
        self.apply(&effects);
        self.check();
    }

    fn check(&mut self) {
        let residency = self.admission.residency(0);
        assert!(residency.in_use() <= CAPACITY, "{} bytes", residency.in_use());
        assert_eq!(residency.in_use(), residency.held().map(|one| one.bytes).sum::<u64>());
        if self.is_parted() {
            let of_share = residency.held().filter(|one| self.is_of_share(one.model));
            assert!(of_share.map(|one| one.bytes).sum::<u64>() <= self.case.embedding_bytes);
        }
        let loading = residency.held().filter(|one| one.stage == Stage::Loading).count();
        assert_eq!(loading, self.loading.len());
        let running = |model: usize| self.admission.load(model, self.now).running;
        let takes_turns = |model: &usize| !self.case.kinds[*model].makes_embeddings;
        let computing =
            (0..self.case.kinds.len()).filter(takes_turns).filter(|model| running(*model) > 0).count();
        assert!(!self.case.computes_alone || computing <= 1, "{computing} compute at once");
        for (model, kind) in self.case.kinds.iter().enumerate() {
            let load = self.admission.load(model, self.now);
            let is_kept = load.waiting > 0 && load.running < kind.slots;
            let since = *self.kept_since[model].get_or_insert(self.now);
            let waited_ms = self.now - since;
            self.longest_wait_ms = self.longest_wait_ms.max(waited_ms);
            // Who goes on for an instant has been served.
            if !is_kept {
                self.kept_since[model] = None;
            }
        }
    }

    /// Runs to the end; how many steps that took.
    fn run(&mut self) -> usize {
        let total = self.case.arrivals.len();
        for step in 0_usize.. {
            let event = self.events.first().map(|(when, ..)| *when);
            let wake = self.admission.next_wake();
            let Some(next) = event.into_iter().chain(wake).min() else {
                assert_eq!((self.ended, self.live.len()), (total, 0), "somebody is forgotten");
                return step;
            };
            assert!(wake.is_none_or(|wake| wake > self.now), "a plan for the past");
            self.now = next;
            if wake == Some(next) {
                let effects = self.admission.tick(next);
                self.apply(&effects);
                self.check();
            } else {
                let (_, _, what) = self.events.pop_first().unwrap();
                self.step(what);
            }
            assert!(step < 40 * (total + 10), "it does not end");
        }
        unreachable!()
    }

    fn bound_ms(&self) -> Millis {
        let longest = |of: fn(&Kind) -> Millis| self.case.kinds.iter().map(of).max().unwrap();
        let load_ms = longest(|kind| kind.load_ms).max(UNMEASURED_MS);
        let service_ms = longest(|kind| kind.service_ms);
        let turn_ms = if self.case.computes_alone { service_ms + (4 * service_ms).max(1_000) } else { 0 };
        let change_ms = 5 * load_ms + service_ms + 3 * self.case.unload_ms + turn_ms;
        self.case.max_wait_ms + self.case.kinds.len() as u64 * change_ms
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let sizes = prop_oneof![4 => (1_u64..9, Just(false)), 1 => (1_u64..4, Just(true))];
    (sizes, 1_u64..2_000, prop_oneof![1_u64..50, 1_u64..3_000], 1_u32..4).prop_map(
        |((bytes, makes_embeddings), load_ms, service_ms, slots)| Kind {
            bytes,
            load_ms,
            service_ms,
            slots,
            is_pinned: false,
            makes_embeddings,
        },
    )
}

fn case(trouble_percent: u64) -> impl Strategy<Value = Case> {
    (2_usize..7)
        .prop_flat_map(|models| {
            let after = prop_oneof![4 => 0_u64..50, 2 => 0_u64..400, 1 => 0_u64..5_000];
            (
                proptest::collection::vec(kind(), models),
                proptest::collection::vec((after, 0..models), 1..150),
                (any::<u64>(), proptest::bool::weighted(0.2)),
                proptest::sample::select(vec![0_u64, 1_000, 5_000, 30_000]),
                0_u64..300,
                (proptest::bool::weighted(0.7), proptest::bool::weighted(0.3)),
                (proptest::sample::select(vec![0_u64, 10, 100]), 0_u64..4),
            )
        })
        .prop_map(
            move |(
                mut kinds,
                arrivals,
                (seed, has_pinned),
                max_wait_ms,
                unload_ms,
                device,
                (linger_percent, embedding_bytes),
            )| {
                if has_pinned {
                    kinds[0] = Kind { bytes: 1, is_pinned: true, ..kinds[0].clone() };
                }
                let (is_managed, computes_alone) = device;
                Case {
                    kinds,
                    arrivals,
                    max_wait_ms,
                    unload_ms,
                    is_managed,
                    computes_alone,
                    linger_percent,
                    embedding_bytes,
                    trouble_percent,
                    seed,
                }
            },
        )
}

fn view() -> impl Strategy<Value = (Vec<Resident>, Vec<Claim>)> {
    let resident = (1_u64..6, 0_u8..6, 0_u64..2_000, 1_u64..900, 0..1_000_000_u32, any::<bool>()).prop_map(
        |(bytes, doing, since, load_ms, uses, is_closed)| Resident {
            model: 0,
            bytes,
            doing: if doing < 3 { Doing::Idle(since + 900) } else { Doing::Busy(3_000) },
            since,
            load_ms,
            uses,
            is_pinned: doing == 5,
            is_closed: is_closed && doing != 5,
        },
    );
    let claim =
        (1_u64..9, 0_u64..2_000, 1_u32..9, 1_u64..900).prop_map(|(bytes, since, waiting, load_ms)| Claim {
            model: 0,
            bytes,
            since,
            mean_since: since,
            waiting,
            load_ms,
        });
    (proptest::collection::vec(resident, 0..6), proptest::collection::vec(claim, 1..6)).prop_map(
        |(mut residents, mut claims)| {
            residents.iter_mut().enumerate().for_each(|(number, one)| one.model = number);
            claims.iter_mut().enumerate().for_each(|(number, one)| one.model = 100 + number);
            (residents, claims)
        },
    )
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn nobody_waits_beyond_the_bound(case in case(0)) {
        let mut world = World::new(case);
        world.run();
        prop_assert!(world.longest_wait_ms <= world.bound_ms(), "{} of {}", world.longest_wait_ms, world.bound_ms());
    }

    #[test]
    fn trouble_forgets_nobody(case in case(20)) {
        World::new(case).run();
    }

    /// On a device that loads by itself all that a plan says is done at once, and the next one made: within an instant
    /// that ends, as each turn but the last drops a model, closes one more, or loads one that then is new.
    #[test]
    fn plans_made_within_an_instant_end((mut residents, claims) in view()) {
        let capacity = residents.iter().map(|one| one.bytes).sum::<u64>().max(9);
        let policy = Policy { max_wait_ms: 1_000, ..Policy::default() };
        let now = 2_500;
        let most = residents.len() + 2 * claims.len() + 2;
        let mut promised = Vec::new();
        for turn in 0.. {
            prop_assert!(turn <= 2 * most, "no end");
            let view = View { capacity, residents: &residents, claims: &claims, promised: &promised };
            let made = plan(&view, &policy, now);
            promised = made.promised.to_vec();
            prop_assert!(made.look_again.is_none_or(|when| when > now));
            let has_closed = residents.iter().any(|one| !one.is_closed && made.closed.contains(&one.model));
            for one in &mut residents {
                one.is_closed = made.closed.contains(&one.model);
            }
            for model in &made.unload {
                let gone = residents.iter().position(|one| one.model == *model).unwrap();
                prop_assert!(matches!(residents[gone].doing, Doing::Idle(_)) && !residents[gone].is_pinned);
                residents.remove(gone);
            }
            if let Some(model) = made.load {
                let Claim { bytes, load_ms, .. } = *claims.iter().find(|claim| claim.model == model).unwrap();
                let doing = Doing::Busy(now);
                residents.push(Resident {
                    model, bytes, doing, since: now, load_ms, uses: 0, is_pinned: false, is_closed: false,
                });
                prop_assert!(residents.iter().map(|one| one.bytes).sum::<u64>() <= capacity);
            }
            if !has_closed && made.unload.is_empty() && made.load.is_none() {
                break;
            }
        }
    }
}
