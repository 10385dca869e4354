//! The times at which a model is left alone though its circuit may be closed: its server asked us to wait, does not
//! have it, or refused our key.
//!
//! A hold ends with its time. What stands behind a missing model or a refused key lasts longer: until the model is
//! seen, or has answered a request that began later.

use crate::alert::{Alert, Episode, News, Trouble};
use crate::breaker::Attempt;
use crate::ewma::Millis;
use crate::outcome::{OutcomeKind, RequestOutcome};

/// How long a model is set aside when the server does not say.
const HOLD_MS: Millis = 1_000;
/// A missing model or a refused key changes by somebody's hand, not by waiting a second.
const LONG_HOLD_MS: Millis = 60_000;
/// The longest hold a server may ask for.
const MAX_HOLD_MS: Millis = 300_000;

/// Why a model is left alone, and until when. Each reason has its own time, so that the end of one ends no other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// What the server asked for (429, 503).
    asked: Option<(OutcomeKind, Millis)>,
    missing: SetAside,
    unauthorized: SetAside,
    last_begun: Attempt,
    /// Attempts up to this one may have begun before the trouble did, and their success does not end it.
    too_old: Attempt,
}

#[derive(Clone, Copy, Debug, Default)]
struct SetAside {
    until: Option<Millis>,
    episode: Episode,
}

impl Hold {
    /// Whether there is none, whatever the time.
    pub(crate) const fn is_none(&self) -> bool {
        self.asked.is_none() && self.missing.until.is_none() && self.unauthorized.until.is_none()
    }

    /// What holds longest at `now`, and until when.
    pub(crate) fn check(&self, now: Millis) -> Option<(OutcomeKind, Millis)> {
        if self.is_none() {
            return None;
        }
        let missing = self.missing.until.map(|until| (OutcomeKind::Missing, until));
        let unauthorized = self.unauthorized.until.map(|until| (OutcomeKind::Unauthorized, until));
        let all = [self.asked, missing, unauthorized].into_iter().flatten();
        all.filter(|(_, until)| now < *until).max_by_key(|(_, until)| *until)
    }

    /// A request may pass: no time is left of any hold. What stands behind one may last.
    pub(crate) const fn begin(&mut self, attempt: Attempt) {
        self.asked = None;
        self.missing.until = None;
        self.unauthorized.until = None;
        self.last_begun = attempt;
    }

    /// An attempt ended with one of the kinds that hold.
    pub(crate) fn take(&mut self, outcome: &RequestOutcome, now: Millis) -> Option<Alert> {
        let trouble = trouble(outcome.kind);
        let hold_ms = match outcome.retry_after_s {
            Some(seconds) if seconds >= 0.0 => ((seconds * 1000.0) as Millis).min(MAX_HOLD_MS),
            _ if trouble.is_some() => LONG_HOLD_MS,
            _ => HOLD_MS,
        };
        let until = now.saturating_add(hold_ms);
        let Some(what) = trouble else {
            // Answers of requests sent together come in any order: the longest wait asked for is kept.
            if self.asked.is_none_or(|(_, held_until)| held_until <= until) {
                self.asked = Some((outcome.kind, until));
            }
            return None;
        };
        self.show(what, until, now)
    }

    /// The server was asked what it has, and does not have the model.
    pub(crate) fn see_missing(&mut self, now: Millis) -> Option<Alert> {
        self.show(Trouble::Missing, now.saturating_add(LONG_HOLD_MS), now)
    }

    /// The server was asked what it has, and has the model.
    pub(crate) fn see_present(&mut self, now: Millis) -> Option<Alert> {
        self.end(Trouble::Missing, now)
    }

    /// An attempt ended well; without a number it is taken for the newest.
    pub(crate) fn answer(&mut self, attempt: Option<Attempt>, now: Millis) -> News {
        let is_untold = !self.missing.episode.is_under_way() && !self.unauthorized.episode.is_under_way();
        if is_untold || attempt.is_some_and(|number| number <= self.too_old) {
            return News::new();
        }
        [Trouble::Missing, Trouble::Unauthorized].into_iter().filter_map(|what| self.end(what, now)).collect()
    }

    fn show(&mut self, what: Trouble, until: Millis, now: Millis) -> Option<Alert> {
        self.too_old = self.last_begun;
        let set_aside = self.set_aside(what)?;
        set_aside.until = set_aside.until.max(Some(until));
        set_aside.episode.show(what, now)
    }

    fn end(&mut self, what: Trouble, now: Millis) -> Option<Alert> {
        let set_aside = self.set_aside(what)?;
        set_aside.until = None;
        set_aside.episode.end(what, now)
    }

    const fn set_aside(&mut self, what: Trouble) -> Option<&mut SetAside> {
        match what {
            Trouble::Missing => Some(&mut self.missing),
            Trouble::Unauthorized => Some(&mut self.unauthorized),
            Trouble::Circuit => None,
        }
    }
}

/// What somebody must mend before the model can be asked again, if anything.
const fn trouble(kind: OutcomeKind) -> Option<Trouble> {
    match kind {
        OutcomeKind::Missing => Some(Trouble::Missing),
        OutcomeKind::Unauthorized => Some(Trouble::Unauthorized),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Alert, Hold, OutcomeKind, RequestOutcome, Trouble};

    const MISSING: RequestOutcome = RequestOutcome::of(OutcomeKind::Missing);
    const BEGINS: Alert = Alert { what: Trouble::Missing, lasted_ms: None };

    fn over(what: Trouble, lasted_ms: u64) -> Alert {
        Alert { what, lasted_ms: Some(lasted_ms) }
    }

    #[test]
    fn what_is_not_there_is_told_once_and_held_as_long_as_it_is_seen() {
        let mut hold = Hold::default();
        assert_eq!(hold.see_missing(0), Some(BEGINS));
        for now in [30_000, 60_000, 90_000] {
            assert_eq!(hold.see_missing(now), None);
        }
        assert_eq!(hold.check(149_999), Some((OutcomeKind::Missing, 150_000)));
        assert_eq!(hold.check(150_000), None);
        assert_eq!(hold.see_present(100_000), Some(over(Trouble::Missing, 100_000)));
        assert!(hold.is_none());
        assert_eq!(hold.see_present(100_001), None);
    }

    #[test]
    fn a_hold_that_has_passed_is_not_the_end_of_what_stands_behind_it() {
        let mut hold = Hold::default();
        hold.begin(1);
        assert_eq!(hold.take(&MISSING, 0), Some(BEGINS));
        hold.begin(2);
        assert_eq!(hold.take(&MISSING, 60_000), None);
        hold.begin(3);
        assert_eq!(hold.answer(Some(3), 130_000).as_slice(), [over(Trouble::Missing, 130_000)]);
        assert_eq!(hold.take(&MISSING, 140_000), Some(BEGINS), "it is news again");
    }

    #[test]
    fn only_what_began_later_can_tell_that_it_is_over() {
        let mut hold = Hold::default();
        for attempt in 1..=4 {
            hold.begin(attempt);
        }
        hold.take(&MISSING, 0);
        hold.take(&RequestOutcome::of(OutcomeKind::Unauthorized), 10);
        for attempt in 1..=4 {
            assert!(hold.answer(Some(attempt), 20).is_empty());
        }
        assert!(!hold.is_none());
        hold.begin(5);
        let both = [over(Trouble::Missing, 100), over(Trouble::Unauthorized, 90)];
        assert_eq!(hold.answer(Some(5), 100).as_slice(), both);
        hold.take(&MISSING, 200);
        assert_eq!(hold.answer(None, 205).as_slice(), [over(Trouble::Missing, 5)], "the newest answered");
        assert!(hold.is_none());
    }

    #[test]
    fn seeing_the_model_ends_no_other_hold() {
        let mut hold = Hold::default();
        let asked = RequestOutcome { retry_after_s: Some(200.0), ..RequestOutcome::of(OutcomeKind::Busy) };
        assert_eq!(hold.take(&asked, 0), None);
        assert_eq!(hold.see_missing(0), Some(BEGINS));
        assert_eq!(hold.see_present(5), Some(over(Trouble::Missing, 5)));
        assert_eq!(hold.check(5), Some((OutcomeKind::Busy, 200_000)));
    }
}
