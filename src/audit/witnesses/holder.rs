//! The other end of an HTTPS witness: holds checkpoints of one log in a file, and says so under a key of its own.
//!
//! *Owns*: the file, its lock, and the key that cosigns.
//! *Never*: says that it holds a note before that is durable; takes one that goes back or cannot follow the one that it
//! holds, or that the log did not sign.
//! *On failure*: [`WitnessError`]; the file is opened afresh, and the note may be offered again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::log::{
    Checkpoint, CosigningKey, FileWitness, Files, LockGuard, NoteError, VerifierKey, Witness,
    WitnessError,
};
use crate::clock::SharedClock;

/// Why nothing can be held.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// Another process holds the file.
    #[error("another process holds {0}; one witness is one process")]
    Locked(PathBuf),
    /// The lock.
    #[error("locking {path}: {source}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What the file holds.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

/// What became of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is durable; the line by which the witness says so.
    Held(String),
    /// It does not follow the one that is held, which is newer or of another history: this one.
    GoesBack(String),
    /// The log did not sign it.
    Foreign(NoteError),
}

/// The checkpoints of one log.
#[derive(Debug)]
pub struct Holder {
    log: VerifierKey,
    key: CosigningKey,
    clock: SharedClock,
    held: Mutex<Held>,
    _lock: Box<dyn LockGuard>,
}

#[derive(Debug)]
struct Held {
    file: FileWitness,
    newest: Option<String>,
}

impl Holder {
    /// Holds the checkpoints of `log` in the file at `path`, which need not exist yet.
    ///
    /// # Errors
    /// [`HolderError`], also where the newest note in the file is not of this log.
    pub fn open(
        path: &Path,
        files: &Arc<dyn Files>,
        log: VerifierKey,
        key: CosigningKey,
        clock: SharedClock,
    ) -> Result<Self, HolderError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let guarded = path.with_file_name(name);
        let lock = files.lock(&guarded).map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                HolderError::Locked(path.to_owned())
            } else {
                HolderError::Lock {
                    path: guarded.clone(),
                    source,
                }
            }
        })?;
        let mut file = FileWitness::new(path, Arc::clone(files), log.clone());
        let newest = file.newest()?;
        if let Some(note) = &newest {
            let place = path.display().to_string();
            Checkpoint::open(note, &log).map_err(|source| WitnessError::Note { place, source })?;
        }
        Ok(Self {
            log,
            key,
            clock,
            held: Mutex::new(Held { file, newest }),
            _lock: lock,
        })
    }

    /// The log whose checkpoints it holds.
    #[must_use]
    pub const fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The newest note, with the witness's own line.
    #[must_use]
    pub fn newest(&self) -> Option<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.newest.clone()
    }

    /// Takes a note. Blocks until it is durable.
    ///
    /// # Errors
    /// [`WitnessError::Io`], where it cannot be made durable.
    pub fn take(&self, note: &str) -> Result<Taken, WitnessError> {
        // SECURITY: lines of others are dropped: anyone could add them, and as many as they like.
        let note = match self.log.own(note) {
            Ok(note) => note,
            Err(error) => return Ok(Taken::Foreign(error)),
        };
        let signed = Checkpoint::open(&note, &self.log)
            .and_then(|offered| Ok((offered, self.key.cosign(&note, self.clock.now())?)));
        let (offered, line) = match signed {
            Ok(signed) => signed,
            Err(error) => return Ok(Taken::Foreign(error)),
        };
        let note = note + &line;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = &held.newest {
            let known = Checkpoint::open(newest, &self.log);
            if !known.is_ok_and(|known| offered.follows(&known)) {
                return Ok(Taken::GoesBack(newest.clone()));
            }
        }
        match held.file.publish(&note) {
            Ok(()) => {
                held.newest = Some(note);
                Ok(Taken::Held(line))
            }
            Err(error) => match (error.holds(), &held.newest) {
                (Some(_), Some(newest)) => Ok(Taken::GoesBack(newest.clone())),
                (Some(_) | None, _) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::log::fault::{FaultyFiles, Injection};
    use crate::audit::log::{SigningKey, each_note};
    use crate::clock::ManualClock;

    struct Kit {
        log: SigningKey,
        key: CosigningKey,
        files: FaultyFiles,
        _home: tempfile::TempDir,
        private: PathBuf,
    }

    impl Kit {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let key = CosigningKey::generate("witness.example").unwrap();
            let private = home.path().join("k");
            key.write(&private, &home.path().join("k.pub")).unwrap();
            Self {
                log: SigningKey::generate("gw").unwrap(),
                key,
                files: FaultyFiles::new(),
                _home: home,
                private,
            }
        }

        fn open(&self) -> Result<Holder, HolderError> {
            let files: Arc<dyn Files> = Arc::new(self.files.clone());
            let clock = ManualClock::new("2026-03-01T10:00:00Z".parse().unwrap());
            Holder::open(
                Path::new("/w/checkpoints"),
                &files,
                self.log.verifier().clone(),
                CosigningKey::read(&self.private).unwrap(),
                Arc::new(clock),
            )
        }

        fn note(&self, sequence: u64) -> String {
            super::super::tests::note(&self.log, sequence)
        }
    }

    fn sequence(kit: &Kit, note: &str) -> u64 {
        Checkpoint::open(note, kit.log.verifier()).unwrap().sequence
    }

    #[test]
    fn what_it_says_it_holds_it_holds_after_a_restart() {
        let kit = Kit::new();
        let holder = kit.open().unwrap();
        assert_eq!(holder.newest(), None);
        let note = kit.note(7);
        let Taken::Held(line) = holder.take(&note).unwrap() else {
            panic!("it was not taken");
        };
        kit.key.verifier().check(&note, &line).unwrap();
        assert!(matches!(kit.open(), Err(HolderError::Locked(_))));
        drop(holder);
        let holder = kit.open().unwrap();
        assert_eq!(holder.newest(), Some(note + &line));
        let Taken::GoesBack(newest) = holder.take(&kit.note(6)).unwrap() else {
            panic!("it went back");
        };
        assert_eq!(sequence(&kit, &newest), 7);
    }

    /// The log was rolled back to 40 and has passed 62 by now: it never knew of what is held.
    #[test]
    fn a_note_that_passes_over_the_one_that_is_held_is_refused() {
        let kit = Kit::new();
        let holder = kit.open().unwrap();
        let note =
            |sequence, previous| super::super::tests::note_after(&kit.log, sequence, previous);
        let held = |note: &str| matches!(holder.take(note).unwrap(), Taken::Held(_));
        assert!(held(&note(62, 61)));
        let Taken::GoesBack(newest) = holder.take(&note(81, 40)).unwrap() else {
            panic!("it passed over 62");
        };
        assert_eq!(sequence(&kit, &newest), 62);
        // One whose operator has said so states what was held.
        assert!(held(&note(81, 62)));
        assert!(held(&note(90, 88)));
    }

    #[test]
    fn lines_of_others_and_notes_of_others_are_not_kept() {
        let kit = Kit::new();
        let holder = kit.open().unwrap();
        let note = kit.note(7);
        let stuffed = format!("{note}\u{2014} someone {}\n", "A".repeat(88));
        assert!(matches!(holder.take(&stuffed).unwrap(), Taken::Held(_)));
        assert!(!holder.newest().unwrap().contains("someone"));
        let other = SigningKey::generate("gw").unwrap();
        for foreign in [
            super::super::tests::note(&other, 9),
            "hello".to_owned(),
            kit.log.sign("gw retired\n3\n"),
        ] {
            let taken = holder.take(&foreign).unwrap();
            assert!(matches!(taken, Taken::Foreign(_)), "{foreign:?}: {taken:?}");
        }
        assert_eq!(sequence(&kit, &holder.newest().unwrap()), 7);
    }

    #[test]
    fn a_note_that_is_not_durable_is_not_said_to_be_held() {
        let kit = Kit::new();
        let holder = kit.open().unwrap();
        holder.take(&kit.note(1)).unwrap();
        // The write goes well, the sync fails.
        kit.files.plan(kit.files.operations() + 2, Injection::Fail);
        assert!(holder.take(&kit.note(2)).is_err());
        assert_eq!(sequence(&kit, &holder.newest().unwrap()), 1);
        assert!(matches!(holder.take(&kit.note(2)).unwrap(), Taken::Held(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever is offered in whatever order, over restarts: the file never goes back, and what was refused was older.
        #[test]
        fn it_never_goes_back(offered in prop::collection::vec((1_u64..20, any::<bool>()), 1..24)) {
            let kit = Kit::new();
            let mut holder = kit.open().unwrap();
            let mut newest = 0;
            for (offer, restart) in offered {
                if restart {
                    drop(holder);
                    holder = kit.open().unwrap();
                }
                match holder.take(&kit.note(offer)).unwrap() {
                    Taken::Held(_) => {
                        prop_assert!(offer >= newest);
                        newest = offer;
                    }
                    Taken::GoesBack(held) => {
                        prop_assert!(offer < newest);
                        prop_assert_eq!(sequence(&kit, &held), newest);
                    }
                    Taken::Foreign(error) => panic!("{error}"),
                }
            }
            let bytes = kit.files.content(Path::new("/w/checkpoints")).unwrap();
            let mut order = Vec::new();
            each_note(bytes.as_slice(), |note| order.push(sequence(&kit, note))).unwrap();
            prop_assert!(order.is_sorted());
            prop_assert_eq!(order.last().copied(), Some(newest));
        }
    }
}
