//! The sixth stage: what the user, and the kind of action, may still do in this time.
//!
//! *Owns*: the limiters keyed by user, and by user and permit.
//! *On failure*: 429 with the time to wait.

use std::collections::BTreeMap;

use super::allowances::Allowances;
use super::keyed::Keyed;
use crate::config::Limits;
use crate::policy::decide::Authorized;
use crate::refusal::Refusal;
use crate::request::Throttle;
use crate::request::facts::Action;
use crate::request::{Received, Refused};

/// A permitted request within every limit.
#[derive(Debug)]
#[must_use]
pub struct Limited {
    authorized: Authorized,
}

impl Limited {
    /// The permitted request.
    pub const fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// The request.
    pub const fn received(&self) -> &Received {
        self.authorized.received()
    }

    /// The request, for the next stage to take its body.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.authorized.received_mut()
    }

    /// The request is sent now.
    ///
    /// # Errors
    /// What [`Mapped::begin`](crate::emr::map::Mapped::begin) refuses.
    pub async fn begin(&mut self) -> Result<(), Refusal> {
        self.authorized.begin().await
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

/// A limit names something that is no clinical action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`limits.actions.{0}` is no clinical action; `policies/README.md` lists them")]
pub struct UnknownAction(String);

/// The limits per user.
#[derive(Debug)]
pub struct Charges {
    user: Keyed<String>,
    actions: BTreeMap<Action, Keyed<String>>,
    login: Keyed<String>,
    permits: Allowances,
}

impl Charges {
    /// Charges by `limits`.
    ///
    /// # Errors
    /// [`UnknownAction`] for a limit on something that is no clinical action.
    pub fn new(limits: &Limits) -> Result<Self, UnknownAction> {
        let mut actions = BTreeMap::new();
        for (name, rate) in &limits.actions {
            let action = Action::ALL.iter().find(|action| action.name() == name);
            let action = action.ok_or_else(|| UnknownAction(name.clone()))?;
            actions.insert(*action, Keyed::new("action", *rate, limits.max_keys));
        }
        Ok(Self {
            user: Keyed::new("user", limits.user, limits.max_keys),
            actions,
            login: Keyed::new("account", limits.login_account, limits.max_keys),
            permits: Allowances::new(limits.max_keys),
        })
    }

    /// Charges a permitted request to its user.
    ///
    /// # Errors
    /// [`Refused`] when the user, the kind of action, or the user under a permit, is over its limit.
    pub fn charge(&self, authorized: Authorized) -> Result<Limited, Refused> {
        let mapped = authorized.mapped();
        let user = mapped.identified().principal().id();
        let action = mapped.mapping().action;
        let verdict = self
            .user
            .check(&user)
            .map_err(|throttle| (Refusal::UserRate, throttle))
            .and_then(|()| match self.actions.get(&action) {
                Some(limit) => limit
                    .check(&user)
                    .map_err(|throttle| (Refusal::RouteRate, throttle)),
                None => Ok(()),
            })
            // Last, so that what another limit refuses does not use up what a permit allows.
            .and_then(|()| {
                let limits = authorized.obligations().limits();
                let charged = self.permits.charge(&user, limits);
                charged.map_err(|throttle| (Refusal::PermitRate, throttle))
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
        self.permits.sweep();
        self.actions.values().for_each(Keyed::sweep);
    }
}
