//! One record of the trail, schema version 1: the document inside a log frame.
//!
//! Position (sequence, segment) and integrity belong to the log beneath; an entry says what happened. Later versions
//! may add members; readers ignore members they do not know and refuse versions they do not know.
//!
//! *Never*: bodies, tokens, cookies, or query values outside a profile's allow-list ([`Facts`] holds none).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::named::{BETWEEN, Named};
use super::outcome::Outcome;
use crate::request::facts::Verdict;
use crate::request::held::Holding;
use crate::request::{Event, Facts, Notice, PatientRef, Refused};

/// The schema version that this build writes.
pub const VERSION: u32 = 1;

/// Room for most records.
const USUAL_BYTES: usize = 1536;

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not the JSON of an entry.
    #[error("the record is not a Chartgate entry: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer Chartgate.
    #[error("the record has schema version {0}; this build reads version {VERSION}")]
    Version(u32),
}

/// When in a request's life a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before it is forwarded.
    Admit,
    /// After it ended.
    Outcome,
    /// It was refused.
    Refuse,
    /// Something else happened: sign-in, start, recovery, reading of the trail.
    Event,
}

/// A record: read with facts of its own, written with those that the request still holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: Deserialize<'de>"))]
pub struct Entry<F = Facts> {
    /// Schema version.
    pub v: u32,
    /// The entry's own id (`UUIDv7`).
    pub id: Uuid,
    /// The node that wrote it.
    pub node: Arc<str>,
    /// When, UTC.
    pub time: Timestamp,
    /// What kind of record.
    pub phase: Phase,
    /// For an outcome: the id of the admission it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Uuid>,
    /// The request, as far as it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<F>,
    /// For a refusal: its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// For an outcome: what became of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// For an event: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// For an event: its particulars.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

impl<F> Entry<F> {
    fn new(node: &Arc<str>, time: Timestamp, phase: Phase) -> Self {
        Self {
            v: VERSION,
            id: Uuid::now_v7(),
            node: Arc::clone(node),
            time,
            phase,
            of: None,
            facts: None,
            refusal: None,
            outcome: None,
            event: None,
            detail: BTreeMap::new(),
        }
    }
}

impl<F: Serialize> Entry<F> {
    /// The document that goes into the log.
    ///
    /// # Errors
    /// [`EntryError::Malformed`] if it cannot be written as JSON, which its types rule out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut bytes, self)?;
        Ok(bytes)
    }
}

impl<'f> Entry<&'f Facts> {
    /// A request is about to be forwarded.
    #[must_use]
    pub fn admit(node: &Arc<str>, time: Timestamp, facts: &'f Facts) -> Self {
        Self {
            facts: Some(facts),
            ..Self::new(node, time, Phase::Admit)
        }
    }

    /// A request was refused.
    #[must_use]
    pub fn refuse(node: &Arc<str>, time: Timestamp, refused: &'f Refused) -> Self {
        let browser = refused.notice().and_then(Notice::recorded_browser);
        let onward = refused.onward();
        let demand = onward.demand.map(|demand| demand.as_recorded().join(" "));
        let lack = onward.lack.map(|lack| lack.word().to_owned());
        Self {
            facts: Some(refused.facts()),
            refusal: Some(refused.refusal().code().to_owned()),
            detail: [("browser", browser), ("demand", demand), ("lack", lack)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .chain(refused.held().map(became_of))
                .collect(),
            ..Self::new(node, time, Phase::Refuse)
        }
    }
}

/// What became of what was sent, as a particular of the record.
fn became_of(holding: &Holding) -> (String, String) {
    match holding {
        Holding::Kept { until, .. } => ("kept_until".to_owned(), until.to_string()),
        Holding::Lost(lost) => ("not_kept".to_owned(), lost.word().to_owned()),
        Holding::Unknown => ("not_kept".to_owned(), "forwarded".to_owned()),
    }
}

#[cfg(test)]
impl Entry<&Facts> {
    /// The entry as it reads back.
    pub(crate) fn read_back(&self) -> Entry {
        Entry {
            v: self.v,
            id: self.id,
            node: Arc::clone(&self.node),
            time: self.time,
            phase: self.phase,
            of: self.of,
            facts: self.facts.cloned(),
            refusal: self.refusal.clone(),
            outcome: self.outcome.clone(),
            event: self.event,
            detail: self.detail.clone(),
        }
    }
}

impl Entry {
    /// What became of the admission `of`.
    #[must_use]
    pub fn outcome(node: &Arc<str>, time: Timestamp, of: Uuid, outcome: Outcome) -> Self {
        Self {
            of: Some(of),
            outcome: Some(outcome),
            ..Self::new(node, time, Phase::Outcome)
        }
    }

    /// Something else happened.
    #[must_use]
    pub fn event(
        node: &Arc<str>,
        time: Timestamp,
        event: Event,
        facts: Option<Facts>,
        detail: BTreeMap<String, String>,
    ) -> Self {
        Self {
            event: Some(event),
            facts,
            detail,
            ..Self::new(node, time, Phase::Event)
        }
    }

    /// Reads a document from the log.
    ///
    /// # Errors
    /// [`EntryError`] for anything that is not an entry of a version that this build knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(entry) if entry.v == VERSION => Ok(entry),
            Ok(entry) => Err(EntryError::Version(entry.v)),
            // A newer version may have another shape: what it is counts, not where reading stopped.
            Err(malformed) => Err(newer(bytes).map_or(malformed.into(), EntryError::Version)),
        }
    }

    /// Every patient that the record concerns, those included who only appeared in a list.
    pub fn patients(&self) -> impl Iterator<Item = &PatientRef> {
        let outcome = self.outcome.iter();
        self.charts()
            .chain(outcome.flat_map(|outcome| &outcome.appeared))
    }

    /// The patients whose charts the record is about.
    pub fn charts(&self) -> impl Iterator<Item = &PatientRef> {
        let mapped = self.facts.iter().filter_map(|facts| facts.mapping.as_ref());
        mapped
            .flat_map(|mapping| &mapping.patients)
            .chain(self.outcome.iter().flat_map(|outcome| &outcome.patients))
    }

    /// Every name by which the record speaks of a patient; an event names its patient among its particulars.
    ///
    /// What is asked of the trail by patient, and what its index holds, comes from here and from nowhere else.
    pub fn named(&self) -> impl Iterator<Item = Named<'_>> {
        let mapped = self.facts.iter().filter_map(|facts| facts.mapping.as_ref());
        let mapped = mapped.flat_map(|mapping| &mapping.patients).map(Named::of);
        let ended = self.outcome.iter().flat_map(Outcome::named);
        let stated = self.detail.get("patient").map(|text| Named::Stated(text));
        mapped.chain(ended).chain(stated)
    }

    /// Every name and stable id by which the record speaks of a user or operator who acts or is concerned. An event names
    /// people among its particulars: by stable id (`issuer|subject`) with the name beside it, or by name alone.
    ///
    /// What is asked of the trail by user, and what its index holds, comes from here and from nowhere else.
    pub fn people(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let principal = self
            .facts
            .iter()
            .filter_map(|facts| facts.principal.as_ref());
        let acting = principal.flat_map(|p| [Cow::Borrowed(p.display()), Cow::Owned(p.id())]);
        let detail = |key: &str| self.detail.get(key).map(String::as_str);
        let stated = ["user", "user_id", "operator"]
            .into_iter()
            .filter_map(detail);
        acting.chain(stated.chain(self.stated_name()).map(Cow::Borrowed))
    }

    /// The particular `name`, where it is a person's: of other events it names a bundle, a file, a passkey.
    pub(in crate::audit) fn stated_name(&self) -> Option<&str> {
        let detail = |key: &str| self.detail.get(key).map(String::as_str);
        let is_id = detail("user").is_some_and(|user| user.contains(BETWEEN));
        let is_persons = is_id || detail("by") == Some("user");
        detail("name").filter(|_| is_persons)
    }

    /// Whether the record concerns the patient who goes by any of these identifiers: one of any system, or
    /// `system|identifier`.
    #[must_use]
    pub fn is_about<'s>(&self, identifiers: impl IntoIterator<Item = &'s str>) -> bool {
        let mut sought = identifiers.into_iter();
        sought.any(|sought| self.named().any(|named| named.is(sought)))
    }

    /// Whether the request was admitted or refused; `None` for what is neither.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        match self.phase {
            Phase::Admit => Some(Verdict::Allow),
            Phase::Refuse => Some(Verdict::Deny),
            Phase::Outcome | Phase::Event => None,
        }
    }
}

/// The version that a document states, where it is not this one.
fn newer(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let stated = serde_json::from_slice::<Versioned>(bytes).ok()?.v;
    (stated != VERSION).then_some(stated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture;

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut entry = Entry::event(
            &"gw1".into(),
            Timestamp::UNIX_EPOCH,
            Event::Started,
            None,
            BTreeMap::new(),
        );
        entry.v = 2;
        let error = Entry::from_bytes(&entry.to_bytes().unwrap()).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        let other = br#"{"v":3,"phase":"imagined"}"#;
        let error = Entry::from_bytes(other).unwrap_err();
        assert!(error.to_string().contains("version 3"), "{error}");
        let broken = br#"{"v":1,"phase":"imagined"}"#;
        let error = Entry::from_bytes(broken).unwrap_err();
        assert!(matches!(error, EntryError::Malformed(_)), "{error}");
    }

    #[test]
    fn a_patient_is_found_by_each_of_the_names_that_they_go_by() {
        let about = |entry: &Entry, sought: &[&str]| entry.is_about(sought.iter().copied());
        let chart = fixture::admission(&["4"]);
        assert!(about(&chart, &["4"]));
        assert!(about(&chart, &["urn:example:pid|4"]));
        assert!(about(&chart, &["9", "urn:example:pid|4"]));
        assert!(!about(&chart, &["urn:other|4"]) && !about(&chart, &["9", "44"]));
        assert!(!about(&chart, &[]));
        let event =
            |patient: &str| fixture::event(Event::BreakGlass, None, &[("patient", patient)]).entry;
        for stated in ["4", "urn:example:pid|4"] {
            let event = event(stated);
            assert!(about(&event, &["4"]), "{stated}");
            assert!(about(&event, &["urn:example:pid|4"]), "{stated}");
            assert!(!about(&event, &["14"]) && !about(&event, &["urn:example:pid|14"]));
        }
        assert!(!about(&event("urn:example:pid|4"), &["urn:other|4"]));
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let entry = Entry::event(
            &"gw1".into(),
            Timestamp::UNIX_EPOCH,
            Event::Recovered,
            None,
            BTreeMap::from([("cut_bytes".into(), "12".into())]),
        );
        assert_eq!(
            Entry::from_bytes(&entry.to_bytes().unwrap()).unwrap(),
            entry
        );
    }
}
