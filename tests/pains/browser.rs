//! Sign-in as browsers live it: tabs, cookies, scripts, circles, links from mails.

use std::sync::Arc;
use std::time::Duration;

use chartgate::clock::{ManualClock, SystemClock};
use chartgate::demo::issuer::Misbehave;
use http::header::{COOKIE, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use crate::harness::{Browser, House, Page, person, without_limits};

const SESSION: &str = "__Host-chartgate";
const LOGIN: &str = "__Host-chartgate-login";

/// Where the provider is asked, for a browser without a session that opens `path`.
async fn asked(house: &House, browser: &mut Browser, path: &str) -> String {
    let page = browser.get(&house.url(path)).await;
    let page = browser.get(onward(&page).as_str()).await;
    onward(&page)
}

fn onward(page: &Page) -> String {
    let location = page.headers.get(LOCATION);
    let location = location.unwrap_or_else(|| panic!("{} {}", page.url, page.text()));
    page.url.join(location.to_str().unwrap()).unwrap().into()
}

/// Takes cookies of the gateway out of a browser.
fn without(browser: &mut Browser, names: &[&str]) {
    browser
        .cookies
        .retain(|(_, name), _| !names.contains(&name.as_str()));
}

/// Follows redirects in a browser that keeps none of `dropped`, as far as they go.
async fn wander(browser: &mut Browser, url: &str, dropped: &[&str]) -> Page {
    let mut page = browser.get(url).await;
    for _ in 0..30 {
        without(browser, dropped);
        if !page.status.is_redirection() {
            return page;
        }
        page = browser.get(&onward(&page)).await;
    }
    panic!("redirected for ever");
}

/// A browser whose user is known to the provider and not to the gateway, as after a restart of the browser.
async fn restarted(house: &House) -> Browser {
    let mut browser = house.signed_in("dr.okafor").await;
    without(&mut browser, &[SESSION, LOGIN]);
    browser
}

/// oauth2-proxy#611, #817, #3258.
#[tokio::test(flavor = "multi_thread")]
async fn pain_01_second_tab_s_sign_in_leaves_the_first_alone() {
    let house = House::open_with(without_limits).await;
    let mut browser = house.browser();
    let first = asked(&house, &mut browser, "/echo?tab=1").await;
    let mut browser = house.at_work_in(browser, "dr.okafor").await;
    house.select(&mut browser, "4").await;
    // The tab that was left open at the provider comes back: to its page, and the EMR's session goes on.
    let page = browser.visit(&first).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(page.url.query(), Some("tab=1"));
    let chart = browser.get(&house.url("/chart")).await;
    assert_eq!(chart.status, StatusCode::OK, "{}", chart.text());
    // Its callback once more leads to the page once more.
    let mut other = browser.clone();
    without(&mut other, &[SESSION]);
    let ways = asked(&house, &mut other, "/echo?tab=2").await;
    let callback = onward(&other.get(&ways).await);
    let once = other.visit(&callback).await;
    let again = other.visit(&callback).await;
    assert_eq!(once.url.query(), Some("tab=2"));
    assert_eq!(again.url.query(), Some("tab=2"), "{}", again.text());
}

/// oauth2-proxy#2163: one cookie for each attempt ends in 431.
#[tokio::test(flavor = "multi_thread")]
async fn pain_02_cookies_are_two_however_many_attempts_there_are() {
    let house = House::open_with(without_limits).await;
    let mut browser = house.browser();
    for tab in 0..30 {
        asked(&house, &mut browser, &format!("/echo?tab={tab}")).await;
    }
    house
        .sign_in(&mut browser, "dr.okafor", &house.url("/echo"))
        .await;
    let own: Vec<_> = browser
        .cookies
        .iter()
        .filter(|((host, name), _)| *host == house.authority() && name.starts_with("__Host-"))
        .collect();
    assert!(own.len() <= 2, "{own:?}");
    let size: usize = own
        .iter()
        .map(|((_, name), value)| name.len() + value.len() + 3)
        .sum();
    assert!(size <= 160, "{size} bytes");
}

/// oauth2-proxy#644, #659, #1902: the session cookie grows with the user's groups.
#[tokio::test(flavor = "multi_thread")]
async fn pain_03_four_hundred_groups_make_no_larger_cookie() {
    let house = House::open_with(without_limits).await;
    let doctor = person("dr.okafor");
    let own = doctor.groups().iter().cloned();
    let more =
        (0..400).map(|number| format!("CN=group-{number},OU=departments,DC=hospital,DC=example"));
    let claims = serde_json::json!({ "groups": own.chain(more).collect::<Vec<_>>() });
    house
        .clinic
        .issuer()
        .misbehave(Misbehave::Claims(claims.to_string().leak()));
    let browser = house.signed_in("dr.okafor").await;
    assert_eq!(browser.cookie(SESSION).map(str::len), Some(43));
}

/// oauth2-proxy#644: cookies of the gateway reach the back end and overflow it.
#[tokio::test(flavor = "multi_thread")]
async fn pain_04_no_cookie_of_the_gateway_reaches_the_emr() {
    let house = House::open_with(without_limits).await;
    let mut browser = house.at_work("dr.okafor").await;
    browser.get(&house.url("/echo")).await;
    let requests = house.clinic.received().requests();
    assert!(!requests.is_empty());
    for request in requests {
        for value in request.headers().get_all(COOKIE) {
            let value = String::from_utf8_lossy(value.as_bytes()).to_lowercase();
            assert!(!value.contains("__host-chartgate"), "{value}");
        }
    }
}

/// oauth2-proxy#1522, `mod_auth_openidc#220`: a script gets a redirect and a CORS error.
#[tokio::test(flavor = "multi_thread")]
async fn pain_07_a_script_is_told_and_not_redirected() {
    let house = House::open().await;
    let mut browser = house.browser();
    browser.scripted = true;
    let mut headers = HeaderMap::new();
    headers.insert("referer", house.url("/chart?tab=notes").parse().unwrap());
    let page = browser
        .send(Method::GET, &house.url("/api/results"), None, headers)
        .await;
    assert_eq!(
        (page.status.as_u16(), page.refusal()),
        (401, Some("CG-2001"))
    );
    assert_eq!(
        page.header("content-type"),
        Some("application/problem+json")
    );
    assert!(page.headers.get(LOCATION).is_none());
    assert_eq!(
        page.header("www-authenticate"),
        Some("Chartgate realm=\"EMR\"")
    );
    let login = page.json()["login"].as_str().unwrap().to_owned();
    assert_eq!(login, "/.chartgate/login?return_to=%2Fchart%3Ftab%3Dnotes");
}

/// oauth2-proxy#2725, authentik#14440: no step-up by route.
#[tokio::test(flavor = "multi_thread")]
async fn pain_14_one_page_asks_for_a_fresh_sign_in_and_comes_back() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), without_limits)
        .await
        .unwrap();
    let mut archivist = house.at_work("him.doyle").await;
    let export = house.url("/patients/4/export.csv");
    assert_eq!(archivist.get(&export).await.status, StatusCode::OK);
    clock.advance(Duration::from_secs(301));
    assert_eq!(
        archivist.get(&house.url("/echo")).await.status,
        StatusCode::OK
    );
    let told = {
        archivist.scripted = true;
        let told = archivist.get(&export).await;
        archivist.scripted = false;
        told
    };
    let challenge = told.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.contains("insufficient_user_authentication"),
        "{challenge}"
    );
    assert!(challenge.contains("max_age=\"300\""), "{challenge}");
    let page = archivist.get(&export).await;
    let hint = "step_up=1&max_age=300";
    assert!(
        page.header("location").unwrap().ends_with(hint),
        "{:?}",
        page.headers
    );
}

/// authentik#5674, #6883, #26076: redirected for ever.
#[tokio::test(flavor = "multi_thread")]
async fn pain_20_a_browser_that_drops_the_session_is_told_at_the_third_time() {
    let house = House::open_with(without_limits).await;
    let mut browser = restarted(&house).await;
    let page = wander(&mut browser, &house.url("/echo"), &[SESSION]).await;
    assert_eq!(page.refusal(), Some("CG-2021"), "{}", page.text());
    let text = page.text();
    assert!(
        text.contains("keeps no cookies") && text.contains("clock"),
        "{text}"
    );
    let cleared = page.headers.get_all("set-cookie").iter().count();
    assert_eq!(cleared, 2, "both cookies are cleared");
    assert!(text.contains("again=1\">Try again"), "{text}");
    let again = house.url("/.chartgate/login?return_to=/echo&again=1");
    let page = browser.visit(&again).await;
    assert_eq!(
        (page.status, page.url.path()),
        (StatusCode::OK, "/echo"),
        "{}",
        page.text()
    );
}

/// The same in a browser that keeps nothing of the gateway's at all.
#[tokio::test(flavor = "multi_thread")]
async fn pain_20_a_browser_without_cookies_is_told_at_the_third_time() {
    let house = House::open_with(without_limits).await;
    let mut browser = restarted(&house).await;
    let mut other = restarted(&house).await;
    for time in 0..3 {
        let page = wander(&mut browser, &house.url("/echo"), &[SESSION, LOGIN]).await;
        let code = if time < 2 { "CG-2005" } else { "CG-2021" };
        assert_eq!(page.refusal(), Some(code), "{time} {}", page.text());
    }
    // Who is taken for that browser, by the same address and `User-Agent`, gets on by the link of the page.
    let refused = other.visit(&house.url("/echo")).await;
    assert_eq!(refused.refusal(), Some("CG-2021"), "{}", refused.text());
    let page = other
        .visit(&house.url("/.chartgate/login?return_to=/echo&again=1"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
}

/// Twenty tabs of a restored window are no circle, and each arrives at its page.
#[tokio::test(flavor = "multi_thread")]
async fn pain_20_a_restored_window_of_twenty_tabs_is_no_circle() {
    let house = House::open_with(without_limits).await;
    let mut jar = restarted(&house).await;
    let before = jar.clone();
    let mut tabs = Vec::new();
    for tab in 0..20 {
        let mut fresh = before.clone();
        let way = asked(&house, &mut fresh, &format!("/echo?tab={tab}")).await;
        jar.cookies.extend(fresh.cookies);
        tabs.push(way);
    }
    // All come back before any of them has a session.
    let mut answers = Vec::new();
    let waiting = jar.clone();
    for way in &tabs {
        let mut tab = waiting.clone();
        let callback = onward(&tab.get(way).await);
        answers.push(tab.get(&callback).await);
        jar.cookies.extend(tab.cookies);
    }
    for (tab, answer) in answers.into_iter().enumerate() {
        let page = jar.follow(answer).await;
        assert_eq!(page.status, StatusCode::OK, "{tab} {}", page.text());
        assert_eq!(page.url.query(), Some(format!("tab={tab}").as_str()));
    }
}

/// envoy#38919, #33943, #42968: a stale cookie poisons the session for ever.
#[tokio::test(flavor = "multi_thread")]
async fn pain_21_a_bad_cookie_costs_one_sign_in_and_no_more() {
    let house = House::open_with(without_limits).await;
    let mut browser = restarted(&house).await;
    let (unknown, large) = ("A".repeat(43), "x".repeat(4_000));
    for bad in [
        format!("{SESSION}="),
        format!("{SESSION}=\"\""),
        format!("{SESSION}={unknown}"),
        format!("{SESSION}={unknown}; {SESSION}={unknown}"),
        format!("{SESSION}={large}"),
        format!("{SESSION}=%00; {LOGIN}=%00"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, bad.parse().unwrap());
        let url = house.url("/echo");
        let page = browser.send(Method::GET, &url, None, headers).await;
        assert_eq!(page.refusal(), Some("CG-2013"), "{bad:.80}");
        let cleared = page.header("set-cookie").unwrap();
        assert!(cleared.starts_with("__Host-chartgate=;") && cleared.ends_with("Max-Age=0"));
        let page = browser.follow(page).await;
        assert_eq!(
            (page.status, page.url.path()),
            (StatusCode::OK, "/echo"),
            "{bad:.80}"
        );
        let out = house.url("/.chartgate/logout");
        let mut fetch = HeaderMap::new();
        fetch.insert("sec-fetch-site", "same-origin".parse().unwrap());
        browser.send(Method::POST, &out, None, fetch).await;
    }
}

/// teleport#4559, #20996: a link from a mail, opened too late, ends on "Forbidden".
#[tokio::test(flavor = "multi_thread")]
async fn pain_24_an_expired_sign_in_still_leads_to_the_page_asked_for() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), without_limits)
        .await
        .unwrap();
    let mut browser = restarted(&house).await;
    let way = asked(&house, &mut browser, "/echo?from=mail&n=7").await;
    let callback = onward(&browser.get(&way).await);
    clock.advance(Duration::from_mins(11));
    let page = browser.get(&callback).await;
    assert_eq!(page.refusal(), Some("CG-2005"));
    let text = page.text();
    assert!(
        text.contains("href=\"/echo?from=mail&#38;n=7\">Start again"),
        "{text}"
    );
    let page = browser.visit(&house.url("/echo?from=mail&n=7")).await;
    assert_eq!(page.url.query(), Some("from=mail&n=7"), "{}", page.text());
    assert_eq!(page.status, StatusCode::OK);
}
