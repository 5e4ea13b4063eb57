//! A provider that is away, changes its keys, or is another one.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::clock::{ManualClock, SharedClock};
use crate::identity::IdentityError;
use crate::identity::oidc::jws::Kind;
use crate::identity::oidc::test_provider::TestProvider;
use crate::identity::oidc::{Provider, ProviderError, TokenError};
use crate::identity::test_gateway::{Browser, Gateway};
use crate::refusal::Refusal;

fn provider(op: &TestProvider) -> (Provider, Arc<ManualClock>) {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let settings = op.issuer();
    let algorithms = Provider::algorithms_of(&settings).unwrap();
    let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
    (Provider::new(settings, algorithms, shared).unwrap(), clock)
}

/// oauth2-proxy#3487: the gateway did not start without its provider.
#[tokio::test]
async fn oauth2_proxy_3487_sign_in_recovers_when_the_provider_comes() {
    let gateway = Gateway::start().await;
    gateway.provider.set_down(true);
    let mut browser = Browser::default();
    let start = "/.chartgate/login";
    let refused = browser.get(&gateway, start).await;
    assert_eq!(refused.map(drop), Err(Refusal::ProviderUnavailable));
    assert!(!gateway.identity.knows_providers());
    gateway.provider.set_down(false);
    // A flood of sign-ins does not become a flood of requests to a provider in trouble.
    let refused = browser.get(&gateway, start).await;
    assert_eq!(refused.map(drop), Err(Refusal::ProviderUnavailable));
    gateway.advance(Duration::from_secs(5));
    browser.sign_in(&gateway, |_| {}).await.unwrap();
    assert!(gateway.identity.knows_providers());
    // Open sessions go on without it.
    gateway.provider.set_down(true);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn a_provider_that_fails_at_the_code_is_unavailable() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "").await;
    gateway.provider.set_down(true);
    let refused = browser.finish(&gateway, &asked, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::ProviderUnavailable));
}

/// keepass4web-rs#315: keys were read once, and their rotation broke sign-ins.
#[tokio::test]
async fn keepass4web_315_rotated_keys_are_read_once_out_of_turn() {
    let op = TestProvider::start().await;
    let (provider, clock) = provider(&op);
    let claims = json!({"sub": "u1"});
    let first = op.sign(&claims, "JWT");
    assert!(provider.verified(&first, Kind::Id).await.is_ok());
    assert_eq!(op.key_reads(), 1);
    op.rotate("k2");
    let second = op.sign(&claims, "JWT");
    assert!(provider.verified(&second, Kind::Id).await.is_ok());
    assert_eq!(op.key_reads(), 2);
    // The old key is gone, and unknown keys do not make the gateway hammer the provider.
    for _ in 0..3 {
        let refused = provider.verified(&first, Kind::Id).await;
        assert!(matches!(refused, Err(TokenError::NoKey)));
    }
    assert_eq!(op.key_reads(), 2);
    clock.advance(Duration::from_secs(30));
    let refused = provider.verified(&first, Kind::Id).await;
    assert!(matches!(refused, Err(TokenError::NoKey)));
    assert_eq!(op.key_reads(), 3);
}

#[tokio::test]
async fn concurrent_sign_ins_with_a_new_key_read_it_once() {
    let op = TestProvider::start().await;
    let (provider, _clock) = provider(&op);
    provider.refresh().await.unwrap();
    op.rotate("k2");
    let token = op.sign(&json!({"sub": "u1"}), "JWT");
    let all = (0..8).map(|_| provider.verified(&token, Kind::Id));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(op.key_reads(), 2);
}

#[tokio::test]
async fn a_document_of_another_issuer_is_not_believed() {
    let op = TestProvider::start().await;
    let (provider, _clock) = provider(&op);
    op.pretend("https://other.example");
    let refused = provider.refresh().await;
    assert!(matches!(refused, Err(ProviderError::OtherIssuer(_))));
    // The final slash of a bare host is the configuration's, not the issuer's.
    op.pretend(&format!("{}/", op.url()));
    assert!(provider.refresh().await.is_ok());
    let spelled = provider.metadata().await.unwrap();
    assert_eq!(spelled.issuer(), format!("{}/", op.url()));
}

#[tokio::test]
async fn addresses_that_lead_away_in_clear_are_refused() {
    let op = TestProvider::start().await;
    let (provider, _clock) = provider(&op);
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "end_session_endpoint",
    ] {
        for address in [
            "http://10.1.1.1/x",
            "javascript:alert(1)",
            "ftp://127.0.0.1/",
        ] {
            op.publish(json!({ name: address }));
            let refused = provider.refresh().await;
            assert!(
                matches!(refused, Err(ProviderError::Metadata(_))),
                "{name} {address}"
            );
        }
    }
    op.publish(json!({"jwks_uri": null}));
    assert!(matches!(
        provider.refresh().await,
        Err(ProviderError::Metadata(_))
    ));
}

#[tokio::test]
async fn what_can_never_work_is_refused_at_the_start() {
    let op = TestProvider::start().await;
    for algorithms in [
        vec![],
        vec!["none"],
        vec!["HS256"],
        vec!["ES256", "HS512"],
        vec!["RS1"],
    ] {
        let mut issuer = op.issuer();
        issuer.algorithms = algorithms.iter().map(|a| (*a).to_owned()).collect();
        let clock: SharedClock = crate::clock::SystemClock::shared();
        let refused = crate::identity::provider(&issuer, &clock);
        assert!(
            matches!(refused, Err(IdentityError::Algorithm { .. })),
            "{algorithms:?}"
        );
    }
    let mut issuer = op.issuer();
    issuer.ca = Some("/nonexistent/ca.pem".into());
    let refused = crate::identity::provider(&issuer, &crate::clock::SystemClock::shared());
    assert!(matches!(refused, Err(IdentityError::Issuer { .. })));
}
