//! The gate: what may leave this device, by whose word, and until when.
//!
//! One judgement for the selection, for the chain and for each sending, so that nothing passes one of them that another
//! would refuse. What it lets out gets a [`Pass`], which shares its [`Grant`] with the consent it was made under: once
//! that consent is revoked or changed, or a new policy has no room for it, the pass is void, whoever holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kinds::{DataKind, DataKinds};
use crate::profile::{Locality, Site};
use crate::reason::Rejection;

/// Milliseconds since 1970 by the wall clock: consents end at moments that people name.
pub type WallMillis = u64;

/// By what name a pass tells that no consent was needed: the user's own network was allowed as such.
pub const OWN_NETWORK: &str = "allow_lan";

/// What the configuration lets out at all. By default nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether consent may be asked for and used.
    pub allow_external: bool,
    /// Whether servers of the user's own network need none.
    pub allow_lan: bool,
    /// Whether text must have been searched for secrets before it goes to others. Nothing searches it, so then none goes.
    pub secret_scan: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { allow_external: false, allow_lan: false, secret_scan: true }
    }
}

/// What somebody has consented to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Its name, unique among those given.
    pub id: String,
    /// Where the data may go.
    pub destination: String,
    /// The one model that it may go to; `None`: any there.
    pub model: Option<String>,
    /// What may go.
    pub kinds: DataKinds,
    /// From when on; `None`: always.
    pub since: Option<WallMillis>,
    /// Until when, that moment left out; `None`: until it is revoked.
    pub until: Option<WallMillis>,
}

/// A word that lets data out, shared by what gave it and by all passes made under it.
#[derive(Debug)]
pub struct Grant {
    /// The consent's id, or [`OWN_NETWORK`].
    id: String,
    since: Option<WallMillis>,
    until: Option<WallMillis>,
    is_revoked: AtomicBool,
}

impl Grant {
    fn new(id: &str, since: Option<WallMillis>, until: Option<WallMillis>) -> Arc<Self> {
        Arc::new(Self { id: id.to_owned(), since, until, is_revoked: AtomicBool::new(false) })
    }

    fn of_own_network() -> Arc<Self> {
        Self::new(OWN_NETWORK, None, None)
    }

    /// Whether its time has come and is not over.
    fn is_timely(&self, now: WallMillis) -> bool {
        self.since.is_none_or(|since| since <= now) && self.until.is_none_or(|until| now < until)
    }

    fn is_in_force(&self, now: WallMillis) -> bool {
        !self.is_revoked.load(Ordering::Acquire) && self.is_timely(now)
    }

    fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
    }
}

/// What a request would send.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// What it holds.
    pub kinds: DataKinds,
    /// Whether its caller forbids that it goes to others.
    pub is_kept_here: bool,
}

/// The gate as it stands at one moment; every change makes another one, and revokes what that has no room for. Its
/// judgements stay what they were, as decisions do; passes do not.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    consents: Vec<(Consent, Arc<Grant>)>,
    own_network: Arc<Grant>,
}

impl Gate {
    /// A gate under this policy, with no consent given.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, consents: Vec::new(), own_network: Grant::of_own_network() }
    }

    /// The gate with these consents and no others. Passes stay good only under a consent that stays as it was.
    #[must_use]
    pub fn with_consents(&self, consents: Vec<Consent>) -> Self {
        let mut old: Vec<&(Consent, Arc<Grant>)> = self.consents.iter().collect();
        let kept = |consent: Consent| {
            let grant = match old.iter().position(|(before, _)| *before == consent) {
                Some(place) => Arc::clone(&old.swap_remove(place).1),
                None => Grant::new(&consent.id, consent.since, consent.until),
            };
            (consent, grant)
        };
        let consents = consents.into_iter().map(kept).collect();
        for (_, grant) in old {
            grant.revoke();
        }
        Self { policy: self.policy, consents, own_network: Arc::clone(&self.own_network) }
    }

    /// The gate under another policy. Passes that this one would not have let out are void.
    #[must_use]
    pub fn under(&self, policy: Policy) -> Self {
        let own_network = if policy.allow_lan {
            Arc::clone(&self.own_network)
        } else {
            self.own_network.revoke();
            Grant::of_own_network()
        };
        let is_open = policy.allow_external && !policy.secret_scan;
        let judged = |(consent, grant): &(Consent, Arc<Grant>)| {
            let grant = if is_open {
                Arc::clone(grant)
            } else {
                grant.revoke();
                Grant::new(&consent.id, consent.since, consent.until)
            };
            (consent.clone(), grant)
        };
        Self { policy, consents: self.consents.iter().map(judged).collect(), own_network }
    }

    /// Whether `sending` may go to `model` at `site`, and by what word; `None`: it stays on this device.
    ///
    /// # Errors
    /// Why not; [`Rejection::Consent`] only where nothing else is in the way.
    pub fn judge(
        &self,
        site: &Site,
        model: &str,
        sending: Sending,
        now: WallMillis,
    ) -> Result<Option<&Arc<Grant>>, Rejection> {
        if site.is_here() {
            return Ok(None);
        }
        let closed = if site.location == Locality::Lan { Rejection::Lan } else { Rejection::External };
        let Some(destination) = &site.destination else { return Err(closed) };
        if let Some(grant) = self.of_own_network(site) {
            return Ok(Some(grant));
        }
        if !self.policy.allow_external {
            return Err(closed);
        }
        if sending.is_kept_here {
            return Err(Rejection::LocalOnly);
        }
        if self.policy.secret_scan {
            return Err(Rejection::Unscanned);
        }
        if sending.kinds.contains(DataKind::Images) {
            return Err(Rejection::ImagesLeave);
        }
        let covers = |consent: &Consent| {
            consent.destination == *destination
                && consent.model.as_ref().is_none_or(|only| only == model)
                && consent.kinds.holds(sending.kinds)
        };
        let found = self.consents.iter().find(|(consent, grant)| covers(consent) && grant.is_timely(now));
        found.map(|(_, grant)| Some(grant)).ok_or(Rejection::Consent)
    }

    /// The word that lets all out to a server of the user's own network, if there is one.
    fn of_own_network(&self, site: &Site) -> Option<&Arc<Grant>> {
        let is_own = self.policy.allow_lan && site.location == Locality::Lan && site.is_own_network;
        is_own.then_some(&self.own_network)
    }

    /// A pass for `sending` to `model` at `site`; `None`: it stays on this device and needs none.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn pass(
        &self,
        site: &Site,
        model: &str,
        sending: Sending,
        request_id: &str,
        now: WallMillis,
    ) -> Result<Option<Pass>, Rejection> {
        let grant = self.judge(site, model, sending, now)?;
        Ok(grant.and_then(|grant| Pass::new(site, model, sending.kinds, request_id, grant)))
    }

    /// A pass to ask a server how it is and what it has; `None`: it is on this device and needs none.
    ///
    /// # Errors
    /// Where it is not of the user's own network, or that is not allowed: nobody consents to being asked for by us.
    pub fn control_pass(&self, site: &Site) -> Result<Option<Pass>, Rejection> {
        if site.is_here() {
            return Ok(None);
        }
        let pass =
            self.of_own_network(site).and_then(|grant| Pass::new(site, "", DataKinds::NONE, "", grant));
        match pass {
            Some(pass) => Ok(Some(pass)),
            None if site.location == Locality::Lan => Err(Rejection::Lan),
            None => Err(Rejection::External),
        }
    }
}

/// The right to send one body to one destination, once, for as long as the word holds under which it was made.
#[derive(Debug)]
pub struct Pass {
    /// Where to.
    pub destination: String,
    /// To which model; empty for what is asked of a server itself.
    pub model: String,
    /// For which request.
    pub request_id: String,
    /// What the body holds.
    pub kinds: DataKinds,
    grant: Arc<Grant>,
    is_taken: AtomicBool,
}

impl Pass {
    fn new(site: &Site, model: &str, kinds: DataKinds, request_id: &str, grant: &Arc<Grant>) -> Option<Self> {
        Some(Self {
            destination: site.destination.clone()?,
            model: model.to_owned(),
            request_id: request_id.to_owned(),
            kinds,
            grant: Arc::clone(grant),
            is_taken: AtomicBool::new(false),
        })
    }

    /// The id of the consent, or [`OWN_NETWORK`].
    #[must_use]
    pub fn consent(&self) -> &str {
        &self.grant.id
    }

    /// Whether the word still holds under which it was made.
    #[must_use]
    pub fn is_valid(&self, now: WallMillis) -> bool {
        self.grant.is_in_force(now)
    }

    /// Takes the right: true once, and never when the word holds no more.
    pub fn take(&self, now: WallMillis) -> bool {
        self.is_valid(now) && !self.is_taken.swap(true, Ordering::AcqRel)
    }
}
