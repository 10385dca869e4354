//! A model that goes on on another device: what is known of it goes with it.

use super::{Claimed, Learned, ModelNumber, Residency, Resident};

/// All that a device knows of one model, but for what is configured of it.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    resident: Option<Resident>,
    claimed: Option<Claimed>,
    is_preloaded: bool,
    learned: Option<Learned>,
}

impl Residency {
    /// The model is one of this device no more.
    #[must_use]
    pub fn let_go(&mut self, model: ModelNumber) -> Moved {
        let resident = self.residents.get(&model).copied();
        self.drop(model);
        self.pinned.remove(&model);
        self.embedding.remove(&model);
        self.promised.retain(|promised| *promised != model);
        self.is_dirty = true;
        self.see_whose_turn();
        Moved {
            resident,
            claimed: self.claims.remove(&model),
            is_preloaded: self.preloads.remove(&model),
            learned: self.learned.remove(&model),
        }
    }

    /// The model is one of this device from now on, and uses it as it used the one before. Where that is too much nothing
    /// new is loaded until enough was given back.
    pub fn take_over(&mut self, model: ModelNumber, moved: Moved) {
        let Moved { resident, claimed, is_preloaded, learned } = moved;
        if let Some(resident) = resident {
            self.in_use = self.in_use.saturating_add(resident.bytes);
            self.residents.insert(model, resident);
        }
        self.claims.extend(claimed.map(|claimed| (model, claimed)));
        self.preloads.extend((is_preloaded && self.device.is_managed).then_some(model));
        self.learned.extend(learned.map(|learned| (model, learned)));
        self.is_dirty = true;
        self.see_whose_turn();
    }
}
