//! A broken glass: who broke it, for whom, why, until when, and what the review found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::question::Grant;
use crate::request::{Offer, OfferedWard, PatientRef, Reach};

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

/// What someone chooses to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The one chart that was closed.
    #[default]
    Patient,
    /// Every chart of the ward, where an event is declared.
    Ward,
}

impl Choice {
    /// The one of this word; where nothing was said, the one chart.
    #[must_use]
    pub fn of(word: Option<&str>) -> Option<Self> {
        match word {
            None | Some("patient") => Some(Self::Patient),
            Some("ward") => Some(Self::Ward),
            Some(_) => None,
        }
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
    /// Whose chart was closed.
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
    /// The ward whose charts it opens, and the event that was declared there; none where it opens the one chart.
    #[serde(default)]
    pub ward: Option<OfferedWard>,
    /// How often the user had broken it within a day, where that was as often as allowed, and an event was declared.
    #[serde(default)]
    pub beyond: Option<usize>,
}

impl Glass {
    /// Whether it opens the chart at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires
    }

    /// Whether it is the same user's, for the same: the one patient, or the ward under this declaration.
    #[must_use]
    pub fn is_for(&self, offer: &Offer, declaration: Option<&str>) -> bool {
        let same = match (&self.ward, declaration) {
            (None, None) => {
                self.patient.system == offer.patient.system && self.patient.id == offer.patient.id
            }
            (Some(ward), Some(declaration)) => ward.declaration == declaration,
            (None, Some(_)) | (Some(_), None) => false,
        };
        same && self.user == offer.user
    }

    /// Whose charts it opens.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match &self.ward {
            None => Reach::of(&self.patient),
            Some(ward) => Reach::Ward(ward.name.as_str().into()),
        }
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
            reach: self.reach(),
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
        let ward = self.ward.iter().flat_map(|ward| {
            [
                ("ward", ward.name.clone()),
                ("declaration", ward.declaration.clone()),
            ]
        });
        let beyond = self.beyond.map(|count| ("beyond", beyond(count)));
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
        .chain(ward)
        .chain(beyond)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// What is said of a glass that was broken more often than is allowed in the ordinary course of work.
#[must_use]
pub fn beyond(count: usize) -> String {
    format!(
        "{count} times within a day before; not refused, since a mass-casualty event is declared"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// As versions before wards could be opened stored it.
    #[test]
    fn a_glass_of_before_opens_its_one_patient() {
        let stored = r#"{"id":"bg-20261122-5f1c9a","user":"main|7","name":"nurse.lind","request":"r1","emr":"main",
            "patient":{"system":"urn:mrn","id":"7","source":"sticky"},"section":"sensitive","policies":[],
            "reason":"OVRER","text":"Unconscious after a fall.","sign_in_age":12,"opened":"2026-11-22T10:00:00Z",
            "expires":"2026-11-22T14:00:00Z","due":"2026-11-23T10:00:00Z","recording":"done","ended":null,
            "review":null,"reminder":"open"}"#;
        let glass: Glass = serde_json::from_str(stored).unwrap();
        assert_eq!((glass.ward.clone(), glass.beyond), (None, None));
        assert_eq!(glass.reach(), Reach::of(&glass.patient));
        let again: Glass = serde_json::from_str(&serde_json::to_string(&glass).unwrap()).unwrap();
        assert_eq!(again, glass);
    }

    #[test]
    fn nothing_but_the_two_words_chooses() {
        assert_eq!(Choice::of(None), Some(Choice::Patient));
        assert_eq!(Choice::of(Some("patient")), Some(Choice::Patient));
        assert_eq!(Choice::of(Some("ward")), Some(Choice::Ward));
        for word in ["", "Ward", "ED", "ward "] {
            assert_eq!(Choice::of(Some(word)), None, "{word}");
        }
    }

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
