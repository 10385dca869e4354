//! One answer for every resource: rates, quotas, fairness, concurrency and memory.
//!
//! A request is admitted with all that it needs, or it waits holding nothing, so two requests can't block each
//! other. Its user's rates and quotas are charged when it comes, in queue or not; what the model shares
//! with others is taken when it goes, in one step. Each model has a fair queue, of which only the first
//! request is looked at. What keeps it, in this order: a slot of the model, the model's rate, memory of the
//! device, the backend's rate, the common rate. Where several models wait for one thing they stand in line,
//! and a model that is kept by something earlier in the order leaves the later lines: so whoever is first
//! in a line waits for requests to end or for time to pass, never for another that waits.
//!
//! Nothing here waits or calls back. Each change returns its [`Effects`]: tickets that go on, and models whose
//! memory was given away. [`Admission::next_wake`] says when [`Admission::tick`] has something to do.

mod ask;
mod look;
mod memory;
mod settle;
mod shared;

use std::collections::BTreeSet;

use crate::budget::RetryBudget;
use crate::ewma::Millis;
use crate::fair::{FairQueue, Share, Waiting};
use crate::limits::{Charge, Limits, Meter};
use crate::ticket::{Ticket, Tickets};
use crate::users::{Standing, User, UserLimits, Users};
use crate::vram::{ModelNumber, Residency};
pub use ask::{
    Answer, Ask, BackendNumber, BackendResources, DeviceNumber, Effects, Load, ModelResources, Refusal,
    Whose, Why,
};
pub use look::Waits;
use settle::Work;
use shared::SharedRate;

/// The resources of all models.
#[derive(Clone, Debug)]
pub struct Admission {
    models: Vec<Model>,
    backends: Vec<Backend>,
    devices: Vec<DeviceState>,
    common: SharedRate,
    users: Users,
    requests: Tickets<Entry>,
    timers: BTreeSet<(Millis, Timer)>,
}

/// Who is to be looked at when a time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A model's first request may pass its rate.
    Model(ModelNumber),
    /// A device may make room.
    Device(DeviceNumber),
}

#[derive(Clone, Debug)]
struct Model {
    backend: BackendNumber,
    resources: ModelResources,
    running: u32,
    meter: Meter,
    queue: FairQueue<Ticket>,
    /// When those in the queue came, added up.
    asked_sum: u128,
    timer: Option<Millis>,
    /// Its place in the lines of shared rates: the request that was first when it joined.
    in_line: Option<Ticket>,
}

#[derive(Clone, Debug)]
struct Backend {
    rate: SharedRate,
    retries: RetryBudget,
    max_waiting: usize,
    waiting: usize,
    /// Where its models live.
    device: DeviceNumber,
}

#[derive(Clone, Debug)]
struct DeviceState {
    residency: Residency,
    /// When room may be made that can't be now.
    look_at: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    model: ModelNumber,
    share: Share,
    tokens: u64,
    is_retry: bool,
    asked_at: Millis,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting,
    Running { is_pinned: bool, since: Millis },
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Done { real_tokens: u64 },
    NotDone,
}

impl Admission {
    /// When nothing is known of how fast a queue is served, come back after this.
    const UNKNOWN_WAIT_MS: Millis = 1_000;

    /// Without models; at most so many users are kept apart by their limits.
    #[must_use]
    pub fn new(users: UserLimits, max_users: usize, common: Limits) -> Self {
        Self {
            models: Vec::new(),
            backends: Vec::new(),
            devices: Vec::new(),
            common: SharedRate::new(common),
            users: Users::new(users, max_users),
            requests: Tickets::default(),
            timers: BTreeSet::new(),
        }
    }

    /// A new backend whose models live on this device, alone or beside those of other backends.
    pub fn add_backend(&mut self, device: DeviceNumber, resources: BackendResources) -> BackendNumber {
        self.backends.push(Backend {
            rate: SharedRate::new(resources.limits),
            retries: RetryBudget::new(resources.retries),
            max_waiting: resources.max_waiting,
            waiting: 0,
            device,
        });
        self.backends.len() - 1
    }

    /// A new model of a backend.
    pub fn add_model(&mut self, backend: BackendNumber, resources: ModelResources) -> ModelNumber {
        let number = self.models.len();
        self.models.push(Model {
            backend,
            resources,
            running: 0,
            meter: Meter::default(),
            queue: FairQueue::new(self.backends[backend].max_waiting),
            asked_sum: 0,
            timer: None,
            in_line: None,
        });
        self.describe(number);
        number
    }

    /// Other resources for a model. What runs goes on; what waits is looked at again.
    pub fn set_model(&mut self, model: ModelNumber, resources: ModelResources, now: Millis) -> Effects {
        let ours = &mut self.models[model];
        ours.meter = resources.limits.adopt(ours.meter, &ours.resources.limits);
        ours.resources = resources;
        self.describe(model);
        self.settled_with_claims(model, now)
    }

    /// Other resources for a backend, or another device. What runs goes on; what waits is looked at again.
    pub fn set_backend(
        &mut self,
        backend: BackendNumber,
        device: DeviceNumber,
        resources: &BackendResources,
        now: Millis,
    ) -> Effects {
        let ours = &mut self.backends[backend];
        ours.rate.set_limits(resources.limits);
        ours.retries.set_policy(resources.retries);
        ours.max_waiting = resources.max_waiting;
        let from = std::mem::replace(&mut ours.device, device);
        let models = 0..self.models.len();
        let of_backend: Vec<_> = models.filter(|model| self.models[*model].backend == backend).collect();
        for model in &of_backend {
            self.models[*model].queue.set_capacity(resources.max_waiting);
        }
        if from != device {
            self.move_models(&of_backend, from, device);
        }
        self.settled(of_backend, now)
    }

    /// Other limits for users and for all models together. What has been used counts under them.
    pub fn set_limits(
        &mut self,
        users: UserLimits,
        max_users: usize,
        common: Limits,
        now: Millis,
    ) -> Effects {
        self.users.set_limits(users, max_users, now);
        self.common.set_limits(common);
        self.settled(0..self.models.len(), now)
    }

    /// Answers a request. The effects are those of time that has passed, and of memory that it took.
    pub fn admit(&mut self, ask: &Ask, now: Millis) -> (Answer, Effects) {
        // Who waits for this moment goes before who comes in it.
        let mut effects = self.tick(now);
        let answer = self.answer(ask, now, &mut effects).unwrap_or_else(Answer::Refused);
        (answer, effects)
    }

    fn answer(&mut self, ask: &Ask, now: Millis, effects: &mut Effects) -> Result<Answer, Refusal> {
        if let Some(why) = self.never(ask.model, ask.tokens) {
            return Err(Refusal { why, when: None });
        }
        let account = self
            .users
            .charge(ask.share.user, charge(ask.tokens, ask.is_retry), now)
            .map_err(Refusal::from)?;
        let backend = self.models[ask.model].backend;
        if ask.is_retry && !self.backends[backend].retries.has_retry(now) {
            return Err(Refusal { why: Why::Retries, when: Some(Self::later(None, now)) });
        }
        self.users.keep(ask.share.user, account, now);
        let answer = match self.go_at_once(ask, now) {
            Some(ticket) => Answer::Admitted(ticket),
            None => self.enqueue(ask, now, effects).inspect_err(|_| {
                self.users.undo(ask.share.user, charge(ask.tokens, ask.is_retry), now, now);
            })?,
        };
        let retries = &mut self.backends[backend].retries;
        if !ask.is_retry || !retries.withdraw(now) {
            retries.deposit(now);
        }
        Ok(answer)
    }

    /// Admits a request that finds nobody waiting and everything free.
    fn go_at_once(&mut self, ask: &Ask, now: Millis) -> Option<Ticket> {
        if !self.models[ask.model].queue.is_empty() {
            return None;
        }
        let is_pinned = self.take(ask.model, ask.tokens, now).ok()?;
        self.models[ask.model].queue.pass(ask.share, ask.tokens);
        Some(self.requests.insert(Entry::of(ask, State::Running { is_pinned, since: now }, now)))
    }

    fn enqueue(&mut self, ask: &Ask, now: Millis, effects: &mut Effects) -> Result<Answer, Refusal> {
        let number = ask.model;
        let backend = self.models[number].backend;
        let full =
            Refusal { why: Why::QueueFull, when: Some(Self::later(self.load(number, now).wait_ms, now)) };
        if self.backends[backend].waiting >= self.backends[backend].max_waiting {
            return Err(full);
        }
        let ticket = self.requests.insert(Entry::of(ask, State::Waiting, now));
        let queue = &mut self.models[number].queue;
        if queue.push(ticket, ask.share, ask.tokens, now).is_err() {
            self.requests.remove(ticket);
            return Err(full);
        }
        let is_first = queue.first() == Some(ticket);
        self.models[number].asked_sum += u128::from(now);
        self.backends[backend].waiting += 1;
        if is_first {
            self.settle([number], now, effects);
        }
        if let Some(granted) = effects.granted.iter().position(|granted| *granted == ticket) {
            effects.granted.remove(granted);
            return Ok(Answer::Admitted(ticket));
        }
        let Some(deadline) = ask.deadline else { return Ok(Answer::Queued(ticket)) };
        let patience_ms = deadline.saturating_sub(now);
        let eta_ms = self.place(ticket, now).and_then(|place| place.eta_ms);
        if patience_ms > 0 && eta_ms.is_none_or(|eta_ms| eta_ms <= patience_ms) {
            return Ok(Answer::Queued(ticket));
        }
        self.leave_queue(ticket, now, effects);
        let spare_ms = eta_ms.map(|eta_ms| eta_ms.saturating_sub(patience_ms));
        Err(Refusal { why: Why::Deadline, when: Some(Self::later(spare_ms, now)) })
    }

    /// Ends a request that was served and read and wrote so many tokens; `None`: as many as was thought. A
    /// request that waits is cancelled. `None`: the ticket had ended before, and nothing has changed.
    #[must_use = "granted tickets go on, evicted models must be unloaded"]
    pub fn finish(&mut self, ticket: Ticket, real_tokens: Option<u64>, now: Millis) -> Option<Effects> {
        let entry = *self.requests.get(ticket)?;
        let real_tokens = real_tokens.unwrap_or(entry.tokens);
        self.end(ticket, Ending::Done { real_tokens }, now)
    }

    /// Ends a request that was not served, whether it waits or was granted meanwhile: as if it had never been.
    /// `None`: the ticket had ended before, and nothing has changed.
    #[must_use = "granted tickets go on, evicted models must be unloaded"]
    pub fn cancel(&mut self, ticket: Ticket, now: Millis) -> Option<Effects> {
        self.end(ticket, Ending::NotDone, now)
    }

    fn end(&mut self, ticket: Ticket, ending: Ending, now: Millis) -> Option<Effects> {
        let entry = *self.requests.get(ticket)?;
        let Entry { model: number, share, tokens, asked_at, state, .. } = entry;
        let mut effects = Effects::default();
        match state {
            State::Waiting => {
                self.users.undo(share.user, entry.charge(), asked_at, now);
                self.leave_queue(ticket, now, &mut effects);
            }
            State::Running { is_pinned, since } => {
                self.requests.remove(ticket);
                let mut work = Work::from([number]);
                let model = &mut self.models[number];
                let backend = &mut self.backends[model.backend];
                model.running -= 1;
                if is_pinned {
                    self.devices[backend.device].residency.unpin(number, now.saturating_sub(since), now);
                }
                match ending {
                    Ending::Done { real_tokens } => {
                        self.users.correct(share.user, tokens, real_tokens, asked_at, now);
                        model.queue.correct(share, tokens, real_tokens);
                        model.meter = model.resources.limits.correct(model.meter, tokens, real_tokens, now);
                        backend.rate.correct(tokens, real_tokens, now);
                        self.common.correct(tokens, real_tokens, now);
                    }
                    Ending::NotDone => {
                        self.users.undo(share.user, entry.charge(), asked_at, now);
                        model.queue.correct(share, tokens, 0);
                        model.meter = model.resources.limits.undo(model.meter, Charge::of(tokens), now);
                        backend.rate.undo(tokens, now);
                        self.common.undo(tokens, now);
                    }
                }
                // What was given back may be what they wait for.
                work.extend(backend.rate.first());
                work.extend(self.common.first());
                self.settle(work, now, &mut effects);
            }
        }
        Some(effects)
    }

    /// Takes a waiting request out, and looks at who is first now.
    fn leave_queue(&mut self, ticket: Ticket, now: Millis, effects: &mut Effects) {
        if let Some(entry) = self.requests.remove(ticket) {
            let model = &mut self.models[entry.model];
            model.queue.cancel(entry.waiting(ticket));
            model.asked_sum -= u128::from(entry.asked_at);
            self.backends[model.backend].waiting -= 1;
            self.settle([entry.model], now, effects);
        }
    }

    /// Lets those go on who waited for time to pass.
    pub fn tick(&mut self, now: Millis) -> Effects {
        let mut effects = Effects::default();
        while let Some(&(due, timer)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Model(number) => {
                    self.models[number].timer = None;
                    self.settle([number], now, &mut effects);
                }
                Timer::Device(number) => {
                    self.devices[number].look_at = None;
                    self.devices[number].residency.look();
                    self.settle([], now, &mut effects);
                }
            }
        }
        effects
    }

    /// When [`Self::tick`] has something to do next, if nothing else happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// What a user may still use at `now`. Changes nothing.
    #[must_use]
    pub fn standing(&self, user: User, now: Millis) -> Standing {
        self.users.standing(user, now)
    }

    /// What is resident on a backend's device, also of other backends. Changes nothing.
    #[must_use]
    pub fn residency(&self, backend: BackendNumber) -> &Residency {
        &self.devices[self.backends[backend].device].residency
    }

    /// Whether the ticket holds all that it needs.
    #[must_use]
    pub fn is_admitted(&self, ticket: Ticket) -> bool {
        self.requests.get(ticket).is_some_and(|entry| matches!(entry.state, State::Running { .. }))
    }

    fn later(wait_ms: Option<Millis>, now: Millis) -> Millis {
        now.saturating_add(wait_ms.unwrap_or(Self::UNKNOWN_WAIT_MS).max(1))
    }
}

/// What a user is charged. Models and backends are charged for each attempt, a user for one request however
/// many models it takes to serve it.
const fn charge(tokens: u64, is_retry: bool) -> Charge {
    if is_retry { Charge::again(tokens) } else { Charge::of(tokens) }
}

impl Entry {
    fn of(ask: &Ask, state: State, now: Millis) -> Self {
        Self {
            model: ask.model,
            share: ask.share,
            tokens: ask.tokens,
            is_retry: ask.is_retry,
            asked_at: now,
            state,
        }
    }

    /// What its user was charged.
    const fn charge(&self) -> Charge {
        charge(self.tokens, self.is_retry)
    }

    /// As its model's queue knows it.
    fn waiting(&self, ticket: Ticket) -> Waiting<Ticket> {
        Waiting { ticket, user: self.share.user, cost: self.tokens }
    }
}
