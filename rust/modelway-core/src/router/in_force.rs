//! Every limit in force, for whoever wants to see what may keep a request.

use super::Router;
use crate::ewma::Millis;
use crate::limits::{Limits, Unit};
use crate::named::named_enum;
use crate::quota::Quota;

named_enum! {
    /// What kind of limit it is.
    What {
        /// So many in so much time.
        Rate => "rate",
        /// So many in each window.
        Quota => "quota",
        /// So many at once.
        Concurrency => "concurrency",
        /// So many that wait.
        Queue => "queue",
        /// So many bytes of resident models.
        Memory => "memory",
        /// So many second attempts of a hundred first ones.
        Retries => "retries",
        /// So many users that are kept apart by their limits.
        Users => "users",
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitInForce {
    /// Its kind.
    pub what: What,
    /// What is counted: `requests`, `tokens`, `bytes`, `percent` or `users`.
    pub unit: &'static str,
    /// How many.
    pub limit: u64,
    /// In what time, for rates and quotas.
    pub window_ms: Option<Millis>,
    /// How many at once, for rates.
    pub burst: Option<u64>,
    /// Whose it is: `user`, `all`, `model NAME`, `backend NAME`, or the name of a device that backends share.
    pub of: String,
}

impl Router {
    /// The limits in force: of each user, of all, of the table's models and of their backends.
    #[must_use]
    pub fn limits(&self) -> Vec<LimitInForce> {
        let state = self.lock();
        let rules = &state.rules;
        let mut limits = Vec::new();
        rates(&mut limits, "user", &rules.users.rates);
        for (unit, quota) in
            [(Unit::Requests, rules.users.request_quota), (Unit::Tokens, rules.users.token_quota)]
        {
            limits.extend(quota.map(|quota| of_quota(unit, &quota)));
        }
        if !limits.is_empty() {
            limits.push(plain(What::Users, "users", rules.max_users as u64, "all"));
        }
        rates(&mut limits, "all", &rules.common);
        let mut backends: Vec<&str> = Vec::new();
        for profile in state.table.models() {
            if !backends.contains(&profile.backend_id.as_str()) {
                backends.push(&profile.backend_id);
            }
        }
        for name in backends {
            let resources = rules.of_backend(name);
            let of = format!("backend {name}");
            rates(&mut limits, &of, &resources.limits);
            let device = rules.device_of(name);
            if let Some(bytes) = rules.device(&device).capacity
                && !limits.iter().any(|limit| limit.what == What::Memory && limit.of == device)
            {
                limits.push(plain(What::Memory, "bytes", bytes, &device));
            }
            limits.push(plain(What::Queue, "requests", resources.max_waiting as u64, &of));
            limits.push(plain(What::Retries, "percent", resources.retries.percent.into(), &of));
        }
        for profile in state.table.models() {
            let resources = rules.of_model(profile);
            let of = format!("model {}", profile.model_id);
            rates(&mut limits, &of, &resources.limits);
            if let Some(most) = resources.max_concurrent {
                limits.push(plain(What::Concurrency, "requests", most.into(), &of));
            }
        }
        limits
    }
}

fn rates(limits: &mut Vec<LimitInForce>, of: &str, rates: &Limits) {
    for (unit, rate) in [(Unit::Requests, rates.requests), (Unit::Tokens, rates.tokens)] {
        limits.extend(rate.map(|rate| LimitInForce {
            window_ms: Some(rate.period_ms()),
            burst: Some(rate.burst()),
            ..plain(What::Rate, unit.short(), rate.count(), of)
        }));
    }
}

fn of_quota(unit: Unit, quota: &Quota) -> LimitInForce {
    let window_ms = Some(quota.period_ms());
    LimitInForce { window_ms, ..plain(What::Quota, unit.short(), quota.limit(), "user") }
}

fn plain(what: What, unit: &'static str, limit: u64, of: &str) -> LimitInForce {
    LimitInForce { what, unit, limit, window_ms: None, burst: None, of: of.to_owned() }
}
