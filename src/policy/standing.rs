//! What is in force beside the bundle and changes while the gateway runs: lockdown, broken glass, training.
//!
//! The rooms above (`operate`, `training`) keep the durable truth in the store and state here what follows from it;
//! a decision reads one whole snapshot.
//!
//! *Never*: half a change. A standing is swapped as a whole, under a new generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::question::{Grant, Training};
use crate::request::Principal;

/// A course that is due within this is announced.
const DUE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A course that is due within this is urgent.
const URGENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whom a lockdown concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everyone.
    All,
    /// Requests to one EMR, by its name in the configuration.
    Emr(String),
    /// Everyone with a role.
    Role(String),
    /// One user, by id or display name.
    User(String),
}

impl Scope {
    /// Whether it concerns a request of `principal` to `emr`.
    #[must_use]
    pub fn concerns(&self, principal: &Principal, emr: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Emr(name) => emr == Some(name.as_str()),
            Self::Role(role) => principal.roles().iter().any(|held| held.as_str() == role),
            Self::User(user) => principal.id() == *user || principal.display() == user,
        }
    }
}

/// When the first course of each user is due, by user id. Who is not listed has none, or was never seen: their time
/// begins when they are.
pub type Dues = BTreeMap<String, Timestamp>;

/// What is in force beside the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Lockdown levels (1 to 4) by scope; the highest that concerns a request counts.
    pub lockdowns: BTreeMap<Scope, u8>,
    /// Open break-glass grants by user id.
    pub grants: BTreeMap<String, Arc<[Grant]>>,
    /// Courses. Shared: the standing is copied whenever anything in it changes.
    pub dues: Arc<Dues>,
}

impl Standing {
    /// The lockdown level for a request of `principal` to `emr`.
    #[must_use]
    pub fn lockdown(&self, principal: &Principal, emr: Option<&str>) -> u8 {
        self.lockdowns
            .iter()
            .filter(|(scope, _)| scope.concerns(principal, emr))
            .map(|(_, level)| *level)
            .max()
            .unwrap_or_default()
    }

    /// The open grants of a user.
    #[must_use]
    pub fn grants_of(&self, user: &str) -> Arc<[Grant]> {
        self.grants.get(user).cloned().unwrap_or_default()
    }

    /// When the first course of a user is due; nothing where none is required.
    #[must_use]
    pub fn training_due(&self, user: &str) -> Option<Timestamp> {
        self.dues.get(user).copied()
    }

    /// How a user stands with training at `now`.
    #[must_use]
    pub fn training(&self, user: &str, now: Timestamp) -> Training {
        self.training_due(user)
            .map_or(Training::Unknown, |due| until(due, now))
    }
}

/// How somebody stands at `now` whose course is due at `due`.
#[must_use]
pub fn until(due: Timestamp, now: Timestamp) -> Training {
    let left = due.duration_since(now);
    if left <= SignedDuration::ZERO {
        Training::Lapsed
    } else if left <= URGENT {
        Training::Urgent
    } else if left <= DUE {
        Training::Due
    } else {
        Training::Current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::roles;
    use crate::request::principal::{Proof, User};

    fn nurse() -> Principal {
        Principal::User(User {
            issuer: "main".to_owned(),
            subject: "7".to_owned(),
            name: "nurse.lee".to_owned(),
            roles: roles(&["nurse"]),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        })
    }

    #[test]
    fn the_highest_lockdown_that_concerns_a_request_counts() {
        let mut standing = Standing::default();
        let level = |standing: &Standing, emr| standing.lockdown(&nurse(), Some(emr));
        assert_eq!(level(&standing, "main"), 0);
        standing.lockdowns.insert(Scope::Role("billing".into()), 4);
        standing.lockdowns.insert(Scope::User("dr.adams".into()), 4);
        assert_eq!(level(&standing, "main"), 0);
        standing.lockdowns.insert(Scope::Emr("archive".into()), 3);
        assert_eq!(
            (level(&standing, "main"), level(&standing, "archive")),
            (0, 3)
        );
        standing.lockdowns.insert(Scope::All, 1);
        standing.lockdowns.insert(Scope::Role("nurse".into()), 2);
        assert_eq!(
            (level(&standing, "main"), level(&standing, "archive")),
            (2, 3)
        );
        standing
            .lockdowns
            .insert(Scope::User("nurse.lee".into()), 4);
        assert_eq!(level(&standing, "main"), 4);
    }

    #[test]
    fn training_runs_out_in_steps() {
        let day = SignedDuration::from_hours(24);
        let due: Timestamp = "2026-12-31T00:00:00Z".parse().unwrap();
        let standing = Standing {
            dues: Arc::new(BTreeMap::from([("main|7".to_owned(), due)])),
            ..Standing::default()
        };
        let at = |days: i32| standing.training("main|7", due.checked_sub(day * days).unwrap());
        assert_eq!(at(31), Training::Current);
        assert_eq!(at(30), Training::Due);
        assert_eq!(at(7), Training::Urgent);
        assert_eq!(at(0), Training::Lapsed);
        assert_eq!(standing.training("main|8", due), Training::Unknown);
        assert_eq!(standing.training_due("main|8"), None);
    }
}
