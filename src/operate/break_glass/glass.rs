//! A broken glass: who broke it, for whom, why, until when, and what the review found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::question::Grant;
use crate::request::{Offer, PatientRef};

/// Why someone breaks the glass. The first five are HL7 v3 `ActReason` override reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Emergency treatment.
    #[serde(rename = "OVRER")]
    Emergency,
    /// The patient cannot consent.
    #[serde(rename = "OVRINCOMP")]
    Incompetent,
    /// Professional judgment.
    #[serde(rename = "OVRPJ")]
    Judgment,
    /// Public safety.
    #[serde(rename = "OVRPS")]
    PublicSafety,
    /// The safety of a third party.
    #[serde(rename = "OVRTPS")]
    ThirdPartySafety,
    /// The user treats the patient; the care list does not know it yet.
    #[serde(rename = "CG-ASSIGNED")]
    Assigned,
    /// The user stands in for someone who treats the patient.
    #[serde(rename = "CG-COVERING")]
    Covering,
}

impl Reason {
    /// Every reason, in the order of the form.
    pub const ALL: &'static [Self] = &[
        Self::Emergency,
        Self::Assigned,
        Self::Covering,
        Self::Incompetent,
        Self::Judgment,
        Self::PublicSafety,
        Self::ThirdPartySafety,
    ];

    /// The code on record.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Emergency => "OVRER",
            Self::Incompetent => "OVRINCOMP",
            Self::Judgment => "OVRPJ",
            Self::PublicSafety => "OVRPS",
            Self::ThirdPartySafety => "OVRTPS",
            Self::Assigned => "CG-ASSIGNED",
            Self::Covering => "CG-COVERING",
        }
    }

    /// Whether this is its code.
    #[must_use]
    pub fn is(self, code: &str) -> bool {
        self.code() == code
    }

    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Emergency => "Emergency treatment",
            Self::Incompetent => "The patient cannot consent",
            Self::Judgment => "Professional judgment",
            Self::PublicSafety => "Public safety",
            Self::ThirdPartySafety => "Safety of a third party",
            Self::Assigned => "I treat this patient; the list is not up to date",
            Self::Covering => "I cover for a colleague who treats this patient",
        }
    }

    /// The reason with this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.is(code))
    }
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The access was right.
    Appropriate,
    /// It was not.
    Inappropriate,
    /// It could not be told; someone has to ask further.
    Unclear,
}

impl Outcome {
    /// The word on record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Appropriate => "appropriate",
            Self::Inappropriate => "inappropriate",
            Self::Unclear => "unclear",
        }
    }
}

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// When.
    pub at: Timestamp,
    /// The operator.
    pub by: String,
    /// What they found.
    pub outcome: Outcome,
    /// In their words.
    pub note: String,
}

/// How a grant ended before or at its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// The operator who ended it; none where its time was over.
    pub by: Option<String>,
}

/// Whether the event of a broken glass is on the trail. What is not on record is never in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// About to be recorded.
    Pending,
    /// On record.
    Done,
}

/// Whether the overdue review has been alarmed about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reminder {
    /// Not yet.
    Open,
    /// Yes; once is enough.
    Sent,
}

/// What is said of a sign-in that was too old and could not be confirmed.
pub const UNCONFIRMED: &str = "no, the provider did not answer";

/// A broken glass, as the store keeps it and as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glass {
    /// Its id, for people: `bg-20261122-5f1c9a`.
    pub id: String,
    /// The stable id of who broke it.
    pub user: String,
    /// Their name.
    pub name: String,
    /// The request that broke it.
    pub request: String,
    /// The EMR.
    pub emr: String,
    /// Whose chart.
    pub patient: PatientRef,
    /// The part of the chart that was refused.
    pub section: String,
    /// The policies that had refused it.
    pub policies: Vec<String>,
    /// Why.
    pub reason: Reason,
    /// In their words.
    pub text: String,
    /// How old the sign-in was, in seconds; none where the provider does not say.
    pub sign_in_age: Option<i64>,
    /// Whether it was too old and could not be confirmed, since the provider did not answer.
    #[serde(default)]
    pub unconfirmed: bool,
    /// Since when.
    pub opened: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// When it must have been reviewed.
    pub due: Timestamp,
    /// Whether it is on record.
    pub recording: Recording,
    /// How it ended.
    pub ended: Option<Ended>,
    /// The newest review.
    pub review: Option<Review>,
    /// Whether an overdue review was alarmed about.
    pub reminder: Reminder,
}

impl Glass {
    /// Whether it opens the chart at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires
    }

    /// Whether it is open for this user and patient.
    #[must_use]
    pub fn opens(&self, offer: &Offer, now: Timestamp) -> bool {
        let same =
            self.patient.system == offer.patient.system && self.patient.id == offer.patient.id;
        self.is_open(now) && self.user == offer.user && same
    }

    /// Whether the review is overdue at `now`.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.review.is_none() && now >= self.due
    }

    /// What policy is told.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant {
            id: self.id.clone(),
            system: self.patient.system.clone(),
            patient: self.patient.id.clone(),
            expires: self.expires,
        }
    }

    /// Whether an operator of this name is the person who broke it.
    ///
    /// SECURITY: nobody reviews their own access. Operators must therefore be named as they are at the identity
    /// provider.
    #[must_use]
    pub fn is_by(&self, operator: &str) -> bool {
        let subject = self.user.split_once('|').map_or("", |(_, subject)| subject);
        [self.name.as_str(), self.user.as_str(), subject]
            .iter()
            .any(|known| known.trim().eq_ignore_ascii_case(operator.trim()))
    }

    /// The particulars on record.
    #[must_use]
    pub fn detail(&self) -> BTreeMap<String, String> {
        let age = self
            .sign_in_age
            .map_or_else(|| "unknown".to_owned(), |age| format!("{age}s"));
        let confirmed = self
            .unconfirmed
            .then(|| ("confirmed", UNCONFIRMED.to_owned()));
        [
            ("grant", self.id.clone()),
            ("reason", self.reason.code().to_owned()),
            ("text", self.text.clone()),
            ("expires", self.expires.to_string()),
            ("review_due", self.due.to_string()),
            ("sign_in_age", age),
        ]
        .into_iter()
        .chain(confirmed)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_is_found_by_its_code_and_stored_under_it() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), 7);
        for reason in Reason::ALL {
            assert_eq!(Reason::of(reason.code()), Some(*reason));
            let stored = serde_json::to_string(reason).unwrap();
            assert_eq!(stored, format!("\"{}\"", reason.code()));
        }
        assert_eq!(Reason::of("ovrer"), None);
    }
}
