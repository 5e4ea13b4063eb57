//! What operators ask about lockdowns, and what they are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Lockdown, LockdownError, Lockdowns};
use crate::operate::By;
use crate::policy::standing::Scope;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Sets a level; level 0 lifts.
    Set {
        /// Whom it concerns.
        scope: Scope,
        /// 0 to 4.
        level: u8,
        /// Why.
        reason: String,
        /// For how long; nothing is until further notice.
        seconds: Option<u64>,
    },
    /// What is in force.
    Status,
    /// Takes a lockdown back.
    Lift {
        /// Whose.
        scope: Scope,
    },
}

/// One value: what is in force after it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What is in force.
    pub lockdowns: Vec<Lockdown>,
    /// Level 3 is in force, and no zone is called `on-site`: nobody gets through without breaking the glass.
    pub nobody_on_site: bool,
}

impl Lockdowns {
    /// Answers an operator.
    ///
    /// # Errors
    /// [`LockdownError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, LockdownError> {
        let by = By::Operator(operator.to_owned());
        match ask {
            Ask::Set {
                scope,
                level,
                reason,
                seconds,
            } => {
                let span = seconds.map(Duration::from_secs);
                self.set(scope, level, &reason, span, by).await?;
            }
            Ask::Status => {}
            Ask::Lift { scope } => self.lift(&scope, by).await?,
        }
        let lockdowns = self.in_force();
        let core = lockdowns.iter().any(|lockdown| lockdown.level == 3);
        let answer = Answer {
            nobody_on_site: core && !self.knows_on_site(),
            lockdowns,
        };
        Ok(serde_json::to_value(answer).into_iter().collect())
    }
}
