//! Records per second of `chartgate policy replay`, and the memory that it takes: `cargo bench --bench replay`.
//!
//! A trail is written by the writer of the gateway (each request an admission and an outcome, as it serves them), then
//! read from disk by the command itself: decrypted, its chain checked, each decision made again by two bundles: the one
//! in force, by which nothing changes, and one that refuses all reading of notes.
//!
//! `REQUESTS` (200,000) changes how many.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures with the clock of the machine, prints, and fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chartgate::assembly::clinic::{Addresses, prepare};
use chartgate::audit::entry::Entry;
use chartgate::audit::log::{Payload, Priority, RealFiles, Truncation};
use chartgate::audit::outcome::{End, Outcome};
use chartgate::audit::trail::Audit;
use chartgate::cli::console::Console;
use chartgate::cli::{Exit, run};
use chartgate::clock::SystemClock;
use chartgate::config::Config;
use chartgate::request::Facts;
use serde_json::json;

const CLOSED: &str = "@id(\"no-notes\")\n@doc(\"Nobody reads notes.\")\nforbid (principal, action == Action::\"Read\", resource == Section::\"notes\");\n";
/// Route, path, section.
const PAGES: &[(&str, &str, &str)] = &[
    ("notes", "/chart/notes", "notes"),
    ("results", "/chart/results", "results"),
    ("medications", "/chart/medications", "medications"),
    ("summary", "/chart", "summary"),
];

/// A request as the trail has it.
fn facts(number: usize) -> Facts {
    let (route, path, section) = PAGES[number % PAGES.len()];
    let role = ["physician", "nurse"][number % 2];
    let department = ["cardiology", "surgery", "medicine"][number % 3];
    let document = json!({
        "request": format!("01JQ{number:022}"),
        "client": format!("10.20.{}.{}", number % 8, number % 250),
        "tls": "TLSv1.3 TLS13_AES_256_GCM_SHA384",
        "emr": "sample-clinic",
        "method": "GET",
        "path": path,
        "principal": {
            "kind": "user",
            "issuer": "hospital",
            "subject": format!("f3c1-{:06}", number % 3_000),
            "name": format!("user.{:06}", number % 3_000),
            "roles": [role],
            "proof": { "amr": ["pwd", "otp"], "mfa": true, "auth_time": "2026-11-29T08:00:00Z", "phishing_resistant": false },
            "department": department,
        },
        "session": "s-8f0c1d2e3f405162",
        "mapping": {
            "route": route,
            "action": "Read",
            "section": section,
            "sensitivity": "N",
            "patients": [{ "system": "urn:example:pid", "id": format!("{}", number % 200_000), "source": "sticky" }],
        },
        "decision": {
            "verdict": "allow",
            "policies": ["physician-chart"],
            "care_relation": "unknown",
            "purpose": "unknown",
            "lockdown": 0,
            "zone": "on-site",
            "training": "unknown",
        },
        "generation": 7,
    });
    serde_json::from_value(document).unwrap()
}

fn write(config: &Config, requests: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clock = SystemClock::shared();
    let node: Arc<str> = "gw1".into();
    runtime.block_on(async {
        let files = Arc::new(RealFiles);
        let opened = Audit::open(
            &config.audit,
            &config.limits,
            files,
            clock.clone(),
            Truncation::Refuse,
        );
        let (audit, _) = opened.await.unwrap();
        for number in 0..requests {
            let facts = facts(number);
            let admission = Entry::admit(&node, clock.now(), &facts);
            let outcome = Outcome {
                end: End::Complete,
                status: Some(200),
                refusal: None,
                bytes_out: 5_120,
                bytes_in: 0,
                millis: 42,
                patients: Vec::new(),
                watermark: None,
                appeared: Vec::new(),
                appeared_more: 0,
                appeared_unknown: None,
            };
            let end = Entry::outcome(&node, clock.now(), admission.id, outcome);
            let slots = loop {
                match audit.log().reserve::<2>(Priority::Care) {
                    Ok(slots) => break slots,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            };
            let [first, second] = slots;
            first.append_unwaited(Payload::new(admission.to_bytes().unwrap()).unwrap());
            second.append_unwaited(Payload::new(end.to_bytes().unwrap()).unwrap());
        }
        audit.log().shutdown().unwrap();
    });
}

/// Kilobytes of this process in memory: `VmRSS` now, `VmHWM` at most.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|found| found.starts_with(line));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn replay(config: &Path, policies: &Path, records: usize) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let line = [
        "chartgate",
        "policy",
        "replay",
        "--json",
        "--policies",
        policies.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    // The peak of what went before does not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let begun = Instant::now();
    let exit = run(
        line,
        &mut Console::over(&b""[..], &mut out, &mut err),
        &SystemClock::shared(),
    );
    let took = begun.elapsed().as_secs_f64();
    assert!(
        exit != Exit::Configuration,
        "{}",
        String::from_utf8_lossy(&err)
    );
    let found: serde_json::Value = serde_json::from_slice(&out).unwrap();
    println!(
        "{records} records, {} decisions, {} refused now: {took:.1} s, {:.0} records/s, {:.1} µs a record, {} MiB more at most",
        found["replayed"],
        found["changes"]["refused"]["total"],
        records as f64 / took,
        took * 1e6 / records as f64,
        memory("VmHWM").saturating_sub(before) / 1024
    );
}

fn main() {
    let requests = std::env::var("REQUESTS").ok();
    let requests = requests.map_or(200_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let nobody = "127.0.0.1:9".parse().unwrap();
    let addresses = Addresses {
        gateway: 9,
        emr: nobody,
        issuer: nobody,
        sink: nobody,
    };
    let prepared = prepare(dir.path(), &addresses, &SystemClock::shared()).unwrap();
    let config = Config::load_for_reading(&prepared.config).unwrap();
    let begun = Instant::now();
    write(&config, requests);
    println!("written in {:.1} s", begun.elapsed().as_secs_f64());
    let closed = dir.path().join("closed");
    copy(&config.policy.directory, &closed);
    std::fs::write(closed.join("closed.cedar"), CLOSED).unwrap();
    replay(&prepared.config, &config.policy.directory, requests * 2);
    replay(&prepared.config, &closed, requests * 2);
}
