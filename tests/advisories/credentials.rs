//! What proves who acts: cookies, tokens, sign-ins, and where they were believed or sent by mistake.

use chartgate::clock::SystemClock;
use chartgate::demo::issuer::Misbehave;
use http::{HeaderMap, Method};
use url::Url;

use crate::harness::{Browser, House, hidden, person, without_limits};

/// Signs in at the provider up to the redirect that leads back to the gateway, which is not followed.
pub(super) async fn callback_of(house: &House, browser: &mut Browser, user: &str) -> String {
    let page = browser.visit(&house.url("/echo")).await;
    let login = page.url.join("/login").unwrap();
    let person = person(user);
    let transaction = hidden(&page, "transaction");
    let fields = [
        ("transaction", transaction.as_str()),
        ("username", user),
        ("password", person.password()),
    ];
    let page = browser.post_form(login.as_str(), &fields).await;
    let page = browser.follow(page).await;
    let transaction = hidden(&page, "transaction");
    let code = person.totp_code(SystemClock::shared().now()).unwrap();
    let check = page.url.join("/login/code").unwrap();
    let mut page = browser
        .post_form(
            check.as_str(),
            &[("transaction", &transaction), ("code", &code)],
        )
        .await;
    loop {
        let location = page.header("location").unwrap();
        let next = page.url.join(location).unwrap();
        if next
            .as_str()
            .starts_with(&house.url("/.chartgate/callback"))
        {
            return next.into();
        }
        page = browser.get(next.as_str()).await;
    }
}

pub(super) fn has_session(browser: &Browser) -> bool {
    browser.cookie("__Host-chartgate").is_some()
}

// The old session was still there behind the page of the sign-in that failed.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_34454_a_failed_sign_in_ends_the_session_before() {
    let house = House::open_unlimited().await;
    let mut first = house.signed_in("dr.okafor").await;
    // The session alone: the sign-in stays bound to the browser that started it.
    let mut session = first.cookies.clone();
    session.retain(|(_, name), _| name == "__Host-chartgate");
    let mut shared = house.browser();
    house.clinic.issuer().misbehave(Misbehave::WrongNonce);
    let callback = callback_of(&house, &mut shared, "nurse.lind").await;
    shared.cookies.extend(session);
    let page = shared.get(&callback).await;
    assert_eq!(page.refusal(), Some("CG-2004"));
    let before = house.reached().len();
    let page = first.get(&house.url("/echo")).await;
    assert_eq!(page.refusal(), Some("CG-2013"), "the old cookie is dead");
    assert_eq!(house.reached().len(), before);
}

// The page after the sign-in was on another site.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_21291_and_cve_2022_23527_a_sign_in_comes_back_to_this_host() {
    let house = House::open_unlimited().await;
    let mut browser = house.signed_in("dr.okafor").await;
    let here = Url::parse(&house.url("/")).unwrap();
    for payload in [
        "//evil.example",
        "///evil.example",
        "/%2f/evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/%5cevil.example",
        "https://evil.example",
        "https:evil.example",
        "https:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\t/evil.example",
        "/\r\nLocation: //evil.example",
        "/%0d%0aLocation:%20//evil.example",
        "/%09/evil.example",
        "//user@evil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/%2e%2e//evil.example",
        "/\u{3002}evil.example",
        "\u{feff}//evil.example",
        "@evil.example",
        ".evil.example",
        "?//evil.example",
        "#//evil.example",
        "/.chartgate/logout",
        "",
    ] {
        let value: String = form_urlencoded::byte_serialize(payload.as_bytes()).collect();
        for query in [
            format!("return_to={value}"),
            format!("return_to=/&return_to={value}"),
            format!("return_to={value}&return_to=/"),
        ] {
            let page = browser
                .get(&house.url(&format!("/.chartgate/login?{query}")))
                .await;
            let location = here.join(page.header("location").unwrap()).unwrap();
            assert_eq!(location.origin(), here.origin(), "{query}");
            assert!(!location.path().starts_with("/.chartgate"), "{query}");
            assert!(page.header("set-cookie").is_none(), "{query}");
        }
    }
    let mut browser = house.browser();
    let url = house.url("/.chartgate/login?return_to=//evil.example");
    let page = house.sign_in(&mut browser, "dr.okafor", &url).await;
    assert_eq!(page.url.origin(), here.origin());
}

// A cookie that could not be read was nobody's, and nobody was let in.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_25748_a_malformed_cookie_is_not_a_way_in() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let good = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let before = house.reached().len();
    for cookie in [
        String::new(),
        "=".to_owned(),
        "a".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        "../../x".to_owned(),
        "%00".to_owned(),
        format!("\"{good}\""),
        format!("{good}{good}"),
        format!("{good}="),
        format!("{good}|0|{good}"),
        good.to_ascii_uppercase(),
        good.chars().rev().collect(),
        good[1..].to_owned(),
        format!("{good}; __Host-chartgate={good}"),
        format!("{good}\r\nCookie: __Host-chartgate=x"),
    ] {
        let fields = format!("Cookie: __Host-chartgate={cookie}\r\n");
        let answer = house.raw(b"GET /echo HTTP/1.1", &fields).await.unwrap();
        assert_eq!(
            (answer.status, answer.refusal()),
            (401, Some("CG-2013")),
            "{cookie}"
        );
        assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    }
    for name in [
        "__host-chartgate",
        "__Secure-chartgate",
        "chartgate",
        "__Host-chartgate_0",
    ] {
        let fields = format!("Cookie: {name}={good}\r\n");
        let answer = house.raw(b"GET /echo HTTP/1.1", &fields).await.unwrap();
        assert_eq!(
            (answer.status, answer.refusal()),
            (401, Some("CG-2001")),
            "{name}"
        );
    }
    assert_eq!(house.reached().len(), before);
}

// Any bearer token counted as a sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_29226_no_authorization_header_is_a_session() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let good = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let before = house.reached().len();
    for value in [
        "Bearer x".to_owned(),
        format!("Bearer {good}"),
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJkci5va2Fmb3IiLCJleHAiOjQxMDI0NDQ4MDB9.".to_owned(),
        "Basic ZHIub2thZm9yOkhlcm9uLUJyaWRnZS0xMQ==".to_owned(),
        "Negotiate YII=".to_owned(),
    ] {
        let fields = format!("Authorization: {value}\r\n");
        let answer = house.raw(b"GET /echo HTTP/1.1", &fields).await.unwrap();
        assert_eq!(
            (answer.status, answer.refusal()),
            (401, Some("CG-2001")),
            "{value}"
        );
    }
    assert_eq!(house.reached().len(), before);
    let cookies = browser.cookie_field(&house.authority());
    let fields = format!("{cookies}Authorization: Bearer canary\r\n");
    let echo = house
        .raw(b"GET /echo HTTP/1.1", &fields)
        .await
        .unwrap()
        .echo();
    assert!(
        !echo.to_string().contains("canary"),
        "and none is passed on: {echo}"
    );
}

// The page that posts the browser to the sign-in held what the back end had answered.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_59jp_rwph_878r_an_answer_before_sign_in_holds_no_back_end_byte() {
    let house = House::open_unlimited().await;
    for scripted in [false, true] {
        for path in [
            "/",
            "/chart",
            "/api/patients/4",
            "/login",
            "/static/site.css",
            "/echo",
        ] {
            for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS] {
                let mut browser = house.browser();
                browser.scripted = scripted;
                let body = (method == Method::POST).then(|| "text=canary-in-the-body".into());
                let page = browser
                    .send(method, &house.url(path), body, HeaderMap::new())
                    .await;
                assert_eq!(page.refusal(), Some("CG-2001"), "{path}");
                let text = page.text();
                assert!(
                    !text.contains("Riverside") && !text.contains("canary"),
                    "{text}"
                );
                assert!(browser.cookie("CLINICSESSID").is_none());
            }
        }
    }
    assert!(house.reached().is_empty());
}

// Cookies in chunks with a crafted count crashed the process or took its memory.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_24814_cve_2023_28625_and_cve_2026_40303_chunked_cookies_are_only_cookies() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let good = browser.cookie_field(&house.authority());
    let before = house.reached().len();
    let many = |count: usize| -> String {
        let chunk = |n| format!("__Host-chartgate_{n}=x; ");
        format!(
            "Cookie: {}a=b\r\n",
            (0..count).map(chunk).collect::<String>()
        )
    };
    for fields in [
        "Cookie: __Host-chartgate_chunks=99999999999\r\n".to_owned(),
        "Cookie: __Host-chartgate_chunks=-1; __Host-chartgate_0=\r\n".to_owned(),
        "Cookie: __Host-chartgate=18446744073709551615|x\r\n".to_owned(),
        "Cookie:\r\n".to_owned(),
        "Cookie: ;;;;=;=;\r\n".to_owned(),
        format!("Cookie: __Host-chartgate={}\r\n", "A".repeat(20_000)),
        format!("Cookie: __Host-chartgate={}\r\n", "A".repeat(100_000)),
        many(500),
        many(5_000),
        "Cookie: __Host-chartgate=A\r\n".repeat(50),
        "Cookie: a=b\r\n".repeat(500),
    ] {
        let answer = house.raw(b"GET /echo HTTP/1.1", &fields).await;
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, None | Some(401 | 431)), "{status:?}");
    }
    assert_eq!(house.reached().len(), before);
    assert_eq!(
        house
            .raw(b"GET /echo HTTP/1.1", &good)
            .await
            .unwrap()
            .status,
        200
    );
}

// Tokens without signature, of another client, and callbacks with two states or codes were believed.
#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc_2_4_20_no_bad_token_gives_a_session() {
    let house = House::open_unlimited().await;
    // An `auth_time` of zero is a matter of freshness, not of who signed in.
    let forged = Misbehave::BAD_TOKENS.into_iter();
    for how in forged.filter(|how| *how != Misbehave::AuthTimeZero) {
        let mut browser = house.browser();
        house.clinic.issuer().misbehave(how);
        let callback = callback_of(&house, &mut browser, "dr.okafor").await;
        let page = browser.get(&callback).await;
        let told = (page.status.as_u16(), page.refusal());
        assert_eq!(told, (403, Some("CG-2004")), "{how:?}");
        assert!(!has_session(&browser), "{how:?}");
    }
    assert!(house.reached().is_empty());
}

// With two states or codes, which one counted was up to whoever read them.
#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc_2_4_20_a_callback_says_everything_once() {
    let house = House::open_unlimited().await;
    for (extra, code) in [
        ("&code=x", "CG-2004"),
        ("&state=x", "CG-2004"),
        ("&iss=https://evil.example", "CG-2004"),
        ("&error=", "CG-2012"),
    ] {
        let mut browser = house.browser();
        let callback = callback_of(&house, &mut browser, "dr.okafor").await;
        let page = browser.get(&format!("{callback}{extra}")).await;
        assert_eq!(page.refusal(), Some(code), "{extra}");
        assert!(!has_session(&browser), "{extra}");
    }
    // Used once, and in the browser that it was started in.
    let mut browser = house.browser();
    let callback = callback_of(&house, &mut browser, "dr.okafor").await;
    let mut other = house.browser();
    assert_eq!(other.get(&callback).await.refusal(), Some("CG-2005"));
    assert_eq!(browser.get(&callback).await.status, 303);
    let first = browser.cookie("__Host-chartgate").unwrap().to_owned();
    browser
        .cookies
        .retain(|(_, name), _| name != "__Host-chartgate");
    assert_eq!(browser.get(&callback).await.refusal(), Some("CG-2005"));
    assert!(!has_session(&browser) && !first.is_empty());
}

// Cookies and authorization were sent along to the service that renders error pages.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_41181_an_error_page_takes_no_second_call_and_no_gateway_cookie() {
    let house = House::open_unlimited().await;
    let mut browser = house.signed_in("dr.okafor").await;
    let session = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let before = house.reached().len();
    let page = browser.get(&house.url("/error")).await;
    assert_eq!(
        (page.status.as_u16(), page.refusal()),
        (502, Some("CG-5005"))
    );
    assert_eq!(house.reached().split_off(before), ["GET /error"]);
    for request in house.clinic.received().requests() {
        let fields = format!("{:?}", request.headers());
        assert!(!fields.contains(&session) && !fields.contains("__Host-chartgate"));
        assert!(!request.headers().contains_key("authorization"));
    }
}

// What a configured secret, key or policy could not be read from was left out, and the rest started.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_27586_and_cve_2026_54762_nothing_starts_without_what_it_refers_to() {
    type Break = fn(&mut chartgate::config::Config);
    let breaks: [Break; 7] = [
        |c| c.audit.master_key = "/nowhere/master.key".into(),
        |c| c.audit.signing_key = "/nowhere/signing.key".into(),
        |c| c.store.key = "/nowhere/store.key".into(),
        |c| c.policy.directory = "/nowhere/policies".into(),
        |c| c.certificates[0].key = "/nowhere/server.key".into(),
        |c| c.emrs[0].profile = "/nowhere/profile.toml".into(),
        |c| c.emrs[0].identity.assertion.as_mut().unwrap().key = "/nowhere/key.pem".into(),
    ];
    for (index, broken) in breaks.into_iter().enumerate() {
        let started = House::try_open(SystemClock::shared(), move |config| {
            without_limits(config);
            broken(config);
        })
        .await;
        assert!(started.is_err(), "break {index}");
    }
}
