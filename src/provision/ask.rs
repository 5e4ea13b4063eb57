//! How provisioning stands: for operators and the status.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ProvisionError, Provisions};

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// [`Piece::Count`], then whoever is kept out.
    Status,
    /// What is known of one user, by name or id.
    Show {
        /// Name, `externalId`, or stable id.
        user: String,
    },
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Piece {
    /// How many are known.
    Count(Condition),
    /// Someone.
    Person {
        /// The name, or what the file calls them.
        user: String,
        /// `scim` or `file`.
        source: String,
        /// Whether this source lets them work now.
        active: bool,
        /// Groups, roles and entitlements, or the status of the file.
        says: Vec<String>,
        /// When it last changed, or the end of the last day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
}

/// How the room is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Users of the directory.
    pub people: usize,
    /// Users of the file.
    pub stated: usize,
    /// Users who are kept out.
    pub inactive: usize,
    /// Users whose sessions or grants are still to be ended.
    pub left_over: usize,
    /// What is wrong with the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Most people of one answer.
const MOST: usize = 1_000;

impl Provisions {
    /// How the room is.
    pub async fn condition(&self) -> Condition {
        let book = self.book.lock().await;
        Condition {
            people: book.people.len(),
            stated: book.stated.len(),
            inactive: book.inactive.len(),
            left_over: book.to_end.len(),
            problem: book.feed.problem().cloned(),
        }
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`ProvisionError::Unknown`] where nobody is meant.
    pub async fn answer_operator(&self, ask: Ask) -> Result<Vec<Value>, ProvisionError> {
        let mut pieces = Vec::new();
        match ask {
            Ask::Status => {
                pieces.push(Piece::Count(self.condition().await));
                let all = self.pieces().await.into_iter();
                let inactive = |piece: &Piece| matches!(piece, Piece::Person { active: false, .. });
                pieces.extend(all.filter(inactive).take(MOST));
            }
            Ask::Show { user } => {
                let own = format!("{}|", self.ground.settings.issuer);
                let bare = user.strip_prefix(&own).unwrap_or(&user).to_lowercase();
                let names = self.names_of(&bare).await;
                let meant = |piece: &Piece| match piece {
                    Piece::Person { user, .. } => {
                        let called = user.strip_prefix(&own).unwrap_or(user).to_lowercase();
                        called == bare || names.contains(&called)
                    }
                    Piece::Count(_) => false,
                };
                pieces.extend(self.pieces().await.into_iter().filter(meant));
                if pieces.is_empty() {
                    return Err(ProvisionError::Unknown(user));
                }
            }
        }
        let values = pieces.iter().map(serde_json::to_value);
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// The names of whoever the directory knows by this identifier.
    async fn names_of(&self, external: &str) -> BTreeSet<String> {
        let book = self.book.lock().await;
        let known = book.people.values();
        known
            .filter(|p| {
                p.external_id
                    .as_ref()
                    .is_some_and(|id| id.to_lowercase() == external)
            })
            .map(|person| person.user_name.to_lowercase())
            .collect()
    }

    async fn pieces(&self) -> Vec<Piece> {
        let now = self.ground.clock.now();
        let book = self.book.lock().await;
        let people = book.people.values().map(|person| Piece::Person {
            user: person.user_name.clone(),
            source: "scim".to_owned(),
            active: person.active,
            says: person.rights.iter().cloned().collect(),
            at: Some(person.modified),
        });
        let stated = book.stated.values().map(|stated| Piece::Person {
            user: stated.user.clone(),
            source: "file".to_owned(),
            active: stated.is_active(now),
            says: vec![format!("{:?}", stated.status).to_lowercase()],
            at: stated.until,
        });
        people.chain(stated).collect()
    }
}
