//! FHIR R4 `AuditEvent`s, conforming to IHE BALP where one of its profiles fits.
//!
//! One event for each patient of a record; one without a patient where there is none. A profile is claimed only for a
//! success: BALP fixes `outcome` to `0`, so what was refused, failed or is still open has the same shape and claims
//! none. What leaves the organisation is two events, the access and the disclosure.
//!
//! *Never*: names of patients, values of results, bodies; the record holds none.

mod agents;
mod entities;
pub(super) mod kinds;

use serde_json::{Map, Value, json};

use self::agents::Party;
pub(in crate::audit) use self::kinds::Kind;
use self::kinds::Verb;
use super::judged::{Judgement, judge};
pub(super) use crate::audit::disclosed::UNSTATED;
use crate::audit::disclosed::disclosed;
use crate::audit::entry::Phase;
use crate::audit::query::answer::instant;
use crate::audit::query::join::Joined;
use crate::request::PatientRef;

const PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
pub(super) const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

/// The events of a record.
#[must_use]
pub fn events(joined: &Joined) -> Vec<Value> {
    let mut events = Vec::new();
    each(joined, &mut |event| events.push(event));
    events
}

/// Gives the events of a record out one by one.
pub fn each(joined: &Joined, out: &mut dyn FnMut(Value)) {
    match joined.entry.phase {
        Phase::Admit | Phase::Outcome | Phase::Refuse => request(joined, out),
        Phase::Event => happening(joined, out),
    }
}

fn request(joined: &Joined, out: &mut dyn FnMut(Value)) {
    let kind = Kind::of_request(joined);
    let is_outside = disclosed(joined).is_some_and(|one| one.basis.is_outside());
    for (number, patient) in each_patient(joined).into_iter().enumerate() {
        let kind = patient.map_or(kind, |patient| kind.of_patient(joined, patient));
        out(access(joined, kind, patient, number));
        if let Some(patient) = patient
            && is_outside
        {
            out(disclosure(joined, patient, number));
        }
    }
}

/// The patients, or nobody once.
pub(super) fn each_patient(joined: &Joined) -> Vec<Option<&PatientRef>> {
    let patients = joined.patients();
    if patients.is_empty() {
        vec![None]
    } else {
        patients.into_iter().map(Some).collect()
    }
}

/// The access itself, in the shape of its verb.
fn access(joined: &Joined, kind: Kind, patient: Option<&PatientRef>, number: usize) -> Value {
    let (judgement, _) = judge(joined);
    let success = judgement == Judgement::Success;
    let mut event = frame(joined, kind, &suffix("", number));
    let verb = kind.verb();
    if let Some(verb) = verb.filter(|_| success && agents::has_user(joined)) {
        let of_patient = if patient.is_some() { "Patient" } else { "" };
        let profile = format!("{PROFILE}{of_patient}{}", verb.profile());
        event.insert("meta".to_owned(), json!({ "profile": [profile] }));
    }
    let agents = if kind == Kind::Login {
        agents::of_event(joined, kind)
    } else {
        agents::of_request(joined, verb)
    };
    event.insert("agent".to_owned(), Value::Array(agents));
    let entities = entities::of_request(joined, verb, patient);
    event.insert("entity".to_owned(), Value::Array(entities));
    Value::Object(event)
}

/// What left the organisation.
fn disclosure(joined: &Joined, patient: &PatientRef, number: usize) -> Value {
    let (judgement, _) = judge(joined);
    let mut event = frame(joined, Kind::Disclosure, &suffix("-d", number));
    if judgement == Judgement::Success {
        let profile = format!("{PROFILE}PrivacyDisclosure.Source");
        event.insert("meta".to_owned(), json!({ "profile": [profile] }));
    }
    let agents = agents::of_disclosure(joined);
    event.insert("agent".to_owned(), Value::Array(agents));
    let entities = entities::of_request(joined, Some(Verb::Read), Some(patient));
    event.insert("entity".to_owned(), Value::Array(entities));
    Value::Object(event)
}

fn happening(joined: &Joined, out: &mut dyn FnMut(Value)) {
    let kind = Kind::of_event(joined);
    for (number, patient) in each_patient(joined).into_iter().enumerate() {
        let mut event = frame(joined, kind, &suffix("", number));
        if kind == Kind::EmergencyStarted {
            let purpose = json!([{ "coding": [coding(REASON, "BTG", "break the glass")] }]);
            event.insert("purposeOfEvent".to_owned(), purpose);
        }
        let agents = agents::of_event(joined, kind);
        event.insert("agent".to_owned(), Value::Array(agents));
        let entities = entities::of_event(joined, patient);
        if !entities.is_empty() {
            event.insert("entity".to_owned(), Value::Array(entities));
        }
        out(Value::Object(event));
    }
}

/// What every event has: type, action, times, outcome, source.
fn frame(joined: &Joined, kind: Kind, suffix: &str) -> Map<String, Value> {
    let entry = &joined.entry;
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    put("resourceType", json!("AuditEvent"));
    put("id", json!(format!("{}{suffix}", entry.id)));
    let codes = kind.codes();
    put("type", codes.event.coding());
    if let Some(subtype) = codes.subtype {
        put("subtype", json!([subtype.coding()]));
    }
    put("action", json!(codes.action));
    if let Some(end) = &joined.end {
        put(
            "period",
            json!({ "start": instant(entry.time), "end": instant(end.time) }),
        );
    }
    put("recorded", json!(instant(entry.time)));
    let (judgement, words) = judge(joined);
    match judgement {
        Judgement::Success => put("outcome", json!("0")),
        Judgement::Minor => put("outcome", json!("4")),
        Judgement::Serious => put("outcome", json!("8")),
        Judgement::Open => None,
    };
    if let Some(words) = words {
        put("outcomeDesc", json!(words));
    }
    put(
        "source",
        json!({
            "observer": Party::gateway(joined).who(),
            "type": [coding(SOURCE_TYPE, "6", "Security Server")],
        }),
    );
    event
}

fn suffix(kind: &str, number: usize) -> String {
    if number == 0 {
        kind.to_owned()
    } else {
        format!("{kind}-{number}")
    }
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

#[cfg(test)]
mod tests;
