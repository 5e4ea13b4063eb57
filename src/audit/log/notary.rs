//! The checkpoint thread: signs where the log is, keeps the note, and has it given to the witnesses.
//!
//! *Owns*: the signing key and the `checkpoints` file.
//! *Never*: delays the writer, or waits for a witness.
//! *On failure*: shown in the status; the next checkpoint is kept again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::delivery::Deliveries;
use super::error::LogError;
use super::files::{Access, Files, LockGuard, LogFile};
use super::newest::{mend, newest_note};
use super::note::{SigningKey, VerifierKey};
use super::status::Board;
use super::thin::Thinning;
use super::waiting::lock;

/// The file that collects checkpoints, below the trail's directory.
pub(super) const CHECKPOINTS: &str = "checkpoints";

#[derive(Debug, Default)]
struct Mail {
    /// The newest place to be signed; an older one that is still waiting is replaced.
    due: Option<Checkpoint>,
    stop: bool,
    finished: bool,
}

/// Where the writer leaves what is to be signed.
#[derive(Debug, Default)]
pub(super) struct MailBox {
    mail: Mutex<Mail>,
    changed: Condvar,
}

impl MailBox {
    /// Asks for a checkpoint; never waits.
    pub(super) fn post(&self, checkpoint: Checkpoint) {
        lock(&self.mail).due = Some(checkpoint);
        self.changed.notify_all();
    }

    /// Asks the thread to finish what was posted, and waits for that, but not for ever: the disk may hang. Says
    /// whether it finished.
    pub(super) fn finish(&self, patience: Duration) -> bool {
        let mut mail = lock(&self.mail);
        mail.stop = true;
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_timeout_while(mail, patience, |mail| !mail.finished);
        let (mail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mail.finished
    }

    /// Waits for a place to sign; nothing more where the thread is to end.
    fn next(&self) -> Option<Checkpoint> {
        let mut mail = lock(&self.mail);
        loop {
            if let Some(due) = mail.due.take() {
                return Some(due);
            }
            if mail.stop {
                return None;
            }
            let woken = self.changed.wait(mail);
            mail = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells that the thread is gone, however it ended.
struct Finished(Arc<MailBox>);

impl Drop for Finished {
    fn drop(&mut self) {
        lock(&self.0.mail).finished = true;
        self.0.changed.notify_all();
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Notary {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) signer: SigningKey,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) board: Arc<Board>,
    /// The newest checkpoint that an earlier run made.
    pub(super) previous: u64,
    /// The trail stays owned while this thread may write in it.
    pub(super) _lock: Arc<dyn LockGuard>,
}

impl Notary {
    /// Starts the thread.
    pub(super) fn start(self) -> Result<(Arc<MailBox>, JoinHandle<()>), LogError> {
        let mail = Arc::new(MailBox::default());
        let finished = Finished(Arc::clone(&mail));
        let thread = std::thread::Builder::new()
            .name("audit-checkpoint".to_owned())
            .spawn(move || self.run(&finished))
            .map_err(LogError::io(
                "starting a thread for",
                Path::new(CHECKPOINTS),
            ))?;
        Ok((mail, thread))
    }

    fn run(mut self, finished: &Finished) {
        let mut own = None;
        let mut thinning = Thinning::default();
        while let Some(mut due) = finished.0.next() {
            due.previous = self.previous;
            let note = due.sign(&self.signer);
            let kept = self.keep(&mut own, &mut thinning, &note);
            self.board.checkpoint(due.sequence, due.time, kept.err());
            self.previous = due.sequence;
            self.deliveries.post(due.sequence, &note);
        }
    }

    /// Appends to the trail's own file; opened afresh after an error.
    fn keep(
        &self,
        own: &mut Option<OwnFile>,
        thinning: &mut Thinning,
        note: &str,
    ) -> Result<(), String> {
        let mut file = match own.take() {
            Some(file) => file,
            None => {
                OwnFile::open(&*self.files, &self.directory).map_err(|error| error.to_string())?
            }
        };
        file.append(note).map_err(|error| error.to_string())?;
        let path = self.directory.join(CHECKPOINTS);
        let key = self.signer.verifier();
        match thinning.apply(&*self.files, &path, key, file.end) {
            Ok(None) => *own = Some(file),
            Ok(Some((file, end))) => *own = Some(OwnFile { file, end }),
            // The checkpoint is kept all the same. The file is opened afresh: another may have its name by now.
            Err(error) => tracing::warn!(%error, "old checkpoints could not be thinned"),
        }
        Ok(())
    }
}

/// The trail's own checkpoint file.
#[derive(Debug)]
struct OwnFile {
    file: Box<dyn LogFile>,
    end: u64,
}

impl OwnFile {
    fn open(files: &dyn Files, directory: &Path) -> io::Result<Self> {
        let path = directory.join(CHECKPOINTS);
        match files.open(&path, Access::Write) {
            Ok(file) => {
                let end = mend(&*file)?;
                Ok(Self { file, end })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = files.create(&path)?;
                files.sync_dir(directory)?;
                Ok(Self { file, end: 0 })
            }
            Err(error) => Err(error),
        }
    }

    fn append(&mut self, note: &str) -> io::Result<()> {
        let bytes = if self.end == 0 {
            note.to_owned()
        } else {
            format!("\n{note}")
        };
        self.file.write_all_at(self.end, bytes.as_bytes())?;
        self.file.sync_data()?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// The newest note that an earlier run kept.
pub(super) fn own_newest(
    files: &dyn Files,
    directory: &Path,
    key: &VerifierKey,
) -> Result<Option<String>, LogError> {
    let path = directory.join(CHECKPOINTS);
    match files.open(&path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("opening", &path)(error)),
        Ok(file) => newest_note(&*file, key).map_err(LogError::io("reading", &path)),
    }
}
