//! What was acted on: the patient, the part of the chart or the query, the log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Element, Kind, Told, Verb, code_of};
use crate::audit::entry::Phase;
use crate::request::{Action, Event, PatientRef};

const IDENTIFIERS: &str = "RFC-3881";

pub(super) fn of(told: Told<'_>) -> Vec<Element> {
    let mut all = Vec::new();
    if let Some(patient) = told.patient {
        all.push(person(told, &identifier(patient), &patient.id));
    } else if let Some(named) = told.joined.entry.detail.get("patient")
        && !is_of_log(told)
    {
        all.push(person(told, named, named));
    }
    all.push(if told.joined.entry.phase == Phase::Event {
        log(told)
    } else if told.kind == Kind::Rest(Verb::Query) {
        query(told)
    } else {
        data(told)
    });
    all
}

fn is_of_log(told: Told<'_>) -> bool {
    let event = told.joined.entry.event;
    matches!(
        event,
        Some(Event::AuditRead | Event::AuditExported | Event::AuditRetired)
    )
}

/// An object, with what it is called; DICOM wants a name where there is no query.
fn object(told: Told<'_>, id: &str, kind: &str, role: &str) -> Element {
    Element::new("ParticipantObjectIdentification")
        .with("ParticipantObjectID", told.measure.cut(id))
        .with("ParticipantObjectTypeCode", kind)
        .with("ParticipantObjectTypeCodeRole", role)
}

fn named(told: Told<'_>, name: &str) -> Element {
    Element::new("ParticipantObjectName").text(told.measure.cut(name))
}

fn identified(code: &str, meaning: &str) -> Element {
    code_of("ParticipantObjectIDTypeCode", code, IDENTIFIERS, meaning)
}

fn person(told: Told<'_>, id: &str, name: &str) -> Element {
    let step = if told.kind == Kind::Disclosure {
        "11"
    } else {
        "6"
    };
    object(told, id, "1", "1")
        .with("ParticipantObjectDataLifeCycle", step)
        .holding([identified("2", "Patient Number"), named(told, name)])
}

/// A patient's identifier as HL7 v2 writes it (CX): `id^^^&system&ISO`, `URI` in place of `ISO` where it is no OID.
pub(super) fn identifier(patient: &PatientRef) -> String {
    if patient.system.is_empty() {
        return hl7(&patient.id);
    }
    let oid = patient.system.strip_prefix("urn:oid:");
    let (system, kind) = match oid {
        Some(oid) => (oid, "ISO"),
        None => (patient.system.as_str(), "URI"),
    };
    format!("{}^^^&{}&{kind}", hl7(&patient.id), hl7(system))
}

/// Escapes what HL7 v2 delimits with (chapter 2, 2.7).
fn hl7(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => escaped.push_str("\\F\\"),
            '^' => escaped.push_str("\\S\\"),
            '&' => escaped.push_str("\\T\\"),
            '~' => escaped.push_str("\\R\\"),
            '\\' => escaped.push_str("\\E\\"),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// The part of the chart, by its path: a legacy EMR has no resource to refer to.
fn data(told: Told<'_>) -> Element {
    let answer = told.answer;
    let mapping = told.joined.entry.facts.as_ref();
    let action = mapping.and_then(|f| f.mapping.as_ref()).map(|m| m.action);
    let (role, step) = place(action);
    let name = if answer.section.is_empty() {
        &answer.path
    } else {
        &answer.section
    };
    let data = object(told, &answer.path, "2", role).with("ParticipantObjectDataLifeCycle", step);
    let data = if answer.sensitivity.is_empty() {
        data
    } else {
        data.with(
            "ParticipantObjectSensitivity",
            told.measure.cut(&answer.sensitivity),
        )
    };
    data.holding([identified("12", "URI"), named(told, name)])
        .holding(details(told))
}

/// The role of the data, and the step of its life.
const fn place(action: Option<Action>) -> (&'static str, &'static str) {
    match action {
        Some(Action::Print) => ("3", "9"),
        Some(Action::Export) => ("3", "10"),
        Some(Action::Disclose) => ("3", "11"),
        Some(Action::Sign) => ("3", "4"),
        Some(Action::Create | Action::Order) => ("3", "1"),
        Some(Action::Update) => ("3", "3"),
        Some(Action::Delete) => ("3", "14"),
        Some(Action::Administer) => ("13", "6"),
        Some(Action::Search | Action::Read | Action::Navigate | Action::Unmapped) | None => {
            ("3", "6")
        }
    }
}

/// The request as far as the profile lets it go on record.
fn query(told: Told<'_>) -> Element {
    let answer = told.answer;
    let facts = told.joined.entry.facts.as_ref();
    let fields = facts.and_then(|f| f.mapping.as_ref());
    let fields = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields.iter().flat_map(|m| &m.fields))
        .finish();
    let mut asked = format!("{} {}", answer.method, answer.path);
    if !fields.is_empty() {
        asked.push('?');
        asked.push_str(&fields);
    }
    let asked = BASE64.encode(told.measure.cut(&asked));
    object(told, &answer.path, "2", "24")
        .holding([
            identified("10", "Search Criteria"),
            Element::new("ParticipantObjectQuery").text(asked),
        ])
        .holding(details(told))
}

/// What an event is about: the log, or the gateway's settings.
fn log(told: Told<'_>) -> Element {
    let node = format!("urn:chartgate:node:{}", told.joined.entry.node);
    let name = if is_of_log(told) {
        "Security Audit Log"
    } else {
        "Chartgate"
    };
    object(told, &node, "2", "13")
        .holding([identified("12", "URI"), named(told, name)])
        .holding(details(told))
}

/// What else the record says. All values are base64: none can be taken for markup.
fn details(told: Told<'_>) -> Vec<Element> {
    let answer = told.answer;
    let facts = told.joined.entry.facts.as_ref();
    let route = facts.and_then(|f| f.mapping.as_ref());
    let route = route.map_or("", |m| m.route.as_str());
    let policies = answer.policies.join(",");
    let seq = answer.seq.to_string();
    let status = answer.status.map_or_else(String::new, |s| s.to_string());
    let own = [
        ("X-Request-Id", answer.request.as_str()),
        ("record", answer.id.as_str()),
        ("sequence", seq.as_str()),
        ("event", answer.event),
        ("emr", answer.emr.as_str()),
        ("method", answer.method.as_str()),
        ("action", answer.action.as_str()),
        ("route", route),
        ("refusal", answer.refusal.as_str()),
        ("status", status.as_str()),
        ("care_relation", answer.care_relation.as_str()),
        ("policies", policies.as_str()),
        ("grant", answer.grant.as_str()),
        ("session", answer.session.as_str()),
    ];
    let particulars = answer
        .detail
        .iter()
        .take(told.measure.most)
        .map(|(key, value)| (format!("detail.{key}"), value.as_str()));
    own.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .chain(particulars)
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| {
            Element::new("ParticipantObjectDetail")
                .with("type", told.measure.cut(&key))
                .with("value", BASE64.encode(told.measure.cut(value)))
        })
        .collect()
}
