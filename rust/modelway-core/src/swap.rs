//! Which model is loaded next where not all fit, what makes room for it, and when a busy one must let it: a pure
//! function over what is seen of one device.
//!
//! The rules, each against a way in which order of arrival wastes the machine:
//! - *Batches.* A resident model serves everybody who asks for it before another takes its place. With a load between
//!   any two requests nothing else would happen.
//! - *Lingering.* One that has just become idle stays for a tenth of what loading it takes: whoever was answered often
//!   asks again at once, and would otherwise wait for two loads.
//! - *Patience.* Who waits for a load lets others pass for [`Policy::patience`] times what the change costs, so that at
//!   most one part in `patience + 1` of the time goes into loads, and never so long that it would wait more than
//!   [`Policy::max_wait_ms`]. Then the models in the way are closed: newcomers queue, what runs ends, and they go. For
//!   whom that was begun, to that model it is promised: it comes next, whoever asks meanwhile.
//! - *The cheapest.* What goes is what costs least to have gone: its load times how often it is used. A cheaper model that
//!   will be idle in a moment is waited for, or the busiest would go whenever it draws breath.
//! - *Residence.* What was loaded for somebody serves, and at least as long as loading took, before it is closed for
//!   another.
//! - *Worth.* Of several who wait, first those whose time is up, in the order in which they came; then whoever brings most
//!   waiting to an end for the time that the load takes.
//! - *Beside.* While the first of them waits for room, another is loaded that fits into what is free, and beside the first
//!   once that has its room: a small model does not wait behind a large one.
//! - *One load at a time.* Loads share a disk and a bus: two at once take longer than one after the other, and the
//!   first of them ends later.

use smallvec::{SmallVec, smallvec};

use crate::evict::{Victim, cheapest};
use crate::ewma::Millis;

/// A model, as its owner numbers them.
pub type ModelNumber = usize;

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nobody is to wait longer for a load, as far as loads and what runs allow.
    pub max_wait_ms: Millis,
    /// Others may pass for so many times the cost of the change.
    pub patience: u64,
    /// How long an idle model stays although others want its room, in hundredths of what loading it takes.
    pub linger_percent: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_wait_ms: 30_000, patience: 4, linger_percent: 10 }
    }
}

/// What a model in memory is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, since then.
    Idle(Millis),
    /// It generates; what runs is expected to end then.
    Busy(Millis),
    /// Nothing yet since it was loaded, though requests wait: it does not go before it has served.
    Expected,
    /// It is being loaded.
    Loading,
    /// It is being unloaded; its bytes are not free yet.
    Unloading,
}

/// A model that holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Which.
    pub model: ModelNumber,
    /// What it holds.
    pub bytes: u64,
    /// What it is doing.
    pub doing: Doing,
    /// Since when it could serve.
    pub since: Millis,
    /// How long loading it again would take.
    pub load_ms: Millis,
    /// How often it is used, in any unit.
    pub uses: u32,
    /// It never leaves.
    pub is_pinned: bool,
    /// It takes nothing new, as an earlier plan said.
    pub is_closed: bool,
}

/// Requests that wait for one model that is not in memory, or that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub model: ModelNumber,
    /// What it will hold.
    pub bytes: u64,
    /// When the first of them came.
    pub since: Millis,
    /// When they came, on average.
    pub mean_since: Millis,
    /// How many they are, at least one.
    pub waiting: u32,
    /// How long loading takes.
    pub load_ms: Millis,
}

/// What is seen of one device.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Bytes for models.
    pub capacity: u64,
    /// Who holds some.
    pub residents: &'a [Resident],
    /// Who waits for some.
    pub claims: &'a [Claim],
    /// For whom an earlier plan has begun to make room.
    pub promised: &'a [ModelNumber],
}

impl View<'_> {
    /// Whom an earlier plan has closed.
    fn closed(&self) -> SmallVec<[ModelNumber; 2]> {
        self.residents.iter().filter(|one| one.is_closed).map(|one| one.model).collect()
    }

    /// Whether something is being loaded or unloaded.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.residents.iter().any(|one| matches!(one.doing, Doing::Loading | Doing::Unloading))
    }

    fn is_promised(&self, claim: &Claim) -> bool {
        self.promised.contains(&claim.model)
    }

    /// The plan that leaves everything as an earlier one has it.
    #[must_use]
    pub fn as_it_is(&self) -> Plan {
        let promised = self.claims.iter().filter(|claim| self.is_promised(claim)).map(|claim| claim.model);
        Plan { closed: self.closed(), promised: promised.collect(), ..Plan::default() }
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be unloaded now; they are idle.
    pub unload: SmallVec<[ModelNumber; 2]>,
    /// To be loaded now; there is room.
    pub load: Option<ModelNumber>,
    /// They take nothing new from now on; all others do.
    pub closed: SmallVec<[ModelNumber; 2]>,
    /// Room is being made for them: they come next.
    pub promised: SmallVec<[ModelNumber; 1]>,
    /// When to look again, if nothing happens before.
    pub look_again: Option<Millis>,
}

impl Plan {
    /// Both plans, of which at most one loads or unloads.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.unload.extend(other.unload);
        self.closed.extend(other.closed);
        self.promised.extend(other.promised);
        self.load = self.load.or(other.load);
        self.look_again = self.look_again.into_iter().chain(other.look_again).min();
        self
    }
}

/// The plan for `view` at `now`.
#[must_use]
pub fn plan(view: &View<'_>, policy: &Policy, now: Millis) -> Plan {
    if view.is_changing() {
        // What is closed stays so: the load under way may be of another model.
        return view.as_it_is();
    }
    let drain_ms = drain_ms(view.residents, policy, now);
    // Whose time is up, goes in the order in which they came: that is what bounds how long anybody waits.
    let rank = |claim: &&Claim| {
        let is_due = due(claim, drain_ms, policy) <= now;
        let order = if is_due { claim.since } else { u64::MAX - worth(claim, now) };
        (!is_due, order, claim.model)
    };
    let is_absent = |claim: &&Claim| view.residents.iter().all(|one| one.model != claim.model);
    let wanted: SmallVec<[&Claim; 16]> = view.claims.iter().filter(is_absent).collect();
    let promised = wanted.iter().copied().find(|claim| view.is_promised(claim));
    let Some(first) = promised.or_else(|| wanted.iter().copied().min_by_key(rank)) else {
        return Plan::default();
    };
    let in_use = view.residents.iter().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
    let due = wanted.iter().map(|claim| due(claim, drain_ms, policy)).min().unwrap_or(now);
    let oldest = wanted.iter().map(|claim| claim.since).min().unwrap_or(now);
    let Room { mut plan, spare } = make_room(first, &Others { oldest, due, in_use }, view, policy, now);
    if plan.load.is_none() && plan.unload.is_empty() {
        let room = view.capacity.saturating_sub(in_use).min(spare);
        let others = wanted.into_iter().filter(|claim| claim.model != first.model && claim.bytes <= room);
        plan.load = others.min_by_key(rank).map(|claim| claim.model);
    }
    plan
}

/// What matters for a claim beside itself.
struct Others {
    /// Since when somebody waits.
    oldest: Millis,
    /// When the time of the first of all is up.
    due: Millis,
    /// Bytes that residents hold.
    in_use: u64,
}

/// How a claim gets room.
struct Room {
    plan: Plan,
    /// What will be left when it has its room.
    spare: u64,
}

/// How long what runs is expected to go on; no more than half of what anybody is to wait counts.
fn drain_ms(residents: &[Resident], policy: &Policy, now: Millis) -> Millis {
    let left_ms = residents.iter().filter_map(|one| match one.doing {
        Doing::Busy(end) => Some(end.saturating_sub(now)),
        _ => None,
    });
    left_ms.max().unwrap_or(0).min(policy.max_wait_ms / 2)
}

/// Until when others may pass before `claim`.
fn due(claim: &Claim, drain_ms: Millis, policy: &Policy) -> Millis {
    let margin_ms = claim.load_ms.saturating_add(drain_ms);
    claim.since.saturating_add(policy.max_wait_ms.saturating_sub(margin_ms))
}

/// Waiting that a load brings to an end, for the time that it takes.
fn worth(claim: &Claim, now: Millis) -> u64 {
    let waited_ms = now.saturating_sub(claim.mean_since).saturating_add(1);
    waited_ms.saturating_mul(u64::from(claim.waiting)).saturating_mul(1_024) / claim.load_ms.max(1)
}

/// Loads at once, or makes room, or waits for some.
fn make_room(claim: &Claim, others: &Others, view: &View<'_>, policy: &Policy, now: Millis) -> Room {
    let after = others.in_use.saturating_add(claim.bytes);
    let needed = after.saturating_sub(view.capacity);
    if needed == 0 {
        return Room { plan: Plan { load: Some(claim.model), ..Plan::default() }, spare: 0 };
    }
    let is_idle = |one: &Resident| matches!(one.doing, Doing::Idle(_));
    let has_lingered =
        |one: &Resident| linger_end(one, policy).is_some_and(|end| one.is_closed || end <= now);
    let among = |may: &dyn Fn(&Resident) -> bool, cost: &dyn Fn(&Resident) -> u64| {
        let leaving = view.residents.iter().filter(|one| !one.is_pinned && may(one));
        let victim = |one: &Resident| Victim { model: one.model, bytes: one.bytes, cost: cost(one) };
        let set = cheapest(&leaving.map(victim).collect::<SmallVec<[_; 16]>>(), needed)?;
        let is_of_set = |one: &&Resident| set.contains(&one.model);
        Some(view.residents.iter().filter(is_of_set).collect::<SmallVec<[_; 2]>>())
    };
    let cost_to_unload = |one: &Resident| cost(one, view);
    // Who was closed before stays so, rather than that another is.
    let cost_to_close = |one: &Resident| if one.is_closed { 0 } else { cost(one, view) };
    let models = |set: &[&Resident]| set.iter().map(|one| one.model).collect();
    let spare = |set: &[&Resident]| {
        let given = set.iter().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
        view.capacity.saturating_sub(after.saturating_sub(given))
    };
    if let Some(lingered) = among(&has_lingered, &cost_to_unload) {
        // Within the time of the load itself; and worth the wait only where it costs less than two thirds.
        let is_soon_idle = |one: &Resident| match one.doing {
            Doing::Idle(_) => true,
            Doing::Busy(end) => end <= now.saturating_add(claim.load_ms),
            Doing::Expected | Doing::Loading | Doing::Unloading => false,
        };
        let total =
            |set: &[&Resident]| set.iter().fold(0, |sum: u64, one| sum.saturating_add(cost(one, view)));
        let bound = others.due.min(claim.since.saturating_add(change_ms(claim, &lingered).saturating_mul(2)));
        let cheaper = among(&is_soon_idle, &cost_to_unload)
            .filter(|_| now < bound && !view.is_promised(claim))
            .filter(|set| total(set).saturating_mul(3) < total(&lingered).saturating_mul(2));
        if let Some(cheaper) = cheaper {
            // The end of what runs makes itself heard.
            let ends = cheaper.iter().map(|one| linger_end(one, policy).unwrap_or(bound));
            let look_again = ends.max().map(|end| end.clamp(now.saturating_add(1), bound));
            return Room { plan: Plan { look_again, ..Plan::default() }, spare: spare(&cheaper) };
        }
        let plan = Plan { unload: models(&lingered), promised: smallvec![claim.model], ..Plan::default() };
        return Room { plan, spare: 0 };
    }
    // Room that is being made goes on being made: who was closed for it stays so.
    let kept = || if view.is_promised(claim) { view.as_it_is() } else { Plan::default() };
    if let Some(lingering) = among(&is_idle, &cost_to_unload) {
        let look_again = lingering.iter().filter_map(|one| linger_end(one, policy)).max();
        return Room { plan: Plan { look_again, ..kept() }, spare: spare(&lingering) };
    }
    // At least a millisecond: within one instant a model that has come does not go.
    let residence_end = |one: &Resident| one.since.saturating_add(one.load_ms.max(1));
    let is_new = |one: &Resident| !is_idle(one) && now < residence_end(one);
    let may_close = |one: &Resident| one.doing != Doing::Expected && !is_new(one);
    let Some(in_the_way) = among(&may_close, &cost_to_close) else {
        let ends = view.residents.iter().filter(|one| is_new(one)).map(residence_end);
        return Room { plan: Plan { look_again: ends.min(), ..kept() }, spare: 0 };
    };
    let patience_ms = change_ms(claim, &in_the_way).saturating_mul(policy.patience);
    let patience_end = others.oldest.saturating_add(patience_ms);
    let end = patience_end.min(others.due);
    let plan = if end <= now || view.is_promised(claim) {
        Plan { closed: models(&in_the_way), promised: smallvec![claim.model], ..Plan::default() }
    } else {
        Plan { look_again: Some(end), ..Plan::default() }
    };
    Room { plan, spare: spare(&in_the_way) }
}

/// What loading `claim` takes, and loading again what goes for it.
fn change_ms(claim: &Claim, leaving: &[&Resident]) -> Millis {
    leaving.iter().map(|one| one.load_ms).fold(claim.load_ms, Millis::saturating_add)
}

/// Until when an idle model stays although others want its room: at most a quarter of a second.
fn linger_end(one: &Resident, policy: &Policy) -> Option<Millis> {
    match one.doing {
        Doing::Idle(since) => {
            let linger_ms = one.load_ms.saturating_mul(policy.linger_percent) / 100;
            Some(since.saturating_add(linger_ms.min(250)))
        }
        Doing::Busy(_) | Doing::Expected | Doing::Loading | Doing::Unloading => None,
    }
}

/// What unloading a model costs: the time to load it again times how often it is used. One that is waited for
/// only goes where others do not suffice: it would come back at once, and push out another.
fn cost(one: &Resident, view: &View<'_>) -> u64 {
    const WAITED_FOR: u64 = 1 << 43;
    let is_waited_for = view.claims.iter().any(|claim| claim.model == one.model);
    one.load_ms.saturating_mul(if is_waited_for { WAITED_FOR } else { u64::from(one.uses) + 1 })
}
