//! The code flow, from the first request to the session.

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::identity::OwnRoute;
use crate::identity::test_gateway::{Browser, Gateway, location, query, received};
use crate::refusal::Refusal;
use crate::request::{Event, Principal};
use crate::store::memory::Fault;

#[tokio::test]
async fn after_sign_in_the_user_is_on_the_page_asked_for() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    assert_eq!(browser.outcome(&gateway).await, Err(Refusal::LoginRequired));
    let asked = browser
        .start(&gateway, "return_to=%2Fchart%2F4%3Ftab%3Dx")
        .await;
    assert!(
        asked
            .as_str()
            .starts_with(&format!("{}/authorize?", gateway.provider.url()))
    );
    assert_eq!(
        query(&asked, "redirect_uri"),
        "https://emr.example:8443/.chartgate/callback"
    );
    assert_eq!(query(&asked, "acr_values"), "urn:mfa");
    assert_eq!(query(&asked, "scope"), "openid profile");
    assert_eq!(query(&asked, "max_age"), "");
    let handled = browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(handled.event, Event::Login);
    assert_eq!(location(&handled), "/chart/4?tab=x");
    let identified = browser.open(&gateway).await.unwrap();
    assert_eq!(identified.principal().id(), "staff|u1");
    assert_eq!(identified.principal().display(), "dr.adams");
    assert_eq!(identified.principal().roles().len(), 1);
    assert!(identified.principal().proof().mfa);
    // The record of the sign-in names the user and the session of the requests that follow.
    let facts = identified.received().facts();
    assert_eq!(handled.facts.session, facts.session);
    assert_eq!(handled.facts.principal, facts.principal);
    assert_eq!(
        facts.session.as_deref(),
        Some(identified.session().as_str())
    );
    // What the browser has is neither on record nor in the store.
    let token = &browser.cookies["__Host-chartgate"];
    assert!(
        !serde_json::to_string(facts)
            .unwrap()
            .contains(token.as_str())
    );
    assert!(!format!("{:?}", gateway.home).contains(token.as_str()));
}

#[tokio::test]
async fn what_the_provider_states_of_training_is_on_record_with_the_sign_in() {
    let claim = Some("/training_valid_until".to_owned());
    let gateway = Gateway::start_with(|config| config.issuers[0].claims.training = claim).await;
    let signed_in = async |stated: Value| {
        let mut browser = Browser::default();
        let change = |claims: &mut Value| claims["training_valid_until"] = stated;
        let mut handled = browser.sign_in(&gateway, change).await.unwrap();
        handled.detail.remove("training_valid_until")
    };
    let until = signed_in(json!("2027-03-31")).await;
    assert_eq!(until.as_deref(), Some("2027-04-01T00:00:00Z"));
    assert_eq!(signed_in(json!(null)).await, None);
    // Nobody is kept out for it.
    assert_eq!(signed_in(json!({"until": 1})).await, None);
}

/// oauth2-proxy#611, #817, #3258: the second tab's sign-in broke the first one's.
#[tokio::test]
async fn oauth2_proxy_611_parallel_tabs_can_all_sign_in() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let tabs = [
        browser.start(&gateway, "return_to=/a").await,
        browser.start(&gateway, "return_to=/b").await,
        browser.start(&gateway, "return_to=/c").await,
    ];
    // One cookie however many tabs there are (oauth2-proxy#2163).
    assert_eq!(browser.cookies.len(), 1);
    for (tab, path) in tabs.iter().zip(["/a", "/b", "/c"]) {
        let handled = browser.finish(&gateway, tab, |_| {}).await.unwrap();
        assert_eq!(location(&handled), path);
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    // A tab that asks now is sent straight on.
    let handled = browser
        .get(&gateway, "/.chartgate/login?return_to=/d")
        .await
        .unwrap();
    assert_eq!(location(&handled), "/d");
}

/// envoy#42079: a callback that was used, but the user is signed in.
#[tokio::test]
async fn envoy_42079_a_used_callback_of_a_signed_in_user_leads_to_its_page() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "return_to=/a").await;
    browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    let session = browser.cookies.clone();
    let handled = browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(
        (location(&handled), handled.event),
        ("/a", Event::PageShown)
    );
    assert_eq!(browser.cookies, session);
}

#[tokio::test]
async fn a_state_works_once_in_its_browser_and_in_time() {
    let gateway = Gateway::start().await;
    let mut victim = Browser::default();
    let mut attacker = Browser::default();
    let theirs = attacker.start(&gateway, "").await;
    victim.start(&gateway, "").await;
    // Login CSRF: the attacker's callback in the victim's browser.
    let refused = victim.finish(&gateway, &theirs, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginStateUnknown));
    let mut stranger = Browser::default();
    let refused = stranger.finish(&gateway, &theirs, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginStateUnknown));
    // Neither used it up.
    let mut same = attacker.clone();
    attacker.finish(&gateway, &theirs, |_| {}).await.unwrap();
    let again = same.finish(&gateway, &theirs, |_| {}).await;
    assert_eq!(again.map(drop), Err(Refusal::LoginStateUnknown));
    let mut slow = Browser::default();
    let asked = slow.start(&gateway, "").await;
    gateway.advance(std::time::Duration::from_mins(10));
    let late = slow.finish(&gateway, &asked, |_| {}).await;
    assert_eq!(late.map(drop), Err(Refusal::LoginStateUnknown));
}

/// `mod_auth_openidc` 2.4.20: duplicate state and code parameters.
#[tokio::test]
async fn mod_auth_openidc_duplicate_parameters_are_refused() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "").await;
    let state = query(&asked, "state");
    for twice in [
        format!("code=a&code=b&state={state}"),
        format!("code=a&state={state}&state={state}"),
        format!("code=a&state={state}&iss=x&iss=x"),
        format!("code=a&state={state}&error=x&error=x"),
    ] {
        let target = format!("/.chartgate/callback?{twice}");
        let refused = browser.get(&gateway, &target).await;
        assert_eq!(refused.map(drop), Err(Refusal::LoginRefused), "{twice}");
    }
    // They did not use the state up.
    assert!(browser.finish(&gateway, &asked, |_| {}).await.is_ok());
}

#[tokio::test]
async fn the_providers_refusal_is_told_apart() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    for (more, refusal) in [
        ("error=access_denied", Refusal::ProviderDenied),
        ("", Refusal::LoginRefused),
        ("code=never-given-out", Refusal::LoginRefused),
        ("code=x&iss=https://other.example", Refusal::LoginRefused),
        ("error=x&iss=https://other.example", Refusal::LoginRefused),
    ] {
        let asked = browser.start(&gateway, "").await;
        let target = format!(
            "/.chartgate/callback?state={}&{more}",
            query(&asked, "state")
        );
        let refused = browser.get(&gateway, &target).await;
        assert_eq!(refused.map(drop), Err(refusal), "{more}");
    }
    let forged = browser
        .get(&gateway, "/.chartgate/callback?error=access_denied")
        .await;
    assert_eq!(forged.map(drop), Err(Refusal::LoginStateUnknown));
}

#[tokio::test]
async fn rfc_9207_a_provider_that_announces_iss_must_send_it() {
    let gateway = Gateway::start().await;
    gateway
        .provider
        .publish(json!({"authorization_response_iss_parameter_supported": true}));
    let mut browser = Browser::default();
    let without = browser.sign_in(&gateway, |_| {}).await;
    assert_eq!(without.map(drop), Err(Refusal::LoginRefused));
    let asked = browser.start(&gateway, "").await;
    let claims = gateway
        .provider
        .id_claims(&query(&asked, "nonce"), gateway.now());
    let code = gateway.provider.grant(&asked, &claims);
    let (state, iss) = (query(&asked, "state"), gateway.provider.url());
    let target = format!("/.chartgate/callback?code={code}&state={state}&iss={iss}");
    assert!(browser.get(&gateway, &target).await.is_ok());
}

async fn refused_with(gateway: &Gateway, change: impl FnOnce(&mut Value)) -> Option<Refusal> {
    let mut browser = Browser::default();
    let result = browser.sign_in(gateway, change).await;
    assert_eq!(
        result.is_ok(),
        browser.cookies.contains_key("__Host-chartgate")
    );
    result.err()
}

#[tokio::test]
async fn without_proof_of_a_second_factor_there_is_no_session() {
    let gateway = Gateway::start().await;
    for amr in [
        json!(["pwd"]),
        json!([]),
        json!(null),
        json!("pwd"),
        json!({"mfa": true}),
        json!(["mfa", 1]),
    ] {
        let refused = refused_with(&gateway, |c| c["amr"] = amr.clone()).await;
        assert_eq!(refused, Some(Refusal::MfaRequired), "{amr}");
    }
    // It was asked for; that proves nothing.
    let refused = refused_with(&gateway, |c| {
        c["amr"] = json!(["pwd"]);
        c["acr"] = json!("urn:mfa");
    });
    assert_eq!(refused.await, Some(Refusal::MfaRequired));
}

#[tokio::test]
async fn the_record_says_who_was_refused_for_want_of_a_second_factor() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "").await;
    let mut claims = gateway
        .provider
        .id_claims(&query(&asked, "nonce"), gateway.now());
    claims["amr"] = json!(["pwd"]);
    let code = gateway.provider.grant(&asked, &claims);
    let target = format!(
        "/.chartgate/callback?code={code}&state={}",
        query(&asked, "state")
    );
    let request = received(&Method::GET, &target, browser.headers(), "");
    let refused = gateway.handle(OwnRoute::Callback, request).await;
    let refused = refused.map(drop).unwrap_err();
    let principal = refused.facts().principal.clone().unwrap();
    assert!(principal.id().ends_with("|u1") && !principal.proof().mfa);
    assert!(principal.roles().is_empty() && refused.facts().session.is_none());
}

/// oauth2-proxy CVE-2026-34454: the old session survived a failed sign-in.
#[tokio::test]
async fn cve_2026_34454_a_failed_sign_in_leaves_no_session_behind() {
    let gateway = Gateway::start().await;
    for failure in [json!(["pwd"]), json!(null)] {
        let mut browser = Browser::default();
        let first = browser.start(&gateway, "").await;
        let second = browser.start(&gateway, "").await;
        browser.finish(&gateway, &first, |_| {}).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
        let failed = browser
            .finish(&gateway, &second, |c| c["amr"] = failure)
            .await;
        assert_eq!(failed.map(drop), Err(Refusal::MfaRequired));
        assert_eq!(
            browser.outcome(&gateway).await,
            Err(Refusal::SessionUnknown)
        );
    }
}

/// `mod_auth_openidc` 2.4.20: the session was not re-keyed at sign-in. pomerium#3270: the user before.
#[tokio::test]
async fn pomerium_3270_another_user_starts_clean() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let first = browser.start(&gateway, "").await;
    let second = browser.start(&gateway, "").await;
    browser.finish(&gateway, &first, |_| {}).await.unwrap();
    let before = browser.clone();
    let mut ended = gateway.identity.subscribe();
    let old = before.open(&gateway).await.unwrap().session().clone();
    browser
        .finish(&gateway, &second, |c| c["sub"] = json!("u2"))
        .await
        .unwrap();
    assert_ne!(
        browser.cookies["__Host-chartgate"],
        before.cookies["__Host-chartgate"]
    );
    assert_eq!(
        browser.open(&gateway).await.unwrap().principal().id(),
        "staff|u2"
    );
    assert_eq!(before.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    assert_eq!(ended.recv().await.unwrap().0, old);
}

#[tokio::test]
async fn an_account_without_a_role_is_told_so_at_every_page() {
    let gateway = Gateway::start().await;
    for groups in [
        json!([]),
        json!(null),
        json!(["emr-physicians", 7]),
        json!({"a": "emr-physicians"}),
        json!(["EMR-PHYSICIANS"]),
    ] {
        let mut browser = Browser::default();
        browser
            .sign_in(&gateway, |c| c["groups"] = groups)
            .await
            .unwrap();
        let refused = browser.open(&gateway).await.unwrap_err();
        assert_eq!(refused.refusal(), Refusal::NoRole);
        let Some(Principal::User(user)) = refused.facts().principal.as_deref() else {
            panic!("the record names nobody");
        };
        assert_eq!(user.subject, "u1");
    }
    let mut browser = Browser::default();
    browser
        .sign_in(&gateway, |c| c["groups"] = json!("emr-physicians"))
        .await
        .unwrap();
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn claims_that_do_not_hold_give_no_session() {
    let gateway = Gateway::start().await;
    let now = gateway.now();
    let refused = Some(Refusal::LoginRefused);
    assert_eq!(
        refused_with(&gateway, |c| c["nonce"] = json!("other")).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["iss"] = json!("https://x")).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["aud"] = json!(["x"])).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["azp"] = json!("x")).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["exp"] = json!(now - 60)).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["iat"] = json!(now + 61)).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["at_hash"] = json!("x")).await,
        refused
    );
    assert_eq!(
        refused_with(&gateway, |c| c["sub"] = json!("")).await,
        refused
    );
    // mod_auth_openidc#123: a clock that is seconds off.
    assert_eq!(
        refused_with(&gateway, |c| c["iat"] = json!(now + 59)).await,
        None
    );
    assert_eq!(
        refused_with(&gateway, |c| c["exp"] = json!(now - 59)).await,
        None
    );
    assert_eq!(
        refused_with(&gateway, |c| c["email_verified"] = json!("true")).await,
        None
    );
}

#[tokio::test]
async fn forged_tokens_give_no_session() {
    let gateway = Gateway::start().await;
    let mut forged = Vec::new();
    for alg in ["none", "HS256", "ES256"] {
        let mut browser = Browser::default();
        let asked = browser.start(&gateway, "").await;
        let claims = gateway
            .provider
            .id_claims(&query(&asked, "nonce"), gateway.now());
        forged.push((forge(alg, &claims), browser, asked));
    }
    for (token, mut browser, asked) in forged {
        let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": token});
        let code = gateway.provider.grant_answer(&asked, answer);
        let target = format!(
            "/.chartgate/callback?code={code}&state={}",
            query(&asked, "state")
        );
        let refused = browser.get(&gateway, &target).await;
        assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
        assert!(!browser.cookies.contains_key("__Host-chartgate"));
    }
}

/// Signed with nothing, with the client secret, or with a key of the forger's own that has the provider's key id.
fn forge(alg: &str, claims: &Value) -> String {
    use crate::identity::oidc::test_provider::{CLIENT_SECRET, SigningKey};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let body = URL_SAFE_NO_PAD.encode(claims.to_string());
    match alg {
        "none" => format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#)),
        "HS256" => {
            let key = jsonwebtoken::EncodingKey::from_secret(CLIENT_SECRET.as_bytes());
            jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
        }
        _ => SigningKey::new("k1").sign(claims),
    }
}

#[tokio::test]
async fn answers_of_the_token_endpoint_that_are_none_give_no_session() {
    let gateway = Gateway::start().await;
    for answer in [
        json!({}),
        json!([]),
        json!({"access_token": "at", "token_type": "Bearer"}),
        json!({"access_token": "at", "token_type": "Bearer", "id_token": null}),
        json!({"access_token": "at", "token_type": "Bearer", "id_token": 7}),
        json!({"access_token": "at", "token_type": "Bearer", "id_token": "a.b.c"}),
    ] {
        let mut browser = Browser::default();
        let asked = browser.start(&gateway, "").await;
        let code = gateway.provider.grant_answer(&asked, answer.clone());
        let target = format!(
            "/.chartgate/callback?code={code}&state={}",
            query(&asked, "state")
        );
        let refused = browser.get(&gateway, &target).await;
        assert_eq!(refused.map(drop), Err(Refusal::LoginRefused), "{answer}");
    }
}

/// oauth2-proxy#1630: a store that failed looked like "not signed in".
#[tokio::test]
async fn oauth2_proxy_1630_a_store_that_fails_is_never_a_missing_session() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let mut stranger = Browser::default();
    let asked = stranger.start(&gateway, "").await;
    gateway.home.fail(Fault::Everything);
    let unavailable = Err(Refusal::StoreUnavailable);
    assert_eq!(browser.outcome(&gateway).await, unavailable);
    assert_eq!(
        browser.get(&gateway, "/.chartgate/login").await.map(drop),
        unavailable
    );
    assert_eq!(
        stranger.finish(&gateway, &asked, |_| {}).await.map(drop),
        unavailable
    );
    let started = Browser::default().get(&gateway, "/.chartgate/login").await;
    assert_eq!(started.map(drop), unavailable);
    gateway.home.fail(Fault::None);
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn methods_that_the_routes_do_not_take_are_refused() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    for (method, path) in [
        (Method::POST, "/.chartgate/login"),
        (Method::HEAD, "/.chartgate/login"),
        (Method::POST, "/.chartgate/callback"),
        (Method::PUT, "/.chartgate/logout"),
        (Method::POST, "/.chartgate/signed-out"),
        (Method::GET, "/.chartgate/backchannel-logout"),
    ] {
        let refused = browser.ask(&gateway, method, path, &[]).await;
        assert_eq!(refused.map(drop), Err(Refusal::MethodRefused), "{path}");
    }
}

/// One runtime and gateway for a property: a case per call.
fn with_gateway<T>(act: impl AsyncFnOnce(&Gateway) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let gateway = Gateway::start().await;
        act(&gateway).await
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// authentik CVE-2026-25748, Pomerium CVE-2021-29652: no altered cookie is a session, and none is an error.
    #[test]
    fn cve_2026_25748_no_altered_cookie_is_a_session(at: proptest::sample::Index, to in 0x21_u8..0x7f) {
        let outcome = with_gateway(async |gateway| {
            let mut browser = gateway.signed_in().await;
            let cookie = browser.cookies.get_mut("__Host-chartgate").unwrap();
            let mut bytes = cookie.clone().into_bytes();
            let at = at.index(bytes.len());
            let is_same = bytes[at] == to;
            bytes[at] = to;
            *cookie = String::from_utf8(bytes).unwrap();
            (is_same, browser.outcome(gateway).await)
        });
        match outcome {
            (true, result) => prop_assert_eq!(result, Ok(())),
            (false, result) => prop_assert!(matches!(result, Err(Refusal::SessionUnknown | Refusal::LoginRequired))),
        }
    }

    /// No altered state, code or ID token opens a session.
    #[test]
    fn no_altered_callback_opens_a_session(what in 0_usize..3, at: proptest::sample::Index, bit in 0_u8..6) {
        let (was_altered, opened) = with_gateway(async |gateway| {
            let mut browser = Browser::default();
            let asked = browser.start(gateway, "").await;
            let claims = gateway.provider.id_claims(&query(&asked, "nonce"), gateway.now());
            let alter = |text: &str| {
                let mut bytes = text.as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                String::from_utf8(bytes).unwrap()
            };
            let mut token = gateway.provider.sign(&claims, "JWT");
            let mut state = query(&asked, "state");
            if what == 0 {
                token = alter(&token);
            }
            let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": token});
            let mut code = gateway.provider.grant_answer(&asked, answer);
            if what == 1 {
                state = alter(&state);
            }
            if what == 2 {
                code = alter(&code);
            }
            let target = form_urlencoded::Serializer::new(String::new())
                .append_pair("code", &code)
                .append_pair("state", &state)
                .finish();
            let target = format!("/.chartgate/callback?{target}");
            let is_target = crate::request::Target::parse_str(&target).is_ok();
            let opened = is_target && browser.get(gateway, &target).await.is_ok();
            (true, opened || browser.cookies.contains_key("__Host-chartgate"))
        });
        prop_assert!(was_altered && !opened);
    }
}
