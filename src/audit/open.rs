//! Opens the trail: recovers what a crash left, settles open admissions, and says so on record.
//!
//! *Never*: a request before this is done; a start after a run that did not stop in order without *recovered*.
//! *On failure*: [`OpenError`], which says what to do; the gateway does not start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::entry::{Entry, Phase};
use super::log::{
    Files, Header, KeyError, Limits as LogLimits, Log, LogError, LogOptions, MasterKey, Observer,
    Opened, Payload, Reader, Recovered, Sequences, SigningKey, Truncation, headers,
};
use super::outcome::{End, Outcome};
use super::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::request::Event;

/// How long another process may hold the trail: an `audit show` reads it for a moment where no gateway runs.
const LOCK_PATIENCE: Patience = Patience {
    attempts: 50,
    pause: Duration::from_millis(100),
};

/// How often the trail's lock is tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    attempts: u32,
    pause: Duration,
}

/// Why the trail could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What has to be recorded first could not be.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What was done before the first request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Admissions of earlier runs that got *outcome unknown*.
    pub unknown: u64,
    /// Bytes of a torn tail that were cut and put aside.
    pub cut_bytes: u64,
    /// How the run before ended.
    pub before: Before,
}

/// How the run before this one ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// There was none.
    #[default]
    Nothing,
    /// It recorded *stopped*.
    Stopped,
    /// It did not: it was killed, or the machine failed.
    Unclean,
}

impl Audit {
    /// Opens the trail of `config`, settles it, and records the start.
    ///
    /// # Errors
    /// [`OpenError`] when keys, log or disk are not in order.
    pub async fn open(
        config: &config::Audit,
        limits: &config::Limits,
        files: Arc<dyn Files>,
        clock: SharedClock,
        truncation: Truncation,
    ) -> Result<(Self, Settled), OpenError> {
        Self::open_within(LOCK_PATIENCE, config, limits, files, clock, truncation).await
    }

    async fn open_within(
        patience: Patience,
        config: &config::Audit,
        limits: &config::Limits,
        files: Arc<dyn Files>,
        clock: SharedClock,
        truncation: Truncation,
    ) -> Result<(Self, Settled), OpenError> {
        let master = Arc::new(MasterKey::read(&config.master_key)?);
        let mut left = patience.attempts;
        let (log, recovered) = loop {
            let options = options(config, &master, &files, &clock, truncation)?;
            match Log::open(options, files.clone(), clock.clone()) {
                Err(LogError::Locked { path }) if left > 0 => {
                    if left == patience.attempts {
                        tracing::warn!(path = %path.display(), "another process holds the trail; waiting for it");
                    }
                    left = left.saturating_sub(1);
                    tokio::time::sleep(patience.pause).await;
                }
                opened => break opened?,
            }
        };
        let audit = Self::new(log, &config.node, limits, clock);
        // Read under the lock: nobody else begins a segment any more.
        let mut earlier = headers(&*files, &config.directory)?;
        earlier.retain(|header| header.segment != recovered.segment);
        let left = left_behind(
            &files,
            &config.directory,
            &master,
            &earlier,
            recovered.last_seq,
        )?;
        let settled = Settled {
            unknown: u64::try_from(left.open.len()).unwrap_or(u64::MAX),
            cut_bytes: recovered.cut.as_ref().map_or(0, |cut| cut.bytes),
            before: left.before,
        };
        audit.settle(&recovered, left).await?;
        Ok((audit, settled))
    }

    /// INVARIANT: *started* is recorded last. A run without it was not settled, and the next start looks further back.
    async fn settle(&self, recovered: &Recovered, left: Left) -> Result<(), AuditError> {
        let unknown = left.open.len();
        for admission in left.open {
            let entry = Entry::outcome(&self.shared.node, self.now(), admission, unknown_outcome());
            self.append(&entry, super::log::Priority::Care).await?;
        }
        let mut detail = describe(recovered);
        let unclean = left.before == Before::Unclean;
        if unclean || unknown > 0 {
            detail.insert("outcomes_unknown".to_owned(), unknown.to_string());
        }
        if unclean {
            detail.insert("previous_run".to_owned(), "not stopped".to_owned());
        }
        if recovered.cut.is_some() || recovered.accepted_loss.is_some() || unknown > 0 || unclean {
            self.event(Event::Recovered, None, detail).await?;
        }
        let build = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        self.event(Event::Started, None, build).await
    }
}

/// What the log is opened with; made anew for each try, as a try takes it.
fn options(
    config: &config::Audit,
    master: &Arc<MasterKey>,
    files: &Arc<dyn Files>,
    clock: &SharedClock,
    truncation: Truncation,
) -> Result<LogOptions, KeyError> {
    let signer = SigningKey::read(&config.signing_key)?;
    Ok(LogOptions {
        directory: config.directory.clone(),
        node: config.node.clone(),
        master: Arc::clone(master),
        witnesses: super::witnesses::open(config, files, signer.verifier(), clock),
        signer,
        observer: Box::new(Recorder {
            node: config.node.as_str().into(),
            clock: clock.clone(),
        }),
        limits: LogLimits {
            segment_bytes: config.segment_bytes,
            checkpoint_records: config.checkpoint_records,
            checkpoint_interval: config.checkpoint_interval,
            min_free_bytes: config.reserve_bytes,
            ..LogLimits::default()
        },
        truncation,
    })
}

/// Records what the writer did by itself while the gateway was running.
#[derive(Debug)]
struct Recorder {
    node: Arc<str>,
    clock: SharedClock,
}

impl Observer for Recorder {
    fn failed(&mut self, reason: &str) {
        metrics::counter!("chartgate_audit_failures_total").increment(1);
        tracing::error!(
            reason,
            "the audit log failed; nothing is forwarded until it recovers"
        );
    }

    fn recovered(&mut self, recovered: &Recovered) -> Vec<Payload> {
        tracing::warn!("the audit log recovered and goes on in a new segment");
        let entry = Entry::event(
            &self.node,
            self.clock.now(),
            Event::Recovered,
            None,
            describe(recovered),
        );
        let payload = entry
            .to_bytes()
            .ok()
            .and_then(|bytes| Payload::new(bytes).ok());
        payload.into_iter().collect()
    }
}

fn describe(recovered: &Recovered) -> BTreeMap<String, String> {
    let mut detail =
        BTreeMap::from([("after_sequence".to_owned(), recovered.last_seq.to_string())]);
    if let Some(cut) = &recovered.cut {
        detail.insert("cut_segment".to_owned(), cut.segment.to_string());
        detail.insert("cut_offset".to_owned(), cut.offset.to_string());
        detail.insert("cut_bytes".to_owned(), cut.bytes.to_string());
    }
    if let Some(loss) = &recovered.accepted_loss {
        detail.insert(
            "loss_accepted".to_owned(),
            format!("{} to {} ({})", loss.from, loss.to, loss.place),
        );
    }
    if !recovered.silent_witnesses.is_empty() {
        detail.insert(
            "silent_witnesses".to_owned(),
            recovered.silent_witnesses.join("; "),
        );
    }
    detail
}

fn unknown_outcome() -> Outcome {
    Outcome {
        end: End::Unknown,
        status: None,
        refusal: None,
        bytes_out: 0,
        bytes_in: 0,
        millis: 0,
        patients: Vec::new(),
        watermark: None,
    }
}

/// What earlier runs left behind.
struct Left {
    /// Admissions without an outcome.
    open: BTreeSet<Uuid>,
    before: Before,
}

/// Looks through the runs from the newest settled one on.
fn left_behind(
    files: &Arc<dyn Files>,
    directory: &Path,
    master: &Arc<MasterKey>,
    earlier: &[Header],
    last: u64,
) -> Result<Left, LogError> {
    // Only what is not matched yet is kept: a run may have had millions of requests.
    let mut open = BTreeSet::new();
    let mut closed = BTreeSet::new();
    let mut before = Before::Nothing;
    let mut to = last;
    // The segment with which the oldest run began may be retired; what is left of the run is read from its beginning.
    let starts = earlier
        .iter()
        .enumerate()
        .rev()
        .filter(|(index, header)| *index == 0 || header.opened == Opened::Start);
    for from in starts.map(|(_, header)| header.first) {
        let (mut started, mut stopped) = (false, false);
        let mut reader = Reader::new(
            files.clone(),
            directory,
            master.clone(),
            Sequences { from, to },
        );
        while let Some(record) = reader.next_record()? {
            // A record of a later schema cannot be in an earlier run; one that does not parse is not an admission.
            let Ok(entry) = Entry::from_bytes(&record.payload) else {
                continue;
            };
            match entry.phase {
                Phase::Admit => {
                    if !closed.remove(&entry.id) {
                        open.insert(entry.id);
                    }
                }
                Phase::Outcome => {
                    // That of a request of an older run was written when this one began.
                    closed.extend(entry.of.filter(|of| !open.remove(of)));
                }
                Phase::Event => {
                    started |= entry.event == Some(Event::Started);
                    stopped |= entry.event == Some(Event::Stopped);
                }
                Phase::Refuse => {}
            }
        }
        before = match (before, stopped) {
            (Before::Unclean, _) | (_, false) => Before::Unclean,
            (Before::Nothing | Before::Stopped, true) => Before::Stopped,
        };
        to = from.saturating_sub(1);
        if started || to == 0 {
            break;
        }
    }
    Ok(Left { open, before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{self, limits};
    use crate::audit::log::{Priority, RealFiles};
    use crate::audit::show::{Filter, Show};
    use crate::clock::SystemClock;
    use crate::request::Facts;
    use std::time::Duration;

    fn configured(dir: &Path) -> config::Audit {
        config::Audit {
            segment_bytes: 1 << 26,
            checkpoint_records: 10,
            ..fixture::configured(dir)
        }
    }

    async fn open(config: &config::Audit) -> (Audit, Settled) {
        Audit::open(
            config,
            &limits(),
            Arc::new(RealFiles),
            SystemClock::shared(),
            Truncation::Refuse,
        )
        .await
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            request: "r1".to_owned(),
            trace: None,
            client: "192.0.2.1".to_owned(),
            peer: None,
            tls: None,
            emr: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            principal: None,
            session: None,
            mapping: None,
            decision: None,
            generation: 1,
            bundle: None,
        }
    }

    fn shown(config: &config::Audit) -> Vec<Entry> {
        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let mut show = Show::new(
            Arc::new(RealFiles),
            &config.directory,
            master,
            Filter::default(),
            u64::MAX,
        );
        std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
    }

    async fn stop(audit: Audit) {
        audit
            .event(Event::Stopped, None, BTreeMap::new())
            .await
            .unwrap();
        audit.log().shutdown().unwrap();
    }

    fn events(config: &config::Audit) -> Vec<Event> {
        shown(config).iter().filter_map(|e| e.event).collect()
    }

    #[tokio::test]
    async fn a_start_after_a_run_that_did_not_stop_is_on_record_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let (audit, settled) = open(&config).await;
        assert_eq!(settled.before, Before::Nothing);
        stop(audit).await;
        let (audit, settled) = open(&config).await;
        assert_eq!(settled.before, Before::Stopped);
        // Nothing is in flight, and nobody says *stopped*.
        drop(audit);
        let (audit, settled) = open(&config).await;
        assert_eq!((settled.unknown, settled.before), (0, Before::Unclean));
        stop(audit).await;
        assert_eq!(
            events(&config),
            [
                Event::Started,
                Event::Stopped,
                Event::Started,
                Event::Recovered,
                Event::Started,
                Event::Stopped
            ]
        );
        let entries = shown(&config);
        let recovered = entries.iter().find(|e| e.event == Some(Event::Recovered));
        let detail = &recovered.unwrap().detail;
        assert_eq!(
            detail.get("previous_run").map(String::as_str),
            Some("not stopped")
        );
        assert_eq!(
            detail.get("outcomes_unknown").map(String::as_str),
            Some("0")
        );
    }

    async fn open_patiently(
        config: &config::Audit,
        attempts: u32,
    ) -> Result<(Audit, Settled), OpenError> {
        let patience = Patience {
            attempts,
            pause: Duration::from_millis(1),
        };
        Audit::open_within(
            patience,
            config,
            &limits(),
            Arc::new(RealFiles),
            SystemClock::shared(),
            Truncation::Refuse,
        )
        .await
    }

    #[tokio::test]
    async fn a_trail_that_is_being_read_is_waited_for_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let (reading, _) = open(&config).await;
        let held = open_patiently(&config, 3).await.unwrap_err();
        assert!(matches!(held, OpenError::Log(LogError::Locked { .. })));
        let read = async {
            tokio::task::yield_now().await;
            stop(reading).await;
        };
        let (opened, ()) = tokio::join!(open_patiently(&config, u32::MAX), read);
        assert_eq!(opened.unwrap().1.before, Before::Stopped);
    }

    #[tokio::test]
    async fn an_admission_left_open_gets_outcome_unknown_exactly_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let (audit, settled) = open(&config).await;
        assert_eq!(settled, Settled::default());
        let facts = facts();
        let admit = Entry::admit(&"gw1".into(), audit.now(), &facts);
        audit.append(&admit, Priority::Care).await.unwrap();
        drop(audit);

        let (audit, settled) = open(&config).await;
        assert_eq!(settled.unknown, 1);
        drop(audit);
        let (audit, settled) = open(&config).await;
        assert_eq!(settled.unknown, 0);
        drop(audit);

        let entries = shown(&config);
        let unknown: Vec<_> = entries.iter().filter(|e| e.of == Some(admit.id)).collect();
        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].outcome.as_ref().unwrap().end, End::Unknown);
        assert_eq!(
            entries
                .iter()
                .filter(|e| e.event == Some(Event::Started))
                .count(),
            3
        );
        assert_eq!(
            entries
                .iter()
                .filter(|e| e.event == Some(Event::Recovered))
                .count(),
            2,
            "both runs were dropped"
        );
    }
}
