//! Where the trail is sent as it grows. `[[audit.sink]]`

use std::path::PathBuf;
use std::time::Duration;

use super::Certificate;
use super::syslog::SyslogServer;
use crate::secret::Secret;

/// A receiver of the trail.
#[derive(Debug, Clone)]
pub struct Sink {
    /// A short name, for status, metrics and the position.
    pub name: String,
    /// What records become.
    pub format: SinkFormat,
    /// Where they go.
    pub target: SinkTarget,
    /// Which records. Default: all.
    pub include: Vec<Included>,
    /// What it learns of patients. Default: whatever the records say.
    pub patients: Patients,
    /// Where a new sink begins. Default: now.
    pub from: Beginning,
    /// A sink that lags by this much raises an alarm. Default 15 min.
    pub alarm_after: Duration,
}

/// What records become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFormat {
    /// DICOM audit messages (IHE ATNA).
    Atna,
    /// Common Event Format.
    Cef,
    /// OCSF events.
    Ocsf,
    /// FHIR R4 `AuditEvent`s.
    Fhir,
    /// The records themselves.
    Jsonl,
}

impl SinkFormat {
    /// Every format with its name.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("atna", Self::Atna),
        ("cef", Self::Cef),
        ("ocsf", Self::Ocsf),
        ("fhir", Self::Fhir),
        ("jsonl", Self::Jsonl),
    ];
}

/// Where records go.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// Syslog over TLS (RFC 5425).
    Syslog(SyslogServer),
    /// OpenTelemetry logs (OTLP/HTTP).
    Otlp(HttpReceiver),
    /// Requests with a document or lines each.
    Https(HttpReceiver),
}

/// A receiver that is spoken to by HTTP.
#[derive(Debug, Clone)]
pub struct HttpReceiver {
    /// Where requests are posted.
    pub url: url::Url,
    /// The CA that its certificate must come from. Default: the system's roots.
    pub ca: Option<PathBuf>,
    /// What the gateway shows (mutual TLS).
    pub certificate: Option<Certificate>,
    /// What proves the gateway: a bearer token, or a whole `Authorization` value where it holds a space.
    pub token: Option<Secret<String>>,
}

/// A kind of record that a sink gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Included {
    /// Admitted requests.
    Requests,
    /// Refused ones.
    Refusals,
    /// Everything else.
    Events,
}

impl Included {
    /// Every kind with its name.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("requests", Self::Requests),
        ("refusals", Self::Refusals),
        ("events", Self::Events),
    ];
}

/// What a sink learns of patients.
#[derive(Debug, Clone)]
pub enum Patients {
    /// Their identifiers, as the records have them.
    Clear,
    /// Pseudonyms, made with this key of at least [`Patients::SHORTEST`] characters.
    Pseudonym(Secret<String>),
    /// Nothing.
    Omit,
}

impl Patients {
    /// Fewest characters of a key: 128 bits, in hexadecimal.
    pub const SHORTEST: usize = 32;
}

/// Where a new sink begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With what is recorded from now on.
    Now,
    /// With the oldest record that there is.
    Oldest,
}

impl Beginning {
    /// Each with its name.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("now", Self::Now), ("beginning", Self::Oldest)];
}
