//! Why a gateway does not start.

use std::net::SocketAddr;

use crate::admin::socket::SocketError;
use crate::audit::log::KeyError;
use crate::audit::open::OpenError;
use crate::identity::IdentityError;
use crate::limit::charge::UnknownAction;
use crate::operate::cases::CaseError;
use crate::operate::configuration::ConfigurationError;
use crate::operate::containment::ContainmentError;
use crate::operate::incidents::IncidentError;
use crate::operate::lockdown::LockdownError;
use crate::operate::permissions::{self, ReviewError};
use crate::operate::tokens::TokensError;
use crate::server::{CertificateError, ServeError};
use crate::store::StoreError;
use crate::upstream::BackendError;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The trail.
    #[error("the trail: {0}")]
    Trail(#[from] OpenError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The settings of the last start.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Certificates.
    #[error("certificates:\n{}", lines(.0))]
    Certificates(Vec<CertificateError>),
    /// TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The policy bundle.
    #[error("{0}")]
    Policy(#[from] permissions::StartError),
    /// What the store holds of policies: the bundles of before, the last review.
    #[error("policies and their review: {0}")]
    Review(#[from] ReviewError),
    /// The last review of activity.
    #[error(transparent)]
    Activity(#[from] crate::operate::activity_review::ActivityError),
    /// The newest assessment of the posture.
    #[error("the assessment of the posture: {0}")]
    Posture(#[from] crate::posture::assessments::AssessmentError),
    /// EMR profiles.
    #[error("EMR profiles:\n{}", lines(.0))]
    Profiles(Vec<crate::emr::profile::Problem>),
    /// Back ends.
    #[error("EMRs:\n{}", lines(.0))]
    Backends(Vec<BackendError>),
    /// Identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Cases.
    #[error("cases: {0}")]
    Cases(#[from] CaseError),
    /// Locks.
    #[error("locks: {0}")]
    Containment(#[from] ContainmentError),
    /// The revoked tokens.
    #[error("the revoked tokens cannot be read: {0}")]
    Tokens(#[from] TokensError),
    /// Incidents.
    #[error("incidents: {0}")]
    Incidents(#[from] IncidentError),
    /// Lockdowns.
    #[error("lockdowns: {0}")]
    Lockdown(#[from] LockdownError),
    /// Training.
    #[error("training: {0}")]
    Training(#[from] crate::training::TrainingError),
    /// The patient link feed.
    #[error(transparent)]
    Links(#[from] crate::feeds::links::LinkError),
    /// A care relation feed.
    #[error("{0}")]
    Care(#[from] crate::feeds::FeedError),
    /// Provisioning.
    #[error("provisioning: {0}")]
    Provision(#[from] crate::provision::ProvisionError),
    /// Limits.
    #[error(transparent)]
    Limits(#[from] UnknownAction),
    /// Listeners and workers.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The detection rules.
    #[error(transparent)]
    Rules(#[from] crate::detect::RulesError),
    /// The receivers of alarms.
    #[error(transparent)]
    Notify(#[from] crate::notify::NotifyError),
    /// The sinks of the trail.
    #[error(transparent)]
    Ship(#[from] crate::ship::ShipError),
    /// The operators' socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The admin listener.
    #[error("the admin listener {address}: {source}; free the address, or configure another one")]
    Admin {
        /// Its address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// No key could be derived.
    #[error("the key for break-glass offers cannot be derived from the master key")]
    Offers,
    /// The archive of the trail.
    #[error("the archive of the trail: {0}")]
    Archive(#[from] crate::archive::ArchiveError),
    /// Backups.
    #[error("backups: {0}")]
    Backup(#[from] crate::backup::BackupError),
    /// A store that was restored.
    #[error("the store was restored from a backup, and cannot be put in order: {0}")]
    Restored(#[from] crate::backup::RestoredError),
    /// The trail failed while the start was recorded.
    #[error("the end could not be recorded: {0}")]
    Audit(#[from] crate::audit::trail::AuditError),
}

/// Each problem on a line of its own.
pub(super) fn lines<T: std::fmt::Display>(problems: &[T]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect();
    lines.join("\n")
}
