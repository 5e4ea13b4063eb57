//! What was acted on: the request, the patient, the data or the query.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::coding;
use super::kinds::Verb;
use crate::audit::query::join::Joined;
use crate::request::facts::PatientSource;
use crate::request::{Action, Event, Facts, PatientRef};

const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const OWN_TYPE: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

pub(super) fn of_request(
    joined: &Joined,
    verb: Option<Verb>,
    patient: Option<&PatientRef>,
) -> Vec<Value> {
    let Some(facts) = &joined.entry.facts else {
        return Vec::new();
    };
    let mut entities = vec![transaction(facts)];
    entities.extend(patient.map(|patient| person(patient, &found(patient))));
    entities.push(if verb == Some(Verb::Query) {
        query(facts)
    } else {
        data(facts)
    });
    entities
}

pub(super) fn of_event(joined: &Joined, patient: Option<&PatientRef>) -> Vec<Value> {
    let entry = &joined.entry;
    let details: Vec<Value> = entry
        .detail
        .iter()
        // FHIR has no empty strings.
        .filter(|(_, value)| !value.trim().is_empty())
        .map(|(key, value)| json!({ "type": key, "valueString": value }))
        .collect();
    let mut entities: Vec<Value> = entry.facts.iter().map(transaction).collect();
    let named = entry.detail.get("patient");
    let of_log = matches!(
        entry.event,
        Some(Event::AuditRead | Event::AuditExported | Event::AuditRetired)
    );
    if let Some(patient) = patient {
        entities.push(person(patient, &details));
    } else if let Some(id) = named.filter(|_| !of_log) {
        let mut entity = person_named(&json!({ "value": id }));
        put_details(&mut entity, &details);
        entities.push(entity);
    } else if of_log || !details.is_empty() {
        let mut entity = json!({
            "what": { "identifier": { "system": "urn:chartgate:node", "value": entry.node } },
            "type": coding(ENTITY_TYPE, "2", "System Object"),
            "role": coding(ROLE, "13", "Security Resource"),
        });
        if of_log && let Some(entity) = entity.as_object_mut() {
            entity.insert("name".to_owned(), json!("Security Audit Log"));
        }
        put_details(&mut entity, &details);
        entities.push(entity);
    }
    entities
}

fn put_details(entity: &mut Value, details: &[Value]) {
    if let Some(entity) = entity.as_object_mut()
        && !details.is_empty()
    {
        entity.insert("detail".to_owned(), Value::Array(details.to_vec()));
    }
}

fn transaction(facts: &Facts) -> Value {
    json!({
        "what": { "identifier": { "value": facts.request } },
        "type": { "system": OWN_TYPE, "code": "XrequestId" },
    })
}

/// How a patient came into it, where that is no matter of course.
fn found(patient: &PatientRef) -> Vec<Value> {
    match patient.source {
        PatientSource::Request | PatientSource::Sticky | PatientSource::Linked => Vec::new(),
        PatientSource::Appeared => vec![json!({ "type": "appeared", "valueString": "in a list" })],
    }
}

fn person(patient: &PatientRef, details: &[Value]) -> Value {
    let mut entity = person_named(&json!({ "system": patient.system, "value": patient.id }));
    put_details(&mut entity, details);
    entity
}

fn person_named(identifier: &Value) -> Value {
    json!({
        "what": { "type": "Patient", "identifier": identifier },
        "type": coding(ENTITY_TYPE, "1", "Person"),
        "role": coding(ROLE, "1", "Patient"),
    })
}

/// The part of the chart, named by its section and route: a legacy EMR has no resource to refer to.
fn data(facts: &Facts) -> Value {
    let mapping = facts.mapping.as_ref();
    let section = mapping.map_or("", |m| m.section.as_str());
    let emr = facts.emr.as_deref().unwrap_or("unknown");
    let mut what = json!({
        "identifier": {
            "system": format!("urn:chartgate:route:{emr}"),
            "value": format!("{} {}", facts.method, facts.path),
        },
    });
    if !section.is_empty()
        && let Some(what) = what.as_object_mut()
    {
        what.insert("display".to_owned(), json!(section));
    }
    let action = mapping.map(|m| m.action);
    let (role, lifecycle) = place(action);
    let mut entity = json!({
        "what": what,
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": role,
    });
    let Some(object) = entity.as_object_mut() else {
        return entity;
    };
    if let Some(lifecycle) = lifecycle {
        object.insert("lifecycle".to_owned(), lifecycle);
    }
    if let Some(mapping) = mapping {
        let label = json!([{ "system": CONFIDENTIALITY, "code": mapping.sensitivity }]);
        object.insert("securityLabel".to_owned(), label);
        let mut details = vec![
            json!({ "type": "action", "valueString": mapping.action.name() }),
            json!({ "type": "route", "valueString": mapping.route }),
        ];
        if let Some(told) = &mapping.disclosure {
            let particulars = [
                ("recipient", &told.recipient),
                ("recipient.address", &told.address),
                ("description", &told.description),
                ("purpose", &told.purpose),
            ];
            for (name, text) in particulars {
                let text = text.iter();
                details.extend(text.map(|text| json!({ "type": name, "valueString": text })));
            }
        }
        object.insert("detail".to_owned(), Value::Array(details));
    }
    entity
}

/// The role of the data and the step of its life, where the action says more than its verb.
fn place(action: Option<Action>) -> (Value, Option<Value>) {
    let resource = || coding(ROLE, "4", "Domain Resource");
    let report = || coding(ROLE, "3", "Report");
    let step = |code, display| Some(coding(LIFECYCLE, code, display));
    match action {
        Some(Action::Print) => (report(), step("9", "Report")),
        Some(Action::Export) => (report(), step("10", "Export")),
        Some(Action::Disclose) => (report(), step("11", "Disclosure")),
        Some(Action::Sign) => (resource(), step("4", "Verification")),
        Some(
            Action::Search
            | Action::Read
            | Action::Create
            | Action::Update
            | Action::Delete
            | Action::Order
            | Action::Administer
            | Action::Navigate
            | Action::Unmapped,
        )
        | None => (resource(), None),
    }
}

/// The request as far as the profile lets it go on record.
fn query(facts: &Facts) -> Value {
    let fields = facts.mapping.iter().flat_map(|m| &m.fields);
    let fields = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let mut asked = format!("{} {}", facts.method, facts.path);
    if !fields.is_empty() {
        asked.push('?');
        asked.push_str(&fields);
    }
    json!({
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(ROLE, "24", "Query"),
        "query": BASE64.encode(asked),
    })
}
