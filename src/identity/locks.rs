//! Who is locked out, as sign-in and every request ask it.
//!
//! The durable truth is the room above that locks (`operate`), which states the whole list here whenever it changes.
//! *Never*: half a list; a wait on the path of a request.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::Identity;
use crate::refusal::Refusal;
use crate::request::principal::{Service, User};

/// Users who are locked out, by stable id or by name, and until when; nothing is until further notice.
pub type LockedOut = BTreeMap<String, Option<Timestamp>>;

/// The list in force.
#[derive(Debug, Default)]
pub(super) struct Locks(ArcSwap<LockedOut>);

impl Locks {
    /// Whether `user` is locked out at `now`.
    pub(super) fn holds(&self, user: &User, now: Timestamp) -> bool {
        self.holds_either(|| user.id(), &user.name, now)
    }

    /// Whether a client is locked out at `now`: a rule may lock whatever acts.
    pub(super) fn holds_client(&self, client: &Service, now: Timestamp) -> bool {
        self.holds_either(|| client.id(), &client.client, now)
    }

    fn holds_either(&self, id: impl FnOnce() -> String, name: &str, now: Timestamp) -> bool {
        let locked = self.0.load();
        if locked.is_empty() {
            return false;
        }
        let until = |name: &str| locked.get(name);
        [until(&id()), until(name)]
            .into_iter()
            .flatten()
            .any(|until| until.is_none_or(|until| now < until))
    }
}

impl Identity {
    /// Why `user` is not let in, whatever they prove: the account is locked, or not active. Asked at every request, and
    /// before anything is opened in their name.
    pub(super) fn kept_out(&self, user: &User) -> Option<Refusal> {
        if self.locks.holds(user, self.clock().now()) {
            Some(Refusal::UserLocked)
        } else if self.inactive.holds(user) {
            Some(Refusal::UserDeactivated)
        } else {
            None
        }
    }

    /// Why `client` is not let in, whatever it proves: it is locked, or acts for somebody who is not active.
    pub(super) fn client_kept_out(&self, client: &Service) -> Option<Refusal> {
        if self.locks.holds_client(client, self.clock().now()) {
            Some(Refusal::UserLocked)
        } else if self.inactive.holds_behind(client) {
            Some(Refusal::UserDeactivated)
        } else {
            None
        }
    }

    /// Puts this list of locked users in force, whole, for every following request and sign-in.
    pub fn lock_out(&self, locked: LockedOut) {
        self.locks.0.store(std::sync::Arc::new(locked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::principal::Proof;

    #[test]
    fn a_lock_holds_by_id_or_name_until_its_end() {
        let user = User {
            issuer: "main".to_owned(),
            subject: "7".to_owned(),
            name: "nurse.lee".to_owned(),
            roles: std::collections::BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        };
        let now: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
        let later = now
            .checked_add(jiff::SignedDuration::from_hours(1))
            .unwrap();
        let locks = Locks::default();
        assert!(!locks.holds(&user, now));
        for (name, until, held) in [
            ("main|7", None, true),
            ("nurse.lee", None, true),
            ("nurse.lee", Some(later), true),
            ("nurse.lee", Some(now), false),
            ("main|8", None, false),
            ("nurse.le", None, false),
        ] {
            let locked = LockedOut::from([(name.to_owned(), until)]);
            locks.0.store(std::sync::Arc::new(locked));
            assert_eq!(locks.holds(&user, now), held, "{name} {until:?}");
        }
    }
}
