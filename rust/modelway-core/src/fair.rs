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
use crate::line::Line;
use crate::pace::Pace;
use crate::ranked::RankedSet;
use crate::turns::Turns;
use crate::users::User;

/// Tokens divided by the user's weight, in 2^-10: rounding loses less than a token in a thousand requests. It
/// lasts for 2^30 of the largest requests; beyond that sums stay and the queue is first come, first served.
type Given = u64;
const GIVEN_BITS: u32 = 10;
/// A request counts as at most so many tokens, more than any model reads.
const MOST_TOKENS: u64 = 1 << 24;

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
        (tokens.clamp(1, MOST_TOKENS) << GIVEN_BITS) / u64::from(self.weight.get())
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

/// One request in a queue. Who owns the queue knows its requests, and says it again when it takes one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    /// Its name; later requests have larger ones.
    pub ticket: K,
    /// Whose it is.
    pub user: User,
    /// What it is thought to cost, in tokens.
    pub cost: u64,
}

/// A fair queue of requests named by `K`. All operations take O(log n).
#[derive(Clone, Debug)]
pub struct FairQueue<K> {
    capacity: usize,
    users: HashMap<User, Account<K>>,
    /// Each waiting user's first request, by what the user has been given.
    heads: RankedSet<Head<K>>,
    /// Users of whom nothing waits and who have been given more than the clock says.
    ahead: BTreeSet<(Given, User)>,
    turns: Turns,
    /// What those served last had been given before.
    clock: Given,
    pace: Pace,
    len: usize,
}

type Head<K> = (Given, K, User);

/// What is known of a user.
#[derive(Clone, Debug)]
struct Account<K> {
    share: Share,
    /// What the user has been given, or the clock when it came, if that said more.
    given: Given,
    /// The clock when the user came, until its first request is served.
    came_at: Option<Given>,
    /// Its requests and their costs.
    line: Line<(K, u64)>,
}

impl<K: Copy + Ord> Account<K> {
    fn of(share: Share) -> Self {
        Self { share, given: 0, came_at: None, line: Line::default() }
    }

    /// The first request, and what orders it among those of others.
    fn head(&self) -> Option<Head<K>> {
        let (ticket, cost) = self.line.first()?;
        let behind_clock = self.came_at.map_or(0, |clock| clock.saturating_add(self.share.of_tokens(cost)));
        Some((self.given.max(behind_clock), ticket, self.share.user))
    }
}

impl<K: Copy + Ord> FairQueue<K> {
    /// An empty queue of at most `capacity` requests. Of users that don't wait, too, at most so many are
    /// remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            users: HashMap::new(),
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

    /// Adds a request thought to cost so many tokens, with a ticket larger than any before. A weight counts
    /// from when nothing of the user waits.
    ///
    /// # Errors
    /// [`Full`] when as many wait as may.
    pub fn push(&mut self, ticket: K, share: Share, cost: u64, now: Millis) -> Result<(), Full> {
        if self.len >= self.capacity {
            return Err(Full);
        }
        let account = self.users.entry(share.user).or_insert_with(|| Account::of(share));
        let is_first = account.line.first().is_none();
        account.line.push((ticket, cost));
        if is_first {
            self.ahead.remove(&(account.given, share.user));
            account.share = share;
            account.given = account.given.max(self.clock);
            account.came_at = Some(self.clock);
            self.heads.extend(account.head());
        }
        self.turns.join(account.line.len());
        self.len += 1;
        self.pace.begin(now);
        Ok(())
    }

    /// Until now nobody could be served: that time says nothing of how fast the queue is served.
    pub const fn resume(&mut self, now: Millis) {
        self.pace.resume(now);
    }

    /// Whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<K> {
        self.heads.first().map(|(_, ticket, _)| ticket)
    }

    /// Serves whose turn it is.
    pub fn pop(&mut self, now: Millis) -> Option<Waiting<K>> {
        let (given, ticket, user) = self.heads.first()?;
        self.clock = self.clock.max(given);
        let (_, cost) = self.users.get(&user)?.line.first()?;
        let waiting = Waiting { ticket, user, cost };
        self.take(waiting, Some(given));
        self.pace.turn(self.len == 0, now);
        Some(waiting)
    }

    /// Serves a request at once that finds nobody waiting.
    pub fn pass(&mut self, share: Share, cost: u64) {
        let account = self.users.entry(share.user).or_insert_with(|| Account::of(share));
        self.ahead.remove(&(account.given, share.user));
        self.clock = self.clock.max(account.given);
        account.given = self.clock.saturating_add(share.of_tokens(cost));
        self.rest(share.user);
    }

    /// Takes somebody out who gave up. Whether it was waiting.
    pub fn cancel(&mut self, waiting: Waiting<K>) -> bool {
        let was_waiting = self.take(waiting, None);
        if self.len == 0 {
            self.pace.stop();
        }
        was_waiting
    }

    /// Takes a request out; `given` is what its user had been given before, if it is served.
    fn take(&mut self, Waiting { ticket, user, cost }: Waiting<K>, given: Option<Given>) -> bool {
        let Some(account) = self.users.get_mut(&user) else { return false };
        let head = account.head();
        let round = account.line.len();
        if !account.line.remove((ticket, cost)) {
            return false;
        }
        self.turns.leave(round);
        if let Some(given) = given {
            account.given = given.saturating_add(account.share.of_tokens(cost));
            account.came_at = None;
        }
        if let Some(head) = head.filter(|(_, first, _)| *first == ticket) {
            self.heads.remove(&head);
            self.heads.extend(account.head());
        }
        if account.line.first().is_none() {
            self.rest(user);
        }
        self.len -= 1;
        true
    }

    /// Takes note that a served request charged as `charged` tokens cost `real`.
    pub fn correct(&mut self, share: Share, charged: u64, real: u64) {
        let (charged, real) = (share.of_tokens(charged), share.of_tokens(real));
        if charged == real {
            return;
        }
        let account = self.users.entry(share.user).or_insert_with(|| Account::of(share));
        if let Some(head) = account.head() {
            self.heads.remove(&head);
            account.given = account.given.saturating_add(real).saturating_sub(charged);
            self.heads.extend(account.head());
        } else {
            self.ahead.remove(&(account.given, share.user));
            account.given = account.given.max(self.clock).saturating_add(real).saturating_sub(charged);
            self.rest(share.user);
        }
    }

    /// Nothing of the user waits: remembers it only for having been given more than the clock says. Who does
    /// not wait is owed nothing: credit that could be saved up would be a burst later.
    fn rest(&mut self, user: User) {
        if let Some(account) = self.users.get(&user) {
            self.ahead.insert((account.given, user));
        }
        while let Some(&(given, user)) = self.ahead.first()
            && (given <= self.clock || self.ahead.len() > self.capacity)
        {
            self.ahead.pop_first();
            self.users.remove(&user);
        }
    }

    /// Where a request stands; `None` if it does not wait. Changes nothing.
    #[must_use]
    pub fn place(&self, Waiting { ticket, user, cost }: Waiting<K>) -> Option<Place> {
        let account = self.users.get(&user)?;
        let position = match account.line.rank((ticket, cost))? {
            0 => self.heads.rank(&account.head()?) + 1,
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
        self.users.len()
    }
}
