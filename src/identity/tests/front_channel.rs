//! Sign-out by the provider through a browser, and what is tolerated in its notices.

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;

use crate::config::refresh::{LogoutExpiry, LogoutTolerance, LogoutType};
use crate::identity::oidc::test_provider::CLIENT;
use crate::identity::test_gateway::{Browser, Gateway, received};
use crate::identity::{Cause, OwnRoute};
use crate::refusal::Refusal;
use crate::request::Event;

fn path(gateway: &Gateway, sid: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("iss", gateway.provider.url());
    query.append_pair("sid", sid);
    format!("/.chartgate/frontchannel-logout?{}", query.finish())
}

#[tokio::test]
async fn pain_10_a_frame_of_the_provider_ends_exactly_the_session_that_it_names() {
    let gateway = Gateway::start().await;
    let sign_in = async |sid: &str| {
        let mut browser = Browser::default();
        let sid = json!(sid);
        let signed_in = browser.sign_in(&gateway, |claims| claims["sid"] = sid);
        signed_in.await.unwrap();
        browser
    };
    let (one, two, other) = (
        sign_in("s1").await,
        sign_in("s1").await,
        sign_in("s2").await,
    );
    one.outcome(&gateway).await.unwrap();
    let mut ended = gateway.identity.subscribe();
    // A frame sends none of our cookies.
    let seen = Browser::default()
        .get(&gateway, &path(&gateway, "s1"))
        .await
        .unwrap();
    assert_eq!(seen.event, Event::FrontchannelLogout);
    assert!(seen.facts.session.is_some(), "the record says whose");
    let policy = seen.response.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(
        policy.ends_with(&format!("frame-ancestors {}", gateway.provider.url())),
        "{policy}"
    );
    assert!(!seen.response.headers().contains_key("x-frame-options"));
    for _ in 0..2 {
        assert_eq!(ended.try_recv().unwrap().1.cause, Cause::FrontChannel);
    }
    for browser in [&one, &two] {
        assert_eq!(
            browser.outcome(&gateway).await,
            Err(Refusal::SessionUnknown)
        );
    }
    assert_eq!(other.outcome(&gateway).await, Ok(()));
    // Whether there was a session is nobody's business.
    let again = Browser::default()
        .get(&gateway, &path(&gateway, "s1"))
        .await
        .unwrap();
    assert_eq!(again.response.body(), seen.response.body());
    assert_eq!(again.facts.session, None);
}

#[tokio::test]
async fn a_frame_that_names_nothing_certain_ends_nothing() {
    let gateway = Gateway::start().await;
    let browser = gateway.signed_in().await;
    let good = path(&gateway, "op-session-1");
    let iss = good.split('&').next().unwrap();
    for bad in [
        "/.chartgate/frontchannel-logout".to_owned(),
        iss.to_owned(),
        format!("{iss}&sid="),
        format!("{good}&sid=other"),
        "/.chartgate/frontchannel-logout?sid=op-session-1".to_owned(),
        "/.chartgate/frontchannel-logout?iss=https://other.example&sid=op-session-1".to_owned(),
    ] {
        let refused = browser.clone().get(&gateway, &bad).await.map(drop);
        assert_eq!(refused, Err(Refusal::LogoutRefused), "{bad}");
    }
    let mut posting = browser.clone();
    let posted = posting.ask(&gateway, Method::POST, &good, &[]).await;
    assert_eq!(posted.map(drop), Err(Refusal::MethodRefused));
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
}

async fn notice(gateway: &Gateway, typ: &str, exp: Option<i64>, iat: i64) -> Result<(), Refusal> {
    let mut claims = json!({
        "iss": gateway.provider.url(), "aud": CLIENT, "iat": iat,
        "jti": format!("{typ} {exp:?} {iat}"), "sub": "nobody",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    if let Some(exp) = exp {
        claims["exp"] = json!(exp);
    }
    let body = format!("logout_token={}", gateway.provider.sign(&claims, typ));
    let mut headers = HeaderMap::new();
    let form = "application/x-www-form-urlencoded";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    let route = OwnRoute::BackchannelLogout;
    let received = received(&Method::POST, route.path(), headers, &body);
    let handled = gateway.handle(route, received).await;
    handled.map(drop).map_err(|refused| refused.refusal())
}

#[tokio::test]
async fn what_is_tolerated_in_a_notice_is_what_is_configured() {
    let refused = Err(Refusal::LogoutRefused);
    let strict = Gateway::start().await;
    let now = strict.now();
    assert_eq!(notice(&strict, "JWT", Some(now + 60), now).await, Ok(()));
    assert_eq!(notice(&strict, "logout+jwt", None, now).await, refused);
    let tolerant = strict
        .restarted_with(|config| {
            config.issuers[0].logout = LogoutTolerance {
                typ: LogoutType::Stated,
                expiry: LogoutExpiry::MayBeMissing,
            };
        })
        .await;
    assert_eq!(notice(&tolerant, "JWT", None, now).await, refused);
    assert_eq!(notice(&tolerant, "logout+jwt", None, now).await, Ok(()));
    // Used up like any other, and not good for ever.
    assert_eq!(notice(&tolerant, "logout+jwt", None, now).await, refused);
    assert_eq!(
        notice(&tolerant, "logout+jwt", None, now - 200).await,
        refused
    );
}
