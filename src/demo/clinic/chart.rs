//! The shape of a medical record in the sample EMR.

use serde::{Deserialize, Serialize};

/// The number by which the EMR knows a patient (its `pid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Pid(pub(super) u32);

impl std::fmt::Display for Pid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whether a chart carries the EMR's confidentiality mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Confidentiality {
    Normal,
    Restricted,
}

/// One patient's chart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Patient {
    pub(super) id: Pid,
    pub(super) mrn: String,
    pub(super) family: String,
    pub(super) given: String,
    pub(super) sex: String,
    pub(super) born: String,
    pub(super) phone: String,
    pub(super) street: String,
    pub(super) city: String,
    pub(super) insurance: String,
    pub(super) confidentiality: Confidentiality,
    pub(super) problems: Vec<Problem>,
    pub(super) allergies: Vec<Allergy>,
    pub(super) medications: Vec<Medication>,
    pub(super) notes: Vec<Note>,
    pub(super) orders: Vec<Order>,
    pub(super) results: Vec<TestResult>,
    pub(super) studies: Vec<Study>,
    pub(super) charges: Vec<Charge>,
    #[serde(skip)]
    pub(super) sensitive: Vec<SensitiveNote>,
    #[serde(skip)]
    pub(super) documents: Vec<Document>,
}

impl Patient {
    /// "Family, Given", as charts name people.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.family, self.given)
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) code: String,
    pub(super) since: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Allergy {
    pub(super) substance: String,
    pub(super) reaction: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Medication {
    pub(super) drug: String,
    pub(super) dose: String,
    pub(super) prescriber: String,
    pub(super) started: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Note {
    pub(super) id: u64,
    pub(super) at: String,
    pub(super) author: String,
    pub(super) text: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) at: String,
    pub(super) author: String,
    pub(super) what: String,
    pub(super) signed_by: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct TestResult {
    pub(super) at: String,
    pub(super) test: String,
    pub(super) value: String,
    pub(super) unit: String,
    pub(super) reference: String,
    pub(super) flag: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Study {
    pub(super) at: String,
    pub(super) modality: String,
    pub(super) title: String,
    pub(super) report: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Charge {
    pub(super) at: String,
    pub(super) code: String,
    pub(super) amount: String,
    pub(super) clerk: String,
}

#[derive(Debug, Clone)]
pub(super) struct SensitiveNote {
    pub(super) kind: String,
    pub(super) at: String,
    pub(super) author: String,
    pub(super) text: String,
}

/// How a document is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentFormat {
    Pdf,
    Text,
}

#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) id: u64,
    pub(super) title: String,
    pub(super) at: String,
    pub(super) format: DocumentFormat,
    pub(super) lines: Vec<String>,
}
