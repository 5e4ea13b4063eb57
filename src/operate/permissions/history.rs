//! The bundles that were in force, so that the way back is one command, also after a restart.
//!
//! *Owns*: the last activations and the texts of their bundles, sealed in the store; the hold of a rollback.
//! *Never*: a kept bundle whose files do not have the digest that it is kept under.
//! *On failure*: [`HistoryError`]; what is in force stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::short;
use crate::policy::bundle::Bundle;
use crate::store::{NEVER, Store, StoreError, Table};

/// The key of the activations in the table of upkeep.
const HISTORY: &str = "policy-history";
/// The key of the hold.
const HOLD: &str = "policy-hold";
/// Most activations that are remembered.
const MOST_LINES: usize = 50;
/// Bundles that are kept beside the one in force.
const KEPT: usize = 5;
/// Fewest characters of a digest that name a bundle.
const FEWEST_CHARACTERS: usize = 6;

/// How a bundle came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The gateway started with it.
    Start,
    /// Its files changed.
    Change,
    /// An operator activated it.
    Activation,
    /// An operator went back to it.
    Rollback,
}

/// One activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: How,
    /// The operator, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Why, as the operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The bundle's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub sha256: String,
    /// The generation that it was put in force as.
    pub generation: u64,
    /// The trusted keys that signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
}

/// A rollback that holds against the files of the configured directory for as long as they are what they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The digest of the configured directory when the rollback was made.
    pub on_disk: String,
    /// The digest of the bundle that holds.
    pub in_force: String,
    /// Who went back.
    pub operator: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Why there is no way back.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds is no history.
    #[error("the history of bundles cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Nothing was in force before.
    #[error(
        "no other bundle was in force before this one; `chartgate policy history` lists what is kept"
    )]
    Nothing,
    /// No activation, or more than one bundle, is called so.
    #[error(
        "`{0}` names {1} of the bundles in `chartgate policy history`; give the beginning of one sha256 there (six characters or more)"
    )]
    Ambiguous(String, usize),
    /// The bundle is not kept any more.
    #[error(
        "the bundle {0} is not kept any more (the last five are); activate it from its files with `chartgate policy activate --dir`"
    )]
    Gone(String),
    /// What is kept is not what was in force.
    #[error("the kept bundle {0} does not have its sha256; it is damaged and is not used")]
    Damaged(String),
    /// It is in force.
    #[error("{0} is in force already")]
    InForce(String),
}

/// The activations, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Vec<Line>);

/// What is written at a key of the table of upkeep.
pub(super) async fn read<T: DeserializeOwned>(
    store: &Store,
    key: &str,
) -> Result<Option<T>, HistoryError> {
    let entry = store.get(Table::Upkeep, key).await?;
    let read = entry.map(|entry| serde_json::from_slice(entry.value.expose()));
    Ok(read.transpose()?)
}

impl History {
    pub(super) async fn read(store: &Store) -> Result<Self, HistoryError> {
        Ok(Self(read(store, HISTORY).await?.unwrap_or_default()))
    }

    /// The activations, the newest first.
    pub(super) fn newest_first(mut self) -> Vec<Line> {
        self.0.reverse();
        self.0
    }

    /// The bundles that were put in force one on top of the other: a rollback takes off what it goes back from, so that
    /// the next one goes back further instead of forth.
    fn stack(&self) -> Vec<&Line> {
        let mut stack: Vec<&Line> = Vec::new();
        for line in &self.0 {
            let below = stack.iter().rposition(|held| held.sha256 == line.sha256);
            match (line.how, below) {
                (How::Rollback, Some(at)) => stack.truncate(at.saturating_add(1)),
                (How::Rollback, None) | (How::Start | How::Change | How::Activation, _) => {
                    if stack.last().is_none_or(|top| top.sha256 != line.sha256) {
                        stack.push(line);
                    }
                }
            }
        }
        stack
    }

    /// The bundle that was in force before the one with this digest.
    pub(super) fn before(&self, in_force: &str) -> Result<&Line, HistoryError> {
        let stack = self.stack();
        let mut below = stack
            .iter()
            .rev()
            .skip_while(|line| line.sha256 == in_force);
        below.next().copied().ok_or(HistoryError::Nothing)
    }

    /// The bundle whose digest begins so.
    pub(super) fn called(&self, beginning: &str) -> Result<&Line, HistoryError> {
        let asked = beginning.to_ascii_lowercase();
        let fits = |line: &&Line| {
            asked.len() >= FEWEST_CHARACTERS && line.sha256.starts_with(asked.as_str())
        };
        let found: BTreeMap<&str, &Line> = self
            .0
            .iter()
            .filter(fits)
            .map(|line| (line.sha256.as_str(), line))
            .collect();
        match found.values().collect::<Vec<_>>().as_slice() {
            [one] => Ok(one),
            several => Err(HistoryError::Ambiguous(beginning.to_owned(), several.len())),
        }
    }

    /// Adds an activation, and forgets what is too old.
    pub(super) async fn push(mut self, store: &Store, line: Line) -> Result<(), HistoryError> {
        self.0.push(line);
        let over = self.0.len().saturating_sub(MOST_LINES);
        self.0.drain(..over);
        store.keep(Table::Upkeep, HISTORY, &self.0, NEVER).await?;
        self.prune(store).await
    }

    /// Whether the newest activation is of this bundle.
    pub(super) fn ends_with(&self, digest: &str) -> bool {
        self.0.last().is_some_and(|line| line.sha256 == digest)
    }

    async fn prune(&self, store: &Store) -> Result<(), HistoryError> {
        let mut kept = BTreeSet::new();
        for line in self.0.iter().rev() {
            if kept.len() <= KEPT {
                kept.insert(line.sha256.as_str());
            }
        }
        let shadow = super::shadow::kept(store).await?;
        let mut after = None;
        loop {
            let page = store.scan(Table::Bundles, after.as_deref()).await?;
            for (digest, _) in &page.entries {
                if !kept.contains(digest.as_str()) && shadow.as_ref() != Some(digest) {
                    store.delete(Table::Bundles, digest).await?;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Keeps the files of a bundle.
pub(super) async fn keep(store: &Store, bundle: &Bundle) -> Result<(), HistoryError> {
    Ok(store
        .keep(Table::Bundles, bundle.digest(), bundle.texts(), NEVER)
        .await?)
}

/// The files of the bundle with this digest.
pub(super) async fn kept(
    store: &Store,
    digest: &str,
) -> Result<BTreeMap<PathBuf, String>, HistoryError> {
    let entry = store.get(Table::Bundles, digest).await?;
    let entry = entry.ok_or_else(|| HistoryError::Gone(short(digest).to_owned()))?;
    Ok(serde_json::from_slice(entry.value.expose())?)
}

impl Hold {
    pub(super) async fn read(store: &Store) -> Result<Option<Self>, HistoryError> {
        read(store, HOLD).await
    }

    pub(super) async fn keep(&self, store: &Store) -> Result<(), HistoryError> {
        Ok(store.keep(Table::Upkeep, HOLD, self, NEVER).await?)
    }

    pub(super) async fn end(store: &Store) -> Result<(), HistoryError> {
        Ok(store.delete(Table::Upkeep, HOLD).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lines: &[(&str, How)]) -> History {
        let line = |(sha256, how): &(&str, How)| Line {
            at: Timestamp::UNIX_EPOCH,
            how: *how,
            operator: None,
            reason: None,
            name: "b".to_owned(),
            version: "1".to_owned(),
            sha256: (*sha256).to_owned(),
            generation: 1,
            signers: Vec::new(),
        };
        History(lines.iter().map(line).collect())
    }

    #[test]
    fn going_back_twice_goes_back_further() {
        let lines = [
            ("a", How::Start),
            ("b", How::Change),
            ("b", How::Activation),
            ("c", How::Activation),
            ("b", How::Rollback),
            ("a", How::Rollback),
            ("d", How::Activation),
        ];
        let before = |many: usize, in_force: &str| {
            let history = history(&lines[..many]);
            let line = history.before(in_force).ok();
            line.map(|line| line.sha256.clone())
        };
        assert_eq!(before(1, "a"), None);
        assert_eq!(before(3, "b").as_deref(), Some("a"));
        assert_eq!(before(4, "c").as_deref(), Some("b"));
        assert_eq!(before(5, "b").as_deref(), Some("a"));
        assert_eq!(before(6, "a"), None);
        assert_eq!(before(7, "d").as_deref(), Some("a"));
    }

    #[test]
    fn a_bundle_is_named_by_the_beginning_of_its_digest() {
        let history = history(&[
            ("aaaaaa11", How::Start),
            ("aaaaaa22", How::Change),
            ("aaaaaa11", How::Rollback),
        ]);
        let called = |text| history.called(text).map(|line| line.sha256.clone());
        assert_eq!(called("AAAAAA2").unwrap(), "aaaaaa22");
        assert_eq!(called("aaaaaa11").unwrap(), "aaaaaa11");
        assert!(matches!(
            called("aaaaaa"),
            Err(HistoryError::Ambiguous(_, 2))
        ));
        assert!(matches!(called("aaaa"), Err(HistoryError::Ambiguous(_, 0))));
        assert!(matches!(
            called("bbbbbb"),
            Err(HistoryError::Ambiguous(_, 0))
        ));
    }
}
