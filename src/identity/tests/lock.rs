//! Screens that lock: when, for whom, and who opens them again.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::config::lock::{HeldPosts, Lock};
use crate::identity::lock::Asks;
use crate::identity::test_gateway::{Browser, Gateway, Seen, location, query, received};
use crate::refusal::Refusal;
use crate::request::{Event, Principal};

const MINUTE: Duration = Duration::from_mins(1);
const LOCKS: Duration = Duration::from_mins(5);

async fn locking() -> Gateway {
    Gateway::start_with(|config| config.lock = Some(Lock { after: LOCKS })).await
}

async fn work(gateway: &Gateway, browser: &Browser) -> Result<(), Refusal> {
    let identified = browser.open(gateway).await.map_err(|r| r.refusal())?;
    gateway.identity.touch(&identified);
    Ok(())
}

async fn unlock(
    gateway: &Gateway,
    browser: &mut Browser,
    change: impl FnOnce(&mut Value),
) -> Result<Seen, Refusal> {
    let asked = browser
        .get(gateway, "/.chartgate/unlock?return_to=/chart/4")
        .await?;
    let asked: url::Url = location(&asked).parse().unwrap();
    assert_eq!(query(&asked, "prompt"), "login");
    assert_eq!(query(&asked, "max_age"), "0");
    assert_eq!(query(&asked, "acr_values"), "");
    browser.finish(gateway, &asked, change).await
}

fn one_factor(claims: &mut Value) {
    claims["amr"] = json!(["pwd"]);
}

fn somebody_else(claims: &mut Value) {
    claims["sub"] = json!("u2");
    claims["preferred_username"] = json!("nurse.lee");
}

async fn state(gateway: &Gateway, browser: &Browser, asks: Asks) -> Value {
    let asked = received(&Method::GET, "/.chartgate/session", browser.headers(), "");
    let screen = gateway.identity.screen(asked.parts(), asks).await.unwrap();
    serde_json::to_value(screen.view()).unwrap()
}

#[tokio::test]
async fn a_screen_locks_by_itself_and_its_user_unlocks_it_with_one_factor() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    let before = browser.open(&gateway).await.unwrap();
    gateway.advance(LOCKS.checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(work(&gateway, &browser).await, Ok(()));
    gateway.advance(LOCKS);
    let refused = browser.open(&gateway).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::ScreenLocked);
    // The record says whose screen it is.
    assert!(
        matches!(refused.facts().principal.as_deref(), Some(Principal::User(u)) if u.subject == "u1")
    );

    let old = browser.clone();
    let seen = unlock(&gateway, &mut browser, one_factor).await.unwrap();
    assert_eq!(
        (seen.event, location(&seen)),
        (Event::ScreenUnlocked, "/chart/4")
    );
    let after = browser.open(&gateway).await.unwrap();
    assert_eq!(
        after.session(),
        before.session(),
        "what is bound to it stays bound"
    );
    assert_eq!(
        after.expires(),
        before.expires(),
        "it lasts no longer than it would have"
    );
    assert_ne!(
        old.cookies["__Host-chartgate"],
        browser.cookies["__Host-chartgate"]
    );
    assert_eq!(old.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    // One factor is no fresh proof of two.
    let proof = after.principal().proof();
    assert!(proof.mfa);
    assert_eq!(proof.auth_time, before.principal().proof().auth_time);
    assert_eq!(work(&gateway, &browser).await, Ok(()));
}

#[tokio::test]
async fn two_factors_count_as_a_fresh_sign_in() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(LOCKS);
    unlock(&gateway, &mut browser, |_| {}).await.unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    let time = identified.principal().proof().auth_time.unwrap();
    assert_eq!(time.as_second(), gateway.now());
}

#[tokio::test]
async fn what_was_under_way_when_the_screen_locked_does_not_open_it() {
    let gateway = locking().await;
    let browser = gateway.signed_in().await;
    let slow = browser.open(&gateway).await.unwrap();
    gateway.advance(LOCKS);
    gateway.identity.touch(&slow);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    assert_eq!(
        state(&gateway, &browser, Asks::Works).await["state"],
        "locked"
    );
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
}

#[tokio::test]
async fn typing_is_activity_and_asking_is_none() {
    let gateway = locking().await;
    let browser = gateway.signed_in().await;
    for _ in 0..4 {
        gateway.advance(2 * MINUTE);
        let view = state(&gateway, &browser, Asks::Works).await;
        assert_eq!(
            (&view["state"], &view["locks_in"]),
            (&json!("open"), &json!(300))
        );
    }
    for minute in 1..5 {
        gateway.advance(MINUTE);
        let view = state(&gateway, &browser, Asks::Looks).await;
        assert_eq!(view["locks_in"], json!(300 - 60 * minute));
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    gateway.advance(MINUTE);
    assert_eq!(
        state(&gateway, &browser, Asks::Looks).await["state"],
        "locked"
    );
    let stranger = Browser::default();
    assert_eq!(
        state(&gateway, &stranger, Asks::Works).await["state"],
        "none"
    );
}

#[tokio::test]
async fn a_locked_session_ends_when_its_idle_time_is_over() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(14 * MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    gateway.advance(MINUTE);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionExpired)
    );
    // Too late to unlock: a sign-in like any other, with both factors.
    let asked = browser.get(&gateway, "/.chartgate/unlock").await.unwrap();
    let asked: url::Url = location(&asked).parse().unwrap();
    let one = browser.clone().finish(&gateway, &asked, one_factor).await;
    assert_eq!(one.unwrap_err(), Refusal::MfaRequired);
    let seen = browser.sign_in(&gateway, |_| {}).await.unwrap();
    assert_eq!(seen.event, Event::Login);
}

#[tokio::test]
async fn an_unlock_that_comes_too_late_is_a_sign_in_with_two_factors() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(14 * MINUTE);
    let asked = browser.get(&gateway, "/.chartgate/unlock").await.unwrap();
    let asked: url::Url = location(&asked).parse().unwrap();
    gateway.advance(2 * MINUTE);
    let late = browser.finish(&gateway, &asked, one_factor).await;
    assert_eq!(late.unwrap_err(), Refusal::MfaRequired);
}

#[tokio::test]
async fn somebody_else_starts_clean_and_with_one_factor_not_at_all() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    let first = browser.open(&gateway).await.unwrap().session().clone();
    let before = browser.clone();
    gateway.advance(LOCKS);
    let weak = unlock(&gateway, &mut browser, |claims| {
        somebody_else(claims);
        one_factor(claims);
    });
    assert_eq!(weak.await.unwrap_err(), Refusal::MfaRequired);
    assert_eq!(before.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    let seen = unlock(&gateway, &mut browser, somebody_else).await.unwrap();
    assert_eq!(seen.event, Event::Login);
    assert_eq!(before.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    let now = browser.open(&gateway).await.unwrap();
    assert_ne!(now.session(), &first);
    assert!(matches!(now.principal(), Principal::User(user) if user.subject == "u2"));
}

#[tokio::test]
async fn an_old_proof_unlocks_nothing_and_failures_are_charged() {
    let mut gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(LOCKS);
    let stale = gateway.now();
    gateway.advance(2 * MINUTE);
    let old = unlock(&gateway, &mut browser, |claims| {
        claims["auth_time"] = json!(stale);
    });
    assert_eq!(old.await.unwrap_err(), Refusal::StepUpUnmet);
    let unknown = unlock(&gateway, &mut browser, |claims| {
        claims.as_object_mut().unwrap().remove("auth_time");
    });
    assert_eq!(unknown.await.unwrap_err(), Refusal::StepUpUnmet);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    gateway.throttled = true;
    let over = unlock(&gateway, &mut browser, |claims| {
        claims["auth_time"] = json!(stale);
    });
    assert_eq!(over.await.unwrap_err(), Refusal::LoginRate);
    let over = unlock(&gateway, &mut browser, |_| {}).await;
    assert_eq!(over.unwrap_err(), Refusal::LoginRate);
    gateway.throttled = false;
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    unlock(&gateway, &mut browser, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_screen_locks_at_its_user_s_word_and_stays_so_over_a_restart() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    let mut cut = gateway.identity.subscribe();
    // A link on another site locks nothing.
    let cross = browser
        .ask(
            &gateway,
            Method::GET,
            "/.chartgate/lock",
            &[("sec-fetch-site", "cross-site")],
        )
        .await;
    assert_eq!(cross.unwrap_err(), Refusal::MethodRefused);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    let seen = browser
        .ask(&gateway, Method::POST, "/.chartgate/lock", &[])
        .await;
    assert_eq!(seen.unwrap().event, Event::ScreenLocked);
    assert!(cut.try_recv().is_ok(), "live streams are cut");
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::ScreenLocked));
    gateway.identity.tidy().await;
    let restarted = gateway
        .restarted_with(|config| config.lock = Some(Lock { after: LOCKS }))
        .await;
    assert_eq!(
        browser.outcome(&restarted).await,
        Err(Refusal::ScreenLocked)
    );
    unlock(&restarted, &mut browser, one_factor).await.unwrap();
    assert_eq!(browser.outcome(&restarted).await, Ok(()));
    assert!(
        gateway.identity.newly_locked().await.is_empty(),
        "it was on record already"
    );
}

#[tokio::test]
async fn streams_of_a_locked_screen_are_cut_once_although_nobody_asks() {
    let gateway = locking().await;
    let browser = gateway.signed_in().await;
    let session = browser.open(&gateway).await.unwrap().session().clone();
    let mut cut = gateway.identity.subscribe();
    assert!(gateway.identity.newly_locked().await.is_empty());
    gateway.advance(LOCKS);
    let locked = gateway.identity.newly_locked().await;
    assert_eq!((locked.len(), &locked[0].session), (1, &session));
    assert_eq!(cut.try_recv().unwrap().0, session);
    assert!(gateway.identity.newly_locked().await.is_empty());
}

#[tokio::test]
async fn every_way_to_sign_in_at_a_locked_screen_unlocks_it() {
    let gateway = locking().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(LOCKS);
    for query in ["return_to=/chart/4", "return_to=/export&step_up=1"] {
        let asked = browser.start(&gateway, query).await;
        assert_eq!(super::super::test_gateway::query(&asked, "prompt"), "login");
    }
    let asked = browser.start(&gateway, "return_to=/chart/4").await;
    let seen = browser.finish(&gateway, &asked, one_factor).await.unwrap();
    assert_eq!(seen.event, Event::ScreenUnlocked);
}

#[tokio::test]
async fn without_a_lock_everything_is_as_it_was() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(14 * MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    for path in ["lock", "unlock", "unlocked", "lock.js"] {
        let asked = browser.get(&gateway, &format!("/.chartgate/{path}")).await;
        assert_eq!(asked.unwrap_err(), Refusal::NotFound, "{path}");
    }
    assert!(
        browser
            .open(&gateway)
            .await
            .unwrap()
            .received()
            .cover()
            .is_none()
    );
}

#[tokio::test]
async fn whose_a_session_was_is_known_for_an_hour_if_it_ended_by_itself() {
    let gateway =
        Gateway::start_with(|config| config.held_posts = Some(HeldPosts::default())).await;
    let browser = gateway.signed_in().await;
    let mut other = gateway.signed_in().await;
    gateway.advance(15 * MINUTE);
    gateway.identity.sessions().end_overdue().await;
    for _ in 0..2 {
        let refused = browser.open(&gateway).await.unwrap_err();
        assert_eq!(refused.refusal(), Refusal::SessionExpired);
        assert!(
            matches!(refused.facts().principal.as_deref(), Some(Principal::User(u)) if u.subject == "u1")
        );
    }
    gateway.advance(61 * MINUTE);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
    // Who signed out is forgotten at once.
    other.sign_in(&gateway, |_| {}).await.unwrap();
    let gone = other.clone();
    other
        .ask(&gateway, Method::POST, "/.chartgate/logout", &[])
        .await
        .unwrap();
    assert_eq!(gone.outcome(&gateway).await, Err(Refusal::SessionUnknown));
}
