//! Client hygiene on the full path: browsers, the notice before sign-in, headers, caching and cookies.

use chartgate::audit::entry::{Entry, Phase};
use chartgate::config::client::{Reaction, Readers, SignInBanner};
use chartgate::request::Event;
use http::header::{HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::harness::{Browser, House, Page, hidden};

const CURRENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const OLD: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:78.0) Gecko/20100101 Firefox/78.0";
const EXPLORER: &str = "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko";

async fn open_as(browser: &mut Browser, agent: &'static str, url: &str) -> Page {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    browser.send(Method::GET, url, None, headers).await
}

fn with_detail<'e>(trail: &'e [Entry], event: Event, value: &str) -> Vec<&'e Entry> {
    let is = |entry: &&Entry| {
        entry.event == Some(event) && entry.detail.get("banner").map(String::as_str) == Some(value)
    };
    trail.iter().filter(is).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_browser_is_refused_before_sign_in_and_told_what_would_do() {
    let house = House::open().await;
    let mut stranger = house.browser();
    for (agent, name, recorded) in [
        (OLD, "Firefox 78", "firefox 78"),
        (EXPLORER, "Internet Explorer 11", "internet-explorer 11"),
    ] {
        for path in ["/", "/.chartgate/login", "/.chartgate/nowhere"] {
            let page = open_as(&mut stranger, agent, &house.url(path)).await;
            assert_eq!(page.refusal(), Some("CG-1020"), "{path}");
            assert_eq!(page.status, StatusCode::FORBIDDEN);
            let text = page.text();
            assert!(
                text.contains(name) && text.contains("Firefox 115"),
                "{text}"
            );
        }
        let trail = house.trail();
        let refused = trail.iter().filter(|entry| {
            entry.phase == Phase::Refuse
                && entry.refusal.as_deref() == Some("CG-1020")
                && entry.detail.get("browser").map(String::as_str) == Some(recorded)
        });
        assert_eq!(refused.count(), 3);
    }
    let page = open_as(&mut stranger, CURRENT, &house.url("/")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    // Nobody is kept from signing out.
    let page = open_as(&mut stranger, OLD, &house.url("/.chartgate/signed-out")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(house.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_loads_is_not_judged_and_an_old_browser_can_be_warned_instead() {
    let house = House::open_with(|config| {
        if let Some(browsers) = &mut config.client.browsers {
            browsers.below = Reaction::Warn;
            browsers.unknown = Reaction::Refuse;
            browsers.exempt = vec!["WardKiosk".to_owned()];
        }
    })
    .await;
    let page = house.browser().get(&house.url("/")).await;
    assert_eq!(
        page.refusal(),
        Some("CG-1020"),
        "no User-Agent says nothing"
    );
    assert!(page.text().contains("does not say what it is"));
    let page = open_as(&mut house.browser(), "WardKiosk/1.0", &house.url("/")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let mut script = house.browser();
    script.scripted = true;
    let page = open_as(&mut script, OLD, &house.url("/")).await;
    assert_eq!(page.refusal(), Some("CG-2001"));

    // Signed in with a current browser; the session is then opened in an old one.
    let mut browser = house.browser();
    browser.agent = Some(CURRENT);
    let mut browser = house.at_work_in(browser, "dr.okafor").await;
    let chart = house.url("/patients/select?set_pid=4");
    let page = browser.visit(&chart).await;
    assert!(!page.text().contains("old-browser"), "{}", page.text());
    browser.agent = Some(OLD);
    let page = browser.visit(&chart).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("data-chartgate=\"old-browser\""));
    assert!(
        page.text().contains("Firefox 78 is older"),
        "{}",
        page.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_reads_the_notice_before_each_sign_in_and_a_script_passes_by() {
    let house = House::open().await;
    let banner = house.clinic.stages().identity.banner().unwrap();
    let digest = banner.digest().to_owned();
    let mut browser = house.browser();
    browser.agent = Some(CURRENT);
    let asked = "/echo?from=link&a=%22%3E";
    let first = browser.visit(&house.url(asked)).await;
    assert_eq!(first.status, StatusCode::OK);
    assert!(first.text().contains("Use without authority is prohibited"));
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.header("x-content-type-options"), Some("nosniff"));
    // Under `no-referrer` a browser would send `Origin: null` with the form.
    assert_eq!(first.header("referrer-policy"), Some("same-origin"));
    assert!(
        first
            .header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );
    // The address of the page alone leads nowhere else, however often it is opened.
    let second = browser.visit(&house.url("/echo?tab=2")).await;
    assert_eq!(second.url.path(), "/.chartgate/login");
    assert_ne!(hidden(&first, "ticket"), "");

    // Both tabs go on, the first one first; each comes back to its own page.
    let page = house.sign_in_from(&mut browser, "dr.okafor", first).await;
    assert!(page.url.as_str().ends_with(asked), "{}", page.url);
    let page = acknowledge(&mut browser, &second).await;
    assert_eq!(
        page.header("location"),
        Some("/echo?tab=2"),
        "signed in already"
    );

    let trail = house.trail();
    assert_eq!(with_detail(&trail, Event::PageShown, &digest).len(), 2);
    assert_eq!(with_detail(&trail, Event::LoginStarted, &digest).len(), 1);
    let logins = with_detail(&trail, Event::Login, &digest);
    assert_eq!(logins.len(), 1);
    assert!(logins[0].facts.as_ref().unwrap().principal.is_some());

    house.signed_in("nurse.lind").await;
    let trail = house.trail();
    assert_eq!(with_detail(&trail, Event::Login, "not shown").len(), 1);
}

async fn acknowledge(browser: &mut Browser, page: &Page) -> Page {
    let (return_to, ticket) = (hidden(page, "return_to"), hidden(page, "ticket"));
    let fields = [("return_to", &*return_to), ("ticket", &*ticket)];
    browser.post_form(page.url.as_str(), &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notice_cannot_be_skipped() {
    let house = House::open_with(|config| {
        config.client.sign_in_banner = Some(SignInBanner {
            text: "Only <b>for work</b>.\n\nRecorded.".to_owned(),
            show_to: Readers::Everyone,
        });
    })
    .await;
    let login = house.url("/.chartgate/login");
    let mut browser = house.browser();
    let page = browser.get(&login).await;
    assert!(
        page.text().contains("Only &#60;b&#62;for work"),
        "{}",
        page.text()
    );
    let ticket = hidden(&page, "ticket");
    let mut other = house.browser();
    other.get(&login).await;
    let again = |page: &Page| {
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text().contains("confirmed again"), "{}", page.text());
    };
    // Without a ticket, with one of another browser, or without the cookie that it is bound to.
    again(&browser.post_form(&login, &[("return_to", "/")]).await);
    again(&browser.post_form(&login, &[("ticket", "AAAA")]).await);
    again(&other.post_form(&login, &[("ticket", &ticket)]).await);
    again(
        &house
            .browser()
            .post_form(&login, &[("ticket", &ticket)])
            .await,
    );
    // From another site.
    let mut foreign = HeaderMap::new();
    foreign.insert("origin", HeaderValue::from_static("https://evil.example"));
    let page = browser
        .send(Method::POST, &login, Some("ticket=x".into()), foreign)
        .await;
    assert_eq!(page.refusal(), Some("CG-1012"));
    // Step-up without a session is a sign-in.
    let page = browser.get(&house.url("/.chartgate/login?step_up=1")).await;
    assert!(page.text().contains("Recorded."));
    // Where to return to is not an open redirect.
    let fields = [
        ("ticket", ticket.as_str()),
        ("return_to", "//evil.example/"),
    ];
    let page = browser.post_form(&login, &fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(
        page.header("location")
            .unwrap()
            .starts_with(&house.clinic.facts().issuer)
    );
    let page = house.sign_in_from(&mut browser, "dr.okafor", page).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(
        page.url.as_str().starts_with(&house.url("/")),
        "{}",
        page.url
    );
    // Scripts are told to sign in, and no page.
    let mut script = house.browser();
    script.scripted = true;
    let page = script.get(&house.url("/api/patients/4")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_emr_and_gateway_carry_the_protections_and_charts_are_kept_nowhere() {
    let house = House::open_with(|config| {
        config.server.hsts_max_age = std::time::Duration::from_hours(24);
    })
    .await;
    let mut browser = house.at_work("dr.okafor").await;
    let chart = browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    assert_eq!(chart.status, StatusCode::OK);
    let refused = browser.get(&house.url("/some/new/page.php")).await;
    let own = browser.get(&house.url("/.chartgate/signed-out")).await;
    for page in [&chart, &refused, &own] {
        for (name, value) in [
            ("strict-transport-security", "max-age=86400"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            let all: Vec<_> = page.headers.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name} at {}", page.url);
        }
        for name in [
            "permissions-policy",
            "cross-origin-opener-policy",
            "referrer-policy",
        ] {
            assert!(page.header(name).is_some(), "{name} at {}", page.url);
        }
        let mut policies = page.headers.get_all("content-security-policy").iter();
        assert!(
            policies.any(|policy| policy.to_str().unwrap().contains("frame-ancestors")),
            "{:?}",
            page.headers
        );
        for name in ["server", "x-powered-by"] {
            assert_eq!(page.header(name), None, "{name}");
        }
    }
    assert_eq!(chart.header("x-frame-options"), Some("SAMEORIGIN"));

    // A copy from before is not confirmed: what is about a patient comes anew, and whole.
    let conditions = [
        (http::header::IF_NONE_MATCH, "*"),
        (
            http::header::IF_MODIFIED_SINCE,
            "Fri, 01 Jan 2100 00:00:00 GMT",
        ),
    ];
    let conditions: HeaderMap = conditions
        .into_iter()
        .map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value)))
        .collect();
    let again = browser
        .send(Method::GET, chart.url.as_str(), None, conditions)
        .await;
    assert_eq!(
        (again.status, again.header("cache-control")),
        (StatusCode::OK, Some("no-store"))
    );
    assert!(again.body.len() > 100);

    // Files that are nobody's chart stay as the EMR sends them.
    let sheet = browser.get(&house.url("/static/clinic.css")).await;
    assert_eq!(sheet.status, StatusCode::OK, "{}", sheet.text());
    assert_ne!(sheet.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emr_s_cookies_are_hardened_on_their_way() {
    let house = House::open().await;
    let mut browser = house.signed_in("dr.okafor").await;
    let page = browser
        .post_form(
            &house.url("/login"),
            &[
                ("username", "dr.okafor"),
                ("password", chartgate::demo::clinic::EMR_PASSWORD),
            ],
        )
        .await;
    let cookies: Vec<_> = page.headers.get_all("set-cookie").iter().collect();
    assert!(!cookies.is_empty(), "{:?}", page.headers);
    for cookie in cookies {
        let cookie = cookie.to_str().unwrap();
        for attribute in ["Secure", "HttpOnly", "SameSite"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.to_ascii_lowercase().contains("domain="), "{cookie}");
    }
}
