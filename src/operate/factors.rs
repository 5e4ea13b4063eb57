//! Second factors of the gateway's own, as operators help with them: who has what, an enrolment code, a reset.
//!
//! *Never*: a change that is not on record first; an enrolment code on record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::containment::{Containment, ContainmentError};
use super::{By, LONGEST_TEXT, is_said};
use crate::audit::trail::{Audit, AuditError};
use crate::identity::Identity;
use crate::identity::factor::operators::OperatorError;
use crate::request::Event;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A value for each account, or for one.
    List {
        /// Stable id, or name.
        user: Option<String>,
    },
    /// Makes an enrolment code; one value with it.
    Invite {
        /// Stable id, or name as the provider states it.
        user: String,
        /// Why.
        reason: String,
    },
    /// Removes everything that a user enrolled, and ends the user's sessions; one value.
    Reset {
        /// Stable id, or name.
        user: String,
        /// Why.
        reason: String,
    },
    /// Ends the lock of an account; one value.
    Unlock {
        /// Stable id, or name.
        user: String,
        /// Why.
        reason: String,
    },
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum FactorsError {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Operator(#[from] OperatorError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// The factors are removed, but sessions may go on.
    #[error("everything enrolled is removed, but sessions may go on: {0}")]
    Sessions(#[from] ContainmentError),
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST_TEXT} bytes")]
    Text(&'static str),
}

/// The room.
#[derive(Debug)]
pub struct Factors {
    audit: Audit,
    identity: Arc<Identity>,
    containment: Arc<Containment>,
}

impl Factors {
    /// The room above sign-in.
    #[must_use]
    pub fn new(audit: Audit, identity: Arc<Identity>, containment: Arc<Containment>) -> Arc<Self> {
        Arc::new(Self {
            audit,
            identity,
            containment,
        })
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`FactorsError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, FactorsError> {
        let by = By::Operator(operator.to_owned());
        match ask {
            Ask::List { user } => {
                let views = self.identity.factors(user.as_deref()).await?;
                let values = views.iter().map(serde_json::to_value);
                Ok(values.filter_map(Result::ok).collect())
            }
            Ask::Invite { user, reason } => {
                text("name", &user)?;
                self.identity.may_be_invited(&user).await?;
                let detail = [("user", user.as_str())];
                self.record(Event::SecondFactorInvited, &detail, &reason, &by)
                    .await?;
                let invited = self.identity.invite_to_factor(&user).await?;
                let (code, until) = (invited.code.expose(), invited.until);
                Ok(vec![json!({ "user": user, "code": code, "until": until })])
            }
            Ask::Reset { user, reason } => {
                let found = self.identity.factors_of(&user).await?;
                let many = found.authenticators.len().to_string();
                let detail = [
                    ("user", found.user.as_str()),
                    ("name", found.name.as_str()),
                    ("authenticators", many.as_str()),
                ];
                self.record(Event::SecondFactorReset, &detail, &reason, &by)
                    .await?;
                self.identity.reset_factors(&found.user).await?;
                let ended = self
                    .containment
                    .end_sessions_of(&found.user, &reason, &by)
                    .await?;
                let removed = found.authenticators.len();
                let user = found.user;
                Ok(vec![
                    json!({ "reset": user, "authenticators": removed, "ended": ended }),
                ])
            }
            Ask::Unlock { user, reason } => {
                let found = self.identity.factors_of(&user).await?;
                let detail = [("user", found.user.as_str()), ("name", found.name.as_str())];
                self.record(Event::SecondFactorUnlocked, &detail, &reason, &by)
                    .await?;
                self.identity.unlock_factors(&found.user).await?;
                Ok(vec![json!({ "unlocked": found.user })])
            }
        }
    }

    async fn record(
        &self,
        event: Event,
        detail: &[(&str, &str)],
        reason: &str,
        by: &By,
    ) -> Result<(), FactorsError> {
        text("reason", reason)?;
        let detail = by.particulars(detail, reason);
        Ok(self.audit.event(event, None, detail).await?)
    }
}

fn text(what: &'static str, text: &str) -> Result<(), FactorsError> {
    is_said(text).then_some(()).ok_or(FactorsError::Text(what))
}
