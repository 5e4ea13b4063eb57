//! A working day at the sample clinic, as its users see it and as the trail tells it.

use chartgate::audit::entry::Phase;
use chartgate::audit::outcome::End;
use chartgate::audit::show::Filter;
use chartgate::request::{Action, Event};
use http::StatusCode;

use crate::harness::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_physician_signs_in_opens_a_chart_and_writes_a_note() {
    let house = House::open().await;
    let mut browser = house.browser();
    // The page that was asked for is the page after the sign-in.
    let page = house
        .sign_in(&mut browser, "dr.okafor", &house.url("/echo?from=link"))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.url.as_str().ends_with("/echo?from=link"),
        "{}",
        page.url
    );

    let mut browser = house.at_work("dr.okafor").await;
    let page = browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let page = browser
        .post_form(
            &house.url("/chart/notes"),
            &[("text", "Feels better today.")],
        )
        .await;
    assert!(
        page.status.is_redirection() || page.status.is_success(),
        "{} {}",
        page.status,
        page.text()
    );

    let notes = house.trail_matching(Filter {
        patient: Some("4".to_owned()),
        user: Some("dr.okafor".to_owned()),
        ..Filter::default()
    });
    let created = notes
        .iter()
        .find(|e| {
            e.phase == Phase::Admit
                && e.facts.as_ref().unwrap().mapping.as_ref().unwrap().action == Action::Create
        })
        .expect("the note is on the trail with user, action and patient");
    let outcome = house.outcome_of(created.id).await;
    assert_eq!(outcome.outcome.as_ref().unwrap().end, End::Complete);
    let decision = created.facts.as_ref().unwrap().decision.as_ref().unwrap();
    assert_eq!(decision.care_relation, "unknown");
    assert!(!decision.policies.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_second_factor_is_told_why_and_gets_no_session() {
    let house = House::open().await;
    let mut browser = house.browser();
    let page = house
        .sign_in(&mut browser, "dr.weber", &house.url("/"))
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(page.refusal(), Some("CG-2003"));
    assert!(page.text().contains("second factor"));
    assert!(
        !browser
            .cookies
            .keys()
            .any(|(_, name)| name == "__Host-chartgate")
    );
    assert!(house.reached().is_empty(), "nothing reached the EMR");
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_reads_no_notes_and_the_refusal_is_on_record() {
    let house = House::open().await;
    let mut browser = house.at_work("billing.shah").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let before = house.reached().len();
    let page = browser.get(&house.url("/chart/notes")).await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::FORBIDDEN, Some("CG-3001"))
    );
    assert!(page.text().contains(page.header("x-request-id").unwrap()));
    assert_eq!(house.reached().len(), before, "the EMR saw nothing of it");
    assert!(
        house
            .refusals()
            .contains(&("CG-3001".to_owned(), "/chart/notes".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_profile_maps_is_refused() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    let page = browser.get(&house.url("/some/new/page.php")).await;
    assert_eq!(page.refusal(), Some("CG-3003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_sent_to_sign_in_and_a_script_is_told_so() {
    let house = House::open().await;
    let page = house.browser().get(&house.url("/chart?x=1")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(
        page.header("location")
            .unwrap()
            .starts_with("/.chartgate/login?return_to=")
    );
    let mut script = house.browser();
    script.scripted = true;
    let answer = script.get(&house.url("/api/patients/4")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.json()["code"], "CG-2001");
    assert!(house.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_everywhere() {
    let house = House::open().await;
    let mut browser = house.at_work("nurse.lind").await;
    let old = browser.clone();
    let page = browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    assert!(
        page.status.is_redirection(),
        "{} {}",
        page.status,
        page.text()
    );
    assert!(
        page.header("location")
            .unwrap()
            .starts_with(&house.clinic.facts().issuer),
        "the provider is told"
    );
    assert!(
        house.reached().iter().any(|line| line == "GET /logout"),
        "the EMR is told"
    );
    let mut stolen = old;
    let page = stolen.get(&house.url("/echo")).await;
    assert_ne!(page.status, StatusCode::OK, "the old cookie is dead");
    assert!(
        house
            .trail()
            .iter()
            .any(|entry| entry.event == Some(Event::Logout))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn export_needs_a_fresh_sign_in() {
    let house = House::open().await;
    let mut browser = house.at_work("him.doyle").await;
    let page = browser.get(&house.url("/patients/4/export.csv")).await;
    assert_eq!(
        page.status,
        StatusCode::OK,
        "a sign-in of seconds ago is fresh: {}",
        page.text()
    );
    let page = house
        .at_work("nurse.lind")
        .await
        .get(&house.url("/patients/4/export.csv"))
        .await;
    assert_eq!(page.refusal(), Some("CG-3001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_another_site_is_refused() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let before = house.reached().len();
    let mut headers = http::HeaderMap::new();
    headers.insert("origin", "https://evil.example".parse().unwrap());
    headers.insert(
        "content-type",
        "application/x-www-form-urlencoded".parse().unwrap(),
    );
    let page = browser
        .send(
            http::Method::POST,
            &house.url("/chart/notes"),
            Some("text=x".into()),
            headers,
        )
        .await;
    assert_eq!(page.refusal(), Some("CG-1012"));
    assert_eq!(house.reached().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emr_session_in_the_address_is_refused() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    let before = house.reached().len();
    for query in [
        "CLINICSESSID=stolen",
        "a=1&clinicsessid=stolen",
        "%43LINICSESSID=stolen",
    ] {
        let page = browser.get(&house.url(&format!("/chart?{query}"))).await;
        assert_eq!(page.refusal(), Some("CG-1010"), "{query}");
    }
    assert_eq!(house.reached().len(), before);
}
