//! Who does not work here any more, as sign-in and every request ask it.
//!
//! The durable truth is the room above that hears it (`provision`), which states the whole list whenever it changes.
//! *Never*: half a list; a wait on the path of a request; someone let in by another spelling of their name.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Identity;
use crate::request::principal::{Service, User};

/// Users of one issuer who are not active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deactivated {
    issuer: String,
    names: BTreeSet<String>,
    subjects: BTreeSet<String>,
}

impl Deactivated {
    /// Nobody of `issuer`.
    #[must_use]
    pub fn of(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            ..Self::default()
        }
    }

    /// Whoever has this name, in any case of letters.
    pub fn add_name(&mut self, name: &str) {
        self.names.insert(name.to_lowercase());
    }

    /// Whoever has this `sub`.
    pub fn add_subject(&mut self, subject: &str) {
        self.subjects.insert(subject.to_owned());
    }

    /// Whether the list has this name.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        !self.names.is_empty() && self.names.contains(&name.to_lowercase())
    }

    /// Whether the list has this `sub`.
    #[must_use]
    pub fn has_subject(&self, subject: &str) -> bool {
        self.subjects.contains(subject)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len().saturating_add(self.subjects.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.subjects.is_empty()
    }

    fn holds(&self, user: &User) -> bool {
        !self.is_empty()
            && user.issuer == self.issuer
            && (self.has_subject(&user.subject) || self.has_name(&user.name))
    }

    /// Whether a program acts for somebody on the list. An API has no issuer of people, so that of the list is not asked.
    fn holds_behind(&self, client: &Service) -> bool {
        let subject = client.subject.as_deref();
        subject.is_some_and(|subject| self.has_subject(subject) || self.has_name(subject))
    }
}

/// The list in force.
#[derive(Debug, Default)]
pub(super) struct Inactive(ArcSwap<Deactivated>);

impl Inactive {
    pub(super) fn holds(&self, user: &User) -> bool {
        self.0.load().holds(user)
    }

    pub(super) fn holds_behind(&self, client: &Service) -> bool {
        self.0.load().holds_behind(client)
    }
}

impl Identity {
    /// Puts this list of deactivated users in force, whole, for every following request and sign-in.
    pub fn deactivate(&self, list: Deactivated) {
        self.inactive.0.store(Arc::new(list));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::principal::Proof;

    #[test]
    fn it_holds_by_subject_and_by_name_in_any_case_of_letters_for_its_issuer() {
        let user = |issuer: &str, subject: &str, name: &str| User {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            name: name.to_owned(),
            roles: BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                phishing_resistant: false,
                auth_time: None,
            },
            department: None,
        };
        let mut list = Deactivated::of("staff");
        assert!(list.is_empty() && !list.holds(&user("staff", "1", "Nurse.Lee")));
        list.add_name("nurse.LEE");
        list.add_subject("7");
        for (issuer, subject, name, held) in [
            ("staff", "1", "Nurse.Lee", true),
            ("staff", "7", "other", true),
            ("staff", "nurse.lee", "x", false),
            ("staff", "1", "7", false),
            ("staff", "1", "nurse.le", false),
            ("vendor", "7", "nurse.lee", false),
        ] {
            assert_eq!(
                list.holds(&user(issuer, subject, name)),
                held,
                "{issuer} {name}"
            );
        }
        assert_eq!(list.len(), 2);
    }
}
