//! Incidents: cases that may have to be notified, with their clocks and their evidence.
//!
//! *Owns*: the incidents in `Table::Cases`; packing evidence from the trail.
//! *Never*: evidence that is not on record first, or that only this machine could verify.
//! *On failure*: [`IncidentError`].

mod ask;
mod bundle;
mod incident;
mod subject;
mod tar;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::cases::{CaseError, Cases, Kind, Level, Opening};
use crate::audit::log::{
    DiscloseError, KeyError, LogError, MasterKey, RealFiles, SigningKey, disclose,
};
use crate::audit::show::ShowError;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;

pub use ask::{Ask, Which};
pub use bundle::{Manifest, Verified, Wrong, verify};
pub use incident::{Clock, Ended, Incident, Packed, State};

use bundle::Contents;
use subject::Subject;

/// A closed incident is kept as long as the trail: six calendar years and the rest of the first.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 366 * 24);
/// Open incidents at once.
const MOST_OPEN: usize = 1_000;
/// Incidents that a listing names.
const MOST_LISTED: usize = 500;
/// Bundles that an incident remembers.
const MOST_PACKED: usize = 100;
/// Longest title or note, in bytes.
const LONGEST: usize = 4_096;
/// Records of a bundle.
const MOST_RECORDS: usize = 100_000;
/// Bytes of the records and frames of a bundle.
const MOST_BYTES: usize = 128 * 1024 * 1024;
/// From how long before its first case on the records of the subjects are taken, where nothing else is asked.
const BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often it is looked whether a checkpoint has been signed.
const LOOK: Duration = Duration::from_millis(50);
/// How much longer than its interval a checkpoint is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

const PREFIX: &str = "incident-";

/// Why something could not be done with an incident.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// A case.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The trail could not be read.
    #[error("the trail: {0}")]
    Read(#[from] ShowError),
    /// The log could not be read.
    #[error("the trail: {0}")]
    Log(#[from] LogError),
    /// Records could not be disclosed.
    #[error(transparent)]
    Disclose(#[from] DiscloseError),
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bundle.
    #[error(transparent)]
    Pack(#[from] bundle::PackError),
    /// There is no such incident.
    #[error("there is no incident {0}; `chartgate incident list` names them")]
    Unknown(u64),
    /// It is closed.
    #[error("incident {0} is closed already")]
    Closed(u64),
    /// Too many are open.
    #[error("{MOST_OPEN} incidents are open; close some first")]
    TooMany,
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST} bytes")]
    Text(&'static str),
    /// More records than a bundle holds.
    #[error("more than {MOST_RECORDS} records concern the incident; give a later `--since`")]
    TooManyRecords,
    /// No checkpoint in time.
    #[error(
        "the trail's newest records have no signed checkpoint yet; try again in a minute, and see `chartgate status`"
    )]
    NoCheckpoint,
    /// A thread ended.
    #[error("the evidence was not packed: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// What incidents stand on.
#[derive(Debug)]
pub struct Ground {
    /// Shared state.
    pub store: Store,
    /// The trail, to write in.
    pub audit: Audit,
    /// Where it lies.
    pub trail: PathBuf,
    /// The key that opens it.
    pub master: Arc<MasterKey>,
    /// The file of the key that signs its checkpoints.
    pub signing_key: PathBuf,
    /// A checkpoint is signed at least this often while records arrive.
    pub checkpoint_interval: Duration,
    /// Cases.
    pub cases: Arc<Cases>,
    /// Time.
    pub clock: SharedClock,
}

/// All incidents.
#[derive(Debug)]
pub struct Incidents {
    on: Ground,
    // One change at a time: the number of the next incident.
    next: Mutex<u64>,
    open: RwLock<BTreeMap<u64, Timestamp>>,
}

impl Incidents {
    /// Finds the incidents that the store keeps.
    ///
    /// # Errors
    /// [`IncidentError::Store`].
    pub async fn load(on: Ground) -> Result<Arc<Self>, IncidentError> {
        let (mut newest, mut open) = (0_u64, BTreeMap::new());
        let mut after = Some(PREFIX.to_owned());
        while let Some(from) = after {
            let page = on.store.scan(Table::Cases, Some(&from)).await?;
            for (key, entry) in page.entries {
                let Some(incident) = Incident::decode(&key, entry.value.expose()) else {
                    continue;
                };
                newest = newest.max(incident.number);
                if incident.is_open() {
                    open.insert(incident.number, incident.opened);
                }
            }
            after = page.next;
        }
        let incidents = Self {
            on,
            next: Mutex::new(newest.saturating_add(1)),
            open: RwLock::new(open),
        };
        incidents.measure();
        Ok(Arc::new(incidents))
    }

    /// Opens an incident about a case, or about what `title` says, for which a case is opened.
    ///
    /// # Errors
    /// [`IncidentError`].
    pub async fn open(
        &self,
        case: Option<u64>,
        title: Option<String>,
        by: &str,
    ) -> Result<Incident, IncidentError> {
        let mut next = self.next.lock().await;
        if self.read_open().len() >= MOST_OPEN {
            return Err(IncidentError::TooMany);
        }
        let (case, title) = match (case, title) {
            (Some(case), title) => {
                let case = self.on.cases.show(case).await?;
                (case.number, title.unwrap_or(case.title))
            }
            (None, title) => {
                let title = title.unwrap_or_default();
                text("title", &title)?;
                let opening = Opening {
                    kind: Kind::Incident,
                    title: title.clone(),
                    level: Level::High,
                    rule: None,
                    user: None,
                    patient: None,
                    records: BTreeSet::new(),
                    by: by.to_owned(),
                };
                (self.on.cases.open(opening).await?.number(), title)
            }
        };
        text("title", &title)?;
        let number = *next;
        let detail = BTreeMap::from([
            ("incident".to_owned(), number.to_string()),
            ("title".to_owned(), title.clone()),
            ("case".to_owned(), case.to_string()),
            ("operator".to_owned(), by.to_owned()),
        ]);
        self.on
            .audit
            .event(Event::IncidentOpened, None, detail)
            .await?;
        *next = number.saturating_add(1);
        let incident = Incident::opened(number, title, case, by, self.on.clock.now());
        self.write(&incident).await?;
        Ok(incident)
    }

    /// Closes an incident, on record.
    ///
    /// # Errors
    /// [`IncidentError`].
    pub async fn close(
        &self,
        number: u64,
        by: &str,
        note: &str,
    ) -> Result<Incident, IncidentError> {
        text("note", note)?;
        let _one = self.next.lock().await;
        let mut incident = self.show(number).await?;
        if !incident.is_open() {
            return Err(IncidentError::Closed(number));
        }
        let detail = BTreeMap::from([
            ("incident".to_owned(), number.to_string()),
            ("note".to_owned(), note.to_owned()),
            ("operator".to_owned(), by.to_owned()),
        ]);
        self.on
            .audit
            .event(Event::IncidentClosed, None, detail)
            .await?;
        incident.state = State::Closed(Ended {
            at: self.on.clock.now(),
            by: by.to_owned(),
            note: note.to_owned(),
        });
        self.write(&incident).await?;
        Ok(incident)
    }

    /// An incident.
    ///
    /// # Errors
    /// [`IncidentError`].
    pub async fn show(&self, number: u64) -> Result<Incident, IncidentError> {
        let key = key(number);
        let entry = self.on.store.get(Table::Cases, &key).await?;
        entry
            .and_then(|entry| Incident::decode(&key, entry.value.expose()))
            .ok_or(IncidentError::Unknown(number))
    }

    /// The newest incidents, newest first; at most 500.
    ///
    /// # Errors
    /// [`IncidentError::Store`].
    pub async fn list(&self, which: Which) -> Result<Vec<Incident>, IncidentError> {
        let newest = self.next.lock().await.saturating_sub(1);
        let mut found = Vec::new();
        for number in (1..=newest).rev() {
            if which == Which::Open && !self.read_open().contains_key(&number) {
                continue;
            }
            match self.show(number).await {
                Ok(incident) => found.push(incident),
                Err(IncidentError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
            if found.len() >= MOST_LISTED {
                break;
            }
        }
        Ok(found)
    }

    /// When the incidents that are open were opened, by number.
    #[must_use]
    pub fn open_since(&self) -> BTreeMap<u64, Timestamp> {
        self.read_open().clone()
    }

    /// Packs the records of an incident, on record: those that its cases name, and those about their users and
    /// patients from `since` on.
    ///
    /// # Errors
    /// [`IncidentError`].
    pub async fn evidence(
        &self,
        number: u64,
        since: Option<Timestamp>,
        by: &str,
    ) -> Result<Vec<u8>, IncidentError> {
        let incident = self.show(number).await?;
        let mut cases = Vec::new();
        for case in &incident.cases {
            cases.push(self.on.cases.show(*case).await?);
        }
        let first = cases.iter().map(|case| case.opened).min();
        let first = first.unwrap_or(incident.opened);
        let since = since.unwrap_or_else(|| first.saturating_sub(BEFORE).unwrap_or(first));
        let subject = Subject::of(&cases, since);
        let end = self.on.audit.log().status().sequence;
        let (trail, master) = (self.on.trail.clone(), self.on.master.clone());
        let wanted =
            tokio::task::spawn_blocking(move || subject.records(&trail, master, end)).await??;

        let detail = BTreeMap::from([
            ("incident".to_owned(), number.to_string()),
            ("records".to_owned(), wanted.len().to_string()),
            ("since".to_owned(), since.to_string()),
            ("operator".to_owned(), by.to_owned()),
        ]);
        self.on
            .audit
            .event(Event::EvidencePacked, None, detail)
            .await?;
        self.vouched(wanted.last().copied().unwrap_or_default())
            .await?;

        let mut kept = Vec::new();
        for case in &cases {
            serde_json::to_writer(&mut kept, case).map_err(bundle::PackError::Json)?;
            kept.push(b'\n');
        }
        let made = self.on.clock.now();
        let contents = Contents {
            incident: number,
            title: incident.title,
            opened: incident.opened,
            made,
            by: by.to_owned(),
            since,
            cases: kept,
        };
        let count = wanted.len() as u64;
        let packed = self.pack(contents, wanted).await?;
        self.remember(
            number,
            Packed {
                at: made,
                by: by.to_owned(),
                records: count,
                sha256: bundle::sha256(&packed),
            },
        )
        .await?;
        Ok(packed)
    }

    /// Reads, opens and signs in a thread where it may take its time.
    async fn pack(
        &self,
        contents: Contents,
        wanted: BTreeSet<u64>,
    ) -> Result<Vec<u8>, IncidentError> {
        let signer = SigningKey::read(&self.on.signing_key)?;
        let (trail, master) = (self.on.trail.clone(), self.on.master.clone());
        let packing = tokio::task::spawn_blocking(move || {
            let key = signer.verifier().clone();
            let found = disclose(&RealFiles, &trail, &master, &key, &wanted, MOST_BYTES)?;
            Ok(bundle::pack(contents, &found, &signer)?)
        });
        packing.await?
    }

    /// Waits until a signed checkpoint vouches for the record `sequence`.
    async fn vouched(&self, sequence: u64) -> Result<(), IncidentError> {
        let patience = self.on.checkpoint_interval.saturating_add(PATIENCE);
        let vouched = async {
            loop {
                let newest = self.on.audit.log().status().checkpoint;
                if newest.is_some_and(|(newest, _)| newest >= sequence) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(patience, vouched).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => Err(IncidentError::NoCheckpoint),
        }
    }

    async fn remember(&self, number: u64, packed: Packed) -> Result<(), IncidentError> {
        let _one = self.next.lock().await;
        let mut incident = self.show(number).await?;
        incident.packed.push(packed);
        let more = incident.packed.len().saturating_sub(MOST_PACKED);
        incident.packed.drain(..more);
        self.write(&incident).await
    }

    async fn write(&self, incident: &Incident) -> Result<(), IncidentError> {
        let expires = match &incident.state {
            State::Open => NEVER,
            State::Closed(ended) => ended.at.saturating_add(KEPT).unwrap_or(NEVER),
        };
        self.on
            .store
            .keep(Table::Cases, &key(incident.number), incident, expires)
            .await?;
        {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if incident.is_open() {
                open.insert(incident.number, incident.opened);
            } else {
                open.remove(&incident.number);
            }
        }
        self.measure();
        Ok(())
    }

    fn measure(&self) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::OPEN_INCIDENTS).set(self.read_open().len() as f64);
    }

    fn read_open(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u64, Timestamp>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

fn text(what: &'static str, text: &str) -> Result<(), IncidentError> {
    if text.trim().is_empty() || text.len() > LONGEST {
        return Err(IncidentError::Text(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
