//! Roles that are read again while a session goes on.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::config;
use crate::config::refresh::Refresh;
use crate::identity::renewal::CLAIM;
use crate::identity::test_gateway::{Browser, Gateway};
use crate::identity::{Cause, SessionEnded};
use crate::refusal::Refusal;
use crate::request::{Principal, Role};
use crate::store::memory::Fault;

const MINUTE: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_mins(10);
const GRACE: Duration = Duration::from_mins(30);

fn refreshing(config: &mut config::Identity) {
    config.idle_timeout = Duration::from_hours(4);
    config.issuers[0].refresh = Some(Refresh {
        every: EVERY,
        grace: GRACE,
    });
}

async fn start() -> Gateway {
    Gateway::start_with(refreshing).await
}

/// Moves time on; the provider's answers are of that time.
fn advance(gateway: &Gateway, by: Duration) {
    gateway.advance(by);
    let now = gateway.now();
    gateway.provider.renewing(|renewing| {
        renewing.claims.insert("iat".into(), json!(now));
        renewing.claims.insert("exp".into(), json!(now + 300));
    });
}

fn state(gateway: &Gateway, name: &str, value: serde_json::Value) {
    gateway
        .provider
        .renewing(|renewing| renewing.claims.insert(name.into(), value));
}

fn counts(gateway: &Gateway) -> (usize, usize) {
    gateway
        .provider
        .renewing(|renewing| (renewing.renewed, renewing.reused))
}

/// Somebody whose roles are due to be read again, by a provider that takes its time.
async fn due_at_a_slow_provider() -> (Gateway, Browser) {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    advance(&gateway, EVERY);
    gateway
        .provider
        .renewing(|renewing| renewing.delay = Duration::from_millis(100));
    (gateway, browser)
}

/// Waits until the provider was asked.
async fn asked(gateway: &Gateway) {
    while counts(gateway) == (0, 0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn roles(gateway: &Gateway, browser: &Browser) -> Vec<Role> {
    let identified = browser.open(gateway).await.unwrap();
    identified.principal().roles().iter().cloned().collect()
}

#[tokio::test]
async fn a_removed_role_works_for_as_long_as_a_reading_and_no_longer() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    let mut told = gateway.identity.subscribe_roles();
    assert_eq!(roles(&gateway, &browser).await, [Role::new("physician")]);
    state(&gateway, "groups", json!(["canteen"]));
    advance(&gateway, EVERY.saturating_sub(Duration::from_millis(1)));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    assert_eq!(counts(&gateway), (0, 0), "nobody was asked");
    advance(&gateway, Duration::from_millis(1));
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::NoRole));
    assert_eq!(counts(&gateway), (1, 0));
    let changed = told.try_recv().unwrap();
    assert_eq!(changed.user, "staff|u1");
    assert!(changed.before.contains(&Role::new("physician")) && changed.after.is_empty());
    // It is given back, and works again after the next reading.
    state(&gateway, "groups", json!(["emr-physicians"]));
    state(&gateway, "preferred_username", json!("dr.adams-byrne"));
    advance(&gateway, EVERY);
    let identified = browser.open(&gateway).await.unwrap();
    let Principal::User(user) = identified.principal() else {
        panic!("a program")
    };
    assert_eq!(user.name, "dr.adams-byrne");
    // What was read outlives the process.
    let restarted = gateway.restarted_with(refreshing).await;
    let identified = browser.open(&restarted).await.unwrap();
    assert_eq!(identified.principal().display(), "dr.adams-byrne");
    assert_eq!(counts(&gateway), (2, 0));
}

#[tokio::test]
async fn sessions_in_use_are_renewed_before_anyone_has_to_wait() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    advance(&gateway, 7 * MINUTE);
    gateway.identity.renew_soon_due().await;
    assert_eq!(counts(&gateway), (0, 0), "not yet");
    advance(&gateway, MINUTE);
    let identified = browser.open(&gateway).await.unwrap();
    gateway.identity.touch(&identified);
    gateway.identity.renew_soon_due().await;
    assert_eq!(counts(&gateway), (1, 0));
    advance(&gateway, 9 * MINUTE);
    gateway.provider.set_down(true);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    gateway.provider.set_down(false);
    // Nobody used it since: it is left until somebody does.
    gateway.identity.renew_soon_due().await;
    assert_eq!(counts(&gateway), (1, 0));
}

/// oauth2-proxy#1992, #1006; lua-resty-openidc#190; `nextcloud/user_oidc#1450`.
#[tokio::test]
async fn pain_05_a_refresh_race_of_tabs_and_replicas_uses_each_token_once() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    let replica = gateway.restarted_with(refreshing).await;
    browser.outcome(&gateway).await.unwrap();
    browser.outcome(&replica).await.unwrap();
    gateway
        .provider
        .renewing(|renewing| renewing.delay = Duration::from_millis(150));
    for round in 1..=3 {
        advance(&gateway, EVERY);
        let tabs = (0..24).map(|tab| {
            let at = if tab % 2 == 0 { &gateway } else { &replica };
            browser.outcome(at)
        });
        let outcomes = join_all(tabs).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(counts(&gateway), (round, 0), "one exchange, none reused");
    }
}

/// TriliumNext/Trilium#10371: a request with the old token some milliseconds after the race.
#[tokio::test]
async fn pain_06_a_replica_with_the_old_state_does_not_use_the_old_token() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    let late = gateway.restarted_with(refreshing).await;
    browser.outcome(&gateway).await.unwrap();
    browser.outcome(&late).await.unwrap();
    advance(&gateway, EVERY);
    browser.outcome(&gateway).await.unwrap();
    // It has the session as it was, and finds what the other one got.
    browser.outcome(&late).await.unwrap();
    assert_eq!(counts(&gateway), (1, 0));
    advance(&gateway, EVERY);
    browser.outcome(&late).await.unwrap();
    browser.outcome(&gateway).await.unwrap();
    assert_eq!(counts(&gateway), (2, 0));
}

/// The provider has rotated, and the store does not take it: the new token is kept until it does.
#[tokio::test]
async fn pain_06_a_rotated_token_waits_for_a_store_that_fails() {
    let (gateway, browser) = due_at_a_slow_provider().await;
    let identity = gateway.identity.clone();
    let home = gateway.home.clone();
    let fails = async {
        // The claim is taken, and the provider asked.
        asked(&gateway).await;
        home.fail(Fault::Writes);
        tokio::time::sleep(Duration::from_millis(400)).await;
        home.fail(Fault::None);
    };
    let (outcome, ()) = tokio::join!(browser.outcome(&gateway), fails);
    assert_eq!(outcome, Ok(()));
    identity.renewals.settled().await;
    advance(&gateway, EVERY);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    assert_eq!(counts(&gateway), (2, 0));
}

/// The process dies after the provider rotated and before that was durable: one sign-in, and no loop.
#[tokio::test]
async fn pain_05_a_lost_answer_costs_one_sign_in() {
    let gateway = start().await;
    let mut browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    advance(&gateway, EVERY);
    // What the crashed process used up, under a claim that it left behind.
    let key = browser.open_key(&gateway).await;
    let renewals = gateway.identity.sessions().renewals().clone();
    let _ = renewals.claim(&key).await.unwrap();
    let lost = renewals.get(&key).await.unwrap().unwrap().refresh_token;
    gateway.provider.spend(lost.unwrap().expose());
    let restarted = gateway.restarted_with(refreshing).await;
    advance(&gateway, CLAIM);
    let mut ended = restarted.identity.subscribe();
    assert_eq!(browser.outcome(&restarted).await, Err(Refusal::NotRenewed));
    assert_eq!(ended.try_recv().unwrap().1.cause, Cause::RenewalDenied);
    browser.sign_in(&restarted, |_| {}).await.unwrap();
    assert_eq!(browser.outcome(&restarted).await, Ok(()));
}

#[tokio::test]
async fn a_denied_refresh_ends_the_session_and_its_user_is_told_so() {
    let gateway = start().await;
    let mut browser = gateway.signed_in().await;
    let session = browser.open(&gateway).await.unwrap();
    let over = session.session_end();
    let mut ended = gateway.identity.subscribe();
    gateway.provider.renewing(|renewing| renewing.denies = true);
    advance(&gateway, EVERY);
    let refused = browser.open(&gateway).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::NotRenewed);
    let named = refused.facts().principal.as_deref();
    assert!(matches!(named, Some(Principal::User(user)) if user.subject == "u1"));
    let SessionEnded(id, ending) = ended.try_recv().unwrap();
    assert_eq!(
        (&id, ending.cause),
        (session.session(), Cause::RenewalDenied)
    );
    assert!(over.is_over(), "who works for it hears of it");
    // Another tab is told the same, and the store has nothing of it.
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::NotRenewed));
    let restarted = gateway.restarted_with(refreshing).await;
    assert_eq!(
        browser.outcome(&restarted).await,
        Err(Refusal::SessionUnknown)
    );
    assert!(ended.try_recv().is_err(), "told once");
    browser.sign_in(&gateway, |_| {}).await.unwrap();
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

/// oauth2-proxy#1630, pomerium#3431: what cannot be asked is not what says no. But not for ever.
#[tokio::test]
async fn pain_23_an_unreachable_provider_is_borne_for_the_grace_and_no_longer() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    gateway.provider.set_down(true);
    for _ in 0..39 {
        advance(&gateway, MINUTE);
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    let until = browser.open(&gateway).await.unwrap().confirmed_until();
    assert_eq!(until.as_second(), gateway.now() + 60);
    let mut ended = gateway.identity.subscribe();
    advance(&gateway, MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::NotRenewed));
    assert_eq!(ended.try_recv().unwrap().1.cause, Cause::NotConfirmed);
}

#[tokio::test]
async fn a_provider_that_comes_back_within_the_grace_renews() {
    let gateway = start().await;
    let browser = gateway.signed_in().await;
    gateway.provider.set_down(true);
    advance(&gateway, 30 * MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    gateway.provider.set_down(false);
    // Nobody comes back for longer than the grace; then the provider answers.
    advance(&gateway, 60 * MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    assert_eq!(counts(&gateway), (1, 0));
}

#[tokio::test]
async fn a_session_without_a_refresh_token_lasts_until_its_reading_is_over() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    // It was opened before anything was to be read again.
    let gateway = gateway.restarted_with(refreshing).await;
    advance(&gateway, (EVERY + GRACE).saturating_sub(MINUTE));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    advance(&gateway, MINUTE);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::NotRenewed));
}

#[tokio::test]
async fn without_an_id_token_the_user_information_counts() {
    let gateway = start().await;
    let userinfo = format!("{}/userinfo", gateway.provider.url());
    gateway
        .provider
        .publish(json!({ "userinfo_endpoint": userinfo }));
    let browser = gateway.signed_in().await;
    gateway.provider.renewing(|renewing| {
        renewing.without_id_token = true;
        renewing.user_info =
            json!({"sub": "u1", "groups": ["emr-physicians"], "preferred_username": "new.name"});
    });
    advance(&gateway, EVERY);
    let identified = browser.open(&gateway).await.unwrap();
    assert_eq!(identified.principal().display(), "new.name");
    assert!(identified.principal().proof().mfa);
    gateway
        .provider
        .renewing(|renewing| renewing.user_info = json!({"sub": "u2"}));
    advance(&gateway, EVERY);
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::NotRenewed));
}

/// pomerium#3270: the wrong identity.
#[tokio::test]
async fn pain_12_tokens_of_someone_else_end_the_session() {
    for (name, value, cause) in [
        ("sub", json!("u2"), Cause::RenewalRefused),
        ("aud", json!("other"), Cause::RenewalRefused),
        ("nonce", json!("other"), Cause::RenewalRefused),
        ("auth_time", json!(1_799_999_999), Cause::RenewalRefused),
        ("amr", json!(["pwd"]), Cause::SecondFactorGone),
    ] {
        let gateway = start().await;
        let browser = gateway.signed_in().await;
        let mut ended = gateway.identity.subscribe();
        state(&gateway, name, value);
        advance(&gateway, EVERY);
        let outcome = browser.outcome(&gateway).await;
        assert_eq!(outcome, Err(Refusal::NotRenewed), "{name}");
        assert_eq!(ended.try_recv().unwrap().1.cause, cause, "{name}");
    }
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_renewed_stays_ended() {
    let (gateway, browser) = due_at_a_slow_provider().await;
    let leaves = async {
        asked(&gateway).await;
        browser
            .clone()
            .ask(&gateway, Method::POST, "/.chartgate/logout", &[])
            .await
            .unwrap();
    };
    let (outcome, ()) = tokio::join!(browser.outcome(&gateway), leaves);
    assert_eq!(outcome, Err(Refusal::SessionUnknown));
    gateway.identity.renewals.settled().await;
    for at in [&gateway, &gateway.restarted_with(refreshing).await] {
        assert_eq!(browser.outcome(at).await, Err(Refusal::SessionUnknown));
    }
}
