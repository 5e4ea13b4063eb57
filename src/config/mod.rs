//! The configuration of a running gateway: valid by construction.
//!
//! `chartgate.toml` is read key by key, an unknown key being a problem, then checked as a whole, and only then becomes
//! a [`Config`]. All problems are reported at once, with file, line and remedy.
//!
//! *Never*: a setting that nothing reads; a secret by value (secrets are named by file path); a silent default
//! for a key that decides about security.
//! *On failure*: exit code 64.

pub mod alarm;
pub mod api;
mod archive;
mod backup;
pub mod care;
pub mod chain;
pub mod client;
pub mod client_key;
mod cross;
pub mod emergency;
#[cfg(test)]
pub(crate) mod fixture;
pub mod inspection;
pub mod issuer;
#[cfg(test)]
mod issuer_tests;
pub mod keys;
pub mod links;
pub mod load;
pub mod lock;
mod outline;
pub mod problem;
mod providers;
pub mod provision;
mod read;
pub mod refresh;
pub(crate) mod request_claims;
mod s3;
pub mod second_factor;
pub mod secrets;
mod section;
pub mod sessions;
pub mod settings;
pub mod sink;
pub mod source;
pub mod step_up;
pub mod syslog;
#[cfg(test)]
mod tests;
pub mod timekeeping;
pub mod unit;
mod value;
pub mod witness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret::Secret;
pub use archive::{Archive, ArchiveLock, ArchiveTarget};
pub use backup::{Backup, BackupContent, BackupSource, BackupTarget};
pub use issuer::{Issuer, MfaEvidence, MfaRequire};
pub use outline::Profiles;
pub use s3::S3Target;

/// Everything that a gateway is configured with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, TLS and HTTP limits.
    pub server: Server,
    /// Certificates, chosen by SNI.
    pub certificates: Vec<Certificate>,
    /// Sign-in and sessions.
    pub identity: Identity,
    /// The EMRs behind the gateway.
    pub emrs: Vec<Emr>,
    /// The policy bundle.
    pub policy: Policy,
    /// Rate limits.
    pub limits: Limits,
    /// The trail.
    pub audit: Audit,
    /// The store of sessions and other shared state.
    pub store: Store,
    /// Who says what time it is.
    pub clock: timekeeping::Timekeeping,
    /// Breaking the glass.
    pub break_glass: BreakGlass,
    /// Courses.
    pub training: Training,
    /// Who works here, where the directory or the personnel system say it.
    pub provisioning: Option<provision::Provisioning>,
    /// Who treats whom, where feeds say it.
    pub care: Option<care::CareFeeds>,
    /// Which identifiers are the same patient. `[patient_links]`
    pub patient_links: Option<links::PatientLinks>,
    /// Known vulnerabilities.
    pub update: Update,
    /// Backups, where there are any.
    pub backup: Option<Backup>,
    /// Probes for a way around the gateway.
    pub segmentation: Segmentation,
    /// Inspection of the values of requests.
    pub inspection: inspection::Inspection,
    /// Health, metrics and the operators' socket.
    pub admin: Admin,
    /// What is asked of browsers, and said before sign-in.
    pub client: client::Client,
    /// Detection of misuse on the trail.
    pub detection: alarm::Detection,
    /// Where alarms are sent.
    pub notify: alarm::Notify,
    /// The gateway's own log.
    pub log: Log,
    /// What the file writes, setting by setting.
    pub settings: settings::Settings,
}

/// Listeners, TLS and HTTP limits. `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// HTTPS listeners.
    pub listen: Vec<SocketAddr>,
    /// Plain HTTP listeners that only redirect to HTTPS.
    pub redirect_http: Vec<SocketAddr>,
    /// Worker threads, each with its own listener and connection pool. Default: one per core.
    pub workers: usize,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `Strict-Transport-Security` `max-age`; zero sends none. Default 365 days.
    pub hsts_max_age: Duration,
    /// Most header fields in a request. Default 100.
    pub max_headers: usize,
    /// Most bytes in a request's head. Default 32 KiB.
    pub max_header_bytes: usize,
    /// A request's head must arrive within this; also the keep-alive limit. Default 30 s.
    pub header_timeout: Duration,
    /// The body must make progress within this. Default 30 s.
    pub body_timeout: Duration,
    /// A TLS handshake must be done within this. Default 10 s.
    pub handshake_timeout: Duration,
    /// Requests after which a connection is closed. Default 10 000.
    pub requests_per_connection: u64,
    /// Most connections at once, in total. Default 10 000.
    pub max_connections: usize,
    /// Most connections at once from one address (IPv6: /64). Default 512.
    pub max_connections_per_address: usize,
    /// How long a drain waits for requests in flight. Default 30 s.
    pub drain_timeout: Duration,
}

/// A certificate chain with its key. `[[certificate]]`
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM chain, leaf first.
    pub chain: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Sign-in and sessions. `[identity]`
#[derive(Debug, Clone)]
pub struct Identity {
    /// A session without activity ends after this. Default 15 min.
    pub idle_timeout: Duration,
    /// A session ends after this whatever happens. Default 12 h.
    pub absolute_timeout: Duration,
    /// A sign-in must be finished within this. Default 10 min.
    pub login_timeout: Duration,
    /// Tolerated difference between the provider's clock and ours. Default 60 s.
    pub clock_leeway: Duration,
    /// Shared workstations, how many sessions one user may have, and what they are bound to.
    pub sessions: sessions::Sessions,
    /// The providers, in the order in which they are offered. At least one.
    pub issuers: Vec<Issuer>,
    /// The gateway's own second factor; none where it is not configured.
    pub second_factor: Option<second_factor::SecondFactor>,
    /// Access tokens of programs.
    pub api: Vec<api::Api>,
    /// Client certificates, where they are asked for.
    pub client_certificates: Option<api::ClientCertificates>,
    /// Screens that lock; without, none does.
    pub lock: Option<lock::Lock>,
    /// Forms that are kept; without, none is.
    pub held_posts: Option<lock::HeldPosts>,
    /// Sealed accounts for when the provider is down; without, there are none.
    pub emergency: Option<emergency::Emergency>,
}

/// An EMR. `[[emr]]`
#[derive(Debug, Clone)]
pub struct Emr {
    /// A short name; on every record.
    pub name: String,
    /// Host names under which the gateway serves it.
    pub hosts: Vec<String>,
    /// The profile file.
    pub profile: PathBuf,
    /// The back end.
    pub backend: Backend,
    /// How the EMR learns who the user is.
    pub identity: PassIdentity,
    /// Whether 5xx pages of the EMR are shown.
    pub error_pages: ErrorPages,
}

/// What a user sees when the EMR answers 5xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorPages {
    /// The EMR's own page.
    Pass,
    /// Chartgate's page (`CG-5005`), so that no stack trace is shown.
    Hide,
}

/// A back end. `[emr.backend]`
#[derive(Debug, Clone)]
pub struct Backend {
    /// `http://host:port` or `https://host:port`; no path.
    pub url: url::Url,
    /// HTTP version spoken to it.
    pub protocol: BackendProtocol,
    /// The `Host` that it receives.
    pub host: HostHeader,
    /// Private CA of the back end, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
    /// Client certificate for it.
    pub client_certificate: Option<Certificate>,
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// From the last byte sent to the first byte of the answer. Default 60 s.
    pub response_timeout: Duration,
    /// Idle connections are closed after this; must be below the back end's own limit. Default 15 s.
    pub idle_timeout: Duration,
    /// Idle connections kept per worker. Default 64.
    pub max_idle: usize,
    /// Connections at once per worker. Default 512.
    pub max_connections: usize,
    /// Failures to connect in a row after which a worker leaves the back end alone. Default 5.
    pub breaker_failures: usize,
    /// For how long. Default 5 s.
    pub breaker_pause: Duration,
}

/// HTTP version towards a back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (by ALPN over TLS, with prior knowledge over plain TCP).
    Http2,
}

/// The `Host` that a back end receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    /// The public host that the client used.
    Public,
    /// The back end's own host and port.
    Backend,
}

/// How an EMR learns who the user is. `[emr.identity]`
#[derive(Debug, Clone, Default)]
pub struct PassIdentity {
    /// Header with the user name.
    pub user_header: Option<http::HeaderName>,
    /// Header with the roles, comma separated.
    pub roles_header: Option<http::HeaderName>,
    /// Header with a signed JWT assertion.
    pub assertion: Option<Assertion>,
    /// A fixed service account, by HTTP Basic.
    pub basic: Option<Basic>,
}

/// A signed, short-lived statement of who the user is. `[emr.identity.assertion]`
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The header. Default `X-Chartgate-Assertion`.
    pub header: http::HeaderName,
    /// `aud`.
    pub audience: String,
    /// Lifetime. Default 60 s.
    pub lifetime: Duration,
    /// The ES256 key, PKCS#8 PEM.
    pub key: PathBuf,
}

/// A fixed service account. `[emr.identity.basic]`
#[derive(Debug, Clone)]
pub struct Basic {
    /// User name.
    pub username: String,
    /// Password, read from the named file.
    pub password: Secret<String>,
}

/// The policy bundle. `[policy]`
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its directory.
    pub directory: PathBuf,
    /// How often a running gateway looks whether its files changed; zero never. Default 2 s.
    pub watch_interval: Duration,
    /// How often permissions are reviewed. Default 90 days.
    pub review_interval: Duration,
    /// Whose signatures of a bundle count, as verifier keys. Default none.
    pub trusted_keys: Vec<String>,
    /// How many of them a bundle needs: `signatures`, 1 unless written, where `require_signature` is true; else 0.
    pub required_signatures: usize,
}

/// Requests per interval with a burst (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per `per`.
    pub requests: std::num::NonZeroU32,
    /// The interval.
    pub per: Duration,
    /// Requests that may come at once.
    pub burst: std::num::NonZeroU32,
}

/// Rate limits. `[limits]`, written `"600/1m burst 120"`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Every request of an address, before anything else. Default `3000/1m burst 600`.
    pub address: Rate,
    /// Every request of a user. Default `1200/1m burst 300`.
    pub user: Rate,
    /// By action name (`Export`, `Print`, …), per user. Default: `Export` and `Print` `20/1h burst 10`.
    pub actions: BTreeMap<String, Rate>,
    /// Sign-ins started or finished by an address. Default `120/1m burst 60`.
    pub login_address: Rate,
    /// Sign-ins finished for one account. Default `20/1m burst 10`.
    pub login_account: Rate,
    /// Anonymous refusals recorded singly, per address; the rest is summed per minute. Default `60/1m burst 30`.
    pub anonymous_records: Rate,
    /// Most keys any limiter remembers. Default 100 000.
    pub max_keys: usize,
}

/// The trail. `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// Its directory.
    pub directory: PathBuf,
    /// The master key file.
    pub master_key: keys::KeyFile,
    /// The checkpoint signing key file.
    pub signing_key: PathBuf,
    /// Where checkpoints go, outside the data directory. At least one.
    pub witnesses: Vec<witness::Witness>,
    /// This node's name on every record. Default: the host name.
    pub node: String,
    /// A segment is closed at this size. Default 64 MiB.
    pub segment_bytes: u64,
    /// A checkpoint at least every so many records. Default 1000.
    pub checkpoint_records: u64,
    /// A checkpoint at least this often while records arrive. Default 10 s.
    pub checkpoint_interval: Duration,
    /// Below this much free space only care is admitted. Default 256 MiB.
    pub reserve_bytes: u64,
    /// Calendar years that records are kept. Default and minimum 6.
    pub retention_years: u16,
    /// A disk that has not answered for this long is not waited for: everything is refused until it does. Default 5 s.
    pub stall_after: Duration,
    /// Where ended segments are archived, if anywhere.
    pub archive: Option<Archive>,
    /// How often activity is reviewed. Default 7 days.
    pub review_interval: Duration,
    /// Where the trail is sent as it grows. Default: nowhere.
    pub sinks: Vec<sink::Sink>,
}

/// The store. `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// The embedded database's file.
    pub path: PathBuf,
    /// The key file that seals its values (the trail's master key file may serve).
    pub key: keys::KeyFile,
}

/// Breaking the glass. `[break_glass]`
#[derive(Debug, Clone)]
pub struct BreakGlass {
    /// How long a chart stays open. Default 4 h.
    pub duration: Duration,
    /// The sign-in may not be older than this when the form is shown. Default 5 min.
    pub fresh: Duration,
    /// How often one user may break the glass within 24 hours. Default 3.
    pub per_day: usize,
    /// Someone else must have reviewed it within this. Default 24 h.
    pub review_within: Duration,
}

/// Courses that people have to do. `[training]`
#[derive(Debug, Clone)]
pub struct Training {
    /// The time from when a course, or a new version of it, first concerns somebody until it is due. Default 45 days.
    pub grace: Duration,
    /// A CSV file of what was attested elsewhere.
    pub feed: Option<PathBuf>,
}

/// Comparison with known vulnerabilities. `[update]`
#[derive(Debug, Clone)]
pub struct Update {
    /// A file or directory of OSV records.
    pub feed: Option<PathBuf>,
    /// A feed whose newest record is older says nothing. Default 30 days.
    pub max_age: Duration,
    /// Compared at the start and then this often. Default 24 h.
    pub check_interval: Duration,
}

/// Probes for a way around the gateway. `[segmentation]`
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// How often they are made. Default 15 min.
    pub interval: Duration,
    /// The probes.
    pub probes: Vec<Probe>,
}

/// A place at which an EMR must not answer. `[[segmentation.probe]]`
#[derive(Debug, Clone)]
pub struct Probe {
    /// A short name.
    pub name: String,
    /// The EMR.
    pub emr: String,
    /// Host of `address`; that of the back end, where only `from` is set.
    pub host: String,
    /// Port of `address`; that of the back end, where only `from` is set.
    pub port: u16,
    /// The address of this machine that the connection comes from.
    pub from: Option<std::net::IpAddr>,
}

/// Health, metrics and the operators' socket. `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where `/healthz`, `/readyz` and `/metrics` are answered, in plain HTTP.
    pub listen: Option<SocketAddr>,
    /// The Unix socket through which the CLI talks to a running gateway.
    pub socket: PathBuf,
    /// Who may use the socket: operating system users, by id, and the operator each of them is.
    pub operators: BTreeMap<u32, String>,
}

/// The gateway's own log. `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A `tracing` filter. Default `info`.
    pub filter: String,
    /// JSON lines, or text for a terminal.
    pub format: LogFormat,
}

/// The form of the gateway's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for a terminal.
    Text,
}
