//! One day in the sample clinic, as its people and its operators live it; in the evening all of it is on the trail.
//!
//! What operators do is done with the program itself, so that every command is used as they use it.

use std::collections::BTreeSet;

use chartgate::request::Event;
use http::StatusCode;
use serde_json::Value;

use crate::harness::practice::{eventually, witnessed};
use crate::harness::process::chartgate;
use crate::harness::{House, without_limits};
use crate::monitoring::told;

/// Uses the command line on the clinic, and demands that it goes well.
pub(crate) async fn run(house: &House, command: &[&str]) -> String {
    let (code, out) = attempt(house, command).await;
    assert_eq!(code, Some(0), "{command:?}: {out}");
    out
}

/// Uses the command line on the clinic.
async fn attempt(house: &House, command: &[&str]) -> (Option<i32>, String) {
    let config = house.clinic.facts().config.display().to_string();
    let ended = chartgate(&[command, &["--config", &config]].concat()).await;
    (ended.code, format!("{}{}", ended.out, ended.err))
}

/// The checks of the security posture that do not pass.
async fn failing(house: &House) -> BTreeSet<String> {
    let (code, out) = attempt(house, &["posture", "--json"]).await;
    assert!(matches!(code, Some(0 | 1)), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() >= 25, "{}", checks.len());
    let failed = checks.iter().filter(|check| check["verdict"] == "fail");
    failed
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn note(house: &House, browser: &mut crate::harness::Browser) -> crate::harness::Page {
    let url = house.url("/chart/notes");
    browser.post_form(&url, &[("text", "Slept well.")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_the_clinic_is_on_the_trail() {
    let mut house = House::open_with(without_limits).await;
    let before = failing(&house).await;

    morning(&house).await;
    a_scraping_user_is_stopped(&mut house).await;
    lockdown(&house).await;
    training(&house).await;
    evening(&house).await;

    let after = failing(&house).await;
    for put_right in ["backup-fresh", "restore-drilled"] {
        assert!(before.contains(put_right), "{put_right}: {before:?}");
        assert!(!after.contains(put_right), "{put_right}: {after:?}");
    }
    all_of_it_is_on_the_trail(&house).await;
}

/// A chart, a refusal explained, a broken glass and its review.
async fn morning(house: &House) {
    let mut physician = house.on_chart("dr.okafor", "7").await;
    let page = physician.get(&house.url("/chart")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let written = note(house, &mut physician).await;
    assert!(written.status.is_redirection(), "{}", written.text());

    let mut clerk = house.on_chart("billing.shah", "7").await;
    let refused = clerk.get(&house.url("/chart/notes")).await;
    assert_eq!(refused.refusal(), Some("CG-3001"));
    let request = refused.header("x-request-id").unwrap();
    let why = run(house, &["policy", "explain", "--request", request]).await;
    assert!(
        why.contains("notes") && why.contains("billing") && why.contains('7'),
        "{why}"
    );

    let mut doctor = house.on_chart("dr.okafor", "13").await;
    let opened = house.opened(&mut doctor, "/chart/psychotherapy").await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text());
    let listed = run(house, &["breakglass", "list", "--json"]).await;
    let glass: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let id = glass["id"].as_str().unwrap();
    run(house, &["breakglass", "end", id]).await;
    let review = [
        "breakglass",
        "review",
        id,
        "--outcome",
        "appropriate",
        "--note",
        "On call, and the patient was unconscious.",
    ];
    run(house, &review).await;
    let opened = run(house, &["report", "patient", "13", "--format", "csv"]).await;
    assert!(opened.contains("dr.okafor"), "{opened}");
}

/// Somebody walks through the charts: the alarm, the end of the session, the case, and the evidence that leaves.
async fn a_scraping_user_is_stopped(house: &mut House) {
    let mut nurse = house.at_work("nurse.lind").await;
    for patient in 1..=11 {
        let url = house.url(&format!("/patients/select?set_pid={patient}"));
        nurse.get(&url).await;
    }
    let alarm = told(house, "sequential_patients").await;
    assert_eq!(alarm["user"], "nurse.lind");
    eventually("the end of the session", async || {
        let page = nurse.get(&house.url("/patients/select?set_pid=12")).await;
        let to = page.header("location").unwrap_or_default().to_owned();
        to.starts_with("/.chartgate/login").then_some(())
    })
    .await;

    let case = alarm["case"]
        .as_str()
        .map_or_else(|| alarm["case"].to_string(), ToOwned::to_owned);
    run(house, &["incident", "open", "--case", &case]).await;
    let bundle = house.data_dir().join("incident-1.tar");
    let bundle = bundle.to_str().unwrap();
    run(house, &["incident", "evidence", "1", "--output", bundle]).await;
    run(
        house,
        &["incident", "close", "1", "--note", "A test of the alarm."],
    )
    .await;
    let close = [
        "case",
        "close",
        &case,
        "--outcome",
        "confirmed",
        "--note",
        "Seen.",
    ];
    run(house, &close).await;
    // Offline: the public key and the bundle are all there is.
    let key = house.data_dir().join("keys/signing.pub");
    let verify = ["incident", "verify", bundle, "--key", key.to_str().unwrap()];
    let verified = chartgate(&verify).await;
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
}

/// Nothing is changed while it holds; reading goes on.
async fn lockdown(house: &House) {
    let mut physician = house.on_chart("dr.okafor", "7").await;
    let reason = ["--reason", "Ransomware in the billing network"];
    run(house, &[&["lockdown", "set", "L2"][..], &reason].concat()).await;
    let refused = note(house, &mut physician).await;
    assert!(refused.refusal().is_some(), "{}", refused.text());
    let page = physician.get(&house.url("/chart")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    run(house, &["lockdown", "lift"]).await;
    let written = note(house, &mut physician).await;
    assert!(written.status.is_redirection(), "{}", written.text());
}

/// Who is overdue reads only, until the course is done.
async fn training(house: &House) {
    let mut clerk = house.on_chart("billing.shah", "4").await;
    let url = house.url("/billing");
    let charge = [("pid", "4"), ("code", "99213"), ("amount", "80")];
    let refused = clerk.post_form(&url, &charge).await;
    assert_eq!(refused.refusal(), Some("CG-3011"), "{}", refused.text());
    house.takes(&mut clerk, "privacy-and-security", true).await;
    eventually("the charge", async || {
        let page = clerk.post_form(&url, &charge).await;
        page.refusal().is_none().then_some(())
    })
    .await;
    let status = run(house, &["training", "status"]).await;
    assert!(status.contains("privacy-and-security"), "{status}");
}

/// What is saved comes back, permissions are signed off, and the screen of the evening says so.
async fn evening(house: &House) {
    witnessed(house.data_dir()).await;
    run(house, &["backup", "run"]).await;
    let drilled = run(house, &["backup", "drill"]).await;
    assert!(
        drilled.contains("RPO ") && drilled.contains("RTO "),
        "{drilled}"
    );
    let screen = run(house, &["status"]).await;
    for line in [
        "sessions ",
        "CG-3001 ",
        "lockdown",
        "cases",
        "training",
        "backup",
        "posture",
    ] {
        assert!(screen.contains(line), "{line}: {screen}");
    }
}

async fn all_of_it_is_on_the_trail(house: &House) {
    let events: Vec<Event> = house
        .trail()
        .into_iter()
        .filter_map(|entry| entry.event)
        .collect();
    for event in [
        Event::Login,
        Event::BreakGlass,
        Event::BreakGlassReviewed,
        Event::Alarm,
        Event::SessionRevoked,
        Event::CaseOpened,
        Event::CaseClosed,
        Event::IncidentOpened,
        Event::IncidentClosed,
        Event::LockdownChanged,
        Event::TrainingAttested,
        Event::BackupMade,
        Event::BackupDrilled,
        Event::PostureAssessed,
    ] {
        assert!(events.contains(&event), "{event:?}: {events:?}");
    }
    let refused = house.refusals();
    for code in ["CG-3001", "CG-3006", "CG-3011"] {
        assert!(refused.iter().any(|(found, _)| found == code), "{code}");
    }
    run(house, &["audit", "verify"]).await;
}
