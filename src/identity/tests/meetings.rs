//! Where the parts of sign-in meet: the gateway's own second factor, demands, locked screens, renewed tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::second_factor_visits::{
    PAGE, Person, answered, enrolled, first_factor, one_factor, settings, visit,
};
use crate::config;
use crate::config::lock::Lock;
use crate::config::refresh::Refresh;
use crate::config::second_factor::Enrolment;
use crate::identity::test_gateway::{Browser, Gateway, location};
use crate::refusal::Refusal;
use crate::request::Event;

const EVERY: Duration = Duration::from_mins(10);
const LOCKS: Duration = Duration::from_mins(5);

/// Everything at once.
fn together(config: &mut config::Identity) {
    config.second_factor = Some(settings(Enrolment::FirstSignIn));
    config.idle_timeout = Duration::from_hours(4);
    config.lock = Some(Lock { after: LOCKS });
    config.issuers[0].refresh = Some(Refresh {
        every: EVERY,
        grace: Duration::from_mins(30),
    });
}

/// Moves time on; the provider's renewals are of that time, and of one factor.
fn advance(gateway: &Gateway, by: Duration) {
    gateway.advance(by);
    let now = gateway.now();
    gateway.provider.renewing(|renewing| {
        renewing.claims.insert("iat".into(), json!(now));
        renewing.claims.insert("exp".into(), json!(now + 300));
    });
}

/// Goes to the provider to unlock the screen, and comes back with one factor.
async fn unlock(gateway: &Gateway, browser: &mut Browser) -> Result<Event, Refusal> {
    let asked = browser
        .get(gateway, "/.chartgate/unlock?return_to=/chart/4")
        .await?;
    let asked: url::Url = location(&asked).parse().unwrap();
    let seen = browser
        .finish(gateway, &asked, |claims| claims["amr"] = json!(["pwd"]))
        .await?;
    Ok(seen.event)
}

#[tokio::test]
async fn a_demand_that_resists_phishing_is_met_by_a_passkey_of_our_own_and_by_no_code() {
    let gateway = Gateway::start_with(together).await;
    let mut person = enrolled(&gateway).await;
    let wish = "return_to=/export&step_up=1&max_age=900&factor=phishing-resistant";

    let asked = person.browser.start(&gateway, wish).await;
    let at = one_factor(&mut person.browser, &gateway, &asked).await;
    let page = visit(&mut person.browser, &gateway, &at, None)
        .await
        .unwrap();
    assert!(page.offers("passkey") && !page.offers("recovery") && !page.offers("totp"));
    // Whoever sends a code all the same has proven something, and not what is asked for.
    let flow = page.form("passkey").0["flow"].clone();
    let code = person.codes[0].clone();
    let fields = [
        ("flow", flow),
        ("do", "recovery".to_owned()),
        ("code", code),
    ];
    let fields: BTreeMap<String, String> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let sent = visit(&mut person.browser, &gateway, PAGE, Some(&fields)).await;
    assert_eq!(sent.unwrap().event, Event::RecoveryCodeUsed);
    let done = visit(&mut person.browser, &gateway, &at, None).await;
    assert_eq!(done.map(drop), Err(Refusal::StepUpUnmet));
    assert_eq!(person.browser.outcome(&gateway).await, Ok(()));

    let asked = person.browser.start(&gateway, wish).await;
    let at = one_factor(&mut person.browser, &gateway, &asked).await;
    let page = visit(&mut person.browser, &gateway, &at, None)
        .await
        .unwrap();
    let answer = person.passkey.get(&page.form("passkey").1).to_string();
    answered(&mut person.browser, &gateway, &page, &answer)
        .await
        .unwrap();
    let done = visit(&mut person.browser, &gateway, &at, None)
        .await
        .unwrap();
    assert_eq!(done.event, Event::StepUp);
    assert_eq!(done.location.as_deref(), Some("/export"));
    let identified = person.browser.open(&gateway).await.unwrap();
    assert!(identified.principal().proof().phishing_resistant);
}

#[tokio::test]
async fn a_renewal_takes_nothing_of_what_the_gateway_itself_verified() {
    let gateway = Gateway::start_with(together).await;
    let Person { browser, .. } = enrolled(&gateway).await;
    let before = browser.open(&gateway).await.unwrap();
    gateway.identity.touch(&before);
    // Renewed all the time, so that the screen does not lock meanwhile.
    for _ in 0..4 {
        advance(&gateway, Duration::from_mins(4));
        let identified = browser.open(&gateway).await.unwrap();
        gateway.identity.touch(&identified);
    }
    let after = browser.open(&gateway).await.unwrap();
    assert_eq!(after.session(), before.session());
    assert_eq!(after.principal().proof(), before.principal().proof());
    let renewed = gateway.provider.renewing(|renewing| renewing.renewed);
    assert!(renewed > 0, "it was renewed");
}

#[tokio::test]
async fn a_screen_of_our_own_second_factor_is_unlocked_with_one_and_goes_on_being_renewed() {
    let gateway = Gateway::start_with(together).await;
    let mut person = enrolled(&gateway).await;
    let before = person.browser.open(&gateway).await.unwrap();
    gateway.identity.touch(&before);
    advance(&gateway, LOCKS);
    assert_eq!(
        person.browser.outcome(&gateway).await,
        Err(Refusal::ScreenLocked)
    );
    let unlocked = unlock(&gateway, &mut person.browser).await;
    assert_eq!(unlocked, Ok(Event::ScreenUnlocked));
    let after = person.browser.open(&gateway).await.unwrap();
    gateway.identity.touch(&after);
    assert_eq!(after.session(), before.session());
    assert_eq!(after.principal().proof(), before.principal().proof());
    // The provider renews the one factor that unlocked; what the session had proven stays.
    for _ in 0..4 {
        advance(&gateway, Duration::from_mins(4));
        let identified = person.browser.open(&gateway).await.unwrap();
        gateway.identity.touch(&identified);
    }
    let later = person.browser.open(&gateway).await.unwrap();
    assert_eq!(later.principal().proof(), before.principal().proof());
    let renewed = gateway.provider.renewing(|renewing| renewing.renewed);
    assert!(renewed > 0, "it was renewed");
}

#[tokio::test]
async fn somebody_else_at_a_locked_screen_brings_their_own_second_factor_in_a_clean_sign_in() {
    let gateway = Gateway::start_with(together).await;
    let mut person = enrolled(&gateway).await;
    gateway
        .identity
        .touch(&person.browser.open(&gateway).await.unwrap());
    advance(&gateway, LOCKS);
    let asked = person
        .browser
        .get(&gateway, "/.chartgate/unlock?return_to=/chart/4")
        .await
        .unwrap();
    let asked: url::Url = location(&asked).parse().unwrap();
    let seen = person.browser.finish(&gateway, &asked, |claims| {
        claims["amr"] = json!(["pwd"]);
        claims["sub"] = json!("u2");
        claims["preferred_username"] = json!("nurse.lee");
    });
    let seen = seen.await.unwrap();
    assert_eq!(seen.event, Event::Logout);
    assert!(location(&seen).starts_with("/.chartgate/login?"));
    assert!(!person.browser.cookies.contains_key("__Host-chartgate"));
    // And there the gateway's own factor is asked for.
    let at = first_factor(&mut person.browser, &gateway).await;
    let page = visit(&mut person.browser, &gateway, &at, None).await;
    assert!(page.unwrap().offers("passkey"));
    assert_eq!(
        person.browser.outcome(&gateway).await,
        Err(Refusal::LoginRequired)
    );
}
