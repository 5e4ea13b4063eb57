//! Sign-out by the user and by the provider.

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use crate::identity::OwnRoute;
use crate::identity::oidc::test_provider::CLIENT;
use crate::identity::test_gateway::{Browser, Gateway, location, query, received};
use crate::refusal::Refusal;
use crate::request::{Event, Handled};
use crate::store::memory::Fault;

const LOGOUT: &str = "/.chartgate/logout";

#[tokio::test]
async fn teleport_5994_sign_out_ends_the_session_here_and_at_the_provider() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let old = browser.clone();
    let session = old.open(&gateway).await.unwrap().session().clone();
    let mut ended = gateway.identity.subscribe();
    let handled = browser
        .ask(&gateway, Method::POST, LOGOUT, &[])
        .await
        .unwrap();
    assert_eq!(handled.event, Event::Logout);
    assert_eq!(handled.facts.session.as_deref(), Some(session.as_str()));
    assert_eq!(
        handled.response.headers()["clear-site-data"],
        "\"cache\", \"storage\""
    );
    let url: url::Url = location(&handled).parse().unwrap();
    assert_eq!(url.path(), "/end");
    assert_eq!(query(&url, "client_id"), CLIENT);
    assert_eq!(
        query(&url, "post_logout_redirect_uri"),
        "https://emr.example:8443/.chartgate/signed-out"
    );
    assert_eq!(query(&url, "id_token_hint").split('.').count(), 3);
    assert_eq!(ended.try_recv().unwrap().0, session);
    assert!(!browser.cookies.contains_key("__Host-chartgate"));
    assert_eq!(old.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    assert_eq!(
        old.outcome(&gateway.restarted().await).await,
        Err(Refusal::SessionUnknown)
    );
    let page = browser
        .get(&gateway, "/.chartgate/signed-out")
        .await
        .unwrap();
    let html = std::str::from_utf8(page.response.body()).unwrap();
    assert!(html.contains("You are signed out") && html.contains("emr.example:8443"));
    // The look of every page of the gateway, whose style the browser accepts.
    let style = html.split("<style nonce=\"").nth(1).unwrap();
    let nonce = style.split('"').next().unwrap();
    let policy = page.response.headers()[header::CONTENT_SECURITY_POLICY].to_str();
    assert!(
        policy
            .unwrap()
            .contains(&format!("style-src 'nonce-{nonce}'"))
    );
}

#[tokio::test]
async fn sign_out_without_a_session_leads_to_the_same_page() {
    let gateway = Gateway::start().await;
    for cookie in [None, Some("bad")] {
        let mut browser = Browser::default();
        if let Some(bad) = cookie {
            browser
                .cookies
                .insert("__Host-chartgate".into(), bad.into());
        }
        let handled = browser
            .ask(&gateway, Method::POST, LOGOUT, &[])
            .await
            .unwrap();
        assert_eq!(location(&handled), OwnRoute::SignedOut.path());
        assert!(browser.cookies.is_empty());
    }
}

#[tokio::test]
async fn a_link_signs_out_only_from_the_site_itself() {
    let gateway = Gateway::start().await;
    for site in ["same-origin", "none"] {
        let mut browser = gateway.signed_in().await;
        let more = [("sec-fetch-site", site)];
        let handled = browser
            .ask(&gateway, Method::GET, LOGOUT, &more)
            .await
            .unwrap();
        assert_eq!(handled.event, Event::Logout, "{site}");
    }
    let mut browser = gateway.signed_in().await;
    let asked: [&[(&str, &str)]; 4] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    ];
    for more in asked {
        let handled = browser
            .ask(&gateway, Method::GET, LOGOUT, more)
            .await
            .unwrap();
        assert_eq!(handled.event, Event::PageShown);
        let html = std::str::from_utf8(handled.response.body()).unwrap();
        assert!(html.contains("method=\"post\" action=\"/.chartgate/logout\""));
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
}

#[tokio::test]
async fn a_session_that_could_not_be_deleted_is_dead_here_and_deleted_later() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    browser.outcome(&gateway).await.unwrap();
    gateway.home.fail(Fault::Writes);
    let refused = browser.ask(&gateway, Method::POST, LOGOUT, &[]).await;
    assert_eq!(refused.map(drop), Err(Refusal::StoreUnavailable));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
    gateway.home.fail(Fault::None);
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
    gateway.identity.tidy().await;
    assert_eq!(
        browser.outcome(&gateway.restarted().await).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn sign_out_works_while_the_provider_is_away() {
    let gateway = Gateway::start().await;
    let mut browser = gateway.signed_in().await;
    let restarted = gateway.restarted().await;
    gateway.provider.set_down(true);
    let handled = browser
        .ask(&restarted, Method::POST, LOGOUT, &[])
        .await
        .unwrap();
    assert_eq!(location(&handled), OwnRoute::SignedOut.path());
}

/// A huge ID token (hundreds of groups) does not make a huge address.
#[tokio::test]
async fn oauth2_proxy_644_a_huge_token_is_not_put_into_an_address() {
    let gateway = Gateway::start().await;
    let mut browser = Browser::default();
    let groups: Vec<_> = (0..400).map(|n| format!("group-{n:032}")).collect();
    browser
        .sign_in(&gateway, |c| c["groups"] = json!(groups))
        .await
        .unwrap();
    let handled = browser
        .ask(&gateway, Method::POST, LOGOUT, &[])
        .await
        .unwrap();
    assert!(location(&handled).len() < 1024);
}

fn notice(gateway: &Gateway) -> Value {
    let now = gateway.now();
    json!({
        "iss": gateway.provider.url(), "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "n1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        "sub": "u1", "sid": "op-session-1",
    })
}

async fn hand_in(gateway: &Gateway, body: &str) -> Result<Handled, Refusal> {
    let mut headers = HeaderMap::new();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, form);
    let path = OwnRoute::BackchannelLogout.path();
    let received = received(&Method::POST, path, headers, body);
    let handled = gateway.handle(OwnRoute::BackchannelLogout, received).await;
    handled.map_err(|r| r.refusal())
}

async fn send(gateway: &Gateway, body: &str) -> Result<u16, Refusal> {
    let handled = hand_in(gateway, body).await?;
    assert_eq!(handled.event, Event::BackchannelLogout);
    assert_eq!(
        handled.response.headers()[header::CACHE_CONTROL],
        "no-store"
    );
    Ok(handled.response.status().as_u16())
}

async fn notify(gateway: &Gateway, claims: &Value) -> Result<u16, Refusal> {
    let token = gateway.provider.sign(claims, "logout+jwt");
    send(gateway, &format!("logout_token={token}")).await
}

#[tokio::test]
async fn the_provider_ends_a_session_by_sid_or_every_one_by_sub() {
    let gateway = Gateway::start().await;
    let mut browsers = Vec::new();
    for (sub, sid) in [
        ("u1", json!("a")),
        ("u1", json!("b")),
        ("u1", json!(null)),
        ("u2", json!("c")),
    ] {
        let mut browser = Browser::default();
        let change = |c: &mut Value| {
            c["sub"] = json!(sub);
            c["sid"] = sid;
        };
        browser.sign_in(&gateway, change).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
        browsers.push(browser);
    }
    let alive = async || {
        let mut alive = Vec::new();
        for browser in &browsers {
            alive.push(browser.outcome(&gateway).await.is_ok());
        }
        alive
    };
    let mut by_sid = notice(&gateway);
    by_sid["sid"] = json!("a");
    by_sid.as_object_mut().unwrap().remove("sub");
    let mut ended = gateway.identity.subscribe();
    assert_eq!(notify(&gateway, &by_sid).await, Ok(200));
    assert!(ended.try_recv().is_ok() && ended.try_recv().is_err());
    assert_eq!(alive().await, [false, true, true, true]);
    let mut by_sub = notice(&gateway);
    by_sub["jti"] = json!("n2");
    by_sub.as_object_mut().unwrap().remove("sid");
    assert_eq!(notify(&gateway, &by_sub).await, Ok(200));
    assert_eq!(alive().await, [false, false, false, true]);
    // Someone else's subject with this session's id ends nothing.
    let mut crossed = notice(&gateway);
    crossed["jti"] = json!("n3");
    crossed["sid"] = json!("c");
    assert_eq!(notify(&gateway, &crossed).await, Ok(200));
    assert_eq!(alive().await, [false, false, false, true]);
}

/// The notice comes while the provider's answer is on its way: there is no session yet that it could end.
#[tokio::test]
async fn a_notice_ends_the_session_that_is_being_opened() {
    let by_subject = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("sid"));
    let by_session = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("sub"));
    let by_both = |_: &mut Value| {};
    let changes: [&dyn Fn(&mut Value); 3] = [&by_subject, &by_session, &by_both];
    for change in changes {
        let gateway = Gateway::start().await;
        let mut browser = Browser::default();
        let asked = browser.start(&gateway, "return_to=/a").await;
        gateway.advance(std::time::Duration::from_secs(1));
        let mut claims = notice(&gateway);
        change(&mut claims);
        assert_eq!(notify(&gateway, &claims).await, Ok(200));
        let refused = browser.finish(&gateway, &asked, |_| {}).await;
        assert_eq!(refused.map(drop), Err(Refusal::LoginRefused), "{claims}");
        assert_eq!(browser.outcome(&gateway).await, Err(Refusal::LoginRequired));
        // A sign-in that begins now is another one.
        gateway.advance(std::time::Duration::from_secs(1));
        browser.sign_in(&gateway, |_| {}).await.unwrap();
        assert_eq!(browser.outcome(&gateway).await, Ok(()));
    }
    // Somebody else's session, or another one of the same person, is not meant.
    let gateway = Gateway::start().await;
    let (mut other, mut elsewhere) = (Browser::default(), Browser::default());
    let asked = other.start(&gateway, "return_to=/a").await;
    let as_well = elsewhere.start(&gateway, "return_to=/a").await;
    assert_eq!(notify(&gateway, &notice(&gateway)).await, Ok(200));
    let done = other.finish(&gateway, &asked, |c| c["sub"] = json!("u2"));
    assert!(done.await.is_ok());
    let done = elsewhere.finish(&gateway, &as_well, |c| c["sid"] = json!("op-session-2"));
    assert!(done.await.is_ok());
}

#[tokio::test]
async fn the_record_of_a_notice_says_whose_session_ended() {
    let gateway = Gateway::start().await;
    let _browser = gateway.signed_in().await;
    let token = gateway.provider.sign(&notice(&gateway), "logout+jwt");
    let notice = format!("logout_token={token}");
    let facts = hand_in(&gateway, &notice).await.unwrap().facts;
    assert!(facts.principal.unwrap().id().ends_with("|u1"));
    assert!(facts.session.is_some());
}

/// `mod_auth_openidc` 2.4.20: a logout token could be replayed, or had no `jti` and `iat`.
#[tokio::test]
async fn mod_auth_openidc_a_logout_token_works_once() {
    let gateway = Gateway::start().await;
    assert_eq!(notify(&gateway, &notice(&gateway)).await, Ok(200));
    assert_eq!(
        notify(&gateway, &notice(&gateway)).await,
        Err(Refusal::LogoutRefused)
    );
    let restarted = gateway.restarted().await;
    assert_eq!(
        notify(&restarted, &notice(&gateway)).await,
        Err(Refusal::LogoutRefused)
    );
}

#[tokio::test]
async fn a_notice_that_failed_can_be_sent_again() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    gateway.home.fail(Fault::Writes);
    let failed = notify(&gateway, &notice(&gateway)).await;
    assert_eq!(failed, Err(Refusal::StoreUnavailable));
    gateway.home.fail(Fault::None);
    assert_eq!(notify(&gateway, &notice(&gateway)).await, Ok(200));
    assert_eq!(
        browser.outcome(&gateway).await,
        Err(Refusal::SessionUnknown)
    );
}

#[tokio::test]
async fn logout_tokens_that_are_none_are_refused() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    let now = gateway.now();
    let event = "http://schemas.openid.net/event/backchannel-logout";
    for (name, value) in [
        ("iss", json!("https://other")),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("azp", json!("other")),
        ("iat", json!(null)),
        ("iat", json!(now + 61)),
        ("exp", json!(null)),
        ("exp", json!(now - 60)),
        ("jti", json!(null)),
        ("jti", json!("")),
        ("events", json!(null)),
        ("events", json!({})),
        ("events", json!({ event: true })),
        ("events", json!([event])),
        ("nonce", json!("n")),
        ("nonce", json!(null)),
        ("sub", json!(7)),
        ("sid", json!({})),
    ] {
        let mut claims = notice(&gateway);
        claims[name] = value.clone();
        let refused = notify(&gateway, &claims).await;
        assert_eq!(refused, Err(Refusal::LogoutRefused), "{name} {value}");
    }
    for name in ["iat", "exp", "jti", "events"] {
        let mut claims = notice(&gateway);
        claims.as_object_mut().unwrap().remove(name);
        let refused = notify(&gateway, &claims).await;
        assert_eq!(refused, Err(Refusal::LogoutRefused), "{name}");
    }
    let mut nobody = notice(&gateway);
    nobody.as_object_mut().unwrap().remove("sub");
    nobody.as_object_mut().unwrap().remove("sid");
    assert_eq!(notify(&gateway, &nobody).await, Err(Refusal::LogoutRefused));
    // An ID token is no logout token.
    let id = gateway.provider.id_claims("n", now);
    assert_eq!(notify(&gateway, &id).await, Err(Refusal::LogoutRefused));
    let good = gateway.provider.sign(&notice(&gateway), "logout+jwt");
    for body in [
        String::new(),
        "logout_token=".to_owned(),
        "logout_token=a.b.c".to_owned(),
        format!("logout_token={good}&logout_token={good}"),
        format!("other={good}"),
        format!("logout_token={good}x"),
    ] {
        assert_eq!(
            send(&gateway, &body).await,
            Err(Refusal::LogoutRefused),
            "{body}"
        );
    }
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}
