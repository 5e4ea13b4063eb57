//! Golden messages, and the rules of the schema of PS3.15 A.5.1 for whatever a record holds.

use proptest::prelude::*;

use super::super::fhir;
use super::super::xml::tests::{Read, read};
use super::*;
use crate::audit::fixture as sample;
use crate::audit::outcome::End;
use crate::request::{Action, Event};

const GOLDEN: &str = include_str!("../golden/atna.txt");

fn examples() -> Vec<Joined> {
    let signed_in = || Some(sample::facts(Action::Navigate, &[]));
    vec![
        sample::done(Action::Read, &["4", "5"]),
        sample::done(Action::Search, &[]),
        sample::done(Action::Disclose, &["4"]),
        sample::refused("CG-3001", &["4"]),
        sample::ended(Action::Update, &["4"], End::UpstreamFailed, None),
        sample::event(Event::Login, signed_in(), &[]),
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
        sample::event(Event::Stopped, None, &[]),
    ]
}

#[test]
fn each_kind_is_written_as_it_was() {
    let written: Vec<String> = examples().iter().flat_map(lines).collect();
    assert_eq!(written, GOLDEN.lines().collect::<Vec<_>>());
}

/// The message in a line, whose header must be that of ITI-20.
fn message(line: &str) -> Read {
    let fields: Vec<&str> = line.splitn(8, ' ').collect();
    assert_eq!(
        (fields[0], fields[3], fields[5]),
        ("<85>1", "chartgate", MSGID)
    );
    read(fields[7])
}

fn code(element: &Read) -> (&str, &str) {
    for name in ["csd-code", "codeSystemName", "originalText"] {
        assert!(!element.attribute(name).is_empty(), "{name}: {element:?}");
    }
    (
        element.attribute("csd-code"),
        element.attribute("codeSystemName"),
    )
}

/// What the schema asks for: which elements in which order, and which attributes.
fn holds(message: &Read) {
    assert_eq!(message.name, "AuditMessage");
    let order = [
        "EventIdentification",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ];
    let places: Vec<usize> = message
        .children
        .iter()
        .map(|child| order.iter().position(|name| *name == child.name).unwrap())
        .collect();
    assert!(places.is_sorted() && places.starts_with(&[0, 1]));
    let event = &message.children[0];
    assert!(["C", "R", "U", "D", "E"].contains(&event.attribute("EventActionCode")));
    assert!(["0", "4", "8", "12"].contains(&event.attribute("EventOutcomeIndicator")));
    event
        .attribute("EventDateTime")
        .parse::<jiff::Timestamp>()
        .unwrap();
    code(event.all("EventID")[0]);
    let participants = message.all("ActiveParticipant");
    for participant in &participants {
        assert!(!participant.attribute("UserID").is_empty());
        for role in participant.all("RoleIDCode") {
            code(role);
        }
    }
    assert!(
        participants
            .iter()
            .filter(|p| p.attribute("UserIsRequestor") == "true")
            .count()
            <= 1
    );
    assert_eq!(message.all("AuditSourceIdentification").len(), 1);
    for object in message.all("ParticipantObjectIdentification") {
        code(object.all("ParticipantObjectIDTypeCode")[0]);
        assert!(
            object
                .attributes
                .iter()
                .any(|(name, _)| name == "ParticipantObjectID")
        );
        let named =
            object.all("ParticipantObjectName").len() + object.all("ParticipantObjectQuery").len();
        assert_eq!(named, 1);
        for detail in object.all("ParticipantObjectDetail") {
            assert!(!detail.attribute("type").is_empty());
            assert!(!detail.attribute("value").is_empty());
        }
    }
}

#[test]
fn every_action_and_event_is_a_message_for_each_patient_as_it_is_a_fhir_event() {
    for action in Action::ALL {
        for patients in [&[][..], &["4"], &["4", "5"]] {
            let joined = sample::done(*action, patients);
            let lines = lines(&joined);
            assert_eq!(lines.len(), fhir::events(&joined).len());
            for line in &lines {
                holds(&message(line));
            }
        }
    }
    let ids = |joined: &Joined| {
        let message = message(&lines(joined)[0]);
        let event = &message.children[0];
        let subtype = event
            .all("EventTypeCode")
            .first()
            .map(|e| code(e).0.to_owned());
        (code(event.all("EventID")[0]).0.to_owned(), subtype)
    };
    let of = |id: &str, subtype: &str| (id.to_owned(), Some(subtype.to_owned()));
    assert_eq!(
        ids(&sample::done(Action::Read, &["4"])),
        of("110110", "read")
    );
    assert_eq!(
        ids(&sample::done(Action::Search, &[])),
        of("110112", "search")
    );
    assert_eq!(ids(&sample::done(Action::Read, &[])), of("110100", "read"));
    assert_eq!(
        ids(&sample::done(Action::Administer, &[])),
        of("110113", "110132")
    );
    assert_eq!(
        ids(&sample::event(Event::Login, None, &[])),
        of("110114", "110122")
    );
    assert_eq!(ids(&sample::event(Event::AuditRead, None, &[])).0, "110101");
}

#[test]
fn outcomes_are_those_of_the_other_exports() {
    let outcome = |joined: &Joined| {
        message(&lines(joined)[0]).children[0]
            .attribute("EventOutcomeIndicator")
            .to_owned()
    };
    assert_eq!(outcome(&sample::done(Action::Read, &["4"])), "0");
    assert_eq!(outcome(&sample::refused("CG-3001", &["4"])), "8");
    assert_eq!(outcome(&sample::refused("CG-2001", &[])), "4");
}

#[test]
fn a_patient_is_numbered_as_hl7_does() {
    let patient = |system: &str, id: &str| {
        let mut patient = sample::patient(id);
        system.clone_into(&mut patient.system);
        objects::identifier(&patient)
    };
    assert_eq!(
        patient("urn:oid:2.16.840.1", "0001"),
        "0001^^^&2.16.840.1&ISO"
    );
    assert_eq!(patient("urn:example:pid", "4"), "4^^^&urn:example:pid&URI");
    assert_eq!(patient("", "a^b&c"), "a\\S\\b\\T\\c");
}

#[test]
fn a_record_too_long_for_syslog_is_cut_and_not_left_out() {
    let long = "&\u{10ffff}\n".repeat(60_000);
    let keys: Vec<String> = (0..200).map(|n| format!("{n}{long}")).collect();
    let detail: Vec<(&str, &str)> = keys
        .iter()
        .map(|key| (key.as_str(), long.as_str()))
        .collect();
    let mut facts = sample::facts(Action::Read, &["4"]);
    long.clone_into(&mut facts.path);
    let mut joined = sample::event(Event::Alarm, Some(facts), &detail);
    for name in ["patient", "operator", "level", "result"] {
        joined.entry.detail.insert(name.to_owned(), long.clone());
    }
    let lines = lines(&joined);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() <= MAX_MESSAGE);
    holds(&message(&lines[0]));
    assert!(lines[0].contains('…'));
}

proptest! {
    #[test]
    fn whatever_a_record_holds_is_a_value(path in "(?s).{0,40}", id in "(?s).{1,20}", reason in "(?s).{0,40}", role in "(?s).{1,10}") {
        let mut joined = sample::done(Action::Read, &[&id]);
        path.clone_into(&mut joined.entry.facts.as_mut().unwrap().path);
        let event = sample::event(Event::BreakGlass, Some(sample::facts(Action::Read, &[])), &[("reason", &reason), ("patient", &id), ("user", &role)]);
        for joined in [joined, event] {
            for line in lines(&joined) {
                prop_assert!(!line.contains(['\n', '\r']));
                holds(&message(&line));
            }
        }
    }
}
