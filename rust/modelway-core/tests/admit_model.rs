//! The whole admission over random histories, against books kept beside it: nothing is given twice, nothing is
//! lost, nobody is forgotten, and at the end all is as it was at the beginning.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use modelway_core::admit::{Admission, Answer, Ask, BackendResources, Effects, ModelResources, Refusal, Why};
use modelway_core::budget::RetryPolicy;
use modelway_core::fair::Share;
use modelway_core::limits::Limits;
use modelway_core::quota::Quota;
use modelway_core::rate::Rate;
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;
use modelway_core::{Millis, Ticket};
use proptest::prelude::*;
use support::cases;

const USERS: u64 = 6;
const MEMORY: u64 = 10;

fn rate(count: u32, burst: u64) -> Rate {
    let second = NonZeroU32::new(1_000).unwrap();
    Rate::new(NonZeroU32::new(count).unwrap(), second, NonZeroU64::new(burst).unwrap())
}

/// The models: the backend of each, slots and bytes, whether it has rates.
const MODELS: [(usize, Option<u32>, u64, bool); 7] = [
    (0, Some(2), 6, false),
    (0, Some(1), 6, true),
    (0, None, 3, false),
    (0, Some(3), 9, false),
    (1, Some(2), 0, true),
    (1, None, 0, false),
    (1, Some(1), 4, false),
];

fn resources(model: usize) -> ModelResources {
    let (_, max_concurrent, memory_bytes, has_rates) = MODELS[model];
    let limits = Limits { requests: Some(rate(5, 3)), tokens: Some(rate(2_000, 1_500)) };
    let limits = if has_rates { limits } else { Limits::default() };
    ModelResources { max_concurrent, memory_bytes, limits, ..ModelResources::default() }
}

fn device(memory_bytes: u64) -> Device {
    Device { capacity: Some(memory_bytes), ..Device::default() }
}

fn backend(number: usize) -> BackendResources {
    match number {
        0 => BackendResources { max_waiting: 30, ..BackendResources::default() },
        _ => BackendResources {
            max_waiting: 20,
            limits: Limits { requests: Some(rate(20, 8)), tokens: None },
            retries: RetryPolicy { percent: 20, reserve_per_s: 0 },
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Waiting,
    Running,
}

/// The admission, and what is known of it from its answers alone.
struct Books {
    admission: Admission,
    now: Millis,
    memory: u64,
    /// What was in use when the memory became less.
    inherited_memory: u64,
    live: BTreeMap<Ticket, (usize, Status)>,
    /// In the order in which they were made, to choose from.
    tickets: Vec<Ticket>,
    running: [u32; MODELS.len()],
    waiting: [usize; MODELS.len()],
    max_concurrent: [Option<u32>; MODELS.len()],
    /// Running requests of each model when its slots became fewer.
    inherited: [u32; MODELS.len()],
    admitted: u64,
    evicted: u64,
}

impl Books {
    fn new() -> Self {
        let day = NonZeroU64::new(5_000).unwrap();
        let users = UserLimits {
            rates: Limits { requests: Some(rate(10, 10)), tokens: None },
            request_quota: None,
            token_quota: Some(Quota::new(20_000, day, 700)),
        };
        let mut admission = Admission::new(users, 5, Limits { requests: Some(rate(30, 15)), tokens: None });
        for (number, device) in [device(MEMORY), Device::default()].into_iter().enumerate() {
            let device = admission.add_device(device);
            admission.add_backend(device, backend(number));
        }
        for (model, (of, ..)) in MODELS.iter().enumerate() {
            admission.add_model(*of, resources(model));
        }
        Self {
            admission,
            now: 0,
            memory: MEMORY,
            inherited_memory: 0,
            live: BTreeMap::new(),
            tickets: Vec::new(),
            running: [0; MODELS.len()],
            waiting: [0; MODELS.len()],
            max_concurrent: MODELS.map(|(_, slots, ..)| slots),
            inherited: [0; MODELS.len()],
            admitted: 0,
            evicted: 0,
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        if let Some((model, status)) = self.live.remove(&ticket) {
            match status {
                Status::Waiting => self.waiting[model] -= 1,
                Status::Running => {
                    self.running[model] -= 1;
                    self.inherited[model] = self.inherited[model].min(self.running[model]);
                }
            }
        }
    }

    fn enter(&mut self, ticket: Ticket, model: usize, status: Status) {
        let old = self.live.insert(ticket, (model, status));
        assert_eq!(old, None, "a ticket is never used again");
        self.tickets.push(ticket);
        match status {
            Status::Waiting => self.waiting[model] += 1,
            Status::Running => self.start(model),
        }
    }

    fn start(&mut self, model: usize) {
        self.running[model] += 1;
        self.admitted += 1;
        let most = self.max_concurrent[model].map(|slots| slots.max(self.inherited[model]));
        assert!(most.is_none_or(|most| self.running[model] <= most), "model {model} is over-admitted");
    }

    fn apply(&mut self, effects: &Effects) {
        // Whose memory is given away was idle before anybody was granted it, or is loaded once more after.
        self.evicted += effects.evicted.len() as u64;
        for ticket in &effects.granted {
            let (model, status) = self.live.get_mut(ticket).unwrap();
            assert_eq!(*status, Status::Waiting, "granted once");
            *status = Status::Running;
            let model = *model;
            self.waiting[model] -= 1;
            self.start(model);
        }
        for (ticket, Refusal { when, .. }) in &effects.refused {
            assert_eq!((self.live[ticket].1, *when), (Status::Waiting, None));
            self.forget(*ticket);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Admit { model, user, tokens, patience_ms, is_retry } => {
                let deadline = patience_ms.map(|ms| self.now + ms);
                let ask = Ask { model, share: Share::of(user), tokens, deadline, is_retry };
                let (answer, effects) = self.admission.admit(&ask, self.now);
                self.apply(&effects);
                match answer {
                    Answer::Admitted(ticket) => self.enter(ticket, model, Status::Running),
                    Answer::Queued(ticket) => {
                        self.enter(ticket, model, Status::Waiting);
                        let place = self.admission.place(ticket, self.now).unwrap();
                        assert!((1..=self.waiting[model]).contains(&place.position), "{place:?}");
                        assert_ne!(patience_ms, Some(0));
                    }
                    Answer::Refused(Refusal { why, when }) => {
                        assert!(when.is_none_or(|when| when > self.now), "{why:?} at {}", self.now);
                        assert_eq!(when.is_none(), self.is_never(model, tokens), "{why:?}");
                        assert!(why != Why::Retries || is_retry);
                        assert!(why != Why::Deadline || deadline.is_some());
                    }
                }
            }
            Step::Finish(which, real) => {
                self.end(which, |admission, ticket, now| admission.finish(ticket, real, now));
            }
            Step::Cancel(which) => self.end(which, Admission::cancel),
            Step::Wait(ms) => {
                self.now += ms;
                let effects = self.admission.tick(self.now);
                self.apply(&effects);
                assert!(self.admission.next_wake().is_none_or(|due| due > self.now));
            }
            Step::Memory(bytes) => {
                self.memory = bytes;
                self.inherited_memory = self.admission.residency(0).in_use();
                let effects = self.admission.set_device(0, device(bytes), self.now);
                self.apply(&effects);
            }
            Step::Slots(model, slots) => {
                self.max_concurrent[model] = Some(slots);
                self.inherited[model] = self.running[model];
                let resources = ModelResources { max_concurrent: Some(slots), ..resources(model) };
                let effects = self.admission.set_model(model, resources, self.now);
                self.apply(&effects);
            }
        }
    }

    fn is_never(&self, model: usize, tokens: u64) -> bool {
        tokens > 20_000
            || (MODELS[model].3 && tokens > 1_500)
            || (MODELS[model].0 == 0 && MODELS[model].2 > self.memory)
    }

    fn end(&mut self, which: usize, act: impl Fn(&mut Admission, Ticket, Millis) -> Option<Effects>) {
        let Some(&ticket) = self.tickets.get(which % self.tickets.len().max(1)) else { return };
        let effects = act(&mut self.admission, ticket, self.now);
        assert_eq!(effects.is_some(), self.live.contains_key(&ticket), "given back once");
        self.forget(ticket);
        if let Some(effects) = effects {
            assert!(!effects.granted.contains(&ticket));
            self.apply(&effects);
        }
        assert!(act(&mut self.admission, ticket, self.now).is_none());
        // Old tickets stay in the list for a while, to be given back once more.
        if self.tickets.len() > 2 * self.live.len() + 10 {
            let live = &self.live;
            self.tickets.retain(|ticket| live.contains_key(ticket));
        }
    }

    /// What is given away and what is counted are the same.
    fn check(&mut self) {
        for model in 0..MODELS.len() {
            let load = self.admission.load(model, self.now);
            assert_eq!(
                (load.running, load.waiting),
                (self.running[model], self.waiting[model]),
                "model {model}"
            );
        }
        for of in 0..2 {
            let residency = self.admission.residency(of);
            let models = (0..MODELS.len()).filter(|model| MODELS[*model].0 == of);
            let resident = models.clone().filter(|model| residency.is_resident(*model));
            assert_eq!(residency.in_use(), resident.clone().map(|model| MODELS[model].2).sum::<u64>());
            let idle = resident.filter(|model| self.running[*model] == 0);
            assert_eq!(residency.idle_bytes(), idle.map(|model| MODELS[model].2).sum::<u64>());
            if of == 0 {
                self.inherited_memory = self.inherited_memory.min(residency.in_use());
                assert!(
                    residency.in_use() <= self.memory.max(self.inherited_memory),
                    "more is resident than fits"
                );
            }
            for model in models.clone().filter(|model| self.running[*model] > 0 && MODELS[*model].2 > 0) {
                assert!(residency.is_resident(model), "what runs is resident");
            }
            if models.clone().all(|model| self.running[model] == 0) && self.admission.next_wake().is_none() {
                let waiting: usize = models.map(|model| self.waiting[model]).sum();
                assert_eq!(waiting, 0, "nothing runs, nothing is timed, and yet somebody waits");
            }
        }
    }

    /// Ends all that runs, again and again: everybody must get a turn, and nothing be left.
    fn wind_up(&mut self) {
        let rounds = self.live.len() + 1_000;
        for _ in 0..rounds {
            let running = self.live.iter().find(|(_, (_, status))| *status == Status::Running);
            if let Some((&ticket, _)) = running {
                let effects = self.admission.finish(ticket, None, self.now).unwrap();
                self.forget(ticket);
                self.apply(&effects);
            } else if let Some(due) = self.admission.next_wake() {
                let wait = Step::Wait(due - self.now);
                self.step(&wait);
            }
            self.check();
        }
        assert!(self.live.is_empty(), "{:?} are left", self.live);
        let much_later = self.now + 10_000_000;
        for user in 0..USERS {
            let standing = self.admission.standing(user, much_later);
            assert_eq!(standing.requests.unwrap().remaining, 10);
            assert_eq!(standing.quota_tokens.unwrap().remaining, 20_000);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit { model: usize, user: u64, tokens: u64, patience_ms: Option<Millis>, is_retry: bool },
    Finish(usize, Option<u64>),
    Cancel(usize),
    Wait(Millis),
    Memory(u64),
    Slots(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let tokens = || prop_oneof![9 => 0_u64..1_000, 1 => 0_u64..25_000];
    let patience =
        prop_oneof![3 => Just(None), 1 => proptest::sample::select(vec![Some(0), Some(100), Some(2_000)])];
    prop_oneof![
        24 => (0..MODELS.len(), 0..USERS, tokens(), patience, proptest::bool::weighted(0.1))
            .prop_map(|(model, user, tokens, patience_ms, is_retry)| {
                Step::Admit { model, user, tokens, patience_ms, is_retry }
            }),
        14 => (any::<usize>(), proptest::option::of(tokens())).prop_map(|(which, real)| Step::Finish(which, real)),
        6 => any::<usize>().prop_map(Step::Cancel),
        10 => (0_u64..400).prop_map(Step::Wait),
        1 => (5_u64..13).prop_map(Step::Memory),
        1 => (0..MODELS.len(), 1_u32..4).prop_map(|(model, slots)| Step::Slots(model, slots)),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn nothing_is_given_twice_or_lost(steps in proptest::collection::vec(step(), 1..250)) {
        let mut books = Books::new();
        for step in &steps {
            books.step(step);
            books.check();
        }
        books.wind_up();
    }
}

/// The xorshift* of Vigna (2016): a number from a state, the same on every machine.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

fn random_step(state: &mut u64) -> Step {
    let kind = next(state) % 1_000;
    let which = next(state) as usize;
    match kind {
        0..430 => Step::Admit {
            model: which % MODELS.len(),
            user: next(state) % USERS,
            tokens: next(state) % if kind < 10 { 25_000 } else { 1_000 },
            patience_ms: [None, None, None, Some(0), Some(100), Some(2_000)][next(state) as usize % 6],
            is_retry: kind.is_multiple_of(10),
        },
        430..700 => Step::Finish(which, kind.is_multiple_of(2).then(|| next(state) % 1_000)),
        700..800 => Step::Cancel(which),
        800..998 => Step::Wait(next(state) % 400),
        998 => Step::Memory(5 + next(state) % 8),
        _ => Step::Slots(which % MODELS.len(), 1 + (next(state) % 3) as u32),
    }
}

fn run(seed: u64, steps: u64) -> Books {
    let mut books = Books::new();
    let mut state = seed;
    for _ in 0..steps {
        books.step(&random_step(&mut state));
        books.check();
    }
    books.wind_up();
    books
}

#[test]
fn a_long_history_reaches_every_corner() {
    let books = run(1, 100_000);
    assert!(books.admitted > 5_000 && books.evicted > 200, "{} {}", books.admitted, books.evicted);
}

#[test]
#[ignore = "long: make test-long"]
fn ten_million_operations_leave_nothing_behind() {
    let books = run(20_260_101, 10_000_000);
    println!("{} admitted, {} evictions, 0 over-admissions, 0 leaks", books.admitted, books.evicted);
}
