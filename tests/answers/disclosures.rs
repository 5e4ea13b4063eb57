//! What went to somebody outside, from the page that sends it to the accounting that a patient gets.

use std::collections::BTreeSet;

use chartgate::audit::entry::Phase;
use chartgate::request::{Action, Event};
use http::StatusCode;
use serde_json::Value;

use super::{ask, balp, documents};
use crate::harness::House;
use crate::harness::process::chartgate;

/// Sends a copy of the selected patient's chart, as the EMR's form does.
async fn send(house: &House, browser: &mut crate::harness::Browser, to: &str, purpose: &str) {
    let fields = [
        ("recipient", to),
        ("address", "1 Main Street"),
        ("what", "Whole chart"),
        ("purpose", purpose),
    ];
    let page = browser.post_form(&house.url("/chart/send"), &fields).await;
    assert_eq!(page.status, StatusCode::FOUND, "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one accounting, seen in every form")]
async fn a_copy_that_is_sent_and_one_on_paper_are_accounted_for() {
    let house = House::open().await;
    let mut him = house.at_work("him.doyle").await;
    him.visit(&house.url("/patients/select?set_pid=4")).await;
    let form = him.get(&house.url("/chart/send")).await;
    assert!(
        form.text().contains("A court or a lawyer"),
        "{}",
        form.text()
    );
    send(&house, &mut him, "County Court", "HLEGAL").await;
    send(&house, &mut him, "Dr. Bell", "TREAT").await;
    him.get(&house.url("/patients/4/export.csv")).await;
    // Nobody else sends anything, and nothing of it is listed.
    let mut doctor = house.at_work("dr.okafor").await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    let refused = doctor
        .post_form(&house.url("/chart/send"), &[("recipient", "a friend")])
        .await;
    assert_eq!(refused.refusal(), Some("CG-3001"));
    for entry in house.trail() {
        if entry.phase == Phase::Admit {
            house.outcome_of(entry.id).await;
        }
    }
    let paper = [
        "disclosure",
        "record",
        "--patient",
        "4",
        "--to",
        "Health Department",
        "--what",
        "test result",
        "--purpose",
        "PUBHLTH",
        "--date",
        "2026-01-02",
    ];
    let recorded = ask(&house, &paper).await;
    assert!(
        recorded.out.contains("by demo-operator"),
        "{}",
        recorded.out
    );
    let detail = &house.particulars(Event::DisclosureRecorded)[0];
    assert_eq!(detail["to"], "Health Department");

    let text = ask(&house, &["report", "disclosures", "4"]).await.out;
    for part in [
        "County Court",
        "1 Main Street",
        "a legal matter",
        "Health Department",
        "2026-01-02",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for part in ["Dr. Bell", "a friend"] {
        assert!(!text.contains(part), "{part}\n{text}");
    }
    let csv = ask(
        &house,
        &["report", "disclosures", "4", "--all", "--format", "csv"],
    )
    .await
    .out;
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), 4, "{csv}");
    assert!(
        rows.iter()
            .any(|row| row.contains("Dr. Bell") && row.contains(",tpo,")),
        "{csv}"
    );
    assert!(
        rows.iter()
            .any(|row| row.contains(",copy,exported,yes,him.doyle")),
        "{csv}"
    );
    let page = house.data_dir().join("disclosures.html");
    let name = page.to_str().unwrap();
    let html = [
        "report",
        "disclosures",
        "4",
        "--format",
        "html",
        "--output",
        name,
        "--without-staff",
    ];
    ask(&house, &html).await;
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("County Court") && !html.contains("doyle"),
        "{html}"
    );
    let asked = house.particulars(Event::AuditRead);
    assert!(
        asked
            .iter()
            .any(|detail| detail["command"] == "report disclosures 4 --all")
    );
    exports_tell_of_it(&house).await;
    withdrawn(&house, rows[0]).await;
    let wrong = [
        "disclosure",
        "record",
        "--patient",
        "4",
        "--to",
        "x",
        "--what",
        "y",
        "--purpose",
        "HLEAGL",
    ];
    let config = house.clinic.facts().config.display().to_string();
    let refused = chartgate(&[&wrong[..], &["--config", &config]].concat()).await;
    assert_eq!(refused.code, Some(64), "{}", refused.err);
}

/// What was put on record by mistake leaves the accounting, which says so; the entry and its withdrawal stay on the trail.
async fn withdrawn(house: &House, row: &str) {
    assert!(row.contains("Health Department"), "{row}");
    let id = row.rsplit(',').next().unwrap();
    let withdraw = [
        "disclosure",
        "withdraw",
        id,
        "--reason",
        "patient 5 was meant",
    ];
    let said = ask(house, &withdraw).await.out;
    assert!(said.contains("withdrawn by demo-operator"), "{said}");
    assert_eq!(
        house.particulars(Event::DisclosureWithdrawn)[0]["disclosure"],
        id
    );
    let text = ask(house, &["report", "disclosures", "4"]).await.out;
    assert!(!text.contains("Health Department"), "{text}");
    assert!(
        text.contains("1 entry that was put on record by mistake"),
        "{text}"
    );
    assert!(text.contains("From the trail of"), "{text}");
    let config = house.clinic.facts().config.display().to_string();
    // What passed the gateway has another id, and nothing else has one.
    let other = [
        "disclosure",
        "withdraw",
        "01a22e9d-5b1c-7f30-9b7e-3d1f4a5b6c7d",
        "--reason",
        "x",
    ];
    let refused = chartgate(&[&other[..], &["--config", &config]].concat()).await;
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    let nothing = [
        "audit",
        "query",
        "--patient",
        "no-such-patient",
        "--format",
        "csv",
    ];
    let found = ask(house, &nothing).await;
    assert_eq!(found.out.lines().count(), 1, "{}", found.out);
    assert!(
        found.err.contains("nothing on the trail matches"),
        "{}",
        found.err
    );
}

/// The run exercises `Disclose`; both copies are disclosures to FHIR and OCSF, the export of nobody's purpose is none.
async fn exports_tell_of_it(house: &House) {
    let export = async |format: &str| ask(house, &["audit", "export", "--format", format]).await;
    let events = documents(&export("fhir").await.out);
    let found = balp::check_all(&events);
    assert!(found.contains("PrivacyDisclosure.Source"), "{found:?}");
    let disclosed = events.iter().filter(|event| {
        event["meta"]["profile"][0]
            .as_str()
            .is_some_and(|profile| profile.ends_with("PrivacyDisclosure.Source"))
    });
    let told: BTreeSet<String> = disclosed.map(recipient).collect();
    assert_eq!(
        told,
        BTreeSet::from(["County Court".to_owned(), "Dr. Bell".to_owned()])
    );
    let ocsf = documents(&export("ocsf").await.out);
    let bases: BTreeSet<&str> = ocsf
        .iter()
        .filter_map(|event| event["unmapped"]["disclosure.basis"].as_str())
        .collect();
    assert_eq!(bases, BTreeSet::from(["accountable", "tpo"]));
    let actions: BTreeSet<Action> = house
        .trail()
        .iter()
        .filter_map(|entry| Some(entry.facts.as_ref()?.mapping.as_ref()?.action))
        .collect();
    assert!(actions.contains(&Action::Disclose));
}

fn recipient(event: &Value) -> String {
    let entities = event["entity"].as_array().unwrap().iter();
    let details = entities
        .filter_map(|entity| entity["detail"].as_array())
        .flatten();
    let mut named = details.filter(|detail| detail["type"] == "recipient");
    named.next().unwrap()["valueString"]
        .as_str()
        .unwrap()
        .to_owned()
}
