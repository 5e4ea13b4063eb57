//! Retention: what is older than it is listed, and removed only at an operator's word.
//!
//! The removal is on record with segment ids and heads, and a checkpoint that covers this record is at every witness,
//! before the first file goes. *Never*: the segment that is written, a segment of which one record is younger, or a
//! hole. *On failure*: [`RetentionError`]; what is not removed stays and can be removed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::answers::Holdings;
use super::entry::{Entry, EntryError};
use super::log::{
    KeyError, LogError, Reader, Retired, Sequences, SigningKey, is_over, kept_through, retirable,
    retire,
};
use super::trail::{Audit, AuditError};
use crate::request::Event;

/// How often the witnesses are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why nothing, or not everything, was removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key that signs notes.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The record of it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A record that cannot be read, whose age is not known therefore.
    #[error("record {0} cannot be read, so its age is not known: {1}")]
    Entry(u64, EntryError),
    /// A witness holds no proof of the record yet.
    #[error("nothing was removed: {0} did not take the checkpoint that has the removal on record")]
    Witness(String),
}

/// A segment that may be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The segment.
    pub segment: Retired,
    /// The time of its newest record.
    pub newest: Timestamp,
    /// The last day on which it had to be kept.
    pub kept_through: jiff::civil::Date,
}

impl Holdings {
    /// The oldest segments whose every record is older than retention. Reads them: do not call it where nothing may
    /// wait.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub fn expired(&self, now: Timestamp) -> Result<Vec<Expired>, RetentionError> {
        let headers = self.headers()?;
        let mut expired = Vec::new();
        for segment in retirable(&headers, self.years, now) {
            // The clock may have jumped while it was written; what counts is each record.
            let newest = self.newest_of(&segment)?.unwrap_or(Timestamp::MIN);
            if !is_over(newest, self.years, now) {
                break;
            }
            expired.push(Expired {
                kept_through: kept_through(newest, self.years),
                newest,
                segment,
            });
        }
        Ok(expired)
    }

    fn newest_of(&self, segment: &Retired) -> Result<Option<Timestamp>, RetentionError> {
        let range = Sequences {
            from: segment.first,
            to: segment.last,
        };
        let files = Arc::clone(&self.files);
        let mut reader = Reader::new(files, &self.directory, self.master.clone(), range);
        let mut newest = None;
        if segment.last < segment.first {
            return Ok(newest);
        }
        while let Some(record) = reader.next_record()? {
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|error| RetentionError::Entry(record.sequence, error))?;
            newest = newest.max(Some(entry.time));
        }
        Ok(newest)
    }

    /// Removes these segments; returns when they are gone.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn retire(
        &self,
        audit: &Audit,
        operator: &str,
        expired: &[Expired],
    ) -> Result<(), RetentionError> {
        let signer = SigningKey::read(&self.signing_key)?;
        let segments: Vec<Retired> = expired.iter().map(|e| e.segment.clone()).collect();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let named: Vec<String> = segments
            .iter()
            .map(|s| format!("{} {} {}", s.number, s.segment, s.head))
            .collect();
        let detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("segments".to_owned(), named.join("; ")),
            ("first".to_owned(), first.first.to_string()),
            ("last".to_owned(), last.last.to_string()),
            ("retention_years".to_owned(), self.years.to_string()),
        ]);
        audit.event(Event::AuditRetired, None, detail).await?;
        self.witnessed(audit).await?;
        retire(&*self.files, &self.directory, &signer, &segments)?;
        Ok(())
    }

    /// Waits until every witness holds a checkpoint of all that is on record now.
    async fn witnessed(&self, audit: &Audit) -> Result<(), RetentionError> {
        let recorded = audit.log().status().sequence;
        let behind = || {
            let witnesses = audit.log().status().witnesses;
            let late = |newest: Option<u64>| newest.is_none_or(|newest| newest < recorded);
            witnesses.into_iter().find(|witness| late(witness.newest))
        };
        let waiting = async {
            while behind().is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(self.patience, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err(RetentionError::Witness(
                behind().map_or_else(|| "a witness".to_owned(), |witness| witness.name),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::audit::answers::{AnswerError, Answers, Ask, Piece};
    use crate::audit::fixture;
    use crate::audit::log::{MasterKey, RealFiles, Truncation, headers, verify};
    use crate::audit::show::{Filter, Show};
    use crate::clock::{Clock, SharedClock, SystemClock};
    use crate::config;

    /// The calendar stands still, time goes on.
    #[derive(Debug)]
    struct Calendar(Timestamp, SharedClock);

    impl Clock for Calendar {
        fn now(&self) -> Timestamp {
            self.0
        }

        fn monotonic(&self) -> Duration {
            self.1.monotonic()
        }
    }

    fn configured(dir: &Path) -> config::Audit {
        config::Audit {
            segment_bytes: 1 << 26,
            checkpoint_records: 1,
            checkpoint_interval: Duration::from_secs(1),
            ..fixture::configured(dir)
        }
    }

    async fn open(config: &config::Audit, day: &str) -> (Audit, Answers) {
        let limits = fixture::limits();
        let time = format!("{day}T10:00:00Z").parse().unwrap();
        let clock: SharedClock = Arc::new(Calendar(time, SystemClock::shared()));
        let files = Arc::new(RealFiles);
        let opened = Audit::open(
            config,
            &limits,
            files.clone(),
            clock.clone(),
            Truncation::Refuse,
        );
        let (audit, _) = opened.await.unwrap();
        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let mut holdings = Holdings::new(config, files, master);
        if !config.witnesses.iter().all(|witness| {
            witness
                .file()
                .and_then(Path::parent)
                .is_some_and(Path::is_dir)
        }) {
            // A witness that has no place will not get one by waiting.
            holdings.patience = Duration::ZERO;
        }
        (audit.clone(), Answers::new(audit, holdings, clock))
    }

    async fn ask(answers: &Answers, ask: Ask) -> Result<Vec<Piece>, AnswerError> {
        let mut answering = answers.begin("alice", ask).await?;
        let mut pieces = Vec::new();
        while let Some(step) = answering.step()? {
            pieces.extend(step);
        }
        pieces.extend(answers.finish(answering).await?);
        Ok(pieces)
    }

    fn segments(config: &config::Audit) -> usize {
        headers(&RealFiles, &config.directory).unwrap().len()
    }

    fn is_intact(config: &config::Audit) -> bool {
        let witness = std::fs::read_to_string(config.witnesses[0].file().unwrap()).unwrap();
        let key = SigningKey::read(&config.signing_key).unwrap();
        let report = verify(
            &RealFiles,
            &config.directory,
            key.verifier(),
            &[("witness", &witness)],
            None,
        );
        report.unwrap().is_intact()
    }

    #[tokio::test]
    async fn only_what_is_old_goes_only_when_told_and_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        // Three runs, a segment each.
        for day in ["2024-02-29", "2024-03-01", "2028-01-01"] {
            let (audit, _) = open(&config, day).await;
            audit.log().shutdown().unwrap();
        }
        // The second run began on 1 March 2024, so the first segment is kept through that day of 2030.
        let (audit, answers) = open(&config, "2030-03-01").await;
        let listed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
        assert!(
            matches!(listed[..], [Piece::Age(_), Piece::Removed(0)]),
            "{listed:?}"
        );
        audit.log().shutdown().unwrap();
        assert_eq!(segments(&config), 4);
        drop((audit, answers));

        let (audit, answers) = open(&config, "2030-03-02").await;
        let listed = ask(&answers, Ask::Retention { apply: false })
            .await
            .unwrap();
        let [Piece::Age(age), Piece::Expired(expired)] = &listed[..] else {
            panic!("{listed:?}");
        };
        assert_eq!((age.segments, age.over), (5, 1));
        assert_eq!(expired.kept_through.to_string(), "2030-03-01");
        assert_eq!(segments(&config), 5, "listing removes nothing");
        let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
        assert_eq!(removed.last(), Some(&Piece::Removed(1)));
        audit.log().shutdown().unwrap();
        assert_eq!(segments(&config), 4);
        assert!(is_intact(&config));
        drop((audit, answers));

        let (audit, _) = open(&config, "2030-03-03").await;
        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let all = Filter::default();
        let mut show = Show::new(
            Arc::new(RealFiles),
            &config.directory,
            master,
            all,
            u64::MAX,
        );
        let entries = std::iter::from_fn(|| show.next_match().unwrap());
        let retired: Vec<_> = entries
            .filter(|shown| shown.entry.event == Some(Event::AuditRetired))
            .collect();
        assert_eq!(retired.len(), 1);
        let detail = &retired[0].entry.detail;
        assert_eq!(detail["operator"], "alice");
        assert!(
            detail["segments"].contains(&expired.segment.head.to_string()),
            "{detail:?}"
        );
        drop(audit);
    }

    #[tokio::test]
    async fn without_its_witness_nothing_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = configured(dir.path());
        for day in ["2020-01-01", "2020-01-02"] {
            let (audit, _) = open(&config, day).await;
            audit.log().shutdown().unwrap();
        }
        config.witnesses = vec![config::witness::Witness::File(
            dir.path().join("no/such/place"),
        )];
        let (audit, answers) = open(&config, "2030-01-01").await;
        let refused = ask(&answers, Ask::Retention { apply: true })
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("nothing was removed"),
            "{refused}"
        );
        audit.log().shutdown().unwrap();
        assert_eq!(segments(&config), 3);
    }
}
