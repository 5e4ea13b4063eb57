//! Sign-in at workstations that several people use.

use http::Method;
use serde_json::json;

use crate::identity::test_gateway::{Browser, Gateway, location, query};
use crate::refusal::Refusal;

async fn shared() -> Gateway {
    Gateway::start_with(|config| {
        let shared = vec!["127.0.0.0/8".parse().unwrap()];
        config.sessions.workstations.shared = shared;
        let shorter = std::time::Duration::from_mins(5);
        config.sessions.workstations.idle_timeout = Some(shorter);
    })
    .await
}

#[tokio::test]
async fn the_provider_is_asked_to_authenticate_afresh() {
    let gateway = shared().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "return_to=/a").await;
    assert_eq!(query(&asked, "prompt"), "login");
    assert_eq!(query(&asked, "max_age"), "0");
    let handled = browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(location(&handled), "/a");
}

/// A provider that ignores `prompt=login` would sign in the one before.
#[tokio::test]
async fn an_old_authentication_is_not_taken_for_a_fresh_one() {
    let gateway = shared().await;
    for (auth_time, found) in [
        (json!(gateway.now() - 300), Err(Refusal::StepUpUnmet)),
        (json!(0), Err(Refusal::StepUpUnmet)),
        (json!(gateway.now()), Ok(())),
    ] {
        let mut browser = Browser::default();
        let signed_in = browser
            .sign_in(&gateway, |claims| claims["auth_time"] = auth_time.clone())
            .await;
        assert_eq!(signed_in.map(drop), found, "{auth_time}");
    }
    // Elsewhere single sign-on is what it is.
    let gateway = Gateway::start().await;
    let old = gateway.now() - 300;
    let mut browser = Browser::default();
    let signed_in = browser.sign_in(&gateway, |claims| claims["auth_time"] = json!(old));
    assert!(signed_in.await.is_ok());
}

#[tokio::test]
async fn sessions_end_sooner_there() {
    let gateway = shared().await;
    let browser = gateway.signed_in().await;
    gateway.advance(std::time::Duration::from_mins(4));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    gateway.advance(std::time::Duration::from_mins(5));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionExpired)
    );
}

#[tokio::test]
async fn a_switch_ends_the_session_and_asks_who_is_next() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let old = browser.clone();
    let asked = browser.get(&gateway, "/.chartgate/switch").await.unwrap();
    assert_eq!(asked.response.status(), 200, "only a question");
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    let site = [("sec-fetch-site", "same-origin")];
    let switched = browser
        .ask(&gateway, Method::GET, "/.chartgate/switch", &site)
        .await
        .unwrap();
    assert_eq!(switched.response.status(), 303);
    assert_eq!(
        switched.response.headers()["clear-site-data"],
        "\"cache\", \"storage\""
    );
    assert_eq!(old.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    let next = "/.chartgate/signed-out?state=switch";
    let next = browser.get(&gateway, next).await.unwrap();
    assert!(location(&next).contains("fresh=1"), "{}", location(&next));
    let asked = browser.start(&gateway, "return_to=%2F&fresh=1").await;
    assert_eq!(query(&asked, "prompt"), "login");
}

#[tokio::test]
async fn a_limit_holds_for_one_user_and_failures_are_told() {
    let gateway = Gateway::start_with(|config| config.sessions.per_user = 1).await;
    let mut first = gateway.signed_in().await;
    let mut second = Browser::default();
    let refused = second.sign_in(&gateway, |_| {}).await.map(drop);
    assert_eq!(refused, Err(Refusal::TooManySessions));
    let other = second.sign_in(&gateway, |claims| claims["sub"] = json!("u2"));
    assert!(other.await.is_ok(), "someone else");
    // In the same browser the new session takes the place of the old one.
    let asked = first.start(&gateway, "return_to=%2F&fresh=1").await;
    let fresh = gateway.now();
    let signed_in = first
        .finish(&gateway, &asked, |claims| {
            claims["auth_time"] = json!(fresh);
        })
        .await;
    assert!(signed_in.is_ok());
    let view = gateway.identity.sessions_of("staff|u1").await.unwrap();
    assert_eq!(view.len(), 1);
    // A second factor that is missing counts as a failure of the one the provider vouched for.
    let weak = Browser::default()
        .sign_in(&gateway, |claims| {
            claims["amr"] = json!(["pwd"]);
            claims["acr"] = json!("low");
        })
        .await
        .map(drop);
    assert_eq!(weak, Err(Refusal::MfaRequired));
    let asked = first.start(&gateway, "return_to=%2F&fresh=1").await;
    let fresh = gateway.now();
    let signed_in = first
        .finish(&gateway, &asked, |claims| {
            claims["auth_time"] = json!(fresh);
        })
        .await;
    signed_in.unwrap();
    let identified = first.open(&gateway).await.unwrap();
    let told = gateway.identity.welcome_of(&identified);
    let Some(crate::request::Notice::SignedIn { last, failed }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(failed, 1);
    assert!(last.unwrap().1.starts_with("127.0.0.1"));
}
