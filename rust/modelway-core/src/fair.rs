//! A queue in which every user gets the same number of tokens, however many requests each has sent.
//!
//! Start-time fair queuing (Goyal, Vin and Cheng, SIGCOMM 1996). The queue keeps for each user what it has been
//! given, and serves whoever has been given least, of equals the oldest request; its clock is what that user
//! had been given before. So all that wait lie within one request of the clock, and of two users that wait all
//! the time neither gets more than twice the largest cost ahead of the other.
//!
//! One rule differs from the paper: who comes new starts not at the clock but its own cost behind it. In the
//! paper a stream of ever new users, each starting at the clock, keeps it where it is, and with it everybody
//! who has been given more; here each generation of newcomers moves it, and whoever waits is reached.
//!
//! Costs are estimates when a request comes. When the real count is known, what the user has been given is put
//! right, also if its next request waits already. The order depends on what was given before, not on the
//! estimate of what waits: the bound holds for real costs, save for corrections of what is still running.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;

use crate::ewma::Millis;
use crate::pace::Pace;
use crate::ranked::RankedSet;
use crate::ticket::{Ticket, Tickets};
use crate::turns::Turns;
use crate::users::User;

/// Tokens divided by the user's weight, in 2^-20: rounding loses less than a token in a million requests.
type Given = u128;
const GIVEN_BITS: u32 = 20;

/// Whose request it is, and how much of the queue is due to that user beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The user.
    pub user: User,
    /// Twice the weight gets twice the tokens.
    pub weight: NonZeroU32,
}

impl Share {
    /// An equal share.
    #[must_use]
    pub const fn of(user: User) -> Self {
        Self { user, weight: NonZeroU32::MIN }
    }

    /// Even an empty request takes a turn: it counts as a token.
    fn of_tokens(self, tokens: u64) -> Given {
        (Given::from(tokens.max(1)) << GIVEN_BITS) / Given::from(self.weight.get())
    }
}

/// Where a request stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which turn is its own, from 1 on: exact for each user's first request; for later ones the most that it
    /// may be if all cost and weigh alike.
    pub position: usize,
    /// How long that takes at the present pace; `None` before anybody was served.
    pub eta_ms: Option<Millis>,
}

/// The queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A fair queue of requests that carry a `T`. All operations take O(log n).
#[derive(Clone, Debug)]
pub struct FairQueue<T> {
    capacity: usize,
    requests: Tickets<Waiting<T>>,
    lines: HashMap<User, Line>,
    /// Each waiting user's first request, by what the user has been given.
    heads: RankedSet<(Given, Ticket)>,
    /// Users of whom nothing waits and who have been given more than the clock says.
    ahead: BTreeSet<(Given, User)>,
    turns: Turns,
    /// What those served last had been given before.
    clock: Given,
    pace: Pace,
    len: usize,
}

#[derive(Clone, Debug)]
struct Waiting<T> {
    share: Share,
    cost: u64,
    load: T,
}

/// A user's requests, in the order of arrival.
#[derive(Clone, Debug, Default)]
struct Line {
    /// What the user has been given, or the clock when it came, if that said more.
    given: Given,
    /// The clock when the user came, until its first request is served.
    came_at: Option<Given>,
    requests: RankedSet<Ticket>,
}

impl Line {
    /// The first request, and what orders it among those of others.
    fn head<T>(&self, requests: &Tickets<Waiting<T>>) -> Option<(Given, Ticket)> {
        let first = self.requests.first()?;
        let Waiting { share, cost, .. } = requests.get(first)?;
        let behind_clock = self.came_at.map_or(0, |clock| clock + share.of_tokens(*cost));
        Some((self.given.max(behind_clock), first))
    }
}

impl<T: Copy> FairQueue<T> {
    /// An empty queue of at most `capacity` requests. Of users that don't wait, too, at most so many are
    /// remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            requests: Tickets::default(),
            lines: HashMap::new(),
            heads: RankedSet::default(),
            ahead: BTreeSet::new(),
            turns: Turns::default(),
            clock: 0,
            pace: Pace::default(),
            len: 0,
        }
    }

    /// Another capacity; who waits already stays.
    pub const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Adds a request thought to cost so many tokens.
    ///
    /// # Errors
    /// [`Full`] when as many wait as may.
    pub fn push(&mut self, share: Share, cost: u64, load: T, now: Millis) -> Result<Ticket, Full> {
        if self.len >= self.capacity {
            return Err(Full);
        }
        let ticket = self.requests.insert(Waiting { share, cost, load });
        let line = self.lines.entry(share.user).or_default();
        let is_first = line.requests.is_empty();
        line.requests.insert(ticket);
        if is_first {
            self.ahead.remove(&(line.given, share.user));
            line.given = line.given.max(self.clock);
            line.came_at = Some(self.clock);
            self.heads.extend(line.head(&self.requests));
        }
        self.turns.join(line.requests.len());
        self.len += 1;
        self.pace.begin(now);
        Ok(ticket)
    }

    /// Whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<(Ticket, T)> {
        let (_, ticket) = self.heads.first()?;
        self.requests.get(ticket).map(|request| (ticket, request.load))
    }

    /// Serves whose turn it is.
    pub fn pop(&mut self, now: Millis) -> Option<T> {
        let (given, ticket) = self.heads.first()?;
        self.clock = self.clock.max(given);
        let request = self.take(ticket, Some(given))?;
        self.pace.turn(self.len == 0, now);
        Some(request.load)
    }

    /// Serves a request at once that finds nobody waiting.
    pub fn pass(&mut self, share: Share, cost: u64) {
        let line = self.lines.entry(share.user).or_default();
        self.ahead.remove(&(line.given, share.user));
        self.clock = self.clock.max(line.given);
        line.given = self.clock + share.of_tokens(cost);
        self.rest(share.user);
    }

    /// Takes somebody out who gave up. `None`: it was not waiting.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let request = self.take(ticket, None)?;
        if self.len == 0 {
            self.pace.stop();
        }
        Some(request.load)
    }

    /// Takes a request out; `given` is what its user had been given before, if it is served.
    fn take(&mut self, ticket: Ticket, given: Option<Given>) -> Option<Waiting<T>> {
        let user = self.requests.get(ticket)?.share.user;
        let line = self.lines.get_mut(&user)?;
        let head = line.head(&self.requests)?;
        self.turns.leave(line.requests.len());
        line.requests.remove(&ticket);
        let request = self.requests.remove(ticket)?;
        if let Some(given) = given {
            line.given = given + request.share.of_tokens(request.cost);
            line.came_at = None;
        }
        if head.1 == ticket {
            self.heads.remove(&head);
            self.heads.extend(line.head(&self.requests));
        }
        if line.requests.is_empty() {
            self.rest(user);
        }
        self.len -= 1;
        Some(request)
    }

    /// Takes note that a served request charged as `charged` tokens cost `real`.
    pub fn correct(&mut self, share: Share, charged: u64, real: u64) {
        let (charged, real) = (share.of_tokens(charged), share.of_tokens(real));
        if charged == real {
            return;
        }
        let line = self.lines.entry(share.user).or_default();
        if let Some(head) = line.head(&self.requests) {
            self.heads.remove(&head);
            line.given = (line.given + real).saturating_sub(charged);
            self.heads.extend(line.head(&self.requests));
        } else {
            self.ahead.remove(&(line.given, share.user));
            line.given = (line.given.max(self.clock) + real).saturating_sub(charged);
            self.rest(share.user);
        }
    }

    /// Nothing of the user waits: remembers it only for having been given more than the clock says. Who does
    /// not wait is owed nothing: credit that could be saved up would be a burst later.
    fn rest(&mut self, user: User) {
        if let Some(line) = self.lines.get(&user) {
            self.ahead.insert((line.given, user));
        }
        while let Some(&(given, user)) = self.ahead.first()
            && (given <= self.clock || self.ahead.len() > self.capacity)
        {
            self.ahead.pop_first();
            self.lines.remove(&user);
        }
    }

    /// Where a request stands; `None` if it does not wait. Changes nothing.
    #[must_use]
    pub fn place(&self, ticket: Ticket) -> Option<Place> {
        let request = self.requests.get(ticket)?;
        let line = self.lines.get(&request.share.user)?;
        let head = line.head(&self.requests)?;
        let position = match line.requests.rank(&ticket) {
            0 => self.heads.rank(&head) + 1,
            before => self.turns.upto(before + 1) as usize,
        };
        Some(Place { position, eta_ms: self.eta_ms(position) })
    }

    /// How long so many turns take at the present pace.
    #[must_use]
    pub fn eta_ms(&self, turns: usize) -> Option<Millis> {
        self.pace.interval_ms().map(|interval_ms| (interval_ms * turns as f64) as Millis)
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many users are known, because they wait or are ahead of the clock.
    #[must_use]
    pub fn users(&self) -> usize {
        self.lines.len()
    }
}
