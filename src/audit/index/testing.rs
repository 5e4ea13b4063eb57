//! A trail in memory for the tests of index and queries: many small segments, several runs, crashes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::Index;
use crate::audit::entry::{Entry, Phase};
use crate::audit::filter::Filter;
use crate::audit::fixture as sample;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::{
    Files, Limits, Log, LogOptions, MasterKey, Payload, Priority, SigningKey, Truncation,
};
use crate::audit::outcome::{End, Outcome};
use crate::audit::query::join::Joined;
use crate::audit::query::{Look, Query};
use crate::audit::show::{Show, Shown};
use crate::clock::{Clock, SharedClock};
use crate::request::facts::Action;
use crate::request::{Event, PatientRef, Principal};

/// Time stands still for the log; records bring their own.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        sample::time()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A trail.
pub(crate) struct House {
    pub(crate) files: FaultyFiles,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) signer: SigningKey,
    log: Option<Log>,
    /// Admissions that have not ended.
    pub(crate) open: Vec<Uuid>,
    written: u64,
}

pub(crate) fn dir() -> &'static Path {
    Path::new("/trail")
}

impl House {
    pub(crate) fn new() -> Self {
        let mut house = Self {
            files: FaultyFiles::new(),
            master: Arc::new(MasterKey::generate().unwrap()),
            signer: SigningKey::generate("gw1").unwrap(),
            log: None,
            open: Vec::new(),
            written: 0,
        };
        house.start();
        house
    }

    fn signer(&self) -> SigningKey {
        let keys = tempfile::tempdir().unwrap();
        let (secret, public) = (keys.path().join("key"), keys.path().join("pub"));
        self.signer.write(&secret, &public).unwrap();
        SigningKey::read(&secret).unwrap()
    }

    pub(crate) fn start(&mut self) {
        let options = LogOptions {
            directory: dir().to_owned(),
            node: "gw1".to_owned(),
            master: Arc::clone(&self.master),
            signer: self.signer(),
            witnesses: Vec::new(),
            observer: Box::new(sample::Deaf),
            limits: Limits {
                segment_bytes: 4096,
                allocate_bytes: 4096,
                checkpoint_records: 1_000_000,
                min_free_bytes: 0,
                retry_first: Duration::from_millis(1),
                retry_longest: Duration::from_millis(1),
                ..Limits::default()
            },
            watch: Arc::new(Still),
            truncation: Truncation::Refuse,
        };
        let clock: SharedClock = Arc::new(Still);
        let (log, _) = Log::open(options, Arc::new(self.files.clone()), clock).unwrap();
        self.log = Some(log);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(log) = self.log.take() {
            log.shutdown().unwrap();
        }
    }

    /// The machine stops in the middle of a write, and starts again.
    pub(crate) fn crash(&mut self) {
        use crate::audit::log::fault::{Injection, Survival};
        self.files
            .plan(self.files.operations() + 1, Injection::CrashAfter);
        let [slot] = self.log().reserve::<1>(Priority::Care).unwrap();
        let entry = sample::admission(&["9"]);
        let payload = Payload::new(entry.to_bytes().unwrap()).unwrap();
        let _lost = slot.append(payload).wait();
        self.files = self.files.after_crash(Survival::Prefix);
        self.log = None;
        self.start();
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    pub(crate) fn put_bytes(&mut self, bytes: Vec<u8>) -> u64 {
        let [slot] = self.log().reserve::<1>(Priority::Care).unwrap();
        let at = slot.append(Payload::new(bytes).unwrap()).wait().unwrap();
        self.written = at.sequence;
        at.sequence
    }

    pub(crate) fn put(&mut self, entry: &Entry) -> u64 {
        if entry.phase == Phase::Admit {
            self.open.push(entry.id);
        }
        self.put_bytes(entry.to_bytes().unwrap())
    }

    /// Ends an admission.
    pub(crate) fn end(&mut self, at: usize, end: End, patients: &[&str]) -> u64 {
        let of = self.open.remove(at);
        let patients = patients.iter().map(|id| sample::patient(id)).collect();
        self.put(&outcome(of, end, patients))
    }

    pub(crate) fn last(&self) -> u64 {
        self.written
    }

    pub(crate) fn index(&self) -> Index {
        self.index_over(Arc::new(self.files.clone()))
    }

    pub(crate) fn index_over(&self, files: Arc<dyn Files>) -> Index {
        Index::new(files, dir(), Arc::clone(&self.master))
    }

    /// Does all the work that there is in the background.
    pub(crate) fn indexed(&self) -> Index {
        let index = self.index();
        self.work(&index);
        index
    }

    pub(crate) fn work(&self, index: &Index) {
        index.catch_up(&self.log().status()).unwrap();
    }

    pub(crate) fn segments(&self) -> usize {
        self.index().segments().unwrap().len()
    }

    /// What lies in the folder of the index.
    pub(crate) fn index_files(&self, suffix: &str) -> Vec<std::path::PathBuf> {
        let mut paths = self.files.paths();
        let folder = dir().join("index");
        paths.retain(|path| path.starts_with(&folder) && path.to_string_lossy().ends_with(suffix));
        paths
    }
}

pub(crate) fn outcome(of: Uuid, end: End, patients: Vec<PatientRef>) -> Entry {
    let outcome = Outcome {
        end,
        status: Some(200),
        refusal: None,
        bytes_out: 1,
        bytes_in: 0,
        millis: 1,
        patients,
        watermark: None,
        appeared: Vec::new(),
        appeared_more: 0,
        appeared_unknown: None,
    };
    Entry::outcome(&"gw1".into(), sample::time(), of, outcome)
}

/// A request of a user about patients, at a minute.
pub(crate) fn admission(user: &str, patients: &[&str], action: Action, minute: i64) -> Entry {
    let mut entry = sample::admission(patients);
    entry.id = Uuid::now_v7();
    entry.time = at(minute);
    let facts = entry.facts.as_mut().unwrap();
    facts.request = Uuid::now_v7().to_string();
    facts.client = format!("10.20.{}.{}", minute % 3, user.len());
    let mut principal = sample::physician();
    if let Principal::User(user_of) = &mut principal {
        user_of.name = user.to_owned();
        user_of.subject = format!("sub-{user}");
    }
    facts.principal = Some(Arc::new(principal));
    let mut mapping = (**facts.mapping.as_ref().unwrap()).clone();
    mapping.action = action;
    facts.mapping = Some(Arc::new(mapping));
    entry
}

pub(crate) fn refusal(user: &str, patients: &[&str], code: &str, minute: i64) -> Entry {
    let mut entry = admission(user, patients, Action::Read, minute);
    entry.phase = Phase::Refuse;
    entry.refusal = Some(code.to_owned());
    entry
}

pub(crate) fn event(event: Event, detail: &[(&str, &str)], minute: i64) -> Entry {
    let mut entry = sample::event(event, None, detail).entry;
    entry.id = Uuid::now_v7();
    entry.time = at(minute);
    entry
}

pub(crate) fn at(minute: i64) -> Timestamp {
    let seconds = sample::time().as_second() + minute * 60;
    Timestamp::from_second(seconds).unwrap()
}

/// Every answer, in order of the trail, and how many segments had to be read through.
pub(crate) fn answers(mut query: Query) -> (BTreeMap<u64, Joined>, usize) {
    let mut found = BTreeMap::new();
    loop {
        match query.look().unwrap() {
            Look::Answer(joined) => {
                let seq = joined.seq;
                assert!(found.insert(seq, *joined).is_none(), "record {seq} twice");
            }
            Look::Nothing => {}
            Look::End => return (found, query.unindexed()),
        }
    }
}

/// Asserts that index and scan agree; says what they answer, and how many segments were read through.
pub(crate) fn agree(index: &Index, filter: &Filter, to: u64) -> (BTreeMap<u64, Joined>, usize) {
    let (planned, unindexed) = answers(Query::new(index, filter.clone(), to));
    let (scanned, _) = answers(Query::scanned(index, filter.clone(), to).unwrap());
    assert_eq!(planned, scanned, "{filter:?} up to {to}");
    records_agree(index, filter, to);
    (planned, unindexed)
}

/// Every record that a reading shows, in its order.
pub(crate) fn shown(mut show: Show) -> Vec<Shown> {
    std::iter::from_fn(|| show.next_match().unwrap()).collect()
}

/// Asserts that single records are the same through the index as from the beginning to the end; says which.
pub(crate) fn records_agree(index: &Index, filter: &Filter, to: u64) -> Vec<Shown> {
    let (files, directory, master) = index.files();
    let (files, master) = (Arc::clone(files), Arc::clone(master));
    let scanned = shown(Show::new(files, directory, master, filter.clone(), to));
    let planned = shown(Show::through(index, filter.clone(), to));
    assert_eq!(planned, scanned, "{filter:?} up to {to}");
    planned
}
