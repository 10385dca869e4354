//! A part of a managed device for embedding models alone: they do not push out the others, nor are they pushed out by
//! them. Who answers from documents needs both kinds for each answer; with one line for both, each answer would cost two
//! loads.
//!
//! The part is as large as written, else as the largest embedding model and those that are pinned need, but no more than
//! a tenth of the device. An embedding model that is larger than it is like any other model. There is no part while it
//! would do harm: while somebody waits for a model that fits only into the whole, or either kind holds more than its
//! own, as after a model has turned out larger or another has been configured. Then all share all, until that is over.

use smallvec::SmallVec;

use super::{ModelNumber, Residency};
use crate::ewma::Millis;
use crate::swap::{self, Claim, Plan, Resident, View};

type Residents = SmallVec<[Resident; 16]>;
type Claims = SmallVec<[Claim; 16]>;

/// What embedding models have for themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Bytes.
    pub(super) bytes: u64,
    /// So many of them are those of models that never leave.
    pinned_bytes: u64,
}

impl Residency {
    /// Of the whole device so much at most, where nothing is written.
    const USUAL_PART: u64 = 10;

    /// The part as it is now, where there is one.
    pub(super) fn share(&self) -> Option<Share> {
        let share = self.share_by_right()?;
        let rest = self.device.capacity?.saturating_sub(share.bytes);
        let (mut of_share, mut of_rest) = (0_u64, 0_u64);
        for (&model, one) in &self.residents {
            let held = if self.is_of(&share, model, one.bytes) { &mut of_share } else { &mut of_rest };
            *held = held.saturating_add(one.bytes);
        }
        if of_share > share.bytes || of_rest > rest {
            return None;
        }
        let pinned = || {
            let pinned =
                self.pinned.iter().map(|(model, thought)| (*model, self.bytes_now(*model, *thought)));
            pinned.filter(|(model, bytes)| !self.is_of(&share, *model, *bytes))
        };
        let is_too_large = |(&model, claimed): (&ModelNumber, &super::Claimed)| {
            let bytes = self.bytes_now(model, claimed.bytes_thought);
            let others = pinned().filter(|(other, _)| *other != model).map(|(_, bytes)| bytes);
            !self.is_of(&share, model, bytes) && others.fold(bytes, u64::saturating_add) > rest
        };
        (!self.claims.iter().any(is_too_large)).then_some(share)
    }

    /// The part as it is where nothing speaks against it.
    fn share_by_right(&self) -> Option<Share> {
        if !self.device.is_managed || self.embedding.is_empty() {
            return None;
        }
        let capacity = self.device.capacity?;
        let sizes = |is_pinned| {
            let models =
                self.embedding.iter().filter(move |(model, _)| self.pinned.contains_key(model) == is_pinned);
            models.map(|(model, thought)| self.bytes_now(*model, *thought))
        };
        let pinned_bytes = sizes(true).fold(0, u64::saturating_add);
        let bytes = if let Some(written) = self.device.embedding_bytes {
            written.min(capacity)
        } else {
            let most = (capacity / Self::USUAL_PART).checked_sub(pinned_bytes)?;
            pinned_bytes + sizes(false).filter(|bytes| *bytes <= most).max().unwrap_or(0)
        };
        (bytes > 0).then_some(Share { bytes, pinned_bytes })
    }

    /// Whether a model of so many bytes has its place in the part.
    pub(super) fn is_of(&self, share: &Share, model: ModelNumber, bytes: u64) -> bool {
        let own = if self.pinned.contains_key(&model) { 0 } else { bytes };
        self.embedding.contains_key(&model) && share.pinned_bytes.saturating_add(own) <= share.bytes
    }

    /// The plan for the part and then for the rest. Embedding models go first, as their loads are short.
    pub(super) fn plan_parts(&self, view: &View<'_>, now: Millis) -> Plan {
        let policy = &self.device.policy;
        let Some(share) = self.share() else { return swap::plan(view, policy, now) };
        let (own_residents, residents): (Residents, Residents) =
            view.residents.iter().copied().partition(|one| self.is_of(&share, one.model, one.bytes));
        let (own_claims, claims): (Claims, Claims) =
            view.claims.iter().copied().partition(|claim| self.is_of(&share, claim.model, claim.bytes));
        let own = View { capacity: share.bytes, residents: &own_residents, claims: &own_claims, ..*view };
        let rest = view.capacity.saturating_sub(share.bytes);
        let others = View { capacity: rest, residents: &residents, claims: &claims, ..*view };
        // One load or unload at a time on all of the device.
        if own.is_changing() || others.is_changing() {
            return own.as_it_is().with(others.as_it_is());
        }
        let plan = swap::plan(&own, policy, now);
        let is_change = plan.load.is_some() || !plan.unload.is_empty();
        plan.with(if is_change { others.as_it_is() } else { swap::plan(&others, policy, now) })
    }
}
