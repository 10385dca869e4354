//! What each user has used: rates and quotas for a bounded number of users.
//!
//! Only those are kept whose past still matters. Once buckets are full again and windows over, a user is as
//! good as unknown and makes room for another; who comes while everybody's past matters is told when the
//! first place gets free. So a million invented names cost no more memory than the bound.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::ewma::Millis;
use crate::limits::{Charge, Exceeded, Left, Limits, Meter, Unit, both};
use crate::quota::{Quota, Used};

/// A user: a hash of the name, made where names are, which nobody outside can foresee.
pub type User = u64;

/// What each user may use; nothing is limited by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Rates.
    pub rates: Limits,
    /// Requests in each window.
    pub request_quota: Option<Quota>,
    /// Tokens in each window.
    pub token_quota: Option<Quota>,
}

/// What one user has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    meter: Meter,
    requests: Used,
    tokens: Used,
}

/// Why a user may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdrawn {
    /// Beyond a rate.
    Rate(Exceeded),
    /// Beyond a quota.
    Quota(Exceeded),
    /// There are as many users as can be kept, and another may come at this time.
    TooManyUsers(Millis),
}

/// What a user may still use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Requests that the rate lets pass at once.
    pub requests: Option<Left>,
    /// Tokens that the rate lets pass at once.
    pub tokens: Option<Left>,
    /// Requests of the quota's window.
    pub quota_requests: Option<Left>,
    /// Tokens of the quota's window.
    pub quota_tokens: Option<Left>,
}

/// The accounts of at most so many users. All operations take O(log n).
#[derive(Clone, Debug)]
pub struct Users {
    limits: UserLimits,
    capacity: usize,
    accounts: FxHashMap<User, (Account, Millis)>,
    /// The users by the time from which their past does not matter.
    by_end: BTreeSet<(Millis, User)>,
}

impl UserLimits {
    fn charge(&self, account: Account, charge: Charge, now: Millis) -> Result<Account, Overdrawn> {
        let quota = |quota: Option<Quota>, used, cost, unit| {
            quota
                .map_or(Ok(used), |quota: Quota| quota.charge(used, cost, now))
                .map_err(|excess| Exceeded { unit, excess })
        };
        let (requests_used, tokens_used) = both(
            quota(self.request_quota, account.requests, charge.requests, Unit::Requests),
            quota(self.token_quota, account.tokens, charge.tokens, Unit::Tokens),
        )
        .map_err(Overdrawn::Quota)?;
        let meter = self.rates.charge(account.meter, charge, now).map_err(Overdrawn::Rate)?;
        Ok(Account { meter, requests: requests_used, tokens: tokens_used })
    }

    fn clear_at(&self, account: &Account) -> Millis {
        let end = |quota: Option<Quota>, used| quota.map_or(0, |quota: Quota| quota.clear_at(used));
        let quotas = end(self.request_quota, account.requests).max(end(self.token_quota, account.tokens));
        quotas.max(self.rates.clear_at(account.meter))
    }
}

impl Users {
    /// No user known; `capacity` users at most.
    #[must_use]
    pub fn new(limits: UserLimits, capacity: usize) -> Self {
        Self { limits, capacity, accounts: FxHashMap::default(), by_end: BTreeSet::new() }
    }

    /// Other limits, for another number of users. What has been used counts under them; where there are more
    /// users than places, those whose past matters longest are kept. Takes time in proportion to the users.
    pub fn set_limits(&mut self, limits: UserLimits, capacity: usize, now: Millis) {
        let old = std::mem::replace(self, Self::new(limits, capacity));
        let adopt = |new: Option<Quota>, used, from: Option<Quota>| match (new, from) {
            (Some(new), Some(from)) => new.adopt(used, &from, now),
            _ => Used::default(),
        };
        for (_, user) in old.by_end.iter().rev() {
            let account = old.account(*user);
            let adopted = Account {
                meter: limits.rates.adopt(account.meter, &old.limits.rates),
                requests: adopt(limits.request_quota, account.requests, old.limits.request_quota),
                tokens: adopt(limits.token_quota, account.tokens, old.limits.token_quota),
            };
            self.keep(*user, adopted, now);
        }
    }

    /// What the user's account would be after one request more. Changes nothing: [`Self::keep`] does, when
    /// everybody else has agreed.
    ///
    /// # Errors
    /// What is overdrawn, and until when.
    pub fn charge(&self, user: User, charge: Charge, now: Millis) -> Result<Account, Overdrawn> {
        let account = self.limits.charge(self.account(user), charge, now)?;
        if self.accounts.len() >= self.capacity
            && !self.accounts.contains_key(&user)
            && self.limits.clear_at(&account) > now
        {
            match self.by_end.first() {
                Some(&(end, _)) if end > now => return Err(Overdrawn::TooManyUsers(end)),
                None => return Err(Overdrawn::TooManyUsers(Millis::MAX)),
                Some(_) => {}
            }
        }
        Ok(account)
    }

    /// Keeps an account as it is now, if it says anything and there is room.
    pub fn keep(&mut self, user: User, account: Account, now: Millis) {
        let end = self.limits.clear_at(&account);
        if let Some(kept) = self.accounts.get_mut(&user) {
            let old_end = std::mem::replace(kept, (account, end)).1;
            // A quota's window ends when it does, however often it is used.
            if old_end != end {
                self.by_end.remove(&(old_end, user));
                self.by_end.insert((end, user));
            }
            if end <= now {
                self.accounts.remove(&user);
                self.by_end.remove(&(end, user));
            }
            return;
        }
        if end <= now {
            return;
        }
        if self.accounts.len() >= self.capacity {
            match self.by_end.first() {
                Some(&(first_end, forgotten)) if first_end <= now => {
                    self.by_end.pop_first();
                    self.accounts.remove(&forgotten);
                }
                _ => return,
            }
        }
        self.accounts.insert(user, (account, end));
        self.by_end.insert((end, user));
    }

    /// Takes note that a request charged as `charged` tokens at `charged_at` cost `real`.
    pub fn correct(&mut self, user: User, charged: u64, real: u64, charged_at: Millis, now: Millis) {
        if charged != real {
            let account = self.account(user);
            let meter = self.limits.rates.correct(account.meter, charged, real, now);
            let account = Account { meter, ..self.retold(&account, (0, 0), (charged, real), charged_at) };
            self.keep(user, account, now);
        }
    }

    /// Takes back a request charged so at `charged_at` that did not happen.
    pub fn undo(&mut self, user: User, charged: Charge, charged_at: Millis, now: Millis) {
        let account = self.account(user);
        let meter = self.limits.rates.undo(account.meter, charged, now);
        let account = Account {
            meter,
            ..self.retold(&account, (charged.requests, 0), (charged.tokens, 0), charged_at)
        };
        self.keep(user, account, now);
    }

    /// The account with other numbers in its quotas: (charged, real) of requests and of tokens.
    fn retold(&self, account: &Account, requests: (u64, u64), tokens: (u64, u64), at: Millis) -> Account {
        let correct = |quota: Option<Quota>, used, (charged, real)| {
            quota.map_or(used, |quota: Quota| quota.correct(used, charged, real, at))
        };
        Account {
            requests: correct(self.limits.request_quota, account.requests, requests),
            tokens: correct(self.limits.token_quota, account.tokens, tokens),
            ..*account
        }
    }

    /// What the user may still use at `now`. Changes nothing.
    #[must_use]
    pub fn standing(&self, user: User, now: Millis) -> Standing {
        let account = self.account(user);
        let left = |quota: Option<Quota>, used| {
            quota.map(|quota| Left {
                limit: quota.limit(),
                remaining: quota.remaining(used, now),
                reset_at: quota.reset_at(used, now),
            })
        };
        let (requests, tokens) = self.limits.rates.left(account.meter, now);
        Standing {
            requests,
            tokens,
            quota_requests: left(self.limits.request_quota, account.requests),
            quota_tokens: left(self.limits.token_quota, account.tokens),
        }
    }

    /// How many users are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether nobody's past matters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    fn account(&self, user: User) -> Account {
        self.accounts.get(&user).map_or_else(Account::default, |(account, _)| *account)
    }
}

#[cfg(test)]
mod tests {
    use super::{Overdrawn, Standing, UserLimits, Users};
    use crate::limits::{Charge, Exceeded, Left, Limits, Unit};
    use crate::quota::Quota;
    use crate::rate::{Excess, Rate};
    use std::num::{NonZeroU32, NonZeroU64};

    fn limits() -> UserLimits {
        let day = NonZeroU64::new(10_000).unwrap();
        let second = NonZeroU32::new(1_000).unwrap();
        let two = Rate::new(NonZeroU32::new(1).unwrap(), second, NonZeroU64::new(2).unwrap());
        UserLimits {
            rates: Limits { requests: Some(two), tokens: None },
            request_quota: None,
            token_quota: Some(Quota::new(100, day, 0)),
        }
    }

    fn use_once(users: &mut Users, user: u64, tokens: u64, now: u64) -> Result<(), Overdrawn> {
        let account = users.charge(user, Charge::of(tokens), now)?;
        users.keep(user, account, now);
        Ok(())
    }

    #[test]
    fn each_user_has_an_account_that_shows_what_is_left() {
        let mut users = Users::new(limits(), 10);
        use_once(&mut users, 1, 60, 0).unwrap();
        let requests = Some(Left { limit: 2, remaining: 1, reset_at: 1_000 });
        let quota_tokens = Some(Left { limit: 100, remaining: 40, reset_at: 10_000 });
        let seen = Standing { requests, quota_tokens, ..Standing::default() };
        assert_eq!(users.standing(1, 0), seen);
        let why = use_once(&mut users, 1, 41, 0).unwrap_err();
        assert_eq!(why, Overdrawn::Quota(Exceeded { unit: Unit::Tokens, excess: Excess::Until(10_000) }));
        use_once(&mut users, 1, 40, 0).unwrap();
        users.undo(1, Charge::of(40), 0, 0);
        users.correct(1, 60, 10, 0, 0);
        assert_eq!(users.standing(1, 0).quota_tokens.unwrap().remaining, 90);
        assert_eq!(users.standing(2, 0).quota_tokens.unwrap().remaining, 100);
        use_once(&mut users, 1, 0, 0).unwrap();
        let why = use_once(&mut users, 1, 0, 0).unwrap_err();
        assert_eq!(why, Overdrawn::Rate(Exceeded { unit: Unit::Requests, excess: Excess::Until(1_000) }));
    }

    #[test]
    fn other_limits_count_what_was_used() {
        let mut users = Users::new(limits(), 10);
        for user in 1..=3 {
            use_once(&mut users, user, user * 10, 0).unwrap();
        }
        let day = NonZeroU64::new(20_000).unwrap();
        let longer = UserLimits { token_quota: Some(Quota::new(500, day, 0)), ..limits() };
        users.set_limits(longer, 2, 10);
        assert_eq!(users.len(), 2);
        let left = Some(Left { limit: 500, remaining: 470, reset_at: 20_000 });
        assert_eq!(users.standing(3, 10).quota_tokens, left);
        assert_eq!(users.standing(3, 10).requests.unwrap().remaining, 1);
    }

    #[test]
    fn only_users_whose_past_matters_take_a_place() {
        let mut users = Users::new(limits(), 2);
        use_once(&mut users, 1, 0, 0).unwrap();
        use_once(&mut users, 2, 5, 0).unwrap();
        assert_eq!(use_once(&mut users, 3, 1, 999), Err(Overdrawn::TooManyUsers(1_000)));
        assert!(use_once(&mut users, 2, 1, 999).is_ok(), "who has a place may go on");
        use_once(&mut users, 3, 1, 1_000).unwrap();
        assert_eq!(users.len(), 2);
        assert_eq!(users.standing(2, 1_000).quota_tokens.unwrap().remaining, 94, "the other was forgotten");
        for user in 10..1_000_000 {
            assert!(use_once(&mut users, user, 1, 1_001).is_err());
        }
        assert_eq!(users.len(), 2);
        assert!(
            Users::new(UserLimits::default(), 0).charge(1, Charge::of(1), 0).is_ok(),
            "no limit, no account"
        );
    }
}
