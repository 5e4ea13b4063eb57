//! Sealed emergency accounts, as operators keep them: sealed, tested, sealed anew after use, removed.
//!
//! *Never*: a change that is not on record first; what an envelope holds on record.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::containment::{Containment, ContainmentError};
use super::{By, LONGEST_TEXT, is_said};
use crate::audit::trail::{Audit, AuditError};
use crate::config::emergency::ISSUER;
use crate::identity::Identity;
use crate::identity::emergency::operators::{EmergencyView, OperatorError, State};
use crate::request::Event;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A value for each account.
    List,
    /// Seals an account, or seals it anew; one value with what goes into the envelopes.
    Seal {
        /// Its name.
        name: String,
        /// Where the envelopes will lie.
        place: String,
        /// Values of the role claim.
        groups: Vec<String>,
        /// Why.
        reason: String,
    },
    /// Removes an account and ends its sessions; one value.
    Remove {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum EmergencyError {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Operator(#[from] OperatorError),
    /// The trail.
    #[error("the trail: {0}")]
    Audit(#[from] AuditError),
    /// The account is gone, but its sessions may go on.
    #[error("the account is gone, but its sessions may go on: {0}")]
    Sessions(#[from] ContainmentError),
    /// A text is missing or too long.
    #[error("the {0} must have 1 to {LONGEST_TEXT} bytes")]
    Text(&'static str),
}

/// How the accounts stand, for the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// How many there are.
    pub accounts: usize,
    /// Those that were used and not sealed anew.
    pub used: Vec<String>,
    /// Those that were never tested, or too long ago.
    pub test_due: Vec<String>,
    /// When the next test is due.
    pub next_test: Option<Timestamp>,
}

/// The room.
#[derive(Debug)]
pub struct EmergencyAccounts {
    audit: Audit,
    identity: Arc<Identity>,
    containment: Arc<Containment>,
}

impl EmergencyAccounts {
    /// The room above sign-in; none where there are no sealed accounts.
    #[must_use]
    pub fn new(
        audit: Audit,
        identity: Arc<Identity>,
        containment: Arc<Containment>,
    ) -> Option<Arc<Self>> {
        identity.has_emergency().then(|| {
            Arc::new(Self {
                audit,
                identity,
                containment,
            })
        })
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`EmergencyError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, EmergencyError> {
        let by = By::Operator(operator.to_owned());
        match ask {
            Ask::List => {
                let views = self.identity.emergency_accounts().await?;
                let values = views.iter().map(serde_json::to_value);
                Ok(values.filter_map(Result::ok).collect())
            }
            Ask::Seal {
                name,
                place,
                groups,
                reason,
            } => {
                text("place", &place)?;
                self.identity.may_be_sealed(&name, &groups).await?;
                let joined = groups.join(" ");
                let detail = [
                    ("account", name.as_str()),
                    ("place", place.as_str()),
                    ("groups", joined.as_str()),
                ];
                self.record(Event::EmergencySealed, &detail, &reason, &by)
                    .await?;
                let what = (name.as_str(), place.as_str(), groups.as_slice());
                let sealed = self.identity.seal_emergency_account(what, operator).await?;
                // Who used it before is to find it closed.
                let ended = self.end(&name, &reason, &by).await?;
                Ok(vec![json!({
                    "account": name,
                    "place": place,
                    "first": sealed.first.expose(),
                    "second": sealed.second.expose(),
                    "ended": ended,
                })])
            }
            Ask::Remove { name, reason } => {
                let found = self.identity.emergency_account(&name).await?;
                let detail = [
                    ("account", found.name.as_str()),
                    ("place", found.place.as_str()),
                ];
                self.record(Event::EmergencyRemoved, &detail, &reason, &by)
                    .await?;
                self.identity.remove_emergency_account(&found.name).await?;
                let ended = self.end(&found.name, &reason, &by).await?;
                Ok(vec![json!({ "removed": found.name, "ended": ended })])
            }
        }
    }

    async fn end(&self, name: &str, reason: &str, by: &By) -> Result<Value, EmergencyError> {
        let user = format!("{ISSUER}|{name}");
        let ended = self.containment.end_sessions_of(&user, reason, by).await?;
        Ok(json!(ended))
    }

    /// How the accounts stand.
    ///
    /// # Errors
    /// [`OperatorError`] when the store cannot be read.
    pub async fn condition(&self) -> Result<Condition, OperatorError> {
        let views = self.identity.emergency_accounts().await?;
        let named = |state: State| -> Vec<String> {
            let those = views.iter().filter(|view| view.state == state);
            those.map(|view| view.name.clone()).collect()
        };
        Ok(Condition {
            accounts: views.len(),
            used: named(State::Used),
            test_due: named(State::TestDue),
            next_test: views.iter().map(|view: &EmergencyView| view.test_due).min(),
        })
    }

    async fn record(
        &self,
        event: Event,
        detail: &[(&str, &str)],
        reason: &str,
        by: &By,
    ) -> Result<(), EmergencyError> {
        text("reason", reason)?;
        let detail = by.particulars(detail, reason);
        Ok(self.audit.event(event, None, detail).await?)
    }
}

fn text(what: &'static str, text: &str) -> Result<(), EmergencyError> {
    is_said(text)
        .then_some(())
        .ok_or(EmergencyError::Text(what))
}
