//! Signed access tokens: what is accepted, and that nothing else is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::request::principal::CredentialKind;

const NO: Refusal = Refusal::TokenRefused;
const NOT_HERE: Refusal = Refusal::CredentialNotAccepted;

#[tokio::test]
async fn a_client_acts_by_its_token_with_the_roles_of_its_scopes() {
    let rig = Rig::start().await;
    let token = rig.token(|_| {});
    let identified = rig.call(Call::bearer(&token)).await.unwrap();
    let headers = &identified.received().parts().headers;
    assert!(
        !headers.contains_key("authorization"),
        "the token goes no further"
    );
    let session = identified.session().clone();
    assert_eq!(identified.expires().as_second(), rig.now() + 360);
    let service = service(identified);
    assert_eq!(service.id(), "interfaces|mirth");
    assert_eq!(service.account.as_deref(), Some("hl7"));
    assert_eq!(service.subject, None);
    assert_eq!(service.roles, BTreeSet::from([Role::new("reader")]));
    assert_eq!(service.credential.kind, CredentialKind::Jwt);
    assert!(!service.proof.mfa && service.proof.auth_time.is_none());
    // The record holds neither token nor `jti`.
    let record = serde_json::to_string(&Principal::Service(service)).unwrap();
    assert!(record.contains(r#""kind":"service""#), "{record}");
    assert!(
        !record.contains("t1") && !record.contains(&token),
        "{record}"
    );
    // Another token of the same client goes on with what belongs to the client; another client does not.
    let next = rig.token(|claims| claims["jti"] = json!("t2"));
    let next = rig.call(Call::bearer(&next)).await.unwrap();
    assert_eq!(*next.session(), session);
    let other = rig.token(|claims| claims["client_id"] = json!("other"));
    let other = rig.call(Call::bearer(&other)).await.unwrap();
    assert_ne!(*other.session(), session);
}

#[tokio::test]
async fn every_claim_of_rfc_9068_is_needed_and_judged() {
    let rig = Rig::start().await;
    for missing in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let token = rig.token(|claims| drop(claims.as_object_mut().unwrap().remove(missing)));
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{missing}");
        let token = rig.token(|claims| claims[missing] = json!({"a": 1}));
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{missing}");
    }
    let now = rig.now();
    for (claim, value) in [
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://other.example", 1])),
        ("aud", json!("gateway")),
        ("iss", json!("https://other.example")),
        ("exp", json!(now - 60)),
        ("exp", json!("2099")),
        ("iat", json!(now + 61)),
        ("iat", json!(now - 3661)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("soon")),
        ("client_id", json!("")),
        ("client_id", json!("a\u{202e}b")),
        ("jti", json!("x".repeat(300))),
        ("scope", json!(1)),
        ("scope", json!(["a", 1])),
        ("scope", json!("a ".repeat(300))),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
        ("token_use", json!("id")),
        ("events", json!({})),
        ("cnf", json!({})),
        ("cnf", json!({"jkt": "x"})),
        ("cnf", json!("x")),
        ("cnf", json!(null)),
    ] {
        let token = rig.token(|claims| claims[claim] = value.clone());
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{claim} {value}");
    }
    for (claim, value) in [
        ("aud", json!(["https://other.example", AUDIENCE])),
        ("exp", json!(now - 59)),
        ("iat", json!(now + 60)),
        ("iat", json!(now - 3600)),
        ("nbf", json!(now + 60)),
        ("typ", json!("Bearer")),
        ("azp", json!("gateway")),
        ("scope", json!(["system/*.read"])),
    ] {
        let token = rig.token(|claims| claims[claim] = value.clone());
        assert!(rig.bearer(&token).await.is_ok(), "{claim} {value}");
    }
    let token = rig.token(|claims| claims["scope"] = json!("unheard-of"));
    assert_eq!(rig.bearer(&token).await.unwrap_err(), Refusal::NoRole);
}

#[tokio::test]
async fn a_token_of_another_kind_is_no_access_token_and_the_reverse() {
    let rig = Rig::start().await;
    let claims = rig.claims();
    for typ in ["JWT", "logout+jwt", "id+jwt", "dpop+jwt", "at"] {
        let token = rig.provider.sign(&claims, typ);
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{typ}");
    }
    let id_token = rig
        .provider
        .sign(&rig.provider.id_claims("n", rig.now()), "JWT");
    assert_eq!(rig.bearer(&id_token).await.unwrap_err(), NO);
    // The access token signs nobody in.
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "return_to=/").await;
    let nonce = test_gateway::query(&asked, "nonce");
    let mut claims = gateway.provider.id_claims(&nonce, gateway.now());
    claims["client_id"] = json!("mirth");
    let token = gateway.provider.sign(&claims, "at+jwt");
    let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": token});
    let code = gateway.provider.grant_answer(&asked, answer);
    let state = test_gateway::query(&asked, "state");
    let target = format!("/.chartgate/callback?code={code}&state={state}");
    let refused = browser.get(&gateway, &target).await.unwrap_err();
    assert_eq!(refused, Refusal::LoginRefused);
}

#[tokio::test]
async fn a_plain_typ_is_tolerated_only_where_that_is_stated_and_never_for_id_tokens() {
    let rig = Rig::start_with(|config| {
        let ApiKind::Jwt(jwt) = &mut config.api[0].kind else {
            panic!();
        };
        jwt.accept_plain_typ = true;
    })
    .await;
    let plain = rig.provider.sign(&rig.claims(), "JWT");
    assert!(rig.bearer(&plain).await.is_ok());
    for claim in ["nonce", "at_hash", "c_hash"] {
        let mut claims = rig.claims();
        claims[claim] = json!("x");
        let token = rig.provider.sign(&claims, "JWT");
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{claim}");
    }
    let logout = rig.provider.sign(&rig.claims(), "logout+jwt");
    assert_eq!(rig.bearer(&logout).await.unwrap_err(), NO);
}

#[tokio::test]
async fn no_forged_algorithm_key_or_issuer_is_believed() {
    let rig = Rig::start().await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = part(&rig.claims());
    for alg in ["none", "None", "HS256", "ES384", "RS256", "EdDSA"] {
        let head = part(&json!({"alg": alg, "typ": "at+jwt", "kid": "k1"}));
        let mut tokens = vec![format!("{head}.{claims}."), format!("{head}.{claims}.c2ln")];
        // CVE-2016-5431 and its like: the public key as HMAC secret.
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"k1");
        let signed = format!("{head}.{claims}");
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        tokens.push(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)));
        for token in tokens {
            assert_eq!(rig.bearer(&token).await.unwrap_err(), NO, "{alg}");
        }
    }
    let stranger = TestProvider::start().await;
    let token = stranger.sign(&rig.claims(), "at+jwt");
    assert_eq!(
        rig.bearer(&token).await.unwrap_err(),
        NO,
        "the stranger's key"
    );
    let token = rig.token(|claims| claims["iss"] = json!(stranger.url()));
    assert_eq!(
        rig.bearer(&token).await.unwrap_err(),
        NO,
        "the stranger's name"
    );
    let encrypted = format!("{}.a.b.c.d", part(&json!({"alg": "dir", "enc": "A256GCM"})));
    assert_eq!(rig.bearer(&encrypted).await.unwrap_err(), NO);
    let long = rig.token(|claims| claims["x"] = json!("x".repeat(8000)));
    assert_eq!(rig.bearer(&long).await.unwrap_err(), NO, "too long");
}

#[tokio::test]
async fn keys_are_found_again_and_an_unknown_one_is_looked_for() {
    let rig = Rig::start().await;
    rig.provider.set_down(true);
    let old = rig.token(|_| {});
    assert_eq!(
        rig.bearer(&old).await.unwrap_err(),
        Refusal::ProviderUnavailable
    );
    rig.provider.set_down(false);
    rig.clock.advance(Duration::from_secs(2));
    assert!(rig.bearer(&old).await.is_ok());
    // The key changes without notice.
    rig.provider.rotate("k2");
    let new = rig.token(|claims| claims["jti"] = json!("t2"));
    assert!(rig.bearer(&new).await.is_ok());
    let reads = rig.provider.key_reads();
    for _ in 0..5 {
        assert_eq!(rig.bearer(&old).await.unwrap_err(), NO);
    }
    assert_eq!(
        rig.provider.key_reads(),
        reads,
        "not read for every stranger"
    );
}

#[expect(clippy::too_many_lines, reason = "a table, a row for each place")]
#[tokio::test]
async fn a_token_works_only_where_and_how_it_is_meant_to() {
    let rig = Rig::start().await;
    let token = rig.token(|_| {});
    let bearer = || Call::bearer(&token);
    let cookie = format!("{SESSION_COOKIE}={}", "A".repeat(43));
    for (what, call, refusal) in [
        ("another path", bearer().at("/admin"), NOT_HERE),
        (
            "a path that only begins so",
            bearer().at("/fhirx"),
            NOT_HERE,
        ),
        (
            "a page of the gateway",
            bearer().at("/.chartgate/break-glass"),
            NOT_HERE,
        ),
        (
            "the gateway's sign-in",
            bearer().at("/.chartgate/login"),
            NOT_HERE,
        ),
        ("a WebSocket", bearer().upgrading(), NOT_HERE),
        (
            "beside a session",
            bearer().with("cookie", &cookie),
            NOT_HERE,
        ),
        (
            "beside a bad session",
            bearer().with("cookie", &format!("{SESSION_COOKIE}=x")),
            NOT_HERE,
        ),
        (
            "beside a session, at a page of the gateway",
            bearer()
                .with("cookie", &cookie)
                .at("/.chartgate/break-glass"),
            NOT_HERE,
        ),
        (
            "twice",
            bearer().with("authorization", &format!("Bearer {token}")),
            NO,
        ),
        (
            "in the address",
            Call::new().at(&format!("/fhir?access_token={token}")),
            NOT_HERE,
        ),
        (
            "in the address, too",
            bearer().at(&format!("/fhir?access_token={token}")),
            NOT_HERE,
        ),
        (
            "DPoP",
            Call::new().with("authorization", &format!("DPoP {token}")),
            NOT_HERE,
        ),
        (
            "as a password",
            Call::new().with("authorization", "Basic bWlydGg6eA=="),
            Refusal::LoginRequired,
        ),
        (
            "as a session",
            Call::new().with("cookie", &format!("{SESSION_COOKIE}={token}")),
            Refusal::SessionUnknown,
        ),
        (
            "at another host",
            bearer().of_host("other.example"),
            Refusal::LoginRequired,
        ),
        ("garbage", Call::bearer("x"), NO),
        ("nothing", Call::new().with("authorization", "Bearer"), NO),
        ("no credential", Call::new(), Refusal::LoginRequired),
    ] {
        assert_eq!(rig.call(call).await.err(), Some(refusal), "{what}");
    }
    assert!(rig.call(bearer().with("cookie", "EMR=x")).await.is_ok());
}

#[tokio::test]
async fn an_emr_s_own_token_beside_a_session_passes_where_clients_have_no_place() {
    let gateway = Gateway::start_with(|config| {
        let jwt = JwtApi {
            issuer: "https://login.example".parse().unwrap(),
            jwks: None,
            algorithms: vec!["ES256".to_owned()],
            accept_plain_typ: false,
            max_age: Duration::from_hours(1),
        };
        let mut api = settings("interfaces", ApiKind::Jwt(jwt));
        api.reach.paths = vec!["/fhir".to_owned()];
        config.api = vec![api];
    })
    .await;
    let browser = gateway.signed_in().await;
    let open = async |target: &str| {
        let mut headers = browser.headers();
        headers.insert("authorization", "Bearer emr-s-own".parse().unwrap());
        let received = test_gateway::received(&Method::GET, target, headers, "");
        let identified = gateway
            .identity
            .identify(Screened::for_test(received))
            .await;
        identified.map_err(|refused| refused.refusal())
    };
    let identified = open("/chart/4").await.unwrap();
    assert_eq!(identified.principal().display(), "dr.adams");
    let headers = &identified.received().parts().headers;
    assert_eq!(headers["authorization"], "Bearer emr-s-own");
    assert_eq!(open("/fhir/Patient/4").await.err(), Some(NOT_HERE));
}

#[tokio::test]
async fn only_the_named_clients_are_accepted_where_there_are_names() {
    let rig = Rig::start_with(|config| {
        config.api[0].clients = BTreeSet::from(["lab".to_owned()]);
        config.api[0].claims.client = "/azp".to_owned();
    })
    .await;
    let token = rig.token(|claims| claims["azp"] = json!("lab"));
    let lab = rig.bearer(&token).await.unwrap();
    // For whom the client acts is on record.
    assert_eq!(
        (lab.client.as_str(), lab.subject.as_deref()),
        ("lab", Some("mirth"))
    );
    assert_eq!(lab.account, None);
    let token = rig.token(|claims| claims["azp"] = json!("mirth"));
    assert_eq!(rig.bearer(&token).await.unwrap_err(), NO);
}

#[test]
fn no_mutation_of_a_signed_token_is_accepted() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let rig = runtime.block_on(Rig::start());
    let token = rig.token(|_| {});
    let accepted = |token: &str| runtime.block_on(rig.bearer(token)).is_ok();
    assert!(accepted(&token));
    let other = rig.token(|claims| claims["client_id"] = json!("other"));
    let cut = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (cut(&token), cut(&other));
    // Parts of two genuine tokens do not make a third.
    let joined = |head: &str, claims: &str, signature: &str| [head, claims, signature].join(".");
    assert!(!accepted(&joined(&ours[0], &theirs[1], &ours[2])));
    assert!(!accepted(&joined(&ours[0], &ours[1], &theirs[2])));
    let length = token.len();
    proptest!(ProptestConfig::with_cases(400), |(
        at in 0..length,
        with in prop_oneof![Just(None), prop::sample::select(
            b"ABCXYZabcxyz0189-_.+/=~".to_vec()).prop_map(Some)],
        grow in any::<bool>(),
    )| {
        let mut bytes = token.clone().into_bytes();
        match (with, grow) {
            (None, _) => drop(bytes.remove(at)),
            (Some(with), true) => bytes.insert(at, with),
            (Some(with), false) => bytes[at] = with,
        }
        let mutated = String::from_utf8(bytes).unwrap();
        prop_assert!(mutated == token || !accepted(&mutated), "{}", at);
    });
}
