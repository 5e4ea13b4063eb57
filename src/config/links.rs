//! Which identifiers are the same patient, as feeds say it. `[patient_links]`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

/// The patient link feed. `[patient_links]`
#[derive(Debug, Clone)]
pub struct PatientLinks {
    /// The numbering system of patients who are named by number alone.
    pub system: String,
    /// A CSV file.
    pub file: Option<PathBuf>,
    /// HL7 v2 messages.
    pub adt: Option<LinkMessages>,
    /// How often feeds are looked at. Default one minute.
    pub refresh: Duration,
}

/// An export of HL7 v2 messages. `[patient_links.adt]`
#[derive(Debug, Clone)]
pub struct LinkMessages {
    /// The directory.
    pub directory: PathBuf,
    /// The numbering system of each assigning authority.
    pub authorities: BTreeMap<String, String>,
    /// Where times without an offset are. Default UTC.
    pub time_zone: TimeZone,
}
