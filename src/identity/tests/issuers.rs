//! Several providers side by side.

use http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use crate::config::issuer::{Callback, Issuer};
use crate::identity::OwnRoute;
use crate::identity::oidc::test_provider::TestProvider;
use crate::identity::test_gateway::{Browser, Gateway, Seen, location, query, received};
use crate::refusal::Refusal;
use crate::request::Event;

/// A gateway with the issuers `staff` and `partner`.
async fn two(change: impl FnOnce(&mut Issuer, &mut Issuer)) -> (Gateway, TestProvider) {
    let partner = TestProvider::start().await;
    let gateway = Gateway::start_with(|config| {
        let mut other = partner.issuer();
        other.name = "partner".to_owned();
        change(&mut config.issuers[0], &mut other);
        config.issuers.push(other);
    })
    .await;
    (gateway, partner)
}

/// Sends the form of a page.
async fn post(browser: &mut Browser, gateway: &Gateway, body: &str) -> Result<Seen, Refusal> {
    let mut headers = browser.headers();
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    headers.insert(header::CONTENT_TYPE, form);
    let received = received(&Method::POST, "/.chartgate/login", headers, body);
    let handled = gateway.handle(OwnRoute::Login, received).await;
    let handled = handled.map_err(|refused| refused.refusal())?;
    browser.keep(handled.response.headers());
    Ok(Seen {
        facts: handled.facts,
        event: handled.event,
        detail: handled.detail,
        response: handled.response,
    })
}

fn page(seen: &Seen) -> String {
    assert_eq!(seen.event, Event::PageShown);
    String::from_utf8(seen.response.body().to_vec()).unwrap()
}

fn led_to(seen: &Seen) -> url::Url {
    location(seen).parse().unwrap()
}

async fn finish(
    browser: &mut Browser,
    gateway: &Gateway,
    (op, asked): (&TestProvider, &url::Url),
    more: &str,
) -> Result<Seen, Refusal> {
    let claims = op.id_claims(&query(asked, "nonce"), gateway.now());
    let code = op.grant(asked, &claims);
    let path = url::Url::parse(&query(asked, "redirect_uri")).unwrap();
    let target = format!(
        "{}?code={code}&state={}{more}",
        path.path(),
        query(asked, "state")
    );
    browser.get(gateway, &target).await
}

#[tokio::test]
async fn people_choose_on_a_page_and_are_offered_their_last_choice_first() {
    let (gateway, partner) =
        two(|_, partner| partner.label = Some("Partner <clinics>".to_owned())).await;
    let mut browser = Browser::default();
    let shown = browser
        .get(&gateway, "/.chartgate/login?return_to=/chart/4")
        .await;
    let html = page(&shown.unwrap());
    assert!(
        html.contains(r#"value="staff""#) && html.contains("Partner &#60;clinics&#62;"),
        "{html}"
    );
    assert!(html.contains(r#"value="/chart/4""#) && !html.contains("autofocus"));
    assert!(!html.contains(r#"type="email""#));
    let seen = post(&mut browser, &gateway, "return_to=/chart/4&issuer=partner")
        .await
        .unwrap();
    assert_eq!(seen.event, Event::LoginStarted);
    let asked = led_to(&seen);
    assert!(asked.as_str().starts_with(partner.url()));
    let back = finish(&mut browser, &gateway, (&partner, &asked), "")
        .await
        .unwrap();
    assert_eq!(location(&back), "/chart/4");
    // `roles.toml` of the test maps nobody of the partner's; the id says whose the user is.
    let refused = browser.open(&gateway).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::NoRole);
    assert_eq!(back.facts.principal.unwrap().id(), "partner|u1");
    browser.cookies.remove("__Host-chartgate");
    let html = page(&browser.get(&gateway, "/.chartgate/login").await.unwrap());
    let (_, first) = html.split_once("name=\"issuer\"").unwrap();
    assert!(first.starts_with(r#" value="partner" autofocus"#), "{html}");
    // It is offered, not chosen; and what is no issuer's name is nothing.
    browser.cookies.insert(
        "__Host-chartgate-issuer".to_owned(),
        "\"><script>".to_owned(),
    );
    let html = page(&browser.get(&gateway, "/.chartgate/login").await.unwrap());
    assert!(!html.contains("autofocus") && !html.contains("<script"));
}

#[tokio::test]
async fn an_address_may_name_the_issuer_that_is_offered_there_only() {
    let (gateway, partner) = two(|_, _| {}).await;
    let mut browser = Browser::default();
    let seen = browser
        .get(&gateway, "/.chartgate/login?issuer=partner")
        .await
        .unwrap();
    assert!(led_to(&seen).as_str().starts_with(partner.url()));
    for none in ["other", "", "staff%20", "Staff"] {
        let target = format!("/.chartgate/login?issuer={none}");
        page(&browser.get(&gateway, &target).await.unwrap());
    }
}

#[tokio::test]
async fn the_domain_of_an_e_mail_address_chooses() {
    let (gateway, partner) = two(|staff, partner| {
        staff.serves.email_domains = vec!["hospital.example".to_owned()];
        partner.serves.email_domains = vec!["partner.example".to_owned()];
    })
    .await;
    let mut browser = Browser::default();
    let html = page(&browser.get(&gateway, "/.chartgate/login").await.unwrap());
    assert!(
        html.contains(r#"type="email""#) && !html.contains("name=\"issuer\""),
        "{html}"
    );
    let seen = post(&mut browser, &gateway, "user=+dr.b%40PARTNER.example")
        .await
        .unwrap();
    let asked = led_to(&seen);
    assert!(asked.as_str().starts_with(partner.url()));
    assert_eq!(query(&asked, "login_hint"), "dr.b@PARTNER.example");
    let refused = post(&mut browser, &gateway, "user=a%40nowhere.example").await;
    assert_eq!(refused.map(drop), Err(Refusal::NoProvider));
    // CVE-2026-40574: an address with two `@` has no domain.
    for odd in [
        "adams",
        "a%40evil.example%40hospital.example",
        "%40hospital.example",
        "a%0a%40hospital.example",
        "",
    ] {
        page(
            &post(&mut browser, &gateway, &format!("user={odd}"))
                .await
                .unwrap(),
        );
    }
}

#[tokio::test]
async fn the_host_chooses_and_a_session_stays_at_its_hosts() {
    let (gateway, partner) = two(|staff, partner| {
        staff.serves.hosts = vec!["emr.example".to_owned()];
        partner.serves.hosts = vec!["partner.example".to_owned()];
    })
    .await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "issuer=partner").await;
    assert!(asked.as_str().starts_with(gateway.provider.url()));
    browser.finish(&gateway, &asked, |_| {}).await.unwrap();
    assert_eq!(browser.outcome(&gateway).await, Ok(()));
    // The same cookie, carried to the other host.
    let live = gateway.identity.sessions();
    let token =
        crate::identity::token::Token::parse(browser.cookies["__Host-chartgate"].as_bytes());
    let crate::identity::sessions::Found::Live(live) = live.find(&token.unwrap()).await.unwrap()
    else {
        panic!("the session is gone")
    };
    assert!(gateway.identity.is_at_home(&live, "emr.example"));
    assert!(!gateway.identity.is_at_home(&live, "partner.example"));
    drop(partner);
    let (nowhere, _partner) = two(|staff, partner| {
        staff.serves.hosts = vec!["a.example".to_owned()];
        partner.serves.hosts = vec!["b.example".to_owned()];
    })
    .await;
    let refused = Browser::default().get(&nowhere, "/.chartgate/login").await;
    assert_eq!(refused.map(drop), Err(Refusal::NoProvider));
}

/// RFC 9700 §4.4: the answer of one provider to the question that was put to another.
#[tokio::test]
async fn the_answer_of_another_provider_is_refused() {
    let (gateway, partner) = two(|_, _| {}).await;
    partner.publish(json!({"authorization_response_iss_parameter_supported": true}));
    for (more, is_fine) in [
        (format!("&iss={}", partner.url()), true),
        (format!("&iss={}", gateway.provider.url()), false),
        (String::new(), false),
    ] {
        let mut browser = Browser::default();
        let asked = browser.start(&gateway, "issuer=partner").await;
        let back = finish(&mut browser, &gateway, (&partner, &asked), &more).await;
        assert_eq!(back.is_ok(), is_fine, "{more}");
    }
    // Tokens of one provider are not the other's, whoever's code they came for.
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "issuer=staff").await;
    let claims = partner.id_claims(&query(&asked, "nonce"), gateway.now());
    let token = partner.sign(&claims, "JWT");
    let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": token});
    let code = gateway.provider.grant_answer(&asked, answer);
    let target = format!(
        "/.chartgate/callback?code={code}&state={}",
        query(&asked, "state")
    );
    let refused = browser.get(&gateway, &target).await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
}

#[tokio::test]
async fn an_own_callback_takes_the_answers_of_its_issuer_only() {
    let (gateway, partner) = two(|_, partner| partner.callback = Callback::Own).await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "issuer=partner").await;
    let own = "https://emr.example:8443/.chartgate/callback/partner";
    assert_eq!(query(&asked, "redirect_uri"), own);
    for path in ["/.chartgate/callback", "/.chartgate/callback/staff"] {
        let mut browser = browser.clone();
        let asked = browser.start(&gateway, "issuer=partner").await;
        let target = format!("{path}?code=x&state={}", query(&asked, "state"));
        let refused = browser.get(&gateway, &target).await;
        assert_eq!(refused.map(drop), Err(Refusal::LoginRefused), "{path}");
    }
    let back = finish(&mut browser, &gateway, (&partner, &asked), "").await;
    assert!(back.is_ok());
}

#[tokio::test]
async fn a_step_up_goes_to_the_sessions_own_issuer() {
    let (gateway, partner) = two(|_, _| {}).await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "issuer=partner").await;
    finish(&mut browser, &gateway, (&partner, &asked), "")
        .await
        .unwrap();
    let asked = browser.start(&gateway, "step_up=1&issuer=staff").await;
    assert!(asked.as_str().starts_with(partner.url()), "{asked}");
    assert_eq!(query(&asked, "prompt"), "login");
}

#[tokio::test]
async fn one_provider_that_is_down_keeps_nobody_of_the_other_out() {
    let (gateway, partner) = two(|_, _| {}).await;
    partner.set_down(true);
    let mut browser = Browser::default();
    let refused = browser
        .get(&gateway, "/.chartgate/login?issuer=partner")
        .await;
    assert_eq!(refused.map(drop), Err(Refusal::ProviderUnavailable));
    page(&browser.get(&gateway, "/.chartgate/login").await.unwrap());
    let asked = browser.start(&gateway, "issuer=staff").await;
    assert!(browser.finish(&gateway, &asked, |_| {}).await.is_ok());
    assert!(!gateway.identity.knows_providers());
    partner.set_down(false);
    gateway.advance(std::time::Duration::from_secs(5));
    let mut other = Browser::default();
    let asked = other.start(&gateway, "issuer=partner").await;
    assert!(
        finish(&mut other, &gateway, (&partner, &asked), "")
            .await
            .is_ok()
    );
    assert!(gateway.identity.knows_providers());
}

/// keepass4web-rs#315, for each of several.
#[tokio::test]
async fn keys_rotate_at_each_provider_for_itself() {
    let (gateway, partner) = two(|_, _| {}).await;
    for round in 0..2 {
        for (op, name) in [(&gateway.provider, "staff"), (&partner, "partner")] {
            let mut browser = Browser::default();
            let asked = browser.start(&gateway, &format!("issuer={name}")).await;
            op.rotate(&format!("k{round}"));
            let back = finish(&mut browser, &gateway, (op, &asked), "").await;
            assert!(back.is_ok(), "{name} {round}");
        }
        gateway.advance(std::time::Duration::from_secs(30));
    }
}

fn notice(op: &TestProvider, gateway: &Gateway, sub: &str) -> String {
    let claims = json!({
        "iss": op.url(), "aud": "gateway", "sub": sub, "jti": format!("{}{sub}", op.url()),
        "iat": gateway.now(), "exp": gateway.now() + 60,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    op.sign(&claims, "logout+jwt")
}

async fn notify(gateway: &Gateway, token: &str) -> Result<(), Refusal> {
    let mut headers = HeaderMap::new();
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    headers.insert(header::CONTENT_TYPE, form);
    let body = format!("logout_token={token}");
    let received = received(
        &Method::POST,
        "/.chartgate/backchannel-logout",
        headers,
        &body,
    );
    let handled = gateway.handle(OwnRoute::BackchannelLogout, received).await;
    handled.map(drop).map_err(|refused| refused.refusal())
}

#[tokio::test]
async fn a_sign_out_notice_is_its_issuers_and_ends_its_sessions_only() {
    let (gateway, partner) = two(|_, _| {}).await;
    let (mut ours, mut theirs) = (Browser::default(), Browser::default());
    let asked = ours.start(&gateway, "issuer=staff").await;
    ours.finish(&gateway, &asked, |_| {}).await.unwrap();
    let asked = theirs.start(&gateway, "issuer=partner").await;
    finish(&mut theirs, &gateway, (&partner, &asked), "")
        .await
        .unwrap();
    let before = gateway.provider.key_reads();
    // The same subject at the other provider.
    notify(&gateway, &notice(&partner, &gateway, "u1"))
        .await
        .unwrap();
    assert_eq!(ours.outcome(&gateway).await, Ok(()));
    assert_eq!(theirs.outcome(&gateway).await, Err(Refusal::SessionUnknown));
    assert_eq!(
        gateway.provider.key_reads(),
        before,
        "the other's keys were not touched"
    );
    // In another's name, and in nobody's.
    let mut claims: Value = json!({"iss": gateway.provider.url()});
    claims["aud"] = json!("gateway");
    let forged = partner.sign(&claims, "logout+jwt");
    assert_eq!(notify(&gateway, &forged).await, Err(Refusal::LogoutRefused));
    let stranger = TestProvider::start().await;
    let foreign = notice(&stranger, &gateway, "u1");
    assert_eq!(
        notify(&gateway, &foreign).await,
        Err(Refusal::LogoutRefused)
    );
    assert_eq!(ours.outcome(&gateway).await, Ok(()));
}

#[tokio::test]
async fn a_name_that_ends_like_anothers_is_refused() {
    let (gateway, partner) =
        two(|_, partner| partner.claims.name_suffix = Some("@partner".to_owned())).await;
    let mut browser = Browser::default();
    let asked = browser.start(&gateway, "issuer=partner").await;
    let back = finish(&mut browser, &gateway, (&partner, &asked), "")
        .await
        .unwrap();
    assert_eq!(back.facts.principal.unwrap().display(), "dr.adams@partner");
    let mut other = Browser::default();
    let asked = other.start(&gateway, "issuer=staff").await;
    let refused = other
        .finish(&gateway, &asked, |c| {
            c["preferred_username"] = json!("dr.adams@partner");
        })
        .await;
    assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
}
