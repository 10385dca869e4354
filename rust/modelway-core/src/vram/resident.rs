//! A model that holds memory, and what it is about.

use crate::ewma::Millis;
use crate::named::named_enum;
use crate::vram::ModelNumber;

#[derive(Clone, Copy, Debug)]
pub(super) struct Resident {
    pub(super) bytes: u64,
    /// Since when it can serve, or is being loaded.
    pub(super) since: Millis,
    pub(super) state: State,
    pub(super) is_closed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Ready {
        pins: u32,
        idle_since: Millis,
        /// Somebody has used it since it was loaded.
        has_served: bool,
        /// It was seen to be gone while requests used it: it is dropped when they end, and takes no new one.
        is_gone: bool,
    },
    Loading,
    Unloading,
}

impl State {
    /// Ready, and nobody uses it.
    pub(super) const fn idle(since: Millis) -> Self {
        Self::Ready { pins: 0, idle_since: since, has_served: false, is_gone: false }
    }
}

impl Resident {
    pub(super) const fn pins(&self) -> Option<u32> {
        match self.state {
            State::Ready { pins, .. } => Some(pins),
            State::Loading | State::Unloading => None,
        }
    }

    pub(super) const fn is_in_use(&self) -> bool {
        matches!(self.state, State::Ready { pins: 1.., .. })
    }

    pub(super) const fn takes_requests(&self) -> bool {
        matches!(self.state, State::Ready { is_gone: false, .. }) && !self.is_closed
    }
}

named_enum! {
    /// What a model that holds memory is about.
    Stage {
        /// It can serve.
        Ready => "ready",
        /// It is being loaded.
        Loading => "loading",
        /// It is being unloaded; its memory is not free yet.
        Unloading => "unloading",
    }
}

/// A model that holds memory, for whoever wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub model: ModelNumber,
    /// What it is about.
    pub stage: Stage,
    /// What it holds.
    pub bytes: u64,
    /// Requests that use it.
    pub running: u32,
    /// It takes no new requests, as others wait for its memory or it is gone.
    pub is_closed: bool,
}
