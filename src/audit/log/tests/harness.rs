//! A log on a disk in memory, and the keys that go with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use uuid::Uuid;

use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;
use crate::clock::{Clock, ManualClock, SharedClock};

/// A clock that stands still, so that file lengths do not vary.
#[derive(Debug)]
pub(super) struct Still;

impl Clock for Still {
    fn now(&self) -> jiff::Timestamp {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A clock that stands still at another time.
#[derive(Debug)]
struct At(jiff::Timestamp);

impl Clock for At {
    fn now(&self) -> jiff::Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Debug)]
pub(super) enum Heard {
    Carried(BTreeSet<Uuid>),
    Degraded(Spell),
    Failed,
    Restored(Spell, Duration),
    Recovered(Recovered),
}

#[derive(Debug)]
pub(super) struct Ear(Sender<Heard>);

impl Observer for Ear {
    fn failed(&mut self, _reason: &str) {
        let _gone = self.0.send(Heard::Failed);
    }

    fn recovered(&mut self, recovered: &Recovered) -> Vec<Payload> {
        let _gone = self.0.send(Heard::Recovered(recovered.clone()));
        vec![payload("recovered")]
    }

    fn carried(&mut self, open: &BTreeSet<Uuid>) -> Vec<Payload> {
        let _gone = self.0.send(Heard::Carried(open.clone()));
        Vec::new()
    }

    fn degraded(&mut self, spell: &Spell) -> Vec<Payload> {
        let _gone = self.0.send(Heard::Degraded(spell.clone()));
        Vec::new()
    }

    fn restored(&mut self, spell: &Spell, lasted: Duration) -> Vec<Payload> {
        let _gone = self.0.send(Heard::Restored(spell.clone(), lasted));
        Vec::new()
    }
}

/// Keys and limits that many logs of one test share.
pub(super) struct Kit {
    pub(super) master: Arc<MasterKey>,
    signer_path: PathBuf,
    _keys: tempfile::TempDir,
    pub(super) verifier: VerifierKey,
    pub(super) limits: Limits,
    /// What disks are timed with: it stands still.
    pub(super) watch: Arc<ManualClock>,
}

pub(super) fn dir() -> &'static Path {
    Path::new("/trail")
}

pub(super) fn witness_path() -> &'static Path {
    Path::new("/elsewhere/witness")
}

pub(super) fn payload(text: &str) -> Payload {
    Payload::new(text.as_bytes().to_vec()).unwrap()
}

impl Kit {
    pub(super) fn new() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let signer = SigningKey::generate("hospital.example/gw-1").unwrap();
        let signer_path = keys.path().join("signing.key");
        signer
            .write(&signer_path, &keys.path().join("signing.pub"))
            .unwrap();
        Self {
            master: Arc::new(MasterKey::generate().unwrap()),
            signer_path,
            _keys: keys,
            verifier: signer.verifier().clone(),
            limits: Limits {
                segment_bytes: 4096,
                allocate_bytes: 4096,
                checkpoint_records: 5,
                retry_first: Duration::from_millis(1),
                retry_longest: Duration::from_millis(1),
                ..Limits::default()
            },
            watch: Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)),
        }
    }

    pub(super) fn signer(&self) -> SigningKey {
        SigningKey::read(&self.signer_path).unwrap()
    }

    /// The keys in `folder`.
    pub(super) fn with_keys_of(folder: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let keys = tempfile::tempdir().unwrap();
        for name in ["master.key", "signing.key", "signing.pub"] {
            let to = keys.path().join(name);
            std::fs::copy(folder.join(name), &to).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let master = Arc::new(MasterKey::read(keys.path().join("master.key")).unwrap());
        let signer_path = keys.path().join("signing.key");
        let verifier = VerifierKey::read(&keys.path().join("signing.pub")).unwrap();
        Self {
            master,
            signer_path,
            _keys: keys,
            verifier,
            ..Self::new()
        }
    }

    pub(super) fn options(&self, files: &FaultyFiles) -> (LogOptions, Receiver<Heard>) {
        let (sender, heard) = channel();
        let shared: Arc<dyn Files> = Arc::new(files.clone());
        let witness = FileWitness::new(witness_path(), shared, self.verifier.clone());
        let options = LogOptions {
            directory: dir().to_owned(),
            node: "gw-1".to_owned(),
            master: Arc::clone(&self.master),
            signer: SigningKey::read(&self.signer_path).unwrap(),
            witnesses: vec![Box::new(witness)],
            observer: Box::new(Ear(sender)),
            limits: self.limits,
            watch: self.watch.clone(),
            truncation: Truncation::Refuse,
        };
        (options, heard)
    }

    pub(super) fn open(&self, files: &FaultyFiles) -> Result<(Log, Recovered), LogError> {
        self.open_heard(files)
            .map(|(log, recovered, _)| (log, recovered))
    }

    /// Opens the log when it is `time`.
    pub(super) fn open_at(
        &self,
        files: &FaultyFiles,
        time: &str,
    ) -> Result<(Log, Recovered), LogError> {
        let clock: SharedClock = Arc::new(At(time.parse().unwrap()));
        Log::open(self.options(files).0, Arc::new(files.clone()), clock)
    }

    pub(super) fn open_heard(
        &self,
        files: &FaultyFiles,
    ) -> Result<(Log, Recovered, Receiver<Heard>), LogError> {
        let (options, heard) = self.options(files);
        let clock: SharedClock = Arc::new(Still);
        let (log, recovered) = Log::open(options, Arc::new(files.clone()), clock)?;
        Ok((log, recovered, heard))
    }

    pub(super) fn reader(&self, files: &FaultyFiles, range: Sequences) -> Reader {
        Reader::new(
            Arc::new(files.clone()),
            dir(),
            Arc::clone(&self.master),
            range,
        )
    }

    /// Every payload in the log, checked to be numbered without a gap.
    pub(super) fn read_all(&self, files: &FaultyFiles) -> Vec<String> {
        let mut reader = self.reader(files, Sequences::ALL);
        let mut read = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            assert_eq!(record.sequence, read.len() as u64 + 1);
            read.push(String::from_utf8(record.payload).unwrap());
        }
        read
    }

    pub(super) fn verify(&self, files: &FaultyFiles) -> VerifyReport {
        let witness = files.content(witness_path()).unwrap_or_default();
        let witness = String::from_utf8(witness).unwrap();
        verify(
            files,
            dir(),
            &self.verifier,
            &[("witness", &witness)],
            Some(&self.master),
        )
        .unwrap()
    }

    /// As [`Self::verify`] without the secret and without the witness.
    pub(super) fn verify_plain(&self, files: &FaultyFiles) -> VerifyReport {
        verify(files, dir(), &self.verifier, &[], None).unwrap()
    }

    /// A closed log with `count` records of about `bytes` bytes.
    pub(super) fn written(&self, count: usize, bytes: usize) -> FaultyFiles {
        let files = FaultyFiles::new();
        let (log, _) = self.open(&files).unwrap();
        for index in 1..=count {
            put(&log, &text(index, bytes)).unwrap();
        }
        log.shutdown().unwrap();
        files
    }
}

pub(super) fn text(index: usize, bytes: usize) -> String {
    format!("{index:0bytes$}")
}

pub(super) fn put(log: &Log, text: &str) -> Result<Position, LogError> {
    let [slot] = log.reserve::<1>(Priority::Routine)?;
    slot.append(payload(text)).wait()
}

pub(super) fn segments(files: &FaultyFiles) -> Vec<PathBuf> {
    let mut paths = files.paths();
    paths.retain(|path| path.to_string_lossy().ends_with(".cgseg"));
    paths
}

/// Where each whole frame of a segment is: its bytes and the record it should be.
pub(super) fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let outline = parse_segment(bytes).unwrap();
    let json = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let mut at = 16 + json + 32;
    let mut found = Vec::new();
    while (at as u64) < outline.end {
        let length = 4 + u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        found.push(at..at + length);
        at += length;
    }
    found
}
