//! What a request says of a copy that it hands to someone outside, where the EMR's profile tells where that stands.

use serde::{Deserialize, Serialize};

/// To whom a copy goes, what of the chart, and what for: the user's words, each shortened as every recorded field is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// The person or organisation that receives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What for: a code of HL7 v3 `PurposeOfUse` where it is one, else words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

impl Disclosure {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.recipient.is_none()
            && self.address.is_none()
            && self.description.is_none()
            && self.purpose.is_none()
    }
}
