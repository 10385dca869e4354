//! Why a model was chosen, and why another was not. Closed enums; sentences are made in Python.

use crate::named::named_enum;

named_enum! {
    /// Why this model serves.
    SelectionReason {
        /// The caller named the model.
        ExplicitModel => "explicit_model",
        /// The caller named the task.
        ExplicitTask => "explicit_task",
        /// The words of the prompt decided its class.
        Classified => "classified",
        /// The request's shape decided: tools, fenced code, formulas, a call that clients make by themselves.
        Structure => "structure",
        /// The message leans on what came before it in the conversation.
        Context => "context",
        /// There was nothing to read; the general default serves.
        Default => "default",
        /// Nothing, or too little, pointed to a special class.
        Unsure => "unsure",
        /// The preferred model is not available now.
        Fallback => "fallback",
        /// The preferred model lacks a capability that the request needs.
        Capability => "capability",
        /// The request does not fit the preferred model's context.
        ContextLength => "context_length",
        /// The preferred model would have to be loaded first, and one that is in memory is to pass it.
        Warm => "warm",
        /// The preferred model is not on this machine.
        Privacy => "privacy",
    }
}

named_enum! {
    /// Why a model could not be chosen.
    Rejection {
        /// It is not on this machine nor its network.
        External => "external",
        /// It is on another machine of the local network.
        Lan => "lan",
        /// It takes no tools.
        Tools => "tools",
        /// It reads no images.
        Images => "images",
        /// The request is longer than its context.
        ContextLength => "context_length",
        /// Its circuit is open, or it is set aside.
        Unavailable => "unavailable",
        /// It would have to be loaded first.
        Cold => "cold",
    }
}

impl Rejection {
    /// The reason of a decision that had to pass over the preferred model for this.
    #[must_use]
    pub const fn as_reason(self) -> SelectionReason {
        match self {
            Self::External | Self::Lan => SelectionReason::Privacy,
            Self::Tools | Self::Images => SelectionReason::Capability,
            Self::ContextLength => SelectionReason::ContextLength,
            Self::Unavailable => SelectionReason::Fallback,
            Self::Cold => SelectionReason::Warm,
        }
    }
}
