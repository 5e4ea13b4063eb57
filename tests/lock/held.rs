//! Forms that met an ended, locked or stale session: kept for their user, sent at their word, shown where that fails.

use chartgate::audit::entry::Phase;
use chartgate::request::Event;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{MINUTE, at_patient, decide, events, held_page, house, link, notes_of, send, steps};
use crate::harness::{Browser, House, Page};

const NOTE: &str = "canary-held-note: sleeps badly & coughs";

async fn locked(house: &House, user: &str) -> Browser {
    let mut browser = at_patient(house, user, "4").await;
    browser.post_form(&house.url("/.chartgate/lock"), &[]).await;
    browser
}

async fn write(house: &House, browser: &mut Browser) -> Page {
    let page = browser
        .post_form(&house.url("/chart/notes"), &[("text", NOTE)])
        .await;
    assert_eq!(page.refusal(), Some("CG-2024"));
    page
}

/// Whether any file of the gateway holds these bytes.
fn on_disk(house: &House, needle: &str) -> bool {
    let mut left = vec![house.data_dir().to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
        {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_behind_the_lock_is_offered_and_sent_by_the_whole_path() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut doctor).await;
    assert!(
        !on_disk(&house, "canary-held"),
        "nothing of it is in clear on disk"
    );
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    let text = offered.text();
    assert!(
        text.contains("canary-held-note: sleeps badly &#38; coughs"),
        "{text}"
    );
    assert!(
        text.contains("Create notes")
            && text.contains("<dd>4</dd>")
            && text.contains("/chart/notes"),
        "{text}"
    );
    assert!(!house.reached().contains(&"POST /chart/notes".to_owned()));
    let sent = send(&mut doctor, &offered).await;
    assert_eq!(
        (sent.status, sent.header("location")),
        (StatusCode::SEE_OTHER, Some("/chart/notes"))
    );
    assert!(
        notes_of(&house, &mut doctor)
            .await
            .contains("canary-held-note")
    );
    assert_eq!(steps(&house), ["held", "offered", "sent"]);

    // The record of the new request names the one that was held.
    let id = refused.header("x-request-id").unwrap();
    let trail = house.trail();
    let admitted: Vec<_> = trail
        .iter()
        .filter(|entry| {
            let facts = entry.facts.as_ref();
            entry.phase == Phase::Admit
                && facts.is_some_and(|facts| facts.method == "POST" && facts.path == "/chart/notes")
        })
        .collect();
    assert_eq!(admitted.len(), 1);
    let facts = admitted[0].facts.as_ref().unwrap();
    let mapping = facts.mapping.as_ref().unwrap();
    assert_eq!(mapping.fields["held"], id);
    assert_eq!(mapping.patients[0].id, "4");
    assert!(facts.decision.is_some(), "it was decided like any other");
    let whole = serde_json::to_string(&trail).unwrap();
    assert!(!whole.contains("canary-held"), "nothing of it is on record");

    // It is gone, and is not sent twice.
    let again = send(&mut doctor, &offered).await;
    assert_eq!(
        (again.status, again.refusal()),
        (StatusCode::GONE, Some("CG-2025"))
    );
    let count = notes_of(&house, &mut doctor)
        .await
        .matches("canary-held-note")
        .count();
    assert_eq!(count, 1);
    assert!(!on_disk(&house, "canary-held"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_about_one_patient_is_never_sent_while_another_is_selected() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut doctor).await;
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    doctor.visit(&house.url("/patients/select?set_pid=7")).await;
    let told = send(&mut doctor, &offered).await;
    assert_eq!(told.status, StatusCode::OK);
    assert!(told.text().contains("Select patient 4"), "{}", told.text());
    assert!(
        told.text().contains("canary-held-note"),
        "the text is still there"
    );
    assert!(!house.reached().contains(&"POST /chart/notes".to_owned()));
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    let sent = send(&mut doctor, &told).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    assert!(
        notes_of(&house, &mut doctor)
            .await
            .contains("canary-held-note")
    );
    assert_eq!(steps(&house), ["held", "offered", "refused", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_wrote_is_never_shown_to_another_and_is_gone_then() {
    let (_clock, house) = house().await;
    let mut browser = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut browser).await;
    let id = refused.header("x-request-id").unwrap();
    let held = house.url(&format!("/.chartgate/held/{id}"));
    // The next person at the workstation follows the page's own link.
    let page = held_page(&house, &mut browser, "nurse.lind", &refused).await;
    assert!(!page.text().contains("canary"), "{}", page.text());
    let page = browser.get(&held).await;
    assert_eq!(page.refusal(), Some("CG-2025"));
    assert!(!page.text().contains("canary"), "{}", page.text());
    let mut doctor = house.signed_in("dr.okafor").await;
    assert_eq!(doctor.get(&held).await.refusal(), Some("CG-2025"));
    assert_eq!(steps(&house), ["held", "discarded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_emr_may_refuse_a_late_form_its_text_is_shown_to_be_copied() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = doctor
        .post_form(&house.url("/chart/orders"), &[("what", "canary-order CBC")])
        .await;
    assert_eq!(refused.refusal(), Some("CG-2024"));
    let shown = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    assert!(
        shown.text().contains("canary-order CBC") && shown.text().contains("copy the text"),
        "{}",
        shown.text()
    );
    assert!(!shown.text().contains("Send now"));
    let forced = send(&mut doctor, &shown).await;
    assert_eq!(forced.refusal(), Some("CG-1005"));
    assert!(!house.reached().contains(&"POST /chart/orders".to_owned()));
    let gone = decide(&mut doctor, &shown, "discard").await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
    assert_eq!(
        doctor.get(shown.url.as_str()).await.refusal(),
        Some("CG-2025")
    );
    assert_eq!(steps(&house).last().unwrap(), "discarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_said_to_be_lost() {
    let (clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let large = "x".repeat(300 * 1024);
    let page = doctor
        .post_form(&house.url("/chart/notes"), &[("text", &large)])
        .await;
    assert_eq!(page.refusal(), Some("CG-2024"));
    assert!(
        page.text()
            .contains("is not kept here: it is larger than what is kept for you"),
        "{}",
        page.text()
    );
    let page = doctor
        .post_form(
            &house.url("/login"),
            &[("username", "dr.okafor"), ("password", "hush-hush")],
        )
        .await;
    assert!(
        page.text()
            .contains("is not kept here: it holds a password"),
        "{}",
        page.text()
    );
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("multipart/form-data; boundary=b"),
    );
    let page = doctor
        .send(
            Method::POST,
            &house.url("/upload"),
            Some("--b--".into()),
            headers,
        )
        .await;
    assert!(
        page.text().contains("uploads, and what is no plain form"),
        "{}",
        page.text()
    );
    // A script keeps what it sends itself.
    let mut script = doctor.clone();
    script.scripted = true;
    let answer = script
        .post_form(&house.url("/chart/notes"), &[("text", NOTE)])
        .await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    // A stranger's form is nobody's.
    let page = house
        .browser()
        .post_form(&house.url("/chart/notes"), &[("text", NOTE)])
        .await;
    assert_eq!(page.refusal(), Some("CG-2001"));
    assert!(page.text().contains("is not kept here"), "{}", page.text());
    assert!(steps(&house).is_empty());
    // Who signed out is forgotten: what is sent afterwards is nobody's, too.
    let mut gone = house.at_work("nurse.lind").await;
    let before = gone.clone();
    gone.post_form(&house.url("/.chartgate/logout"), &[]).await;
    let mut before = before;
    let page = before
        .post_form(&house.url("/chart/notes"), &[("text", NOTE)])
        .await;
    assert_eq!(page.refusal(), Some("CG-2013"));
    clock.advance(MINUTE);
    assert!(steps(&house).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_kept_for_its_time_and_its_end_is_on_record() {
    let (clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut doctor).await;
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    clock.advance(4 * MINUTE);
    doctor.get(&house.url("/chart")).await;
    clock.advance(4 * MINUTE);
    doctor.get(&house.url("/chart")).await;
    clock.advance(4 * MINUTE);
    doctor.get(&house.url("/chart")).await;
    clock.advance(4 * MINUTE);
    let late = send(&mut doctor, &offered).await;
    assert_eq!(late.refusal(), Some("CG-2025"), "{}", late.text());
    for _ in 0..300 {
        if steps(&house).last().is_some_and(|step| step == "expired") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{:?}", steps(&house));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_what_was_shown_is_sent() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut doctor).await;
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    let digest = crate::harness::hidden(&offered, "digest");
    let mut forged = digest.clone();
    let last = if forged.ends_with('0') { "1" } else { "0" };
    forged.replace_range(63.., last);
    for (digest, what) in [
        (forged.as_str(), "send"),
        ("", "send"),
        (&digest[1..], "discard"),
    ] {
        let page = doctor
            .post_form(offered.url.as_str(), &[("digest", digest), ("do", what)])
            .await;
        assert_eq!(page.refusal(), Some("CG-2025"), "{digest}");
    }
    let unknown = doctor
        .post_form(offered.url.as_str(), &[("digest", &digest), ("do", "burn")])
        .await;
    assert_eq!(unknown.refusal(), Some("CG-1005"));
    // Another id, or one that is none.
    let id = refused.header("x-request-id").unwrap();
    let other = format!("{}0", &id[..35]);
    for bad in [
        if other == id {
            format!("{}1", &id[..35])
        } else {
            other
        },
        "x".to_owned(),
        id.to_uppercase(),
        format!("{id}/x"),
    ] {
        let page = doctor
            .get(&house.url(&format!("/.chartgate/held/{bad}")))
            .await;
        assert!(
            ["CG-2025", "CG-1014"].contains(&page.refusal().unwrap()),
            "{bad}"
        );
    }
    // From another site.
    let mut headers = HeaderMap::new();
    headers.insert("origin", HeaderValue::from_static("https://evil.example"));
    headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    let page = doctor
        .send(
            Method::POST,
            offered.url.as_str(),
            Some("do=send".into()),
            headers,
        )
        .await;
    assert_eq!(page.refusal(), Some("CG-1012"));
    assert!(!house.reached().contains(&"POST /chart/notes".to_owned()));
    // What was shown still is.
    assert_eq!(
        send(&mut doctor, &offered).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_wait_for_one_user() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    for _ in 0..5 {
        let page = write(&house, &mut doctor).await;
        assert!(
            page.text().contains("It is kept for you"),
            "{}",
            page.text()
        );
    }
    let page = write(&house, &mut doctor).await;
    assert!(
        page.text().contains("there are several others"),
        "{}",
        page.text()
    );
    // The record of each refusal says what became of what was sent.
    let trail = house.trail();
    let refused = |key: &str| {
        trail
            .iter()
            .filter(|entry| entry.phase == Phase::Refuse && entry.detail.contains_key(key))
            .count()
    };
    assert_eq!((refused("kept_until"), refused("not_kept")), (5, 1));
    assert_eq!(events(&house, Event::PostHeld).len(), 5);
    assert!(link(&page).contains("/.chartgate/unlock"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_kept() {
    let house = House::open().await;
    let mut doctor = house.at_work("dr.okafor").await;
    doctor
        .cookies
        .retain(|(_, name), _| name != "__Host-chartgate");
    let page = doctor
        .post_form(&house.url("/chart/notes"), &[("text", NOTE)])
        .await;
    assert_eq!(page.refusal(), Some("CG-2001"));
    let page = doctor
        .get(&house.url("/.chartgate/held/01890000-0000-7000-8000-000000000001"))
        .await;
    assert_eq!(page.refusal(), Some("CG-1014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_needs_a_fresh_sign_in_waits_for_it() {
    let (clock, house) = house().await;
    let mut admin = house.at_work("admin.kovacs").await;
    for _ in 0..2 {
        clock.advance(4 * MINUTE);
        let active = admin.post_form(&house.url("/.chartgate/active"), &[]).await;
        assert_eq!(active.json()["state"], "open");
    }
    let account = [("name", "canary-account")];
    let refused = admin.post_form(&house.url("/admin/users"), &account).await;
    assert_eq!(refused.refusal(), Some("CG-2007"), "{}", refused.text());
    assert!(link(&refused).contains("step_up=1"));
    let shown = held_page(&house, &mut admin, "admin.kovacs", &refused).await;
    assert!(shown.text().contains("canary-account"), "{}", shown.text());
    assert_eq!(steps(&house), ["held", "offered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_emr_does_not_take_stays_and_is_shown() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = doctor
        .post_form(&house.url("/chart/notes"), &[("wrong", "canary-field")])
        .await;
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    let told = send(&mut doctor, &offered).await;
    assert!(
        told.text().contains("The EMR did not take it (status 422)"),
        "{}",
        told.text()
    );
    assert!(told.text().contains("canary-field"));
    assert!(
        told.text().contains("It was sent before"),
        "{}",
        told.text()
    );
    assert_eq!(steps(&house), ["held", "offered", "refused"]);
    assert!(
        doctor
            .get(told.url.as_str())
            .await
            .text()
            .contains("canary-field")
    );
}

/// Offered again, it would be sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_on_its_way_when_its_session_ended_is_not_kept() {
    let (_clock, house) = house().await;
    let mut doctor = house.at_work("dr.okafor").await;
    let mut tab = doctor.clone();
    let url = house.url("/slow?ms=60000");
    let late = tokio::spawn(async move { tab.post_form(&url, &[("text", NOTE)]).await });
    while !house.reached().contains(&"POST /slow?ms=60000".to_owned()) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    doctor
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    let page = late.await.unwrap();
    assert!(page.refusal().is_some());
    assert!(
        page.text()
            .contains("Whether the EMR has taken it is not known"),
        "{}",
        page.text()
    );
    assert!(events(&house, Event::PostHeld).is_empty());
    assert!(!on_disk(&house, NOTE));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emr_that_has_forgotten_its_user_is_signed_in_to_first() {
    let (_clock, house) = house().await;
    let mut doctor = locked(&house, "dr.okafor").await;
    let refused = write(&house, &mut doctor).await;
    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    // The EMR ends the session by its own clock.
    let emr = house.clinic.config().emrs[0].backend.url.clone();
    let mut direct = house.browser();
    let cookie = doctor.cookie("CLINICSESSID").unwrap().to_owned();
    let authority = emr.authority().to_owned();
    direct
        .cookies
        .insert((authority, "CLINICSESSID".to_owned()), cookie);
    direct.get(emr.join("/logout").unwrap().as_str()).await;

    let told = send(&mut doctor, &offered).await;
    assert!(
        told.text().contains("asks you to sign in there first"),
        "{}",
        told.text()
    );
    assert!(told.text().contains("canary-held-note"));
    let mut doctor = house.at_work_in(doctor, "dr.okafor").await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    assert_eq!(send(&mut doctor, &told).await.status, StatusCode::SEE_OTHER);
    assert!(
        notes_of(&house, &mut doctor)
            .await
            .contains("canary-held-note")
    );
}
