//! Where checkpoints of the trail go. `audit.witnesses`

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::syslog::SyslogServer;
use super::{Certificate, S3Target};
use crate::secret::Secret;

/// A witness.
#[derive(Debug, Clone)]
pub enum Witness {
    /// A file outside the trail's directory.
    File(PathBuf),
    /// An HTTPS endpoint, as `chartgate witness serve` is one.
    Https(Box<HttpsWitness>),
    /// A syslog receiver (RFC 5424 over TLS).
    Syslog(Box<SyslogServer>),
    /// Objects that nobody can remove, in a bucket with Object Lock.
    S3(Box<S3Witness>),
}

/// An endpoint. `{ https = "…" }`
#[derive(Debug, Clone)]
pub struct HttpsWitness {
    /// Where notes are sent and asked for.
    pub url: url::Url,
    /// Private CA of the endpoint, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to it.
    pub client: Option<Certificate>,
    /// The bearer token, read from the named file.
    pub token: Option<Secret<String>>,
    /// The public key by which it cosigns what it holds.
    pub cosigner: Option<PathBuf>,
}

/// A bucket. `{ s3 = { … } }`
#[derive(Debug, Clone)]
pub struct S3Witness {
    /// The bucket.
    pub target: S3Target,
    /// Calendar years for which an object cannot be removed. Default: those of `retention_years`.
    pub lock_years: u16,
    /// At most one object in this time. Default 1 min.
    pub every: Duration,
}

impl Witness {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Https(_) | Self::Syslog(_) | Self::S3(_) => None,
        }
    }

    /// Its host, where it is on a network.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Https(endpoint) => endpoint.url.host_str(),
            Self::Syslog(receiver) => Some(&receiver.host),
            Self::S3(bucket) => bucket.target.endpoint.host_str(),
        }
    }

    /// Whether it is on a machine of its own, as far as its name says.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.host().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
        })
    }

    /// The private CA that it is trusted by.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        match self {
            Self::File(_) => None,
            Self::Https(endpoint) => endpoint.ca.as_deref(),
            Self::Syslog(receiver) => receiver.ca.as_deref(),
            Self::S3(bucket) => bucket.target.ca.as_deref(),
        }
    }

    /// The certificate that is shown to it.
    #[must_use]
    pub fn client(&self) -> Option<&Certificate> {
        match self {
            Self::Https(endpoint) => endpoint.client.as_ref(),
            Self::Syslog(receiver) => receiver.certificate.as_ref(),
            Self::File(_) | Self::S3(_) => None,
        }
    }

    /// The least time between two checkpoints that it takes.
    #[must_use]
    pub fn every(&self) -> Duration {
        match self {
            Self::S3(bucket) => bucket.every,
            Self::File(_) | Self::Https(_) | Self::Syslog(_) => Duration::ZERO,
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Https(endpoint) => f.write_str(endpoint.url.as_str()),
            Self::Syslog(receiver) => write!(f, "syslog {receiver}"),
            Self::S3(bucket) => {
                let S3Target {
                    endpoint,
                    bucket,
                    prefix,
                    ..
                } = &bucket.target;
                let store = endpoint.as_str().trim_end_matches('/');
                write!(f, "s3 {store}/{bucket}/{prefix}")
            }
        }
    }
}
