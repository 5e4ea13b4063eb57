//! A trail past its retention, shredded by the program: proven as ever, and read by nobody, whatever copies there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chartgate::audit::log::{
    LogError, MasterKey, Reader, RealFiles, SEGMENT_KEYS, Sequences, Truncation,
};
use chartgate::audit::trail::Audit;
use chartgate::clock::{Clock, SharedClock, SystemClock};
use chartgate::config::Config;
use chartgate::request::Event;
use jiff::Timestamp;

use super::tamper::{Copied, Python, a_day};
use crate::harness::practice::{Practice, copy};

/// The calendar stands still, time goes on.
#[derive(Debug)]
struct Calendar(Timestamp, SharedClock);

impl Clock for Calendar {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        self.1.monotonic()
    }
}

fn config(practice: &Practice) -> Config {
    let arguments = practice.audit_arguments(&[]);
    Config::load_for_reading(Path::new(arguments.last().unwrap())).unwrap()
}

/// A run years ago, in which something was about patient 4711.
async fn a_run_of(practice: &Practice, day: &str) {
    let config = config(practice);
    let time = format!("{day}T10:00:00Z").parse().unwrap();
    let clock = Arc::new(Calendar(time, SystemClock::shared()));
    let opened = Audit::open(
        &config.audit,
        &config.limits,
        Arc::new(RealFiles),
        clock,
        Truncation::Refuse,
    );
    let (audit, _) = opened.await.unwrap();
    let about = BTreeMap::from([("patient".to_owned(), "4711".to_owned())]);
    audit.event(Event::BreakGlass, None, about).await.unwrap();
    audit.log().shutdown().unwrap();
}

fn sequences(practice: &Practice, trail: &Path) -> Result<Vec<u64>, LogError> {
    let master = MasterKey::read(config(practice).audit.master_key).unwrap();
    let files = Arc::new(RealFiles);
    let mut reader = Reader::new(files, trail, Arc::new(master), Sequences::ALL);
    let mut found = Vec::new();
    while let Some(record) = reader.next_record()? {
        found.push(record.sequence);
    }
    Ok(found)
}

fn keys(trail: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(trail.join(SEGMENT_KEYS)).unwrap();
    found.map(|file| file.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_past_its_retention_is_shredded_and_proven() {
    let practice = Practice::without_provider().await;
    for day in ["2017-03-01", "2018-03-01", "2019-03-01"] {
        a_run_of(&practice, day).await;
    }
    a_day(&practice).await;
    let trail = practice.path("data/trail");
    // What an archive has: the segments, and no keys.
    let archived = practice.path("archived");
    copy(&trail, &archived);
    fs::remove_dir_all(archived.join(SEGMENT_KEYS)).unwrap();
    let all = sequences(&practice, &trail).unwrap();
    let before = keys(&trail).len();

    let listed = practice.audit(&["retention", "--shred"]).await;
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    assert!(
        listed
            .out
            .contains("2 segments may be shredded with --apply"),
        "{}",
        listed.out
    );
    let found = practice.audit(&["query", "--patient", "4711"]).await;
    assert!(found.out.contains("break-glass"), "{}", found.out);
    let done = practice
        .audit(&["retention", "--shred", "--apply", "--yes"])
        .await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out
            .contains("2 segments are shredded; that is on record"),
        "{}",
        done.out
    );

    is_proven_and_passed_over(&practice, before).await;
    let last = all.last().unwrap();
    let left = sequences(&practice, &trail).unwrap();
    let first = left.first().unwrap();
    assert!(all.first() < Some(first) && first < last, "{left:?}");

    // The copy that was made before: without keys nothing, with every key there is only what is left.
    let refused = sequences(&practice, &archived).unwrap_err();
    assert!(matches!(refused, LogError::SegmentKey { .. }), "{refused}");
    copy(&trail.join(SEGMENT_KEYS), &archived.join(SEGMENT_KEYS));
    let refused = sequences(&practice, &archived).unwrap_err();
    assert!(matches!(refused, LogError::SegmentKey { .. }), "{refused}");
    fs::copy(trail.join("retired"), archived.join("retired")).unwrap();
    assert_eq!(
        sequences(&practice, &archived).unwrap().first(),
        Some(first)
    );

    goes_on(&practice, &trail).await;
}

async fn is_proven_and_passed_over(practice: &Practice, before: usize) {
    // Proven with the master key, with the public key, and by the verifier that shares no code.
    let (code, said) = practice.verify().await;
    assert_eq!((code, &said["intact"]), (Some(0), &true.into()), "{said}");
    assert!(said["notices"].to_string().contains("shredded"), "{said}");
    let copied = Copied::of(practice);
    assert_eq!(copied.verified().await, (Some(0), None, None));
    assert_eq!(
        copied.segments().len(),
        before + 3,
        "each command that reads opens one"
    );
    if let Python::Says(other) = copied.verified_by_python() {
        assert_eq!(other, None);
    }
    let file = practice.path("export.csv");
    let to = [
        "export",
        "--format",
        "csv",
        "--output",
        file.to_str().unwrap(),
    ];
    let written = practice.audit(&to).await;
    assert_eq!(written.code, Some(0), "{}", written.err);
    let sum = fs::read_to_string(practice.path("export.csv.sha256")).unwrap();
    let said = sum.lines().next().unwrap();
    assert!(said.starts_with("# without records 1 to "), "{sum}");
    let listed = practice
        .audit(&["query", "--event", "audit-exported", "--format", "json"])
        .await;
    assert!(
        listed.out.contains("\"shredded\":\"1 to "),
        "{}",
        listed.out
    );
    // Reading goes on, and says what it passes over.
    for command in [
        &["show"][..],
        &["query"],
        &["query", "--patient", "4711"],
        &["export", "--format", "jsonl"],
        &["export", "--format", "csv"],
    ] {
        let read = practice.audit(command).await;
        assert_eq!(read.code, Some(0), "{command:?}: {}", read.err);
        let shredded = "): shredded on ";
        assert_eq!(
            read.err.matches(shredded).count(),
            2,
            "{command:?}: {}",
            read.err
        );
    }
}

async fn goes_on(practice: &Practice, trail: &Path) {
    // The gateway goes on.
    let serving = practice.serve().await;
    let read = practice.audit(&["show"]).await;
    assert_eq!(
        read.err.matches("): shredded on ").count(),
        2,
        "{}",
        read.err
    );
    let asked = practice.audit(&["query", "--patient", "4711"]).await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    assert_eq!(serving.process.stop().await.code, Some(0));
    assert_eq!(practice.verify().await.0, Some(0));

    // A key that is missing though nothing says so stops it, and the message says what to do.
    let mut left = keys(trail);
    left.sort();
    let newest = left.pop().unwrap();
    let kept = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    let refused = practice.start(&[]).ended().await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(
        refused.err.contains("Put the file back from a backup"),
        "{}",
        refused.err
    );
    fs::write(&newest, kept).unwrap();
    let serving = practice.serve().await;
    assert_eq!(serving.process.stop().await.code, Some(0));
}
