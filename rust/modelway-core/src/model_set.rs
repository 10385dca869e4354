//! A set of models as bits, so that asking whether one is in it costs a look at one word.

use smallvec::SmallVec;

/// A model's place in the routing table.
pub type ModelIndex = u16;

/// A set of model indices; up to 256 models need no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSet(SmallVec<[u64; 4]>);

impl ModelSet {
    /// The empty set with room for `models` models.
    #[must_use]
    pub fn none(models: usize) -> Self {
        Self(SmallVec::from_elem(0, models.div_ceil(64)))
    }

    /// Puts a model in. Models beyond the room the set was made with are none of ours.
    pub fn insert(&mut self, model: ModelIndex) {
        if let Some(word) = self.0.get_mut(usize::from(model) / 64) {
            *word |= 1 << (model % 64);
        }
    }

    /// Whether the model is in the set.
    #[must_use]
    pub fn contains(&self, model: ModelIndex) -> bool {
        self.0.get(usize::from(model) / 64).is_some_and(|word| word & (1 << (model % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::ModelSet;

    #[test]
    fn holds_members_over_all_words() {
        let mut set = ModelSet::none(300);
        for model in [0, 63, 64, 299] {
            set.insert(model);
        }
        set.insert(9_999);
        for model in 0..400 {
            assert_eq!(set.contains(model), [0, 63, 64, 299].contains(&model), "{model}");
        }
    }
}
