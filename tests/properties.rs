//! Properties of the full request path over spaces of inputs: one clinic for each, many requests.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chartgate::audit::entry::Phase;
use chartgate::cli::Exit;
use chartgate::cli::console::Console;
use chartgate::clock::SystemClock;
use chartgate::demo::clinic::EMR_PASSWORD;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::harness::{House, echoed, person};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    })
}

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// Targets that begin where the EMR may be reached, and go on with anything but a line end.
fn target() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec!["/echo?", "/static/", "/static/a?x=", "/echo", "/"]);
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "a", "/", "//", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "%3b", "?", "#", "%23", "%00", "%0d%0a",
            "%25", "%252e", "%", "%zz", "&", "=", "+", "~", "%C3%BC", "%ff", "*", ":", "@", "|", "\"", "%7f",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_filter("no line end", |b| !matches!(b, b'\r' | b'\n')).prop_map(|b| vec![b]),
        2 => "[a-zA-Z0-9_.-]{1,6}".prop_map(String::into_bytes),
    ];
    (start, prop::collection::vec(piece, 0..8))
        .prop_map(|(start, pieces)| [start.as_bytes().to_vec(), pieces.concat()].concat())
}

#[test]
fn what_the_emr_receives_is_what_was_sent_and_recorded() {
    let runtime = runtime();
    let house = runtime.block_on(House::open_unlimited());
    let browser = runtime.block_on(house.signed_in("dr.okafor"));
    let cookies = browser.cookie_field(&house.authority());
    let forwarded = Mutex::new(BTreeMap::new());
    runner(200)
        .run(&target(), |target| {
            let before = house.reached().len();
            let line = [b"GET ", target.as_slice(), b" HTTP/1.1"].concat();
            let answer = runtime.block_on(house.raw(&line, &cookies));
            let reached = house.reached().split_off(before);
            let answer = answer.ok_or_else(|| TestCaseError::fail("no answer"))?;
            if answer.is_refusal() {
                prop_assert_eq!(reached, Vec::<String>::new());
                return Ok(());
            }
            let sent = String::from_utf8(target).unwrap();
            prop_assert_eq!(reached, vec![format!("GET {sent}")]);
            let id = answer.header("x-request-id").unwrap().to_owned();
            forwarded.lock().unwrap().insert(id, sent);
            Ok(())
        })
        .unwrap();
    let forwarded = forwarded.into_inner().unwrap();
    assert!(forwarded.len() > 20, "too few arrived: {}", forwarded.len());
    let mut found = 0;
    for facts in house
        .trail()
        .into_iter()
        .filter(|e| e.phase == Phase::Admit)
    {
        let facts = facts.facts.unwrap();
        let Some(sent) = forwarded.get(&facts.request) else {
            continue;
        };
        found += 1;
        assert_eq!(Some(facts.path.as_str()), sent.split('?').next());
    }
    assert_eq!(found, forwarded.len(), "each was admitted on record once");
}

/// Names in which a client could say who or where it is.
const FORBIDDEN: &[&str] = &[
    "x-remote-user",
    "x-remote-roles",
    "x-chartgate-assertion",
    "remote-user",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-user",
    "x-forwarded-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-user",
    "x-auth-request-user",
    "x-ssl-client-cert",
    "x-request-id",
    "forwarded",
    "via",
    "proxy",
    "proxy-authorization",
    "oidc-claim-sub",
    "keep-alive",
    "te",
    "upgrade",
];

#[test]
fn no_identity_header_of_a_client_arrives_in_any_spelling() {
    let runtime = runtime();
    let house = runtime.block_on(House::open_unlimited());
    let browser = runtime.block_on(house.signed_in("nurse.lind"));
    let cookies = browser.cookie_field(&house.authority());
    let spelling = (
        prop::sample::select(FORBIDDEN),
        prop::collection::vec(any::<bool>(), 24),
        prop::sample::select(vec!['-', '_', '.', '~', '!', '*', '\'']),
        1_usize..4,
        prop::sample::select(vec!["", " ", "\t", "  "]),
    );
    runner(150)
        .run(&prop::collection::vec(spelling, 1..6), |fields| {
            let mut text = cookies.clone();
            for (name, upper, separator, copies, space) in fields {
                let spelt: String = name
                    .chars()
                    .zip(upper.iter().cycle())
                    .map(|(c, upper)| match c {
                        '-' => separator,
                        c if *upper => c.to_ascii_uppercase(),
                        c => c,
                    })
                    .collect();
                text.push_str(&format!("{spelt}:{space}forged\r\n").repeat(copies));
            }
            let answer = runtime
                .block_on(house.raw(b"GET /echo HTTP/1.1", &text))
                .unwrap();
            let echo = answer.echo();
            prop_assert!(!echo.to_string().contains("forged"), "{text} {echo}");
            for (name, value) in [
                ("x-remote-user", "nurse.lind"),
                ("x-remote-roles", "nurse"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "https"),
            ] {
                prop_assert_eq!(echoed(&echo, name), vec![value]);
            }
            Ok(())
        })
        .unwrap();
}

/// A value made from `good` that is not `good`, with no character that ends a cookie.
fn spoilt(good: String) -> impl Strategy<Value = String> {
    let visible = || prop::char::ranges(vec!['!'..=':', '<'..='~'].into());
    let (cut, changed, longer) = (good.clone(), good.clone(), good.clone());
    prop_oneof![
        (0..good.len()).prop_map(move |at| cut[..at].to_owned()),
        (0..good.len(), visible()).prop_map(move |(at, c)| {
            let mut text: Vec<char> = changed.chars().collect();
            text[at] = c;
            text.into_iter().collect()
        }),
        prop::collection::vec(visible(), 1..9)
            .prop_map(move |more| longer.clone() + &String::from_iter(more)),
        "[A-Za-z0-9_-]{43}",
        prop::collection::vec(visible(), 0..60).prop_map(String::from_iter),
    ]
    .prop_filter("not the good one", move |text| *text != good)
}

#[test]
fn no_corrupt_session_cookie_reaches_the_emr() {
    let runtime = runtime();
    let house = runtime.block_on(House::open_unlimited());
    let browser = runtime.block_on(house.signed_in("dr.okafor"));
    let good = browser.cookie("__Host-chartgate").unwrap().to_owned();
    let before = house.reached().len();
    runner(150)
        .run(&(spoilt(good), any::<bool>()), |(cookie, navigates)| {
            let navigation = "Sec-Fetch-Mode: navigate\r\n";
            let fields = format!(
                "Cookie: a=b; __Host-chartgate={cookie}\r\n{}",
                if navigates { navigation } else { "" }
            );
            let answer = runtime
                .block_on(house.raw(b"GET /echo HTTP/1.1", &fields))
                .unwrap();
            prop_assert_eq!(answer.refusal(), Some("CG-2013"));
            prop_assert_eq!(answer.status, if navigates { 303 } else { 401 });
            prop_assert_eq!(house.reached().len(), before);
            Ok(())
        })
        .unwrap();
    let fields = browser.cookie_field(&house.authority());
    let answer = runtime.block_on(house.raw(b"GET /echo HTTP/1.1", &fields));
    assert_eq!(answer.unwrap().status, 200, "the good one still is");
}

#[test]
fn no_corrupt_callback_gives_a_session() {
    let runtime = runtime();
    let house = runtime.block_on(House::open_unlimited());
    let mut browser = house.browser();
    let page = runtime.block_on(browser.get(&house.url("/.chartgate/login?return_to=/echo")));
    let provider = url::Url::parse(page.header("location").unwrap()).unwrap();
    let state = provider
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let login = browser.cookie("__Host-chartgate-login").unwrap().to_owned();
    let corrupt = prop_oneof![
        (spoilt(state.clone()), Just(login.clone())),
        (Just(state.clone()), spoilt(login.clone())),
        (spoilt(state), spoilt(login)),
    ];
    let code = prop_oneof![Just(None), "[ -~]{0,40}".prop_map(Some)];
    let more = "[a-z_]{0,8}(=[!-~]{0,12})?";
    runner(150)
        .run(&(corrupt, code, more), |((state, login), code, more)| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("state", &state);
            if let Some(code) = &code {
                query.append_pair("code", code);
            }
            let query = query.finish();
            let line = format!("GET /.chartgate/callback?{query}&{more} HTTP/1.1");
            let fields = format!("Cookie: __Host-chartgate-login={login}\r\n");
            let answer = runtime
                .block_on(house.raw(line.as_bytes(), &fields))
                .unwrap();
            prop_assert!(answer.is_refusal(), "{line} {}", answer.head);
            let cookies = answer.head.to_ascii_lowercase();
            prop_assert!(!cookies.contains("set-cookie: __host-chartgate="));
            prop_assert!(house.reached().is_empty());
            Ok(())
        })
        .unwrap();
}

/// Log lines of this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Keeps everything that the gateway logs from now on, down to its smallest words.
    fn start() -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        tracing_subscriber::fmt()
            .with_env_filter("info,chartgate=trace")
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .init();
        lines
    }
}

/// Searches every file under `dir`, except those that hold the secrets by design.
fn files_with(dir: &Path, canary: &[u8], found: &mut Vec<String>) -> usize {
    let mut searched = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "secrets" {
                searched += files_with(&path, canary, found);
            }
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        searched += 1;
        if bytes.windows(canary.len()).any(|window| window == canary) {
            found.push(path.display().to_string());
        }
    }
    searched
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_day_leaves_no_secret_and_no_patient_in_files_and_logs() {
    let lines = Lines::start();
    let house = House::open_unlimited().await;
    let mut canaries = vec![
        EMR_PASSWORD.to_owned(),
        "Note-Canary-7731".to_owned(),
        "Freja Lind".to_owned(),
        "Abernathy".to_owned(),
        "Bergstrom".to_owned(),
        "Query-Canary-1187".to_owned(),
    ];
    let secret = house.data_dir().join("secrets/client_secret");
    canaries.push(std::fs::read_to_string(secret).unwrap().trim().to_owned());
    for user in ["dr.okafor", "nurse.lind", "billing.shah"] {
        let mut browser = house.at_work(user).await;
        for path in [
            "/",
            "/patients/search?q=Query-Canary-1187",
            "/patients/select?set_pid=4",
            "/chart",
            "/chart/notes",
            "/chart/sensitive",
            "/api/patients/4",
            "/error",
            "/no/such/page?name=Query-Canary-1187",
        ] {
            let _ = browser.visit(&house.url(path)).await;
        }
        let note = [("text", "Note-Canary-7731")];
        browser.post_form(&house.url("/chart/notes"), &note).await;
        let wrong = [("username", "other"), ("password", "Note-Canary-7731")];
        let page = browser.post_form(&house.url("/login"), &wrong).await;
        assert_eq!(page.refusal(), Some("CG-2011"));
        canaries.extend([person(user).password().to_owned()]);
        let cookies = ["__Host-chartgate", "__Host-chartgate-login", "CLINICSESSID"];
        for cookie in cookies {
            canaries.push(browser.cookie(cookie).unwrap().to_owned());
        }
        let page = browser
            .post_form(&house.url("/.chartgate/logout"), &[])
            .await;
        let location = url::Url::parse(page.header("location").unwrap()).unwrap();
        let hint = location
            .query_pairs()
            .find(|(name, _)| name == "id_token_hint");
        canaries.push(hint.expect("an id token").1.into_owned());
    }
    let config = house.clinic.facts().config.display().to_string();
    let backup = async |command: &'static str| {
        let config = config.clone();
        let run = move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut console = Console::over(std::io::empty(), &mut out, &mut err);
            let line = ["chartgate", "backup", command, "--config", &config];
            chartgate::cli::run(line, &mut console, &SystemClock::shared())
        };
        assert_eq!(tokio::task::spawn_blocking(run).await.unwrap(), Exit::Fine);
    };
    backup("run").await;
    backup("verify").await;
    let backups = house.data_dir().join("backups");
    assert!(files_with(&backups, b"no such canary", &mut Vec::new()) > 10);
    // What was logged is the evidence only if logging was on.
    let logged = lines.0.lock().unwrap().clone();
    let logged = String::from_utf8_lossy(&logged);
    assert!(logged.contains("a sign-in to the EMR names another user"));
    for canary in canaries {
        let mut found = Vec::new();
        assert!(files_with(house.data_dir(), canary.as_bytes(), &mut found) > 10);
        assert_eq!(found, Vec::<String>::new(), "{canary}");
        let line = logged.lines().find(|line| line.contains(&canary));
        assert_eq!(line, None, "{canary}");
    }
}
