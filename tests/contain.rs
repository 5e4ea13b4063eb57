//! Containment as an operator does it at the admin socket, and as users and the trail see it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::log::SigningKey;
use chartgate::operate::{cases, containment, incidents, lockdown};
use chartgate::policy::question::Grant;
use chartgate::policy::standing::Scope;
use chartgate::request::{Event, Reach};
use futures_util::StreamExt;
use http::StatusCode;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::House;
use crate::harness::live::{Socket, socket};

async fn contain(house: &House, ask_: containment::Ask) -> Vec<Value> {
    house.ask(AdminRequest::Contain(ask_)).await.unwrap()
}

pub(crate) async fn lock_down(house: &House, scope: Scope, level: u8) -> Vec<Value> {
    let set = lockdown::Ask::Set {
        scope,
        level,
        reason: "a drill".to_owned(),
        seconds: None,
    };
    house.ask(AdminRequest::Lockdown(set)).await.unwrap()
}

/// Waits for the end of a live connection, which must come within a second.
pub(crate) async fn is_cut(socket: &mut Socket) {
    let end = tokio::time::timeout(Duration::from_secs(1), socket.next())
        .await
        .expect("the live connection is cut within a second");
    let talks = matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_))));
    assert!(!talks, "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_ends_everything_of_a_user_and_nothing_of_others() {
    let house = House::open_unlimited().await;
    let mut nurse = house.at_work("nurse.lind").await;
    let mut physician = house.at_work("dr.okafor").await;
    let mut socket = socket(&house, &nurse).await;
    let sessions = contain(&house, containment::Ask::Sessions { user: None }).await;
    assert_eq!(sessions.len(), 2, "{sessions:?}");

    let lock = containment::Ask::Lock {
        user: "nurse.lind".to_owned(),
        reason: "badge stolen".to_owned(),
        seconds: None,
    };
    let locked = contain(&house, lock).await;
    assert_eq!(locked[0]["ended"], 1, "{locked:?}");
    is_cut(&mut socket).await;
    let page = nurse.get(&house.url("/echo")).await;
    assert_ne!(page.status, StatusCode::OK);
    let page = physician.get(&house.url("/echo")).await;
    assert_eq!(page.status, StatusCode::OK, "others go on");

    let mut again = house.browser();
    let page = house
        .sign_in(&mut again, "nurse.lind", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2014"), "{}", page.text());
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(
        again.cookie("__Host-chartgate").is_none(),
        "no session was made"
    );
    let refused = house
        .trail()
        .into_iter()
        .find(|entry| entry.refusal.as_deref() == Some("CG-2014"));
    let who = refused.unwrap().facts.unwrap().principal.unwrap();
    assert_eq!(
        who.display(),
        "nurse.lind",
        "the record names who was kept out"
    );

    let locks = house.particulars(Event::UserLocked);
    assert_eq!(locks[0]["user"], "nurse.lind");
    assert!(!locks[0]["operator"].is_empty());
    let revoked = house.particulars(Event::SessionRevoked);
    assert_eq!((revoked.len(), revoked[0]["count"].as_str()), (1, "1"));

    let unlock = containment::Ask::Unlock {
        user: "nurse.lind".to_owned(),
    };
    contain(&house, unlock).await;
    house.signed_in("nurse.lind").await;
    assert_eq!(house.particulars(Event::UserUnlocked).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_one_by_one_and_all_at_once() {
    let house = House::open_unlimited().await;
    let mut first = house.at_work("dr.okafor").await;
    let mut second = house.at_work("dr.okafor").await;
    let sessions = contain(
        &house,
        containment::Ask::Sessions {
            user: Some("dr.okafor".to_owned()),
        },
    )
    .await;
    assert_eq!(sessions.len(), 2);
    let cookie = first.cookie("__Host-chartgate").unwrap();
    assert!(
        !sessions
            .iter()
            .any(|session| session.to_string().contains(cookie))
    );
    let of_first = house.trail().into_iter().find_map(|entry| {
        (entry.event == Some(Event::Login)).then(|| entry.facts.unwrap().session.unwrap())
    });
    let end = |whose| containment::Ask::End {
        whose,
        reason: "left open".to_owned(),
    };
    let one = containment::Whose::Session(of_first.unwrap());
    assert_eq!(contain(&house, end(one)).await[0]["ended"], 1);
    let page = first.get(&house.url("/echo")).await;
    assert_ne!(page.status, StatusCode::OK);
    let page = second.get(&house.url("/echo")).await;
    assert_eq!(page.status, StatusCode::OK);

    let mut socket = socket(&house, &second).await;
    contain(&house, end(containment::Whose::All)).await;
    is_cut(&mut socket).await;
    let page = second.get(&house.url("/echo")).await;
    assert_ne!(page.status, StatusCode::OK);
    let none = contain(&house, containment::Ask::Sessions { user: None }).await;
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_takes_away_what_it_says_at_once() {
    let house = House::open_unlimited().await;
    let mut physician = house.at_work("dr.okafor").await;
    let mut billing = house.at_work("billing.shah").await;
    let chart = house.url("/chart/notes");
    physician
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let write = [("text", "Feels better today.")];

    lock_down(&house, Scope::All, 1).await;
    let page = physician.post_form(&chart, &write).await;
    assert_eq!(page.refusal(), None, "a sign-in of seconds ago is fresh");
    let obliged = house.trail().into_iter().any(|entry| {
        let facts = entry.facts.and_then(|facts| facts.decision);
        facts.is_some_and(|d| d.lockdown == 1 && d.obligations == ["stepup=300s"])
    });
    assert!(obliged, "the obligation is on record");
    let page = house
        .at_work("him.doyle")
        .await
        .get(&house.url("/patients/4/export.csv"))
        .await;
    assert_eq!(page.refusal(), Some("CG-3001"), "nothing is exported");

    lock_down(&house, Scope::All, 2).await;
    let page = physician.post_form(&chart, &write).await;
    assert_eq!(page.refusal(), Some("CG-3001"), "nothing is changed");
    let page = physician.get(&chart).await;
    assert_eq!(page.status, StatusCode::OK);

    lock_down(&house, Scope::All, 3).await;
    let page = billing.get(&house.url("/echo")).await;
    assert_eq!(page.refusal(), Some("CG-3001"), "who treats nobody is out");
    let page = physician.get(&chart).await;
    assert_eq!(page.status, StatusCode::OK);

    let mut socket = socket(&house, &physician).await;
    lock_down(&house, Scope::All, 4).await;
    is_cut(&mut socket).await;
    let page = physician.get(&chart).await;
    assert_eq!(
        (page.status, page.refusal()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("CG-3009"))
    );
    assert!(
        page.text().contains("downtime procedure"),
        "{}",
        page.text()
    );
    let mut script = physician.clone();
    script.scripted = true;
    let page = script.get(&house.url("/api/patients/4")).await;
    assert_eq!(
        page.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(page.json()["code"], "CG-3009");

    let lift = lockdown::Ask::Lift { scope: Scope::All };
    let answer = house.ask(AdminRequest::Lockdown(lift)).await.unwrap();
    assert_eq!(answer[0]["lockdowns"], serde_json::json!([]));
    let page = physician.get(&chart).await;
    assert_eq!(page.status, StatusCode::OK);

    let levels: Vec<String> = house
        .particulars(Event::LockdownChanged)
        .into_iter()
        .map(|mut detail| detail.remove("level").unwrap())
        .collect();
    assert_eq!(levels, ["L1", "L2", "L3", "L4", "L0"]);
    assert_eq!(house.particulars(Event::Alarm).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockdown_concerns_its_scope_alone_and_not_a_broken_glass() {
    let house = House::open_unlimited().await;
    let mut physician = house.at_work("dr.okafor").await;
    let mut nurse = house.at_work("nurse.lind").await;
    physician
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let echo = house.url("/echo");
    let chart = house.url("/chart/notes");
    for (scope, out) in [
        (Scope::Role("nurse".to_owned()), [false, true]),
        (Scope::User("dr.okafor".to_owned()), [true, false]),
        (Scope::Emr("clinic".to_owned()), [true, true]),
    ] {
        lock_down(&house, scope.clone(), 4).await;
        for (browser, out) in [&mut physician, &mut nurse].into_iter().zip(out) {
            let page = browser.get(&echo).await;
            assert_eq!(page.refusal() == Some("CG-3009"), out, "{scope:?}");
        }
        let lift = lockdown::Ask::Lift { scope };
        house.ask(AdminRequest::Lockdown(lift)).await.unwrap();
    }

    // Someone who may read only with a broken glass does so at every level below 4.
    let mut officer = house.at_work("privacy.stein").await;
    let select = house.url("/patients/select?set_pid=4");
    let patient = house
        .trail()
        .into_iter()
        .find_map(|entry| entry.patients().next().cloned());
    let patient = patient.expect("a patient on the trail");
    let expires = jiff::Timestamp::MAX;
    let grant = Grant {
        id: "g1".to_owned(),
        reach: Reach::of(&patient),
        expires,
    };
    let id = house.trail().into_iter().find_map(|entry| {
        let principal = entry.facts?.principal?;
        (principal.display() == "privacy.stein").then(|| principal.id())
    });
    let id = id.unwrap();
    house.clinic.stages().policies.restate(|standing| {
        standing
            .grants
            .insert(id.clone(), std::sync::Arc::new([grant.clone()]));
    });
    officer.visit(&select).await;
    for level in 0..=3 {
        lock_down_or_lift(&house, level).await;
        let page = officer.get(&chart).await;
        assert_eq!(page.status, StatusCode::OK, "L{level}: {}", page.text());
        let page = officer.get(&echo).await;
        assert_eq!(page.status, StatusCode::OK, "the frame at L{level}");
    }
    lock_down(&house, Scope::All, 4).await;
    let page = officer.get(&chart).await;
    assert_eq!(page.refusal(), Some("CG-3009"));
}

async fn lock_down_or_lift(house: &House, level: u8) {
    if level > 0 {
        lock_down(house, Scope::All, level).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_connection_of_others_is_left_alone() {
    let house = House::open_unlimited().await;
    let physician = house.at_work("dr.okafor").await;
    let nurse = house.at_work("nurse.lind").await;
    let (mut of_physician, mut of_nurse) = (
        socket(&house, &physician).await,
        socket(&house, &nurse).await,
    );
    lock_down(&house, Scope::Role("nurse".to_owned()), 2).await;
    is_cut(&mut of_nurse).await;
    futures_util::SinkExt::send(&mut of_physician, Message::text("ping"))
        .await
        .unwrap();
    let echo = of_physician.next().await.unwrap().unwrap();
    assert_eq!(echo.to_text().unwrap(), "ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_what_a_user_did_verifies_with_the_public_key_alone() {
    let house = House::open_with(|config| {
        crate::harness::without_limits(config);
        config.audit.checkpoint_records = 1;
    })
    .await;
    let mut physician = house.at_work("dr.okafor").await;
    let mut nurse = house.at_work("nurse.lind").await;
    for browser in [&mut physician, &mut nurse] {
        let page = browser
            .visit(&house.url("/patients/select?set_pid=4"))
            .await;
        assert_eq!(page.status, StatusCode::OK);
    }
    let open = cases::Ask::Open {
        title: "Too many charts".to_owned(),
        level: cases::Level::High,
        user: Some("nurse.lind".to_owned()),
        patient: None,
        records: std::collections::BTreeSet::new(),
    };
    let case = house.ask(AdminRequest::Case(open)).await.unwrap();
    let number = case[0]["number"].as_u64();
    let open = incidents::Ask::Open {
        case: number,
        title: None,
    };
    house.ask(AdminRequest::Incident(open)).await.unwrap();
    let pack = incidents::Ask::Evidence {
        number: 1,
        since: None,
    };
    let mut bundle = Vec::new();
    for part in house.ask(AdminRequest::Incident(pack)).await.unwrap() {
        bundle.extend(BASE64.decode(part.as_str().unwrap()).unwrap());
    }
    let key = SigningKey::read(&house.clinic.config().audit.signing_key).unwrap();
    let verified = incidents::verify(&bundle, key.verifier()).unwrap();
    let mut names: Vec<String> = verified
        .records
        .iter()
        .filter_map(|(_, entry)| entry.facts.as_ref()?.principal.as_ref())
        .map(|principal| principal.display().to_owned())
        .collect();
    names.dedup();
    assert_eq!(names, ["nurse.lind"], "and nobody else");
    let outcomes = verified
        .records
        .iter()
        .filter(|(_, entry)| entry.of.is_some());
    assert!(
        outcomes.count() > 0,
        "what became of each request is there too"
    );
    bundle[600] ^= 1;
    assert!(incidents::verify(&bundle, key.verifier()).is_err());
}
