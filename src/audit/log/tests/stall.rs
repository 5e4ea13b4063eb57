//! A disk that neither fails nor answers: records are refused meanwhile, what was handed over becomes durable when it
//! answers again, and how long that took is told. No test here waits for time to pass: the watch is moved.

use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use super::faults::quiet;
use super::harness::*;
use crate::audit::log::fault::{FaultyFiles, Injection};
use crate::audit::log::*;

/// Appends on a thread of its own, and waits until the disk holds that up.
fn held(
    log: &Log,
    files: &FaultyFiles,
    text: &'static str,
) -> JoinHandle<Result<Position, LogError>> {
    files.begin(Injection::Hang);
    let log = log.clone();
    let waiting = std::thread::spawn(move || put(&log, text));
    files.wait_until_held();
    waiting
}

/// The next time of trouble that is over.
fn over(heard: &Receiver<Heard>) -> (Spell, Duration) {
    loop {
        if let Heard::Restored(spell, lasted) = heard.recv().unwrap() {
            return (spell, lasted);
        }
    }
}

#[test]
fn a_slow_disk_is_waited_for() {
    let kit = Kit::new();
    let (files, log, _heard) = quiet(&kit);
    let waiting = held(&log, &files, "slow");
    kit.watch.advance(
        kit.limits
            .stall_after
            .saturating_sub(Duration::from_secs(1)),
    );
    assert!(log.reserve::<1>(Priority::Routine).is_ok());
    assert_eq!(log.status().health, Health::Healthy);
    assert!(!waiting.is_finished());
    files.repair();
    assert_eq!(waiting.join().unwrap().unwrap().sequence, 2);
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), ["one", "slow"]);
}

#[test]
fn a_disk_that_hangs_refuses_and_goes_on() {
    let kit = Kit::new();
    let (files, log, heard) = quiet(&kit);
    let [outcome] = log.reserve::<1>(Priority::Routine).unwrap();
    let waiting = held(&log, &files, "while it hangs");
    kit.watch.advance(kit.limits.stall_after);
    let refused = waiting.join().unwrap().unwrap_err();
    assert!(matches!(refused, LogError::InDoubt { .. }), "{refused}");
    assert!(matches!(log.status().health, Health::Stalled { .. }));
    let refused = put(&log, "not taken").unwrap_err().to_string();
    assert!(refused.contains("has not answered for 5 s"), "{refused}");
    outcome.append_unwaited(payload("its outcome"));
    kit.watch.advance(Duration::from_secs(3));
    files.repair();
    let (spell, lasted) = over(&heard);
    assert_eq!(
        (spell.what, lasted),
        (Trouble::Stalled, Duration::from_secs(3))
    );
    while put(&log, "after").is_err() {
        std::thread::yield_now();
    }
    log.shutdown().unwrap();
    assert_eq!(
        kit.read_all(&files),
        ["one", "while it hangs", "its outcome", "after"]
    );
    assert!(kit.verify(&files).is_intact());
    assert_eq!(log.status().slots, 0);
}

#[test]
fn a_disk_that_hangs_and_then_fails_loses_nothing_that_was_in_doubt() {
    let kit = Kit::new();
    let (files, log, heard) = quiet(&kit);
    let waiting = held(&log, &files, "in doubt");
    kit.watch.advance(kit.limits.stall_after);
    assert!(waiting.join().unwrap().is_err());
    files.begin(Injection::Broken);
    while !matches!(heard.recv().unwrap(), Heard::Failed) {}
    assert!(matches!(log.status().health, Health::Failed { .. }));
    files.repair();
    let told = [over(&heard).0.what, over(&heard).0.what];
    assert_eq!(told, [Trouble::Stalled, Trouble::Failed]);
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), ["one", "recovered", "in doubt"]);
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn a_log_can_be_closed_while_its_disk_hangs() {
    let kit = Kit::new();
    let (files, log, _heard) = quiet(&kit);
    let waiting = held(&log, &files, "in doubt");
    kit.watch.advance(kit.limits.stall_after);
    assert!(waiting.join().unwrap().is_err());
    let lost = log.shutdown().unwrap_err();
    assert!(lost.to_string().contains("1 record could"), "{lost}");
    // The machine stops there: what was acknowledged is in the log.
    let left = files.copy();
    let (log, recovered) = kit.open(&left).unwrap();
    assert!(recovered.last_seq >= 1);
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&left)[0], "one");
    files.repair();
}
