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
        /// The preferred model is not available now, or its licence is forbidden.
        Fallback => "fallback",
        /// The preferred model lacks a capability that the request needs.
        Capability => "capability",
        /// The request does not fit the preferred model's context.
        ContextLength => "context_length",
        /// The preferred model would have to be loaded first, and one that is in memory is to pass it.
        Warm => "warm",
        /// The preferred model is not on this machine, and the request may not go there.
        Privacy => "privacy",
    }
}

named_enum! {
    /// Why a model could not be chosen.
    Rejection {
        /// It is not on this machine nor its network, and nothing is let out.
        External => "external",
        /// It is on another machine of the local network, and nothing is let out.
        Lan => "lan",
        /// It is elsewhere, and the caller keeps the request from others.
        LocalOnly => "local_only",
        /// It is elsewhere, and the request is not searched for secrets as it must be.
        Unscanned => "unscanned",
        /// It is elsewhere, and the request's images can't be rid of what they tell beside the picture.
        ImagesLeave => "images_leave",
        /// It is elsewhere, and nobody has consented: nothing else is in the way.
        Consent => "consent",
        /// Its licence is forbidden.
        License => "license",
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
            Self::External
            | Self::Lan
            | Self::LocalOnly
            | Self::Unscanned
            | Self::ImagesLeave
            | Self::Consent => SelectionReason::Privacy,
            Self::Tools | Self::Images => SelectionReason::Capability,
            Self::ContextLength => SelectionReason::ContextLength,
            Self::Unavailable | Self::License => SelectionReason::Fallback,
            Self::Cold => SelectionReason::Warm,
        }
    }
}
