//! A fresh authentication in the middle of a session.

use serde_json::{Value, json};

use crate::identity::test_gateway::{Browser, Gateway, location, query};
use crate::refusal::Refusal;
use crate::request::Event;

async fn step_up(
    gateway: &Gateway,
    browser: &mut Browser,
    change: impl FnOnce(&mut Value),
) -> Result<Event, Refusal> {
    let asked = browser.start(gateway, "return_to=/export&step_up=1").await;
    assert_eq!(query(&asked, "max_age"), "0");
    assert_eq!(query(&asked, "prompt"), "login");
    let handled = browser.finish(gateway, &asked, change).await?;
    assert_eq!(location(&handled), "/export");
    Ok(handled.event)
}

#[tokio::test]
async fn a_step_up_gives_the_session_a_new_token_and_a_new_time() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let before = browser.clone();
    let first = before.open(&gateway).await.unwrap();
    let mut ended = gateway.identity.subscribe();
    gateway.advance(std::time::Duration::from_mins(5));
    assert_eq!(
        step_up(&gateway, &mut browser, |_| {}).await,
        Ok(Event::StepUp)
    );
    let second = browser.open(&gateway).await.unwrap();
    let time = second.principal().proof().auth_time.unwrap();
    assert_eq!(time.as_second(), gateway.now());
    // A stream of the session that is decided again is decided for who signed in afresh.
    let ids = std::collections::BTreeSet::from([second.session().clone()]);
    let standing = gateway.identity.standing(ids.clone()).await.unwrap();
    let elsewhere = gateway.restarted().await.identity.standing(ids).await;
    assert_eq!(
        elsewhere.unwrap(),
        standing,
        "not in memory, but in the store"
    );
    let (principal, ends) = &standing[second.session()];
    assert_eq!(principal.proof().auth_time, Some(time));
    assert_eq!((standing.len(), *ends), (1, second.expires()));
    // The session goes on (what is bound to it stays bound), its old token does not.
    assert_eq!(first.session(), second.session());
    assert!(ended.try_recv().is_err());
    assert_ne!(
        browser.cookies["__Host-chartgate"],
        before.cookies["__Host-chartgate"]
    );
    assert_eq!(before.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    let restarted = gateway.restarted().await;
    assert_eq!(
        before.outcome(&restarted).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn a_step_up_must_be_fresh() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(std::time::Duration::from_mins(5));
    let now = gateway.now();
    for auth_time in [
        json!(now - 61),
        json!(now - 300),
        json!(0),
        json!(0.0),
        json!(-1),
        json!(null),
        json!(now.to_string()),
        // Sixty seconds of tolerance for clocks do not let the person before pass for this one.
        json!(now - 60),
        json!(now - 3),
        json!(now + 61),
        json!([now]),
    ] {
        let refused = step_up(&gateway, &mut browser, |c| {
            c["auth_time"] = auth_time.clone();
        })
        .await;
        assert_eq!(refused, Err(Refusal::StepUpUnmet), "{auth_time}");
        // The session is as it was.
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    for auth_time in [json!(now - 1), json!(now), json!(1_800_000_300.75)] {
        let mut browser = gateway.signed_in().await;
        let done = step_up(&gateway, &mut browser, |c| {
            c["auth_time"] = auth_time.clone();
        })
        .await;
        assert_eq!(done, Ok(Event::StepUp), "{auth_time}");
    }
}

#[tokio::test]
async fn a_step_up_needs_the_second_factor_too() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let refused = step_up(&gateway, &mut browser, |c| c["amr"] = json!(["pwd"])).await;
    assert_eq!(refused, Err(Refusal::MfaRequired));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn someone_else_at_the_keyboard_ends_the_session() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let refused = step_up(&gateway, &mut browser, |c| c["sub"] = json!("u2")).await;
    assert_eq!(refused, Err(Refusal::LoginRefused));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn a_step_up_belongs_to_the_session_it_was_started_in() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let asked = browser.start(&gateway, "step_up=1").await;
    browser.cookies.remove("__Host-chartgate");
    let mut other = browser.clone();
    let refused = browser.finish(&gateway, &asked, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
    // Without a session it is an ordinary sign-in.
    let asked = other.start(&gateway, "step_up=1").await;
    let handled = other.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(handled.event, Event::Login);
}

#[tokio::test]
async fn unknown_times_stay_unknown_at_sign_in() {
    let gateway = Gateway::start().await;
    for auth_time in [
        json!(0),
        json!(null),
        json!("x"),
        json!(gateway.now() + 3600),
    ] {
        let mut browser = Browser::default();
        browser
            .sign_in(&gateway, |c| c["auth_time"] = auth_time)
            .await
            .unwrap();
        let identified = browser.open(&gateway).await.unwrap();
        assert_eq!(identified.principal().proof().auth_time, None);
    }
    let mut browser = Browser::default();
    // As Canaille states it.
    browser
        .sign_in(&gateway, |c| c["auth_time"] = json!(1_795_308_254.058_458))
        .await
        .unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    let time = identified.principal().proof().auth_time.unwrap();
    assert_eq!(time.as_second(), 1_795_308_254);
}

/// Charged after the session got its new token, a step-up too many signed the user out.
#[tokio::test]
async fn a_throttled_step_up_leaves_the_session_as_it_was() {
    let mut gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    gateway.throttled = true;
    let refused = step_up(&gateway, &mut browser, |_| {}).await;
    assert_eq!(refused, Err(Refusal::LoginRate));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    let mut other = Browser::default();
    let refused = other.sign_in(&gateway, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRate));
    assert_eq!(other.outcome(&gateway).await, Err(Refusal::LoginRequired));
}

/// A gateway that knows a phishing-resistant factor when it sees one.
async fn with_keys() -> Gateway {
    Gateway::start_with(|config| {
        let named = &mut config.issuers[0].mfa.phishing_resistant;
        named.acr = vec!["urn:key".to_owned(), "urn:card".to_owned()];
        named.amr = vec![vec!["hwk".to_owned(), "user".to_owned()]];
    })
    .await
}

#[tokio::test]
async fn a_demand_is_asked_for_in_the_providers_words_and_judged_on_return() {
    let gateway = with_keys().await;
    let mut browser = gateway.signed_in().await;
    gateway.advance(std::time::Duration::from_mins(10));
    let now = gateway.now();
    let hint = "return_to=/export&step_up=1&max_age=300&factor=phishing-resistant";
    for (amr, acr, auth_time, met) in [
        (json!(["mfa"]), json!("urn:mfa"), json!(now), false),
        (json!(["mfa", "hwk"]), json!(null), json!(now), false),
        (json!(["mfa"]), json!("urn:key"), json!(now - 301), false),
        (json!(["mfa"]), json!("urn:key"), json!(0), false),
        (json!(["mfa"]), json!("urn:key"), json!(null), false),
        (json!(["mfa"]), json!("URN:KEY"), json!(now), false),
        (json!(["mfa"]), json!("urn:key"), json!(now - 299), true),
        (json!(["mfa", "hwk", "user"]), json!(null), json!(now), true),
    ] {
        let asked = browser.start(&gateway, hint).await;
        assert_eq!(query(&asked, "acr_values"), "urn:key urn:card");
        assert_eq!(query(&asked, "max_age"), "300");
        assert_eq!(query(&asked, "prompt"), "login");
        let done = browser
            .finish(&gateway, &asked, |c| {
                c["amr"] = amr.clone();
                c["acr"] = acr.clone();
                c["auth_time"] = auth_time.clone();
            })
            .await;
        let expected = if met {
            Ok(Event::StepUp)
        } else {
            Err(Refusal::StepUpUnmet)
        };
        assert_eq!(
            done.map(|seen| seen.event),
            expected,
            "{amr} {acr} {auth_time}"
        );
        let proof = browser
            .open(&gateway)
            .await
            .unwrap()
            .principal()
            .proof()
            .clone();
        assert_eq!(proof.phishing_resistant, met, "the session is as it was");
    }
}

#[tokio::test]
async fn a_factor_alone_is_not_about_time() {
    let gateway = with_keys().await;
    let mut browser = gateway.signed_in().await;
    let asked = browser
        .start(&gateway, "step_up=1&factor=phishing-resistant")
        .await;
    assert_eq!(query(&asked, "max_age"), "");
    let done = browser
        .finish(&gateway, &asked, |c| {
            c["acr"] = json!("urn:key");
            c["auth_time"] = json!(0);
        })
        .await;
    assert_eq!(done.map(|seen| seen.event), Ok(Event::StepUp));
    let asked = browser.start(&gateway, "step_up=1&factor=mfa").await;
    assert_eq!(
        query(&asked, "acr_values"),
        "urn:mfa",
        "what is asked for anyway"
    );
}

/// Nobody is sent round for what could never be accepted.
#[tokio::test]
async fn what_no_issuer_can_prove_is_refused_at_once() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let target = "/.chartgate/login?step_up=1&factor=phishing-resistant";
    let refused = browser.get(&gateway, target).await;
    assert_eq!(refused.map(drop), Err(Refusal::StepUpUnmet));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    // Whatever the provider claims, nothing that is not configured proves it.
    let mut other = Browser::default();
    other
        .sign_in(&gateway, |c| c["amr"] = json!(["mfa", "hwk", "user"]))
        .await
        .unwrap();
    let identified = other.open(&gateway).await.unwrap();
    assert!(!identified.principal().proof().phishing_resistant);
}

/// The address is the client's; the demand of a sign-in in progress is not.
#[tokio::test]
async fn a_hint_that_was_weakened_proves_no_more_than_it_says() {
    let gateway = with_keys().await;
    let mut browser = gateway.signed_in().await;
    let asked = browser.start(&gateway, "step_up=1&max_age=300").await;
    browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    assert!(!identified.principal().proof().phishing_resistant);
    // Once asked, the callback cannot take anything of it back.
    let asked = browser
        .start(&gateway, "step_up=1&factor=phishing-resistant")
        .await;
    let mut claims = gateway
        .provider
        .id_claims(&query(&asked, "nonce"), gateway.now());
    claims["amr"] = json!(["mfa"]);
    let code = gateway.provider.grant(&asked, &claims);
    let state = query(&asked, "state");
    let target = format!("/.chartgate/callback?code={code}&state={state}&step_up=1&factor=mfa");
    let refused = browser.get(&gateway, &target).await;
    assert_eq!(refused.map(drop), Err(Refusal::StepUpUnmet));
}

#[tokio::test]
async fn two_tabs_can_step_up_at_the_same_time() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let before = browser.clone();
    let tabs = [
        browser.start(&gateway, "return_to=/a&step_up=1").await,
        browser.start(&gateway, "return_to=/b&step_up=1").await,
    ];
    for tab in &tabs {
        let done = browser.finish(&gateway, tab, |_| {}).await;
        assert_eq!(done.map(|seen| seen.event), Ok(Event::StepUp));
    }
    // What was on its way under the old token does not take the new one away from the browser.
    let late = before.open(&gateway).await.unwrap_err();
    assert_eq!(late.refusal(), Refusal::SessionUnknown);
    assert_eq!(
        late.onward().cookie,
        crate::request::onward::CookieFate::Stays
    );
    let mut forged = before;
    forged
        .cookies
        .insert("__Host-chartgate".into(), "A".repeat(43));
    let unknown = forged.open(&gateway).await.unwrap_err();
    assert_eq!(
        unknown.onward().cookie,
        crate::request::onward::CookieFate::Cleared
    );
}
