//! What whoever watches should be told of a model or a backend: that a trouble has begun, and that it is over. Each
//! is told once, however often it shows in between.

use smallvec::SmallVec;

use crate::ewma::Millis;
use crate::named::named_enum;

named_enum! {
    /// A trouble that lasts until somebody acts or something comes back.
    Trouble {
        /// The circuit is not closed.
        Circuit => "circuit",
        /// The server does not have the model.
        Missing => "missing",
        /// The server refuses our key.
        Unauthorized => "unauthorized",
    }
}

/// A trouble that has begun, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Which trouble.
    pub what: Trouble,
    /// How long it lasted, where it is over.
    pub lasted_ms: Option<Millis>,
}

/// What one change is worth telling; nearly always nothing.
pub type News = SmallVec<[Alert; 1]>;

/// A trouble of one kind: whether it is under way, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Episode(Option<Millis>);

impl Episode {
    /// It shows at `now`. Told unless it was under way.
    pub(crate) const fn show(&mut self, what: Trouble, now: Millis) -> Option<Alert> {
        if self.0.is_some() {
            return None;
        }
        self.0 = Some(now);
        Some(Alert { what, lasted_ms: None })
    }

    /// It is over at `now`. Told if it was under way.
    pub(crate) fn end(&mut self, what: Trouble, now: Millis) -> Option<Alert> {
        let since = self.0.take()?;
        Some(Alert { what, lasted_ms: Some(now.saturating_sub(since)) })
    }

    /// Whether it is under way.
    pub(crate) const fn is_under_way(self) -> bool {
        self.0.is_some()
    }
}
