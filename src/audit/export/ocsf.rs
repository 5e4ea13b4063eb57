//! OCSF 1.8 events: HTTP Activity, Authentication, Authorize Session, API Activity, Application Lifecycle, Detection
//! and Incident Finding.
//!
//! OCSF knows no patients: they stand in `unmapped`, with the clinical action and section.

mod class;

use serde_json::{Map, Value, json};

pub(in crate::audit) use self::class::Class;
use super::judged::{Judgement, judge};
use crate::audit::disclosed::disclosed;
use crate::audit::entry::Phase;
use crate::audit::events;
use crate::audit::query::answer::Answer;
use crate::audit::query::join::Joined;
use crate::request::{Event, Principal};

const VERSION: &str = "1.8.0";
/// Most patients of a list that an event names: what receives it has bounds of its own. FHIR and CSV name all.
const LISTED: usize = 100;
const CALLBACK: &str = "/.chartgate/callback";

/// The event of a record.
#[must_use]
pub fn event(joined: &Joined) -> Value {
    let answer = Answer::of(joined);
    let class = class_of(joined, &answer);
    let mut event = base(joined, &answer, class);
    match class.uid {
        4002 => http(&mut event, joined, &answer),
        3002 => authentication(&mut event, joined, &answer),
        3003 => privileges(&mut event, joined, &answer),
        6002 => application(&mut event),
        2004 => finding(&mut event, joined, &answer),
        2005 => incident(&mut event, joined, &answer, class),
        _ => api(&mut event, joined, &answer),
    }
    let mut unmapped = unmapped(&answer);
    disclosure(&mut unmapped, joined);
    event.insert("unmapped".to_owned(), Value::Object(unmapped));
    Value::Object(event)
}

fn class_of(joined: &Joined, answer: &Answer) -> Class {
    match (joined.entry.phase, joined.entry.event) {
        (Phase::Event, Some(event)) => events::traits(event).ocsf,
        (Phase::Refuse, _) if answer.path == CALLBACK => Class::LOGON,
        (Phase::Admit | Phase::Outcome | Phase::Refuse | Phase::Event, _) => {
            Class::new(4002, method(&answer.method))
        }
    }
}

/// An activity that has no number; its name stands beside it.
const OTHER: u32 = 99;

/// HTTP Activity's activity of a method.
fn method(method: &str) -> u32 {
    match method {
        "CONNECT" => 1,
        "DELETE" => 2,
        "GET" => 3,
        "HEAD" => 4,
        "OPTIONS" => 5,
        "POST" => 6,
        "PUT" => 7,
        "TRACE" => 8,
        "PATCH" => 9,
        _ => OTHER,
    }
}

fn base(joined: &Joined, answer: &Answer, class: Class) -> Map<String, Value> {
    let (judgement, words) = judge(joined);
    let status = match judgement {
        Judgement::Success => 1,
        Judgement::Minor | Judgement::Serious => 2,
        Judgement::Open => 0,
    };
    let mut metadata = json!({
        "version": VERSION,
        "uid": answer.id,
        "sequence": answer.seq,
        "log_name": "chartgate-trail",
        "product": {
            "name": "Chartgate",
            "vendor_name": "Chartgate",
            "version": env!("CARGO_PKG_VERSION"),
        },
    });
    if let Some(metadata) = metadata.as_object_mut() {
        if !answer.request.is_empty() {
            metadata.insert("correlation_uid".to_owned(), json!(answer.request));
        }
        if class.uid == 4002 {
            metadata.insert("profiles".to_owned(), json!(["host", "security_control"]));
        }
    }
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    put("category_uid", json!(class.category));
    put("class_uid", json!(class.uid));
    put("activity_id", json!(class.activity));
    if class.activity == OTHER {
        put("activity_name", json!(answer.method));
    }
    let type_uid = class.uid.saturating_mul(100).saturating_add(class.activity);
    put("type_uid", json!(type_uid));
    put("severity_id", json!(severity(joined, judgement)));
    put("time", json!(joined.entry.time.as_millisecond()));
    put("metadata", metadata);
    put("status_id", json!(status));
    if let Some(words) = words {
        put("status_detail", json!(words));
    }
    event
}

pub(super) fn severity(joined: &Joined, judgement: Judgement) -> u32 {
    let level = joined.entry.detail.get("level").map(String::as_str);
    match (level, judgement) {
        (Some("critical"), _) => 5,
        (Some("high"), _) => 4,
        (Some("medium"), _) => 3,
        (Some("low"), _) | (None, Judgement::Serious) => 2,
        (_, Judgement::Success | Judgement::Minor | Judgement::Serious | Judgement::Open) => 1,
    }
}

fn user(joined: &Joined, answer: &Answer) -> Value {
    let principal = joined
        .entry
        .facts
        .as_ref()
        .and_then(|f| f.principal.as_ref());
    match principal {
        Some(principal) => {
            let groups: Vec<Value> = principal
                .roles()
                .iter()
                .map(|role| json!({ "name": role.as_str() }))
                .collect();
            json!({ "uid": principal.id(), "name": principal.display(), "type_id": 1, "groups": groups })
        }
        None if answer.user.is_empty() => json!({ "name": "unknown", "type_id": 0 }),
        None => json!({ "name": answer.user, "type_id": 2 }),
    }
}

fn source(answer: &Answer) -> Value {
    if answer.client.is_empty() {
        json!({ "name": answer.node })
    } else {
        json!({ "ip": answer.client })
    }
}

fn http(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer) {
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    let (action, disposition) = match (answer.decision.as_str(), answer.refusal.is_empty()) {
        ("deny", _) => (2, 2),
        // The gateway answered in place of the EMR.
        (_, false) => (1, 27),
        (_, true) => (1, 1),
    };
    put("action_id", json!(action));
    put("disposition_id", json!(disposition));
    let mut request = json!({ "uid": answer.request, "url": { "path": answer.path } });
    if let Some(request) = request.as_object_mut()
        && method(&answer.method) != OTHER
    {
        request.insert("http_method".to_owned(), json!(answer.method));
    }
    put("http_request", request);
    if let Some(status) = answer.status {
        let mut response = json!({ "code": status });
        if let (Some(response), Some(length)) = (response.as_object_mut(), answer.bytes_out) {
            response.insert("length".to_owned(), json!(length));
        }
        put("http_response", response);
    }
    put("src_endpoint", source(answer));
    if !answer.emr.is_empty() {
        put("dst_endpoint", json!({ "svc_name": answer.emr }));
    }
    let mut actor = json!({ "user": user(joined, answer) });
    if let (Some(actor), Some(session)) = (actor.as_object_mut(), session(answer)) {
        actor.insert("session".to_owned(), session);
    }
    put("actor", actor);
    if let Some(millis) = answer.millis {
        put("duration", json!(millis));
    }
    if !answer.policies.is_empty() {
        put("policy", json!({ "uid": answer.policies.join(",") }));
    }
}

fn session(answer: &Answer) -> Option<Value> {
    (!answer.session.is_empty()).then(|| json!({ "uid": answer.session }))
}

fn authentication(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer) {
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    put("user", user(joined, answer));
    put("service", json!({ "name": "Chartgate" }));
    put("src_endpoint", source(answer));
    if let Some(session) = session(answer) {
        put("session", session);
    }
    // OpenID
    put("auth_protocol_id", json!(4));
    let principal = joined
        .entry
        .facts
        .as_ref()
        .and_then(|f| f.principal.as_deref());
    if let Some(Principal::User(user)) = principal {
        put("is_mfa", json!(user.proof.mfa));
    }
}

fn privileges(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer) {
    event.insert("user".to_owned(), user(joined, answer));
    if let Some(session) = session(answer) {
        event.insert("session".to_owned(), session);
    }
    let privilege = match answer.detail.get("ward") {
        Some(ward) => format!("break-glass:ward:{ward}"),
        None => format!("break-glass:patient:{}", answer.patients.join(",")),
    };
    event.insert("privileges".to_owned(), json!([privilege]));
}

fn application(event: &mut Map<String, Value>) {
    let app = json!({
        "name": "Chartgate",
        "vendor_name": "Chartgate",
        "version": env!("CARGO_PKG_VERSION"),
    });
    event.insert("app".to_owned(), app);
}

fn api(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer) {
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    let operation = joined.entry.event.map_or("event", events::name);
    put("actor", json!({ "user": user(joined, answer) }));
    put(
        "api",
        json!({ "operation": operation, "service": { "name": "Chartgate" } }),
    );
    put("src_endpoint", source(answer));
    let resources: Vec<Value> = answer
        .patients
        .iter()
        .map(|id| json!({ "type": "Patient", "uid": id }))
        .collect();
    if !resources.is_empty() {
        put("resources", Value::Array(resources));
    }
}

fn finding(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer) {
    let detail = |key: &str| joined.entry.detail.get(key).map(String::as_str);
    let own = joined.entry.event.map_or("event", events::name);
    let rule = detail("rule").unwrap_or(own);
    let title = match joined.entry.event {
        Some(Event::RefusalsSummed) => "Refused requests of strangers, summed",
        Some(_) | None => detail("title").unwrap_or(own),
    };
    event.insert(
        "finding_info".to_owned(),
        json!({ "uid": answer.id, "title": title, "analytic": { "type_id": 1, "uid": rule, "name": title } }),
    );
    event.insert(
        "is_alert".to_owned(),
        json!(joined.entry.event == Some(Event::Alarm)),
    );
    // New, as findings count their states.
    event.insert("status_id".to_owned(), json!(1));
    let evidence = json!({ "actor": { "user": user(joined, answer) } });
    event.insert("evidences".to_owned(), json!([evidence]));
}

fn incident(event: &mut Map<String, Value>, joined: &Joined, answer: &Answer, class: Class) {
    let detail = |key: &str| joined.entry.detail.get(key).cloned().unwrap_or_default();
    let number = ["incident", "case", "number", "id"]
        .iter()
        .find_map(|key| joined.entry.detail.get(*key));
    let uid = number.unwrap_or(&answer.id);
    event.insert(
        "finding_info_list".to_owned(),
        json!([{ "uid": uid, "title": detail("title") }]),
    );
    // 1 new, 5 closed
    let status = if class.activity == Class::INCIDENT_CLOSED.activity {
        5
    } else {
        1
    };
    event.insert("status_id".to_owned(), json!(status));
    event.insert("assignee".to_owned(), json!({ "name": answer.user }));
}

/// What OCSF has no place for.
fn unmapped(answer: &Answer) -> Map<String, Value> {
    let mut unmapped = Map::new();
    let texts = [
        ("patient.id", answer.patients.join(",")),
        ("patient.id_system", answer.patient_systems.join(",")),
        ("route.action", answer.action.clone()),
        ("route.section", answer.section.clone()),
        ("route.sensitivity", answer.sensitivity.clone()),
        ("purpose_of_use", answer.purpose.clone()),
        ("care_relation", answer.care_relation.clone()),
        ("break_glass_grant", answer.grant.clone()),
        ("refusal", answer.refusal.clone()),
        ("outcome", answer.outcome.to_owned()),
        ("node", answer.node.clone()),
    ];
    for (key, text) in texts {
        if !text.is_empty() {
            unmapped.insert(key.to_owned(), json!(text));
        }
    }
    if !answer.appeared.is_empty() {
        let some: Vec<&str> = answer
            .appeared
            .iter()
            .take(LISTED)
            .map(String::as_str)
            .collect();
        unmapped.insert("patient.appeared".to_owned(), json!(some.join(",")));
    }
    if let Some(listed) = answer.listed() {
        unmapped.insert("patient.appeared_count".to_owned(), json!(listed));
    }
    for (key, value) in &answer.detail {
        unmapped.insert(format!("detail.{key}"), json!(value));
    }
    unmapped
}

/// What went to someone outside, if something did.
fn disclosure(unmapped: &mut Map<String, Value>, joined: &Joined) {
    let Some(found) = disclosed(joined).filter(|found| found.basis.is_outside()) else {
        return;
    };
    let texts = [
        ("disclosure.basis", found.basis.word()),
        ("disclosure.recipient", found.recipient.unwrap_or_default()),
        ("disclosure.address", found.address.unwrap_or_default()),
        ("disclosure.description", &found.what),
        ("disclosure.purpose", &found.purposes.join(",")),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        unmapped.insert(key.to_owned(), json!(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture as sample;
    use crate::request::Action;

    const GOLDEN: &str = include_str!("golden/ocsf.jsonl");

    /// One record of each class.
    fn examples() -> Vec<Joined> {
        let signed_in = || Some(sample::facts(Action::Navigate, &[]));
        vec![
            sample::done(Action::Read, &["4"]),
            sample::refused("CG-3001", &["4"]),
            sample::event(Event::Login, signed_in(), &[]),
            sample::event(Event::Logout, signed_in(), &[]),
            sample::event(
                Event::BreakGlass,
                signed_in(),
                &[("patient", "4"), ("reason", "unconscious")],
            ),
            sample::event(
                Event::AuditRead,
                None,
                &[("operator", "alice"), ("filter", "{}")],
            ),
            sample::event(Event::Started, None, &[("version", "0.1.0")]),
            sample::event(
                Event::Alarm,
                None,
                &[
                    ("rule", "gw-r08"),
                    ("title", "Sequential ids"),
                    ("level", "high"),
                ],
            ),
            sample::event(
                Event::CaseClosed,
                None,
                &[("operator", "alice"), ("case", "7")],
            ),
        ]
    }

    #[test]
    fn each_class_is_written_as_it_was() {
        let written: Vec<String> = examples()
            .iter()
            .map(|joined| event(joined).to_string())
            .collect();
        let golden = GOLDEN.replace("{version}", env!("CARGO_PKG_VERSION"));
        assert_eq!(written, golden.lines().collect::<Vec<_>>());
    }

    #[test]
    fn every_event_has_what_its_class_requires() {
        for joined in examples() {
            let event = event(&joined);
            for key in [
                "activity_id",
                "category_uid",
                "class_uid",
                "metadata",
                "severity_id",
                "time",
                "type_uid",
            ] {
                assert!(event.get(key).is_some(), "{key}: {event}");
            }
            let class = event["class_uid"].as_u64().unwrap();
            assert_eq!(
                event["type_uid"].as_u64().unwrap(),
                class * 100 + event["activity_id"].as_u64().unwrap()
            );
            let required: &[&str] = match class {
                4002 => &["http_request", "src_endpoint"],
                3002 => &["user", "service"],
                3003 => &["user", "privileges"],
                6003 => &["actor", "api", "src_endpoint"],
                6002 => &["app"],
                2004 => &["finding_info"],
                2005 => &["finding_info_list", "status_id", "assignee"],
                other => panic!("class {other}"),
            };
            for key in required {
                assert!(event.get(*key).is_some(), "{class} {key}: {event}");
            }
        }
    }

    #[test]
    fn a_list_is_counted_and_begun() {
        let ids: Vec<String> = (0..500).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut joined = sample::listed(Action::Search, &[], &ids);
        let listed = event(&joined)["unmapped"].clone();
        assert_eq!(listed["patient.appeared_count"], "500 in a list");
        let named = listed["patient.appeared"].as_str().unwrap();
        assert_eq!(named.split(',').count(), LISTED);
        assert!(listed.get("patient.id").is_none());
        joined.end.as_mut().unwrap().outcome.appeared_more = 7;
        let listed = event(&joined)["unmapped"].clone();
        assert_eq!(listed["patient.appeared_count"], "507 in a list");
    }

    #[test]
    fn a_glass_for_a_ward_names_the_ward_and_its_declaration_is_a_change_of_settings() {
        let facts = || Some(sample::facts(Action::Navigate, &["4"]));
        let broken = sample::event(Event::BreakGlass, facts(), &[("ward", "ED")]);
        let privileges = event(&broken)["privileges"].to_string();
        assert_eq!(privileges, "[\"break-glass:ward:ED\"]");
        for kind in [Event::WardDeclared, Event::WardDeclarationEnded] {
            let detail = [("operator", "alice"), ("ward", "ED")];
            let event = event(&sample::event(kind, None, &detail));
            assert_eq!(event["class_uid"], 6003, "{event}");
            assert_eq!(event["activity_id"], 3, "{event}");
        }
    }
}
