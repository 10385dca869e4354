//! Requests under way: admitted, begun and ended by the number of their ticket.
//!
//! Health and admission are asked together: a request that is admitted has the right to ask its model, and both
//! are given back by one call. What a change causes for others is collected, and told by the next call that
//! returns [`Changes`]: an error tells nobody, so nothing may get lost with it.

use smallvec::SmallVec;

use super::roster::{Alerts, ModelKey, Sighting};
use super::{Router, State};
use crate::admit::{Ask, Effects, Load, Refusal};
use crate::breaker::Attempt;
use crate::ewma::Millis;
use crate::fair::{Place, Share};
use crate::health::NotNow;
use crate::outcome::{OutcomeKind, RequestOutcome};
use crate::ticket::Ticket;
use crate::users::{Standing, User};

/// On what terms a request wants to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Who asks.
    pub user: User,
    /// Tokens that it is thought to read and write.
    pub tokens: u64,
    /// Until when it must have been admitted; `None`: it waits as long as it takes.
    pub deadline: Option<Millis>,
    /// Whether it repeats one that failed.
    pub is_retry: bool,
}

/// What became of a request; the number is its ticket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds all that it needs and may ask its model.
    Admitted(u64),
    /// It waits at this place.
    Queued(u64, Place),
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing is called so.
    Unknown,
    /// Its model must be left alone.
    NotNow(NotNow),
    /// A limit keeps it out.
    Limit(Refusal),
}

/// What a change caused, by numbers of tickets and names of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "granted tickets go on, refused ones must be told, evicted models unloaded"]
pub struct Changes {
    /// They hold all that they need; each has to be begun.
    pub granted: SmallVec<[u64; 4]>,
    /// They waited for what can't be any more: the ticket, its model's id, and why. They are known no more.
    pub refused: Vec<(u64, String, Refusal)>,
    /// Models whose memory was given to others: they must be unloaded.
    pub evicted: Vec<String>,
    /// Models that must be loaded.
    pub load: Vec<String>,
    /// Troubles that began or are over.
    pub alerts: Alerts,
}

/// What somebody must be told; nearly always nothing.
pub type Told = Option<Box<Changes>>;

/// A request that waits or runs.
#[derive(Debug)]
pub(super) struct Held {
    ticket: Ticket,
    model: ModelKey,
    /// The right to ask its model, once it is begun.
    attempt: Option<Attempt>,
}

impl Router {
    /// Lets a request to the model of this name in, or into the queue. One that is admitted has begun.
    ///
    /// # Errors
    /// [`Refused`]: nothing was taken, and what time has caused meanwhile is told by the next call.
    pub fn admit(&self, name: &str, terms: &Terms, now: Millis) -> Result<(Answer, Told), Refused> {
        let mut state = self.lock();
        let model = state.roster.find(&state.table, name).ok_or(Refused::Unknown)?;
        state.roster.check(model, now).map_err(Refused::NotNow)?;
        let weight = state.rules.shares.get(&terms.user).copied();
        let share = Share::of(terms.user);
        let ask = Ask {
            model: model.number(),
            share: weight.map_or(share, |weight| Share { weight, ..share }),
            tokens: terms.tokens,
            deadline: terms.deadline,
            is_retry: terms.is_retry,
        };
        let (answer, effects) = state.admission.admit(&ask, now);
        state.owe(effects);
        let (ticket, attempt, answer) = match answer {
            crate::admit::Answer::Admitted(ticket) => {
                let begun = state.roster.begin(model, now);
                if begun.is_err() {
                    let effects = state.admission.cancel(ticket, now);
                    state.owe(effects.unwrap_or_default());
                }
                let attempt = begun.map_err(Refused::NotNow)?;
                (ticket, Some(attempt), Answer::Admitted(ticket.number()))
            }
            crate::admit::Answer::Queued(ticket) => {
                let last = Place { position: state.admission.load(ask.model, now).waiting, eta_ms: None };
                let place = state.admission.place(ticket, now).unwrap_or(last);
                (ticket, None, Answer::Queued(ticket.number(), place))
            }
            crate::admit::Answer::Refused(refusal) => return Err(Refused::Limit(refusal)),
        };
        state.requests.insert(ticket.number(), Held { ticket, model, attempt });
        Ok((answer, state.tell()))
    }

    /// Takes the right to ask its model for a request that was granted what it waited for. One that is not known
    /// or waits still has nothing to begin.
    ///
    /// # Errors
    /// [`NotNow`] where the circuit opened meanwhile, with the model's id; the request holds what it was granted.
    pub fn begin_admitted(&self, ticket: u64, now: Millis) -> Result<(), (String, NotNow)> {
        let state = &mut *self.lock();
        if let Some(held) = state.requests.get_mut(&ticket)
            && held.attempt.is_none()
            && state.admission.is_admitted(held.ticket)
        {
            let begun = state.roster.begin(held.model, now);
            let begun = begun.map_err(|why| (state.roster.id(held.model.number()).to_owned(), why))?;
            held.attempt = Some(begun);
        }
        Ok(())
    }

    /// Ends a request that was served, or failed, and takes note of how. It read and wrote so many tokens; `None`:
    /// as many as was thought. A ticket that has ended changes nothing.
    pub fn finish(
        &self,
        ticket: u64,
        outcome: &RequestOutcome,
        tokens: Option<u64>,
        now: Millis,
        chance: f64,
    ) -> Told {
        let mut state = self.lock();
        if let Some(held) = state.end(ticket, outcome, now, chance) {
            if let Some(load_ms) = outcome.load_ms {
                state.admission.note_load(held.model.number(), load_ms, now);
            }
            let effects = state.admission.finish(held.ticket, tokens, now);
            state.owe(effects.unwrap_or_default());
        }
        state.tell()
    }

    /// Ends a request as if it had never been, whether it waits or was granted. A ticket that has ended changes
    /// nothing.
    pub fn cancel(&self, ticket: u64, now: Millis) -> Told {
        const CANCELLED: RequestOutcome = RequestOutcome::of(OutcomeKind::Cancelled);
        let mut state = self.lock();
        // A cancelled request opens no circuit, so there is nothing to jitter.
        if let Some(held) = state.end(ticket, &CANCELLED, now, 0.0) {
            let effects = state.admission.cancel(held.ticket, now);
            state.owe(effects.unwrap_or_default());
        }
        state.tell()
    }

    /// Takes note of what an active check of a backend saw: where it was away and is back, probes may go at once;
    /// models that it does not have are set aside, and those that it has are so no longer. Closes no circuit and
    /// opens none.
    pub fn observe(&self, backend: &str, seen: &Sighting, now: Millis) -> Told {
        let mut state = self.lock();
        let alerts = state.roster.observe(backend, seen, now);
        state.owe_alerts(alerts);
        state.tell()
    }

    /// Lets those go on who waited for time to pass.
    pub fn tick(&self, now: Millis) -> Told {
        let mut state = self.lock();
        let effects = state.admission.tick(now);
        state.owe(effects);
        state.tell()
    }

    /// When [`Self::tick`] has something to do next, if nothing else happens before; 0: at once.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        let state = self.lock();
        if state.owed.is_some() { Some(0) } else { state.admission.next_wake() }
    }

    /// Whether a request waits or runs.
    #[must_use]
    pub fn holds(&self, ticket: u64) -> bool {
        self.lock().requests.contains_key(&ticket)
    }

    /// Where a request stands; `None` if it does not wait. Changes nothing.
    #[must_use]
    pub fn place(&self, ticket: u64, now: Millis) -> Option<Place> {
        let state = self.lock();
        state.admission.place(state.requests.get(&ticket)?.ticket, now)
    }

    /// How busy a model is. Changes nothing.
    #[must_use]
    pub fn load(&self, model: ModelKey, now: Millis) -> Load {
        self.lock().admission.load(model.number(), now)
    }

    /// What a user may still use. Changes nothing.
    #[must_use]
    pub fn standing(&self, user: User, now: Millis) -> Standing {
        self.lock().admission.standing(user, now)
    }
}

impl State {
    fn end(&mut self, ticket: u64, outcome: &RequestOutcome, now: Millis, chance: f64) -> Option<Held> {
        let held = self.requests.remove(&ticket)?;
        if held.attempt.is_some() {
            let alerts = self.roster.record(held.model, held.attempt, outcome, now, chance);
            self.owe_alerts(alerts);
        }
        Some(held)
    }

    fn owe_alerts(&mut self, alerts: Alerts) {
        if !alerts.is_empty() {
            self.owed.get_or_insert_default().alerts.extend(alerts);
        }
    }

    pub(super) fn owe(&mut self, effects: Effects) {
        if effects.is_empty() {
            return;
        }
        let mut owed = self.owed.take().unwrap_or_default();
        owed.granted.extend(effects.granted.iter().map(|ticket| ticket.number()));
        for (ticket, why) in effects.refused {
            if let Some(held) = self.requests.remove(&ticket.number()) {
                let id = self.roster.id(held.model.number()).to_owned();
                owed.refused.push((ticket.number(), id, why));
            }
        }
        let evicted = effects.evicted.into_iter().map(|model| self.roster.id(model).to_owned());
        owed.evicted.extend(evicted);
        owed.load.extend(effects.load.into_iter().map(|model| self.roster.id(model).to_owned()));
        self.owed = Some(owed);
    }

    pub(super) const fn tell(&mut self) -> Told {
        self.owed.take()
    }
}
