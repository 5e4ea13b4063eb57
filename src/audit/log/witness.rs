//! Witnesses: where checkpoints go, so that a log that was cut or rolled back can be told from one
//! that never was longer.
//!
//! *Never*: takes a checkpoint that goes back. *On failure*: reports it; the log goes on, the
//! newest checkpoint is offered again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::files::{Access, Files, LogFile};
use super::newest::newest_note;
use super::note::{NoteError, VerifierKey};
use super::thin::Thinning;

/// Why a witness did not take or give a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The witness's medium failed.
    #[error("{place}: {source}")]
    Io {
        /// Where.
        place: String,
        /// The reason.
        source: io::Error,
    },
    /// The checkpoint is behind what the witness already holds.
    #[error("holds checkpoint {held} already, which is newer than {offered}")]
    GoesBack {
        /// The newest sequence number held.
        held: u64,
        /// The one that was offered.
        offered: u64,
    },
    /// What the witness holds is not in this log: it was rolled back, or is another one.
    #[error(
        "holds checkpoint {held}, which is not in this log; nothing is given to it until an operator says so at a start"
    )]
    Contradicts {
        /// The sequence number that it holds.
        held: u64,
    },
    /// A note is not this log's.
    #[error("{place}: {source}")]
    Note {
        /// Where.
        place: String,
        /// What is wrong with it.
        source: NoteError,
    },
    /// Any other reason, in words.
    #[error("{0}")]
    Other(String),
}

impl WitnessError {
    /// The checkpoint that the witness holds and this log does not have, where that is why.
    #[must_use]
    pub const fn holds(&self) -> Option<u64> {
        match self {
            Self::GoesBack { held, .. } | Self::Contradicts { held } => Some(*held),
            Self::Io { .. } | Self::Note { .. } | Self::Other(_) => None,
        }
    }
}

/// Keeps checkpoints outside the data directory. Each has a thread of its own, which may block.
pub trait Witness: Send + fmt::Debug {
    /// A short name for status and messages.
    fn name(&self) -> &str;

    /// Takes a signed checkpoint. MUST return success only once it is durable at the witness,
    /// and MUST refuse one with a smaller sequence number than the newest it holds.
    ///
    /// # Errors
    /// [`WitnessError`]; the caller offers its newest checkpoint again later.
    fn publish(&mut self, note: &str) -> Result<(), WitnessError>;

    /// The newest checkpoint held, if any: asked when the log is opened, and before it is given one after it did not
    /// answer, or did not take one.
    ///
    /// # Errors
    /// [`WitnessError`]; the log then opens without this witness's word, and says so.
    fn newest(&mut self) -> Result<Option<String>, WitnessError>;

    /// Whether it can say what it holds at all.
    fn is_asked(&self) -> bool {
        true
    }

    /// Whether what holds the checkpoints is not there: one that held some may be on a volume that is not mounted.
    fn is_missing(&self) -> bool {
        false
    }

    /// How long it rests after it took a checkpoint; the newest is then offered to it, and at the end in any case.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }
}

/// A witness that appends to a file on another path: another disk, or a mount that only grows. Where the medium lets
/// it, long past checkpoints are thinned.
#[derive(Debug)]
pub struct FileWitness {
    path: PathBuf,
    name: String,
    files: Arc<dyn Files>,
    verifier: VerifierKey,
    open: Option<Opened>,
    thinning: Thinning,
}

#[derive(Debug)]
struct Opened {
    file: Box<dyn LogFile>,
    end: u64,
    held: Option<u64>,
}

impl Opened {
    fn append(&mut self, note: &str) -> io::Result<()> {
        // A torn end is left where it is (the medium may only grow) and fenced off.
        let bytes = format!("\n\n{note}\n");
        self.file.write_all_at(self.end, bytes.as_bytes())?;
        self.file.sync_data()?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

impl FileWitness {
    /// A witness in the file at `path`, which need not exist yet; its directory must.
    #[must_use]
    pub fn new(path: &Path, files: Arc<dyn Files>, verifier: VerifierKey) -> Self {
        Self {
            path: path.to_owned(),
            name: format!("file {}", path.display()),
            files,
            verifier,
            open: None,
            thinning: Thinning::default(),
        }
    }

    fn io_error(&self, source: io::Error) -> WitnessError {
        WitnessError::Io {
            place: self.name.clone(),
            source,
        }
    }

    fn note_error(&self, source: NoteError) -> WitnessError {
        WitnessError::Note {
            place: self.name.clone(),
            source,
        }
    }

    /// Opens the file, or makes it, and finds where its whole notes end.
    fn opened(&mut self) -> Result<Opened, WitnessError> {
        if let Some(opened) = self.open.take() {
            return Ok(opened);
        }
        let file = match self.files.open(&self.path, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.files.create(&self.path);
                let file = file.map_err(|source| self.io_error(source))?;
                if let Some(parent) = self.path.parent() {
                    self.files
                        .sync_dir(parent)
                        .map_err(|source| self.io_error(source))?;
                }
                file
            }
            other => other.map_err(|source| self.io_error(source))?,
        };
        let newest = newest_note(&*file, &self.verifier).map_err(|source| self.io_error(source))?;
        let held = match newest {
            None => None,
            Some(note) => Some(
                Checkpoint::open(&note, &self.verifier)
                    .map_err(|source| self.note_error(source))?
                    .sequence,
            ),
        };
        let end = file.size().map_err(|source| self.io_error(source))?;
        Ok(Opened { file, end, held })
    }
}

impl Witness for FileWitness {
    fn name(&self) -> &str {
        &self.name
    }

    fn publish(&mut self, note: &str) -> Result<(), WitnessError> {
        let offered = Checkpoint::open(note, &self.verifier)
            .map_err(|source| self.note_error(source))?
            .sequence;
        let mut opened = self.opened()?;
        if let Some(held) = opened.held.filter(|held| *held > offered) {
            self.open = Some(opened);
            return Err(WitnessError::GoesBack { held, offered });
        }
        // After an error the file is opened afresh: a failed sync says nothing about a second.
        opened
            .append(note)
            .map_err(|source| self.io_error(source))?;
        opened.held = Some(offered);
        let thinned = self
            .thinning
            .apply(&*self.files, &self.path, &self.verifier, opened.end);
        match thinned {
            Ok(thinned) => {
                if let Some((file, end)) = thinned {
                    (opened.file, opened.end) = (file, end);
                }
                self.open = Some(opened);
            }
            // The checkpoint is held all the same. The file is opened afresh: another may have its name by now.
            Err(error) => {
                tracing::warn!(witness = self.name, %error, "old checkpoints could not be thinned");
            }
        }
        Ok(())
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        let file = match self.files.open(&self.path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| self.io_error(source))?,
        };
        newest_note(&*file, &self.verifier).map_err(|source| self.io_error(source))
    }

    fn is_missing(&self) -> bool {
        let opened = self.files.open(&self.path, Access::Read);
        matches!(opened, Err(error) if error.kind() == io::ErrorKind::NotFound)
    }
}
