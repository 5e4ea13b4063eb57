//! Who took part: the client, the EMR, the person, the gateway.

use serde_json::{Map, Value, json};

use super::kinds::{Kind, Verb};
use super::{DCM, REASON, UNSTATED, coding};
use crate::audit::query::join::Joined;
use crate::request::Principal;

const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const SECURITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/extra-security-role-type";
const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const ASSURANCE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/ihe-assuranceLevel";

/// A machine that took part.
#[derive(Debug)]
pub(super) struct Party<'j> {
    system: &'static str,
    value: &'j str,
    display: String,
}

impl<'j> Party<'j> {
    /// The gateway that wrote the record.
    pub(super) fn gateway(joined: &'j Joined) -> Self {
        let node = &*joined.entry.node;
        Self {
            system: "urn:chartgate:node",
            value: node,
            display: format!("Chartgate {node}"),
        }
    }

    fn emr(joined: &'j Joined) -> Self {
        let facts = joined.entry.facts.as_ref();
        let emr = facts.and_then(|f| f.emr.as_deref()).unwrap_or("unknown");
        Self {
            system: "urn:chartgate:emr",
            value: emr,
            display: emr.to_owned(),
        }
    }

    fn client(joined: &'j Joined) -> Self {
        let facts = joined.entry.facts.as_ref();
        let client = facts.map_or("unknown", |f| f.client.as_str());
        Self {
            system: "urn:chartgate:client",
            value: client,
            display: client.to_owned(),
        }
    }

    /// A reference by identifier.
    pub(super) fn who(&self) -> Value {
        json!({
            "identifier": { "system": self.system, "value": self.value },
            "display": self.display,
        })
    }

    /// The machine as an agent; `network` is an address (2) or a name (1).
    fn agent(&self, kind: &Value, network: &str) -> Value {
        json!({
            "type": { "coding": [kind] },
            "who": self.who(),
            "requestor": false,
            "network": { "address": self.value, "type": network },
        })
    }
}

/// Whether a person is known.
pub(super) fn has_user(joined: &Joined) -> bool {
    principal(joined).is_some()
}

fn principal(joined: &Joined) -> Option<&Principal> {
    let facts = joined.entry.facts.as_ref();
    facts.and_then(|f| f.principal.as_deref())
}

/// Client, EMR and person of a request. Which of the first two is source and which destination follows the data.
pub(super) fn of_request(joined: &Joined, verb: Option<Verb>) -> Vec<Value> {
    let source = || coding(DCM, "110153", "Source Role ID");
    let destination = || coding(DCM, "110152", "Destination Role ID");
    let (client, server) = match verb {
        Some(Verb::Read) => (destination(), source()),
        Some(Verb::Query | Verb::Create | Verb::Update) | None => (source(), destination()),
        Some(Verb::Delete) => (
            coding(DCM, "110150", "Application"),
            coding(PROVENANCE, "custodian", "Custodian"),
        ),
    };
    let mut agents = vec![
        Party::client(joined).agent(&client, "2"),
        Party::emr(joined).agent(&server, "1"),
    ];
    let kind = match verb {
        Some(Verb::Create | Verb::Update | Verb::Delete) => {
            coding(PARTICIPATION, "AUT", "author (originator)")
        }
        Some(Verb::Read | Verb::Query) | None => recipient(),
    };
    agents.extend(principal(joined).map(|who| Value::Object(person(joined, who, &kind))));
    agents
}

/// Who gave data away, to whom, by whose hand.
pub(super) fn of_disclosure(joined: &Joined) -> Vec<Value> {
    let source = coding(DCM, "110153", "Source Role ID");
    let destination = coding(DCM, "110152", "Destination Role ID");
    let mut agents = vec![
        Party::gateway(joined).agent(&source, "1"),
        Party::client(joined).agent(&destination, "2"),
    ];
    let kind = coding(PARTICIPATION, "INF", "informant");
    agents.extend(principal(joined).map(|who| Value::Object(person(joined, who, &kind))));
    agents
}

/// The person or operator behind an event, and the gateway.
pub(super) fn of_event(joined: &Joined, kind: Kind) -> Vec<Value> {
    let signs_in = matches!(kind, Kind::Login | Kind::Logout | Kind::Authentication);
    let role = if signs_in {
        coding(SECURITY_ROLE, "humanuser", "human user")
    } else {
        recipient()
    };
    let mut agents = Vec::new();
    if let Some(who) = principal(joined) {
        let mut agent = person(joined, who, &role);
        if signs_in {
            let facts = joined.entry.facts.as_ref();
            let client = facts.map_or("unknown", |f| f.client.as_str());
            agent.insert(
                "network".to_owned(),
                json!({ "address": client, "type": "2" }),
            );
            agent.insert("extension".to_owned(), json!([assurance(who)]));
        }
        agents.push(Value::Object(agent));
    } else if let Some(named) = ["operator", "user"]
        .iter()
        .find_map(|key| joined.entry.detail.get(*key))
    {
        agents.push(json!({
            "type": { "coding": [role] },
            "who": { "identifier": { "system": "urn:chartgate:operator", "value": named }, "display": named },
            "requestor": true,
        }));
    }
    let own = if kind == Kind::EmergencyStarted {
        coding(SECURITY_ROLE, "authserver", "authorization server")
    } else {
        coding(DCM, "110150", "Application")
    };
    let mut gateway = Party::gateway(joined).agent(&own, "1");
    if agents.is_empty()
        && let Some(gateway) = gateway.as_object_mut()
    {
        gateway.insert("requestor".to_owned(), Value::Bool(true));
    }
    agents.push(gateway);
    agents
}

fn recipient() -> Value {
    coding(PARTICIPATION, "IRCP", "information recipient")
}

fn person(joined: &Joined, who: &Principal, kind: &Value) -> Map<String, Value> {
    let (issuer, value) = match who {
        Principal::User(user) => (&user.issuer, &user.subject),
        Principal::Service(service) => (&service.issuer, &service.client),
    };
    let roles: Vec<Value> = who
        .roles()
        .iter()
        .map(
            |role| json!({ "coding": [{ "system": "urn:chartgate:role", "code": role.as_str() }] }),
        )
        .collect();
    let mut agent = Map::new();
    let mut put = |key: &str, value: Value| agent.insert(key.to_owned(), value);
    put("type", json!({ "coding": [kind] }));
    if !roles.is_empty() {
        put("role", Value::Array(roles));
    }
    let system = format!("urn:chartgate:issuer:{issuer}");
    let name = who.display();
    put(
        "who",
        json!({ "identifier": { "system": system, "value": value }, "display": name }),
    );
    put("name", json!(name));
    put("requestor", Value::Bool(true));
    let decision = joined
        .entry
        .facts
        .as_ref()
        .and_then(|f| f.decision.as_ref());
    if let Some(decision) = decision {
        let policies: Vec<String> = decision.policies.iter().map(|id| uri(id)).collect();
        if !policies.is_empty() {
            put("policy", json!(policies));
        }
        let mut purposes = vec![decision.purpose.as_str()];
        purposes.extend(decision.stated.iter().map(String::as_str));
        if decision.grant.is_some() {
            purposes.push("BTG");
        }
        let purposes: Vec<Value> = purposes
            .into_iter()
            .filter(|code| !code.is_empty() && *code != UNSTATED)
            .map(|code| json!({ "coding": [{ "system": REASON, "code": code }] }))
            .collect();
        if !purposes.is_empty() {
            put("purposeOfUse", Value::Array(purposes));
        }
    }
    agent
}

/// A policy's id as a URI.
fn uri(policy: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'.')
        .remove(b'-')
        .remove(b'_');
    let id = percent_encoding::utf8_percent_encode(policy, KEPT);
    format!("urn:chartgate:policy:{id}")
}

fn assurance(who: &Principal) -> Value {
    let proof = who.proof();
    let factors = if proof.mfa {
        "multi-factor"
    } else {
        "single-factor"
    };
    let acr = proof.acr.as_deref().unwrap_or("-");
    let text = format!("{factors} (acr={acr}, amr={})", proof.amr.join(","));
    json!({ "url": ASSURANCE, "valueCodeableConcept": { "text": text } })
}
