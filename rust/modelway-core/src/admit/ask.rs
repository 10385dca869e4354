//! What is asked of the admission, and what it answers.

use smallvec::SmallVec;

use crate::budget::RetryPolicy;
use crate::ewma::Millis;
use crate::fair::Share;
use crate::limits::{Exceeded, Limits, Unit};
use crate::rate::Excess;
use crate::ticket::{Granted, Ticket};
use crate::users::Overdrawn;
use crate::vram::{Evicted, ModelNumber};

/// A backend, in the order of [`Admission::add_backend`](super::Admission::add_backend).
pub type BackendNumber = usize;

/// A device, in the order of [`Admission::add_device`](super::Admission::add_device).
pub type DeviceNumber = usize;

/// What one model may use. By default nothing is limited.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelResources {
    /// Requests at once; `None`: any number.
    pub max_concurrent: Option<u32>,
    /// Bytes that it takes while resident; none for a model that runs elsewhere.
    pub memory_bytes: u64,
    /// It never leaves memory once it is loaded.
    pub is_pinned: bool,
    /// It makes embeddings and nothing else.
    pub makes_embeddings: bool,
    /// Its rates.
    pub limits: Limits,
}

/// What one backend offers.
#[derive(Clone, Copy, Debug)]
pub struct BackendResources {
    /// Requests that may wait for its models.
    pub max_waiting: usize,
    /// Rates of all its models together.
    pub limits: Limits,
    /// Its retries.
    pub retries: RetryPolicy,
}

impl Default for BackendResources {
    fn default() -> Self {
        Self { max_waiting: 512, limits: Limits::default(), retries: RetryPolicy::default() }
    }
}

/// One request that wants to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The model it is for.
    pub model: ModelNumber,
    /// Who asks.
    pub share: Share,
    /// Tokens that it is thought to read and write.
    pub tokens: u64,
    /// Until when it must have been admitted; `None`: it waits as long as it takes.
    pub deadline: Option<Millis>,
    /// Whether it repeats one that failed.
    pub is_retry: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds all that it needs.
    Admitted(Ticket),
    /// It waits; the effects of a later call grant it, and until then [`place`](super::Admission::place) tells
    /// how long.
    Queued(Ticket),
    /// Nothing was taken.
    Refused(Refusal),
}

/// Why a request is not admitted, and when it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub why: Why,
    /// When to come back; `None`: never.
    pub when: Option<Millis>,
}

/// What refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The user's rate.
    UserRate(Unit),
    /// The user's quota.
    UserQuota(Unit),
    /// More users than can be kept apart.
    TooManyUsers,
    /// A rate that could never let it pass, and whose.
    Rate(Whose, Unit),
    /// The model is larger than its device's memory.
    Memory,
    /// The backend's budget for retries.
    Retries,
    /// As many wait as may.
    QueueFull,
    /// It would be admitted after its deadline.
    Deadline,
    /// Its model could not be loaded.
    NotLoaded,
}

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The model's.
    Model,
    /// That of all models of its backend.
    Backend,
    /// That of all models.
    Common,
}

/// What a change caused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "granted tickets go on, refused ones must be told, evicted models unloaded"]
pub struct Effects {
    /// They hold all that they need.
    pub granted: Granted,
    /// They waited for what can't be any more; they are known no more.
    pub refused: SmallVec<[(Ticket, Refusal); 1]>,
    /// Their memory was given to others: they must be unloaded first.
    pub evicted: Evicted,
    /// They must be loaded.
    pub load: SmallVec<[ModelNumber; 1]>,
}

impl Effects {
    /// Whether the change caused nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.refused.is_empty() && self.evicted.is_empty() && self.load.is_empty()
    }

    /// Adds what a later change caused.
    pub fn extend(&mut self, later: Self) {
        self.granted.extend(later.granted);
        self.refused.extend(later.refused);
        self.evicted.extend(later.evicted);
        self.load.extend(later.load);
    }
}

/// How busy a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that hold a slot.
    pub running: u32,
    /// Requests that wait.
    pub waiting: usize,
    /// How long a newcomer would wait for its turn and for the model to be loaded; `None` before anybody was served
    /// who had waited.
    pub wait_ms: Option<Millis>,
}

impl From<Overdrawn> for Refusal {
    fn from(why: Overdrawn) -> Self {
        let of = |why: fn(Unit) -> Why, Exceeded { unit, excess }| Refusal {
            why: why(unit),
            when: match excess {
                Excess::Until(when) => Some(when),
                Excess::Never => None,
            },
        };
        match why {
            Overdrawn::Rate(exceeded) => of(Why::UserRate, exceeded),
            Overdrawn::Quota(exceeded) => of(Why::UserQuota, exceeded),
            Overdrawn::TooManyUsers(when) => Refusal { why: Why::TooManyUsers, when: Some(when) },
        }
    }
}
