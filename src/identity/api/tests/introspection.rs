//! Opaque tokens, and the endpoint that knows them.

use futures_util::future::join_all;

use super::*;
use crate::request::principal::CredentialKind;

const NO: Refusal = Refusal::TokenRefused;
const TOKEN: &str = "opaque-2YotnFZFEjr1zCsicMWpAA";

fn active(rig: &Rig) -> Value {
    json!({
        "active": true, "aud": AUDIENCE, "client_id": "mirth", "exp": rig.now() + 300,
        "scope": "system/*.read", "token_type": "Bearer", "jti": "i1",
    })
}

#[tokio::test]
async fn an_opaque_token_is_what_its_server_says() {
    let rig = Rig::start().await;
    rig.endpoint.say(TOKEN, active(&rig));
    let service = rig.bearer(TOKEN).await.unwrap();
    assert_eq!(service.id(), "asked|mirth");
    assert_eq!(service.credential.kind, CredentialKind::Introspected);
    let basic = rig.endpoint.0.lock().unwrap().authorization.clone();
    // `gate+way:s%3A3`
    assert_eq!(basic, "Basic Z2F0ZSt3YXk6cyUzQTM=");
    let without = |claim: &str| {
        let mut claims = active(&rig);
        claims.as_object_mut().unwrap().remove(claim);
        claims
    };
    let with = |claim: &str, value: Value| {
        let mut claims = active(&rig);
        claims[claim] = value;
        claims
    };
    for (at, (what, claims)) in [
        ("no audience", without("aud")),
        ("no end", without("exp")),
        ("no client", without("client_id")),
        ("inactive", with("active", json!(false))),
        ("active as a text", with("active", json!("true"))),
        ("another audience", with("aud", json!("x"))),
        ("expired", with("exp", json!(rig.now() - 61))),
        ("a refresh token", with("token_use", json!("refresh_token"))),
        ("a refresh token of Keycloak", with("typ", json!("Refresh"))),
        ("an ID token", with("nonce", json!("n"))),
        ("DPoP", with("token_type", json!("DPoP"))),
        ("bound to a key", with("cnf", json!({"jkt": "x"}))),
        (
            "bound to a certificate",
            with("cnf", json!({"x5t#S256": "A".repeat(43)})),
        ),
        ("no object", json!([true])),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("opaque-{at}");
        rig.endpoint.say(&token, claims);
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{what}");
    }
    assert_eq!(rig.bearer("never-heard-of").await.unwrap_err(), NO);
}

#[tokio::test]
async fn the_endpoint_is_asked_once_in_a_while_however_many_ask() {
    let rig = Rig::start().await;
    rig.endpoint.say(TOKEN, active(&rig));
    let all = join_all((0..20).map(|_| rig.bearer(TOKEN))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.endpoint.asked(), 1);
    // A token that was ended is dead within the time that answers are kept.
    rig.endpoint.say(TOKEN, json!({"active": false}));
    rig.clock.advance(Duration::from_secs(9));
    assert!(rig.bearer(TOKEN).await.is_ok());
    rig.clock.advance(Duration::from_secs(1));
    let all = join_all((0..20).map(|_| rig.bearer(TOKEN))).await;
    assert!(all.iter().all(|one| *one == Err(NO)));
    assert_eq!(
        rig.endpoint.asked(),
        2,
        "what is not active is remembered as well"
    );
}

#[tokio::test]
async fn an_answer_is_not_used_beyond_the_token_s_end() {
    let rig = Rig::start().await;
    let mut claims = active(&rig);
    claims["exp"] = json!(rig.now() - 55);
    rig.endpoint.say(TOKEN, claims);
    assert!(rig.bearer(TOKEN).await.is_ok());
    rig.clock.advance(Duration::from_secs(5));
    assert_eq!(rig.bearer(TOKEN).await.unwrap_err(), NO);
    assert_eq!(rig.endpoint.asked(), 1);
}

#[tokio::test]
async fn while_the_endpoint_is_down_nothing_passes_and_it_is_left_in_peace() {
    let rig = Rig::start().await;
    rig.endpoint.say(TOKEN, active(&rig));
    rig.endpoint.set_down(true);
    for _ in 0..5 {
        assert_eq!(
            rig.bearer(TOKEN).await.unwrap_err(),
            Refusal::ProviderUnavailable
        );
    }
    assert_eq!(rig.endpoint.asked(), 1);
    rig.endpoint.set_down(false);
    rig.clock.advance(Duration::from_secs(1));
    assert!(rig.bearer(TOKEN).await.is_ok());
}

#[tokio::test]
async fn no_more_answers_are_kept_than_configured() {
    let rig = Rig::start_with(|config| {
        let ApiKind::Introspection(asked) = &mut config.api[1].kind else {
            panic!();
        };
        asked.cache_entries = 2;
    })
    .await;
    for at in 0..20 {
        assert_eq!(rig.bearer(&format!("t-{at}")).await.unwrap_err(), NO);
    }
    let before = rig.endpoint.asked();
    for at in 0..20 {
        assert_eq!(rig.bearer(&format!("t-{at}")).await.unwrap_err(), NO);
    }
    assert!(
        rig.endpoint.asked() >= before + 15,
        "{}",
        rig.endpoint.asked()
    );
}
