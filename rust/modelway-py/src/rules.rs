//! Limits, quotas and the numbers of health as Python hands them over, and users as numbers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::{SystemTime, UNIX_EPOCH};

use modelway_core::admit::{BackendResources, ModelResources};
use modelway_core::backoff::Backoff;
use modelway_core::budget::RetryPolicy;
use modelway_core::egress::Policy as Egress;
use modelway_core::limits::Limits;
use modelway_core::quota::Quota;
use modelway_core::rate::Rate;
use modelway_core::swap::Policy;
use modelway_core::users::{User, UserLimits};
use modelway_core::vram::Device;
use modelway_core::{BreakerPolicy, Locality, Millis, Rules, Site};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::names::known;

/// Names of users as numbers that nobody can foresee, so that nobody can share another's account on purpose; and
/// where in a quota's window the router was born.
pub(crate) struct UserHash {
    state: RandomState,
    /// Milliseconds from the Unix epoch to the router's time zero.
    born_ms: Millis,
}

impl UserHash {
    #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
    pub(crate) fn new() -> Self {
        let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "2^64 ms are 580 million years")]
        Self { state: RandomState::new(), born_ms: born.as_millis() as Millis }
    }

    /// The number of a user; `None` is one user, whom all share that gave no name.
    pub(crate) fn of(&self, name: Option<&str>) -> User {
        self.state.hash_one(name)
    }

    /// Windows begin where whole ones from the Unix epoch on begin: a day's at midnight UTC.
    fn origin(&self, period_ms: NonZeroU64) -> Millis {
        (period_ms.get() - self.born_ms % period_ms) % period_ms
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawRate {
    amount: u32,
    window_s: f64,
    burst: u64,
}

#[derive(FromPyObject, Default)]
#[pyo3(from_item_all)]
struct RawLimits {
    requests: Option<RawRate>,
    tokens: Option<RawRate>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawQuota {
    unit: String,
    amount: u64,
    window_s: f64,
}

#[derive(FromPyObject, Default)]
#[pyo3(from_item_all)]
struct RawAllLimits {
    user: RawLimits,
    all: RawLimits,
    quota: Vec<RawQuota>,
}

#[derive(FromPyObject)]
struct RawModel {
    #[pyo3(item)]
    id: String,
    #[pyo3(item, default)]
    max_concurrent: Option<u32>,
    #[pyo3(item, default)]
    limits: RawLimits,
    #[pyo3(item, default)]
    is_pinned: bool,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawBackend {
    name: String,
    #[pyo3(default)]
    memory_bytes: Option<u64>,
    #[pyo3(default)]
    is_managed: bool,
    #[pyo3(default)]
    computes_alone: bool,
    #[pyo3(default)]
    max_wait_ms: Option<Millis>,
    #[pyo3(default)]
    embedding_bytes: Option<u64>,
    #[pyo3(default)]
    device: Option<String>,
    max_waiting: usize,
    limits: RawLimits,
    retry_percent: u32,
    retry_reserve_per_s: u32,
    #[pyo3(default)]
    location: Option<String>,
    #[pyo3(default)]
    destination: Option<String>,
    #[pyo3(default)]
    is_own_network: bool,
}

impl RawBackend {
    fn site(&self) -> PyResult<Site> {
        Ok(Site {
            location: self
                .location
                .as_ref()
                .map_or(Ok(Locality::Device), |name| known(Locality::parse, name))?,
            destination: self.destination.clone(),
            is_own_network: self.is_own_network,
        })
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawPrivacy {
    allow_external: bool,
    allow_lan: bool,
    secret_scan: bool,
}

/// What is absent is not limited, or as the core has it.
#[derive(FromPyObject)]
pub(crate) struct RawRules {
    #[pyo3(item)]
    models: Vec<RawModel>,
    #[pyo3(item, default)]
    backends: Vec<RawBackend>,
    #[pyo3(item, default)]
    privacy: Option<RawPrivacy>,
    #[pyo3(item, default)]
    limits: RawAllLimits,
    #[pyo3(item, default)]
    max_users: Option<usize>,
    #[pyo3(item, default)]
    shares: Vec<(String, NonZeroU32)>,
    #[pyo3(item)]
    failures_to_open: u32,
    #[pyo3(item, default)]
    window_ms: Option<u64>,
    #[pyo3(item, default)]
    least_success_percent: Option<u32>,
    #[pyo3(item, default)]
    samples_to_judge: Option<u32>,
    #[pyo3(item)]
    backoff_ms: u64,
    #[pyo3(item)]
    max_backoff_ms: u64,
}

/// Seconds as milliseconds that a window can have.
fn millis(what: &str, window_s: f64) -> PyResult<u64> {
    let ms = (window_s * 1000.0).round();
    if !(1.0..=2f64.powi(52)).contains(&ms) {
        return Err(PyValueError::new_err(format!(
            "{what} must last a millisecond or more, not {window_s} s"
        )));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
    Ok(ms as u64)
}

/// So much in so many seconds, so much of it at once.
pub(crate) fn rate(amount: u32, window_s: f64, burst: u64) -> PyResult<Rate> {
    let period_ms = u32::try_from(millis("a rate", window_s)?).ok().and_then(NonZeroU32::new);
    match (NonZeroU32::new(amount), period_ms, NonZeroU64::new(burst)) {
        (Some(amount), Some(period_ms), Some(burst)) => Ok(Rate::new(amount, period_ms, burst)),
        _ => Err(PyValueError::new_err(format!(
            "{amount} in {window_s} s with a burst of {burst} is no rate: each must be at least 1, the time at most 49 days"
        ))),
    }
}

impl RawRate {
    fn rate(self) -> PyResult<Rate> {
        rate(self.amount, self.window_s, self.burst)
    }
}

impl RawLimits {
    fn limits(self) -> PyResult<Limits> {
        Ok(Limits {
            requests: self.requests.map(RawRate::rate).transpose()?,
            tokens: self.tokens.map(RawRate::rate).transpose()?,
        })
    }
}

impl RawAllLimits {
    fn of_users(user: RawLimits, quotas: Vec<RawQuota>, users: &UserHash) -> PyResult<UserLimits> {
        let mut limits = UserLimits { rates: user.limits()?, ..UserLimits::default() };
        for RawQuota { unit, amount, window_s } in quotas {
            let place = match unit.as_str() {
                "requests" => &mut limits.request_quota,
                "tokens" => &mut limits.token_quota,
                _ => {
                    return Err(PyValueError::new_err(format!(
                        "a quota is of requests or tokens, not {unit:?}"
                    )));
                }
            };
            let period_ms = NonZeroU64::new(millis("a quota", window_s)?).unwrap_or(NonZeroU64::MIN);
            if place.replace(Quota::new(amount, period_ms, users.origin(period_ms))).is_some() {
                return Err(PyValueError::new_err(format!("there are two quotas of {unit}; keep one")));
            }
        }
        Ok(limits)
    }
}

impl RawBackend {
    fn device(&self) -> Device {
        let policy = Policy::default();
        Device {
            capacity: self.memory_bytes,
            is_managed: self.is_managed,
            computes_alone: self.computes_alone,
            embedding_bytes: self.embedding_bytes,
            policy: Policy { max_wait_ms: self.max_wait_ms.unwrap_or(policy.max_wait_ms), ..policy },
        }
    }
}

impl RawRules {
    pub(crate) fn rules(self, users: &UserHash) -> PyResult<Rules> {
        let default = Rules::default();
        let breaker = BreakerPolicy::default();
        let mut devices = HashMap::new();
        let mut shared = HashMap::new();
        for backend in &self.backends {
            let name = backend.device.clone().unwrap_or_else(|| Rules::own_device_of(&backend.name));
            let device = backend.device();
            if *devices.entry(name.clone()).or_insert(device) != device {
                return Err(PyValueError::new_err(format!(
                    "backend {:?} says of the device {name:?} what another one does not; make them agree",
                    backend.name
                )));
            }
            if backend.device.is_some() {
                shared.insert(backend.name.clone(), name);
            }
        }
        let of_backend = |backend: RawBackend| {
            let resources = BackendResources {
                max_waiting: backend.max_waiting,
                limits: backend.limits.limits()?,
                retries: RetryPolicy {
                    percent: backend.retry_percent,
                    reserve_per_s: backend.retry_reserve_per_s,
                },
            };
            Ok((backend.name, resources))
        };
        let of_model = |model: RawModel| {
            let limits = model.limits.limits()?;
            let RawModel { id, max_concurrent, is_pinned, .. } = model;
            Ok((id, ModelResources { max_concurrent, limits, is_pinned, ..ModelResources::default() }))
        };
        let sites = self.backends.iter().map(|backend| Ok((backend.name.clone(), backend.site()?)));
        let egress = |privacy: RawPrivacy| Egress {
            allow_external: privacy.allow_external,
            allow_lan: privacy.allow_lan,
            secret_scan: privacy.secret_scan,
        };
        Ok(Rules {
            sites: sites.collect::<PyResult<HashMap<_, _>>>()?,
            egress: self.privacy.map_or(default.egress, egress),
            breaker: BreakerPolicy {
                failures_to_open: self.failures_to_open,
                window_ms: self.window_ms.unwrap_or(breaker.window_ms),
                least_success_percent: self.least_success_percent.unwrap_or(breaker.least_success_percent),
                samples_to_judge: self.samples_to_judge.unwrap_or(breaker.samples_to_judge),
                backoff: Backoff::new(self.backoff_ms, self.max_backoff_ms),
            },
            users: RawAllLimits::of_users(self.limits.user, self.limits.quota, users)?,
            max_users: self.max_users.unwrap_or(default.max_users),
            shares: self.shares.iter().map(|(name, weight)| (users.of(Some(name)), *weight)).collect(),
            common: self.limits.all.limits()?,
            backends: self.backends.into_iter().map(of_backend).collect::<PyResult<HashMap<_, _>>>()?,
            devices,
            shared,
            models: self.models.into_iter().map(of_model).collect::<PyResult<HashMap<_, _>>>()?,
        })
    }
}
