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

/// What an outcome says of whoever answered, or should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Good,
    /// A hard failure: enough of them in a row open the circuit.
    Hard,
    /// It works but has too much to do: counts in the rate of success alone.
    Busy,
    /// Nothing.
    Nothing,
}

impl OutcomeKind {
    /// What it says of the model.
    #[must_use]
    pub const fn of_model(self) -> Verdict {
        match self {
            Self::Success => Verdict::Good,
            Self::Connect
            | Self::Reset
            | Self::Timeout
            | Self::ServerError
            | Self::Malformed
            | Self::Empty
            | Self::Interrupted => Verdict::Hard,
            Self::RateLimited | Self::Busy => Verdict::Busy,
            Self::Missing | Self::Unauthorized | Self::Rejected | Self::Cancelled => Verdict::Nothing,
        }
    }

    /// What it says of the backend, of which only the connection is judged: who answers at all is there, and
    /// silence may be the model's.
    #[must_use]
    pub const fn of_backend(self) -> Verdict {
        match self {
            Self::Connect => Verdict::Hard,
            Self::Reset | Self::Timeout | Self::Cancelled => Verdict::Nothing,
            Self::Success
            | Self::ServerError
            | Self::Malformed
            | Self::Empty
            | Self::Interrupted
            | Self::RateLimited
            | Self::Busy
            | Self::Missing
            | Self::Unauthorized
            | Self::Rejected => Verdict::Good,
        }
    }

    /// Whether it counts as a hard failure of the model.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(self.of_model(), Verdict::Hard)
    }

    /// Whether a server that was away for a moment would explain it: then the model may be well once the server is
    /// back. Of the other failures the server told itself.
    #[must_use]
    pub const fn may_be_absence(self) -> bool {
        matches!(self, Self::Connect | Self::Reset | Self::Timeout | Self::Interrupted)
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
    /// Time to the first token, without loading.
    pub ttft_ms: Option<f64>,
    /// Time to the end, without loading.
    pub duration_ms: Option<f64>,
    /// Tokens of the answer.
    pub tokens: Option<u64>,
    /// How long the server asked us to stay away.
    pub retry_after_s: Option<f64>,
    /// How long loading the model took, where this request had it loaded.
    pub load_ms: Option<f64>,
}

impl RequestOutcome {
    /// One of which nothing was measured.
    #[must_use]
    pub const fn of(kind: OutcomeKind) -> Self {
        Self { kind, ttft_ms: None, duration_ms: None, tokens: None, retry_after_s: None, load_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{OutcomeKind, Verdict};

    #[test]
    fn what_counts_as_which_failure() {
        use Verdict::{Busy, Good, Hard, Nothing};
        let table = [
            // kind, of the model, of the backend, whether the server may have been away
            (OutcomeKind::Success, Good, Good, false),
            (OutcomeKind::Connect, Hard, Hard, true),
            (OutcomeKind::Reset, Hard, Nothing, true),
            (OutcomeKind::Timeout, Hard, Nothing, true),
            (OutcomeKind::ServerError, Hard, Good, false),
            (OutcomeKind::Malformed, Hard, Good, false),
            (OutcomeKind::Empty, Hard, Good, false),
            (OutcomeKind::Interrupted, Hard, Good, true),
            (OutcomeKind::RateLimited, Busy, Good, false),
            (OutcomeKind::Busy, Busy, Good, false),
            (OutcomeKind::Missing, Nothing, Good, false),
            (OutcomeKind::Unauthorized, Nothing, Good, false),
            (OutcomeKind::Rejected, Nothing, Good, false),
            (OutcomeKind::Cancelled, Nothing, Nothing, false),
        ];
        assert_eq!(table.map(|(kind, ..)| kind).as_slice(), OutcomeKind::ALL);
        for (kind, of_model, of_backend, may_be_absence) in table {
            let said = (kind.of_model(), kind.of_backend(), kind.may_be_absence());
            assert_eq!(said, (of_model, of_backend, may_be_absence), "{kind:?}");
        }
    }
}
