//! Who acts: header fields by which a client said who it is, or kept the gateway from saying it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, Method};

use crate::harness::{Browser, House, Page, echoed};

/// What proxies in front of legacy software believe about the "real" request.
const REAL_REQUEST: &[&str] = &[
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
    "X-Forwarded-Prefix",
    "X-Forwarded-Method",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-For",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Accel-Redirect",
    "X-Auth-Request-Redirect",
    "X-Envoy-Original-Path",
    "Forwarded",
];

/// What tells an EMR behind a proxy who the user is.
const IDENTITY: &[&str] = &[
    "X-Remote-User",
    "X-Remote-Roles",
    "X-Chartgate-Assertion",
    "Remote-User",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Auth-Request-User",
    "X-Authenticated-User",
    "X-User",
    "X-User-Roles",
    "X-Groups",
    "X-Real-IP",
    "OIDC-CLAIM-sub",
    "X-Pomerium-Jwt-Assertion",
    "X-Request-Id",
];

async fn get_with(browser: &mut Browser, url: &str, fields: &[(&str, &str)]) -> Page {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    browser.send(Method::GET, url, None, headers).await
}

// The path of a client's `X-Forwarded-Uri` was matched against the public paths.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_40575_what_a_client_says_of_the_request_changes_nothing() {
    let house = House::open_unlimited().await;
    let mut billing = house.at_work("billing.shah").await;
    billing
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let before = house.reached().len();
    for name in REAL_REQUEST {
        for value in [
            "/.chartgate/jwks.json",
            "/echo",
            "GET",
            "https://localhost/login",
            "::",
        ] {
            let url = house.url("/chart/notes");
            let page = get_with(&mut house.browser(), &url, &[(name, value)]).await;
            assert_eq!(
                (page.status.as_u16(), page.refusal()),
                (303, Some("CG-2001")),
                "{name}"
            );
            let page = get_with(&mut billing, &url, &[(name, value)]).await;
            assert_eq!(page.refusal(), Some("CG-3001"), "{name}: {value}");
        }
    }
    assert_eq!(house.reached().len(), before);
    let client = |facts: &chartgate::request::Facts| facts.client.clone();
    let clients: BTreeSet<String> = house
        .trail()
        .iter()
        .filter_map(|e| e.facts.as_ref().map(client))
        .collect();
    assert_eq!(clients, BTreeSet::from(["127.0.0.1".to_owned()]));
}

// The user agent of a health check was let in without a session.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_34457_no_user_agent_and_no_probe_path_is_let_in() {
    let house = House::open_unlimited().await;
    for agent in [
        "GoogleHC/1.0",
        "kube-probe/1.29",
        "ELB-HealthChecker/2.0",
        "Prometheus/2.50",
        "Consul Health Check",
        "",
    ] {
        for path in [
            "/",
            "/chart",
            "/ping",
            "/healthz",
            "/readyz",
            "/metrics",
            "/oauth2/auth",
        ] {
            let url = house.url(path);
            let page = get_with(&mut house.browser(), &url, &[("user-agent", agent)]).await;
            assert_eq!(page.refusal(), Some("CG-2001"), "{agent} {path}");
        }
    }
    assert!(house.reached().is_empty());
}

// `X_Forwarded_User` is `X-Forwarded-User` to CGI, WSGI and PHP, and was not removed.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_64484_and_cve_2026_54763_no_alias_of_an_identity_header_arrives() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("nurse.lind").await;
    let cookies = browser.cookie_field(&house.authority());
    for name in IDENTITY {
        let spelt = [
            name.replace('-', "_"),
            name.replacen('-', "_", 1).to_ascii_uppercase(),
            name.replace('-', "."),
            name.to_ascii_lowercase(),
        ];
        let mut fields = cookies.clone();
        for name in spelt {
            fields = format!("{fields}{name}: forged\r\n{name}: forged\r\n");
        }
        let echo = house
            .raw(b"GET /echo HTTP/1.1", &fields)
            .await
            .unwrap()
            .echo();
        assert!(!echo.to_string().contains("forged"), "{name}: {echo}");
        assert_eq!(echoed(&echo, "x-remote-user"), ["nurse.lind"]);
    }
}

// The client's own copy of the identity header was passed on beside, or instead of, the gateway's.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_30851_and_cve_2026_52845_a_client_cannot_say_who_it_is() {
    let house = House::open_unlimited().await;
    let mut billing = house.at_work("billing.shah").await;
    billing
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    for name in IDENTITY {
        let forged = [(*name, "dr.okafor")];
        let anonymous = get_with(&mut house.browser(), &house.url("/echo"), &forged).await;
        assert_eq!(anonymous.refusal(), Some("CG-2001"), "{name}");
        let page = get_with(&mut billing, &house.url("/echo"), &forged).await;
        let echo = page.json();
        assert!(!echo.to_string().contains("dr.okafor"), "{name}: {echo}");
        assert_eq!(echoed(&echo, "x-remote-user"), ["billing.shah"]);
        assert_eq!(echoed(&echo, "x-remote-roles"), ["billing"]);
        let roles = [(*name, "physician")];
        let page = get_with(&mut billing, &house.url("/chart/notes"), &roles).await;
        assert_eq!(page.refusal(), Some("CG-3001"), "{name}");
    }
}

// A header named in `Connection` was removed after the gateway had set it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_45410_cve_2026_29054_and_cve_2025_48865_connection_removes_nothing_of_ours() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let cookies = browser.cookie_field(&house.authority());
    let stated = [
        "x-remote-user",
        "x-remote-roles",
        "x-chartgate-assertion",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-request-id",
        "host",
    ];
    for name in stated {
        for listed in [
            name.to_owned(),
            name.to_ascii_uppercase(),
            format!("te ,{name},, x"),
        ] {
            let fields = format!("{cookies}Connection: {listed}\r\n");
            let echo = house
                .raw(b"GET /echo HTTP/1.1", &fields)
                .await
                .unwrap()
                .echo();
            for name in stated {
                assert_eq!(echoed(&echo, name).len(), 1, "{name} after {listed}");
            }
            assert_eq!(echoed(&echo, "x-remote-user"), ["dr.okafor"]);
        }
    }
}

// Authorization calls that were joined for speed gave one user the other's identity.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_71326_every_answer_names_its_own_caller() {
    let house = House::open_unlimited().await;
    let users = [
        "dr.okafor",
        "nurse.lind",
        "pharm.ito",
        "lab.reyes",
        "billing.shah",
        "him.doyle",
    ];
    let mut browsers = Vec::new();
    for user in users {
        browsers.push((user, house.signed_in(user).await));
    }
    let one = |index: usize| {
        let (user, mut browser) = browsers[index % browsers.len()].clone();
        let url = house.url(&format!("/echo?n={index}"));
        async move {
            let echo = browser.get(&url).await.json();
            assert!(
                echo["target"]
                    .as_str()
                    .unwrap()
                    .ends_with(&format!("n={index}"))
            );
            assert_eq!(echoed(&echo, "x-remote-user"), [user]);
        }
    };
    for batch in 0..4 {
        join_all((batch * 50..batch * 50 + 50).map(one)).await;
    }
}
