//! Every refusal that can be caused from outside, as a page and as a problem document.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chartgate::clock::{ManualClock, SystemClock};
use chartgate::config::Config;
use chartgate::demo::issuer::Misbehave;
use chartgate::refusal::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::wire::Answer;
use crate::harness::{Browser, House, Wire, rate, without_limits};

const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
const PROGRAM: &str = "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";

/// Holds that an answer is the refusal it should be, in the form that its asker reads.
fn assert_is(answer: &Answer, code: &str, fields: &str) {
    assert_eq!(
        answer.refusal(),
        Some(code),
        "{} {}",
        answer.head,
        answer.body
    );
    let refusal = Refusal::ALL
        .iter()
        .find(|refusal| refusal.code() == code)
        .unwrap();
    let status = refusal.status().as_u16();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let id = answer.header("x-request-id").unwrap();
    let kind = answer.header("content-type").unwrap_or("");
    if fields == PROGRAM {
        assert_eq!((answer.status, kind), (status, "application/problem+json"));
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], refusal.title());
        assert_eq!(problem["request_id"], id);
    } else if answer.status == 303 {
        let location = answer.header("location").unwrap();
        assert!(
            status == 401 && location.starts_with("/.chartgate/login?"),
            "{location}"
        );
    } else {
        assert_eq!((answer.status, kind), (status, "text/html; charset=utf-8"));
        assert!(
            answer.body.contains(code) && answer.body.contains(id),
            "{}",
            answer.body
        );
    }
}

/// Sends a request in both manners; `{host}` is the gateway's authority.
async fn refuses(house: &House, code: &str, request: &str) {
    for fields in [NAVIGATION, PROGRAM] {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let bytes = format!("{head}\r\n{fields}\r\n{body}").replace("{host}", &house.authority());
        let answer = house.raw_bytes(bytes.as_bytes()).await;
        assert_is(
            &answer.unwrap_or_else(|| panic!("no answer: {code}")),
            code,
            fields,
        );
    }
}

/// A request of this browser; `more` are further lines of the head.
fn of(house: &House, browser: &Browser, line: &str, more: &str) -> String {
    let cookies = browser.cookie_field(&house.authority());
    let lines = format!("{line} HTTP/1.1\r\nHost: {{host}}\r\n{cookies}{more}");
    lines.trim_end().to_owned()
}

/// A post from this site with a body.
fn post(house: &House, browser: &Browser, path: &str, kind: &str, body: &str) -> String {
    let more = format!(
        "Origin: https://{{host}}\r\nContent-Type: {kind}\r\nContent-Length: {}",
        body.len()
    );
    let head = of(house, browser, &format!("POST {path}"), &more);
    format!("{head}\r\n\r\n{body}")
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_read_are_answered_with_their_code() {
    let house = House::open_unlimited().await;
    let doctor = house.at_work("dr.okafor").await;
    let of = |line: &str, more: &str| of(&house, &doctor, line, more);
    refuses(&house, "CG-1001", &of("GET /a%00", "")).await;
    refuses(&house, "CG-1001", &of("GET /a//b", "")).await;
    refuses(
        &house,
        "CG-1002",
        "GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}",
    )
    .await;
    refuses(&house, "CG-1002", "GET / HTTP/1.1").await;
    refuses(&house, "CG-1003", "GET / HTTP/1.1\r\nHost: other.example").await;
    refuses(&house, "CG-1005", &of("TRACE /echo", "")).await;
    let lengths = "Content-Length: 1\r\nTransfer-Encoding: chunked";
    refuses(&house, "CG-1006", &of("POST /echo", lengths)).await;
    let large = "Origin: https://{host}\r\nContent-Length: 99999999";
    refuses(&house, "CG-1008", &of("POST /echo", large)).await;
    let types = "Content-Type: text/plain\r\nContent-Type: text/html";
    refuses(&house, "CG-1010", &of("GET /echo", types)).await;
    refuses(
        &house,
        "CG-1010",
        &of("GET /echo", "X-HTTP-Method-Override: DELETE"),
    )
    .await;
    let json = "application/json";
    refuses(
        &house,
        "CG-1011",
        &post(&house, &doctor, "/api/notes", json, "{\"a\""),
    )
    .await;
    refuses(
        &house,
        "CG-1012",
        &of("POST /echo", "Origin: https://evil.example"),
    )
    .await;
    refuses(&house, "CG-1012", &of("POST /echo", "")).await;
    let upgrade = "Origin: https://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket";
    refuses(&house, "CG-1013", &of("GET /echo", upgrade)).await;
    refuses(
        &house,
        "CG-1014",
        "GET /.chartgate/nowhere HTTP/1.1\r\nHost: {host}",
    )
    .await;
    refuses(
        &house,
        "CG-1015",
        &post(&house, &doctor, "/api/notes", "text/plain", "x"),
    )
    .await;
    refuses(&house, "CG-1016", &of("GET /echo", "Expect: a-miracle")).await;
    let mut wire = Wire::open_nameless(&house).await;
    for fields in [NAVIGATION, PROGRAM] {
        let request = format!("GET / HTTP/1.1\r\nHost: other.example\r\n{fields}\r\n");
        wire.send(request.as_bytes()).await;
        assert_is(&wire.answer().await.unwrap(), "CG-1004", fields);
        wire = Wire::open_nameless(&house).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_permissions_are_refused_with_their_code() {
    let house = House::open_with(|config| {
        without_limits(config);
        let roles = config.policy.directory.join("roles.toml");
        let text = std::fs::read_to_string(&roles).unwrap();
        std::fs::write(&roles, text.replace("\"emr-lab\"", "\"emr-others\"")).unwrap();
    })
    .await;
    let nobody = house.browser();
    refuses(&house, "CG-2001", &of(&house, &nobody, "GET /chart", "")).await;
    let unknown = "Cookie: __Host-chartgate=x";
    refuses(
        &house,
        "CG-2013",
        &of(&house, &nobody, "GET /chart", unknown),
    )
    .await;
    let callback = "GET /.chartgate/callback?state=x&code=y";
    refuses(&house, "CG-2005", &of(&house, &nobody, callback, "")).await;
    let twice = "GET /.chartgate/callback?state=x&state=y";
    refuses(&house, "CG-2004", &of(&house, &nobody, twice, "")).await;
    let notice = post(
        &house,
        &nobody,
        "/.chartgate/backchannel-logout",
        FORM,
        "logout_token=x",
    );
    refuses(&house, "CG-2010", &notice).await;

    let doctor = house.at_work("dr.okafor").await;
    refuses(&house, "CG-3003", &of(&house, &doctor, "GET /new.php", "")).await;
    refuses(&house, "CG-3004", &of(&house, &doctor, "GET /chart", "")).await;
    refuses(
        &house,
        "CG-3001",
        &of(&house, &doctor, "GET /admin/audit", ""),
    )
    .await;
    let other = post(
        &house,
        &doctor,
        "/login",
        FORM,
        "username=nurse.lind&password=x",
    );
    refuses(&house, "CG-2011", &other).await;
    let mut nurse = house.signed_in("nurse.lind").await;
    let stolen = doctor
        .cookies
        .iter()
        .find(|((_, name), _)| name == "CLINICSESSID")
        .unwrap();
    nurse.cookies.insert(stolen.0.clone(), stolen.1.clone());
    refuses(&house, "CG-2008", &of(&house, &nurse, "GET /chart", "")).await;
    refuses(&house, "CG-5005", &of(&house, &doctor, "GET /error", "")).await;

    let mut lab = house.browser();
    house
        .sign_in(&mut lab, "lab.reyes", &house.url("/echo"))
        .await;
    refuses(&house, "CG-2009", &of(&house, &lab, "GET /echo", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_does_is_refused_with_its_code() {
    let house = House::open_unlimited().await;
    for (how, user, code) in [
        (Misbehave::Nothing, "dr.weber", "CG-2003"),
        (Misbehave::UnknownKey, "dr.okafor", "CG-2004"),
    ] {
        house.clinic.issuer().misbehave(how);
        for scripted in [false, true] {
            let mut browser = house.browser();
            browser.scripted = scripted;
            browser.get(&house.url("/.chartgate/login")).await;
            let url = house.url("/.chartgate/login");
            let page = house.sign_in(&mut browser, user, &url).await;
            assert_eq!(page.refusal(), Some(code), "{how:?}");
            let kind = page.header("content-type").unwrap();
            assert_eq!(kind == "application/problem+json", scripted, "{kind}");
            assert!(page.text().contains(code));
        }
    }
    for fields in [NAVIGATION, PROGRAM] {
        let mut browser = house.browser();
        let page = browser.get(&house.url("/.chartgate/login")).await;
        let provider = url::Url::parse(page.header("location").unwrap()).unwrap();
        let state = provider
            .query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1;
        let issuer: String =
            form_urlencoded::byte_serialize(house.clinic.facts().issuer.as_bytes()).collect();
        let line = format!(
            "GET /.chartgate/callback?state={state}&error=access_denied&iss={issuer} HTTP/1.1"
        );
        let cookies = browser.cookie_field(&house.authority());
        let answer = house
            .raw(line.as_bytes(), &format!("{cookies}{fields}"))
            .await;
        assert_is(&answer.unwrap(), "CG-2012", fields);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_refused_with_its_code() {
    let house = House::open_with(|config| {
        without_limits(config);
        config.identity.issuers[0].url = "http://127.0.0.1:9/".parse().unwrap();
    })
    .await;
    refuses(
        &house,
        "CG-2006",
        "GET /.chartgate/login HTTP/1.1\r\nHost: {host}",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_passes_is_refused_with_its_code() {
    let clock = Arc::new(ManualClock::new(SystemClock::shared().now()));
    let house = House::try_open(clock.clone(), without_limits)
        .await
        .unwrap();
    let records = house.at_work("him.doyle").await;
    let other = house.signed_in("nurse.lind").await;
    let export = of(&house, &records, "GET /patients/4/export.csv", "");
    clock.advance(Duration::from_mins(6));
    refuses(&house, "CG-2007", &export).await;
    clock.advance(Duration::from_mins(20));
    // Told once: the session is removed then, and its cookie is unknown.
    for (cookies, fields) in [
        (records.cookie_field(&house.authority()), NAVIGATION),
        (other.cookie_field(&house.authority()), PROGRAM),
    ] {
        let fields_sent = format!("{cookies}{fields}");
        let answer = house.raw(b"GET /echo HTTP/1.1", &fields_sent).await;
        assert_is(&answer.unwrap(), "CG-2002", fields);
    }
}

/// Opens the clinic with one limit that is reached after a sign-in and these requests.
async fn limited(tune: fn(&mut Config)) -> House {
    House::open_with(move |config| {
        without_limits(config);
        tune(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_refused_with_their_code_and_the_time_to_wait() {
    let house = limited(|c| c.limits.address = rate(1)).await;
    let nobody = of(&house, &house.browser(), "GET /echo", "");
    house.raw(b"GET /echo HTTP/1.1", "").await;
    refuses(&house, "CG-4001", &nobody).await;

    let house = limited(|c| {
        c.limits.user = rate(3);
        c.limits.actions.insert("Search".to_owned(), rate(1));
    })
    .await;
    let mut doctor = house.at_work("dr.okafor").await;
    doctor.get(&house.url("/patients/search?q=a")).await;
    refuses(&house, "CG-4002", &of(&house, &doctor, "GET /echo", "")).await;

    let house = limited(|c| {
        c.limits.login_address = rate(2);
        c.limits.actions.insert("Search".to_owned(), rate(1));
    })
    .await;
    let mut doctor = house.at_work("dr.okafor").await;
    let search = "/patients/search?q=a";
    doctor.get(&house.url(search)).await;
    refuses(
        &house,
        "CG-4003",
        &of(&house, &doctor, &format!("GET {search}"), ""),
    )
    .await;
    refuses(
        &house,
        "CG-4004",
        "GET /.chartgate/login HTTP/1.1\r\nHost: {host}",
    )
    .await;
    let answer = house
        .raw(b"GET /.chartgate/login HTTP/1.1", "")
        .await
        .unwrap();
    assert!(
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emr_that_fails_is_refused_with_its_code() {
    let house = limited(|c| c.emrs[0].backend.response_timeout = Duration::from_millis(300)).await;
    let doctor = house.signed_in("dr.okafor").await;
    refuses(
        &house,
        "CG-5002",
        &of(&house, &doctor, "GET /slow?ms=60000", ""),
    )
    .await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let garbage = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"220 this is no web server\r\n\r\n").await;
        }
    });
    let url: url::Url = format!("http://{address}").parse().unwrap();
    let house = House::open_with(move |config| {
        without_limits(config);
        config.emrs[0].backend.url = url;
    })
    .await;
    let mut doctor = house.browser();
    house
        .sign_in(&mut doctor, "dr.okafor", &house.url("/"))
        .await;
    let request = of(&house, &doctor, "GET /echo", "");
    refuses(&house, "CG-5003", &request).await;
    garbage.abort();
    let _ = garbage.await;
    // The port is closed now; each worker's breaker opens after some failures.
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        for fields in [NAVIGATION, PROGRAM] {
            let bytes = format!("{request}\r\n{fields}\r\n").replace("{host}", &house.authority());
            let answer = house.raw_bytes(bytes.as_bytes()).await.unwrap();
            let code = answer.refusal().unwrap().to_owned();
            assert_is(&answer, &code, fields);
            seen.insert((code, fields));
        }
    }
    for code in ["CG-5001", "CG-5004"] {
        for fields in [NAVIGATION, PROGRAM] {
            assert!(seen.contains(&(code.to_owned(), fields)), "{code} {seen:?}");
        }
    }
}
