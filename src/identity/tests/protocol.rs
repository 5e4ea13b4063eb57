//! What the gateway and a provider say to each other: who the client is, pushed requests, claims from elsewhere.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use http::{Method, header};
use serde_json::{Value, json};

use crate::config::client_key::ClientKey;
use crate::config::issuer::{AssertionAudience, ClientAuth, Issuer, Par, Rotating};
use crate::identity::oidc::jws::Algorithm;
use crate::identity::oidc::test_provider::CLIENT_SECRET;
use crate::identity::test_gateway::{Browser, Gateway, query};
use crate::refusal::Refusal;
use crate::request::Principal;
use crate::secret::Secret;

async fn gateway(change: impl FnOnce(&mut Issuer)) -> Gateway {
    Gateway::start_with(|config| change(&mut config.issuers[0])).await
}

fn secrets(current: &str, previous: Option<&str>) -> Rotating<Secret<String>> {
    let secret = |text: &str| Secret::new(text.to_owned());
    Rotating {
        current: secret(current),
        previous: previous.map(secret),
    }
}

/// A P-256 key that was read from a file.
pub(super) fn key(id: Option<&str>) -> ClientKey {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key.pem");
    std::fs::write(&path, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ClientKey::read(&path, id.map(str::to_owned), Algorithm::RS256).unwrap()
}

fn by_key(
    key: &ClientKey,
    previous: Option<&ClientKey>,
    audience: AssertionAudience,
) -> ClientAuth {
    ClientAuth::PrivateKeyJwt {
        keys: Box::new(Rotating {
            current: key.clone(),
            previous: previous.cloned(),
        }),
        audience,
    }
}

pub(super) fn public(key: &ClientKey) -> Value {
    serde_json::to_value(key.public()).unwrap()
}

async fn signs_in(gateway: &Gateway) -> Result<(), Refusal> {
    let mut browser = Browser::default();
    browser.sign_in(gateway, |_| {}).await.map(drop)
}

#[tokio::test]
async fn a_secret_goes_into_the_header_or_into_the_form_as_configured() {
    let basic = gateway(|_| {}).await;
    assert_eq!(signs_in(&basic).await, Ok(()));
    let post =
        gateway(|issuer| issuer.client_auth = ClientAuth::SecretPost(secrets(CLIENT_SECRET, None)))
            .await;
    assert_eq!(signs_in(&post).await, Err(Refusal::LoginRefused));
    post.provider
        .clients(|clients| clients.method = "client_secret_post");
    assert_eq!(signs_in(&post).await, Ok(()));
}

/// envoy#39210: in-flight sign-ins failed while the secret was replaced.
#[tokio::test]
async fn envoy_39210_the_previous_secret_works_until_the_provider_has_the_new_one() {
    let gateway = gateway(|issuer| {
        issuer.client_auth = ClientAuth::SecretBasic(secrets("new", Some(CLIENT_SECRET)));
    })
    .await;
    let mut in_flight = Browser::default();
    let asked = in_flight.start(&gateway, "").await;
    for error in ["invalid_client", "unauthorized_client"] {
        gateway.provider.clients(|clients| clients.error = error);
        assert_eq!(signs_in(&gateway).await, Ok(()), "{error}");
    }
    gateway
        .provider
        .clients(|clients| clients.secrets = vec!["new".to_owned()]);
    assert!(in_flight.finish(&gateway, &asked, |_| {}).await.is_ok());
    gateway
        .provider
        .clients(|clients| clients.secrets = vec!["another".to_owned()]);
    assert_eq!(signs_in(&gateway).await, Err(Refusal::LoginRefused));
}

#[tokio::test]
async fn an_assertion_is_signed_for_the_audience_that_is_configured() {
    for (audience, expected, wrong) in [
        (AssertionAudience::Issuer, "", "/token"),
        (AssertionAudience::TokenEndpoint, "/token", ""),
    ] {
        let key = key(Some("mine"));
        let gateway = gateway(|issuer| issuer.client_auth = by_key(&key, None, audience)).await;
        gateway.provider.clients(|clients| {
            clients.method = "private_key_jwt";
            clients.keys = vec![public(&key)];
            clients.audience = expected;
        });
        // Twice: each assertion has an id of its own, and the provider takes none twice.
        assert_eq!(signs_in(&gateway).await, Ok(()));
        assert_eq!(signs_in(&gateway).await, Ok(()));
        gateway.provider.clients(|clients| clients.audience = wrong);
        assert_eq!(signs_in(&gateway).await, Err(Refusal::LoginRefused));
    }
}

#[tokio::test]
async fn client_keys_are_published_and_replaced_without_a_failed_sign_in() {
    let (old, new) = (key(None), key(None));
    let auth = by_key(&new, Some(&old), AssertionAudience::Issuer);
    let gateway = gateway(|issuer| issuer.client_auth = auth).await;
    gateway.provider.clients(|clients| {
        clients.method = "private_key_jwt";
        clients.keys = vec![public(&old)];
    });
    assert_eq!(signs_in(&gateway).await, Ok(()));
    let mut browser = Browser::default();
    let received = crate::identity::test_gateway::received(
        &Method::GET,
        "/.chartgate/client-jwks.json?issuer=staff",
        browser.headers(),
        "",
    );
    let handled = gateway
        .handle(crate::identity::OwnRoute::ClientKeys, received)
        .await
        .unwrap();
    assert_eq!(
        handled.response.headers()[header::CONTENT_TYPE],
        "application/jwk-set+json"
    );
    let set: Value = serde_json::from_slice(handled.response.body()).unwrap();
    assert_eq!(set["keys"], json!([public(&new), public(&old)]));
    assert!(!set.to_string().contains("\"d\""));
    gateway
        .provider
        .clients(|clients| clients.keys = vec![public(&new)]);
    assert!(browser.sign_in(&gateway, |_| {}).await.is_ok());
    for (target, keys) in [("?issuer=other", 0), ("", 2)] {
        let target = format!("/.chartgate/client-jwks.json{target}");
        let received =
            crate::identity::test_gateway::received(&Method::GET, &target, browser.headers(), "");
        let handled = gateway
            .handle(crate::identity::OwnRoute::ClientKeys, received)
            .await
            .unwrap();
        let set: Value = serde_json::from_slice(handled.response.body()).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), keys);
    }
}

/// Signs in where the request may be pushed; the parameters that the provider was asked with, and the address's own.
async fn pushed(gateway: &Gateway) -> (BTreeMap<String, String>, Vec<String>) {
    let mut browser = Browser::default();
    let url = browser.start(gateway, "").await;
    let own = url.query_pairs().map(|(name, _)| name.into_owned());
    let own = own.collect();
    let asked = gateway.provider.asked(&url);
    let claims = gateway.provider.id_claims(&asked["nonce"], gateway.now());
    let token = gateway.provider.sign(&claims, "JWT");
    let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": token});
    let code = gateway.provider.grant_asked(&asked, answer);
    let target = format!("/.chartgate/callback?code={code}&state={}", asked["state"]);
    browser.get(gateway, &target).await.unwrap();
    (asked.into_iter().collect(), own)
}

#[tokio::test]
async fn a_request_is_pushed_where_the_provider_takes_that() {
    let gateway = gateway(|issuer| {
        issuer.request_claims = Some(r#"{"id_token":{"acr":null}}"#.to_owned());
        issuer.parameters = [("domain_hint".to_owned(), "hospital".to_owned())].into();
    })
    .await;
    let (asked, own) = pushed(&gateway).await;
    assert!(own.contains(&"state".to_owned()), "not pushed: {own:?}");
    assert_eq!(asked["claims"], r#"{"id_token":{"acr":null}}"#);
    assert_eq!(asked["domain_hint"], "hospital");
    gateway.provider.take_pushed(false);
    gateway.identity.providers[0].refresh().await.unwrap();
    let (asked, own) = pushed(&gateway).await;
    assert_eq!(own, ["client_id", "request_uri"]);
    assert_eq!(asked["claims"], r#"{"id_token":{"acr":null}}"#);
    assert_eq!(asked["acr_values"], "urn:mfa");
    assert_eq!(
        asked["redirect_uri"],
        "https://emr.example:8443/.chartgate/callback"
    );
}

#[tokio::test]
async fn whether_a_request_is_pushed_is_for_provider_and_configuration_to_say() {
    for (par, is_offered, is_demanded, is_pushed) in [
        (Par::Off, true, false, Some(false)),
        (Par::Off, true, true, Some(true)),
        (Par::Auto, true, true, Some(true)),
        (Par::Auto, false, false, Some(false)),
        (Par::Required, true, false, Some(true)),
        (Par::Required, false, false, None),
    ] {
        let gateway = gateway(|issuer| issuer.par = par).await;
        if is_offered {
            gateway.provider.take_pushed(is_demanded);
        }
        if let Some(is_pushed) = is_pushed {
            let (_, own) = pushed(&gateway).await;
            assert_eq!(
                own.contains(&"request_uri".to_owned()),
                is_pushed,
                "{par:?}"
            );
        } else {
            let refused = Browser::default().get(&gateway, "/.chartgate/login").await;
            assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
        }
    }
}

#[tokio::test]
async fn a_provider_that_pushes_for_others_only_is_asked_as_before() {
    let gateway = gateway(|issuer| {
        issuer.client_auth = ClientAuth::SecretBasic(secrets("wrong", None));
    })
    .await;
    gateway.provider.take_pushed(false);
    let url = Browser::default().start(&gateway, "").await;
    assert!(!query(&url, "state").is_empty());
    gateway.provider.take_pushed(true);
    gateway.identity.providers[0].refresh().await.unwrap();
    let refused = Browser::default().get(&gateway, "/.chartgate/login").await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
}

/// keepass4web-rs#315: what the browser reaches is not what the gateway reaches.
#[tokio::test]
async fn keepass4web_315_the_gateway_may_reach_the_provider_at_another_address() {
    let gateway = gateway(|issuer| {
        let port = issuer.url.port().unwrap();
        issuer.internal_url = Some(issuer.url.clone());
        // Nobody listens there: only browsers would go.
        issuer.url = format!("https://login.hospital.example:{port}/")
            .parse()
            .unwrap();
    })
    .await;
    let outside = gateway.identity.providers[0].settings().url.clone();
    let base = outside.as_str().trim_end_matches('/').to_owned();
    gateway.provider.pretend(&base);
    gateway.provider.publish(json!({
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
    }));
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "").await;
    assert!(
        asked.as_str().starts_with(&format!("{base}/authorize?")),
        "{asked}"
    );
    // Tokens name the outside.
    let inside = browser.finish(&gateway, &asked, |_| {}).await;
    assert_eq!(inside.map(drop), Err(Refusal::LoginRefused));
    let asked = browser.start(&gateway, "").await;
    let named = browser
        .finish(&gateway, &asked, |c| c["iss"] = json!(base))
        .await;
    assert!(named.is_ok());
}

#[tokio::test]
async fn a_leeway_is_the_issuers_own() {
    let gateway = gateway(|issuer| issuer.clock_leeway = std::time::Duration::ZERO).await;
    let mut browser = Browser::default();
    let ahead = |claims: &mut Value| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 1);
    let refused = browser.sign_in(&gateway, ahead).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
    let usual = Gateway::start().await;
    assert!(browser.sign_in(&usual, ahead).await.is_ok());
}

/// oauth2-proxy#1574: with too many groups, rights were silently lost.
#[tokio::test]
async fn oauth2_proxy_1574_too_many_groups_are_refused_loudly() {
    let gateway = Gateway::start().await;
    for (name, value) in [
        ("_claim_names", json!({"groups": "src1"})),
        ("hasgroups", json!(true)),
    ] {
        let mut browser = Browser::default();
        let refused = browser
            .sign_in(&gateway, |claims| {
                claims.as_object_mut().unwrap().remove("groups");
                claims[name] = value;
                // Where the token leads is not followed.
                let lure = format!("{}/lure", gateway.provider.url());
                claims["_claim_sources"] = json!({"src1": {"endpoint": lure}});
            })
            .await;
        assert_eq!(refused.map(drop), Err(Refusal::GroupsUnreadable), "{name}");
        assert_eq!(browser.outcome(&gateway).await, Err(Refusal::LoginRequired));
    }
    assert!(gateway.provider.bearers().is_empty());
}

#[tokio::test]
async fn too_many_groups_are_read_where_the_configuration_says_page_by_page() {
    let gateway = gateway(|issuer| {
        issuer.groups_endpoint = Some(issuer.url.join("/graph?$top=2").unwrap());
    })
    .await;
    let base = gateway.provider.url().to_owned();
    let overage = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("groups");
        claims["_claim_names"] = json!({"groups": "src1"});
    };
    let page = |ids: Value, next: Value| {
        gateway.provider.give(
            "/graph?$top=2",
            json!({"value": ids, "@odata.nextLink": next}),
        );
    };
    gateway.provider.give(
        "/graph?skip=2",
        json!({"value": [{"id": "emr-physicians"}]}),
    );
    page(
        json!([{"id": "a"}, {"id": "b"}]),
        json!(format!("{base}/graph?skip=2")),
    );
    let mut browser = Browser::default();
    browser.sign_in(&gateway, overage).await.unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    assert_eq!(identified.principal().roles().len(), 1);
    assert_eq!(gateway.provider.bearers(), ["Bearer at", "Bearer at"]);
    for (ids, next) in [
        (
            json!([{"id": "a"}]),
            json!("https://elsewhere.example/graph"),
        ),
        (json!([{"id": "a"}]), json!(format!("{base}/gone"))),
        (json!([{"id": "a"}]), json!(format!("{base}/graph?$top=2"))),
        (json!([{"no": "id"}]), json!(null)),
        (
            json!(
                (0..5_001)
                    .map(|n| json!({"id": n.to_string()}))
                    .collect::<Vec<_>>()
            ),
            json!(null),
        ),
    ] {
        page(ids, next.clone());
        let refused = Browser::default().sign_in(&gateway, overage).await;
        assert_eq!(refused.map(drop), Err(Refusal::GroupsUnreadable), "{next}");
    }
}

#[tokio::test]
async fn userinfo_completes_the_id_token() {
    let gateway = gateway(|issuer| {
        issuer.userinfo = true;
        issuer.claims.department = Some("/ou".to_owned());
    })
    .await;
    gateway
        .provider
        .publish(json!({"userinfo_endpoint": format!("{}/me", gateway.provider.url())}));
    gateway.provider.give(
        "/me",
        json!({"sub": "u1", "groups": ["emr-physicians"], "ou": "Cardiology", "amr": ["mfa"]}),
    );
    let mut browser = Browser::default();
    let without = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("groups"));
    browser.sign_in(&gateway, without).await.unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    assert_eq!(identified.principal().roles().len(), 1);
    assert_eq!(identified.principal().department(), Some("Cardiology"));
    // It does not say how the user authenticated.
    let refused = Browser::default()
        .sign_in(&gateway, |claims| claims["amr"] = json!(["pwd"]))
        .await;
    assert_eq!(refused.map(drop), Err(Refusal::MfaRequired));
    gateway
        .provider
        .give("/me", json!({"sub": "u2", "groups": ["emr-physicians"]}));
    let refused = Browser::default().sign_in(&gateway, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
}

#[tokio::test]
async fn a_user_may_be_identified_by_another_claim_and_signed_out_by_sub() {
    let gateway = gateway(|issuer| issuer.claims.subject = "/oid".to_owned()).await;
    let mut browser = Browser::default();
    let refused = browser.sign_in(&gateway, |_| {}).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
    browser
        .sign_in(&gateway, |claims| claims["oid"] = json!("o-1"))
        .await
        .unwrap();
    let identified = browser.open(&gateway).await.unwrap();
    let Principal::User(user) = identified.principal() else {
        panic!("a user signed in")
    };
    assert_eq!(user.id(), "staff|o-1");
    let notice = |sub: &str, id: &str| {
        let claims = json!({
            "iss": gateway.provider.url(), "aud": "gateway", "sub": sub, "jti": id,
            "iat": gateway.now(), "exp": gateway.now() + 60,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        gateway.provider.sign(&claims, "logout+jwt")
    };
    for (sub, id, ends) in [("o-1", "1", false), ("u1", "2", true)] {
        let mut headers = http::HeaderMap::new();
        let form = "application/x-www-form-urlencoded".parse().unwrap();
        headers.insert(header::CONTENT_TYPE, form);
        let body = format!("logout_token={}", notice(sub, id));
        let path = "/.chartgate/backchannel-logout";
        let received = crate::identity::test_gateway::received(&Method::POST, path, headers, &body);
        let route = crate::identity::OwnRoute::BackchannelLogout;
        assert!(gateway.handle(route, received).await.is_ok());
        assert_eq!(browser.outcome(&gateway).await.is_err(), ends, "{sub}");
    }
}
