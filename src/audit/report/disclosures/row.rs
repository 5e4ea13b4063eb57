//! One disclosure, as the accounting shows it.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::audit::disclosed::{Basis, Disclosed, Left, Way};
use crate::audit::named::Named;
use crate::audit::query::answer::Answer;
use crate::audit::report::Staff;

/// The columns of CSV, in order. Later versions add columns at the end and rename none.
pub const COLUMNS: &[&str] = &[
    "date",
    "time",
    "patient",
    "patient_system",
    "recipient",
    "address",
    "what",
    "purpose",
    "purpose_codes",
    "basis",
    "way",
    "left",
    "by",
    "request",
];

/// One disclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The day, UTC.
    pub date: Date,
    /// The time; empty where only the day is known.
    pub time: String,
    /// The patient.
    pub patient: String,
    /// The system that numbers them, where it is known.
    pub patient_system: String,
    /// Who received it; empty where nobody said.
    pub recipient: String,
    /// Their address; empty where nobody said.
    pub address: String,
    /// What was handed over.
    pub what: String,
    /// What for, in words.
    pub purpose: String,
    /// What for, in codes.
    pub purpose_codes: String,
    /// What it is before the law.
    pub basis: Basis,
    /// How it went out.
    pub way: Way,
    /// Whether it left.
    pub left: Left,
    /// Who did it.
    pub by: String,
    /// The request id; of what an operator put on record, the id of that record.
    pub request: String,
    pub(super) seq: u64,
    /// The record's own id.
    pub(super) id: String,
    /// Everybody whom the record names, with the system that numbers them.
    named: Vec<(String, String)>,
}

impl Row {
    pub(super) fn of(found: &Disclosed<'_>, answer: &Answer, by: String, staff: Staff) -> Self {
        let time = found.time.map(|time| time.to_zoned(TimeZone::UTC));
        Self {
            date: found.date,
            time: time.map_or_else(String::new, |time| time.strftime("%H:%M:%SZ").to_string()),
            patient: String::new(),
            patient_system: String::new(),
            recipient: found.recipient.unwrap_or_default().to_owned(),
            address: found.address.unwrap_or_default().to_owned(),
            what: found.what.clone().into_owned(),
            purpose: found.purpose_text(),
            purpose_codes: found.purposes.join(", "),
            basis: found.basis,
            way: found.way,
            left: found.left,
            by,
            request: match (staff, found.way) {
                (Staff::Named, Way::Recorded) => answer.id.clone(),
                (Staff::Named, _) => answer.request.clone(),
                (Staff::Numbered, _) => String::new(),
            },
            seq: answer.seq,
            id: answer.id.clone(),
            named: answer
                .patients
                .iter()
                .cloned()
                .zip(answer.patient_systems.iter().cloned())
                .collect(),
        }
    }

    /// Names the patient who is asked about, and nobody else who stands in the record.
    pub(super) fn name_only(&mut self, sought: &[&str]) {
        let is_it = |(id, system): &&(String, String)| {
            let named = if system.is_empty() {
                Named::Stated(id)
            } else {
                Named::Numbered { system, id }
            };
            sought.iter().any(|sought| named.is(sought))
        };
        let found: Vec<_> = self.named.iter().filter(is_it).collect();
        let joined = |of: fn(&(String, String)) -> &str| {
            let texts: Vec<&str> = found.iter().map(|named| of(named)).collect();
            texts.join(", ")
        };
        (self.patient, self.patient_system) = (joined(|named| &named.0), joined(|named| &named.1));
    }

    /// Whether it left, in a word.
    #[must_use]
    pub const fn left_word(&self) -> &'static str {
        match self.left {
            Left::Whole => "yes",
            Left::Perhaps => "not known",
            // Rows of what did not leave are not made.
            Left::Nothing => "no",
        }
    }

    /// Who received it, or that nobody said.
    #[must_use]
    pub fn recipient_text(&self) -> &str {
        known(&self.recipient)
    }

    /// Their address, or that nobody said.
    #[must_use]
    pub fn address_text(&self) -> &str {
        known(&self.address)
    }

    /// The texts of [`COLUMNS`].
    #[must_use]
    pub fn fields(&self) -> [String; 14] {
        [
            self.date.to_string(),
            self.time.clone(),
            self.patient.clone(),
            self.patient_system.clone(),
            self.recipient.clone(),
            self.address.clone(),
            self.what.clone(),
            self.purpose.clone(),
            self.purpose_codes.clone(),
            self.basis.word().to_owned(),
            self.way.word().to_owned(),
            self.left_word().to_owned(),
            self.by.clone(),
            self.request.clone(),
        ]
    }
}

/// A text, or that nobody said it.
pub(super) fn known(text: &str) -> &str {
    if text.is_empty() {
        "not on record"
    } else {
        text
    }
}
