//! Opens the trail: recovers what a crash left, settles open admissions, and says so on record.
//!
//! *Never*: a request before this is done.
//! *On failure*: [`OpenError`], which says what to do; the gateway does not start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::entry::{Entry, Phase};
use super::log::{
    FileWitness, Files, Header, KeyError, Limits as LogLimits, Log, LogError, LogOptions,
    MasterKey, Observer, Opened, Payload, Reader, Recovered, Sequences, SigningKey, Truncation,
    Witness, headers,
};
use super::outcome::{End, Outcome};
use super::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::request::Event;

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
        let master = Arc::new(MasterKey::read(&config.master_key)?);
        let signer = SigningKey::read(&config.signing_key)?;
        let verifier = signer.verifier().clone();
        let witness = |path: &std::path::PathBuf| -> Box<dyn Witness> {
            Box::new(FileWitness::new(path, files.clone(), verifier.clone()))
        };
        let options = LogOptions {
            directory: config.directory.clone(),
            node: config.node.clone(),
            master: master.clone(),
            signer,
            witnesses: config.witnesses.iter().map(witness).collect(),
            observer: Box::new(Recorder {
                node: config.node.clone(),
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
        };
        let earlier = headers(&*files, &config.directory)?;
        let (log, recovered) = Log::open(options, files.clone(), clock.clone())?;
        let audit = Self::new(log, &config.node, limits, clock);
        let open = open_admissions(
            &files,
            &config.directory,
            &master,
            &earlier,
            recovered.last_seq,
        )?;
        let settled = Settled {
            unknown: u64::try_from(open.len()).unwrap_or(u64::MAX),
            cut_bytes: recovered.cut.as_ref().map_or(0, |cut| cut.bytes),
        };
        audit.settle(&recovered, open).await?;
        Ok((audit, settled))
    }

    /// INVARIANT: *started* is recorded last. A run without it was not settled, and the next start looks further back.
    async fn settle(&self, recovered: &Recovered, open: BTreeSet<Uuid>) -> Result<(), AuditError> {
        let unknown = open.len();
        for admission in open {
            let entry = Entry::outcome(&self.shared.node, self.now(), admission, unknown_outcome());
            self.append(&entry, super::log::Priority::Care).await?;
        }
        let mut detail = describe(recovered);
        if unknown > 0 {
            detail.insert("outcomes_unknown".to_owned(), unknown.to_string());
        }
        if recovered.cut.is_some() || recovered.accepted_loss.is_some() || unknown > 0 {
            self.event(Event::Recovered, None, detail).await?;
        }
        let build = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        self.event(Event::Started, None, build).await
    }
}

/// Records what the writer did by itself while the gateway was running.
#[derive(Debug)]
struct Recorder {
    node: String,
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
    }
}

/// Admissions without an outcome, from the newest settled run on.
fn open_admissions(
    files: &Arc<dyn Files>,
    directory: &Path,
    master: &Arc<MasterKey>,
    earlier: &[Header],
    last: u64,
) -> Result<BTreeSet<Uuid>, LogError> {
    let mut open = BTreeSet::new();
    let mut closed = BTreeSet::new();
    let mut to = last;
    // The segment with which the oldest run began may be retired; what is left of the run is read from its beginning.
    let starts = earlier
        .iter()
        .enumerate()
        .rev()
        .filter(|(index, header)| *index == 0 || header.opened == Opened::Start);
    for from in starts.map(|(_, header)| header.first) {
        let mut settled = false;
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
                    open.insert(entry.id);
                }
                Phase::Outcome => closed.extend(entry.of),
                Phase::Event => settled |= entry.event == Some(Event::Started),
                Phase::Refuse => {}
            }
        }
        to = from.saturating_sub(1);
        if settled || to == 0 {
            break;
        }
    }
    Ok(open.difference(&closed).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::{Priority, RealFiles};
    use crate::audit::show::{Filter, Show};
    use crate::clock::SystemClock;
    use crate::request::Facts;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn limits() -> config::Limits {
        let rate = config::Rate {
            requests: NonZeroU32::MIN,
            per: Duration::from_mins(1),
            burst: NonZeroU32::MIN,
        };
        config::Limits {
            address: rate,
            user: rate,
            actions: BTreeMap::new(),
            login_address: rate,
            login_account: rate,
            anonymous_records: rate,
            max_keys: 10,
        }
    }

    fn configured(dir: &Path) -> config::Audit {
        let (master_key, signing_key) = (dir.join("master.key"), dir.join("signing.key"));
        if !master_key.exists() {
            MasterKey::generate().unwrap().write(&master_key).unwrap();
            SigningKey::generate("gw1")
                .unwrap()
                .write(&signing_key, &dir.join("signing.pub"))
                .unwrap();
        }
        config::Audit {
            directory: dir.join("audit"),
            master_key,
            signing_key,
            witnesses: vec![dir.join("witness")],
            node: "gw1".to_owned(),
            segment_bytes: 1 << 26,
            checkpoint_records: 10,
            checkpoint_interval: Duration::from_secs(10),
            reserve_bytes: 0,
            retention_years: 6,
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

    #[tokio::test]
    async fn an_admission_left_open_gets_outcome_unknown_exactly_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let (audit, settled) = open(&config).await;
        assert_eq!(settled, Settled::default());
        let admit = Entry::admit("gw1", audit.now(), facts());
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
            1
        );
    }
}
