//! Legal holds: records that may not be removed while a matter is pending, however old they are.
//!
//! *Owns*: the book of holds (`upkeep/legal-holds` in the store, sealed).
//! *Never*: a hold set or released that is not on record first; a release by who set it; a book that cannot be read
//! taken for an empty one; a hold on a patient that forgets an identifier of theirs.
//! *On failure*: [`HoldError`], for the operator; the book is as it was, and retention removes nothing.

mod cover;
mod recorded;
mod sieve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use recorded::{Recorded, number};
pub use sieve::{Held, News, Sieve};

use super::links::Known;
use super::show::Filter;
use super::trail::{Audit, AuditError};
use crate::request::Event;
use crate::store::{NEVER, Store, StoreError, Table};
use crate::telemetry::metrics as names;

/// The key of the book in the table of upkeep.
const KEY: &str = "legal-holds";
/// Most holds in force at once.
const MOST_HOLDS: usize = 1_000;
/// Most released holds that are remembered; every release is on record for good.
const MOST_RELEASED: usize = 1_000;
/// Longest matter, patient and user.
const MOST_NAME: usize = 256;
/// Longest reason.
const MOST_REASON: usize = 500;

/// Why holds are not known, set or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The store does not answer.
    #[error("legal holds are kept in the store: {0}")]
    Store(#[from] StoreError),
    /// The store holds no book of holds there.
    #[error("the book of legal holds cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It could not go on record.
    #[error("it could not be put on record, so nothing was done: {0}")]
    Audit(#[from] AuditError),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Which identifiers a hold covers cannot be told.
    #[error("which identifiers hold {0} covers is not known: {1}")]
    Cover(u64, String),
    /// Nobody opened the store.
    #[error("the store is not open here, so legal holds are not known")]
    NoStore,
}

/// Which records a hold is about. Everything that is set must match; nothing set is the whole trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// A patient's identifier, in any system; or `system|identifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// A user's name or stable id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Nothing older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Nothing newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Scope {
    /// The records, as a reading asks for them.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            patient: self.patient.clone(),
            user: self.user.clone(),
            since: self.since,
            until: self.until,
            ..Filter::default()
        }
    }
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its number.
    pub id: u64,
    /// The matter, as the lawyers call it.
    pub matter: String,
    /// Which records.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Who released it, once somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Release>,
    /// Further identifiers of the patient, all that were linked with the one that is named since it was set.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What an operator asks of the holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Set one.
    Add {
        /// The matter.
        matter: String,
        /// Which records.
        scope: Scope,
        /// Why.
        reason: String,
    },
    /// Those in force.
    List {
        /// With those that were released.
        released: bool,
    },
    /// Release one.
    Release {
        /// Which.
        id: u64,
        /// Why.
        reason: String,
    },
}

impl Ask {
    /// What is asked, for the record of the asking.
    #[must_use]
    pub(super) const fn described(&self) -> &'static str {
        match self {
            Self::Add { .. } => "hold add",
            Self::List { .. } => "hold list",
            Self::Release { .. } => "hold release",
        }
    }
}

/// Every hold that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// How many holds were ever set.
    count: u64,
    holds: Vec<Hold>,
}

impl Book {
    /// The holds in force, oldest first.
    pub fn in_force(&self) -> impl Iterator<Item = &Hold> + Clone {
        self.holds.iter().filter(|hold| hold.released.is_none())
    }

    fn forget(&mut self) {
        let released = self.holds.iter().filter(|hold| hold.released.is_some());
        let mut excess = released.count().saturating_sub(MOST_RELEASED);
        self.holds.retain(|hold| {
            let goes = hold.released.is_some() && excess > 0;
            excess = excess.saturating_sub(usize::from(goes));
            !goes
        });
    }
}

/// The holds; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Holds {
    store: Store,
    changing: Arc<Mutex<()>>,
    links: Known,
}

/// While this is held, no hold is set or released.
#[derive(Debug)]
#[must_use]
pub struct Unchanged(#[expect(dead_code, reason = "it is held, not read")] OwnedMutexGuard<()>);

impl Holds {
    /// The holds that this store keeps.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            changing: Arc::default(),
            links: Known::default(),
        }
    }

    /// With what is known of patients who have several identifiers.
    #[must_use]
    pub fn with_links(self, links: Known) -> Self {
        Self { links, ..self }
    }

    /// The book as it is now; holds on patients cover what is linked now, and that is kept.
    ///
    /// # Errors
    /// [`HoldError`]; nobody may take that for an empty book.
    pub async fn book(&self) -> Result<Book, HoldError> {
        let alone = self.settle().await;
        self.settled(&alone).await
    }

    /// The same while no hold is set or released.
    ///
    /// # Errors
    /// As [`Self::book`].
    pub async fn settled(&self, _alone: &Unchanged) -> Result<Book, HoldError> {
        let mut book = self.kept().await?;
        if book.cover(&self.links.now()) {
            self.store.keep(Table::Upkeep, KEY, &book, NEVER).await?;
        }
        Ok(book)
    }

    /// What is known of patients who have several identifiers.
    #[must_use]
    pub const fn links(&self) -> &Known {
        &self.links
    }

    /// The book as it was kept.
    ///
    /// # Errors
    /// As [`Self::book`].
    pub async fn kept(&self) -> Result<Book, HoldError> {
        let entry = self.store.get(Table::Upkeep, KEY).await?;
        let book = entry.map(|entry| serde_json::from_slice(entry.value.expose()));
        Ok(book.transpose()?.unwrap_or_default())
    }

    /// Keeps holds from being set or released until the guard is gone.
    pub async fn settle(&self) -> Unchanged {
        Unchanged(Arc::clone(&self.changing).lock_owned().await)
    }

    /// The store that keeps them.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Answers an operator with the holds that the question is about.
    ///
    /// # Errors
    /// [`HoldError`].
    pub async fn answer(
        &self,
        audit: &Audit,
        (operator, now): (&str, Timestamp),
        ask: Ask,
    ) -> Result<Vec<Hold>, HoldError> {
        let alone = self.settle().await;
        let mut book = self.settled(&alone).await?;
        let answer = match ask {
            Ask::List { released } => {
                let shown = |hold: &&Hold| released || hold.released.is_none();
                return Ok(book.holds.iter().filter(shown).cloned().collect());
            }
            Ask::Add {
                matter,
                scope,
                reason,
            } => {
                let mut hold = Hold {
                    id: book.count.saturating_add(1),
                    matter,
                    scope,
                    reason,
                    by: operator.to_owned(),
                    at: now,
                    released: None,
                    aliases: BTreeSet::new(),
                };
                acceptable(&book, &hold)?;
                hold.cover(&self.links.now());
                let detail = described(&hold, operator, &hold.reason);
                audit.event(Event::LegalHoldSet, None, detail).await?;
                book.count = hold.id;
                book.holds.push(hold.clone());
                hold
            }
            Ask::Release { id, reason } => {
                let hold = releasable(&mut book, id, operator, &reason)?;
                let detail = described(hold, operator, &reason);
                audit.event(Event::LegalHoldReleased, None, detail).await?;
                hold.released = Some(Release {
                    by: operator.to_owned(),
                    at: now,
                    reason,
                });
                let hold = hold.clone();
                book.forget();
                hold
            }
        };
        self.store.keep(Table::Upkeep, KEY, &book, NEVER).await?;
        measure(&book);
        Ok(vec![answer])
    }
}

/// Sets the gauge of holds in force.
pub fn measure(book: &Book) {
    let count = u32::try_from(book.in_force().count()).unwrap_or(u32::MAX);
    metrics::gauge!(names::LEGAL_HOLDS).set(f64::from(count));
}

fn acceptable(book: &Book, hold: &Hold) -> Result<(), HoldError> {
    let Scope {
        patient,
        user,
        since,
        until,
    } = &hold.scope;
    for (name, text, most) in [
        ("the matter", Some(&hold.matter), MOST_NAME),
        ("the reason", Some(&hold.reason), MOST_REASON),
        ("the patient", patient.as_ref(), MOST_NAME),
        ("the user", user.as_ref(), MOST_NAME),
    ] {
        text.map_or(Ok(()), |text| written(name, text, most))?;
    }
    if since.is_some_and(|since| until.is_some_and(|until| until < since)) {
        return Err(HoldError::Refused(
            "`--until` lies before `--since`: no record would be held".to_owned(),
        ));
    }
    if book.in_force().count() >= MOST_HOLDS {
        return Err(HoldError::Refused(format!(
            "{MOST_HOLDS} holds are in force; release one first, or set one that covers several"
        )));
    }
    Ok(())
}

fn written(name: &str, text: &str, most: usize) -> Result<(), HoldError> {
    let problem = if text.trim().is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > most {
        format!("is longer than {most} characters")
    } else if text.chars().any(char::is_control) {
        "has control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(HoldError::Refused(format!("{name} {problem}")))
}

fn releasable<'b>(
    book: &'b mut Book,
    id: u64,
    operator: &str,
    reason: &str,
) -> Result<&'b mut Hold, HoldError> {
    written("the reason", reason, MOST_REASON)?;
    let found = book.holds.iter_mut().find(|hold| hold.id == id);
    let hold =
        found.ok_or_else(|| HoldError::Refused(format!("there is no hold with the id {id}")))?;
    if let Some(release) = &hold.released {
        let (by, day) = (&release.by, release.at.strftime("%Y-%m-%d"));
        let said = format!("hold {id} was released by {by} on {day}");
        return Err(HoldError::Refused(said));
    }
    // SECURITY: nobody alone can set evidence free that they kept, or were told to keep.
    if hold.by == operator {
        return Err(HoldError::Refused(format!(
            "{operator} set hold {id}; another operator has to release it"
        )));
    }
    Ok(hold)
}

fn described(hold: &Hold, operator: &str, reason: &str) -> BTreeMap<String, String> {
    let mut detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        ("hold".to_owned(), hold.id.to_string()),
        ("matter".to_owned(), hold.matter.clone()),
        ("reason".to_owned(), reason.to_owned()),
        ("set_by".to_owned(), hold.by.clone()),
    ]);
    let Scope {
        patient,
        user,
        since,
        until,
    } = &hold.scope;
    let aliases: Vec<&str> = hold.aliases.iter().map(String::as_str).collect();
    let aliases = (!aliases.is_empty()).then(|| aliases.join(", "));
    let told = [
        ("patient", patient.clone()),
        ("aliases", aliases),
        ("held_user", user.clone()),
        ("since", since.map(|time| time.to_string())),
        ("until", until.map(|time| time.to_string())),
    ];
    for (name, value) in told {
        detail.extend(value.map(|value| (name.to_owned(), value)));
    }
    detail
}

#[cfg(test)]
mod tests;
