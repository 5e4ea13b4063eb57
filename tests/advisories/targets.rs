//! What a request asks for: paths, hosts and methods that were read in two ways.

use chartgate::audit::entry::Phase;

use crate::harness::{Browser, House, Wire};

/// Paths that some proxy or back end reads as another path.
const ODD_TARGETS: &[&str] = &[
    "/static/a#/../../chart",
    "/static/a%23b",
    "/static/a%23/../b",
    "/static/a;b",
    "/static/a%3bb",
    "/static/a%3Bjsessionid=1/b",
    "/static/../chart",
    "/static/%2e%2e/chart",
    "/static/.%2E/chart",
    "/static/..;/chart",
    "/static/..%3b/chart",
    "/static/%2e%2e%2fchart",
    "/static/..%2fchart",
    "/static/..%5cchart",
    "/static/..\\chart",
    "/static//chart",
    "//static/chart",
    "//chart",
    "/static/./chart",
    "/static/%2echart",
    "/static/%252e%252e/chart",
    "/static/%252fchart",
    "/static/a%2fb",
    "/static/a%2Fb",
    "/static/a%00.css",
    "/static/a%0d%0ab",
    "/static/%c0%ae%c0%ae/chart",
    "/static/%ff",
    "/static/%",
    "/static/%zz",
    "/static/%u002e%u002e/chart",
    "/static/a?x=%23#y",
    "/static/a?x=/../chart",
    "/static/a?x=%2f..%2f",
    "/static/a?x=100%",
    "/static/a?",
    "/static/a??x",
    "/static/a b",
    "/static/J%C3%BCrgen.css",
    "/static/caf\u{e9}",
    "/%73tatic/a.css",
    "/.chartgate/../static/a",
    "/static/.chartgate/login",
    "/static/%2echartgate/login",
];

/// Sends a target and holds that it arrived as it was sent and is so on record, or did not arrive.
async fn arrives_as_sent_or_not_at_all(house: &House, browser: &Browser, target: &str) {
    let before = house.reached().len();
    let cookies = browser.cookie_field(&house.authority());
    let line = format!("GET {target} HTTP/1.1");
    let answer = house.raw(line.as_bytes(), &cookies).await;
    let answer = answer.expect("an answer");
    let reached = house.reached().split_off(before);
    if answer.is_refusal() {
        assert_eq!(reached, Vec::<String>::new(), "{target} was refused");
        return;
    }
    assert_eq!(reached, [format!("GET {target}")]);
    let id = answer.header("x-request-id").unwrap();
    let admitted = house.trail().into_iter().find(|entry| {
        entry.phase == Phase::Admit && entry.facts.as_ref().is_some_and(|f| f.request == id)
    });
    let recorded = admitted.unwrap().facts.unwrap().path;
    assert_eq!(
        Some(recorded.as_str()),
        target.split('?').next(),
        "{target}"
    );
}

// The rule that skipped sign-in was matched against the whole URI, query included.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_54576_a_query_opens_no_page() {
    let house = House::open_unlimited().await;
    for public in [
        "/.chartgate/login",
        "/.chartgate/callback",
        "/.chartgate/signed-out",
        "/.chartgate/jwks.json",
        "/static/site.css",
        "/favicon.ico",
    ] {
        for target in [
            format!("/chart?x={public}"),
            format!("/chart?{public}"),
            format!("/chart/notes?a=b&/x{public}"),
            format!("/api/patients/4?next={public}%3fa"),
        ] {
            let page = house.browser().get(&house.url(&target)).await;
            assert_eq!(
                (page.status.as_u16(), page.refusal()),
                (303, Some("CG-2001")),
                "{target}"
            );
        }
    }
    assert!(house.reached().is_empty());
}

// `#`, encoded or not, ended the path for the rule but not for the back end.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_41059_and_cve_2023_47106_fragments_open_no_page() {
    let house = House::open_unlimited().await;
    for target in [
        "/chart#/.chartgate/login",
        "/chart%23/.chartgate/login",
        "/chart;/.chartgate/login",
        "/chart%3B/.chartgate/login",
        "/.chartgate/login/../../chart",
        "/.chartgate/login/..;/..;/chart",
        "/.chartgate/jwks.json%23/../../chart",
        "/.chartgate/jwks.json\\..\\..\\chart",
        "/.chartgate//jwks.json",
        "//.chartgate/jwks.json/chart",
        "/.chartgate/jwks.json/chart",
        "/.chartgate/jwks.json%2f..%2f..%2fchart",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        let answer = house.raw(line.as_bytes(), "").await.unwrap();
        assert!(answer.is_refusal(), "{target}: {}", answer.head);
    }
    assert!(house.reached().is_empty());
}

// Policy decided on a decoded, stripped or joined path; the back end received another one.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_66490_cve_2026_40912_cve_2026_48020_and_cve_2026_26205_the_decided_path_is_the_path_sent()
 {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    for target in ODD_TARGETS {
        arrives_as_sent_or_not_at_all(&house, &browser, target).await;
    }
}

// Host rules were compared with the case, dot and port that the client chose.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_48794_no_spelling_of_the_host_changes_the_decision() {
    let house = House::open_unlimited().await;
    let mut browser = house.at_work("billing.shah").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let cookies = browser.cookie_field(&house.authority());
    let port = house.clinic.address().port();
    let before = house.reached().len();
    for host in [
        format!("localhost:{port}"),
        format!("LOCALHOST:{port}"),
        format!("LocalHost.:{port}"),
        "localhost.".to_owned(),
        "Localhost:443".to_owned(),
    ] {
        let request = format!("GET /chart/notes HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n");
        let answer = house.raw_bytes(request.as_bytes()).await.unwrap();
        assert_eq!(
            (answer.status, answer.refusal()),
            (403, Some("CG-3001")),
            "{host}"
        );
    }
    for host in [
        "localhost@evil.example",
        "localhost%00",
        "localhost..",
        "xn--lclhost-zza",
        "localhost:0",
        "localhost:x",
        "\u{2113}ocalhost",
        "evil.example",
        "",
    ] {
        let request = format!("GET /chart/notes HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n");
        let answer = house.raw_bytes(request.as_bytes()).await.unwrap();
        let told = answer.refusal();
        assert!(
            matches!(answer.status, 400 | 421) && told != Some("CG-3001"),
            "{host}: {told:?}"
        );
    }
    assert_eq!(house.reached().len(), before);
}

// Path and host matchers compared letters exactly; the back end did not.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_27587_and_cve_2026_27588_no_case_variant_gets_past_a_rule() {
    let house = House::open_unlimited().await;
    let mut browser = house.at_work("billing.shah").await;
    browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let cookies = browser.cookie_field(&house.authority());
    let before = house.reached().len();
    for target in [
        "/CHART/notes",
        "/chart/NOTES",
        "/Chart/Notes",
        "/%63hart/notes",
        "/%43hart/%4eotes",
        "/chart/%6e%6f%74%65%73",
        "/chart/notes/",
        "/API/patients/4",
        "/.CHARTGATE/jwks.json",
        "/%2eChartgate/login",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        let answer = house.raw(line.as_bytes(), &cookies).await.unwrap();
        assert!(answer.refusal().is_some(), "{target}: {}", answer.head);
    }
    assert_eq!(house.reached().len(), before);
}

// CONNECT left a tunnel in the pool that all users shared; TRACE repeats cookies to scripts.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_71324_connect_and_trace_are_refused() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let before = house.reached().len();
    let cookies = browser.cookie_field(&house.authority());
    let host = house.authority();
    for (line, code) in [
        (format!("CONNECT {host} HTTP/1.1"), "CG-1005"),
        ("CONNECT emr.internal:80 HTTP/1.1".to_owned(), "CG-1005"),
        ("TRACE /echo HTTP/1.1".to_owned(), "CG-1005"),
        ("TRACK /echo HTTP/1.1".to_owned(), "CG-1005"),
        ("PROPFIND /echo HTTP/1.1".to_owned(), "CG-1005"),
        ("get /echo HTTP/1.1".to_owned(), "CG-1005"),
        ("OPTIONS * HTTP/1.1".to_owned(), "CG-1001"),
    ] {
        let answer = house.raw(line.as_bytes(), &cookies).await.unwrap();
        assert_eq!(answer.refusal(), Some(code), "{line}");
    }
    assert_eq!(house.reached().len(), before);
    let answer = house.raw(b"GET /echo HTTP/1.1", &cookies).await.unwrap();
    assert_eq!(answer.status, 200, "the pool is as it was");
}

// What was checked for the handshake's name counted for another host; a ClientHello in pieces was not checked.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_32305_and_cve_2026_48491_the_host_is_the_one_of_the_handshake() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let cookies = browser.cookie_field(&house.authority());
    let before = house.reached().len();
    for most in [usize::MAX, 1, 7, 64] {
        let mut wire = Wire::open_in_pieces(&house, most).await;
        let other = format!("GET /echo HTTP/1.1\r\nHost: other.example\r\n{cookies}\r\n");
        wire.send(other.as_bytes()).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.refusal()), (421, Some("CG-1003")));
    }
    assert_eq!(house.reached().len(), before);
    let mut wire = Wire::open_in_pieces(&house, 1).await;
    let host = house.authority();
    wire.send(format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n").as_bytes())
        .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}
