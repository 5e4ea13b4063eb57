//! A mass-casualty event: whoever breaks the glass opens the charts of a whole ward, as long as it lasts.

use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::entry::Phase;
use chartgate::operate::break_glass::{Access, Ask, Glass, Which};
use chartgate::policy::standing::Scope;
use chartgate::request::Event;
use http::StatusCode;

use crate::break_glass::{BANNER, WORDS, offer};
use crate::care;
use crate::contain::{is_cut, lock_down};
use crate::day::run;
use crate::harness::live::socket;
use crate::harness::practice::eventually;
use crate::harness::{Browser, House, Page, hidden};

const EVENT: &str = "Bus accident, 40 injured";
const CHOICE: &str = "name=\"reach\" value=\"ward\"";
/// Patients 7 and 13 lie in the emergency department, 19 and 25 on the ward.
const BEFORE: &str =
    "dr.okafor,7,ED,\ndr.okafor,13,ED,\ndr.okafor,19,3-west,\ndr.okafor,25,3-west,\n";
/// Patient 13 was moved to the ward, and 19 was brought in.
const AFTER: &str =
    "dr.okafor,7,ED,\ndr.okafor,13,3-west,\ndr.okafor,19,ED,\ndr.okafor,25,3-west,\n";

/// Selects a patient at the EMR and opens a page of the chart.
async fn chart(house: &House, browser: &mut Browser, patient: &str, path: &str) -> Page {
    let url = house.url(&format!("/patients/select?set_pid={patient}"));
    let selected = browser.get(&url).await;
    assert_eq!(selected.status, StatusCode::FOUND, "{}", selected.text());
    browser.get(&house.url(path)).await
}

/// The form behind a refusal.
async fn form(house: &House, browser: &mut Browser, refused: &Page) -> Page {
    let form = browser.get(&house.url(&offer(refused))).await;
    assert_eq!(form.status, StatusCode::OK, "{}", form.text());
    form
}

/// Sends the form with a choice of what is opened.
async fn choose(house: &House, browser: &mut Browser, form: &Page, reach: &str) -> Page {
    let ticket = hidden(form, "offer");
    let fields = [
        ("offer", ticket.as_str()),
        ("reason", "OVRER"),
        ("text", WORDS),
        ("reach", reach),
        // What a browser says of a ward or a patient is nothing.
        ("ward", "3-west"),
        ("patient", "25"),
    ];
    let url = house.url("/.chartgate/break-glass");
    browser.post_form(&url, &fields).await
}

async fn status_line(house: &House) -> String {
    let status = house.ask(AdminRequest::Status).await.unwrap();
    let checks = status[0]["checks"].as_array().unwrap();
    let line = checks.iter().find(|check| check["name"] == "break-glass");
    line.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_opens_the_declared_ward_and_nothing_else_until_it_is_lifted() {
    let dir = tempfile::tempdir().unwrap();
    care::write(dir.path(), BEFORE);
    let house = care::house(dir.path()).await;
    let mut nurse = house.at_work("nurse.lind").await;

    // Nothing is declared: the form has no such choice, and a browser that makes it up gets nothing.
    let refused = chart(&house, &mut nurse, "7", "/chart").await;
    let shown = form(&house, &mut nurse, &refused).await;
    assert!(!shown.text().contains(CHOICE), "{}", shown.text());
    for (reach, problem) in [("ward", "no event is declared"), ("ED", "Choose what")] {
        let sent = choose(&house, &mut nurse, &shown, reach).await;
        assert_eq!(sent.status, StatusCode::UNPROCESSABLE_ENTITY, "{reach}");
        assert!(sent.text().contains(problem), "{}", sent.text());
    }
    assert!(house.events(Event::BreakGlass).is_empty());

    let declare = ["breakglass", "declare", "--ward", "ED", "--reason", EVENT];
    let said = run(&house, &declare).await;
    assert!(said.contains("2 patients lie there"), "{said}");
    let listed = run(&house, &["breakglass", "declared"]).await;
    assert!(
        listed.contains("ward ED") && listed.contains(EVENT),
        "{listed}"
    );
    let line = status_line(&house).await;
    assert!(
        line.contains("amber") && line.contains("mass-casualty event on ward ED"),
        "{line}"
    );

    let shown = form(&house, &mut nurse, &refused).await;
    assert!(
        shown.text().contains("All charts of ward ED until"),
        "{}",
        shown.text()
    );
    assert!(shown.text().contains(EVENT));
    // Who lies somewhere else gets the form for one chart.
    let other = chart(&house, &mut nurse, "19", "/chart").await;
    let other = form(&house, &mut nurse, &other).await;
    assert!(!other.text().contains(CHOICE), "{}", other.text());
    let sent = choose(&house, &mut nurse, &other, "ward").await;
    assert_eq!(sent.status, StatusCode::UNPROCESSABLE_ENTITY);

    chart(&house, &mut nurse, "7", "/chart").await;
    let sent = choose(&house, &mut nurse, &shown, "ward").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    let page = nurse.follow(sent).await;
    assert!(page.text().contains(BANNER), "{}", page.text());
    assert!(page.text().contains("reading charts of ward ED until"));
    reads_the_ward_and_no_more(&house, &mut nurse).await;
    records_name_the_grant(&house).await;

    // Who is moved out is closed, who is brought in is open.
    care::write(dir.path(), AFTER);
    eventually("13 is closed", async || {
        let mut nurse = nurse.clone();
        let page = chart(&house, &mut nurse, "13", "/chart").await;
        (page.refusal() == Some("CG-3006")).then_some(())
    })
    .await;
    let page = chart(&house, &mut nurse, "19", "/chart").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());

    let said = run(&house, &["breakglass", "lift", "--ward", "ED"]).await;
    assert!(said.contains("1 glasses"), "{said}");
    for patient in ["7", "13", "19", "25"] {
        let page = chart(&house, &mut nurse, patient, "/chart").await;
        assert_eq!(page.refusal(), Some("CG-3006"), "{patient}");
        let shown = form(&house, &mut nurse, &page).await;
        assert!(!shown.text().contains(CHOICE));
    }
    // A form from before asks anew, for the one chart.
    let sent = choose(&house, &mut nurse, &shown, "ward").await;
    assert_eq!(sent.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!sent.text().contains(CHOICE), "{}", sent.text());
    let sent = choose(&house, &mut nurse, &sent, "ward").await;
    assert_eq!(sent.status, StatusCode::UNPROCESSABLE_ENTITY);
    is_reviewed_and_verified(&house).await;
}

async fn reads_the_ward_and_no_more(house: &House, nurse: &mut Browser) {
    for patient in ["7", "13"] {
        for path in ["/chart", "/chart/sensitive", "/chart/psychotherapy"] {
            let page = chart(house, nurse, patient, path).await;
            assert_eq!(page.status, StatusCode::OK, "{patient} {}", page.text());
            assert!(page.text().contains(BANNER), "{patient} {path}");
        }
        for path in ["/chart/print", &format!("/patients/{patient}/export.csv")] {
            let page = nurse.get(&house.url(path)).await;
            assert_eq!(page.refusal(), Some("CG-3001"), "{path}");
        }
        let deletion = house.url(&format!("/patients/{patient}/delete"));
        let page = nurse.post_form(&deletion, &[("text", "x")]).await;
        assert_eq!(page.refusal(), Some("CG-3001"));
    }
    for patient in ["19", "25"] {
        let page = chart(house, nurse, patient, "/chart").await;
        assert_eq!(page.refusal(), Some("CG-3006"), "{patient}");
    }
    // It is the nurse's own glass: nobody else's.
    let mut doctor = house.at_work("dr.okafor").await;
    let page = chart(house, &mut doctor, "7", "/chart/psychotherapy").await;
    assert_eq!(page.refusal(), Some("CG-3006"));
}

async fn records_name_the_grant(house: &House) {
    let [glass] = house.glasses(Which::Open).await.try_into().unwrap();
    let opened: Vec<_> = house
        .trail()
        .into_iter()
        .filter(|entry| entry.phase == Phase::Admit)
        .filter_map(|entry| {
            let patient = entry.patients().next()?.id.clone();
            let grant = entry.facts?.decision?.grant?;
            Some((patient, grant))
        })
        .collect();
    for patient in ["7", "13"] {
        let read = (patient.to_owned(), glass.id.clone());
        assert!(opened.contains(&read), "{opened:?}");
    }
    let others = ["19", "25"].map(str::to_owned);
    assert!(opened.iter().all(|(patient, _)| !others.contains(patient)));
    let [broken] = house.particulars(Event::BreakGlass).try_into().unwrap();
    assert_eq!(broken["ward"], "ED");
    assert_eq!(broken["grant"], glass.id);
    let show = Ask::Show {
        id: glass.id.clone(),
    };
    let shown = house.ask(AdminRequest::BreakGlass(show)).await.unwrap();
    let shown: Vec<Access> = shown
        .into_iter()
        .skip(1)
        .map(|value| serde_json::from_value(value).unwrap())
        .collect();
    for patient in ["7", "13"] {
        let of_patient = |access: &Access| access.patients == [patient];
        assert!(shown.iter().any(of_patient), "{shown:?}");
    }
    let rules: Vec<String> = house
        .particulars(Event::Alarm)
        .into_iter()
        .map(|mut alarm| alarm.remove("rule").unwrap())
        .collect();
    for rule in ["mass-casualty", "break-glass"] {
        assert!(rules.iter().any(|one| one == rule), "{rules:?}");
    }
}

async fn is_reviewed_and_verified(house: &House) {
    let [glass]: [Glass; 1] = house.glasses(Which::Unreviewed).await.try_into().unwrap();
    let ended = house.particulars(Event::BreakGlassEnded);
    assert_eq!(
        (ended[0]["grant"].as_str(), ended[0]["how"].as_str()),
        (glass.id.as_str(), "lifted")
    );
    let [over] = house
        .particulars(Event::WardDeclarationEnded)
        .try_into()
        .unwrap();
    assert_eq!(
        (over["ward"].as_str(), over["how"].as_str()),
        ("ED", "lifted")
    );
    let review = [
        "breakglass",
        "review",
        &glass.id,
        "--outcome",
        "appropriate",
        "--note",
        "On duty when the injured came in.",
    ];
    run(house, &review).await;
    let shown = run(house, &["breakglass", "show", &glass.id]).await;
    assert!(shown.contains("ward ED, under mc-"), "{shown}");
    run(house, &["audit", "verify"]).await;
}

/// What stands open by a glass for the ward is cut when the event is lifted.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_connection_is_cut_when_the_event_is_lifted() {
    let dir = tempfile::tempdir().unwrap();
    care::write(dir.path(), BEFORE);
    let house = care::house(dir.path()).await;
    let declare = Ask::Declare {
        ward: "ED".to_owned(),
        reason: EVENT.to_owned(),
        seconds: None,
    };
    house.ask(AdminRequest::BreakGlass(declare)).await.unwrap();
    let mut officer = house.at_work("privacy.stein").await;
    let refused = chart(&house, &mut officer, "7", "/chart/notes").await;
    let shown = form(&house, &mut officer, &refused).await;
    let sent = choose(&house, &mut officer, &shown, "ward").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    // At level 3 it is the broken glass alone that keeps the EMR's frame open to somebody who treats nobody.
    lock_down(&house, Scope::All, 3).await;
    let mut live = socket(&house, &officer).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    futures_util::SinkExt::send(
        &mut live,
        tokio_tungstenite::tungstenite::Message::text("ping"),
    )
    .await
    .unwrap();
    let echo = futures_util::StreamExt::next(&mut live).await;
    assert_eq!(echo.unwrap().unwrap().to_text().unwrap(), "ping");
    let lift = Ask::Lift {
        ward: "ED".to_owned(),
    };
    house.ask(AdminRequest::BreakGlass(lift)).await.unwrap();
    // Streams are decided again within a second of a new generation.
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_cut(&mut live).await;
    let page = officer.get(&house.url("/chart/notes")).await;
    assert_ne!(page.status, StatusCode::OK);
}
