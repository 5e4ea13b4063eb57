//! What someone may do about a refusal that breaking the glass would lift.
//!
//! *Never*: made from anything that the client said about the patient; the mapping of the refused request says who it
//! is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::received::Parts;
use super::{Action, Facts, PatientRef};

/// The longest address that an offer leads back to.
const LONGEST_RETURN: usize = 1536;

/// A refused request that the same policies would permit if its user broke the glass for its patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The stable id of the user who was refused.
    pub user: String,
    /// Their session.
    pub session: String,
    /// The host and port that the browser was at.
    pub authority: String,
    /// The EMR.
    pub emr: String,
    /// The route, as its profile names it.
    pub route: String,
    /// What was to be done.
    pub action: Action,
    /// The part of the chart.
    pub section: String,
    /// Its sensitivity.
    pub sensitivity: String,
    /// Whose chart.
    pub patient: PatientRef,
    /// The policies that said no.
    pub policies: Vec<String>,
    /// The page that was asked for.
    pub return_to: String,
    /// When it was refused.
    pub at: Timestamp,
    /// Whether the form was shown without the fresh sign-in that it asks for, since the provider did not answer.
    #[serde(default)]
    pub unconfirmed: bool,
    /// The declared ward on which the patient lies, once the form was shown with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ward: Option<OfferedWard>,
}

/// A ward that the form offers to open as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedWard {
    /// Its name.
    pub name: String,
    /// The declaration of the mass-casualty event there.
    pub declaration: String,
}

impl Offer {
    /// The offer that goes with a refusal of the request `parts`; nothing where it names not exactly one patient.
    #[must_use]
    pub fn of(facts: &Facts, parts: &Parts, at: Timestamp) -> Option<Self> {
        let mapping = facts.mapping.as_ref()?;
        let [patient] = mapping.patients.as_slice() else {
            return None;
        };
        let target = parts.target.as_str();
        let decision = facts.decision.as_ref();
        Some(Self {
            user: facts.principal.as_ref()?.id(),
            session: facts.session.clone()?,
            authority: parts.authority.clone(),
            emr: facts.emr.clone()?,
            route: mapping.route.clone(),
            action: mapping.action,
            section: mapping.section.clone(),
            sensitivity: mapping.sensitivity.clone(),
            patient: patient.clone(),
            policies: decision.map_or_else(Vec::new, |decision| decision.policies.clone()),
            return_to: if target.len() <= LONGEST_RETURN {
                target.to_owned()
            } else {
                "/".to_owned()
            },
            at,
            unconfirmed: false,
            ward: None,
        })
    }
}
