//! Witnesses that say nothing when the log is opened, or whose file is not there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

/// A witness in a file of another machine, which cannot always be reached.
#[derive(Debug)]
struct Remote {
    file: FileWitness,
    silent: Arc<AtomicBool>,
}

impl Remote {
    fn reached(&self) -> Result<(), WitnessError> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(WitnessError::Other("does not answer".to_owned()));
        }
        Ok(())
    }
}

impl Witness for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn publish(&mut self, note: &str) -> Result<(), WitnessError> {
        self.reached()?;
        self.file.publish(note)
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        self.reached()?;
        self.file.newest()
    }

    fn is_missing(&self) -> bool {
        self.file.is_missing()
    }
}

/// A log, and the other machine.
struct Case {
    kit: Kit,
    elsewhere: FaultyFiles,
    silent: Arc<AtomicBool>,
}

impl Case {
    fn new() -> Self {
        let mut kit = Kit::new();
        kit.limits.checkpoint_records = 1;
        Self {
            kit,
            elsewhere: FaultyFiles::new(),
            silent: Arc::default(),
        }
    }

    fn open(
        &self,
        files: &FaultyFiles,
        truncation: Truncation,
    ) -> Result<(Log, Recovered), LogError> {
        let (mut options, _heard) = self.kit.options(files);
        let remote: Arc<dyn Files> = Arc::new(self.elsewhere.clone());
        options.witnesses = vec![Box::new(Remote {
            file: FileWitness::new(witness_path(), remote, self.kit.verifier.clone()),
            silent: Arc::clone(&self.silent),
        })];
        options.truncation = truncation;
        Log::open(options, Arc::new(files.clone()), Arc::new(Still))
    }

    /// The log of this disk goes on by so many records.
    fn run(&self, files: &FaultyFiles, count: usize) {
        let (log, recovered) = self.open(files, Truncation::Refuse).unwrap();
        assert!(recovered.unheard.is_empty(), "{recovered:?}");
        put_many(&log, count);
        log.shutdown().unwrap();
    }

    fn silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    fn held(&self) -> u64 {
        let bytes = self.elsewhere.content(witness_path()).unwrap_or_default();
        let mut newest = 0;
        each_note(bytes.as_slice(), |note| {
            newest = Checkpoint::open(note, &self.kit.verifier).unwrap().sequence;
        })
        .unwrap();
        newest
    }
}

fn put_many(log: &Log, count: usize) {
    for index in 0..count {
        put(log, &text(index, 80)).unwrap();
    }
}

/// Appends, so that there is something to witness, until the witness is like that.
fn until(log: &Log, is_so: impl Fn(&WitnessStatus) -> bool) -> WitnessStatus {
    loop {
        let witness = log.status().witnesses[0].clone();
        if is_so(&witness) {
            return witness;
        }
        put_many(log, 1);
    }
}

/// The trail was rolled back to 10, and has passed the 20 of its witness before that answers.
fn rolled_back(case: &Case) -> (FaultyFiles, Log) {
    let files = FaultyFiles::new();
    case.run(&files, 10);
    let older = files.copy();
    case.run(&files, 10);
    assert_eq!(case.held(), 20);
    case.silent(true);
    let (log, recovered) = case.open(&older, Truncation::Refuse).unwrap();
    assert_eq!(recovered.unheard[0].to_string(), "remote: does not answer");
    assert!(log.status().witnesses[0].was_unheard);
    put_many(&log, 30);
    (older, log)
}

#[test]
fn a_witness_that_answers_late_is_compared_before_it_is_given_anything() {
    let case = Case::new();
    let (files, log) = rolled_back(&case);
    case.silent(false);
    let witness = until(&log, |witness| witness.holds.is_some());
    assert_eq!((witness.holds, witness.newest), (Some(20), None));
    let said = witness.error.unwrap();
    assert!(said.contains("not in this log"), "{said}");
    put_many(&log, 10);
    log.shutdown().unwrap();
    assert_eq!(case.held(), 20, "nothing was published over it");
    assert_eq!(log.status().witnesses[0].holds, Some(20));
    drop(log);

    // It is asked for an operator's word, which is for witnesses alone.
    let refused = case.open(&files, Truncation::Refuse).unwrap_err();
    assert!(
        matches!(refused, LogError::Diverged { witnessed: 20, .. }),
        "{refused}"
    );
    let (log, recovered) = case.open(&files, Truncation::Accept).unwrap();
    assert_eq!(recovered.contradictions, ["remote holds checkpoint 20"]);
    assert_eq!(recovered.accepted_loss, None);
    let witness = until(&log, |witness| witness.newest.is_some());
    assert_eq!(witness.holds, None);
    log.shutdown().unwrap();
    assert!(case.held() > 50);
    drop(log);
    case.run(&files, 1);
}

#[test]
fn what_an_operator_accepted_is_not_asked_for_again_when_the_witness_fails_meanwhile() {
    let case = Case::new();
    let (files, log) = rolled_back(&case);
    log.shutdown().unwrap();
    drop(log);
    case.silent(false);
    let (log, _) = case.open(&files, Truncation::Accept).unwrap();
    case.silent(true);
    until(&log, |witness| witness.error.is_some());
    case.silent(false);
    until(&log, |witness| witness.newest.is_some());
    log.shutdown().unwrap();
}

#[test]
fn a_late_witness_that_holds_what_is_in_the_log_goes_on() {
    let case = Case::new();
    let files = FaultyFiles::new();
    case.run(&files, 10);
    case.silent(true);
    let (log, recovered) = case.open(&files, Truncation::Refuse).unwrap();
    assert_eq!(recovered.unheard.len(), 1);
    put_many(&log, 5);
    case.silent(false);
    let witness = until(&log, |witness| witness.newest.is_some());
    assert_eq!((witness.holds, witness.error), (None, None));
    // Away and back within the run: it holds what this run gave it.
    case.silent(true);
    until(&log, |witness| witness.error.is_some());
    case.silent(false);
    until(&log, |witness| witness.error.is_none());
    log.shutdown().unwrap();
    assert_eq!(case.held(), log.status().sequence);
}

/// The log lost 11 to 20 and an operator accepted that, by its own checkpoints, while the witness was away.
#[test]
fn a_late_witness_of_an_accepted_loss_is_no_news() {
    let case = Case::new();
    let files = FaultyFiles::new();
    case.run(&files, 10);
    let older = files.copy();
    case.run(&files, 10);
    let own = Path::new("/trail/checkpoints");
    older.replace(own, &files.content(own).unwrap());
    case.silent(true);
    let (log, recovered) = case.open(&older, Truncation::Accept).unwrap();
    let loss = recovered.accepted_loss.unwrap();
    assert_eq!((loss.from, loss.to), (11, 20));
    case.silent(false);
    let witness = until(&log, |witness| witness.newest.is_some());
    assert_eq!(witness.holds, None);
    log.shutdown().unwrap();
}

#[test]
fn a_file_that_is_gone_is_not_made_anew_until_somebody_makes_it() {
    let case = Case::new();
    let files = FaultyFiles::new();
    case.run(&files, 10);
    case.elsewhere.delete(witness_path());
    let (log, recovered) = case.open(&files, Truncation::Refuse).unwrap();
    let said = recovered.unheard[0].to_string();
    assert!(said.contains("is its volume mounted?"), "{said}");
    put_many(&log, 5);
    let witness = log.status().witnesses[0].clone();
    assert!(witness.error.unwrap().contains("is its volume mounted?"));
    log.shutdown().unwrap();
    drop(log);
    assert_eq!(case.elsewhere.content(witness_path()), None);

    // The empty file is the operator's word; that it is empty is said all the same.
    case.elsewhere.replace(witness_path(), b"");
    let (log, recovered) = case.open(&files, Truncation::Refuse).unwrap();
    let said = recovered.unheard[0].to_string();
    assert!(said.contains("though it has held checkpoints"), "{said}");
    until(&log, |witness| witness.newest.is_some());
    log.shutdown().unwrap();
    assert!(case.held() > 15);
}

#[test]
fn a_witness_that_was_just_added_is_told_from_one_that_is_gone() {
    let case = Case::new();
    let files = case.kit.written(10, 80);
    // The witness of before is not configured any more, this one is.
    let (log, recovered) = case.open(&files, Truncation::Refuse).unwrap();
    let said = recovered.unheard[0].to_string();
    assert!(said.contains("right where it was just added"), "{said}");
    until(&log, |witness| witness.newest.is_some());
    log.shutdown().unwrap();
    drop(log);
    case.run(&files, 1);
    // Of a new log nobody can hold anything.
    let case = Case::new();
    case.run(&FaultyFiles::new(), 1);
}
