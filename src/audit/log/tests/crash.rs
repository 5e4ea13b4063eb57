//! A crash at every operation, with every kind of survival: nothing acknowledged is lost.

use super::harness::*;
use crate::audit::log::fault::{FaultyFiles, Injection, Survival};
use crate::audit::log::thin::Thinning;
use crate::audit::log::*;

const SURVIVALS: [Survival; 5] = [
    Survival::All,
    Survival::Nothing,
    Survival::Prefix,
    Survival::Sectors { odd: false },
    Survival::Sectors { odd: true },
];

/// Two runs with rotations; stops at the first refusal. Returns what was acknowledged.
fn scenario(kit: &Kit, files: &FaultyFiles) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for run in 0..2 {
        let Ok((log, _)) = kit.open(files) else {
            break;
        };
        for index in 0..8 {
            let text = text(run * 100 + index, 900);
            if put(&log, &text).is_err() {
                break;
            }
            acknowledged.push(text);
        }
        // Closing a log on a machine that has stopped reports that, and changes nothing.
        let _closed = log.shutdown();
    }
    acknowledged
}

/// One run in which batches of six records are made durable at once, and only the last of each is waited for.
fn in_batches(kit: &Kit, files: &FaultyFiles) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok((log, _)) = kit.open(files) else {
        return acknowledged;
    };
    let log = log.for_worker();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let work = async {
        // With a courier the writer learns of a whole turn at once.
        tokio::task::spawn_local(log.courier().run());
        tokio::task::yield_now().await;
        for batch in 0..5 {
            let texts: Vec<String> = (0..6).map(|index| text(batch * 10 + index, 250)).collect();
            let Ok(slots) = log.reserve::<6>(Priority::Routine) else {
                break;
            };
            let mut last = None;
            for (slot, text) in slots.into_iter().zip(&texts) {
                if text == &texts[5] {
                    last = Some(slot.append(payload(text)));
                } else {
                    slot.append_unwaited(payload(text));
                }
            }
            if last.unwrap().await.is_err() {
                break;
            }
            acknowledged.extend(texts);
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, work);
    let _closed = log.shutdown();
    acknowledged
}

fn check_recovery(kit: &Kit, disk: &FaultyFiles, acknowledged: &[String], case: &str) {
    let (log, recovered) = kit
        .open(disk)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let kept = disk.copy();
    put(&log, "after").unwrap();
    log.shutdown().unwrap();
    let read = kit.read_all(disk);
    let (last, read) = read.split_last().unwrap();
    assert_eq!(last, "after", "{case}");
    assert!(
        read.starts_with(acknowledged),
        "{case}: {} of {}",
        read.len(),
        acknowledged.len()
    );
    assert_eq!(read.len() as u64, recovered.last_seq, "{case}");
    let report = kit.verify(disk);
    assert!(report.is_intact(), "{case}: {report:?}");
    if let Some(cut) = recovered.cut {
        let aside = dir().join(format!("torn/{}-{}.bin", cut.segment, cut.offset));
        assert_eq!(
            kept.content(&aside).unwrap().len() as u64,
            cut.bytes,
            "{case}"
        );
        assert!(report.notices.contains(&Notice::Cut(cut)), "{case}");
    }
}

/// Every operation of a scenario, crashed before and after, with every survival.
fn matrix(scenario: impl Fn(&Kit, &FaultyFiles) -> Vec<String>, records: usize, least: u64) {
    let kit = Kit::new();
    let dry = FaultyFiles::new();
    assert_eq!(scenario(&kit, &dry).len(), records);
    let operations = dry.operations();
    assert!(operations > least, "{operations}");
    for at in 1..=operations {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = FaultyFiles::new();
            files.plan(at, injection);
            let acknowledged = scenario(&kit, &files);
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                check_recovery(&kit, &disk, &acknowledged, &case);
            }
        }
    }
}

#[test]
fn a_crash_at_every_operation_loses_nothing_acknowledged() {
    matrix(scenario, 16, 70);
}

#[test]
fn a_crash_within_a_batch_of_several_records_loses_nothing_acknowledged() {
    matrix(in_batches, 30, 20);
}

#[test]
fn a_crash_while_segments_are_removed_leaves_a_log_that_stands() {
    const LATER: &str = "2032-03-02T10:00:00Z";
    let kit = Kit::new();
    let old = kit.written(30, 300);
    let (log, _) = kit.open_at(&old, LATER).unwrap();
    put(&log, "later").unwrap();
    log.shutdown().unwrap();
    let retired = retirable(&headers(&old, dir()).unwrap(), 6, LATER.parse().unwrap());
    assert!(retired.len() >= 2, "{retired:?}");
    let signer = || kit.options(&old).0.signer;
    let dry = old.copy();
    retire(&dry, dir(), &signer(), &retired).unwrap();
    let operations = dry.operations();
    assert!(operations > 4, "{operations}");
    for at in 1..=operations {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = old.copy();
            files.plan(at, injection);
            let _interrupted = retire(&files, dir(), &signer(), &retired);
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                let report = kit.verify(&disk);
                assert!(report.is_intact(), "{case}: {report:?}");
                let (log, recovered) = kit.open_at(&disk, LATER).unwrap();
                assert_eq!(recovered.last_seq, 31, "{case}");
                log.shutdown().unwrap();
                // Doing it again finishes it.
                retire(&disk, dir(), &signer(), &retired).unwrap();
                let report = kit.verify(&disk);
                assert!(report.is_intact(), "{case}: {report:?}");
                let gone = Notice::Retired(retired.last().unwrap().clone());
                assert!(report.notices.contains(&gone), "{case}: {report:?}");
            }
        }
    }
}

#[test]
fn a_crash_while_checkpoints_are_thinned_keeps_the_newest() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let path = witness_path();
    let notes: Vec<String> = (1..=10)
        .map(|sequence| {
            let place = Checkpoint {
                sequence,
                head: Head::default(),
                segment: uuid::Uuid::nil(),
                time: "2026-03-01T10:00:00Z".parse().unwrap(),
                previous: sequence - 1,
                clock: String::new(),
                tree: None,
            };
            place.sign(&kit.options(&files).0.signer)
        })
        .collect();
    files.replace(path, notes.join("\n").as_bytes());
    let size = notes.join("\n").len() as u64;
    let thin = |disk: &FaultyFiles| {
        Thinning::new(2, 1)
            .apply(disk, path, &kit.verifier, size)
            .map(drop)
    };
    let sequences = |disk: &FaultyFiles| {
        let mut found = Vec::new();
        each_note(disk.content(path).unwrap().as_slice(), |note| {
            found.extend(
                Checkpoint::open(note, &kit.verifier)
                    .ok()
                    .map(|c| c.sequence),
            );
        })
        .unwrap();
        found
    };
    let dry = files.copy();
    thin(&dry).unwrap();
    assert_eq!(sequences(&dry), [8, 9, 10]);
    for at in 1..=dry.operations() {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let disk = files.copy();
            disk.plan(at, injection);
            let _interrupted = thin(&disk);
            for survival in SURVIVALS {
                let left = disk.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                assert!(sequences(&left).ends_with(&[9, 10]), "{case}");
            }
        }
    }
}

#[test]
fn a_crash_during_recovery_still_puts_the_cut_on_record() {
    let mut kit = Kit::new();
    kit.limits.checkpoint_records = 1000;
    // A log torn in its last record.
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..3 {
        put(&log, &text(index, 700)).unwrap();
    }
    let torn = files.copy();
    drop(log);
    let path = segments(&torn)[0].clone();
    let mut bytes = torn.content(&path).unwrap();
    let last = frames(&bytes)[2].clone();
    bytes[last.start + 300..].fill(0);
    torn.replace(&path, &bytes);

    let dry = torn.copy();
    let (log, recovered) = kit.open(&dry).unwrap();
    let expected = recovered.cut.clone().unwrap();
    assert_eq!((expected.offset, expected.last_seq), (last.start as u64, 2));
    let operations = dry.operations();
    drop(log);
    for at in 1..=operations {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = torn.copy();
            files.plan(at, injection);
            let _interrupted = kit.open(&files);
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                kit.open(&disk).unwrap().0.shutdown().unwrap();
                let report = kit.verify(&disk);
                assert!(
                    report.is_intact(),
                    "{at} {injection:?} {survival:?}: {report:?}"
                );
                let cuts = report
                    .notices
                    .iter()
                    .filter(|n| **n == Notice::Cut(expected.clone()));
                assert_eq!(
                    cuts.count(),
                    1,
                    "{at} {injection:?} {survival:?}: {report:?}"
                );
            }
        }
    }
}
