//! A proof on its way: the records are found, a checkpoint is waited for, and then they are proven.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ask::Piece;
use super::holdings::Holdings;
use super::{AnswerError, RECORDS, passed_over};
use crate::audit::entry::{Entry, Phase};
use crate::audit::log::{
    Content, LogError, Proof, ProveError, Reader, Sequences, SigningKey, Subject, prove,
};
use crate::audit::query::first_sequence;
use crate::audit::show::ShowError;
use crate::audit::trail::Audit;
use crate::audit::witnesses;
use crate::clock::SystemClock;

const LONGEST_ID: usize = 64;
/// How often it is looked whether a checkpoint is there.
const LOOK: Duration = Duration::from_millis(50);
/// How long a witness may take for a checkpoint that the gateway signed; after that its own is used.
const WITNESS_PATIENCE: Duration = Duration::from_secs(3);

/// What names records: a sequence number, the id of a record, or the id of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Named {
    /// One record.
    Sequence(u64),
    /// One record, or a request: its admission and its outcome, or its refusal.
    Id(String),
}

/// A text that names no record.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no sequence number (41872) and no id of a record or a request (0199c5a2-…)")]
pub struct NoName(String);

impl FromStr for Named {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(sequence));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self::Id(text.to_owned()));
        }
        Err(NoName(text.chars().take(LONGEST_ID).collect()))
    }
}

impl TryFrom<String> for Named {
    type Error = NoName;

    fn try_from(text: String) -> Result<Self, NoName> {
        text.parse()
    }
}

impl From<Named> for String {
    fn from(named: Named) -> Self {
        named.to_string()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(sequence) => write!(f, "{sequence}"),
            Self::Id(id) => f.write_str(id),
        }
    }
}

impl Named {
    /// When it was given out, where it is an id that tells (UUID version 7).
    fn made(&self) -> Option<Timestamp> {
        let Self::Id(id) = self else {
            return None;
        };
        let (seconds, nanos) = id.parse::<Uuid>().ok()?.get_timestamp()?.to_unix();
        let since_epoch = SignedDuration::new(i64::try_from(seconds).ok()?, 0);
        Timestamp::new(since_epoch.as_secs(), i32::try_from(nanos).ok()?).ok()
    }
}

/// The state of it.
#[derive(Debug)]
pub(super) struct Proving {
    named: Named,
    content: Content,
    reader: Option<Reader>,
    /// The request's admission, whose outcome is looked for.
    admission: Option<Uuid>,
    found: BTreeSet<u64>,
}

impl Proving {
    pub(super) fn new(
        holdings: &Holdings,
        named: Named,
        content: Content,
        through: u64,
    ) -> Result<Self, LogError> {
        let mut found = BTreeSet::new();
        let reader = match &named {
            Named::Sequence(sequence) => {
                found.insert(*sequence);
                None
            }
            Named::Id(_) => {
                let made = named.made();
                let from = first_sequence(&*holdings.files, &holdings.directory, made)?;
                let range = Sequences { from, to: through };
                let (files, master) = (Arc::clone(&holdings.files), Arc::clone(&holdings.master));
                Some(Reader::new(files, &holdings.directory, master, range))
            }
        };
        Ok(Self {
            named,
            content,
            reader,
            admission: None,
            found,
        })
    }

    /// Looks for the records; `None` when no more are to be found.
    pub(super) fn step(&mut self) -> Result<Option<Vec<Piece>>, AnswerError> {
        for _ in 0..RECORDS {
            let (Some(reader), Named::Id(id)) = (&mut self.reader, &self.named) else {
                return Ok(None);
            };
            let Some(record) = reader.next_record()? else {
                let passed = passed_over(reader.take_shredded());
                self.reader = None;
                return Ok(passed.map(|passed| vec![passed]));
            };
            let of = self.admission.map(|admission| admission.to_string());
            let wanted = of.as_deref().unwrap_or(id);
            // Most records are told by their text not to be meant.
            if memmem::find(&record.payload, wanted.as_bytes()).is_none() {
                continue;
            }
            let sequence = record.sequence;
            let entry = Entry::from_bytes(&record.payload)
                .map_err(|source| ShowError::Entry { sequence, source })?;
            if self.meet(sequence, &entry) {
                self.reader = None;
            }
        }
        Ok(Some(Vec::new()))
    }

    /// Looks at a record; says whether it is the last that is wanted.
    fn meet(&mut self, sequence: u64, entry: &Entry) -> bool {
        if let Some(admission) = self.admission {
            if entry.of != Some(admission) {
                return false;
            }
            self.found.insert(sequence);
            return true;
        }
        let Named::Id(id) = &self.named else {
            return false;
        };
        if entry.id.to_string() == *id {
            self.found.insert(sequence);
            return true;
        }
        if entry
            .facts
            .as_ref()
            .is_none_or(|facts| facts.request != *id)
        {
            return false;
        }
        match entry.phase {
            Phase::Admit => {
                self.found.insert(sequence);
                self.admission = Some(entry.id);
                false
            }
            Phase::Refuse => {
                self.found.insert(sequence);
                true
            }
            // Events of the request go on record beside it.
            Phase::Outcome | Phase::Event => false,
        }
    }

    /// Proves what was found.
    pub(super) async fn finish(
        self,
        audit: &Audit,
        holdings: &Holdings,
    ) -> Result<Proof, AnswerError> {
        let newest = self.found.last().copied();
        let Some(newest) = newest else {
            return Err(AnswerError::NoRecord(self.named));
        };
        if newest > audit.log().status().sequence {
            // No checkpoint is worth waiting for.
            return Err(ProveError::NoRecord(newest).into());
        }
        vouched(audit, newest, holdings.patience).await;
        let (holdings, content) = (holdings.clone(), self.content);
        let found = self.found;
        let made = tokio::task::spawn_blocking(move || made(&holdings, &found, content));
        made.await.unwrap_or(Err(AnswerError::Broken))
    }
}

/// Waits until a signed checkpoint vouches for the record, and a moment longer for the witnesses.
async fn vouched(audit: &Audit, sequence: u64, patience: Duration) {
    let signed = async {
        loop {
            let newest = audit.log().status().checkpoint;
            if newest.is_some_and(|(newest, _)| newest >= sequence) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let held = async {
        loop {
            let mut witnesses = audit.log().status().witnesses.into_iter();
            if witnesses.all(|witness| witness.newest >= Some(sequence)) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // A record that no checkpoint vouches for in time is told by who looks for one.
    if tokio::time::timeout(patience, signed).await.is_ok() {
        let _late = tokio::time::timeout(WITNESS_PATIENCE, held).await;
    }
}

fn made(
    holdings: &Holdings,
    found: &BTreeSet<u64>,
    content: Content,
) -> Result<Proof, AnswerError> {
    let key = SigningKey::read(&holdings.signing_key)?;
    // A witness that does not answer only means that the log's own checkpoints are used.
    let clock = SystemClock::shared();
    let heard = witnesses::ask(&holdings.witnesses, key.verifier(), &clock);
    let places = heard.places().into_iter();
    let witnessed: Vec<String> = places.map(|(_, notes)| notes.to_owned()).collect();
    let subject = Subject {
        files: &*holdings.files,
        directory: &holdings.directory,
        master: &holdings.master,
        key: key.verifier(),
        witnessed: &witnessed,
    };
    Ok(prove(&subject, found, content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_number_or_an_id() {
        assert!(matches!("17".parse(), Ok(Named::Sequence(17))));
        let id = "0199c5a2-7c1e-7d5c-9d1e-3f0a5b2c7e11";
        let named: Named = id.parse().unwrap();
        assert_eq!(named, Named::Id(id.to_owned()));
        let made = named.made().unwrap().to_string();
        assert!(made.starts_with("2025-10-08T"), "{made}");
        for wrong in ["", "a b", "\"", "é", &"a".repeat(65)] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
        let read: Result<Named, _> = serde_json::from_str("\"a b\"");
        assert!(read.is_err());
    }
}
