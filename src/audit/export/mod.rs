//! Exports: projections of the trail's records into the formats that other systems read.
//!
//! *Never*: more than the record holds, or a profile claimed for what it does not fit.

mod atna;
mod cef;
pub mod fhir;
mod judged;
pub mod message;
pub mod ocsf;
mod xml;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::csv;
use super::query::answer::{Answer, COLUMNS};
use super::query::join::Joined;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// FHIR R4 `AuditEvent`s, IHE BALP where a profile fits; one JSON document a line.
    Fhir,
    /// OCSF events, one JSON document a line.
    Ocsf,
    /// DICOM audit messages (IHE ATNA), each in a line of RFC 5424.
    Atna,
    /// Common Event Format, one event a line.
    Cef,
    /// One row for each request, refusal and event.
    Csv,
    /// The records themselves with their sequence numbers, one a line.
    Jsonl,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self::Fhir,
        Self::Ocsf,
        Self::Atna,
        Self::Cef,
        Self::Csv,
        Self::Jsonl,
    ];

    /// The name on the command line and on record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fhir => "fhir",
            Self::Ocsf => "ocsf",
            Self::Atna => "atna",
            Self::Cef => "cef",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    /// What stands before the first record.
    #[must_use]
    pub fn heading(self) -> String {
        match self {
            Self::Fhir | Self::Ocsf | Self::Atna | Self::Cef | Self::Jsonl => String::new(),
            Self::Csv => csv::line(COLUMNS),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lines of a joined record, each with its line end; none for [`Format::Jsonl`], which is of single records.
#[must_use]
pub fn lines(format: Format, joined: &Joined) -> Vec<String> {
    match format {
        Format::Fhir => {
            // One by one: a list has an event for each of its patients.
            let mut lines = Vec::new();
            fhir::each(joined, &mut |event| lines.push(format!("{event}\n")));
            lines
        }
        Format::Ocsf => vec![format!("{}\n", ocsf::event(joined))],
        Format::Atna => {
            let lines = atna::lines(joined).into_iter();
            lines.map(|line| format!("{line}\n")).collect()
        }
        Format::Cef => vec![format!("{}\n", cef::event(joined))],
        Format::Csv => vec![csv::line(Answer::of(joined).columns())],
        Format::Jsonl => Vec::new(),
    }
}
