//! Sign-ins per second, and what a live session takes of memory: `cargo bench --bench sessions`.
//!
//! One process holds the sample clinic (gateway, provider, EMR) and the browsers. Each sign-in is a browser of its own
//! that the provider knows already (single sign-on): the start of the sign-in, the provider's answer, the callback with
//! its code exchange, and a first page of the EMR, over a TLS connection each. So throughput is a lower bound; memory is
//! the growth of the process between the first and the last session, divided by the sessions in between.
//!
//! `SESSIONS` (1,000) and `AT_ONCE` (16) change how many, and how many side by side.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures with the clock of the machine, prints, and fails by panicking"
)]

#[path = "../tests/harness/browser.rs"]
#[expect(
    dead_code,
    reason = "the browser of the tests; not all of it is used here"
)]
mod browser;
#[path = "../tests/harness/people.rs"]
#[expect(
    dead_code,
    reason = "the people of the tests; not all of it is used here"
)]
mod people;

use std::time::{Duration, Instant};

use chartgate::assembly::clinic::{self, ClinicOptions};
use chartgate::audit::open::Ground;
use chartgate::clock::SystemClock;
use chartgate::config::{Config, Rate};
use chartgate::telemetry::metrics::Metrics;
use futures_util::StreamExt;

use browser::{Browser, Page};
use people::People;

const USER: &str = "nurse.lind";

fn set(name: &str, usual: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap())
}

/// Kilobytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[1].parse().unwrap()
}

fn without_limits(config: &mut Config) {
    let most = 100_000_000.try_into().unwrap();
    let plenty = Rate {
        requests: most,
        per: Duration::from_hours(24),
        burst: most,
    };
    let limits = &mut config.limits;
    limits.address = plenty;
    limits.user = plenty;
    limits.login_address = plenty;
    limits.login_account = plenty;
    limits.anonymous_records = plenty;
    config.server.max_connections_per_address = 10_000;
}

/// A browser that only the provider knows signs in and opens a page.
async fn sign_in(known: &Browser, page_url: &str) {
    let mut browser = known.clone();
    browser
        .cookies
        .retain(|(_, name), _| !name.contains("chartgate") && name != "CLINICSESSID");
    let page = browser.visit(page_url).await;
    assert_eq!(page.status, 200, "{}", page.text());
}

async fn measure(sessions: usize, at_once: usize) {
    let dir = tempfile::tempdir().unwrap();
    let running = clinic::start(ClinicOptions {
        port: 0,
        data_dir: dir.path().to_owned(),
        visitors: Vec::new(),
        clock: SystemClock::shared(),
        metrics: Metrics::local().unwrap().0,
        ground: Ground::default(),
        tune: Box::new(without_limits),
    })
    .await
    .unwrap();
    let facts = running.facts();
    let people = People::of(&facts.url, &facts.issuer);
    let browser = Browser::new(&facts.ca_cert, running.address());
    let known = people.signed_in(browser, USER).await;
    let page_url = people.url("/echo");
    let (known, page_url) = (&known, page_url.as_str());
    let warm = (sessions / 10).clamp(1, 500);
    for _ in 0..warm {
        sign_in(known, page_url).await;
    }
    let before = resident();
    let start = Instant::now();
    futures_util::stream::iter(0..sessions)
        .for_each_concurrent(at_once, |_| sign_in(known, page_url))
        .await;
    let took = start.elapsed();
    let after = resident();
    let grown = after.saturating_sub(before);
    println!(
        "sign-ins: {sessions} in {:.1} s, {at_once} at once",
        took.as_secs_f64()
    );
    println!(
        "sign-ins per second: {:.0}",
        sessions as f64 / took.as_secs_f64()
    );
    println!("memory: {before} KiB before, {after} KiB after");
    println!(
        "memory per live session: {:.1} KiB",
        grown as f64 / sessions as f64
    );
    running.stop().await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(set("SESSIONS", 1_000), set("AT_ONCE", 16)));
}
