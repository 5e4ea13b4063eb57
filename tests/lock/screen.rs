//! The lock: nothing is forwarded behind it, its user goes on where they were, anybody else starts clean.

use chartgate::audit::entry::Phase;
use chartgate::request::Event;
use http::StatusCode;
use serde_json::json;

use super::{MINUTE, at_patient, events, house, link};
use crate::harness::{Browser, House};

async fn locked(house: &House, user: &str) -> Browser {
    let mut browser = at_patient(house, user, "4").await;
    let page = browser.post_form(&house.url("/.chartgate/lock"), &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_screen_forwards_nothing_and_goes_on_where_it_was() {
    let (clock, house) = house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    clock.advance(5 * MINUTE);
    let before = house.reached().len();
    let page = doctor.get(&house.url("/chart/notes")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert_eq!(page.refusal(), Some("CG-2024"));
    assert!(page.text().contains("Start clean"), "{}", page.text());
    let mut script = doctor.clone();
    script.scripted = true;
    let answer = script.get(&house.url("/api/patients/4")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("chartgate-session"), Some("locked"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    // The gateway's own pages for people who are signed in are behind the lock, too.
    let own = doctor.get(&house.url("/.chartgate/training")).await;
    assert_eq!(own.refusal(), Some("CG-2024"));
    assert_eq!(house.reached().len(), before, "the EMR saw nothing of it");

    let page = house.sign_in(&mut doctor, "dr.okafor", &link(&page)).await;
    assert_eq!(
        (page.status, page.url.path()),
        (StatusCode::OK, "/chart/notes")
    );
    // The EMR's session went on, with its patient.
    assert!(page.text().contains("data-pid=\"4\""), "{}", page.text());
    let unlocked = events(&house, Event::ScreenUnlocked);
    assert_eq!(unlocked.len(), 1);
    let session = |entry: &chartgate::audit::entry::Entry| entry.facts.clone().unwrap().session;
    let login = events(&house, Event::Login);
    assert_eq!(
        session(&unlocked[0]),
        session(&login[0]),
        "it is the same session"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_locks_by_itself_is_on_record() {
    let (clock, house) = house().await;
    let doctor = at_patient(&house, "dr.okafor", "4").await;
    clock.advance(5 * MINUTE);
    for _ in 0..300 {
        if !events(&house, Event::ScreenLocked).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let locked = events(&house, Event::ScreenLocked);
    assert_eq!(locked.len(), 1);
    assert_eq!(locked[0].detail["cause"], "idle");
    drop(doctor);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_carry_the_script_that_locks_them_and_nothing_else_does() {
    let (_clock, house) = house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    let page = doctor.get(&house.url("/chart")).await;
    let text = page.text();
    let tag = "<script src=\"/.chartgate/lock.js\" data-session=\"";
    assert_eq!(text.matches(tag).count(), 1, "{text}");
    assert!(text.contains(" defer></script>"));
    // Its policy lets the page's own origin run scripts: nothing has to be said.
    let policies = page.headers.get_all("content-security-policy").iter();
    let policies: Vec<_> = policies.map(|p| p.to_str().unwrap()).collect();
    assert!(
        policies.contains(&"default-src 'self'; base-uri 'none'; object-src 'none'"),
        "{policies:?}"
    );
    let screen = doctor.get(&house.url("/.chartgate/session")).await.json();
    assert_eq!(
        (&screen["state"], &screen["after"]),
        (&json!("open"), &json!(300))
    );
    let mark = screen["session"].as_str().unwrap();
    assert!(text.contains(&format!("data-session=\"{mark}\"")));
    let fingerprint = events(&house, Event::Login)[0]
        .facts
        .clone()
        .unwrap()
        .session
        .unwrap();
    assert!(
        !text.contains(&fingerprint),
        "a page does not name its session"
    );
    for path in ["/static/clinic.js", "/api/patients/4"] {
        assert!(
            !doctor
                .get(&house.url(path))
                .await
                .text()
                .contains("lock.js"),
            "{path}"
        );
    }
    let script = doctor.get(&house.url("/.chartgate/lock.js")).await;
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert!(script.text().contains("chartgateScreen"));
    let done = doctor.get(&house.url("/.chartgate/unlocked")).await;
    assert_eq!(done.status, StatusCode::OK);

    let plain = House::open().await;
    let mut doctor = at_patient(&plain, "dr.okafor", "4").await;
    assert!(
        !doctor
            .get(&plain.url("/chart"))
            .await
            .text()
            .contains("lock.js")
    );
    for path in [
        "/.chartgate/lock.js",
        "/.chartgate/session",
        "/.chartgate/lock",
    ] {
        let page = doctor.get(&plain.url(path)).await;
        assert_eq!(page.refusal(), Some("CG-1014"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emr_s_session_is_kept_behind_the_lock_on_record_and_not_for_ever() {
    let (clock, house) = house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    doctor.scripted = true;
    let kept = || {
        let reached = house.reached();
        reached
            .iter()
            .filter(|one| *one == "GET /api/poll?wait=0")
            .count()
    };
    clock.advance(4 * MINUTE);
    doctor.get(&house.url("/.chartgate/session")).await;
    assert_eq!(kept(), 0, "nothing is kept while somebody may work");
    clock.advance(MINUTE);
    for _ in 0..3 {
        let screen = doctor.get(&house.url("/.chartgate/session")).await.json();
        assert_eq!(screen["state"], "locked");
    }
    assert_eq!(kept(), 1);
    clock.advance(5 * MINUTE);
    doctor.get(&house.url("/.chartgate/session")).await;
    assert_eq!(kept(), 2);
    let admitted: Vec<_> = house
        .trail()
        .into_iter()
        .filter(|entry| {
            let fields = entry
                .facts
                .as_ref()
                .and_then(|facts| facts.mapping.as_ref());
            entry.phase == Phase::Admit
                && fields.is_some_and(|m| {
                    m.fields
                        .get("gateway")
                        .is_some_and(|why| why == "keep-alive")
                })
        })
        .collect();
    assert_eq!(admitted.len(), 2);
    let outcome = house.outcome_of(admitted[0].id).await.outcome.unwrap();
    assert_eq!(outcome.status, Some(200));
    // It prolonged nothing.
    clock.advance(5 * MINUTE);
    let screen = doctor.get(&house.url("/.chartgate/session")).await.json();
    assert_eq!(screen["state"], "none");
    assert_eq!(kept(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_at_a_locked_screen_starts_clean_at_gateway_and_emr() {
    let (_clock, house) = house().await;
    let mut browser = locked(&house, "dr.okafor").await;
    let emr = browser.cookie("CLINICSESSID").unwrap().to_owned();
    let page = browser.get(&house.url("/chart")).await;
    assert_eq!(page.refusal(), Some("CG-2024"));
    // Whoever has to read the notice before signing in does: the lock leads on to a sign-in of their own.
    let page = house
        .sign_in(&mut browser, "nurse.lind", &link(&page))
        .await;
    assert_eq!(
        page.url.path(),
        "/login",
        "the EMR asks who it is: {}",
        page.text()
    );
    assert_ne!(browser.cookie("CLINICSESSID"), Some(emr.as_str()));
    assert!(
        house.reached().contains(&"GET /logout".to_owned()),
        "{:?}",
        house.reached()
    );
    let chart = browser.get(&house.url("/chart")).await;
    assert!(!chart.text().contains("data-pid"), "{}", chart.text());
    let screen = browser.get(&house.url("/.chartgate/session")).await.json();
    assert_eq!(screen["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_at_a_locked_screen_ends_the_emr_s_session_too() {
    let (_clock, house) = house().await;
    let mut browser = locked(&house, "dr.okafor").await;
    let page = browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
    assert!(house.reached().contains(&"GET /logout".to_owned()));
    assert_eq!(browser.cookie("CLINICSESSID"), None);
    assert_eq!(
        events(&house, Event::ScreenLocked)[0].detail["cause"],
        "user"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_neither_locks_nor_keeps_open() {
    let (clock, house) = house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    for path in ["/.chartgate/active", "/.chartgate/lock"] {
        let mut headers = http::HeaderMap::new();
        headers.insert("origin", "https://evil.example".parse().unwrap());
        headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
        let page = doctor
            .send(http::Method::POST, &house.url(path), None, headers)
            .await;
        assert_eq!(page.refusal(), Some("CG-1012"), "{path}");
    }
    clock.advance(4 * MINUTE);
    let active = doctor
        .post_form(&house.url("/.chartgate/active"), &[])
        .await;
    assert_eq!(active.json()["locks_in"], 300);
    clock.advance(4 * MINUTE);
    assert_eq!(
        doctor.get(&house.url("/chart")).await.status,
        StatusCode::OK
    );
}
