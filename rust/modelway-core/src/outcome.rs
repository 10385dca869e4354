//! How a request to a model ended, and what that says of the model.

use crate::named::named_enum;

named_enum! {
    /// How a request to a model ended.
    OutcomeKind {
        /// The stream ended well.
        Success => "success",
        /// No connection.
        Connect => "connect",
        /// The connection broke before the first token.
        Reset => "reset",
        /// A deadline of ours passed.
        Timeout => "timeout",
        /// The server failed.
        ServerError => "server_error",
        /// The answer was not what the protocol says.
        Malformed => "malformed",
        /// The answer held nothing.
        Empty => "empty",
        /// The answer broke off.
        Interrupted => "interrupted",
        /// The server asked us to wait (429).
        RateLimited => "rate_limited",
        /// The server's queue is full (503).
        Busy => "busy",
        /// The server has no such model (404).
        Missing => "missing",
        /// The server wants another key (401, 403).
        Unauthorized => "unauthorized",
        /// The request was wrong (400).
        Rejected => "rejected",
        /// The caller went away.
        Cancelled => "cancelled",
    }
}

impl OutcomeKind {
    /// Whether it counts as a hard failure.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Reset
                | Self::Timeout
                | Self::ServerError
                | Self::Malformed
                | Self::Empty
                | Self::Interrupted
        )
    }

    /// Whether the model is set aside for a time although its circuit stays as it is.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::RateLimited | Self::Busy | Self::Missing | Self::Unauthorized)
    }
}

/// One request to one model, ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestOutcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// Time to the first token.
    pub ttft_ms: Option<f64>,
    /// Time to the end.
    pub duration_ms: Option<f64>,
    /// Tokens of the answer.
    pub tokens: Option<u64>,
    /// How long the server asked us to stay away.
    pub retry_after_s: Option<f64>,
}
