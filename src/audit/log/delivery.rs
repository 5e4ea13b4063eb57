//! One thread for each witness: it asks the witness what it holds, then gives it the newest checkpoint until it took
//! that.
//!
//! *Owns*: the witnesses.
//! *Never*: makes one witness wait for another, or the opening of the log for a witness that does not answer. Gives a
//! witness anything before what it holds was compared with the log: when that is opened, or as soon as it answers.
//! *On failure*: shown in the status; the witness is asked, and the newest checkpoint offered, again after the
//! checkpoint interval.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::LogError;
use super::notary::CHECKPOINTS;
use super::remembered::Remembered;
use super::rollback::{By, Held, Later};
use super::status::{Board, WitnessStatus};
use super::waiting::lock;
use super::witness::{Witness, WitnessError};
use crate::clock::SharedClock;
use crate::telemetry::metrics as names;

/// How long the opening of the log waits for what all witnesses hold, in total.
const ASKING: Duration = Duration::from_secs(5);

type Answer = (usize, Result<Said, WitnessError>);

/// What a witness says that it holds.
#[derive(Debug)]
enum Said {
    Note(String),
    Nothing,
    /// It is none that can be asked.
    Mute,
}

/// What one witness is to take.
#[derive(Debug, Default)]
struct Outgoing {
    /// The newest checkpoint; an older one that still waits is replaced.
    newest: Option<(u64, Arc<str>)>,
    /// It has not been offered yet.
    fresh: bool,
    /// What the witness holds was compared when the log was opened.
    compared: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Outbox {
    outgoing: Mutex<Outgoing>,
    changed: Condvar,
}

impl Outbox {
    /// Waits for a checkpoint to offer: a new one, or after `retry` the same again. Nothing more where it is to stop.
    fn next(&self, retry: Option<Duration>) -> Option<(u64, Arc<str>)> {
        let mut outgoing = lock(&self.outgoing);
        loop {
            if outgoing.fresh {
                outgoing.fresh = false;
                return outgoing.newest.clone();
            }
            if outgoing.stop {
                return None;
            }
            let (again, is_due) = self.wait(outgoing, retry);
            outgoing = again;
            if is_due && !outgoing.fresh && !outgoing.stop {
                return outgoing.newest.clone();
            }
        }
    }

    fn wait<'o>(
        &self,
        outgoing: MutexGuard<'o, Outgoing>,
        retry: Option<Duration>,
    ) -> (MutexGuard<'o, Outgoing>, bool) {
        match retry {
            None => {
                let woken = self.changed.wait(outgoing);
                (woken.unwrap_or_else(PoisonError::into_inner), false)
            }
            Some(pause) => {
                let woken = self.changed.wait_timeout(outgoing, pause);
                let (outgoing, waited) = woken.unwrap_or_else(PoisonError::into_inner);
                (outgoing, waited.timed_out())
            }
        }
    }

    /// Lets the witness rest; an end is not waited for.
    fn rest(&self, pause: Duration) {
        let outgoing = lock(&self.outgoing);
        drop(
            self.changed
                .wait_timeout_while(outgoing, pause, |outgoing| !outgoing.stop),
        );
    }
}

/// The threads that have not ended.
#[derive(Debug, Default)]
struct Running {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Tells that a thread is gone, however it ended.
struct Gone(Arc<Running>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut count = lock(&self.0.count);
        *count = count.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

/// The witnesses' threads. Dropping it ends them without waiting.
#[derive(Debug)]
pub(super) struct Deliveries {
    outboxes: Vec<Arc<Outbox>>,
    running: Arc<Running>,
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A witness by which nothing is known of the log when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// Its name.
    pub witness: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.witness, self.reason)
    }
}

/// What witnesses said when the log was opened.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What those who answered hold.
    pub(super) held: Vec<Held>,
    /// Who did not answer.
    pub(super) silent: Vec<Unheard>,
    /// Who holds nothing.
    pub(super) empty: Vec<Unheard>,
}

impl Deliveries {
    /// Starts the threads and asks for the newest checkpoints. A witness that does not answer in time goes on to be
    /// asked, and is given checkpoints once it did.
    pub(super) fn start(
        witnesses: Vec<Box<dyn Witness>>,
        board: &Arc<Board>,
        retry: Duration,
        clock: &SharedClock,
        later: &Arc<Later>,
    ) -> Result<(Self, Asked), LogError> {
        let names: Vec<String> = witnesses.iter().map(|w| w.name().to_owned()).collect();
        let remembered = Remembered::read(&later.files, &later.directory, &names);
        let remembered = Arc::new(remembered);
        board.witnesses(names.iter().map(|name| WitnessStatus::of(name)).collect());
        let mut deliveries = Self {
            outboxes: Vec::new(),
            running: Arc::default(),
        };
        let (answered, answers) = mpsc::channel();
        for (index, witness) in witnesses.into_iter().enumerate() {
            let outbox = Arc::<Outbox>::default();
            deliveries.outboxes.push(Arc::clone(&outbox));
            let delivery = Delivery {
                index,
                status: WitnessStatus::of(witness.name()),
                witness,
                outbox,
                board: Arc::clone(board),
                retry,
                later: Arc::clone(later),
                remembered: Arc::clone(&remembered),
                compared: false,
            };
            deliveries.spawn(delivery, answered.clone())?;
        }
        drop(answered);
        let heard = hear(&answers, names.len(), clock);
        let asked = deliveries.sorted(names, heard, &remembered);
        Ok((deliveries, asked))
    }

    /// What the answers come to.
    fn sorted(
        &self,
        names: Vec<String>,
        heard: Vec<Option<Result<Said, WitnessError>>>,
        remembered: &Remembered,
    ) -> Asked {
        let mut asked = Asked::default();
        for ((witness, answer), outbox) in names.into_iter().zip(heard).zip(&self.outboxes) {
            // SECURITY: whoever opens the log compares what was heard in time, and nothing else.
            lock(&outbox.outgoing).compared = matches!(answer, Some(Ok(_)));
            let reason = match answer {
                Some(Ok(Said::Mute)) => continue,
                Some(Ok(Said::Note(note))) => {
                    let (by, place) = (By::Witness, witness);
                    asked.held.push(Held { by, place, note });
                    continue;
                }
                Some(Ok(Said::Nothing)) => {
                    let reason = if remembered.knows(&witness) {
                        "holds nothing, though it has held checkpoints of this trail"
                    } else {
                        "holds nothing of this trail, which is not new: right where it was just added"
                    };
                    let reason = reason.to_owned();
                    asked.empty.push(Unheard { witness, reason });
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None => format!("no answer within {} s", ASKING.as_secs()),
            };
            tracing::warn!(witness, error = reason, "a witness does not answer");
            asked.silent.push(Unheard { witness, reason });
        }
        asked
    }

    fn spawn(&self, delivery: Delivery, answered: Sender<Answer>) -> Result<(), LogError> {
        {
            let mut count = lock(&self.running.count);
            *count = count.saturating_add(1);
        }
        let gone = Gone(Arc::clone(&self.running));
        std::thread::Builder::new()
            .name(format!("audit-witness-{}", delivery.index))
            .spawn(move || {
                let _gone = gone;
                delivery.run(answered);
            })
            .map(drop)
            .map_err(LogError::io(
                "starting a thread for",
                Path::new(CHECKPOINTS),
            ))
    }

    /// Has every witness given this checkpoint; never waits.
    pub(super) fn post(&self, sequence: u64, note: &str) {
        let note: Arc<str> = note.into();
        for outbox in &self.outboxes {
            let mut outgoing = lock(&outbox.outgoing);
            outgoing.newest = Some((sequence, Arc::clone(&note)));
            outgoing.fresh = true;
            drop(outgoing);
            outbox.changed.notify_all();
        }
    }

    fn stop(&self) {
        for outbox in &self.outboxes {
            lock(&outbox.outgoing).stop = true;
            outbox.changed.notify_all();
        }
    }

    /// Has what was posted offered once more, and waits for that, but not for ever: a witness may hang. It then keeps
    /// its thread, which owns nothing that anyone waits for.
    pub(super) fn finish(&self, patience: Duration) {
        self.stop();
        let count = lock(&self.running.count);
        drop(
            self.running
                .changed
                .wait_timeout_while(count, patience, |count| *count > 0),
        );
    }
}

/// Hears what so many witnesses hold, in their order, for as long as is waited for them.
fn hear(
    answers: &Receiver<Answer>,
    count: usize,
    clock: &SharedClock,
) -> Vec<Option<Result<Said, WitnessError>>> {
    let begun = clock.monotonic();
    let mut heard: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
    loop {
        let gone = clock.monotonic().saturating_sub(begun);
        // It ends when every thread has answered, or time is over.
        match answers.recv_timeout(ASKING.saturating_sub(gone)) {
            Ok((index, answer)) => {
                if let Some(place) = heard.get_mut(index) {
                    *place = Some(answer);
                }
            }
            Err(_) => return heard,
        }
    }
}

/// What one thread works with.
#[derive(Debug)]
struct Delivery {
    index: usize,
    witness: Box<dyn Witness>,
    status: WitnessStatus,
    outbox: Arc<Outbox>,
    board: Arc<Board>,
    retry: Duration,
    later: Arc<Later>,
    remembered: Arc<Remembered>,
    /// What it holds is known to be in the log, and it has taken everything since.
    compared: bool,
}

impl Delivery {
    fn run(mut self, answered: Sender<Answer>) {
        let answer = self.ask();
        if let Err(error) = &answer {
            self.failed(error);
        }
        // Whoever opened the log may have given up waiting.
        let _heard = answered.send((self.index, answer));
        drop(answered);
        let mut is_behind = false;
        while let Some((sequence, note)) = self.outbox.next(is_behind.then_some(self.retry)) {
            match self.give(&note) {
                Ok(()) => {
                    is_behind = false;
                    self.status.newest = Some(sequence);
                    self.status.error = None;
                    self.status.holds = None;
                    self.show("ok");
                    let pause = self.witness.pause();
                    if !pause.is_zero() {
                        self.outbox.rest(pause);
                    }
                }
                Err(error) => {
                    is_behind = true;
                    self.compared = false;
                    tracing::warn!(witness = self.status.name, %error, "a witness did not take a checkpoint");
                    self.failed(&error);
                }
            }
        }
    }

    /// What it holds.
    fn ask(&mut self) -> Result<Said, WitnessError> {
        if !self.witness.is_asked() {
            return Ok(Said::Mute);
        }
        if let Some(note) = self.witness.newest()? {
            return Ok(Said::Note(note));
        }
        // SECURITY: a file that is made where a volume is not mounted would be on the gateway's own disk.
        if self.remembered.knows(&self.status.name) && self.witness.is_missing() {
            return Err(WitnessError::Other(
                "is gone, though it has held checkpoints of this trail: is its volume mounted? Where it was replaced, make the empty file"
                    .to_owned(),
            ));
        }
        Ok(Said::Nothing)
    }

    /// Gives it a checkpoint, once what it holds is known to be in the log.
    fn give(&mut self, note: &str) -> Result<(), WitnessError> {
        self.compared |= std::mem::take(&mut lock(&self.outbox.outgoing).compared);
        if !self.compared {
            match self.ask()? {
                Said::Note(held) => self.later.check(&self.status.name, &held)?,
                Said::Nothing | Said::Mute => {}
            }
            self.compared = true;
        }
        self.witness.publish(note)?;
        if self.witness.is_asked() {
            self.remembered.note(&self.status.name);
        }
        Ok(())
    }

    fn failed(&mut self, error: &WitnessError) {
        self.status.error = Some(error.to_string());
        self.status.holds = error.holds();
        self.show(match self.status.holds {
            Some(_) => "goes_back",
            None => "failed",
        });
    }

    fn show(&self, result: &'static str) {
        let witness = self.status.name.clone();
        metrics::counter!(names::WITNESS_ATTEMPTS, "witness" => witness, "result" => result)
            .increment(1);
        self.board.witness(self.index, self.status.clone());
    }
}
