//! A crash at every operation, with every kind of survival: nothing acknowledged is lost.

use super::harness::*;
use crate::audit::log::fault::{FaultyFiles, Injection, Survival};
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

#[test]
fn a_crash_at_every_operation_loses_nothing_acknowledged() {
    let kit = Kit::new();
    let dry = FaultyFiles::new();
    assert_eq!(scenario(&kit, &dry).len(), 16);
    let operations = dry.operations();
    assert!(operations > 70, "{operations}");
    for at in 1..=operations {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = FaultyFiles::new();
            files.plan(at, injection);
            let acknowledged = scenario(&kit, &files);
            for survival in SURVIVALS {
                let disk = files.after_crash(survival);
                check_recovery(
                    &kit,
                    &disk,
                    &acknowledged,
                    &format!("{at} {injection:?} {survival:?}"),
                );
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
