//! Which settings changed since the gateway last started: on record before *started* (45 CFR 170.315(d)(2)).
//!
//! *Owns*: the settings of the last start, sealed in the store, with a random salt.
//! *Never*: the value of a secret, nor a digest of one that could be guessed from: contents of files are compared by
//! their HMAC under that salt.
//! *On failure*: the gateway does not start: a change that cannot be put on record is not taken over.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::settings::{Hidden, Settings};
use crate::store::{Durability, Store, StoreError, Table};

/// The key in the table of upkeep.
const KEY: &str = "configuration";
/// How long the settings of the last start are remembered: longer than anything is retained.
const REMEMBERED: Duration = Duration::from_hours(10 * 366 * 24);
/// Most changes that one record names, and most characters of one; the rest is counted.
const MOST: usize = 100;
const LONGEST: usize = 500;
/// Most bytes of a file that are looked at.
const MOST_BYTES: u64 = 1 << 20;
/// Bytes of a digest that are kept.
const DIGEST: usize = 16;
/// The name under which the build stands among the settings: another one may have other defaults.
const VERSION: &str = "(version of Chartgate)";

/// Why settings cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds is no list of settings.
    #[error("the settings of the last start cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// No salt.
    #[error("no random number can be had")]
    Random,
}

/// A setting as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    text: String,
    /// Of what is not shown of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// What is remembered of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    salt: String,
    sha256: String,
    values: BTreeMap<String, Value>,
}

/// The settings of this start beside those of the last.
#[derive(Debug)]
pub struct Comparison {
    now: Remembered,
    detail: Option<BTreeMap<String, String>>,
}

impl Comparison {
    /// Compares the settings with those of the last start.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub async fn of(settings: &Settings, store: &Store) -> Result<Self, ConfigurationError> {
        let entry = store.get(Table::Upkeep, KEY).await?;
        let before: Option<Remembered> = entry
            .map(|entry| serde_json::from_slice(entry.value.expose()))
            .transpose()?;
        let salt = match &before {
            Some(before) => before.salt.clone(),
            None => salt()?,
        };
        let now = remembered(settings, salt, env!("CARGO_PKG_VERSION"));
        let detail = difference(before.as_ref(), &now);
        Ok(Self { now, detail })
    }

    /// The particulars of the record, if anything changed.
    #[must_use]
    pub const fn detail(&self) -> Option<&BTreeMap<String, String>> {
        self.detail.as_ref()
    }

    /// Remembers the settings. What changed MUST be on record.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub async fn remember(&self, store: &Store, at: Timestamp) -> Result<(), ConfigurationError> {
        if self.detail.is_none() {
            return Ok(());
        }
        let value = serde_json::to_vec(&self.now)?;
        let until = at.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        store
            .put(Table::Upkeep, KEY, &value, until, Durability::Immediate)
            .await?;
        Ok(())
    }
}

fn salt() -> Result<String, ConfigurationError> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_unspecified| ConfigurationError::Random)?;
    Ok(hex::encode(bytes))
}

fn remembered(settings: &Settings, salt: String, version: &str) -> Remembered {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    let digest = |bytes: &[u8]| {
        let tag = hmac::sign(&key, bytes);
        let kept: String = hex::encode(tag).chars().take(DIGEST).collect();
        kept
    };
    let mut values: BTreeMap<String, Value> = settings
        .each()
        .map(|(name, setting)| {
            let digest = match &setting.hidden {
                Hidden::Nothing => None,
                Hidden::Text(text) => Some(digest(text.as_bytes())),
                Hidden::File(path) => Some(match content(path) {
                    Some(content) => digest(&content),
                    None => "unreadable".to_owned(),
                }),
            };
            let text = setting.text.clone();
            (name.to_owned(), Value { text, digest })
        })
        .collect();
    let build = Value {
        text: version.to_owned(),
        digest: None,
    };
    values.insert(VERSION.to_owned(), build);
    Remembered {
        salt,
        sha256: settings.sha256().to_owned(),
        values,
    }
}

fn content(path: &Path) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let mut content = zeroize::Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(path).ok()?;
    opened.take(MOST_BYTES).read_to_end(&mut content).ok()?;
    Some(content)
}

/// What a record says of the difference; nothing where there is none.
fn difference(before: Option<&Remembered>, now: &Remembered) -> Option<BTreeMap<String, String>> {
    let mut detail = BTreeMap::from([("sha256".to_owned(), now.sha256.clone())]);
    let Some(before) = before else {
        let many = now.values.len();
        let changed = format!("nothing was remembered of an earlier start; {many} settings");
        detail.insert("changed".to_owned(), changed);
        return Some(detail);
    };
    if before == now {
        return None;
    }
    let names: std::collections::BTreeSet<&String> =
        before.values.keys().chain(now.values.keys()).collect();
    let changes: Vec<String> = names
        .into_iter()
        .filter_map(|name| change(name, before.values.get(name), now.values.get(name)))
        .map(|change| change.chars().take(LONGEST).collect())
        .collect();
    let more = changes.len().saturating_sub(MOST);
    let mut told: Vec<String> = changes.into_iter().take(MOST).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    let words = if told.is_empty() {
        "no setting; comments or order".to_owned()
    } else {
        told.join("; ")
    };
    detail.insert("before".to_owned(), before.sha256.clone());
    detail.insert("changed".to_owned(), words);
    Some(detail)
}

fn change(name: &str, before: Option<&Value>, now: Option<&Value>) -> Option<String> {
    match (before, now) {
        (None, Some(now)) => Some(format!("{name} added: {}", now.text)),
        (Some(before), None) => Some(format!("{name} removed, was {}", before.text)),
        (Some(before), Some(now)) if before.text != now.text => {
            Some(format!("{name}: {} -> {}", before.text, now.text))
        }
        (Some(before), Some(now)) if before.digest != now.digest => {
            let digest = |value: &Value| value.digest.clone().unwrap_or_default();
            Some(format!(
                "{name}: {} has other content, {} -> {}",
                now.text,
                digest(before),
                digest(now)
            ))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE};
    use crate::operate::testing::Ground;

    fn settings(fixture: &Fixture, text: &str) -> Settings {
        fixture.read(text).config.unwrap().settings
    }

    #[tokio::test]
    async fn what_changed_between_two_starts_is_named_with_old_and_new_value() {
        let ground = Ground::new().await;
        let (store, now) = (&ground.store, crate::clock::Clock::now(&*ground.clock));
        let fixture = Fixture::new();
        let first = Comparison::of(&settings(&fixture, TEMPLATE), store)
            .await
            .unwrap();
        let detail = first.detail().unwrap();
        assert!(
            detail["changed"].starts_with("nothing was remembered"),
            "{detail:?}"
        );
        assert!(!detail.contains_key("before"));
        first.remember(store, now).await.unwrap();
        let same = Comparison::of(&settings(&fixture, TEMPLATE), store)
            .await
            .unwrap();
        assert_eq!(same.detail(), None);

        let other = TEMPLATE.replacen("# retention_years = 6", "retention_years = 7", 1);
        assert_ne!(other, TEMPLATE);
        let changed = Comparison::of(&settings(&fixture, &other), store)
            .await
            .unwrap();
        let detail = changed.detail().unwrap();
        assert_eq!(detail["changed"], "audit.retention_years added: 7");
        assert_eq!(detail["before"], first.now.sha256);
        assert_ne!(detail["sha256"], detail["before"]);
        // Until it is remembered, it is told again.
        let again = Comparison::of(&settings(&fixture, &other), store)
            .await
            .unwrap();
        assert_eq!(again.detail(), changed.detail());
        changed.remember(store, now).await.unwrap();

        let third = TEMPLATE.replacen("# retention_years = 6", "retention_years = 8", 1);
        let changed = Comparison::of(&settings(&fixture, &third), store)
            .await
            .unwrap();
        assert_eq!(
            changed.detail().unwrap()["changed"],
            "audit.retention_years: 7 -> 8"
        );
        let back = Comparison::of(&settings(&fixture, TEMPLATE), store)
            .await
            .unwrap();
        assert_eq!(
            back.detail().unwrap()["changed"],
            "audit.retention_years removed, was 7"
        );
        let comment = format!("{other}\n# a word\n");
        let comment = Comparison::of(&settings(&fixture, &comment), store)
            .await
            .unwrap();
        assert_eq!(
            comment.detail().unwrap()["changed"],
            "no setting; comments or order"
        );
    }

    #[test]
    fn the_content_of_a_file_is_compared_and_never_told() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("secret");
        let value = |text: &str| {
            std::fs::write(&key, text).unwrap();
            let salted = hmac::Key::new(hmac::HMAC_SHA256, b"salt");
            let content = content(&key).unwrap();
            Value {
                text: "secret".to_owned(),
                digest: Some(hex::encode(hmac::sign(&salted, &content))),
            }
        };
        let (before, now) = (value("swordfish"), value("trout"));
        let said = change("notify.secret_file", Some(&before), Some(&now)).unwrap();
        assert!(
            said.starts_with("notify.secret_file: secret has other content"),
            "{said}"
        );
        assert!(!said.contains("swordfish") && !said.contains("trout"));
        assert_eq!(change("x", Some(&now), Some(&now)), None);
    }

    #[test]
    fn a_record_of_many_changes_is_bounded() {
        let of = |many: usize, text: &str| Remembered {
            salt: String::new(),
            sha256: text.to_owned(),
            values: (0..many)
                .map(|at| {
                    let text = text.repeat(300);
                    (format!("key{at:04}"), Value { text, digest: None })
                })
                .collect(),
        };
        let detail = difference(Some(&of(500, "a")), &of(500, "b")).unwrap();
        assert!(detail["changed"].ends_with("and 400 more"));
        assert!(detail["changed"].len() <= MOST * (LONGEST + 2) + 20);
    }
}
