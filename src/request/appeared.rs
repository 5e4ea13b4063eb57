//! The patients whom an answer names, as far as they were heard while it passed.

use super::facts::PatientRef;

/// Patients that appeared in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appeared {
    /// Each once, in the order of the answer.
    pub patients: Vec<PatientRef>,
    /// How many more appeared than a record can name.
    pub more: u64,
    /// Why these may not be all.
    pub unknown: Option<Unheard>,
}

/// Why it is not known, or not wholly, who appeared in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// The EMR compressed it, although it was asked not to.
    Compressed,
    /// Its character set is none in which ASCII bytes mean ASCII.
    Charset,
    /// It is of another kind than the profile describes: a PDF file in place of a table.
    Kind,
    /// It is a part of something (`206 Partial Content`).
    Part,
    /// No column of a CSV file has the name that the profile gives.
    Heading,
    /// It is not what it says it is.
    Malformed,
    /// It nests deeper, or has larger pieces, than is kept in memory.
    Memory,
    /// What stands where a patient's number should be does not have its form.
    Misfit,
}

impl Unheard {
    /// The word on record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Compressed => "compressed",
            Self::Charset => "charset",
            Self::Kind => "kind",
            Self::Part => "part",
            Self::Heading => "heading",
            Self::Malformed => "malformed",
            Self::Memory => "memory",
            Self::Misfit => "misfit",
        }
    }
}
