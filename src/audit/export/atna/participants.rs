//! Who took part: the client, the EMR, the person or operator, the gateway.

use std::net::IpAddr;

use super::{Code, Element, Kind, Told, Verb, code_of, coded};

const SOURCE: Code = Code::dcm("110153", "Source Role ID");
const DESTINATION: Code = Code::dcm("110152", "Destination Role ID");
const APPLICATION: Code = Code::dcm("110150", "Application");

pub(super) fn of(told: Told<'_>) -> Vec<Element> {
    let mut all = Vec::new();
    let person = person(told);
    match told.kind {
        Kind::Rest(_) | Kind::Operation | Kind::Restricted => {
            // Which of them is the source follows the data.
            let (client, emr) = if told.kind == Kind::Rest(Verb::Read) {
                (DESTINATION, SOURCE)
            } else {
                (SOURCE, DESTINATION)
            };
            if !told.answer.client.is_empty() {
                all.push(machine(told, &told.answer.client, client));
            }
            if !told.answer.emr.is_empty() {
                all.push(machine(told, &told.answer.emr, emr));
            }
            if told.answer.client.is_empty() && told.answer.emr.is_empty() {
                all.push(gateway(told, person.is_none()));
            }
        }
        Kind::Disclosure => {
            all.push(gateway(told, false).holding([coded("RoleIDCode", SOURCE)]));
            if !told.answer.client.is_empty() {
                all.push(machine(told, &told.answer.client, DESTINATION));
            }
        }
        Kind::Login
        | Kind::Logout
        | Kind::Authentication
        | Kind::ApplicationStarted
        | Kind::ApplicationStopped
        | Kind::Application
        | Kind::RecordingStarted
        | Kind::RecordingStopped
        | Kind::LogUsed
        | Kind::Configuration
        | Kind::UserAttributes
        | Kind::EmergencyStarted
        | Kind::EmergencyStopped
        | Kind::Alert
        | Kind::Export => {
            all.push(gateway(told, person.is_none()).holding([coded("RoleIDCode", APPLICATION)]));
        }
    }
    all.extend(person);
    all
}

fn participant(told: Told<'_>, id: &str, requests: bool) -> Element {
    Element::new("ActiveParticipant")
        .with("UserID", told.measure.cut(id))
        .with("UserIsRequestor", if requests { "true" } else { "false" })
}

fn machine(told: Told<'_>, name: &str, role: Code) -> Element {
    at(participant(told, name, false), name).holding([coded("RoleIDCode", role)])
}

fn gateway(told: Told<'_>, requests: bool) -> Element {
    let node = &*told.joined.entry.node;
    at(participant(told, node, requests), node)
}

/// Where a participant is: an address (2) or a name (1).
fn at(participant: Element, place: &str) -> Element {
    let kind = if place.parse::<IpAddr>().is_ok() {
        "2"
    } else {
        "1"
    };
    participant
        .with("NetworkAccessPointID", place)
        .with("NetworkAccessPointTypeCode", kind)
}

/// The user with their roles, or the operator; `None` where nobody is known.
fn person(told: Told<'_>) -> Option<Element> {
    let answer = told.answer;
    if answer.user.is_empty() {
        return None;
    }
    let id = if answer.user_id.is_empty() {
        &answer.user
    } else {
        &answer.user_id
    };
    let person = participant(told, id, true).with("UserName", told.measure.cut(&answer.user));
    let person = if answer.client.is_empty() {
        person
    } else {
        at(person, &answer.client)
    };
    let roles = answer.roles.iter().take(told.measure.most).map(|role| {
        let role = told.measure.cut(role);
        code_of("RoleIDCode", &role, "urn:chartgate:role", &role)
    });
    Some(person.holding(roles))
}
