//! Where sign-ins, locks and ends of sessions come at the same time.

use std::time::Duration;

use futures_util::FutureExt as _;
use http::Method;
use serde_json::json;

use super::second_factor_visits::{MANAGE, enrolled, settings, visit};
use crate::config;
use crate::config::lock::Lock;
use crate::config::refresh::Refresh;
use crate::config::second_factor::Enrolment;
use crate::config::sessions::BindTo;
use crate::identity::lock::Asks;
use crate::identity::oidc::test_provider::TestProvider;
use crate::identity::test_gateway::{Browser, Gateway, location, query, received};
use crate::identity::{Cause, OwnRoute};
use crate::refusal::Refusal;
use crate::request::Event;
use crate::request::onward::CookieFate;
use crate::store::memory::Fault;

const LOCKS: Duration = Duration::from_mins(5);
const EVERY: Duration = Duration::from_mins(10);
const UNLOCK: &str = "/.chartgate/unlock?return_to=/chart/4";

fn locking(config: &mut config::Identity) {
    config.idle_timeout = Duration::from_hours(4);
    config.lock = Some(Lock { after: LOCKS });
}

async fn screen(gateway: &Gateway, browser: &Browser) -> String {
    let asked = received(&Method::GET, "/.chartgate/session", browser.headers(), "");
    let looked = gateway.identity.screen(asked.parts(), Asks::Looks).await;
    let view = serde_json::to_value(looked.unwrap().view()).unwrap();
    view["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_sign_in_begun_before_the_screen_locked_opens_it_with_a_fresh_proof_only() {
    for (ago, opens) in [(LOCKS.as_secs() + 60, false), (1, true)] {
        let gateway = Gateway::start_with(locking).await;
        let mut browser = Browser::default();
        let waits = browser.start(&gateway, "return_to=/chart/4").await;
        browser.sign_in(&gateway, |_| {}).await.unwrap();
        gateway.advance(LOCKS);
        let at = gateway.now() - i64::try_from(ago).unwrap();
        let came = browser
            .finish(&gateway, &waits, |claims| claims["auth_time"] = json!(at))
            .await;
        if opens {
            assert_eq!(came.unwrap().event, Event::Login);
            assert_eq!(browser.outcome(&gateway).await, Ok(()));
        } else {
            assert_eq!(came.unwrap_err(), Refusal::StepUpUnmet);
            assert!(browser.outcome(&gateway).await.is_err());
        }
    }
}

/// What asked for a factor while it was locked asks for one when it has ended.
#[tokio::test]
async fn a_session_that_ended_behind_its_lock_is_followed_by_a_fresh_sign_in() {
    for locks in [true, false] {
        let gateway = Gateway::start_with(|config| {
            config.lock = locks.then_some(Lock { after: LOCKS });
        })
        .await;
        let mut browser = gateway.signed_in().await;
        gateway.advance(Duration::from_mins(20));
        for refusal in [Refusal::SessionExpired, Refusal::SessionUnknown] {
            let refused = browser.open(&gateway).await.unwrap_err();
            assert_eq!(refused.refusal(), refusal);
            let stays = refused.onward().cookie == CookieFate::Stays;
            assert_eq!(stays, locks, "the cookie says what is to be asked");
            gateway.advance(Duration::from_hours(2));
        }
        let then = gateway.now() - 300;
        let old = |claims: &mut serde_json::Value| claims["auth_time"] = json!(then);
        if !locks {
            browser.cookies.clear();
            browser.sign_in(&gateway, old).await.unwrap();
            continue;
        }
        let asked = browser.start(&gateway, "return_to=/chart/4").await;
        assert_eq!(query(&asked, "prompt"), "login");
        let refused = browser.finish(&gateway, &asked, old).await.unwrap_err();
        assert_eq!(refused, Refusal::StepUpUnmet);
        browser.sign_in(&gateway, |_| {}).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
        // Who signs out leaves nothing to prove.
        let site = [("sec-fetch-site", "same-origin")];
        let logout = "/.chartgate/logout";
        let out = browser.ask(&gateway, Method::POST, logout, &site).await;
        assert_eq!(out.unwrap().event, Event::Logout);
        let asked = browser.start(&gateway, "return_to=/").await;
        assert_eq!(query(&asked, "prompt"), "");
    }
}

#[tokio::test]
async fn from_elsewhere_a_screen_is_not_unlocked_with_one_factor() {
    let here: &[(&str, &str)] = &[("user-agent", "Mozilla/5.0 (here) Firefox/140.0")];
    let elsewhere: &[(&str, &str)] = &[("user-agent", "Mozilla/5.0 (elsewhere) Chrome/150.0")];
    for (from, factors, outcome) in [
        (here, json!(["pwd"]), Ok(Event::ScreenUnlocked)),
        (elsewhere, json!(["pwd"]), Err(Refusal::MfaRequired)),
        (
            elsewhere,
            json!(["pwd", "otp", "mfa"]),
            Ok(Event::ScreenUnlocked),
        ),
    ] {
        let gateway = Gateway::start_with(|config| {
            locking(config);
            config.sessions.binding.on = vec![BindTo::UserAgent];
        })
        .await;
        let mut browser = Browser::default();
        let login = "/.chartgate/login?return_to=/chart/4";
        for (start, amr, is_expected) in [
            (login, json!(["pwd", "otp", "mfa"]), Ok(Event::Login)),
            (UNLOCK, factors, outcome),
        ] {
            let from = if start == login { here } else { from };
            let asked = browser.ask(&gateway, Method::GET, start, from).await;
            let asked: url::Url = location(&asked.unwrap()).parse().unwrap();
            let mut claims = gateway
                .provider
                .id_claims(&query(&asked, "nonce"), gateway.now());
            claims["amr"] = amr;
            let code = gateway.provider.grant(&asked, &claims);
            let state = query(&asked, "state");
            let back = format!("/.chartgate/callback?code={code}&state={state}");
            let came = browser.ask(&gateway, Method::GET, &back, from).await;
            assert_eq!(came.map(|seen| seen.event), is_expected);
            gateway.advance(LOCKS);
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_while_its_user_confirms_does_not_begin_again() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let live = browser.live(&gateway).await;
    let asked = browser
        .start(&gateway, "return_to=/export&step_up=1&max_age=60")
        .await;
    let claims = gateway
        .provider
        .id_claims(&query(&asked, "nonce"), gateway.now());
    let code = gateway.provider.grant(&asked, &claims);
    let target = format!(
        "/.chartgate/callback?code={code}&state={}",
        query(&asked, "state")
    );
    let callback = received(&Method::GET, &target, browser.headers(), "");
    // The account is charged after the session was looked up, and before it goes on.
    let limit = |_: &str| {
        let ends = gateway.identity.sessions().end(&live, Cause::BackChannel);
        ends.now_or_never().unwrap().unwrap();
        Ok(())
    };
    let handled = gateway
        .identity
        .handle(OwnRoute::Callback, callback, &limit)
        .await;
    assert_eq!(handled.unwrap_err().refusal(), Refusal::LoginRefused);
    let found = gateway.identity.sessions().views(10, |_| Some(())).await;
    assert!(found.unwrap().is_empty(), "nothing is open");
    browser.sign_in(&gateway, |_| {}).await.unwrap();
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn behind_a_lock_nobody_changes_what_proves_the_user() {
    let gateway = Gateway::start_with(|config| {
        locking(config);
        config.second_factor = Some(settings(Enrolment::FirstSignIn));
    })
    .await;
    let mut person = enrolled(&gateway).await;
    let page = visit(&mut person.browser, &gateway, MANAGE, None).await;
    assert!(page.is_ok());
    gateway.advance(LOCKS);
    let refused = visit(&mut person.browser, &gateway, MANAGE, None).await;
    assert_eq!(refused.unwrap_err(), Refusal::ScreenLocked);
}

/// A poll of another tab that was on its way while somebody else signed in.
#[tokio::test]
async fn a_late_request_of_the_one_before_takes_no_cookie_from_the_next() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let late = browser.clone();
    let asked = browser.start(&gateway, "return_to=/&fresh=1").await;
    browser
        .finish(&gateway, &asked, |claims| {
            claims["sub"] = json!("u2");
            claims["preferred_username"] = json!("nurse.lee");
        })
        .await
        .unwrap();
    let refused = late.open(&gateway).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::SessionUnknown);
    assert_eq!(refused.onward().cookie, CookieFate::Stays);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    // One that was signed out is cleared.
    let late = browser.clone();
    let live = browser.live(&gateway).await;
    let sessions = gateway.identity.sessions();
    sessions.end(&live, Cause::SignedOut).await.unwrap();
    let refused = late.open(&gateway).await.unwrap_err();
    assert_ne!(refused.onward().cookie, CookieFate::Stays);
}

#[tokio::test]
async fn sessions_that_are_ended_together_are_told_although_the_store_fails() {
    let gateway = Gateway::start().await;
    let browsers = [gateway.signed_in().await, gateway.signed_in().await];
    for browser in &browsers {
        browser.outcome(&gateway).await.unwrap();
    }
    let mut told = gateway.identity.subscribe();
    gateway.home.fail(Fault::Everything);
    assert!(gateway.identity.end_sessions(|_| true).await.is_err());
    for _ in &browsers {
        assert_eq!(told.try_recv().unwrap().1.cause, Cause::Revoked);
    }
    gateway.home.fail(Fault::None);
    for browser in &browsers {
        assert!(browser.outcome(&gateway).await.is_err());
    }
    assert!(gateway.identity.end_sessions(|_| true).await.is_ok());
    assert!(told.try_recv().is_err(), "each end is told once");
}

#[tokio::test]
async fn behind_a_lock_the_provider_still_has_to_confirm_the_user() {
    let gateway = Gateway::start_with(|config| {
        locking(config);
        config.issuers[0].refresh = Some(Refresh {
            every: EVERY,
            grace: Duration::from_mins(30),
        });
    })
    .await;
    let advance = |by| {
        gateway.advance(by);
        let now = gateway.now();
        gateway.provider.renewing(|renewing| {
            renewing.claims.insert("iat".into(), json!(now));
            renewing.claims.insert("exp".into(), json!(now + 300));
        });
    };
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    for renewed in 1..=6 {
        advance(EVERY);
        assert_eq!(screen(&gateway, &browser).await, "locked");
        gateway.identity.renewals.settled().await;
        let counted = gateway.provider.renewing(|renewing| renewing.renewed);
        assert_eq!(counted, renewed);
    }
    gateway.provider.renewing(|renewing| renewing.denies = true);
    let mut told = gateway.identity.subscribe();
    advance(EVERY);
    assert_eq!(screen(&gateway, &browser).await, "none");
    assert_eq!(told.try_recv().unwrap().1.cause, Cause::RenewalDenied);
}

#[tokio::test]
async fn whoever_names_a_provider_at_a_locked_screen_is_asked_for_two_factors() {
    let partner = TestProvider::start().await;
    let gateway = Gateway::start_with(|config| {
        locking(config);
        let mut other = partner.issuer();
        other.name = "partner".to_owned();
        config.issuers.push(other);
        for issuer in &mut config.issuers {
            issuer.request_acr = vec!["two".to_owned()];
        }
    })
    .await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "return_to=/&issuer=staff").await;
    browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    gateway.advance(LOCKS);
    for (more, acr) in [
        ("", ""),
        ("&issuer=partner", "two"),
        ("&issuer=staff", "two"),
    ] {
        let asked = browser.get(&gateway, &format!("{UNLOCK}{more}")).await;
        let asked: url::Url = location(&asked.unwrap()).parse().unwrap();
        assert_eq!(query(&asked, "acr_values"), acr, "{more}");
        assert_eq!(query(&asked, "prompt"), "login");
        assert_eq!(query(&asked, "max_age"), "0");
    }
}
