//! Golden events, and the essential rules of the profiles for every action.

use super::*;
use crate::audit::fixture as sample;
use crate::audit::outcome::End;
use crate::request::facts::Decision;
use crate::request::{Action, Event};

const GOLDEN: &str = include_str!("../golden/fhir.ndjson");

fn with_purpose(mut joined: Joined, purpose: &str) -> Joined {
    let decision: Option<&mut Decision> = joined
        .entry
        .facts
        .as_mut()
        .and_then(|f| f.decision.as_mut());
    purpose.clone_into(&mut decision.unwrap().purpose);
    joined
}

/// One record of each kind that matters.
fn examples() -> Vec<Joined> {
    let signed_in = || Some(sample::facts(Action::Navigate, &[]));
    vec![
        sample::done(Action::Read, &["4"]),
        sample::done(Action::Search, &[]),
        sample::done(Action::Create, &["4"]),
        sample::done(Action::Update, &["4", "5"]),
        sample::done(Action::Delete, &["4"]),
        with_purpose(sample::done(Action::Disclose, &["4"]), "PATRQT"),
        sample::refused("CG-3001", &["4"]),
        sample::ended(Action::Read, &["4"], End::UpstreamFailed, None),
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
    let written: Vec<String> = examples()
        .iter()
        .flat_map(events)
        .map(|event| event.to_string())
        .collect();
    assert_eq!(written, GOLDEN.lines().collect::<Vec<_>>());
}

fn profile(event: &Value) -> Option<&str> {
    let profile = event["meta"]["profile"][0].as_str()?;
    profile.strip_prefix(PROFILE)
}

#[test]
fn the_right_profile_is_claimed_for_each_action() {
    let claimed = |action, patients: &[&str]| {
        let events = events(&sample::done(action, patients));
        let names: Vec<String> = events
            .iter()
            .map(|event| profile(event).unwrap_or("-").to_owned())
            .collect();
        names.join(" ")
    };
    for (action, bare, of_patient) in [
        (Action::Search, "Query", "PatientQuery"),
        (Action::Read, "Read", "PatientRead"),
        (Action::Create, "Create", "PatientCreate"),
        (Action::Update, "Update", "PatientUpdate"),
        (Action::Delete, "Delete", "PatientDelete"),
        (Action::Print, "Read", "PatientRead"),
        (Action::Export, "Read", "PatientRead"),
        (
            Action::Disclose,
            "Read",
            "PatientRead PrivacyDisclosure.Source",
        ),
        (Action::Order, "Create", "PatientCreate"),
        (Action::Sign, "Update", "PatientUpdate"),
        (Action::Administer, "-", "-"),
        (Action::Navigate, "-", "-"),
        (Action::Unmapped, "-", "-"),
    ] {
        assert_eq!(claimed(action, &[]), bare, "{action:?}");
        assert_eq!(claimed(action, &["4"]), of_patient, "{action:?}");
    }
    assert_eq!(
        claimed(Action::Read, &["4", "5", "4"]),
        "PatientRead PatientRead"
    );
}

#[test]
fn whoever_appeared_in_a_list_has_an_event_of_their_own() {
    let claimed = |action, charts: &[&str]| {
        let events = events(&sample::listed(action, charts, &["4", "5"]));
        let of = |event: &Value| {
            let ids = event["entity"].as_array().unwrap().iter();
            let patient = ids.clone().find(|entity| entity["role"]["code"] == "1");
            let id = patient.unwrap()["what"]["identifier"]["value"].clone();
            let listed = patient.unwrap()["detail"][0]["valueString"] == "in a list";
            let mark = if listed { " listed" } else { "" };
            let profile = profile(event).unwrap_or("-");
            format!("{} {profile}{mark}", id.as_str().unwrap())
        };
        events.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        claimed(Action::Search, &[]),
        ["4 PatientQuery listed", "5 PatientQuery listed"]
    );
    // A chart that is opened, and a list beside it.
    assert_eq!(
        claimed(Action::Read, &["5", "6"]),
        ["5 PatientRead", "6 PatientRead", "4 PatientQuery listed"]
    );
    assert_eq!(
        claimed(Action::Export, &[]),
        ["4 PatientRead listed", "5 PatientRead listed"]
    );
    let research = with_purpose(sample::listed(Action::Export, &[], &["4", "5"]), "HRESCH");
    assert_eq!(events(&research).len(), 4, "each of them was disclosed");
    let mut cut = sample::listed(Action::Search, &[], &["4", "5"]);
    cut.end.as_mut().unwrap().outcome.end = End::Abandoned;
    assert!(events(&cut).iter().all(|event| profile(event).is_none()));
}

#[test]
fn what_goes_outside_is_a_disclosure_and_care_is_none() {
    let names = |action, purpose| {
        let joined = with_purpose(sample::done(action, &["4"]), purpose);
        events(&joined).len()
    };
    assert_eq!(names(Action::Export, "TREAT"), 1);
    assert_eq!(names(Action::Export, "unknown"), 1);
    assert_eq!(names(Action::Disclose, "unknown"), 2);
    assert_eq!(names(Action::Export, "PATRQT"), 2);
    assert_eq!(names(Action::Print, "HLEGAL"), 2);
    assert_eq!(names(Action::Read, "PATRQT"), 1);
    let refused = with_purpose(sample::refused("CG-3001", &["4"]), "PATRQT");
    assert_eq!(events(&refused).len(), 1);
}

#[test]
fn a_purpose_that_nobody_stated_is_no_code() {
    let event = &events(&with_purpose(sample::done(Action::Read, &["4"]), "unknown"))[0];
    let person = &event["agent"][2];
    assert_eq!(person["requestor"], true, "{event}");
    assert_eq!(person.get("purposeOfUse"), None, "{event}");
    let stated = &events(&sample::done(Action::Read, &["4"]))[0];
    let purpose = &stated["agent"][2]["purposeOfUse"][0]["coding"][0]["code"];
    assert_eq!(purpose, "TREAT");
}

#[test]
fn nothing_but_a_success_claims_a_profile() {
    let cases = [
        (sample::refused("CG-3001", &["4"]), "8"),
        (sample::refused("CG-2001", &[]), "4"),
        (
            sample::ended(Action::Read, &["4"], End::Complete, Some(404)),
            "4",
        ),
        (
            sample::ended(Action::Read, &["4"], End::Complete, Some(500)),
            "8",
        ),
        (
            sample::ended(Action::Read, &["4"], End::Abandoned, Some(200)),
            "4",
        ),
        (
            sample::ended(Action::Disclose, &["4"], End::Unknown, None),
            "8",
        ),
    ];
    for (joined, outcome) in cases {
        for event in events(&joined) {
            assert_eq!(event["outcome"], outcome, "{event}");
            assert_eq!(profile(&event), None, "{event}");
            assert!(event["outcomeDesc"].is_string(), "{event}");
        }
    }
    let mut open = sample::done(Action::Read, &["4"]);
    open.end = None;
    let event = &events(&open)[0];
    assert_eq!((event.get("outcome"), profile(event)), (None, None));
}

#[test]
fn every_id_is_its_own_and_fits_fhir() {
    let disclosed = with_purpose(sample::done(Action::Disclose, &["4", "5"]), "PATRQT");
    let events = events(&disclosed);
    let ids: std::collections::BTreeSet<&str> = events
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!((events.len(), ids.len()), (4, 4));
    for id in ids {
        assert!(id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    }
}
