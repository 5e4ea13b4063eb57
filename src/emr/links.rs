//! Whose something is that requests name in a patient's place: learnt from the EMR's own answers, never from a request.
//!
//! *Owns*: the links of all EMR sessions, in memory only: after a restart a chart has to be opened again.
//! *Never*: a link that outlives its EMR session's user, or that another session learnt. What one user was shown says
//! nothing to another.
//! *On failure*: the patient is unknown, and what needs one is refused.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::bindings::CookieKey;
use crate::request::facts::{PatientRef, PatientSource};
use crate::store::digest_of;

/// Links that are kept at once; beyond that, the longest unused are forgotten.
const MOST_LINKS: u64 = 250_000;
/// No link is relied on for longer than this after it was learnt: charts are merged and moved.
const LIFETIME: Duration = Duration::from_hours(12);

/// The fingerprint of an EMR session, a link's name and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LinkKey([u8; 32]);

impl LinkKey {
    fn of(session: &CookieKey, link: &str, number: &str) -> Self {
        Self(digest_of(
            [session.as_str(), link, number].map(str::as_bytes),
        ))
    }
}

/// What was learnt.
#[derive(Debug)]
pub(super) struct Links {
    known: Cache<LinkKey, Arc<PatientRef>>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(MOST_LINKS)
                .time_to_live(LIFETIME)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }
}

impl Links {
    /// An answer in this EMR session said that `number` is the patient's. The newest answer is the one that counts.
    pub(super) fn learn(
        &self,
        session: &CookieKey,
        link: &str,
        number: &str,
        patient: &Arc<PatientRef>,
    ) {
        let key = LinkKey::of(session, link, number);
        self.known.insert(key, Arc::clone(patient));
    }

    /// Whose `number` is, as far as this EMR session was told.
    pub(super) fn find(&self, session: &CookieKey, link: &str, number: &str) -> Option<PatientRef> {
        let patient = self.known.get(&LinkKey::of(session, link, number))?;
        Some(PatientRef {
            source: PatientSource::Linked,
            ..PatientRef::clone(&patient)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(id: &str) -> Arc<PatientRef> {
        Arc::new(PatientRef {
            system: "urn:x".into(),
            id: id.into(),
            source: PatientSource::Request,
        })
    }

    #[test]
    fn a_link_is_known_by_its_name_in_its_session_and_the_newest_counts() {
        let links = Links::default();
        let one = CookieKey::of("emr", "sid", b"one");
        let other = CookieKey::of("emr", "sid", b"other");
        let find = |session, link, number| links.find(session, link, number).map(|p| p.id);
        links.learn(&one, "episode", "5", &patient("3"));
        assert_eq!(find(&one, "episode", "5").as_deref(), Some("3"));
        assert_eq!(find(&one, "episode", "6"), None);
        assert_eq!(find(&one, "diagnosis", "5"), None);
        assert_eq!(find(&one, "episode5", ""), None, "no split is another's");
        assert_eq!(find(&other, "episode", "5"), None);
        links.learn(&one, "episode", "5", &patient("4"));
        assert_eq!(find(&one, "episode", "5").as_deref(), Some("4"));
        let linked = links.find(&one, "episode", "5").unwrap();
        assert_eq!(linked.source, PatientSource::Linked);
    }
}
