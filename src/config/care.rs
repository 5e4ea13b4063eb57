//! Who treats whom, as feeds say it. `[care]`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::secret::Secret;

/// The care relation feeds. `[care]`
#[derive(Debug, Clone)]
pub struct CareFeeds {
    /// The issuer whose users are meant where a feed names somebody without an issuer.
    pub issuer: String,
    /// The numbering system of patients who are named by number alone.
    pub system: String,
    /// A CSV file.
    pub file: Option<PathBuf>,
    /// Where the same is fetched.
    pub download: Option<Download>,
    /// An export of HL7 v2 messages.
    pub adt: Option<Adt>,
    /// How often feeds are looked at. Default one minute.
    pub refresh: Duration,
    /// How old a feed may be before every relation is unknown. Default 24 hours.
    pub stale_after: Duration,
}

/// Where a CSV file is fetched.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its URL.
    pub url: url::Url,
    /// What is presented as `Authorization: Bearer`.
    pub token: Option<Secret<String>>,
    /// The CA that the server's certificate is of; else those of the system.
    pub ca: Option<PathBuf>,
}

/// An export of HL7 v2 messages. `[care.adt]`
#[derive(Debug, Clone)]
pub struct Adt {
    /// The directory.
    pub directory: PathBuf,
    /// Who doctors and wards are among the users.
    pub staff: PathBuf,
    /// The numbering system of each assigning authority.
    pub authorities: BTreeMap<String, String>,
    /// How long a team goes on after discharge. Default three days.
    pub after_discharge: Duration,
    /// Where times without an offset are. Default UTC.
    pub time_zone: TimeZone,
}
