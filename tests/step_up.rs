//! A page that opens only after a stronger sign-in: asked for, met, not met, and what scripts and forms are told.

use std::fs;
use std::time::Duration;

use chartgate::audit::entry::Phase;
use chartgate::config::Config;
use chartgate::config::step_up::PhishingResistant;
use chartgate::demo::issuer::Misbehave;
use chartgate::request::Event;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::harness::process::chartgate;
use crate::harness::{Browser, House, without_limits};

/// What the provider states of a sign-in with a security key.
const WITH_KEY: Misbehave = Misbehave::Claims(r#"{"amr": ["pwd", "hwk", "user"]}"#);

fn tuned(config: &mut Config) {
    without_limits(config);
    config.policy.watch_interval = Duration::ZERO;
    let named = &mut config.identity.issuers[0].mfa.phishing_resistant;
    named.acr = vec!["urn:chartgate:acr:key".to_owned()];
    named.amr = vec![vec!["hwk".to_owned()]];
}

/// Writes a demand into the route of the notes, and puts it in force.
async fn demand(house: &House, step_up: &str) {
    let file = house.data_dir().join("policies/emr/sample-clinic.toml");
    let profile = fs::read_to_string(&file).unwrap();
    for id in ["notes", "note-create"] {
        assert!(profile.contains(&format!("id = \"{id}\"\n")));
    }
    let profile = profile
        .replace(
            "id = \"notes\"\n",
            &format!("id = \"notes\"\nstep_up = {step_up}\n"),
        )
        .replace(
            "id = \"note-create\"\n",
            &format!("id = \"note-create\"\nstep_up = {step_up}\n"),
        );
    fs::write(&file, profile).unwrap();
    let config = house.clinic.facts().config.display().to_string();
    let done = chartgate(&["policy", "activate", "--config", &config]).await;
    assert_eq!(done.code, Some(0), "{} {}", done.out, done.err);
}

fn field(url: &Url, name: &str) -> Option<String> {
    let mut found = url.query_pairs().filter(|(n, _)| n == name);
    found.next().map(|(_, value)| value.into_owned())
}

/// As a script asks: by `fetch`, from the page of the chart.
async fn scripted(house: &House, browser: &mut Browser) -> crate::harness::Page {
    browser.scripted = true;
    let mut headers = HeaderMap::new();
    let page = house.url("/chart");
    headers.insert("referer", page.parse().unwrap());
    let url = house.url("/chart/notes");
    let answer = browser.send(Method::GET, &url, None, headers).await;
    browser.scripted = false;
    answer
}

/// A chart whose notes demand a key, used just now.
async fn demanding() -> (House, Browser, String) {
    let house = House::open_with(tuned).await;
    let mut doctor = house.on_chart("dr.okafor", "4").await;
    let notes = house.url("/chart/notes");
    assert_eq!(doctor.get(&notes).await.status, StatusCode::OK);
    demand(
        &house,
        "{ max_age = \"5m\", factor = \"phishing-resistant\" }",
    )
    .await;
    (house, doctor, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_and_a_form_are_told_what_a_route_demands() {
    let (house, mut doctor, notes) = demanding().await;
    // A script is told what would do, and where a person does it.
    let told = scripted(&house, &mut doctor).await;
    assert_eq!(
        (told.status.as_u16(), told.refusal()),
        (401, Some("CG-2007"))
    );
    let challenge = told.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_user_authentication\", ")
            && challenge.contains("acr_values=\"urn:chartgate:acr:key\"")
            && challenge.ends_with("max_age=\"300\""),
        "{challenge}"
    );
    let problem = told.json();
    assert_eq!(problem["acr_values"], "urn:chartgate:acr:key");
    assert_eq!(problem["max_age"], 300);
    let hint =
        "/.chartgate/login?return_to=%2Fchart&step_up=1&max_age=300&factor=phishing-resistant";
    assert_eq!(
        problem["step_up"], hint,
        "back to the page, not to the script's data"
    );

    // A form is not sent, and the page says so.
    let before = house.reached().len();
    let kept = doctor.post_form(&notes, &[("text", "x")]).await;
    assert_eq!(kept.refusal(), Some("CG-2007"));
    let text = kept.text();
    assert!(
        text.contains("What you sent has not reached the EMR")
            && text.contains("not older than 5 minutes"),
        "{text}"
    );
    assert_eq!(house.reached().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_give_it_is_told_once_and_the_session_stays() {
    let (house, mut doctor, notes) = demanding().await;
    // A person is sent to the provider, which does not give it: told once, with the session as it was.
    let sent = doctor.get(&notes).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let asked = doctor
        .get(
            sent.url
                .join(sent.header("location").unwrap())
                .unwrap()
                .as_str(),
        )
        .await;
    let provider = Url::parse(asked.header("location").unwrap()).unwrap();
    assert_eq!(
        field(&provider, "acr_values").as_deref(),
        Some("urn:chartgate:acr:key")
    );
    assert_eq!(field(&provider, "max_age").as_deref(), Some("300"));
    assert_eq!(field(&provider, "prompt").as_deref(), Some("login"));
    let refused = house.sign_in_from(&mut doctor, "dr.okafor", asked).await;
    assert_eq!(refused.refusal(), Some("CG-2020"), "{}", refused.text());
    let text = refused.text();
    assert!(
        text.contains("cannot be phished") && text.contains("did not confirm it"),
        "{text}"
    );
    assert!(text.contains("href=\"/chart/notes\">Try again"), "{text}");
    assert_eq!(
        doctor.get(&house.url("/chart")).await.status,
        StatusCode::OK
    );
    let trail = house.trail();
    let record = trail
        .iter()
        .find(|entry| entry.refusal.as_deref() == Some("CG-2020"))
        .unwrap();
    assert_eq!(
        record.detail["demand"],
        "stepup=300s factor=phishing-resistant"
    );
    assert_eq!(record.detail["lack"], "factor");
    assert!(record.facts.as_ref().unwrap().principal.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_demands_a_factor_that_cannot_be_phished() {
    let (house, mut doctor, notes) = demanding().await;
    // With the key it opens, and the record says what was demanded.
    house.clinic.issuer().misbehave(WITH_KEY);
    let page = house.sign_in(&mut doctor, "dr.okafor", &notes).await;
    assert_eq!(
        (page.status, page.url.path()),
        (StatusCode::OK, "/chart/notes"),
        "{}",
        page.text()
    );
    assert_eq!(scripted(&house, &mut doctor).await.status, StatusCode::OK);
    let trail = house.trail();
    assert!(trail.iter().any(|entry| entry.event == Some(Event::StepUp)));
    let admitted = trail
        .iter()
        .rev()
        .find(|entry| entry.phase == Phase::Admit)
        .unwrap();
    let facts = admitted.facts.as_ref().unwrap();
    let decision = facts.decision.as_ref().unwrap();
    assert_eq!(
        decision.obligations,
        ["stepup=300s", "factor=phishing-resistant"]
    );
    let Some(principal) = &facts.principal else {
        panic!("nobody")
    };
    assert!(principal.proof().phishing_resistant);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_configured_is_said_and_not_asked_for() {
    let house = House::open_with(|config| {
        tuned(config);
        config.identity.issuers[0].mfa.phishing_resistant = PhishingResistant::default();
    })
    .await;
    let mut doctor = house.on_chart("dr.okafor", "4").await;
    demand(&house, "{ factor = \"phishing-resistant\" }").await;
    house.clinic.issuer().misbehave(WITH_KEY);
    let page = doctor.visit(&house.url("/chart/notes")).await;
    assert_eq!(page.refusal(), Some("CG-2020"), "{}", page.text());
    assert!(
        page.text().contains("Nobody has told this gateway"),
        "{}",
        page.text()
    );
    let config = house.clinic.facts().config.display().to_string();
    let asked = [
        "policy",
        "explain",
        "--config",
        &config,
        "--roles",
        "physician",
        "--patient",
        "4",
        "GET /chart/notes",
    ];
    let told = chartgate(&asked).await;
    for line in [
        "  step-up   a sign-in with a factor that cannot be phished",
        "permitted, after a sign-in with",
    ] {
        assert!(told.out.contains(line), "{} {}", told.out, told.err);
    }
    // A second factor is what everybody has here; nobody is asked twice.
    demand_again(&house).await;
    assert_eq!(
        doctor.get(&house.url("/chart/notes")).await.status,
        StatusCode::OK
    );
}

async fn demand_again(house: &House) {
    let file = house.data_dir().join("policies/emr/sample-clinic.toml");
    let profile = fs::read_to_string(&file).unwrap();
    fs::write(&file, profile.replace("\"phishing-resistant\"", "\"mfa\"")).unwrap();
    let config = house.clinic.facts().config.display().to_string();
    let done = chartgate(&["policy", "activate", "--config", &config]).await;
    assert_eq!(done.code, Some(0), "{} {}", done.out, done.err);
}
