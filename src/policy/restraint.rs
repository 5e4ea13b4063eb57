//! What obligations ask of one request beyond its sign-in: that it only looks, and that a reason was stated.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;

use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{PatientRef, Principal};

/// Whether a request can do more than look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    /// It asks for something.
    Looks,
    /// It sends something, or opens a channel on which anything can be sent.
    Sends,
}

impl Conduct {
    /// SECURITY: by the method, whatever the profile says of the route: a form that the profile takes for a search may
    /// change something all the same. What is sent in a WebSocket is not seen here at all.
    pub(super) fn of(parts: &Parts) -> Self {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
        if safe && parts.upgrade_to.is_none() {
            Self::Looks
        } else {
            Self::Sends
        }
    }
}

/// How the reason stands that a permit obliges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// None is obliged.
    NotAsked,
    /// It was stated for every patient.
    Stated {
        /// The reasons on the trail, each once.
        ids: Vec<Arc<str>>,
        /// What for, each purpose once.
        codes: Vec<Arc<str>>,
        /// Until when the first of them holds.
        until: Timestamp,
    },
    /// It was not stated, or that is too long ago.
    Missing,
}

/// A reason that was stated for one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    /// Its id on the trail, or that of the break-glass grant that stands for it.
    pub(super) id: Arc<str>,
    /// What for; a grant states no purpose of its own.
    pub(super) code: Option<Arc<str>>,
    /// Until when it holds.
    pub(super) until: Timestamp,
}

impl Reason {
    /// Looks it up for each of `patients`, or once where there is none.
    pub(super) fn for_all(
        patients: &[PatientRef],
        mut stated: impl FnMut(Option<&PatientRef>) -> Option<Ground>,
    ) -> Self {
        let nobody = patients.is_empty().then_some(None);
        let (mut ids, mut codes) = (Vec::new(), Vec::new());
        let mut until = Timestamp::MAX;
        for patient in patients.iter().map(Some).chain(nobody) {
            let Some(ground) = stated(patient) else {
                return Self::Missing;
            };
            until = until.min(ground.until);
            if !ids.contains(&ground.id) {
                ids.push(ground.id);
            }
            codes.extend(ground.code.filter(|code| !codes.contains(code)));
        }
        Self::Stated { ids, codes, until }
    }

    /// What it refuses to `principal`. A program has no form to state it on.
    pub(super) const fn refusal(&self, principal: &Principal) -> Option<Refusal> {
        match (self, principal) {
            (Self::NotAsked | Self::Stated { .. }, _) => None,
            (Self::Missing, Principal::User(_)) => Some(Refusal::ReasonRequired),
            (Self::Missing, Principal::Service(_)) => Some(Refusal::ObligationUnmet),
        }
    }

    /// Until when it holds.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Stated { until, .. } => Some(*until),
            Self::NotAsked | Self::Missing => None,
        }
    }

    /// What the record names: the reasons, and the purposes that they state.
    pub(super) fn into_recorded(self) -> (Vec<String>, Vec<String>) {
        let texts = |list: Vec<Arc<str>>| list.iter().map(ToString::to_string).collect();
        match self {
            Self::Stated { ids, codes, .. } => (texts(ids), texts(codes)),
            Self::NotAsked | Self::Missing => (Vec::new(), Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::patient;

    #[test]
    fn a_reason_is_there_for_every_patient_or_not_at_all() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let ground = |id: &str, code: Option<&str>, second| Ground {
            id: Arc::from(id),
            code: code.map(Arc::from),
            until: at(second),
        };
        let stated = |patient: Option<&PatientRef>| match patient.map(|one| one.id.as_str()) {
            Some("1") | None => Some(ground("rs-1", Some("HLEGAL"), 10)),
            Some("2") => Some(ground("rs-2", Some("HLEGAL"), 5)),
            Some("4") => Some(ground("bg-1", None, 20)),
            Some(_) => None,
        };
        let of = |ids: &[&str]| {
            let patients: Vec<_> = ids.iter().map(|id| patient(id)).collect();
            Reason::for_all(&patients, stated)
        };
        assert_eq!(of(&[]).until(), Some(at(10)));
        assert_eq!(of(&["1", "2", "1"]).until(), Some(at(5)));
        let (ids, codes) = of(&["1", "2", "1", "4"]).into_recorded();
        assert_eq!(ids, ["rs-1", "rs-2", "bg-1"]);
        assert_eq!(codes, ["HLEGAL"], "each purpose once; a grant states none");
        assert_eq!(of(&["1", "3"]), Reason::Missing);
        assert_eq!(of(&["3"]).into_recorded(), (vec![], vec![]));
    }
}
