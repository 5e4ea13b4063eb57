//! Tokens and signed parameters: where one was believed that should not be, or shown to whom it was not meant for.

use chartgate::demo::issuer::Misbehave;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use url::Url;

use super::credentials::{callback_of, has_session};
use crate::harness::{Browser, House, Page, echoed, person};

/// `text` with one bit of its character at `at` turned, or nothing where that leaves the alphabet of tokens.
fn flipped(text: &str, at: usize) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= 1;
    let fits = bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'-' | b'_');
    fits.then(|| String::from_utf8(bytes).unwrap())
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap().1.into_owned()
}

// The signature of a redirect back from the sign-in was not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_29652_a_callback_with_one_bit_changed_is_refused() {
    let house = House::open_unlimited().await;
    let mut browser = house.browser();
    let callback = callback_of(&house, &mut browser, "dr.okafor").await;
    let login = (
        "__Host-chartgate-login",
        browser.cookie("__Host-chartgate-login").unwrap().to_owned(),
    );
    let (state, code) = (parameter(&callback, "state"), parameter(&callback, "code"));
    let mut tried = 0;
    for at in 0..state.len().max(login.1.len()) {
        let mut attempts = Vec::new();
        if at < state.len()
            && let Some(state_changed) = flipped(&state, at)
        {
            attempts.push((callback.replace(&state, &state_changed), login.1.clone()));
        }
        if at < login.1.len()
            && let Some(changed) = flipped(&login.1, at)
        {
            attempts.push((callback.clone(), changed));
        }
        for (url, cookie) in attempts {
            let mut other = browser.clone();
            for ((_, name), value) in &mut other.cookies {
                if name == login.0 {
                    value.clone_from(&cookie);
                }
            }
            let page = other.get(&url).await;
            assert!(page.refusal().is_some(), "{at}: {}", page.status);
            assert!(!has_session(&other), "{at}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    let changed = (0..code.len()).find_map(|at| flipped(&code, at)).unwrap();
    let mut other = browser.clone();
    let page = other.get(&callback.replace(&code, &changed)).await;
    assert!(page.refusal().is_some() && !has_session(&other));
    assert!(house.reached().is_empty());
}

fn without_cookies(page: &Page) -> String {
    let mut text = page.text();
    for (name, value) in &page.headers {
        if name != "set-cookie" {
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
    }
    text
}

/// Signs out, and returns the ID token that the browser carries to the provider.
async fn sign_out(house: &House, browser: &mut Browser) -> (Page, String) {
    let page = browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    let token = parameter(page.header("location").unwrap(), "id_token_hint");
    (page, token)
}

// The page that tells users about themselves showed the tokens that the gateway holds for them.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_39315_no_page_of_the_gateway_shows_a_token() {
    let house = House::open_unlimited().await;
    let mut browser = house.at_work("dr.okafor").await;
    let mut pages = Vec::new();
    for scripted in [false, true] {
        browser.scripted = scripted;
        for path in [
            "/.chartgate/jwks.json",
            "/.chartgate/login",
            "/.chartgate/signed-out",
            "/.chartgate/userinfo",
            "/.chartgate/session",
            "/.chartgate/callback?state=x&code=y",
            "/.chartgate/nowhere",
            "/no/such/page",
            "/admin/audit",
            "/error",
        ] {
            pages.push((path, browser.clone().get(&house.url(path)).await));
        }
    }
    let secret = house.data_dir().join("secrets/client_secret");
    let emr_session = browser.cookie("CLINICSESSID").unwrap().to_owned();
    let session = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let echo = browser.get(&house.url("/echo")).await.json();
    let assertion = echoed(&echo, "x-chartgate-assertion")[0].to_owned();
    let (_, id_token) = sign_out(&house, &mut browser).await;
    let canaries = [
        std::fs::read_to_string(secret).unwrap().trim().to_owned(),
        person("dr.okafor").password().to_owned(),
        emr_session,
        session,
        id_token.rsplit('.').next().unwrap().to_owned(),
        assertion.rsplit('.').next().unwrap().to_owned(),
    ];
    for canary in &canaries {
        assert!(canary.len() > 8);
        for (path, page) in &pages {
            assert!(!without_cookies(page).contains(canary), "{path}");
        }
    }
    let (_, keys) = &pages[0];
    for key in keys.json()["keys"].as_array().unwrap() {
        assert!(key.get("d").is_none() && key.get("k").is_none(), "{key}");
    }
}

// A token made for services opened the interface between the proxy's own parts.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_47616_no_token_opens_what_it_was_not_made_for() {
    let house = House::open_unlimited().await;
    let mut browser = house.at_work("nurse.lind").await;
    let echo = browser.get(&house.url("/echo")).await.json();
    let assertion = echoed(&echo, "x-chartgate-assertion")[0].to_owned();
    let session = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let emr_session = browser.cookie("CLINICSESSID").unwrap().to_owned();
    let mut started = house.browser();
    started.get(&house.url("/.chartgate/login")).await;
    let login = started.cookie("__Host-chartgate-login").unwrap().to_owned();
    let (_, id_token) = sign_out(&house, &mut house.at_work("nurse.lind").await).await;
    let secret = std::fs::read_to_string(house.data_dir().join("secrets/client_secret")).unwrap();
    let before = house.reached().len();
    for (kind, token) in [
        ("assertion", assertion.as_str()),
        ("EMR session", &emr_session),
        ("sign-in in progress", &login),
        ("ID token", &id_token),
        ("client secret", secret.trim()),
        ("session", &session),
    ] {
        let mut nobody = house.browser();
        if kind != "session" {
            let mut fields = HeaderMap::new();
            fields.insert(COOKIE, format!("__Host-chartgate={token}").parse().unwrap());
            let page = nobody
                .send(Method::GET, &house.url("/echo"), None, fields)
                .await;
            assert_eq!(page.refusal(), Some("CG-2013"), "{kind} as a session");
        }
        for scheme in ["Bearer", "DPoP", "Basic"] {
            let mut fields = HeaderMap::new();
            fields.insert(AUTHORIZATION, format!("{scheme} {token}").parse().unwrap());
            let page = nobody
                .send(Method::GET, &house.url("/echo"), None, fields)
                .await;
            assert_eq!(page.refusal(), Some("CG-2001"), "{kind} as {scheme}");
        }
        let notice = [("logout_token", token)];
        let page = nobody
            .post_form(&house.url("/.chartgate/backchannel-logout"), &notice)
            .await;
        assert_eq!(
            page.refusal(),
            Some("CG-2010"),
            "{kind} as a sign-out notice"
        );
        for query in [
            format!("state={token}&code=x"),
            format!("state=x&code={token}"),
        ] {
            let url = house.url(&format!("/.chartgate/callback?{query}"));
            let page = nobody.get(&url).await;
            assert!(page.refusal().is_some(), "{kind} as {query}");
            assert!(!has_session(&nobody));
        }
        // Behind the listener for probes there is nothing to open.
        if let Some(admin) = &house.clinic.facts().admin {
            for path in ["/echo", "/.chartgate/login", "/sessions", "/policies"] {
                let mut fields = HeaderMap::new();
                fields.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
                let url = format!("{admin}{path}");
                let page = nobody.send(Method::GET, &url, None, fields).await;
                assert_eq!(page.status, 404, "{kind} at {path}");
            }
        }
    }
    assert_eq!(house.reached().len(), before);
    let page = browser.get(&house.url("/echo")).await;
    assert_eq!(page.status, 200, "and none of it ended her session");
}

fn notice(house: &House, subject: &str, id: &str) -> Value {
    let now = chartgate::clock::SystemClock::shared().now().as_second();
    json!({
        "iss": house.clinic.facts().issuer,
        "aud": house.clinic.config().identity.issuers[0].client_id,
        "sub": subject,
        "iat": now,
        "exp": now + 120,
        "jti": id,
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    })
}

async fn give(house: &House, token: &str) -> Option<String> {
    let notice = [("logout_token", token)];
    let page = house
        .browser()
        .post_form(&house.url("/.chartgate/backchannel-logout"), &notice)
        .await;
    assert_eq!(
        page.status == 200 || page.status == 204,
        page.refusal().is_none()
    );
    page.refusal().map(str::to_owned)
}

// A sign-out notice could be used again, and had neither a time nor a name to tell by.
#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc_2_4_20_a_sign_out_notice_counts_once() {
    let house = House::open_unlimited().await;
    let issuer = house.clinic.issuer();
    let subject = person("nurse.lind").subject().clone();
    let mut browser = house.signed_in("nurse.lind").await;
    for missing in ["jti", "iat", "exp", "events", "aud", "iss"] {
        let mut claims = notice(&house, &subject, "incomplete");
        claims.as_object_mut().unwrap().remove(missing);
        let token = issuer.sign("logout+jwt", &claims).unwrap();
        assert_eq!(
            give(&house, &token).await.as_deref(),
            Some("CG-2010"),
            "{missing}"
        );
    }
    let mut both = notice(&house, &subject, "both");
    both["nonce"] = json!("n");
    let token = issuer.sign("logout+jwt", &both).unwrap();
    assert_eq!(give(&house, &token).await.as_deref(), Some("CG-2010"));
    assert_eq!(browser.get(&house.url("/echo")).await.status, 200);

    let token = issuer
        .sign("logout+jwt", &notice(&house, &subject, "once"))
        .unwrap();
    assert_eq!(give(&house, &token).await, None);
    assert!(browser.get(&house.url("/echo")).await.refusal().is_some());
    // She is back; whoever kept the notice cannot send her away with it.
    let mut browser = house.signed_in("nurse.lind").await;
    assert_eq!(give(&house, &token).await.as_deref(), Some("CG-2010"));
    assert_eq!(browser.get(&house.url("/echo")).await.status, 200);
}

// The session kept the name that it had before the sign-in, which somebody else could have chosen.
#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc_2_4_20_a_sign_in_gives_a_new_session() {
    let house = House::open_unlimited().await;
    let attacker = house.signed_in("nurse.lind").await;
    let planted = attacker.cookie("__Host-chartgate").unwrap().to_owned();
    // The cookie of the attacker's own session was put into the browser in which somebody signs in.
    let mut victim = house.browser();
    let callback = callback_of(&house, &mut victim, "dr.okafor").await;
    let at = (house.authority(), "__Host-chartgate".to_owned());
    victim.cookies.insert(at.clone(), planted.clone());
    let page = victim.get(&callback).await;
    assert_eq!(page.status, 303);
    let own = victim.cookie("__Host-chartgate").unwrap().to_owned();
    assert_ne!(own, planted);
    let echo = victim.get(&house.url("/echo")).await.json();
    assert_eq!(echoed(&echo, "x-remote-user"), ["dr.okafor"]);
    // What the attacker knows is not the victim's session, before or after.
    let mut later = attacker.clone();
    let page = later.get(&house.url("/echo")).await;
    if page.refusal().is_none() {
        assert_eq!(echoed(&page.json(), "x-remote-user"), ["nurse.lind"]);
    }
    // A second sign-in over the session changes the name, too, and the old one is dead.
    let mut again = house.browser();
    let callback = callback_of(&house, &mut again, "dr.okafor").await;
    again.cookies.insert(at.clone(), own.clone());
    assert_eq!(again.get(&callback).await.status, 303);
    assert_ne!(again.cookies.get(&at), Some(&own));
    let page = victim.get(&house.url("/echo")).await;
    assert_eq!(page.refusal(), Some("CG-2013"));
}

// A small encrypted token unfolded to gigabytes.
#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc_2_4_20_an_encrypted_token_is_refused_unopened() {
    let house = House::open_unlimited().await;
    house.clinic.issuer().misbehave(Misbehave::Encrypted);
    let mut browser = house.browser();
    let callback = callback_of(&house, &mut browser, "dr.okafor").await;
    let page = browser.get(&callback).await;
    assert_eq!(
        (page.status.as_u16(), page.refusal()),
        (403, Some("CG-2004"))
    );
    assert!(!has_session(&browser));
    house.clinic.issuer().misbehave(Misbehave::Nothing);
    let part = "A".repeat(40_000);
    for token in [
        format!("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiemlwIjoiREVGIn0..{part}.{part}.AAAA"),
        format!("eyJhbGciOiJkaXIifQ.{part}.{part}.{part}.{part}"),
        format!("eyJhbGciOiJFUzI1NiJ9.{part}.{part}.{part}"),
        ".".repeat(200_000),
    ] {
        assert_eq!(give(&house, &token).await.as_deref(), Some("CG-2010"));
    }
    assert!(house.reached().is_empty());
}
