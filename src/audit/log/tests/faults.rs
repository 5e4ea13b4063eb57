//! A disk that fails while the gateway runs: nothing is admitted, nothing recorded is lost, and
//! the log goes on when the cause is gone.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::harness::*;
use crate::audit::log::fault::{FaultyFiles, Injection};
use crate::audit::log::*;

fn recovery(heard: &Receiver<Heard>) -> Recovered {
    loop {
        if let Heard::Recovered(recovered) = heard.recv().unwrap() {
            return recovered;
        }
    }
}

/// Appends until it succeeds again.
fn put_again(log: &Log, heard: &Receiver<Heard>, text: &str) {
    let _recovered = recovery(heard);
    while put(log, text).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn a_failing_operation_is_never_acknowledged_and_the_log_goes_on() {
    let kit = Kit::new();
    let dry = FaultyFiles::new();
    let (log, _) = kit.open(&dry).unwrap();
    let from = dry.operations();
    for index in 0..20 {
        put(&log, &text(index, 300)).unwrap();
    }
    let to = dry.operations();
    drop(log);
    for at in from + 1..=to {
        let files = FaultyFiles::new();
        let (log, _, heard) = kit.open_heard(&files).unwrap();
        files.plan(at, Injection::Fail);
        let mut acknowledged = Vec::new();
        let mut refused = 0;
        for index in 0..20 {
            let text = text(index, 300);
            match put(&log, &text) {
                Ok(_) => acknowledged.push(text),
                Err(LogError::Unavailable { .. }) => {
                    refused += 1;
                    put_again(&log, &heard, &text);
                    acknowledged.push(text);
                }
                Err(other) => panic!("{at}: {other}"),
            }
        }
        log.shutdown().unwrap();
        let mut read = kit.read_all(&files);
        read.retain(|text| text != "recovered");
        assert_eq!(read, acknowledged, "operation {at}");
        let report = kit.verify(&files);
        assert!(report.is_intact(), "operation {at}: {report:?}");
        assert!(refused <= 1);
        assert_eq!(files.resynced(), 0, "operation {at}");
    }
}

/// A log with one record, on whose disk nothing is going on.
pub(super) fn quiet(kit: &Kit) -> (FaultyFiles, Log, Receiver<Heard>) {
    let files = FaultyFiles::new();
    let (mut options, heard) = kit.options(&files);
    options.limits.checkpoint_records = 1000;
    let (log, _) = Log::open(options, Arc::new(files.clone()), Arc::new(Still)).unwrap();
    put(&log, "one").unwrap();
    // The first batch of a run is witnessed at once, by another thread and on the same disk.
    let is_witnessed = |status: LogStatus| {
        status.checkpoint.is_some()
            && status
                .witnesses
                .iter()
                .all(|witness| witness.newest.is_some())
    };
    while !is_witnessed(log.status()) {
        std::thread::yield_now();
    }
    (files, log, heard)
}

#[test]
fn what_a_failed_sync_wrote_is_not_believed() {
    let kit = Kit::new();
    let (files, log, heard) = quiet(&kit);
    // The next batch is one write and one sync: the sync fails.
    files.plan(files.operations() + 2, Injection::Fail);
    let [admit, outcome] = log.reserve::<2>(Priority::Routine).unwrap();
    assert!(matches!(
        admit.append(payload("two")).wait(),
        Err(LogError::Unavailable { .. })
    ));
    let recovered = recovery(&heard);
    let cut = recovered.cut.unwrap();
    assert_eq!((recovered.last_seq, cut.last_seq), (1, 1));
    outcome.append_unwaited(payload("three"));
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), ["one", "recovered", "three"]);
    assert!(kit.verify(&files).is_intact());
    assert_eq!(files.resynced(), 0, "a sync that failed is not tried again");
}

/// The reason that was told for the next time of trouble, when it was over.
fn why(heard: &Receiver<Heard>) -> (Trouble, String) {
    loop {
        if let Heard::Restored(spell, _) = heard.recv().unwrap() {
            return (spell.what, spell.why.to_string());
        }
    }
}

#[test]
fn why_the_log_was_not_written_is_told_when_it_is_again() {
    for (injection, words) in [
        (Injection::Full, "No space left on device"),
        (Injection::Broken, "Input/output error"),
        (Injection::ReadOnly, "Read-only file system"),
    ] {
        let kit = Kit::new();
        let (files, log, heard) = quiet(&kit);
        files.begin(injection);
        let refused = put(&log, "two").unwrap_err();
        assert!(matches!(refused, LogError::Unavailable { .. }), "{refused}");
        assert!(matches!(log.status().health, Health::Failed { .. }));
        assert!(log.reserve::<1>(Priority::Care).is_err());
        // It tries and fails again.
        assert!(matches!(heard.recv().unwrap(), Heard::Failed));
        assert!(matches!(heard.recv().unwrap(), Heard::Failed));
        files.repair();
        let (what, why) = why(&heard);
        assert_eq!(what, Trouble::Failed);
        assert!(why.contains(words), "{why}");
        put(&log, "three").unwrap();
        log.shutdown().unwrap();
        assert_eq!(kit.read_all(&files), ["one", "recovered", "three"]);
        assert!(kit.verify(&files).is_intact());
        assert_eq!(files.resynced(), 0);
    }
}

#[test]
fn a_disk_that_comes_back_without_what_was_durable_is_not_written_on() {
    let kit = Kit::new();
    let (files, log, heard) = quiet(&kit);
    let path = segments(&files)[0].clone();
    let durable = files.content(&path).unwrap();
    files.begin(Injection::Broken);
    assert!(put(&log, "two").is_err());
    files.delete(&path);
    files.repair();
    // It looks, and stays where it is.
    for _ in 0..3 {
        while !matches!(heard.recv().unwrap(), Heard::Failed) {}
    }
    let Health::Failed { reason } = log.status().health else {
        panic!("{:?}", log.status())
    };
    assert!(reason.contains("is gone"), "{reason}");
    files.replace(&path, &durable);
    put_again(&log, &heard, "three");
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), ["one", "recovered", "three"]);
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn outcomes_wait_out_a_broken_disk() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _, heard) = kit.open_heard(&files).unwrap();
    let [admit, outcome, late] = log.reserve::<3>(Priority::Routine).unwrap();
    admit.append(payload("admit")).wait().unwrap();
    files.plan(files.operations() + 1, Injection::Broken);
    outcome.append_unwaited(payload("outcome"));
    assert!(matches!(heard.recv().unwrap(), Heard::Failed));
    assert!(matches!(log.status().health, Health::Failed { .. }));
    assert!(matches!(
        log.reserve::<1>(Priority::Care),
        Err(LogError::Unavailable { .. })
    ));
    late.append_unwaited(payload("late"));
    // It tries and fails again.
    assert!(matches!(heard.recv().unwrap(), Heard::Failed));
    files.repair();
    recovery(&heard);
    log.shutdown().unwrap();
    let mut read = kit.read_all(&files);
    read.retain(|text| text != "recovered");
    assert_eq!(read, ["admit", "outcome", "late"]);
    assert!(kit.verify(&files).is_intact());
    assert_eq!(log.status().slots, 0);
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _, heard) = kit.open_heard(&files).unwrap();
    put(&log, "one").unwrap();
    files.plan(files.operations() + 1, Injection::Full);
    let error = put(&log, &text(2, 6000)).unwrap_err();
    assert!(matches!(error, LogError::Unavailable { .. }), "{error}");
    assert!(put(&log, "three").is_err());
    files.repair();
    put_again(&log, &heard, "four");
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), ["one", "recovered", "four"]);
}

#[test]
fn a_disk_that_never_recovers_says_what_was_lost() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _, heard) = kit.open_heard(&files).unwrap();
    let [outcome] = log.reserve::<1>(Priority::Routine).unwrap();
    files.plan(files.operations() + 1, Injection::Broken);
    outcome.append_unwaited(payload("outcome"));
    assert!(matches!(heard.recv().unwrap(), Heard::Failed));
    let lost = log.shutdown().unwrap_err();
    assert!(lost.to_string().contains("1 record could"), "{lost}");
}

#[test]
fn little_space_is_kept_for_care() {
    let mut kit = Kit::new();
    kit.limits.checkpoint_records = 1;
    let files = FaultyFiles::new();
    files.set_free(kit.limits.min_free_bytes - 1);
    let (log, _, heard) = kit.open_heard(&files).unwrap();
    // The writer looks at the space when it begins; a record of care tells that it has begun.
    let [slot] = log.reserve::<1>(Priority::Care).unwrap();
    slot.append(payload("care")).wait().unwrap();
    assert_eq!(log.status().health, Health::LowSpace);
    assert!(matches!(put(&log, "routine"), Err(LogError::LowSpace)));
    files.set_free(u64::MAX);
    while log.reserve::<1>(Priority::Routine).is_err() {
        let [slot] = log.reserve::<1>(Priority::Care).unwrap();
        slot.append(payload("care")).wait().unwrap();
    }
    assert_eq!(log.status().health, Health::Healthy);
    let Heard::Degraded(spell) = heard.recv().unwrap() else {
        panic!("it is told at once")
    };
    assert_eq!(spell.what, Trouble::LowSpace);
    assert_eq!(
        &*spell.why,
        "255 MiB are free on the disk of the audit log; the last 256 MiB are kept for care"
    );
    assert!(
        matches!(heard.recv().unwrap(), Heard::Restored(spell, _) if spell.what == Trouble::LowSpace)
    );
}

#[derive(Debug)]
struct Deaf;

impl Witness for Deaf {
    fn name(&self) -> &'static str {
        "deaf"
    }

    fn publish(&mut self, _note: &str) -> Result<(), WitnessError> {
        Err(WitnessError::Other("does not listen".to_owned()))
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        Err(WitnessError::Other("does not speak".to_owned()))
    }
}

#[test]
fn a_failing_witness_holds_nothing_up() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (mut options, _heard) = kit.options(&files);
    options.witnesses.insert(0, Box::new(Deaf));
    let (log, recovered) = Log::open(options, Arc::new(files.clone()), Arc::new(Still)).unwrap();
    assert_eq!(recovered.unheard.len(), 1);
    for index in 0..20 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    let witnesses = log.status().witnesses;
    assert_eq!((witnesses[0].newest, witnesses[1].newest), (None, Some(20)));
    assert!(witnesses[0].error.is_some() && witnesses[1].error.is_none());
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn a_witness_does_not_go_back() {
    let kit = Kit::new();
    let files = kit.written(20, 80);
    let notes = String::from_utf8(files.content(witness_path()).unwrap()).unwrap();
    let mut all = Vec::new();
    each_note(notes.as_bytes(), |note| all.push(note.to_owned())).unwrap();
    let mut witness = FileWitness::new(
        witness_path(),
        Arc::new(files.clone()),
        kit.verifier.clone(),
    );
    let old = kit.written(3, 80);
    let notes = String::from_utf8(old.content(witness_path()).unwrap()).unwrap();
    let mut older = Vec::new();
    each_note(notes.as_bytes(), |note| older.push(note.to_owned())).unwrap();
    let refused = witness.publish(older.last().unwrap()).unwrap_err();
    assert!(
        matches!(
            refused,
            WitnessError::GoesBack {
                held: 20,
                offered: 3
            }
        ),
        "{refused}"
    );
    assert_eq!(witness.newest().unwrap(), all.pop());
}
