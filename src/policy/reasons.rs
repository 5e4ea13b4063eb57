//! The reasons that users stated for what a permit with `@reason` opens.
//!
//! *Owns*: what was stated, in memory: after a restart it is stated again. A session's reasons end with it, because no
//! other session asks for them.
//! *Never*: a reason of another user, session, EMR, patient, section or action; more than `MOST` of them.
//! *On failure*: what was forgotten is asked for again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

use crate::request::{Action, Demand, Enquiry, PatientRef};

/// Most reasons that are remembered.
const MOST: u64 = 100_000;

/// What a reason was stated for: exactly this, and nothing beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    user: String,
    session: String,
    emr: String,
    patient: Option<(String, String)>,
    section: String,
    action: Action,
}

impl Subject {
    /// `action` on `section` of one patient, or where none is concerned, by `user` in `session` at `emr`.
    #[must_use]
    pub fn new(
        (user, session): (&str, &str),
        emr: &str,
        (action, section): (Action, &str),
        patient: Option<&PatientRef>,
    ) -> Self {
        Self {
            user: user.to_owned(),
            session: session.to_owned(),
            emr: emr.to_owned(),
            patient: patient.map(|patient| (patient.system.clone(), patient.id.clone())),
            section: section.to_owned(),
            action,
        }
    }

    /// Everything that an enquiry is about.
    #[must_use]
    pub fn all_of(enquiry: &Enquiry) -> Vec<Self> {
        let of = |patient: Option<&PatientRef>| {
            Self::new(
                (&enquiry.user, &enquiry.session),
                &enquiry.emr,
                (enquiry.action, &enquiry.section),
                patient,
            )
        };
        if enquiry.patients.is_empty() {
            vec![of(None)]
        } else {
            enquiry.patients.iter().map(|one| of(Some(one))).collect()
        }
    }
}

/// A reason that was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Its id on the trail.
    pub id: Arc<str>,
    /// What for: a code of HL7 v3 `PurposeOfUse`.
    pub code: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl Stated {
    /// Until when it holds where it holds for `holds`; nothing where that is over at `now`.
    #[must_use]
    pub fn holds_until(&self, holds: Duration, now: Timestamp) -> Option<Timestamp> {
        // A clock that was set back must not make a reason hold for longer.
        let until = self.at.min(now).checked_add(holds).ok()?;
        (now < until).then_some(until)
    }
}

/// What users stated.
#[derive(Debug)]
pub struct Reasons(Cache<Subject, Stated>);

impl Default for Reasons {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(MOST)
            .time_to_live(Demand::LONGEST)
            .build();
        Self(cache)
    }
}

impl Reasons {
    /// Puts a reason in force. It MUST be on record.
    pub fn state(&self, enquiry: &Enquiry, stated: &Stated) {
        for subject in Subject::all_of(enquiry) {
            self.0.insert(subject, stated.clone());
        }
    }

    /// What was stated for `subject`.
    #[must_use]
    pub fn stated(&self, subject: &Subject) -> Option<Stated> {
        self.0.get(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::patient;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_reason_holds_for_its_time_and_for_what_it_was_stated_for() {
        let reasons = Reasons::default();
        let enquiry = Enquiry {
            user: "main|7".to_owned(),
            session: "a".to_owned(),
            authority: "emr.example".to_owned(),
            emr: "main".to_owned(),
            route: "notes".to_owned(),
            action: Action::Read,
            section: "notes".to_owned(),
            sensitivity: "N".to_owned(),
            patients: vec![patient("1"), patient("2")],
            policies: Vec::new(),
            holds: 900,
            return_to: "/".to_owned(),
            at: at("2026-11-22T10:00:00Z"),
        };
        let stated = Stated {
            id: "rs-1".into(),
            code: "TREAT".into(),
            at: enquiry.at,
        };
        reasons.state(&enquiry, &stated);
        let (one, three) = (patient("1"), patient("3"));
        let subject = |who, emr, what, patient| Subject::new(who, emr, what, patient);
        let (who, what) = (("main|7", "a"), (Action::Read, "notes"));
        assert_eq!(
            reasons.stated(&subject(who, "main", what, Some(&one))),
            Some(stated.clone())
        );
        for other in [
            subject(("main|8", "a"), "main", what, Some(&one)),
            subject(("main|7", "b"), "main", what, Some(&one)),
            subject(who, "other", what, Some(&one)),
            subject(who, "main", (Action::Search, "notes"), Some(&one)),
            subject(who, "main", (Action::Read, "orders"), Some(&one)),
            subject(who, "main", what, Some(&three)),
            subject(who, "main", what, None),
        ] {
            assert_eq!(reasons.stated(&other), None, "{other:?}");
        }
        let quarter = Duration::from_mins(15);
        let until = at("2026-11-22T10:15:00Z");
        assert_eq!(
            stated.holds_until(quarter, at("2026-11-22T10:14:59Z")),
            Some(until)
        );
        assert_eq!(stated.holds_until(quarter, until), None);
    }
}
