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
//!   [`Policy::max_wait_ms`]. Then the models in its way are closed: newcomers queue, what runs ends, and they go.
//! - *Worth.* Of several who wait, first whoever's time is up, then whoever brings most waiting to an end for the time
//!   that the load takes; waiting grows with time, so nobody is passed over for ever.
//! - *One load at a time.* Loads share a disk and a bus: two at once take longer than one after the other, and the
//!   first of them ends later.

use smallvec::SmallVec;

use crate::evict::{Victim, cheapest};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nobody is to wait longer for a load, as far as loads and what runs allow.
    pub max_wait_ms: Millis,
    /// Others may pass for so many times the cost of the change.
    pub patience: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_wait_ms: 30_000, patience: 4 }
    }
}

/// What a model in memory is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, since then.
    Idle(Millis),
    /// It generates; what runs is expected to end then.
    Busy(Millis),
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
    /// How long loading it again would take.
    pub load_ms: Millis,
    /// The chance that it is wanted soon, in 65,536ths.
    pub chance: u16,
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
    /// When to look again, if nothing happens before.
    pub look_again: Option<Millis>,
}

/// The plan for `view` at `now`.
#[must_use]
pub fn plan(view: &View<'_>, policy: &Policy, now: Millis) -> Plan {
    let is_changing = |one: &Resident| matches!(one.doing, Doing::Loading | Doing::Unloading);
    if view.residents.iter().any(is_changing) {
        // What is closed stays so: the load under way may be of another model.
        let closed = view.residents.iter().filter(|one| one.is_closed).map(|one| one.model);
        return Plan { closed: closed.collect(), ..Plan::default() };
    }
    let wanted = |claim: &&Claim| view.residents.iter().all(|one| one.model != claim.model);
    let rank = |claim: &Claim| (due(claim, view, policy) > now, u64::MAX - worth(claim, now), claim.since);
    let Some(claim) = view.claims.iter().filter(wanted).min_by_key(|claim| rank(claim)) else {
        return Plan::default();
    };
    make_room(claim, view, policy, now)
}

/// Until when others may pass before `claim`.
fn due(claim: &Claim, view: &View<'_>, policy: &Policy) -> Millis {
    let ends = view.residents.iter().filter_map(|one| match one.doing {
        Doing::Busy(end) => Some(end.saturating_sub(claim.since)),
        _ => None,
    });
    let drain_ms = ends.max().unwrap_or(0).min(policy.max_wait_ms / 2);
    let margin_ms = claim.load_ms.saturating_add(drain_ms);
    claim.since.saturating_add(policy.max_wait_ms.saturating_sub(margin_ms))
}

/// Waiting that a load brings to an end, for the time that it takes.
fn worth(claim: &Claim, now: Millis) -> u64 {
    let waited_ms = now.saturating_sub(claim.mean_since).saturating_add(1);
    waited_ms.saturating_mul(u64::from(claim.waiting)).saturating_mul(1_024) / claim.load_ms.max(1)
}

/// Loads at once, or makes room, or waits for some.
fn make_room(claim: &Claim, view: &View<'_>, policy: &Policy, now: Millis) -> Plan {
    let in_use = view.residents.iter().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
    let needed = in_use.saturating_add(claim.bytes).saturating_sub(view.capacity);
    if needed == 0 {
        return Plan { load: Some(claim.model), ..Plan::default() };
    }
    let leaves = |one: &&Resident| !one.is_pinned;
    let is_idle = |one: &&Resident| matches!(one.doing, Doing::Idle(_));
    let has_lingered = |one: &&Resident| linger_end(one).is_some_and(|end| one.is_closed || end <= now);
    let among = |may: &dyn Fn(&&Resident) -> bool| {
        let victims: SmallVec<[_; 16]> =
            view.residents.iter().filter(leaves).filter(|one| may(one)).map(victim).collect();
        cheapest(&victims, needed)
    };
    if let Some(unload) = among(&has_lingered) {
        return Plan { unload, ..Plan::default() };
    }
    if let Some(lingering) = among(&is_idle) {
        let ends = view.residents.iter().filter(|one| lingering.contains(&one.model)).filter_map(linger_end);
        return Plan { look_again: ends.max(), ..Plan::default() };
    }
    let Some(in_the_way) = among(&|_| true) else {
        return Plan::default();
    };
    let of_these = view.residents.iter().filter(|one| in_the_way.contains(&one.model));
    let change_ms = of_these.map(|one| one.load_ms).fold(claim.load_ms, Millis::saturating_add);
    let patience_end = claim.since.saturating_add(change_ms.saturating_mul(policy.patience));
    let end = patience_end.min(due(claim, view, policy));
    let is_closed = view.residents.iter().any(|one| one.is_closed);
    if end <= now || is_closed {
        Plan { closed: in_the_way, ..Plan::default() }
    } else {
        Plan { look_again: Some(end), ..Plan::default() }
    }
}

/// Until when an idle model stays although others want its room.
fn linger_end(one: &Resident) -> Option<Millis> {
    match one.doing {
        Doing::Idle(since) => Some(since.saturating_add((one.load_ms / 10).clamp(5, 250))),
        Doing::Busy(_) | Doing::Loading | Doing::Unloading => None,
    }
}

/// A closed one has been chosen before, and is chosen again.
fn victim(one: &Resident) -> Victim<ModelNumber> {
    let cost = if one.is_closed { 0 } else { one.load_ms.saturating_mul(u64::from(one.chance) + 1) };
    Victim { model: one.model, bytes: one.bytes, cost }
}
