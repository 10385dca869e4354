//! The decisions of modelway: pure functions over a snapshot. No clock, no chance, no I/O: time comes
//! in as `now`, chance as a number, and what a change causes is returned.

pub mod admit;
pub mod alert;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod classify;
pub mod egress;
pub mod evict;
pub mod ewma;
pub mod exact;
pub mod fair;
pub mod fallback;
pub mod first_token;
pub mod health;
mod hold;
pub mod kinds;
pub mod learn;
pub mod limits;
mod line;
pub mod live;
pub mod model_set;
pub mod named;
pub mod outcome;
mod pace;
pub mod profile;
pub mod quota;
mod ranked;
pub mod rate;
pub mod reason;
pub mod request;
pub mod router;
pub mod select;
pub mod semaphore;
pub mod swap;
pub mod table;
pub mod task;
pub mod ticket;
mod turns;
pub mod turnstile;
pub mod usage;
pub mod users;
pub mod vram;
mod window;

pub use admit::Admission;
pub use alert::{Alert, Trouble};
pub use breaker::BreakerPolicy;
pub use classify::{Basis, Classify, Evidence, Keywords, Reading, TrainedClassifier};
pub use egress::{Consent, Gate, Pass, WallMillis};
pub use ewma::Millis;
pub use first_token::Budgets;
pub use health::{HealthSnapshot, ModelHealth, NotNow, Setback};
pub use kinds::{DataKind, DataKinds};
pub use live::{Burden, Live, Outlook, TieBreak};
pub use outcome::{OutcomeKind, RequestOutcome, Verdict};
pub use profile::{
    CapabilitySet, CostTier, LatencyClass, LicenseTier, Locality, ModelCapability, ModelProfile, Site,
};
pub use reason::{Rejection, SelectionReason};
pub use request::Request;
pub use router::{Changes, ModelKey, Router, Rules, Sighting, Subject, Terms};
pub use select::{Checkpoint, Decision, SelectError};
pub use semaphore::WeightedSemaphore;
pub use table::{BuildError, RoutingTable, Settings};
pub use task::{TaskClass, TaskSet};
pub use ticket::{Granted, Ticket};
