//! What somebody is asked the reason for: a request that policy permits once they said why.
//!
//! *Never*: made from anything that the client said about the patient; the mapping of the request says who it is.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, Facts, PatientRef};

/// The longest address that an enquiry leads back to.
const LONGEST_RETURN: usize = 1536;

/// The most patients that one reason is asked for: an address that names more is too long for a browser.
const MOST_PATIENTS: usize = 16;

/// A request that waits for its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enquiry {
    /// The stable id of the user.
    pub user: String,
    /// Their session.
    pub session: String,
    /// The host and port that the browser was at.
    pub authority: String,
    /// The EMR.
    pub emr: String,
    /// The route, as its profile names it.
    pub route: String,
    /// What is to be done.
    pub action: Action,
    /// The part of the chart, or of the EMR.
    pub section: String,
    /// Its sensitivity.
    pub sensitivity: String,
    /// Whose charts; none where the request is about no patient.
    pub patients: Vec<PatientRef>,
    /// The permits that decided.
    pub policies: Vec<String>,
    /// How long the reason will hold, in seconds.
    pub holds: u64,
    /// The page to come back to.
    pub return_to: String,
    /// When it was asked.
    pub at: Timestamp,
}

impl Enquiry {
    /// The enquiry about a request of which `facts` are known; nothing where they lack who asks for what,
    /// or name more patients than one reason is good for.
    #[must_use]
    pub fn of(facts: &Facts, authority: &str, holds: Duration, at: Timestamp) -> Option<Self> {
        let mapping = facts.mapping.as_ref()?;
        if mapping.patients.len() > MOST_PATIENTS {
            return None;
        }
        let decision = facts.decision.as_ref();
        Some(Self {
            user: facts.principal.as_ref()?.id(),
            session: facts.session.clone()?,
            authority: authority.to_owned(),
            emr: facts.emr.clone()?,
            route: mapping.route.clone(),
            action: mapping.action,
            section: mapping.section.clone(),
            sensitivity: mapping.sensitivity.clone(),
            patients: mapping.patients.clone(),
            policies: decision.map_or_else(Vec::new, |decision| decision.policies.clone()),
            holds: holds.as_secs(),
            return_to: "/".to_owned(),
            at,
        })
    }

    /// The same, which leads back to `address`, unless that is too long for the way through the browser.
    #[must_use]
    pub fn leading_to(mut self, address: &str) -> Self {
        if address.len() <= LONGEST_RETURN {
            address.clone_into(&mut self.return_to);
        }
        self
    }
}
