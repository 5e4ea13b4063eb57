//! Workstations that several people use, and how many sessions one person has where.

use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::config::Config;
use chartgate::config::sessions::{BindTo, SignInNotice, WhenFull};
use chartgate::identity::Criteria;
use chartgate::operate::containment::{Ask, Whose};
use chartgate::request::Event;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use crate::harness::process::chartgate;
use crate::harness::{Browser, House, Page, without_limits};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

/// A clinic all of whose workstations are shared.
pub(crate) async fn shared_house(tune: impl FnOnce(&mut Config) + Send + 'static) -> House {
    House::open_with(|config| {
        without_limits(config);
        let shared = vec!["127.0.0.0/8".parse().unwrap()];
        config.identity.sessions.workstations.shared = shared;
        tune(config);
    })
    .await
}

async fn house(tune: impl FnOnce(&mut Config) + Send + 'static) -> House {
    House::open_with(|config| {
        without_limits(config);
        tune(config);
    })
    .await
}

async fn contain(house: &House, ask: Ask) -> Vec<Value> {
    house.ask(AdminRequest::Contain(ask)).await.unwrap()
}

/// Ends every session that anybody has, one by one.
pub(crate) async fn contain_all(house: &House, reason: &str) {
    let whose = Whose::Where(Criteria {
        emr: Some("clinic".to_owned()),
        ..Criteria::default()
    });
    let reason = reason.to_owned();
    let ended = contain(house, Ask::End { whose, reason }).await;
    assert_ne!(ended[0]["ended"], 0, "{ended:?}");
}

async fn from(browser: &mut Browser, url: &str, address: &str) -> Page {
    let mut extra = HeaderMap::new();
    extra.insert("x-forwarded-for", HeaderValue::from_str(address).unwrap());
    browser.send(Method::GET, url, None, extra).await
}

fn clears(page: &Page) -> bool {
    page.header("clear-site-data") == Some("\"cache\", \"storage\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_users_ends_all_that_belonged_to_the_one_before() {
    let house = shared_house(|_| {}).await;
    let mut browser = house.at_work("nurse.lind").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let before = browser.clone();

    // A link on another site only shows the question.
    let page = browser.get(&house.url("/.chartgate/switch")).await;
    assert_eq!((page.status, clears(&page)), (StatusCode::OK, false));
    assert!(page.text().contains("nurse.lind"), "{}", page.text());
    assert_eq!(
        browser.get(&house.url("/echo")).await.status,
        StatusCode::OK
    );

    let page = browser
        .post_form(&house.url("/.chartgate/switch"), &[])
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(clears(&page), "{:?}", page.headers);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    for cookie in ["__Host-chartgate", "CLINICSESSID"] {
        assert!(browser.cookie(cookie).is_none(), "{cookie}");
    }
    assert!(house.reached().contains(&"GET /logout".to_owned()));
    // The provider's session of the one before ends too, and the next one is asked.
    let page = browser.follow(page).await;
    let issuer = house.clinic.facts().issuer.clone();
    assert!(page.url.as_str().starts_with(&issuer), "{}", page.url);
    let page = house.sign_in_from(&mut browser, "dr.okafor", page).await;
    assert_eq!(
        page.url.path(),
        "/login",
        "the EMR's own sign-in: {}",
        page.url
    );
    let page = browser.get(&house.url("/echo")).await;
    assert!(page.text().contains("dr.okafor"), "{}", page.text());

    // Whoever kept the old cookies gets nothing with them.
    let mut old = before.clone();
    let page = old.get(&house.url("/chart")).await;
    assert_eq!(page.refusal(), Some("CG-2013"));
    // Nor does the next person with the EMR's cookie of the one before.
    let authority = house.authority();
    let stolen = before.cookie("CLINICSESSID").unwrap().to_owned();
    browser
        .cookies
        .insert((authority, "CLINICSESSID".to_owned()), stolen);
    let page = browser.get(&house.url("/chart")).await;
    assert_ne!(page.status, StatusCode::OK);
    let left = house.particulars(Event::Logout);
    assert_eq!(left[0].get("for").map(String::as_str), Some("switch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_the_provider_signs_the_same_person_in_again() {
    let house = house(|_| {}).await;
    let mut browser = house.at_work("nurse.lind").await;
    contain_all(&house, "a drill").await;
    let page = browser.visit(&house.url("/echo")).await;
    assert_eq!(page.status, StatusCode::OK, "single sign-on: {}", page.url);
    assert!(page.text().contains("nurse.lind"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_shared_workstation_nothing_is_kept_and_pages_say_who_is_signed_in() {
    let house = shared_house(|_| {}).await;
    let mut browser = house.at_work("nurse.lind").await;
    for path in ["/", "/static/clinic.css", "/patients/search", "/login"] {
        let page = browser.get(&house.url(path)).await;
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        let vary = page.header("vary").unwrap().to_ascii_lowercase();
        assert!(vary.contains("cookie"), "{path}: {vary}");
    }
    let page = browser.get(&house.url("/")).await;
    let bar = "nurse.lind is signed in here. <a href=\"/.chartgate/switch\"";
    assert!(page.text().contains(bar), "{}", page.text());
    let mut script = browser.clone();
    script.scripted = true;
    let page = script.get(&house.url("/")).await;
    assert!(!page.text().contains("chartgate/switch"));
    let sessions = contain(&house, Ask::Sessions { user: None }).await;
    assert_eq!(sessions[0]["shared"], true, "{sessions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_outlasts_its_session_is_withheld() {
    let house = house(|_| {}).await;
    let mut browser = house.at_work("nurse.lind").await;
    let mut slow = browser.clone();
    slow.scripted = true;
    let url = house.url("/slow?ms=1500");
    let late = tokio::spawn(async move { slow.get(&url).await });
    let target = "GET /slow?ms=1500".to_owned();
    while !house.reached().contains(&target) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    let page = late.await.unwrap();
    assert_eq!(page.refusal(), Some("CG-2002"), "{}", page.text());
    // It takes away nothing of whoever is signed in now.
    assert_eq!(page.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_user_are_limited() {
    let house = house(|config| {
        config.identity.sessions.per_user = 1;
        config.identity.sessions.sign_in_notice = SignInNotice::On;
    })
    .await;
    let mut first = house.signed_in("nurse.lind").await;
    let mut second = house.browser();
    let page = house
        .sign_in(&mut second, "nurse.lind", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2026"), "{}", page.text());
    assert!(second.cookie("__Host-chartgate").is_none());
    assert_eq!(first.get(&house.url("/echo")).await.status, StatusCode::OK);
    let refused = house.trail().into_iter();
    let refused = refused
        .filter(|entry| entry.refusal.as_deref() == Some("CG-2026"))
        .map(|entry| entry.facts.unwrap().principal.unwrap().display().to_owned());
    assert_eq!(refused.collect::<Vec<_>>(), ["nurse.lind"]);
    // Others have sessions of their own.
    house.signed_in("dr.okafor").await;

    first.post_form(&house.url("/.chartgate/logout"), &[]).await;
    let mut third = house.browser();
    let page = house
        .sign_in(&mut third, "nurse.lind", &house.url("/login"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    // AC-9: when she was here last, and that somebody was turned away since.
    let text = page.text();
    assert!(
        text.contains("Last sign-in:") && text.contains("127.0.0.1"),
        "{text}"
    );
    assert!(text.contains("One attempt failed since."), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_can_make_room() {
    let house = house(|config| {
        config.identity.sessions.per_user = 2;
        config.identity.sessions.when_full = WhenFull::EndOldest;
    })
    .await;
    let mut first = house.signed_in("nurse.lind").await;
    let mut second = house.signed_in("nurse.lind").await;
    let mut third = house.signed_in("nurse.lind").await;
    let page = first.get(&house.url("/echo")).await;
    assert_eq!(page.refusal(), Some("CG-2013"));
    for browser in [&mut second, &mut third] {
        assert_eq!(
            browser.get(&house.url("/echo")).await.status,
            StatusCode::OK
        );
    }
    let ended: Vec<_> = house
        .particulars(Event::Login)
        .into_iter()
        .filter_map(|detail| detail.get("ended").cloned())
        .collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_wanders_has_to_be_confirmed() {
    let house = house(|config| {
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.identity.sessions.binding.on = vec![BindTo::UserAgent, BindTo::Network];
    })
    .await;
    let mut browser = house.browser();
    browser.agent = Some(CHROME);
    house
        .sign_in(&mut browser, "nurse.lind", &house.url("/echo"))
        .await;
    let url = house.url("/echo");
    assert_eq!(browser.get(&url).await.status, StatusCode::OK);
    // The neighbour in the same network is no change, another network is.
    assert_eq!(
        from(&mut browser, &url, "127.0.0.77").await.status,
        StatusCode::OK
    );
    let mut script = browser.clone();
    script.scripted = true;
    let page = from(&mut script, &url, "10.9.9.9").await;
    assert_eq!(page.refusal(), Some("CG-2027"));
    let challenge = page.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_user_authentication"));
    assert_eq!(
        browser.get(&url).await.status,
        StatusCode::OK,
        "it goes on at home"
    );

    // The cookie in another browser: the same person confirms, and goes on with the same session.
    browser.agent = Some(FIREFOX);
    let page = browser.get(&url).await;
    assert_eq!(page.refusal(), Some("CG-2027"));
    let to = page.header("location").unwrap();
    assert!(to.contains("step_up=1"), "{to}");
    let page = browser.follow(page).await;
    let page = house.sign_in_from(&mut browser, "nurse.lind", page).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(page.url.path(), "/echo");
    let entries = house.trail();
    let session_at = |event| {
        let entry = entries.iter().find(|entry| entry.event == Some(event));
        entry.unwrap().facts.as_ref().unwrap().session.clone()
    };
    assert_eq!(session_at(Event::Login), session_at(Event::StepUp));
    let confirmed = house.particulars(Event::StepUp);
    assert_eq!(confirmed[0]["rebound"], "user-agent");
    browser.agent = Some(CHROME);
    assert_eq!(browser.get(&url).await.refusal(), Some("CG-2027"));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_where_they_are_signed_in_and_end_what_they_do_not_know() {
    let house = house(|_| {}).await;
    let mut one = house.browser();
    one.agent = Some(CHROME);
    house
        .sign_in(&mut one, "nurse.lind", &house.url("/echo"))
        .await;
    let mut other = house.browser();
    other.agent = Some(FIREFOX);
    house
        .sign_in(&mut other, "nurse.lind", &house.url("/echo"))
        .await;
    let mut physician = house.signed_in("dr.okafor").await;
    let list = house.url("/.chartgate/sessions");
    let text = one.get(&list).await.text();
    assert!(
        text.contains("Chrome on Windows</strong> (this browser)"),
        "{text}"
    );
    assert!(text.contains("Firefox on Linux"), "{text}");
    assert!(
        text.contains("You had not signed in here before."),
        "{text}"
    );
    // Nobody ends a session of somebody else, or their own by accident.
    let ids: Vec<String> = contain(&house, Ask::Sessions { user: None })
        .await
        .into_iter()
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect();
    for id in &ids {
        physician.post_form(&list, &[("session", id)]).await;
    }
    for browser in [&mut one, &mut other, &mut physician] {
        assert_eq!(
            browser.get(&house.url("/echo")).await.status,
            StatusCode::OK
        );
    }
    let page = one.post_form(&list, &[("others", "1")]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_ne!(other.get(&house.url("/echo")).await.status, StatusCode::OK);
    assert_eq!(one.get(&house.url("/echo")).await.status, StatusCode::OK);
    let revoked = house.particulars(Event::SessionRevoked);
    assert_eq!(revoked.len(), 1, "{revoked:?}");
    assert_eq!(
        (&*revoked[0]["by"], &*revoked[0]["name"]),
        ("user", "nurse.lind")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_end_sessions_by_role_address_and_emr() {
    let house = house(|_| {}).await;
    let mut nurse = house.at_work("nurse.lind").await;
    let mut physician = house.at_work("dr.okafor").await;
    let config = house.clinic.facts().config.display().to_string();
    let run = async |more: &[&str]| {
        let arguments = [&["session"], more, &["--config", &config]].concat();
        chartgate(&arguments).await
    };
    let told = run(&["list", "--emr", "clinic", "--address", "127.0.0.0/8"]).await;
    assert_eq!(told.out.lines().count(), 2, "{} {}", told.out, told.err);
    assert!(
        told.out
            .contains("from 127.0.0.1 (unknown device)  at clinic"),
        "{}",
        told.out
    );
    let told = run(&["list", "--role", "nurse"]).await;
    assert!(
        told.out.contains("nurse.lind") && !told.out.contains("okafor"),
        "{}",
        told.out
    );
    assert_eq!(run(&["list", "--address", "10.0.0.1"]).await.out, "");

    // Nobody confirms: nothing ends.
    let why = ["--reason", "ward closed"];
    let told = run(&[&["revoke", "--role", "nurse"][..], &why].concat()).await;
    assert_ne!(told.code, Some(0));
    assert!(
        told.err.contains("This ends 1 sessions of 1 users."),
        "{}",
        told.err
    );
    assert_eq!(nurse.get(&house.url("/echo")).await.status, StatusCode::OK);
    let told = run(&[&["revoke", "--reason"][..], &why[1..]].concat()).await;
    assert_ne!(told.code, Some(0), "nothing is said about which");
    let told = run(&[&["end", "--role", "nurse", "--yes"][..], &why].concat()).await;
    assert_eq!(
        (told.code, &*told.out),
        (Some(0), "sessions ended: 1\n"),
        "{}",
        told.err
    );
    assert_ne!(nurse.get(&house.url("/echo")).await.status, StatusCode::OK);
    assert_eq!(
        physician.get(&house.url("/echo")).await.status,
        StatusCode::OK
    );
    let revoked = house.particulars(Event::SessionRevoked);
    assert_eq!(revoked[0]["where"], "role=nurse");
    let told = run(&[&["revoke", "--address", "127.0.0.1", "--yes"][..], &why].concat()).await;
    assert_eq!(told.out, "sessions ended: 1\n", "{}", told.err);
}
