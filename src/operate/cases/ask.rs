//! What operators ask about cases, and what they are told.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CaseError, Cases, Kind, Level, Opening, Outcome};

/// Which cases to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those that are open.
    Open,
    /// All that are kept.
    All,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A value for each case, newest first.
    List {
        /// Which.
        which: Which,
    },
    /// One value: the case.
    Show {
        /// Its number.
        number: u64,
    },
    /// Opens a case by hand; one value: the case.
    Open {
        /// What it is about.
        title: String,
        /// How much harm may be done.
        level: Level,
        /// The user it is about.
        user: Option<String>,
        /// The patient it is about.
        patient: Option<String>,
        /// Entries of the trail that belong to it.
        records: BTreeSet<String>,
    },
    /// Closes it; one value: the case.
    Close {
        /// Its number.
        number: u64,
        /// How it ended.
        outcome: Outcome,
        /// Why.
        note: String,
    },
}

impl Cases {
    /// Answers an operator.
    ///
    /// # Errors
    /// [`CaseError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, CaseError> {
        let case = match ask {
            Ask::List { which } => {
                let listed = self.list(which).await?;
                return Ok(listed.iter().filter_map(value).collect());
            }
            Ask::Show { number } => self.show(number).await?,
            Ask::Open {
                title,
                level,
                user,
                patient,
                records,
            } => {
                let opening = Opening {
                    kind: Kind::Operator,
                    title,
                    level,
                    rule: None,
                    user,
                    patient,
                    records,
                    by: operator.to_owned(),
                };
                let opened = self.open(opening).await?;
                self.show(opened.number()).await?
            }
            Ask::Close {
                number,
                outcome,
                note,
            } => self.close(number, operator, outcome, &note).await?,
        };
        Ok(value(&case).into_iter().collect())
    }
}

/// As JSON; its types rule out that it cannot be.
fn value(answer: &impl Serialize) -> Option<Value> {
    serde_json::to_value(answer).ok()
}
