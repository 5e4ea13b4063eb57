//! Puts on record which witness is lost and which is back, and raises the alarm.
//!
//! *Owns*: what was said of each witness.
//! *Never*: waits for a witness; it reads how the log found them.
//! *On failure*: what could not be recorded is tried again with the next look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::audit::log::WitnessStatus;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;
use crate::telemetry::metrics as names;

/// How often the witnesses are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A witness is lost when it did not take a checkpoint for so many intervals.
const INTERVALS: u32 = 3;

/// What is known of a witness that is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ill {
    /// It has not taken the newest checkpoint since then (monotonic).
    Since(Duration),
    /// The same, and the start put on record that nothing was heard from it.
    Unheard(Duration),
    /// It is on record as lost.
    Lost,
    /// It is on record that it holds what this trail does not have.
    Ahead,
}

/// What is to be put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Lost { reason: String },
    Ahead { holds: u64, reason: String },
    Back { newest: Option<u64> },
}

/// Watches the witnesses of a running gateway.
#[derive(Debug)]
pub struct Watch {
    audit: Audit,
    clock: SharedClock,
    patience: Duration,
    ill: BTreeMap<String, Ill>,
    /// Those that it has looked at.
    known: BTreeSet<String>,
}

impl Watch {
    /// Watches those of this trail, to which a checkpoint goes at each `interval`.
    #[must_use]
    pub fn new(audit: Audit, interval: Duration, clock: SharedClock) -> Self {
        Self {
            audit,
            clock,
            patience: interval.saturating_mul(INTERVALS),
            ill: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Looks at intervals until `end`.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look().await;
        }
    }

    /// Looks once.
    async fn look(&mut self) {
        for status in self.audit.log().status().witnesses {
            if let Some(newest) = status.newest {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "Prometheus numbers are floating point"
                )]
                metrics::gauge!(names::WITNESS_CHECKPOINT, "witness" => status.name.clone())
                    .set(newest as f64);
            }
            let Some(change) = self.judge(&status) else {
                continue;
            };
            match self.record(&status.name, &change).await {
                Ok(()) => self.noted(status.name, &change),
                Err(error) => {
                    tracing::error!(%error, witness = status.name, "a change could not be recorded");
                }
            }
        }
    }

    /// What a status comes to, after what was said before.
    fn judge(&mut self, status: &WitnessStatus) -> Option<Change> {
        let now = self.clock.monotonic();
        if self.known.insert(status.name.clone()) && status.was_unheard {
            self.ill.insert(status.name.clone(), Ill::Unheard(now));
        }
        let known = self.ill.get(&status.name).copied();
        let Some(reason) = status.error.clone() else {
            return match known {
                // It answers, and is to show that it takes something.
                Some(Ill::Unheard(_)) if status.newest.is_none() => None,
                Some(Ill::Lost | Ill::Ahead | Ill::Unheard(_)) => Some(Change::Back {
                    newest: status.newest,
                }),
                Some(Ill::Since(_)) | None => {
                    self.ill.remove(&status.name);
                    None
                }
            };
        };
        match (known, status.holds) {
            (Some(Ill::Ahead), _) | (Some(Ill::Lost), None) => None,
            (Some(Ill::Since(_) | Ill::Unheard(_) | Ill::Lost) | None, Some(holds)) => {
                Some(Change::Ahead { holds, reason })
            }
            (None, None) => {
                self.ill.insert(status.name.clone(), Ill::Since(now));
                None
            }
            (Some(Ill::Since(since) | Ill::Unheard(since)), None) => {
                (now.saturating_sub(since) >= self.patience).then_some(Change::Lost { reason })
            }
        }
    }

    fn noted(&mut self, witness: String, change: &Change) {
        match change {
            Change::Lost { .. } => drop(self.ill.insert(witness, Ill::Lost)),
            Change::Ahead { .. } => drop(self.ill.insert(witness, Ill::Ahead)),
            Change::Back { .. } => drop(self.ill.remove(&witness)),
        }
    }

    async fn record(&self, witness: &str, change: &Change) -> Result<(), AuditError> {
        let mut detail = BTreeMap::from([("witness".to_owned(), witness.to_owned())]);
        let (event, alarm) = match change {
            Change::Back { newest } => {
                detail.extend(newest.map(|newest| ("newest".to_owned(), newest.to_string())));
                (Event::WitnessBack, None)
            }
            Change::Lost { reason } => {
                detail.insert("reason".to_owned(), reason.clone());
                let title = format!("the witness {witness} takes no checkpoints: {reason}");
                (Event::WitnessLost, Some(("witness-lost", "high", title)))
            }
            Change::Ahead { holds, reason } => {
                detail.insert("reason".to_owned(), reason.clone());
                detail.insert("holds".to_owned(), holds.to_string());
                // SECURITY: it holds what this log's key signed and this log does not have.
                let title = format!(
                    "the witness {witness} holds checkpoint {holds}, which this trail does not have: the trail was cut or rolled back"
                );
                let rule = ("trail-rolled-back", "critical", title);
                (Event::WitnessLost, Some(rule))
            }
        };
        self.audit.event(event, None, detail).await?;
        if let Some((rule, level, title)) = alarm {
            let detail = BTreeMap::from([
                ("rule".to_owned(), rule.to_owned()),
                ("level".to_owned(), level.to_owned()),
                ("title".to_owned(), title),
                ("witness".to_owned(), witness.to_owned()),
            ]);
            self.audit.event(Event::Alarm, None, detail).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::entry::Entry;
    use crate::audit::fixture;
    use crate::audit::log::{MasterKey, Reader, RealFiles, Sequences, Truncation};
    use crate::clock::ManualClock;
    use crate::config::witness::Witness;

    fn status(error: Option<&str>, holds: Option<u64>) -> WitnessStatus {
        WitnessStatus {
            name: "w".to_owned(),
            newest: Some(5),
            error: error.map(str::to_owned),
            holds,
            was_unheard: false,
        }
    }

    #[tokio::test]
    async fn a_witness_is_lost_after_a_while_once_and_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = fixture::configured(dir.path());
        config.witnesses = vec![Witness::File(dir.path().join("no/such/place"))];
        config.checkpoint_records = 1;
        let clock = Arc::new(ManualClock::new(fixture::time()));
        let (audit, _) = Audit::open(
            &config,
            &fixture::limits(),
            Arc::new(RealFiles),
            clock.clone(),
            Truncation::Refuse,
        )
        .await
        .unwrap();
        let mut watch = Watch::new(audit.clone(), Duration::from_secs(10), clock.clone());
        let failed = |audit: &Audit| audit.log().status().witnesses[0].error.is_some();
        while !failed(&audit) {
            tokio::task::yield_now().await;
        }
        watch.look().await;
        assert_eq!(watch.ill.len(), 1);
        clock.advance(Duration::from_secs(29));
        watch.look().await;
        clock.advance(Duration::from_secs(1));
        watch.look().await;
        watch.look().await;
        std::fs::create_dir_all(dir.path().join("no/such")).unwrap();
        // Something to witness; the one before may be offered again first.
        audit
            .event(Event::AuditRead, None, BTreeMap::new())
            .await
            .unwrap();
        while failed(&audit) {
            tokio::task::yield_now().await;
        }
        watch.look().await;
        watch.look().await;
        audit.log().shutdown().unwrap();

        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let files = Arc::new(RealFiles);
        let mut reader = Reader::new(files, &config.directory, master, Sequences::ALL);
        let mut events = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            let entry = Entry::from_bytes(&record.payload).unwrap();
            events.extend(entry.event);
        }
        assert_eq!(
            events,
            [
                Event::Started,
                Event::WitnessLost,
                Event::Alarm,
                Event::AuditRead,
                Event::WitnessBack
            ]
        );

        // What it holds beyond this trail is said at once, also of one that was lost.
        for before in [None, Some(Ill::Since(Duration::ZERO)), Some(Ill::Lost)] {
            watch.ill = before
                .map(|ill| ("w".to_owned(), ill))
                .into_iter()
                .collect();
            let change = watch.judge(&status(Some("goes back"), Some(9))).unwrap();
            assert!(matches!(change, Change::Ahead { holds: 9, .. }));
            watch.noted("w".to_owned(), &change);
            assert_eq!(watch.judge(&status(Some("gone"), None)), None);
            assert_eq!(watch.judge(&status(Some("goes back"), Some(9))), None);
            let back = watch.judge(&status(None, None));
            assert_eq!(back, Some(Change::Back { newest: Some(5) }));
        }

        // One that was not heard at the start is on record already: it is back as soon as it takes something, once.
        let unheard = |error, newest| WitnessStatus {
            name: "late".to_owned(),
            newest,
            was_unheard: true,
            ..status(error, None)
        };
        assert_eq!(watch.judge(&unheard(Some("silent"), None)), None);
        assert_eq!(watch.judge(&unheard(None, None)), None);
        let back = watch.judge(&unheard(None, Some(7))).unwrap();
        assert_eq!(back, Change::Back { newest: Some(7) });
        watch.noted("late".to_owned(), &back);
        assert_eq!(watch.judge(&unheard(None, Some(8))), None);
    }
}
