//! What was learned of a model, whether it is in memory or not.

use crate::ewma::{Ewma, Millis};
use crate::usage::Usage;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learned {
    /// What it took when it was measured last.
    pub(super) bytes: Option<u64>,
    load_ms: Ewma,
    served_ms: Ewma,
    usage: Usage,
}

impl Learned {
    /// A request to it begins.
    pub(super) fn note_use(&mut self, now: Millis) {
        self.usage.note(now);
    }

    /// A request to it has ended that ran for so long.
    pub(super) fn note_served(&mut self, served_ms: Millis, now: Millis) {
        self.served_ms.add(served_ms as f64, now);
    }

    /// Loading it took so long.
    pub(super) fn note_load(&mut self, load_ms: f64, now: Millis) {
        self.load_ms.add(load_ms, now);
    }

    /// How long loading takes: what was measured, else what a disk of a gigabyte a second would need, and a quarter of
    /// a second to start.
    pub(super) fn load_ms(&self, bytes: u64, now: Millis) -> Millis {
        self.load_ms.value(now).map_or(250 + bytes / 1_000_000, |measured| measured as Millis)
    }

    /// How long its requests run; 0 while nobody knows.
    pub(super) fn served_ms(&self, now: Millis) -> Millis {
        self.served_ms.value(now).map_or(0, |measured| measured as Millis)
    }

    /// How often it is used.
    pub(super) fn uses(&self, now: Millis) -> u32 {
        self.usage.weight(now)
    }
}
