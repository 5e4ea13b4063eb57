//! Records for receivers that do not have to know patients (GDPR Art. 5(1)(c)): identifiers left out, or pseudonyms in their
//! place that only the hospital can relate to anybody.
//!
//! A pseudonym is HMAC-SHA-256 (RFC 2104) of the identifier under a key that the hospital holds, cut to 128 bits: the same
//! patient has the same one in every record, and without the key no identifier can be tried.
//!
//! *Never*: a patient's identifier, or anything in which one may stand: paths, request fields, stated reasons, filters, what a
//! disclosure says. Particulars of events go by a list of those that say nothing of patients (`KEPT`); a new one does not
//! leave before it is listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::entry::Entry;
use super::named::BETWEEN;
use super::outcome::Outcome;
use super::query::join::Joined;
use crate::config::sink::Patients;
use crate::request::facts::Mapping;
use crate::request::{Event, Facts, PatientRef};

/// What the key is used for: no other use of it makes the same values.
const LABEL: &[u8] = b"chartgate.pseudonym.1\0";
/// Bytes of a pseudonym.
const BYTES: usize = 16;
/// What the numbering system of a pseudonym ends with: it is no identifier of that system.
const FRAGMENT: &str = "#pseudonym";
/// Paths of the gateway's own; what follows the next part may name somebody.
const OWN: &str = "/.chartgate/";

/// Particulars of events and refusals that say nothing of patients.
#[rustfmt::skip] // as many as a line holds
const KEPT: &[&str] = &[
    "account", "acr", "action", "answer", "backup", "bytes", "case", "cause", "client",
    "client_id", "code", "count", "cut_bytes", "declaration", "demand", "emr", "event", "first",
    "format", "grant", "ids", "incident", "issuer", "kept_until", "key", "lack", "last", "level",
    "lines", "lockdown", "method", "mfa", "not_kept", "operator", "outcomes_unknown", "policy",
    "records", "refusals", "refused", "response", "result", "retention_years", "role", "roles",
    "route", "rule", "section", "segments", "session", "sessions", "sha256", "since", "sink",
    "status", "step", "through", "trigger", "until", "user", "user_id", "version", "ward",
    "witness", "zone",
];

/// What becomes of patients in the records of a receiver.
#[derive(Debug)]
pub enum Minimiser {
    /// It gets the records as they are.
    Clear,
    /// Nothing of them.
    Omit,
    /// Pseudonyms.
    Pseudonym(Box<hmac::Key>),
}

impl Minimiser {
    /// As configured.
    #[must_use]
    pub fn new(patients: &Patients) -> Self {
        match patients {
            Patients::Clear => Self::Clear,
            Patients::Omit => Self::Omit,
            Patients::Pseudonym(key) => {
                let key = key.expose().as_bytes();
                Self::Pseudonym(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
            }
        }
    }

    /// A record with what became of it.
    #[must_use]
    pub fn joined(&self, mut joined: Joined) -> Joined {
        joined.entry = self.entry(joined.entry);
        if let Some(end) = &mut joined.end {
            self.outcome(&mut end.outcome);
        }
        joined
    }

    /// A record.
    #[must_use]
    pub fn entry(&self, mut entry: Entry) -> Entry {
        if matches!(self, Self::Clear) {
            return entry;
        }
        if let Some(facts) = &mut entry.facts {
            self.facts(facts);
        }
        if let Some(outcome) = &mut entry.outcome {
            self.outcome(outcome);
        }
        let patient = entry.detail.remove("patient");
        entry.detail = kept(std::mem::take(&mut entry.detail), entry.event);
        if let Some(patient) = patient.and_then(|patient| self.stated(&patient)) {
            entry.detail.insert("patient".to_owned(), patient);
        }
        entry
    }

    fn facts(&self, facts: &mut Facts) {
        let route = facts.mapping.as_ref().map(|mapping| mapping.route.as_str());
        facts.path = path(&facts.path, route);
        if let Some(mapping) = &mut facts.mapping {
            let mapping: &mut Mapping = Arc::make_mut(mapping);
            self.patients(&mut mapping.patients);
            mapping.fields.clear();
            // To whom, and what for, in the EMR's words.
            mapping.disclosure = None;
        }
        if let Some(decision) = &mut facts.decision {
            decision.errors.clear();
            for considered in &mut decision.considered {
                considered.situation.patient_ward = None;
            }
        }
    }

    fn outcome(&self, outcome: &mut Outcome) {
        self.patients(&mut outcome.patients);
        self.patients(&mut outcome.appeared);
    }

    fn patients(&self, patients: &mut Vec<PatientRef>) {
        match self {
            Self::Clear => {}
            Self::Omit => patients.clear(),
            Self::Pseudonym(key) => {
                for patient in patients {
                    patient.id = pseudonym(key, &patient.id);
                    patient.system.push_str(FRAGMENT);
                }
            }
        }
    }

    /// An event names its patient as `identifier` or `system|identifier`.
    fn stated(&self, patient: &str) -> Option<String> {
        match self {
            Self::Clear => Some(patient.to_owned()),
            Self::Omit => None,
            Self::Pseudonym(key) => Some(match patient.split_once(BETWEEN) {
                // A URI: anything else is a part of the identifier.
                Some((system, id)) if system.contains(':') => {
                    format!("{system}{FRAGMENT}{BETWEEN}{}", pseudonym(key, id))
                }
                Some(_) | None => pseudonym(key, patient),
            }),
        }
    }
}

/// The pseudonym of an identifier, whatever its system: an event may not say which.
fn pseudonym(key: &hmac::Key, id: &str) -> String {
    let tag = hmac::sign(key, &[LABEL, id.as_bytes()].concat());
    hex::encode(tag.as_ref().get(..BYTES).unwrap_or_default())
}

/// The route in place of the path, in which patients may be named.
fn path(path: &str, route: Option<&str>) -> String {
    let own = path.strip_prefix(OWN).map(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        format!("{OWN}{}", rest.get(..end).unwrap_or_default())
    });
    own.unwrap_or_else(|| format!("/-/{}", route.unwrap_or_default()))
}

fn kept(detail: BTreeMap<String, String>, event: Option<Event>) -> BTreeMap<String, String> {
    let says_nothing = |name: &str| {
        // The title of an alarm is its rule's; that of a case is what somebody wrote.
        KEPT.binary_search(&name).is_ok() || (name == "title" && event == Some(Event::Alarm))
    };
    let kept = detail.into_iter().filter(|(name, _)| says_nothing(name));
    kept.collect()
}

#[cfg(test)]
#[path = "minimise_tests.rs"]
mod tests;
