//! Pains with identity providers: groups, absence, keys, addresses, clocks, secrets.

use std::time::Duration;

use chartgate::clock::SystemClock;
use chartgate::config::issuer::{ClientAuth, Rotating};
use chartgate::demo::issuer::{Misbehave, Retired};
use chartgate::secret::Secret;
use http::StatusCode;

use crate::harness::practice::{Practice, eventually};
use crate::harness::{House, Page, without_limits};

async fn signed_in(house: &House) -> Page {
    let mut browser = house.browser();
    let url = house.url("/echo");
    house.sign_in(&mut browser, "dr.okafor", &url).await
}

/// The provider's tokens say this from now on.
fn say(house: &House, claims: &serde_json::Value) {
    // The switch takes texts that live as long as the program; a test is no longer.
    let text: &'static str = Box::leak(claims.to_string().into_boxed_str());
    house.clinic.issuer().misbehave(Misbehave::Claims(text));
}

/// Entra ID leaves more than 200 groups out of the token: rights were silently lost (oauth2-proxy#1972,
/// `OctopusDeploy`#8388).
#[tokio::test(flavor = "multi_thread")]
async fn pain_15_groups_that_do_not_fit_into_the_token_are_never_taken_for_none() {
    let house = House::open().await;
    let left_out = serde_json::json!({
        "groups": null,
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/x/getMemberObjects"}},
    });
    say(&house, &left_out);
    let page = signed_in(&house).await;
    assert_eq!(page.refusal(), Some("CG-2016"), "{}", page.text());
    assert!(page.text().contains("Your groups could not be read"));
    let refused = house.refusals();
    assert!(
        refused.iter().any(|(code, _)| code == "CG-2016"),
        "{refused:?}"
    );
    house.clinic.issuer().misbehave(Misbehave::Nothing);
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
}

/// The provider was down when the gateway started, so it did not (oauth2-proxy#3487, #2896).
#[tokio::test(flavor = "multi_thread")]
async fn pain_16_the_gateway_starts_without_its_provider_and_recovers() {
    let mut practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let page = practice
        .browser()
        .visit(&practice.people.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2006"), "{}", page.text());
    practice.open_provider().await;
    let page = eventually("a sign-in", async || {
        let mut browser = practice.browser();
        let url = practice.people.url("/echo");
        let page = practice
            .people
            .sign_in(&mut browser, "dr.okafor", &url)
            .await;
        (page.status == StatusCode::OK).then_some(page)
    })
    .await;
    assert!(page.url.as_str().ends_with("/echo"));
    serving.process.stop().await;
}

/// Keys were read once, and their rotation broke sign-ins until a restart (keepass4web-rs#315).
#[tokio::test(flavor = "multi_thread")]
async fn pain_17_keys_rotate_without_a_failed_sign_in() {
    let house = House::open_unlimited().await;
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
    house
        .clinic
        .issuer()
        .rotate_keys(Retired::Withdrawn)
        .unwrap();
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
}

/// In containers, the gateway reaches the provider at another address than browsers do (oauth2-proxy#2896).
#[tokio::test(flavor = "multi_thread")]
async fn pain_18_the_provider_has_an_inner_and_an_outer_address() {
    let (house, way) = House::open_by_way(SystemClock::shared(), without_limits).await;
    let port = house.clinic.config().identity.issuers[0].url.port();
    let port = port.unwrap();
    let sent = house.browser().get(&house.url("/.chartgate/login")).await;
    let outer = format!("http://127.0.0.1:{port}/authorize?");
    assert!(sent.header("location").unwrap().starts_with(&outer));
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
    // The discovery document, the keys, and the code.
    assert!(way.passed() >= 3);
}

/// Clocks that differ by seconds failed sign-ins, and nobody was told why (`mod_auth_openidc`#123, panva/openid-client#10).
#[tokio::test(flavor = "multi_thread")]
async fn pain_19_clocks_may_differ_by_as_much_as_the_issuer_is_given() {
    let ahead = |seconds: i64| {
        let at = SystemClock::shared().now().as_second() + seconds;
        serde_json::json!({ "iat": at })
    };
    let house = House::open_unlimited().await;
    say(&house, &ahead(50));
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
    say(&house, &ahead(120));
    assert_eq!(signed_in(&house).await.refusal(), Some("CG-2004"));
    let patient = House::open_with(|config| {
        config.identity.issuers[0].clock_leeway = Duration::from_mins(4);
    })
    .await;
    say(&patient, &ahead(120));
    assert_eq!(signed_in(&patient).await.status, StatusCode::OK);
}

/// While the client secret was replaced, sign-ins failed (envoy#39210).
#[tokio::test(flavor = "multi_thread")]
async fn pain_22_two_secrets_work_while_one_is_replaced() {
    let house = House::open_with(|config| {
        let auth = &mut config.identity.issuers[0].client_auth;
        let ClientAuth::SecretBasic(secrets) = auth else {
            panic!("the clinic has a secret")
        };
        let new = Rotating {
            current: Secret::new("not known at the provider yet".to_owned()),
            previous: Some(secrets.current.clone()),
        };
        *auth = ClientAuth::SecretBasic(new);
    })
    .await;
    assert_eq!(signed_in(&house).await.status, StatusCode::OK);
}
