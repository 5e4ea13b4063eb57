//! The sixth stage: what the user, and the kind of action, may still do in this time.
//!
//! *Owns*: the limiters keyed by user.
//! *On failure*: 429 with the time to wait.

use std::collections::BTreeMap;

use super::keyed::Keyed;
use crate::config::Limits;
use crate::policy::decide::Authorized;
use crate::refusal::Refusal;
use crate::request::received::Throttle;
use crate::request::{Received, Refused};

/// A permitted request within every limit.
#[derive(Debug)]
#[must_use]
pub struct Limited {
    authorized: Authorized,
}

impl Limited {
    /// The permitted request.
    #[must_use]
    pub const fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// The request.
    #[must_use]
    pub const fn received(&self) -> &Received {
        self.authorized.received()
    }

    /// The request, for the next stage to take its body.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.authorized.received_mut()
    }

    /// The request is sent now.
    pub fn begin(&mut self) {
        self.authorized.begin();
    }

    /// The permitted request itself.
    pub fn into_authorized(self) -> Authorized {
        self.authorized
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.authorized.refuse(refusal)
    }

    /// A limited request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(authorized: Authorized) -> Self {
        Self { authorized }
    }
}

/// The limits per user.
#[derive(Debug)]
pub struct Charges {
    user: Keyed<String>,
    actions: BTreeMap<String, Keyed<String>>,
    login: Keyed<String>,
}

impl Charges {
    /// Charges by `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let action = |(name, rate): (&String, &_)| {
            (name.clone(), Keyed::new("action", *rate, limits.max_keys))
        };
        Self {
            user: Keyed::new("user", limits.user, limits.max_keys),
            actions: limits.actions.iter().map(action).collect(),
            login: Keyed::new("account", limits.login_account, limits.max_keys),
        }
    }

    /// Charges a permitted request to its user.
    ///
    /// # Errors
    /// [`Refused`] when the user, or the kind of action, is over its limit.
    pub fn charge(&self, authorized: Authorized) -> Result<Limited, Refused> {
        let mapped = authorized.mapped();
        let user = mapped.identified().principal().id();
        let action = mapped.mapping().action.name();
        let verdict = self
            .user
            .check(&user)
            .map_err(|throttle| (Refusal::UserRate, throttle))
            .and_then(|()| match self.actions.get(action) {
                Some(limit) => limit
                    .check(&user)
                    .map_err(|throttle| (Refusal::RouteRate, throttle)),
                None => Ok(()),
            });
        match verdict {
            Ok(()) => Ok(Limited { authorized }),
            Err((refusal, throttle)) => Err(authorized.refuse(refusal).throttled(throttle)),
        }
    }

    /// Counts a finished sign-in of an account.
    ///
    /// # Errors
    /// [`Throttle`] when the account signs in too often.
    pub fn login(&self, account: &str) -> Result<(), Throttle> {
        self.login.check(&account.to_owned())
    }

    /// Forgets users that are back at their full burst.
    pub fn sweep(&self) {
        self.user.sweep();
        self.login.sweep();
        self.actions.values().for_each(Keyed::sweep);
    }
}
