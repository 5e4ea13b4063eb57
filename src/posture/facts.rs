//! What checks look at: plain values, gathered once, so that a check is a function of them and of nothing else.
//!
//! *Never*: a secret, a patient or a user. What could not be learnt is an `Err` that says why, never a default.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;

use super::running::{Kept, Running};
use super::updates::Comparison;
use crate::config::Config;
use crate::config::inspection::Mode;

/// A value, or why it is not known.
pub type Known<T> = Result<T, String>;

/// Everything that checks look at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When they were gathered.
    pub now: Timestamp,
    /// The configuration.
    pub config: Config,
    /// What `chartgate check --offline` says of it.
    pub reading: Faults,
    /// Certificates that the gateway shows or trusts.
    pub certificates: Vec<Certificate>,
    /// Files that hold secrets.
    pub secrets: Vec<Guarded>,
    /// Directories and files that the gateway writes.
    pub written: Vec<Guarded>,
    /// Files that decide what the gateway does.
    pub rules: Vec<Guarded>,
    /// Which file systems things are on.
    pub disks: Disks,
    /// Keys that seal what is kept.
    pub keys: Vec<Key>,
    /// What the policy bundle does.
    pub bundle: Known<Bundle>,
    /// EMR profiles.
    pub profiles: Vec<Profile>,
    /// Detection rules.
    pub detections: Known<Detections>,
    /// Places of the response plan that are still to be filled in.
    pub plan: Known<usize>,
    /// What verifying the trail proved.
    pub trail: Known<Trail>,
    /// How this build compares with the advisory feed; nothing where none is configured.
    pub advisories: Known<Option<Comparison>>,
    /// How listeners answer, as seen on the wire.
    pub listeners: Known<Vec<Listener>>,
    /// How plain HTTP listeners answer.
    pub plain: Known<Vec<Plain>>,
    /// What probes around the gateway found.
    pub probes: Known<Vec<Probed>>,
    /// What the store keeps.
    pub kept: Known<Kept>,
    /// The running gateway.
    pub running: Known<Running>,
    /// How this machine's clock is kept.
    pub clock: Clock,
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// What keeps `serve` from starting.
    pub errors: Vec<String>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Its file.
    pub file: PathBuf,
    /// Whether the gateway shows it to clients; else it trusts it, or shows it to a back end.
    pub served: bool,
    /// What it says.
    pub leaf: Known<Leaf>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// After this it does not count.
    pub not_after: Timestamp,
    /// The kind of its key: `RSA`, `EC`, or another.
    pub key_kind: &'static str,
    /// The size of its key.
    pub key_bits: usize,
}

/// A file or directory with its permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it, if anything: that others may read or write it.
    pub exposed: Known<Option<String>>,
}

/// Which file systems things are on, by device; nothing where that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disks {
    /// The trail's.
    pub trail: Option<u64>,
    /// Those of the witnesses.
    pub witnesses: Vec<(PathBuf, Option<u64>)>,
    /// That of backups in a directory.
    pub backups: Option<u64>,
}

/// A key that seals what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `master`, `store` or `backup`.
    pub name: &'static str,
    /// Whether it can be read, and its id.
    pub id: Known<String>,
    /// The id of the key that its recovery file brings back.
    pub recovers: Known<String>,
}

/// What a policy bundle does, asked over its whole vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Name and version.
    pub title: String,
    /// Its digest.
    pub digest: String,
    /// How many policies it has.
    pub policies: usize,
    /// How many questions it was asked.
    pub questions: usize,
    /// What opens to people without a second factor.
    pub without_mfa: Vec<String>,
    /// What opens to people without a role.
    pub roleless: Vec<String>,
    /// Who may use pages that no profile maps.
    pub unmapped: Vec<String>,
    /// What leaves, deletes or administers without a fresh sign-in.
    pub unconfirmed: Vec<String>,
    /// What lockdown does not take away.
    pub through_lockdown: Vec<String>,
    /// Who may change the EMR's log.
    pub log_changed: Vec<String>,
    /// Roles to which breaking the glass opens a chart.
    pub glass_roles: Vec<String>,
    /// What breaking the glass allows beside reading.
    pub glass_takes: Vec<String>,
    /// Named network zones.
    pub zones: Vec<String>,
    /// Expectations of its tables that are met.
    pub expected: usize,
    /// Those that are not.
    pub missed: Vec<String>,
    /// Policies that no table tests.
    pub untested: Vec<String>,
    /// Courses, by id and version.
    pub courses: Vec<String>,
    /// Roles that no course is for.
    pub untaught: Vec<String>,
    /// How many permissions to change something, or to take it out, end with an overdue course.
    pub ended_by_lapse: usize,
    /// Those that do not.
    pub left_by_lapse: Vec<String>,
}

/// An EMR profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The EMR's name in the configuration.
    pub emr: String,
    /// How many routes it maps; why it does not load.
    pub routes: Result<usize, String>,
    /// Routes that never match, or that get in each other's way.
    pub findings: Vec<String>,
    /// Session cookies that leave without `Secure`, `HttpOnly` or `SameSite`.
    pub bare_cookies: Vec<String>,
    /// What it keeps away from the EMR and from disks; why that is not known.
    pub prevention: Known<Prevention>,
}

/// What a profile keeps away from the EMR, and from the disks of readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prevention {
    /// The mode of inspection that it states for all routes.
    pub mode: Option<Mode>,
    /// Routes that state a mode of their own.
    pub exceptions: Vec<(String, Mode)>,
    /// Virtual patches, with the day by which somebody has to look at them.
    pub patches: Vec<(String, Date)>,
    /// Routes about patients whose answers may be kept if the EMR says so.
    pub cached: Vec<String>,
    /// Those among them that are protected more than usual.
    pub cached_sensitive: Vec<String>,
}

/// Detection rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detections {
    /// Rules that alarm.
    pub rules: usize,
    /// Examples that they keep to.
    pub examples: usize,
    /// Examples that they do not keep to, or that are missing.
    pub broken: Vec<String>,
}

/// What verifying the trail proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// Records.
    pub records: u64,
    /// The newest record.
    pub last: u64,
    /// The newest one that a witness vouches for.
    pub witnessed: Option<u64>,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// Witnesses that cannot be read.
    pub silent: Vec<String>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// When its newest segment was begun.
    pub newest_segment: Option<Timestamp>,
    /// Segments whose retention is over.
    pub over: usize,
}

/// How a listener took a client that it should refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It refused.
    Refused,
    /// It went on with the handshake.
    Accepted,
    /// It did not answer.
    Silent(String),
}

/// How an HTTPS listener answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it was asked.
    pub address: SocketAddr,
    /// A client that speaks TLS 1.1 at most.
    pub old_version: Taken,
    /// A client that offers no suite with authenticated encryption.
    pub weak_suites: Taken,
}

/// How a plain HTTP listener answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// Where it was asked.
    pub address: SocketAddr,
    /// Where it sends clients; or what it does in place of that.
    pub location: Result<String, String>,
}

/// What a probe for a way around the gateway found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The probe.
    pub name: String,
    /// The EMR that must not answer there.
    pub emr: String,
    /// Who answered.
    pub answer: Probe,
}

/// Who answers where nobody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Nobody.
    Nobody,
    /// Somebody, at this address.
    Somebody(SocketAddr),
    /// The probe could not be made.
    Unsure(String),
}

/// How this machine's clock is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// Whether the system says that a time service set it; nothing where it does not say.
    pub synchronised: Option<Synchronised>,
}

/// What the system says about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronised {
    /// A time service set it.
    Yes,
    /// A time service is there and has not set it.
    No,
}

/// What is looked at beside files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Whether the trail is verified, which takes time where it is long.
    pub trail: Look,
    /// Whether listeners are asked and probes made.
    pub network: Look,
}

/// Whether something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is.
    Closely,
    /// It is left alone; the option that says so.
    LeftOutBy(&'static str),
}
