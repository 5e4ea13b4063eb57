//! Wrong tries and codes that were used: one count of the account, and each code once.

use std::time::Duration;

use serde_json::{Value, json};

use super::second_factor_visits::{asked, enrolled, gateway, restarted, send, visit};
use crate::config::second_factor::Enrolment::{FirstSignIn, Invited};
use crate::identity::factor::TotpKey;
use crate::identity::test_gateway::{Browser, Gateway};
use crate::refusal::Refusal;
use crate::request::Event;

fn now(gateway: &Gateway) -> jiff::Timestamp {
    jiff::Timestamp::from_second(gateway.now()).unwrap()
}

/// Enrols an app as first authenticator.
async fn with_app(gateway: &Gateway) -> TotpKey {
    let (mut browser, _, page) = asked(gateway).await;
    let key = page.key();
    let code = key.code(now(gateway));
    let done = send(&mut browser, gateway, &page, ("enrol-totp", "code", &code)).await;
    assert_eq!(done.unwrap().event, Event::SecondFactorEnrolled);
    key
}

#[tokio::test]
async fn a_code_of_an_app_is_good_once_and_not_in_the_window_beside_it() {
    let gateway = gateway(FirstSignIn).await;
    let key = with_app(&gateway).await;
    // The code that enrolled the app is used.
    let (mut browser, _, page) = asked(&gateway).await;
    let code = key.code(now(&gateway));
    let used = send(&mut browser, &gateway, &page, ("totp", "code", &code)).await;
    assert_eq!(used.unwrap().event, Event::SecondFactorFailed);
    gateway.advance(Duration::from_mins(1));
    let older = key.code(
        now(&gateway)
            .checked_sub(jiff::SignedDuration::from_secs(30))
            .unwrap(),
    );
    let code = key.code(now(&gateway));
    let first = send(&mut browser, &gateway, &page, ("totp", "code", &code)).await;
    assert_eq!(first.unwrap().event, Event::SecondFactorUsed);
    for replayed in [&code, &older] {
        let (mut browser, _, page) = asked(&gateway).await;
        let again = send(&mut browser, &gateway, &page, ("totp", "code", replayed)).await;
        assert_eq!(again.unwrap().event, Event::SecondFactorFailed);
    }
    gateway.advance(Duration::from_secs(30));
    let again = restarted(&gateway, FirstSignIn).await;
    let (mut browser, _, page) = asked(&again).await;
    let replayed = send(&mut browser, &again, &page, ("totp", "code", &code)).await;
    assert_eq!(
        replayed.unwrap().event,
        Event::SecondFactorLocked,
        "the third in a row"
    );
}

#[tokio::test]
async fn of_parallel_requests_with_one_code_one_wins() {
    let gateway = gateway(FirstSignIn).await;
    let key = with_app(&gateway).await;
    gateway.advance(Duration::from_mins(1));
    let code = key.code(now(&gateway));
    let mut tabs = Vec::new();
    for _ in 0..6 {
        tabs.push(asked(&gateway).await);
    }
    let start = std::sync::Barrier::new(tabs.len());
    let (gateway, start, code) = (&gateway, &start, code.as_str());
    // On threads of their own, as workers are.
    let came_to: Vec<Result<Event, Refusal>> = std::thread::scope(|scope| {
        let threads: Vec<_> = tabs
            .into_iter()
            .map(|(mut browser, _, page)| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build().unwrap();
                    start.wait();
                    let sent = send(&mut browser, gateway, &page, ("totp", "code", code));
                    runtime.block_on(sent).map(|page| page.event)
                })
            })
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let accepted = came_to
        .iter()
        .filter(|one| **one == Ok(Event::SecondFactorUsed));
    assert_eq!(accepted.count(), 1, "{came_to:?}");
}

/// A count for each spelling of a name, or for each kind of factor, would be no count.
#[tokio::test]
async fn wrong_tries_of_every_kind_are_one_count_of_the_account() {
    let gateway = gateway(FirstSignIn).await;
    let mut person = enrolled(&gateway).await;
    let (mut browser, at, page) = asked(&gateway).await;
    let wrong = send(
        &mut browser,
        &gateway,
        &page,
        ("recovery", "code", "AAAA-BBBB-CCCC-DDDD"),
    );
    assert_eq!(wrong.await.unwrap().detail["failures"], "1");
    let junk = send(
        &mut browser,
        &gateway,
        &page,
        ("passkey", "credential", "{}"),
    )
    .await;
    assert_eq!(junk.unwrap().detail["failures"], "2");
    // The name that the provider states changes nothing, nor does a restart of the gateway.
    let gateway = restarted(&gateway, FirstSignIn).await;
    let mut other = Browser::default();
    let start = other.start(&gateway, "").await;
    let change = |claims: &mut Value| {
        claims["amr"] = json!(["pwd"]);
        claims["preferred_username"] = json!("DR.Adams@hospital.example");
    };
    let seen = other.finish(&gateway, &start, change).await.unwrap();
    let elsewhere = crate::identity::test_gateway::location(&seen).to_owned();
    let page = visit(&mut other, &gateway, &elsewhere, None).await.unwrap();
    let third = send(&mut other, &gateway, &page, ("recovery", "code", "x"))
        .await
        .unwrap();
    assert_eq!(third.event, Event::SecondFactorLocked);
    assert_eq!(third.location.as_deref(), Some(elsewhere.as_str()));
    // Locked on every way, whatever is right, and after another restart.
    let gateway = restarted(&gateway, FirstSignIn).await;
    for (browser, at) in [(&mut browser, &at), (&mut other, &elsewhere)] {
        let shown = visit(browser, &gateway, at, None).await;
        assert_eq!(shown.map(drop), Err(Refusal::SecondFactorLocked));
    }
    let right = person.codes.pop().unwrap();
    let refused = send(&mut other, &gateway, &page, ("recovery", "code", &right)).await;
    assert_eq!(refused.map(drop), Err(Refusal::SecondFactorLocked));
    let view = gateway.identity.factors_of("staff|u1").await.unwrap();
    assert_eq!(view.locked_until.unwrap().as_second(), gateway.now() + 900);
    gateway.advance(Duration::from_mins(15));
    // The next lock lasts twice as long.
    for _ in 0..3 {
        let (mut browser, _, page) = asked(&gateway).await;
        drop(send(&mut browser, &gateway, &page, ("recovery", "code", "x")).await);
    }
    let view = gateway.identity.factors_of("staff|u1").await.unwrap();
    assert_eq!(view.locked_until.unwrap().as_second(), gateway.now() + 1800);
    // An operator lifts it; a success ends the count.
    gateway.identity.unlock_factors("staff|u1").await.unwrap();
    let (mut browser, _, page) = asked(&gateway).await;
    let used = send(&mut browser, &gateway, &page, ("recovery", "code", &right)).await;
    assert_eq!(used.unwrap().event, Event::RecoveryCodeUsed);
    let view = gateway.identity.factors_of("staff|u1").await.unwrap();
    assert_eq!(
        (view.failures, view.locked_until, view.recovery_codes),
        (0, None, 9)
    );
}

#[tokio::test]
async fn wrong_enrolment_codes_count_too() {
    let gateway = gateway(Invited).await;
    let (mut browser, at, page) = asked(&gateway).await;
    for _ in 0..2 {
        let wrong = send(&mut browser, &gateway, &page, ("invitation", "code", "x")).await;
        assert_eq!(wrong.unwrap().event, Event::SecondFactorFailed);
    }
    let wrong = send(&mut browser, &gateway, &page, ("invitation", "code", "x")).await;
    assert_eq!(wrong.unwrap().event, Event::SecondFactorLocked);
    let invited = gateway.identity.invite_to_factor("dr.adams").await.unwrap();
    let right = invited.code.expose().clone();
    let refused = send(
        &mut browser,
        &gateway,
        &page,
        ("invitation", "code", &right),
    )
    .await;
    assert_eq!(refused.map(drop), Err(Refusal::SecondFactorLocked));
    let shown = visit(&mut browser, &gateway, &at, None).await;
    assert_eq!(shown.map(drop), Err(Refusal::SecondFactorLocked));
}
