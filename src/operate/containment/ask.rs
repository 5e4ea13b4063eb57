//! What operators ask about locks and sessions, and what they are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Containment, ContainmentError};
use crate::identity::Criteria;
use crate::operate::By;

/// Whose sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The one with this fingerprint.
    Session(String),
    /// Those of one user.
    User(String),
    /// Those for which all of this holds.
    Where(Criteria),
    /// Everybody's.
    All,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Locks a user out; one value: how many sessions ended.
    Lock {
        /// Stable id, or name.
        user: String,
        /// Why.
        reason: String,
        /// For how long; nothing is until further notice.
        seconds: Option<u64>,
    },
    /// Lets a user in again; one value.
    Unlock {
        /// As it was locked.
        user: String,
    },
    /// A value for each lock.
    Locks,
    /// A value for each open session.
    Sessions {
        /// Of one user only.
        user: Option<String>,
    },
    /// A value for each open session that is meant.
    Find {
        /// Which.
        criteria: Criteria,
    },
    /// Ends sessions; one value: how many.
    End {
        /// Which.
        whose: Whose,
        /// Why.
        reason: String,
    },
}

impl Containment {
    /// Answers an operator.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, ContainmentError> {
        let by = By::Operator(operator.to_owned());
        let ended = match ask {
            Ask::Lock {
                user,
                reason,
                seconds,
            } => {
                let span = seconds.map(Duration::from_secs);
                self.lock_user(&user, &reason, span, by).await?
            }
            Ask::Unlock { user } => {
                self.unlock_user(&user, by).await?;
                return Ok(vec![json!({ "unlocked": user })]);
            }
            Ask::Locks => {
                let locked = self.locked();
                let values = locked.iter().map(serde_json::to_value);
                return Ok(values.filter_map(Result::ok).collect());
            }
            Ask::Sessions { user } => {
                let open = self.sessions(user.as_deref()).await?;
                let values = open.iter().map(serde_json::to_value);
                return Ok(values.filter_map(Result::ok).collect());
            }
            Ask::Find { criteria } => {
                let open = self.sessions_where(&criteria).await?;
                let values = open.iter().map(serde_json::to_value);
                return Ok(values.filter_map(Result::ok).collect());
            }
            Ask::End { whose, reason } => match whose {
                Whose::Session(id) => self.end_session(&id, &reason, &by).await?,
                Whose::User(user) => self.end_sessions_of(&user, &reason, &by).await?,
                Whose::Where(criteria) => self.end_sessions_where(&criteria, &reason, &by).await?,
                Whose::All => self.end_every_session(&reason, &by).await?,
            },
        };
        Ok(vec![json!({ "ended": ended })])
    }
}
