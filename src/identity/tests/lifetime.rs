//! How long a session lasts, and that its end is one.

use std::time::Duration;

use crate::identity::test_gateway::{Browser, Gateway};
use crate::identity::{Cause, SessionEnded};
use crate::refusal::Refusal;
use crate::request::Principal;
use crate::store::memory::Fault;

const MINUTE: Duration = Duration::from_mins(1);

/// A request that is no background poll.
async fn work(gateway: &Gateway, browser: &Browser) -> Result<(), Refusal> {
    let identified = browser.open(gateway).await.map_err(|r| r.refusal())?;
    gateway.identity.touch(&identified);
    Ok(())
}

/// oauth2-proxy#1156: no idle timeout.
#[tokio::test]
async fn oauth2_proxy_1156_an_idle_session_ends() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    for _ in 0..5 {
        gateway.advance(14 * MINUTE);
        assert_eq!(work(&gateway, &browser).await, Ok(()));
    }
    gateway.advance(15 * MINUTE);
    let refused = browser.open(&gateway).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::SessionExpired);
    // The record says whose session it was.
    let facts = refused.facts();
    assert!(facts.session.is_some());
    assert!(matches!(facts.principal.as_deref(), Some(Principal::User(u)) if u.subject == "u1"));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn background_polls_are_not_activity() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    for _ in 0..14 {
        gateway.advance(MINUTE);
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    gateway.advance(MINUTE);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionExpired)
    );
}

#[tokio::test]
async fn activity_does_not_prolong_the_longest_duration() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    let expires = browser.open(&gateway).await.unwrap().expires();
    assert_eq!(expires.as_second(), gateway.now() + 12 * 3600);
    for _ in 0..71 {
        gateway.advance(10 * MINUTE);
        assert_eq!(work(&gateway, &browser).await, Ok(()));
    }
    gateway.advance(10 * MINUTE);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionExpired)
    );
}

#[tokio::test]
async fn a_restart_may_shorten_a_session_but_not_prolong_it() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    gateway.advance(10 * MINUTE);
    work(&gateway, &browser).await.unwrap();
    // Activity that was stored counts after the restart.
    gateway.identity.tidy().await;
    gateway.advance(10 * MINUTE);
    let restarted = gateway.restarted().await;
    assert_eq!(browser.outcome(&restarted).await, Ok(()));
    work(&restarted, &browser).await.unwrap();
    // Activity that was not stored does not.
    gateway.advance(10 * MINUTE);
    let again = restarted.restarted().await;
    assert_eq!(browser.outcome(&again).await, Err(Refusal::SessionExpired));
}

#[tokio::test]
async fn late_activity_does_not_bring_a_session_back() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    let identified = browser.open(&gateway).await.unwrap();
    gateway.advance(MINUTE);
    gateway.identity.touch(&identified);
    // Another process deletes it between the note and the flush.
    let other = gateway.restarted().await;
    browser
        .clone()
        .ask(&other, http::Method::POST, "/.chartgate/logout", &[])
        .await
        .unwrap();
    gateway.identity.tidy().await;
    let restarted = gateway.restarted().await;
    assert_eq!(
        browser.outcome(&restarted).await,
        Err(Refusal::SessionUnknown)
    );
}

/// pomerium#6024: a deleted session was accepted from the cache.
#[tokio::test]
async fn pomerium_6024_a_session_that_ended_elsewhere_is_not_cached_for_long() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    let mut ended = gateway.identity.subscribe();
    let other = gateway.restarted().await;
    browser
        .clone()
        .ask(&other, http::Method::POST, "/.chartgate/logout", &[])
        .await
        .unwrap();
    gateway.advance(crate::identity::sessions::LEASE);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
    assert!(ended.try_recv().is_ok());
}

#[tokio::test]
async fn cached_sessions_outlast_a_short_failure_of_the_store_and_no_longer() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    gateway.home.fail(Fault::Everything);
    gateway.advance(Duration::from_secs(29));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    gateway.advance(Duration::from_secs(1));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::StoreUnavailable)
    );
    gateway.home.fail(Fault::None);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn streams_of_an_idle_session_are_told_although_nobody_asks() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    let session = browser.open(&gateway).await.unwrap().session().clone();
    let mut ended = gateway.identity.subscribe();
    gateway.advance(14 * MINUTE);
    gateway.identity.sessions().end_overdue().await;
    assert!(ended.try_recv().is_err());
    gateway.advance(MINUTE);
    gateway.identity.sessions().end_overdue().await;
    let SessionEnded(id, ending) = ended.try_recv().unwrap();
    assert_eq!((id, ending.cause), (session, Cause::Idle));
}

#[tokio::test]
async fn ending_every_session_ends_cached_ones_at_once() {
    let gateway = Gateway::start().await;
    let browsers = [gateway.signed_in().await, gateway.signed_in().await];
    browsers[0].outcome(&gateway).await.unwrap();
    gateway.identity.end_every_session().await.unwrap();
    for browser in &browsers {
        assert_eq!(
            browser.outcome(&gateway).await,
            Err(Refusal::SessionUnknown)
        );
    }
    let fresh = gateway.signed_in().await;
    assert_eq!(fresh.outcome(&gateway).await, Ok(()));
}

/// envoy#38919: a stale cookie poisoned the session for ever.
#[tokio::test]
async fn envoy_38919_a_bad_cookie_costs_one_fresh_sign_in() {
    let gateway = Gateway::start().await;
    for bad in ["", "x", "\"\"", "%00"] {
        let mut browser = Browser::default();
        browser
            .cookies
            .insert("__Host-chartgate".into(), bad.into());
        browser
            .cookies
            .insert("__Host-chartgate-login".into(), bad.into());
        assert_eq!(
            browser.outcome(&gateway).await,
            Err(Refusal::SessionUnknown)
        );
        browser.sign_in(&gateway, |_| {}).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
}

#[tokio::test]
async fn the_emr_sees_its_own_cookies_only() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    browser.cookies.insert("OpenEMR".into(), "abc".into());
    let identified = browser.open(&gateway).await.unwrap();
    let cookies = identified.received().parts().headers.get_all("cookie");
    assert_eq!(cookies.iter().collect::<Vec<_>>(), ["OpenEMR=abc"]);
}
