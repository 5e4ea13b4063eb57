//! The machine stops at every operation on the disk: whatever was admitted has exactly one outcome after the next start.

use std::path::{Path, PathBuf};

use super::tests::{configured, facts};
use super::*;
use crate::audit::entry::Phase;
use crate::audit::fixture::limits;
use crate::audit::log::fault::{FaultyFiles, Injection, Survival};
use crate::audit::outcome::OutcomeGuard;
use crate::audit::show::{Filter, Show};

const SURVIVALS: [Survival; 4] = [
    Survival::All,
    Survival::Nothing,
    Survival::Prefix,
    Survival::Sectors { odd: true },
];

async fn open(config: &config::Audit, files: &FaultyFiles) -> Result<(Audit, Settled), OpenError> {
    let files = Arc::new(files.clone());
    let clock = SystemClock::shared();
    Audit::open(config, &limits(), files, clock, Truncation::Refuse).await
}

/// A run in which every other request is still open when the machine stops; returns those that were admitted, and what
/// has to be kept until then.
async fn run(
    config: &config::Audit,
    files: &FaultyFiles,
) -> (usize, Vec<OutcomeGuard>, Option<Audit>) {
    let Ok((audit, _)) = open(config, files).await else {
        return (0, Vec::new(), None);
    };
    let (mut admitted, mut waiting) = (0, Vec::new());
    for number in 0..5 {
        let Ok(guard) = audit.record_admission(&facts()).await else {
            break;
        };
        admitted += 1;
        if number % 2 == 0 {
            waiting.push(guard);
        } else {
            guard.finish(End::Complete);
        }
    }
    (admitted, waiting, Some(audit))
}

fn entries(config: &config::Audit, files: &FaultyFiles) -> Vec<Entry> {
    let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
    let files = Arc::new(files.clone());
    let all = Filter::default();
    let mut show = Show::new(files, &config.directory, master, all, u64::MAX);
    std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
}

/// Starts twice and looks at the whole trail.
async fn check(config: &config::Audit, disk: &FaultyFiles, admitted: usize, case: &str) {
    let (audit, settled) = open(config, disk)
        .await
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    audit
        .event(Event::Stopped, None, BTreeMap::new())
        .await
        .unwrap();
    audit.log().shutdown().unwrap();
    drop(audit);
    let (audit, again) = open(config, disk).await.unwrap();
    assert_eq!(
        (again.unknown, again.before),
        (0, Before::Stopped),
        "{case}"
    );
    drop(audit);
    let entries = entries(config, disk);
    let admissions = entries.iter().filter(|entry| entry.phase == Phase::Admit);
    assert!(admissions.clone().count() >= admitted, "{case}");
    for admission in admissions {
        let outcomes = entries
            .iter()
            .filter(|entry| entry.of == Some(admission.id));
        assert_eq!(outcomes.count(), 1, "{case}: {admission:?}");
    }
    let mut recovered = entries
        .iter()
        .filter(|entry| entry.event == Some(Event::Recovered));
    if settled.unknown > 0 || settled.cut_bytes > 0 {
        assert!(recovered.clone().count() >= 1, "{case}");
    }
    if settled.cut_bytes > 0 {
        let bytes = settled.cut_bytes.to_string();
        assert!(
            recovered.any(|entry| entry.detail.get("cut_bytes") == Some(&bytes)),
            "{case}"
        );
    }
}

fn in_memory(dir: &Path) -> config::Audit {
    config::Audit {
        checkpoint_records: 1000,
        // A few records each.
        segment_bytes: 4096,
        ..configured(dir)
    }
}

#[tokio::test]
async fn every_admission_of_a_crashed_run_has_exactly_one_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let config = in_memory(dir.path());
    let dry = FaultyFiles::new();
    let (admitted, waiting, audit) = run(&config, &dry).await;
    assert_eq!((admitted, waiting.len()), (5, 3));
    let operations = dry.operations();
    drop((waiting, audit));
    // Beyond the last operation: it stops while nothing is written.
    for at in 1..=operations + 1 {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = FaultyFiles::new();
            files.plan(at, injection);
            let (admitted, waiting, audit) = run(&config, &files).await;
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                check(&config, &disk, admitted, &case).await;
            }
            drop((waiting, audit));
        }
    }
}

#[tokio::test]
async fn a_crash_while_a_start_settles_gives_no_admission_a_second_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let config = in_memory(dir.path());
    let files = FaultyFiles::new();
    let (admitted, waiting, audit) = run(&config, &files).await;
    let left = files.after_crash(Survival::All);
    drop((waiting, audit));
    let dry = left.copy();
    let (audit, settled) = open(&config, &dry).await.unwrap();
    assert_eq!(settled.unknown, 3);
    let operations = dry.operations();
    drop(audit);
    for at in 1..=operations {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = left.copy();
            files.plan(at, injection);
            let interrupted = open(&config, &files).await;
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                check(&config, &disk, admitted, &case).await;
            }
            drop(interrupted);
        }
    }
}

fn segments_of(files: &FaultyFiles) -> Vec<PathBuf> {
    let mut paths = files.paths();
    paths.retain(|path| path.extension().is_some_and(|end| end == "cgseg"));
    paths
}

/// The number of a segment's first record, which its file's name begins with.
fn begun_by(segment: &Path) -> u64 {
    let name = segment.file_name().unwrap().to_str().unwrap();
    name.split('-').next().unwrap().parse().unwrap()
}

/// A byte of an early record is altered, which nobody may notice who does not read it.
#[tokio::test]
async fn a_start_reads_no_more_than_the_last_segment() {
    let dir = tempfile::tempdir().unwrap();
    let config = in_memory(dir.path());
    let files = FaultyFiles::new();
    let (audit, _) = open(&config, &files).await.unwrap();
    let first = audit.record_admission(&facts()).await.unwrap();
    for _ in 0..40 {
        let guard = audit.record_admission(&facts()).await.unwrap();
        guard.finish(End::Complete);
    }
    let last = audit.record_admission(&facts()).await.unwrap();
    // A start looks where the newest checkpoint is, here and at each witness: they have to be of the last segments.
    let begun = begun_by(segments_of(&files).last().unwrap());
    let newest = || {
        let status = audit.log().status();
        let held = status.witnesses.iter().map(|witness| witness.newest);
        let kept = status.checkpoint.map(|(sequence, _)| sequence);
        held.chain([kept]).min().flatten()
    };
    while newest().is_none_or(|sequence| sequence < begun - 1) {
        tokio::task::yield_now().await;
    }
    let left = files.after_crash(Survival::All);
    drop((first, last, audit));
    let segments = segments_of(&left);
    assert!(segments.len() > 4, "{segments:?}");
    for path in &segments[..segments.len() - 2] {
        let mut bytes = left.content(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        left.replace(path, &bytes);
    }
    let dry = left.copy();
    let (audit, settled) = open(&config, &dry).await.unwrap();
    assert_eq!((settled.unknown, settled.before), (2, Before::Unclean));
    let operations = dry.operations();
    drop(audit);
    // Nor does the start after one that did not come to its end.
    for at in 1..=operations {
        let files = left.copy();
        files.plan(at, Injection::CrashAfter);
        let interrupted = open(&config, &files).await;
        let disk = files.after_crash(Survival::All);
        drop(interrupted);
        let (audit, settled) = open(&config, &disk).await.unwrap();
        assert!(settled.unknown <= 2, "{at}: {settled:?}");
        drop(audit);
    }
}
