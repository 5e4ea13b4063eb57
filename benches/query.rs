//! How long questions to the trail take: `cargo bench --bench query`.
//!
//! A trail is written by the gateway's own log: each request an admission and an outcome, of 200,000 patients and 2,000
//! users. At a tenth, a third and all of it, it is asked by patient and by user, through the index as the gateway keeps it.
//! Three patients have 1, 100 and 10,000 requests, all in the first tenth: what they take must not grow with the rest.
//!
//! `QUERY_RECORDS` (10,000,000) changes how many records, `ASKED` (200) how many patients and users are asked for.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::integer_division_remainder_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures with the clock of the machine, prints, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chartgate::audit::entry::Entry;
use chartgate::audit::filter::Filter;
use chartgate::audit::index::Index;
use chartgate::audit::log::{
    Limits, Log, LogOptions, MasterKey, Observer, Payload, Priority, RealFiles, Recovered,
    SigningKey, Slot, Truncation,
};
use chartgate::audit::outcome::{End, Outcome};
use chartgate::audit::query::{Look, Query};
use chartgate::clock::SystemClock;
use chartgate::request::{Facts, RequestId};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const PATIENTS: u64 = 200_000;
const USERS: u64 = 2_000;
/// Patients of whom it is known how many requests there are.
const COUNTED: [(&str, u64); 3] = [("once", 1), ("often", 100), ("all-the-time", 10_000)];
const MIB: u64 = 1 << 20;

#[derive(Debug)]
struct Deaf;

impl Observer for Deaf {
    fn failed(&mut self, reason: &str) {
        println!("the disk fails: {reason}");
    }

    fn recovered(&mut self, _: &Recovered) -> Vec<Payload> {
        Vec::new()
    }
}

/// Numbers that look random and are the same in every run.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn user(number: u64) -> String {
    format!("user.{number:05}")
}

/// The patient of a request: of each counted one so many, spread over the first tenth.
fn patient(number: u64, tenth: u64) -> String {
    if number < tenth {
        for (at, (name, many)) in (0_u64..).zip(COUNTED) {
            let every = (tenth / many).max(1);
            if number % every == at && number / every < many {
                return name.to_owned();
            }
        }
    }
    format!("{}", scattered(number) % PATIENTS)
}

fn template() -> serde_json::Value {
    json!({
        "request": "", "client": "",
        "tls": "TLSv1.3 TLS13_AES_256_GCM_SHA384",
        "emr": "sample-clinic", "method": "GET", "path": "/chart/notes",
        "principal": {
            "kind": "user", "issuer": "hospital", "subject": "", "name": "", "roles": ["physician"],
            "proof": { "amr": ["pwd", "otp"], "mfa": true, "auth_time": "2026-11-29T08:00:00Z", "phishing_resistant": false },
            "department": "cardiology",
        },
        "session": "s-8f0c1d2e3f405162",
        "mapping": { "route": "notes", "action": "Read", "section": "notes", "sensitivity": "N", "patients": [] },
        "decision": {
            "verdict": "allow", "policies": ["physician-chart"], "care_relation": "unknown", "purpose": "unknown",
            "lockdown": 0, "zone": "on-site", "training": "unknown",
        },
        "generation": 7,
    })
}

fn facts(mut document: serde_json::Value, number: u64, tenth: u64) -> Facts {
    let who = scattered(number.wrapping_mul(31)) % USERS;
    let section = ["notes", "results", "medications", "summary"][(number % 4) as usize];
    document["request"] = json!(RequestId::new().to_string());
    document["client"] = json!(format!("10.20.{}.{}", who % 8, who % 250));
    document["principal"]["subject"] = json!(format!("f3c1-{who:06}"));
    document["principal"]["name"] = json!(user(who));
    document["mapping"]["section"] = json!(section);
    document["path"] = json!(format!("/chart/{section}"));
    let patient = patient(number, tenth);
    document["mapping"]["patients"] =
        json!([{ "system": "urn:example:pid", "id": patient, "source": "sticky" }]);
    serde_json::from_value(document).unwrap()
}

fn slots(log: &Log) -> [Slot; 2] {
    loop {
        match log.reserve::<2>(Priority::Care) {
            Ok(slots) => return slots,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Writes requests, each with its outcome a hundred requests later.
fn write(log: &Log, requests: std::ops::Range<u64>, tenth: u64) {
    let node: Arc<str> = "gw1".into();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut waiting = std::collections::VecDeque::new();
    let template = template();
    let mut put = |(slot, entry): (Slot, Entry)| {
        slot.append_unwaited(Payload::new(entry.to_bytes().unwrap()).unwrap());
    };
    for number in requests {
        let facts = facts(template.clone(), number, tenth);
        let time = start + SignedDuration::from_millis((number * 50).cast_signed());
        let admission = Entry::admit(&node, time, &facts);
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
        let end = Entry::outcome(&node, time, admission.id, outcome);
        let [slot, later] = slots(log);
        slot.append_unwaited(Payload::new(admission.to_bytes().unwrap()).unwrap());
        waiting.push_back((later, end));
        if waiting.len() > 100 {
            put(waiting.pop_front().unwrap());
        }
    }
    waiting.into_iter().for_each(&mut put);
    while log.status().queued > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn open(directory: &Path, keys: &Path, master: &Arc<MasterKey>) -> Log {
    let (secret, public) = (keys.join("signing.key"), keys.join("signing.pub"));
    SigningKey::generate("gw1")
        .unwrap()
        .write(&secret, &public)
        .unwrap();
    let options = LogOptions {
        directory: directory.to_owned(),
        node: "gw1".to_owned(),
        master: Arc::clone(master),
        signer: SigningKey::read(&secret).unwrap(),
        witnesses: Vec::new(),
        observer: Box::new(Deaf),
        limits: Limits {
            checkpoint_records: 100_000,
            ..Limits::default()
        },
        watch: SystemClock::shared(),
        truncation: Truncation::Refuse,
    };
    Log::open(options, Arc::new(RealFiles), SystemClock::shared())
        .unwrap()
        .0
}

/// Asks, and says how many answered in which time.
fn ask(index: &Index, filter: &Filter, to: u64) -> (u64, Duration) {
    let began = Instant::now();
    let mut query = Query::new(index, filter.clone(), to);
    let rows = count(&mut query);
    assert_eq!(query.unindexed(), 0);
    (rows, began.elapsed())
}

fn count(query: &mut Query) -> u64 {
    let mut rows = 0;
    loop {
        match query.look().unwrap() {
            Look::Answer(_) => rows += 1,
            Look::Nothing => {}
            Look::End => return rows,
        }
    }
}

fn by_patient(id: &str) -> Filter {
    Filter {
        patient: Some(id.to_owned()),
        ..Filter::default()
    }
}

fn by_user(id: &str) -> Filter {
    Filter {
        user: Some(id.to_owned()),
        ..Filter::default()
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Asks for many, and prints the middle and the longest time.
fn many(index: &Index, what: &str, filters: impl Iterator<Item = Filter>, to: u64) {
    let mut times = Vec::new();
    let mut rows = 0;
    for filter in filters {
        let (found, time) = ask(index, &filter, to);
        rows += found;
        times.push(time);
    }
    times.sort_unstable();
    println!(
        "  {what:<28} {:>7} rows on average   p50 {:>8.2} ms   max {:>8.2} ms",
        rows / times.len() as u64,
        millis(times[times.len() / 2]),
        millis(*times.last().unwrap())
    );
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

/// Memory of this process in MiB: now, and at most.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines: BTreeMap<&str, &str> = status.lines().filter_map(|l| l.split_once(':')).collect();
    let mib = |name: &str| {
        let kib: u64 = lines[name]
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kib / 1024
    };
    (mib("VmRSS"), mib("VmHWM"))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.replace('_', "").parse().unwrap())
}

fn main() {
    let records = number("QUERY_RECORDS", 10_000_000);
    let asked = number("ASKED", 200);
    let (requests, tenth) = (records / 2, records / 20);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = place.path().join("trail");
    let master = Arc::new(MasterKey::generate().unwrap());
    let log = open(&directory, place.path(), &master);
    let kept = Index::new(Arc::new(RealFiles), &directory, Arc::clone(&master));
    let mut from = 0;
    for upto in [tenth, requests / 3, requests] {
        let began = Instant::now();
        write(&log, from..upto, tenth);
        let (writing, new) = (began.elapsed(), (upto - from) * 2);
        from = upto;
        let status = log.status();
        let to = status.sequence;
        let began = Instant::now();
        kept.catch_up(&status).unwrap();
        let indexing = began.elapsed();
        let (trail, index) = (
            bytes_below(&directory.join("segments")),
            bytes_below(&directory.join("index")),
        );
        println!(
            "{to} records in {} segments: {} bytes a record; index {} MiB, {:.1} % of the trail",
            kept.segments().unwrap().len(),
            trail / to,
            index / MIB,
            index as f64 * 100.0 / trail as f64
        );
        println!(
            "  written at {:.0} records/s, indexed at {:.0} records/s; memory {} MiB, at most {} MiB",
            new as f64 / writing.as_secs_f64(),
            new as f64 / indexing.as_secs_f64(),
            memory().0,
            memory().1
        );
        let cold = Index::new(Arc::new(RealFiles), &directory, Arc::clone(&master));
        let (rows, time) = ask(&cold, &by_patient("often"), to);
        println!(
            "  the first question of a process: {rows} rows in {:.2} ms",
            millis(time)
        );
        for (name, _) in COUNTED {
            let (rows, _) = ask(&kept, &by_patient(name), to);
            let times = (0..20).map(|_| by_patient(name));
            many(&kept, &format!("a patient with {rows} requests"), times, to);
        }
        let some = |modulus: u64, salt: u64| {
            (0..asked).map(move |n| scattered(n.wrapping_add(salt)) % modulus)
        };
        let patients = some(PATIENTS, 7).map(|n| by_patient(&n.to_string()));
        many(&kept, &format!("{asked} patients"), patients, to);
        let users = some(USERS, 11).map(|n| by_user(&user(n)));
        many(&kept, &format!("{asked} users"), users, to);
        if upto == tenth {
            let began = Instant::now();
            let mut scan = Query::scanned(&kept, by_patient("often"), to).unwrap();
            let rows = count(&mut scan);
            println!(
                "  without the index: {rows} rows in {:.0} ms",
                millis(began.elapsed())
            );
        }
    }
    log.shutdown().unwrap();
}
