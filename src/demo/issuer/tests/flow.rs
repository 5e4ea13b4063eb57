//! Tests of logins, codes, tokens and keys.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Method, StatusCode};
use openidconnect::core::CoreProviderMetadata;

use super::{
    super::{ACR_MFA, ACR_PASSWORD, Misbehave, Retired, TotpReplay},
    AFTER, CALLBACK, CHALLENGE, SECRET, VERIFIER, claims, error, field, issuer, issuer_with,
    request, staff, transaction,
};
use crate::clock::Clock;

#[tokio::test]
async fn a_whole_code_flow_ends_in_a_verified_token() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let metadata = browser
        .get("/.well-known/openid-configuration")
        .await
        .json();
    let parsed: CoreProviderMetadata = serde_json::from_value(metadata.clone()).unwrap();
    assert_eq!(parsed.issuer().as_str(), setup.url);
    assert_eq!(
        metadata["end_session_endpoint"],
        format!("{}/logout", setup.url)
    );

    let answer = setup
        .sign_in(&mut browser, "dr.okafor", &[("acr_values", ACR_MFA)])
        .await;
    assert!(answer.location().starts_with(&format!("{CALLBACK}?")));
    assert_eq!(field(&answer, "state").unwrap(), "st&te");
    assert_eq!(field(&answer, "iss").unwrap(), setup.url);
    let code = field(&answer, "code").unwrap();

    let tokens = setup.exchange(&code, &[]).await;
    assert_eq!(tokens.header("cache-control"), "no-store");
    let tokens = tokens.json();
    let id_token = tokens["id_token"].as_str().unwrap();
    setup.verify(id_token).await.unwrap();
    let claims = claims(id_token);
    let now = setup.clock.now().as_second();
    assert_eq!(claims["acr"], ACR_MFA);
    assert_eq!(claims["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    assert_eq!(claims["groups"], serde_json::json!(["emr-physicians"]));
    assert_eq!(claims["preferred_username"], "dr.okafor");
    assert_eq!(
        (&claims["auth_time"], &claims["iat"]),
        (&now.into(), &now.into())
    );
    assert!(claims["sid"].is_string() && claims["email"].is_string());

    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let person = browser.send(Method::GET, "/userinfo", &headers, "").await;
    assert_eq!(person.json()["sub"], claims["sub"]);

    // A code seen again is refused, and what it gave is withdrawn.
    assert_eq!(error(&setup.exchange(&code, &[]).await), "invalid_grant");
    let person = browser.send(Method::GET, "/userinfo", &headers, "").await;
    assert_eq!(person.status, StatusCode::UNAUTHORIZED);
    setup.running.stop().await;
}

#[tokio::test]
async fn somebody_without_a_second_factor_gets_the_weak_acr_whatever_was_asked() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let answer = setup
        .sign_in(&mut browser, "dr.weber", &[("acr_values", ACR_MFA)])
        .await;
    let tokens = setup
        .exchange(&field(&answer, "code").unwrap(), &[])
        .await
        .json();
    let claims = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(claims["acr"], ACR_PASSWORD);
    assert_eq!(claims["amr"], serde_json::json!(["pwd"]));
    setup.running.stop().await;
}

#[tokio::test]
async fn requests_without_pkce_or_otherwise_wrong_are_sent_back() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    for (changes, expected) in [
        (&[("code_challenge", "-")][..], "invalid_request"),
        (&[("code_challenge", "short")][..], "invalid_request"),
        (&[("code_challenge_method", "plain")][..], "invalid_request"),
        (&[("code_challenge_method", "-")][..], "invalid_request"),
        (
            &[("response_type", "token")][..],
            "unsupported_response_type",
        ),
        (&[("response_mode", "fragment")][..], "invalid_request"),
        (&[("scope", "profile")][..], "invalid_scope"),
        (&[("prompt", "none")][..], "login_required"),
        (&[("prompt", "none login")][..], "invalid_request"),
        (&[("max_age", "soon")][..], "invalid_request"),
        (&[("request", "x")][..], "request_not_supported"),
        (&[("request_uri", "x")][..], "request_uri_not_supported"),
    ] {
        let reply = browser.get(&request(changes)).await;
        assert_eq!(
            field(&reply, "error").as_deref(),
            Some(expected),
            "{changes:?}"
        );
        assert_eq!(
            field(&reply, "state").as_deref(),
            Some("st&te"),
            "{changes:?}"
        );
        assert_eq!(field(&reply, "code"), None);
    }
    for changes in [
        &[("client_id", "unknown")][..],
        &[("client_id", "other")][..],
        &[("redirect_uri", "https://gate.example/callback/")][..],
        &[("redirect_uri", "-")][..],
    ] {
        let reply = browser.get(&request(changes)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{changes:?}");
        assert_eq!(reply.location(), "");
    }
    setup.running.stop().await;
}

#[tokio::test]
async fn codes_are_redeemed_only_by_whom_and_while_they_are_meant() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let answer = setup.sign_in(&mut browser, "nurse.lind", &[]).await;
    let code = field(&answer, "code").unwrap();
    let wrong_verifier = VERIFIER.replace('d', "e");
    for (changes, expected) in [
        (
            &[("code_verifier", wrong_verifier.as_str())][..],
            "invalid_grant",
        ),
        (&[("code_verifier", "-")][..], "invalid_grant"),
        (&[("code_verifier", CHALLENGE)][..], "invalid_grant"),
        (&[("redirect_uri", AFTER)][..], "invalid_grant"),
        (&[("redirect_uri", "-")][..], "invalid_grant"),
        (&[("client_secret", "wrong")][..], "invalid_client"),
        (&[("client_secret", "-")][..], "invalid_client"),
        (&[("client_id", "-")][..], "invalid_request"),
        (
            &[("client_id", "other"), ("client_secret", "other-secret")][..],
            "invalid_grant",
        ),
        (&[("grant_type", "password")][..], "unsupported_grant_type"),
        (&[("grant_type", "-")][..], "invalid_request"),
        (&[("code", "-")][..], "invalid_request"),
        (&[("code", "unknown")][..], "invalid_grant"),
    ] {
        let reply = setup.exchange(&code, changes).await;
        assert_eq!(error(&reply), expected, "{changes:?}");
    }
    let refused = setup.exchange(&code, &[("client_secret", "wrong")]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.header("www-authenticate").starts_with("Basic"));

    setup.clock.advance(Duration::from_secs(61));
    assert_eq!(error(&setup.exchange(&code, &[]).await), "invalid_grant");

    let again = field(&browser.get(&request(&[])).await, "code").unwrap();
    setup.handle.end_sessions_of("nurse.lind").await;
    assert_eq!(error(&setup.exchange(&again, &[]).await), "invalid_grant");
    setup.running.stop().await;
}

#[tokio::test]
async fn clients_may_use_basic_authentication_but_not_both_methods() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let answer = setup.sign_in(&mut browser, "pharm.ito", &[]).await;
    let code = field(&answer, "code").unwrap();
    let secret: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("gateway:{secret}")));
    let headers = [
        ("authorization", basic.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
        .finish();
    let both = format!("{body}&client_secret=x");
    let reply = browser.send(Method::POST, "/token", &headers, &both).await;
    assert_eq!(error(&reply), "invalid_request");
    let reply = browser.send(Method::POST, "/token", &headers, &body).await;
    setup
        .verify(reply.json()["id_token"].as_str().unwrap())
        .await
        .unwrap();
    setup.running.stop().await;
}

#[tokio::test]
async fn sessions_are_reused_unless_the_client_wants_a_fresh_login() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let first = setup.id_token(&mut browser, "him.doyle").await;
    let sid = claims(&first)["sid"].clone();
    setup.clock.advance(Duration::from_mins(2));

    let reused = browser.get(&request(&[("max_age", "600")])).await;
    let tokens = setup
        .exchange(&field(&reused, "code").unwrap(), &[])
        .await
        .json();
    let second = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(second["sid"], sid);
    assert_eq!(second["auth_time"], claims(&first)["auth_time"]);
    assert!(field(&browser.get(&request(&[("prompt", "none")])).await, "code").is_some());

    for changes in [("prompt", "login"), ("max_age", "0"), ("max_age", "60")] {
        transaction(&browser.get(&request(&[changes])).await);
    }
    let third = claims(&setup.id_token(&mut browser, "him.doyle").await);
    assert_eq!(third["sid"], sid);
    assert_eq!(third["auth_time"], setup.clock.now().as_second());

    let other = claims(&setup.id_token(&mut browser, "privacy.stein").await);
    assert_ne!(other["sid"], sid);
    setup.clock.advance(Duration::from_hours(13));
    transaction(&browser.get(&request(&[])).await);
    setup.running.stop().await;
}

#[tokio::test]
async fn a_used_totp_step_is_refused_when_so_set() {
    let setup = issuer_with(TotpReplay::Refused, None, None).await;
    let answer = setup.sign_in(&mut setup.browser(), "lab.reyes", &[]).await;
    assert!(field(&answer, "code").is_some());
    let answer = setup.sign_in(&mut setup.browser(), "lab.reyes", &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    setup.clock.advance(Duration::from_secs(30));
    let answer = setup.sign_in(&mut setup.browser(), "lab.reyes", &[]).await;
    assert!(field(&answer, "code").is_some());
    setup.running.stop().await;
}

#[tokio::test]
async fn a_login_cannot_be_guessed_hijacked_or_cut_short() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let begun = transaction(&browser.get(&request(&[("login_hint", "<dr>")])).await);
    let form = browser.get(&format!("/login?transaction={begun}")).await;
    assert!(
        form.text().contains("value=\"&#60;dr&#62;\""),
        "{}",
        form.text()
    );
    let policy = form.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' https://gate.example;"),
        "{policy}"
    );

    // Another browser, and a code without a password.
    let mut stranger = setup.browser();
    stranger.get(&request(&[])).await;
    let okafor = staff("dr.okafor");
    let fields = [
        ("transaction", begun.as_str()),
        ("username", okafor.name()),
        ("password", okafor.password()),
    ];
    assert_eq!(
        stranger.post("/login", &fields).await.status,
        StatusCode::BAD_REQUEST
    );
    let code = setup.code_of(&okafor);
    let early = [("transaction", begun.as_str()), ("code", &code)];
    assert_eq!(
        browser.post("/login/code", &early).await.status,
        StatusCode::BAD_REQUEST
    );

    let wrong = [
        ("transaction", begun.as_str()),
        ("username", okafor.name()),
        ("password", "wrong"),
    ];
    for _ in 0..4 {
        assert_eq!(
            browser.post("/login", &wrong).await.status,
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(
        browser.post("/login", &wrong).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        browser.post("/login", &fields).await.status,
        StatusCode::BAD_REQUEST
    );

    let begun = transaction(&browser.get(&request(&[])).await);
    let cancelled = browser
        .post("/login/cancel", &[("transaction", &begun)])
        .await;
    assert_eq!(field(&cancelled, "error").as_deref(), Some("access_denied"));

    let begun = transaction(&browser.get(&request(&[])).await);
    setup.clock.advance(Duration::from_mins(16));
    let late = browser.get(&format!("/login?transaction={begun}")).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST);
    setup.running.stop().await;
}

#[tokio::test]
async fn misbehaviour_makes_tokens_that_a_client_refuses() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    for how in Misbehave::BAD_TOKENS {
        setup.handle.misbehave(how);
        let token = setup.id_token(&mut browser, "dr.okafor").await;
        if how == Misbehave::AuthTimeZero {
            // Only a client that asked for max_age has to look at it.
            assert_eq!(claims(&token)["auth_time"], 0);
        } else {
            assert!(setup.verify(&token).await.is_err(), "{how:?}");
        }
    }
    setup.handle.misbehave(Misbehave::FractionalTimes);
    let token = setup.id_token(&mut browser, "dr.okafor").await;
    assert!(claims(&token)["exp"].to_string().ends_with(".5"));

    setup.handle.misbehave(Misbehave::TokenEndpointFails);
    let answer = browser.get(&request(&[])).await;
    let code = field(&answer, "code").unwrap();
    let failed = setup.exchange(&code, &[]).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    setup
        .handle
        .misbehave(Misbehave::TokenEndpointSlow(Duration::from_millis(1)));
    let token = setup.exchange(&code, &[]).await.json()["id_token"]
        .as_str()
        .unwrap()
        .to_owned();
    setup.handle.misbehave(Misbehave::Nothing);
    setup.verify(&token).await.unwrap();
    setup.running.stop().await;
}

#[tokio::test]
async fn keys_rotate_with_and_without_the_old_one() {
    let setup = issuer().await;
    let mut browser = setup.browser();
    let old = setup.id_token(&mut browser, "dr.okafor").await;
    setup.handle.rotate_keys(Retired::Published).unwrap();
    setup.verify(&old).await.unwrap();
    let new = setup.id_token(&mut browser, "dr.okafor").await;
    setup.verify(&new).await.unwrap();
    setup.handle.rotate_keys(Retired::Withdrawn).unwrap();
    assert!(setup.verify(&old).await.is_err());
    assert!(setup.verify(&new).await.is_err());
    setup.running.stop().await;
}
