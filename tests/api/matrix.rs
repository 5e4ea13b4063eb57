//! Every kind of token at every kind of address.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::endpoint::endpoint;
use super::*;
use crate::harness::{echoed, person};

/// What a credential is, as far as the expectation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// A good access token.
    Good,
    /// A bearer token that is not good.
    Bad,
    /// A kind of credential that is accepted nowhere.
    Foreign,
    /// None that the gateway reads in `Authorization`.
    Nothing,
}

/// What the EMR's session endpoint, another page, or a page of the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Of the EMR, where API clients are accepted.
    Emr,
    /// Of the EMR, where they are not.
    OtherPage,
    /// Of the gateway, for people who are signed in.
    Desk,
    /// A WebSocket of the EMR.
    Socket,
}

const PLACES: [(&str, &str, At); 7] = [
    ("/echo", "", At::Emr),
    ("/api/poll?since=0&wait=0", "", At::Emr),
    ("/patients", "", At::OtherPage),
    ("/admin/users", "", At::OtherPage),
    ("/.chartgate/break-glass", "", At::Desk),
    ("/.chartgate/training", "", At::Desk),
    (
        "/ws/notifications",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        At::Socket,
    ),
];

fn expected(is: Is, at: At) -> Option<&'static str> {
    match (is, at) {
        (Is::Good, At::Emr) => None,
        (Is::Bad, At::Emr) => Some("CG-2018"),
        (Is::Good | Is::Bad | Is::Foreign, At::OtherPage | At::Desk | At::Socket)
        | (Is::Foreign, At::Emr) => Some("CG-2019"),
        // A WebSocket of nobody in particular could be opened by any page.
        (Is::Nothing, At::Socket) => Some("CG-1012"),
        (Is::Nothing, At::Emr | At::OtherPage | At::Desk) => Some("CG-2001"),
    }
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({"alg": algorithm, "typ": "at+jwt"}));
    format!("{head}.{}", part(claims))
}

/// `Authorization` for each kind of credential there is.
#[expect(clippy::too_many_lines, reason = "a table, a row for each kind")]
async fn credentials(house: &House) -> Vec<(&'static str, String, Is)> {
    let issuer = house.clinic.issuer();
    let sign = |typ: &str, claims: &Value| issuer.sign(typ, claims).unwrap();
    let good = token(house, |_| {});
    let changed = |claim: &'static str, value: Value| token(house, |claims| claims[claim] = value);
    let mut id_claims = claims(house);
    id_claims["aud"] = json!(house.clinic.config().identity.issuers[0].client_id);
    id_claims["nonce"] = json!("n");
    let mut notice = claims(house);
    notice["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let hmac = unsigned("HS256", &claims(house));
    let secret = std::fs::read(house.data_dir().join("secrets/client_secret")).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.trim_ascii());
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, hmac.as_bytes()));
    let mut browser = house.at_work("nurse.lind").await;
    let echo = browser.get(&house.url("/echo")).await.json();
    let assertion = echoed(&echo, "x-chartgate-assertion")[0].to_owned();
    let session = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let emr_session = browser.cookie("CLINICSESSID").unwrap().to_owned();
    let of = |token: &str| format!("Bearer {token}");
    vec![
        ("access token", of(&good), Is::Good),
        (
            "access token, application/at+jwt",
            of(&sign("application/at+jwt", &claims(house))),
            Is::Good,
        ),
        ("opaque token", of("opaque-good"), Is::Good),
        ("opaque token that was ended", of("opaque-ended"), Is::Bad),
        ("opaque refresh token", of("opaque-refresh"), Is::Bad),
        (
            "opaque token for another audience",
            of("opaque-elsewhere"),
            Is::Bad,
        ),
        ("opaque token of nobody", of("opaque-unheard-of"), Is::Bad),
        ("ID token", of(&sign("JWT", &id_claims)), Is::Bad),
        (
            "ID token for the API",
            of(&sign("JWT", &claims(house))),
            Is::Bad,
        ),
        ("logout token", of(&sign("logout+jwt", &notice)), Is::Bad),
        (
            "logout token by its claims",
            of(&sign("at+jwt", &notice)),
            Is::Bad,
        ),
        ("expired", of(&changed("exp", json!(now() - 120))), Is::Bad),
        ("too old", of(&changed("iat", json!(now() - 4000))), Is::Bad),
        (
            "another audience",
            of(&changed("aud", json!("https://x.example"))),
            Is::Bad,
        ),
        (
            "another issuer",
            of(&changed("iss", json!("https://x.example"))),
            Is::Bad,
        ),
        (
            "bound to a certificate",
            of(&changed("cnf", json!({"x5t#S256": "A".repeat(43)}))),
            Is::Bad,
        ),
        (
            "bound to a DPoP key",
            of(&changed("cnf", json!({"jkt": "A".repeat(43)}))),
            Is::Bad,
        ),
        (
            "a refresh token by its claims",
            of(&changed("typ", json!("Refresh"))),
            Is::Bad,
        ),
        ("no type", of(&sign("", &claims(house))), Is::Bad),
        (
            "alg none",
            of(&format!("{}.", unsigned("none", &claims(house)))),
            Is::Bad,
        ),
        (
            "HS256 by the client secret",
            of(&format!("{hmac}.{tag}")),
            Is::Bad,
        ),
        (
            "alg none with a genuine signature",
            of(&format!(
                "{}.{}",
                unsigned("none", &claims(house)),
                good.rsplit('.').next().unwrap()
            )),
            Is::Bad,
        ),
        ("the gateway's assertion", of(&assertion), Is::Bad),
        ("session", of(&session), Is::Bad),
        ("EMR session", of(&emr_session), Is::Bad),
        (
            "a password",
            of(person("nurse.lind").password()).replace(' ', " x"),
            Is::Bad,
        ),
        ("two tokens", format!("Bearer {good} {good}"), Is::Bad),
        ("nothing after Bearer", "Bearer".to_owned(), Is::Bad),
        ("DPoP", format!("DPoP {good}"), Is::Foreign),
        ("Basic", "Basic bWlydGg6c2VjcmV0".to_owned(), Is::Nothing),
        ("Basic with the token", format!("Basic {good}"), Is::Nothing),
        ("Negotiate", "Negotiate YII=".to_owned(), Is::Nothing),
    ]
}

#[expect(clippy::too_many_lines, reason = "one matrix, judged as a whole")]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_type_works_only_where_it_is_meant_to() {
    let active = |more: Value| {
        let mut claims = json!({
            "active": true, "aud": AUDIENCE, "client_id": "mirth", "exp": now() + 300,
            "scope": "interfaces",
        });
        claims
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        claims
    };
    let at = endpoint(BTreeMap::from([
        ("opaque-good", active(json!({}))),
        ("opaque-ended", active(json!({ "active": false }))),
        (
            "opaque-refresh",
            active(json!({ "token_use": "refresh_token" })),
        ),
        ("opaque-elsewhere", active(json!({ "aud": "x" }))),
    ]))
    .await;
    let house = clinic(Some(at), |_| {}).await;
    let credentials = credentials(&house).await;
    let before = house.reached().len();
    let (mut wrong, mut passed) = (Vec::new(), 0);
    for (kind, authorization, is) in &credentials {
        for (target, fields, at) in PLACES {
            let upgrade = if at == At::Socket {
                "Connection: Upgrade\r\n"
            } else {
                ""
            };
            let fields = format!("{upgrade}{fields}Authorization: {authorization}\r\n");
            let answer = get(&house, target, &fields).await;
            let refusal = answer.refusal();
            if refusal != expected(*is, at) {
                wrong.push(format!(
                    "{kind} at {target}: {refusal:?}, not {:?}",
                    expected(*is, at)
                ));
            }
            if refusal == Some("CG-2018") {
                assert_eq!(answer.status, 401);
                assert_eq!(
                    answer.header("www-authenticate"),
                    Some(r#"Bearer error="invalid_token""#)
                );
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json")
                );
                // Which check failed helps nobody but a forger.
                assert!(answer.body.contains("was not accepted"), "{}", answer.body);
                assert!(!answer.body.contains("audience of"), "{}", answer.body);
            }
            assert!(
                answer
                    .header("set-cookie")
                    .is_none_or(|set| !set.contains("__Host-chartgate="))
            );
            passed += usize::from(refusal.is_none());
        }
        // Where nobody is asked who they are, a token changes nothing.
        for (target, status) in [
            ("/.chartgate/login", 303),
            ("/.chartgate/jwks.json", 200),
            ("/.chartgate/callback?state=x&code=y", 400),
            ("/.chartgate/nowhere", 404),
        ] {
            let fields = format!("Authorization: {authorization}\r\n");
            let answer = get(&house, target, &fields).await;
            assert_eq!(answer.status, status, "{kind} at {target}: {}", answer.head);
            let set = answer.header("set-cookie").unwrap_or_default();
            assert!(!set.starts_with("__Host-chartgate="), "{kind}: {set}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(house.reached().len(), before + passed);
    assert_eq!(passed, 6, "three good tokens at two addresses");
    // Behind the listener for probes there is nothing to open.
    let admin = house.clinic.facts().admin.clone().unwrap();
    let mut fields = http::HeaderMap::new();
    fields.insert("authorization", credentials[0].1.parse().unwrap());
    let url = format!("{admin}/echo");
    let page = house
        .browser()
        .send(http::Method::GET, &url, None, fields)
        .await;
    assert_eq!(page.status, 404);
    // No token, and nothing that stands for one, is on record.
    let trail = serde_json::to_string(&house.trail()).unwrap();
    for (kind, authorization, _) in &credentials {
        let token = authorization.rsplit(' ').next().unwrap();
        assert!(token.len() < 12 || !trail.contains(token), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_elsewhere_in_the_request_is_none() {
    let house = clinic(None, |_| {}).await;
    let browser = house.at_work("nurse.lind").await;
    let session = browser.cookie_field(&house.authority());
    let token = token(&house, |_| {});
    for (what, target, fields, code) in [
        (
            "in the address",
            format!("/echo?access_token={token}"),
            String::new(),
            "CG-2019",
        ),
        (
            "beside a session",
            "/echo".to_owned(),
            format!("{session}{}", bearer(&token)),
            "CG-2019",
        ),
        (
            "DPoP beside a session",
            "/echo".to_owned(),
            format!("{session}Authorization: DPoP {token}\r\n"),
            "CG-2019",
        ),
        (
            "twice",
            "/echo".to_owned(),
            bearer(&token).repeat(2),
            "CG-1017",
        ),
        (
            "as the session",
            "/echo".to_owned(),
            format!("Cookie: __Host-chartgate={token}\r\n"),
            "CG-2013",
        ),
        (
            "in another field",
            "/echo".to_owned(),
            format!("X-Access-Token: {token}\r\n"),
            "CG-2001",
        ),
    ] {
        let answer = get(&house, &target, &fields).await;
        let refusal = answer.refusal().map(str::to_owned);
        if what == "twice" {
            assert!(
                refusal
                    .as_deref()
                    .is_some_and(|code| code.starts_with("CG-10")),
                "{refusal:?}"
            );
        } else {
            assert_eq!(refusal.as_deref(), Some(code), "{what}");
        }
    }
    let answer = get(&house, "/echo", &session).await;
    assert_eq!(answer.status, 200, "and the session goes on");
    let trail = serde_json::to_string(&house.trail()).unwrap();
    assert!(!trail.contains(&token));
}
