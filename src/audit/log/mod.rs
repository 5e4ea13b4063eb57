//! The bytes of the trail: an append-only, encrypted, hash-chained log with group commit.
//!
//! It knows nothing of what a record means: a payload is opaque bytes made elsewhere.
//!
//! *Owns*: the directory of the trail, its lock, its threads and its keys.
//! *Never*: says that a record is durable before the disk said so.
//! *On failure*: refuses every record until a new segment could be begun, or, where the disk does not answer, until it
//! does.
#![doc = include_str!("../../../docs/audit.md")]

mod checkpoint;
mod code;
mod cosign;
mod courier;
mod crypt;
mod delivery;
mod derived;
mod disclose;
mod error;
mod extent;
#[cfg(test)]
pub(crate) mod fault;
mod files;
mod format;
mod frames;
mod header;
mod headers;
mod key_text;
mod keys;
mod ledger;
mod loss;
mod newest;
mod notary;
mod note;
mod options;
mod outline;
mod proof;
mod prove;
mod queue;
mod reader;
mod recover;
mod remembered;
mod report;
mod retired;
mod rollback;
mod sealing;
mod segment;
mod segment_key;
mod spell;
mod status;
mod tail;
mod thin;
mod tree;
mod unlock;
mod verify;
mod waiting;
mod walk;
mod watchdog;
mod witness;
mod writer;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use checkpoint::{Checkpoint, each_note};
pub use code::RecoveryCode;
pub use cosign::{CosignerKey, CosigningKey};
pub use courier::Courier;
pub use crypt::{CryptError, Head};
pub use delivery::Unheard;
pub use derived::{DerivedKey, SEAL_BYTES, SheetKey, TermKey, subject};
pub use disclose::{
    DiscloseError, Disclosed, Disclosure, Piece, Proven, Run, RunError, check_run, disclose,
};
pub use error::LogError;
pub use extent::{Extent, extents};
pub use files::{Access, Files, LockGuard, LogFile, ReadAt, RealFiles};
pub use frames::{Framed, Frames, OpenSegments};
pub use header::{AcceptedLoss, Cut, FORMAT_VERSION, Header, HeaderError, Opened, Previous};
pub use headers::{Closed, Shelf, Shelved, headers};
pub use keys::{KeyError, KeyId, MasterKey};
pub use ledger::Mark;
pub use note::{NoteError, SigningKey, VerifierKey};
pub use options::{Limits, LogOptions, Observer, Truncation};
pub use outline::outline;
pub use proof::{Established, Proof, ProofError};
pub use prove::{Content, ProveError, Subject, prove};
pub use queue::{Payload, Priority, Slot, TooLong};
pub use reader::{Reader, Record, Sequences};
pub use recover::Recovered;
pub use report::{Damage, Fault, LogEnd, NoteSpan, Notice, Problem, Reach, VerifyReport};
pub use retired::{
    FEWEST_YEARS, Fate, RETIRED, Retired, ended, is_over, kept_through, retirable, retire, shred,
};
pub use segment_key::{SEGMENT_KEYS, key_file, shredded};
pub use spell::{Spell, Trouble};
pub use status::{Health, LogStatus, WitnessStatus};
pub use tree::TreeHead;
pub use unlock::derived_of;
pub use verify::{Scope, verify, verify_within};
pub use waiting::{Appending, Position};
pub use walk::{Flaw, MAX_PAYLOAD, Outline, Seal, parse_segment};
pub use witness::{FileWitness, Witness, WitnessError};

use crate::clock::SharedClock;
use crate::counted::counted;
use delivery::{Asked, Deliveries};
use ledger::Ledger;
use notary::Notary;
use queue::Queue;
use recover::{TORN, survey, sweep};
use rollback::{By, Held, Later};
use segment::{SEGMENTS, Segment};
use status::Board;
use waiting::{Relay, lock};
use watchdog::{Hand, Watchdog};
use writer::{LastAttempt, Maker, Writer};

/// How long closing waits for the last checkpoint to be signed and kept.
const NOTARY_PATIENCE: Duration = Duration::from_secs(5);
/// How long closing waits for witnesses.
const WITNESS_PATIENCE: Duration = Duration::from_secs(5);

/// The log of one gateway; clones are handles to the same log.
///
/// Dropping the last handle closes the log as [`Log::shutdown`] does.
#[derive(Clone, Debug)]
pub struct Log {
    owner: Arc<Owner>,
    relay: Arc<Relay>,
}

#[derive(Debug)]
struct Owner {
    queue: Arc<Queue>,
    board: Arc<Board>,
    mail: Arc<notary::MailBox>,
    deliveries: Arc<Deliveries>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    writer: JoinHandle<usize>,
    watchdog: JoinHandle<()>,
    notary: JoinHandle<()>,
}

impl Log {
    /// Takes the trail's lock, finds its end, and begins a new segment behind it.
    ///
    /// # Errors
    /// [`LogError`], each saying what to do; nothing is written before the checks have passed,
    /// except that a torn tail is put aside.
    pub fn open(
        options: LogOptions,
        files: Arc<dyn Files>,
        clock: SharedClock,
    ) -> Result<(Self, Recovered), LogError> {
        options.limits.check()?;
        let directory = options.directory.as_path();
        prepare(&*files, directory)?;
        let guard = take_lock(&*files, directory)?;
        sweep(&*files, directory)?;
        let known = survey(&*files, directory)?;
        let first = known.first().map(recover::Known::header);
        retired::check_beginning(&*files, directory, first, options.signer.verifier())?;
        let losses = loss::declared(&known, &options.master)?;
        let headers = known.iter().map(recover::Known::header);
        segment_key::check(&*files, directory, headers, options.signer.verifier())?;
        let end = recover::settle(&*files, directory, &known, None, options.truncation)?;
        let board = Arc::new(Board::default());
        board.set_clock("unknown".to_owned());
        let retry = options.limits.checkpoint_interval;
        let verifier = options.signer.verifier();
        let later = Arc::new(Later::new(&files, directory, verifier));
        let (deliveries, asked) =
            Deliveries::start(options.witnesses, &board, retry, &clock, &later)?;
        let (held, unheard) = everything_held(&*files, directory, asked, verifier)?;
        for unheard in &unheard {
            board.unheard(&unheard.witness);
        }
        let found = rollback::Found {
            known: &known,
            end: &end,
            losses: &losses,
        };
        let accepted = rollback::check(&*files, &found, &held, verifier, options.truncation)?;
        later.accept(&accepted);
        let (contradictions, loss) = (accepted.words(), accepted.loss);

        let maker = Maker {
            files: Arc::clone(&files),
            directory: options.directory.clone(),
            node: options.node,
            master: options.master,
            clock,
            limits: options.limits,
        };
        let (cut, previous) = (end.cut.clone(), end.previous.clone());
        let segment = maker.continue_from(end, Opened::Start, loss.clone())?;
        let recovered = Recovered {
            cut,
            accepted_loss: loss,
            last_seq: previous.sequence,
            head: previous.head,
            segment: segment.header().segment,
            unheard,
            contradictions,
        };
        board.segment(recovered.segment, segment.last(), segment.head());
        let notary = Notary {
            files,
            directory: options.directory,
            previous: newest_sequence(&held, options.signer.verifier()),
            signer: options.signer,
            deliveries: Arc::new(deliveries),
            board: Arc::clone(&board),
            _lock: Arc::clone(&guard),
        };
        let queue = Arc::new(Queue::new(options.limits, options.watch));
        let owner = Owner::start(queue, maker, segment, notary, options.observer, guard)?;
        let log = Self {
            owner: Arc::new(owner),
            relay: Arc::default(),
        };
        Ok((log, recovered))
    }

    /// A handle for one worker thread: the tasks that wait through it wake each other, which
    /// saves the writer a system call for each. Call it once for each worker.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
            relay: Arc::default(),
        }
    }

    /// Tells the writer of the records of this handle's worker, once for each turn of its event
    /// loop, if it is run on that worker.
    pub fn courier(&self) -> Courier {
        Courier::new(Arc::clone(&self.owner.queue), Arc::clone(&self.relay))
    }

    /// Takes room for `N` records, all or none, without waiting: an admission takes two (admit
    /// and outcome), a refusal one.
    ///
    /// # Errors
    /// [`LogError::Busy`], [`LogError::LowSpace`], [`LogError::Unavailable`],
    /// [`LogError::Closed`].
    pub fn reserve<const N: usize>(&self, priority: Priority) -> Result<[Slot; N], LogError> {
        self.owner.queue.reserve(priority, &self.relay)
    }

    /// How the log is.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        let posted = self.owner.board.read();
        let (in_flight, queued) = self.owner.queue.depth();
        LogStatus {
            health: self.owner.queue.health(),
            sequence: posted.sequence,
            head: posted.head,
            segment: posted.segment,
            last_sync: posted.last_sync,
            batches: posted.batches,
            records: posted.records,
            queued,
            slots: in_flight.slots,
            bytes: in_flight.bytes,
            checkpoint: posted.checkpoint,
            checkpoint_error: posted.checkpoint_error,
            witnesses: posted.witnesses,
        }
    }

    /// Says what the next checkpoints state of the clock (NTP state), on one line.
    pub fn set_clock_state(&self, state: &str) {
        self.owner.board.set_clock(state.to_owned());
    }

    /// Writes what is queued, seals the segment, gives the last checkpoint to the witnesses, and
    /// gives up the lock. Blocks; records handed over later are refused.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where records could not be written.
    pub fn shutdown(&self) -> Result<(), LogError> {
        match self.owner.close() {
            0 => Ok(()),
            lost => Err(LogError::Unavailable {
                reason: format!(
                    "{} could not be written before the end",
                    counted(lost, "record")
                )
                .into(),
            }),
        }
    }
}

impl Owner {
    /// Starts writer, watchdog and notary.
    fn start(
        queue: Arc<Queue>,
        maker: Maker,
        segment: Segment,
        notary: Notary,
        observer: Box<dyn Observer>,
        guard: Arc<dyn LockGuard>,
    ) -> Result<Self, LogError> {
        let board = Arc::clone(&notary.board);
        let deliveries = Arc::clone(&notary.deliveries);
        let (mail, notary) = notary.start()?;
        let hand = Arc::new(Hand::default());
        let watchdog = Watchdog {
            queue: Arc::clone(&queue),
            hand: Arc::clone(&hand),
            clock: Arc::clone(&maker.clock),
            limits: maker.limits,
        };
        let writer = Writer {
            queue: Arc::clone(&queue),
            board: Arc::clone(&board),
            mail: Arc::clone(&mail),
            observer,
            segment,
            hand,
            announced: VecDeque::new(),
            troubles: Vec::new(),
            scarce: None,
            ledger: Ledger::default(),
            relays: Vec::new(),
            unwitnessed: 0,
            witnessed_at: None,
            pause: maker.limits.retry_first,
            last_attempt: LastAttempt::Left,
            maker,
            _lock: guard,
        };
        let spawned = watchdog.start().and_then(|watchdog| {
            let writer = std::thread::Builder::new()
                .name("audit-writer".to_owned())
                .spawn(move || writer.run())
                .map_err(LogError::io("starting a thread for", Path::new(SEGMENTS)))?;
            Ok((watchdog, writer))
        });
        let (watchdog, writer) = spawned.inspect_err(|_| {
            queue.ended();
            mail.finish(NOTARY_PATIENCE);
        })?;
        Ok(Self {
            queue,
            board,
            mail,
            deliveries,
            running: Mutex::new(Some(Running {
                writer,
                watchdog,
                notary,
            })),
        })
    }

    /// Ends the threads; says how many records were lost.
    fn close(&self) -> usize {
        self.queue.stop();
        let Some(running) = lock(&self.running).take() else {
            return 0;
        };
        let here = std::thread::current().id();
        if [running.writer.thread().id(), running.watchdog.thread().id()].contains(&here) {
            // The last handle died with a task that this thread woke; it cannot wait for itself.
            return 0;
        }
        let lost = match self.queue.wait_for_end() {
            Ok(()) => {
                let _ended = running.watchdog.join();
                running.writer.join().unwrap_or(1)
            }
            // A disk that does not answer keeps its threads, for which nobody waits: what they hold is durable or not,
            // and the next start finds out.
            Err(in_flight) => {
                self.mail.finish(Duration::ZERO);
                return in_flight;
            }
        };
        if self.mail.finish(NOTARY_PATIENCE) {
            let _ended = running.notary.join();
        }
        self.deliveries.finish(WITNESS_PATIENCE);
        lost
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

fn prepare(files: &dyn Files, directory: &Path) -> Result<(), LogError> {
    for folder in [SEGMENTS, TORN, SEGMENT_KEYS].map(|folder| directory.join(folder)) {
        files
            .create_dir(&folder)
            .map_err(LogError::io("creating", &folder))?;
    }
    files
        .sync_dir(directory)
        .map_err(LogError::io("syncing", directory))
}

fn take_lock(files: &dyn Files, directory: &Path) -> Result<Arc<dyn LockGuard>, LogError> {
    let path = directory.join("lock");
    files.lock(&path).map(Arc::from).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            LogError::Locked { path: path.clone() }
        } else {
            LogError::io("locking", &path)(error)
        }
    })
}

/// The newest checkpoints: the trail's own and the witnesses', and of whom nothing was heard.
fn everything_held(
    files: &dyn Files,
    directory: &Path,
    asked: Asked,
    key: &VerifierKey,
) -> Result<(Vec<Held>, Vec<Unheard>), LogError> {
    let own = notary::own_newest(files, directory, key)?.map(|note| Held {
        by: By::Log,
        place: directory.join(notary::CHECKPOINTS).display().to_string(),
        note,
    });
    let mut unheard = asked.silent;
    // A log without a checkpoint of its own is new: nobody can hold one.
    if own.is_some() {
        unheard.extend(asked.empty);
    }
    Ok((own.into_iter().chain(asked.held).collect(), unheard))
}

fn newest_sequence(held: &[Held], key: &VerifierKey) -> u64 {
    held.iter()
        .filter_map(|held| Checkpoint::open(&held.note, key).ok())
        .map(|checkpoint| checkpoint.sequence)
        .max()
        .unwrap_or_default()
}
