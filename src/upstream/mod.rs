//! The way to the EMR and back: connections, header hygiene, and the outcome of every admitted request.
//!
//! *Owns*: the connections to back ends (one pool per worker and EMR), the registry of live streams.
//! *Never*: a request that is not [`Admitted`](crate::audit::admit::Admitted); a target other than the one that
//! policy saw; an answer whose end nobody writes down.
//! *On failure*: a refusal of family 5, and the outcome on record.

pub mod answered;
pub mod assertion;
pub mod breaker;
pub mod clean;
pub mod endpoint;
pub mod forward;
mod headers;
pub mod outgoing;
pub mod page;
pub mod pool;
mod protect;
pub mod recorded;
mod rewrite;
pub mod streams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod websocket;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use jsonwebtoken::jwk::JwkSet;

pub use answered::Answered;
pub use clean::Cleaned;
pub use streams::{LiveStream, StreamHandle, StreamObserver, Streams};

use crate::clock::SharedClock;
use crate::config;
use crate::request::hygiene::Hygiene;
use assertion::{AssertionError, Recent, Signer};
use endpoint::{Endpoint, EndpointError};
use pool::Pool;

/// Why the EMRs of the configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The back end.
    #[error("emr {emr}: {source}")]
    Endpoint {
        /// The EMR's name.
        emr: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// The assertion key.
    #[error("emr {emr}: {source}")]
    Assertion {
        /// The EMR's name.
        emr: String,
        /// What is wrong.
        source: AssertionError,
    },
    /// The service account.
    #[error("emr {emr}: the service account's user name holds a colon or a control character")]
    Basic {
        /// The EMR's name.
        emr: String,
    },
}

/// One EMR, as all workers see it.
#[derive(Debug)]
pub(crate) struct Emr {
    name: String,
    backend: config::Backend,
    identity: config::PassIdentity,
    error_pages: config::ErrorPages,
    endpoint: Arc<Endpoint>,
    signer: Option<Signer>,
    basic: Option<HeaderValue>,
}

/// The EMRs and what is shared between workers. Loaded once.
#[derive(Debug)]
pub struct Backends {
    emrs: Vec<Emr>,
    hsts: Option<HeaderValue>,
    streams: Arc<Streams>,
    clock: SharedClock,
}

impl Backends {
    /// Prepares every EMR of the configuration; `hsts_max_age` of zero sends no `Strict-Transport-Security`.
    ///
    /// # Errors
    /// All problems of all EMRs at once.
    pub fn load(
        emrs: &[config::Emr],
        hsts_max_age: Duration,
        streams: Arc<Streams>,
        clock: SharedClock,
    ) -> Result<Arc<Self>, Vec<BackendError>> {
        let (mut loaded, mut problems) = (Vec::new(), Vec::new());
        for emr in emrs {
            match Emr::load(emr) {
                Ok(emr) => loaded.push(emr),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let seconds = hsts_max_age.as_secs();
        let hsts = HeaderValue::try_from(format!("max-age={seconds}")).ok();
        Ok(Arc::new(Self {
            emrs: loaded,
            hsts: hsts.filter(|_| seconds > 0),
            streams,
            clock,
        }))
    }

    /// The headers that state identity to some EMR: a client may send none of them.
    pub fn identity_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.emrs.iter().flat_map(|emr| {
            let pass = &emr.identity;
            let assertion = pass.assertion.as_ref().map(|assertion| &assertion.header);
            [
                pass.user_header.as_ref(),
                pass.roles_header.as_ref(),
                assertion,
            ]
            .into_iter()
            .flatten()
        })
    }

    /// The public keys of all assertions, for `/.chartgate/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let mut keys: Vec<_> = Vec::new();
        for signer in self.emrs.iter().filter_map(|emr| emr.signer.as_ref()) {
            if !keys.contains(signer.public()) {
                keys.push(signer.public().clone());
            }
        }
        JwkSet { keys }
    }

    /// `Strict-Transport-Security`, where it is sent.
    #[must_use]
    pub const fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// The live streams.
    #[must_use]
    pub const fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }
}

impl Emr {
    fn load(emr: &config::Emr) -> Result<Self, BackendError> {
        let name = emr.name.clone();
        let endpoint = Endpoint::load(&emr.backend).map_err(|source| BackendError::Endpoint {
            emr: name.clone(),
            source,
        })?;
        let signer = (emr.identity.assertion.as_ref())
            .map(Signer::load)
            .transpose()
            .map_err(|source| BackendError::Assertion {
                emr: name.clone(),
                source,
            })?;
        let basic = match &emr.identity.basic {
            None => None,
            Some(account) => {
                Some(basic(account).ok_or_else(|| BackendError::Basic { emr: name.clone() })?)
            }
        };
        Ok(Self {
            name,
            backend: emr.backend.clone(),
            identity: emr.identity.clone(),
            error_pages: emr.error_pages,
            endpoint: Arc::new(endpoint),
            signer,
            basic,
        })
    }
}

/// RFC 7617.
fn basic(account: &config::Basic) -> Option<HeaderValue> {
    let bad = |c: char| c == ':' || c.is_control();
    if account.username.contains(bad) {
        return None;
    }
    let pair = zeroize::Zeroizing::new(format!(
        "{}:{}",
        account.username,
        account.password.expose()
    ));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&*pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One worker's way to the EMRs. Made inside the worker's thread, and used on its `LocalSet` only.
#[derive(Debug)]
pub struct Upstream {
    backends: Arc<Backends>,
    pools: Vec<Rc<Pool>>,
    recent: Recent,
    hygiene: Rc<Hygiene>,
}

impl Upstream {
    /// Empty pools for every EMR.
    #[must_use]
    pub fn new(backends: Arc<Backends>) -> Self {
        let pool = |emr: &Emr| Pool::new(Arc::clone(&emr.endpoint), Arc::clone(&backends.clock));
        let pools = backends.emrs.iter().map(pool).collect();
        let hygiene = Rc::new(Hygiene::new(backends.identity_headers()));
        Self {
            backends,
            pools,
            recent: Recent::default(),
            hygiene,
        }
    }

    fn emr(&self, index: usize) -> Option<(&Emr, &Rc<Pool>)> {
        self.backends.emrs.get(index).zip(self.pools.get(index))
    }
}
