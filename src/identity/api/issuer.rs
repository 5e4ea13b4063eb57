//! The keys of an authorization server: found by OpenID discovery or at a configured address, and kept fresh.
//!
//! *On failure*: the last good keys stay; without any, tokens are refused with `CG-2006`, and the server is not asked
//! again for a moment.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::REST;
use crate::clock::SharedClock;
use crate::config::api::JwtApi;
use crate::identity::oidc::jws::Jws;
use crate::identity::oidc::keys::{KeySet, Verdict};
use crate::identity::published::{Published, Unknown, read_on};
use crate::outbound::{HttpClient, is_this_machine};

/// Why a signature is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeysError {
    Forged,
    NoKey,
    Unavailable,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    issuer: Url,
    jwks: Option<Url>,
    http: HttpClient,
    published: Published<Known>,
}

#[derive(Debug)]
struct Known {
    issuer: Arc<Spelled>,
    jwks: Url,
    keys: KeySet,
}

/// How the issuer spells itself.
#[derive(Debug)]
pub(super) enum Spelled {
    /// As in its discovery document, to the byte.
    Exactly(String),
    /// As configured: a missing final slash of a bare host is no difference.
    AsUrl(Url),
}

impl Spelled {
    pub(super) fn is(&self, named: &str) -> bool {
        match self {
            Self::Exactly(own) => own == named,
            Self::AsUrl(own) => Url::parse(named).is_ok_and(|named| named == *own),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

impl IssuerKeys {
    pub(super) fn new(
        settings: &JwtApi,
        ca: Option<&Path>,
        clock: SharedClock,
    ) -> Result<Self, String> {
        Ok(Self {
            issuer: settings.issuer.clone(),
            jwks: settings.jwks.clone(),
            http: HttpClient::new(ca).map_err(|error| error.to_string())?,
            published: Published::new(clock, REST),
        })
    }

    /// Whether a token that names this issuer is to be judged by it.
    pub(super) fn is_named(&self, named: &str) -> bool {
        Url::parse(named).is_ok_and(|named| named == self.issuer)
    }

    /// Verifies a signature; returns how the issuer spells itself.
    pub(super) async fn verify(&self, jws: &Jws<'_>) -> Result<Arc<Spelled>, KeysError> {
        let known = self.known().await?;
        let (verdict, known) = match known.keys.verify(jws) {
            Verdict::NoKey => match self.with_fresh_keys(&known).await? {
                Some(fresh) => (fresh.keys.verify(jws), fresh),
                None => (Verdict::NoKey, known),
            },
            verdict @ (Verdict::Genuine | Verdict::Forged) => (verdict, known),
        };
        match verdict {
            Verdict::Genuine => Ok(Arc::clone(&known.issuer)),
            Verdict::Forged => Err(KeysError::Forged),
            Verdict::NoKey => Err(KeysError::NoKey),
        }
    }

    /// Keeps the keys fresh; never ends.
    pub(super) async fn keep_fresh(&self, api: &str) {
        let read = || async {
            let read = self.read().await;
            match &read {
                Ok(_) => tracing::info!(api, "the authorization server's keys were read"),
                Err(problem) => {
                    tracing::warn!(api, problem, "the authorization server could not be read");
                }
            }
            read.map(|known| drop(self.published.keep(known)))
        };
        read_on(REST, read).await;
    }

    async fn known(&self) -> Result<Arc<Known>, KeysError> {
        let known = self.published.known(|| self.read()).await;
        known.map_err(|unknown| {
            if let Unknown::Failed(problem) = unknown {
                tracing::warn!(issuer = %self.issuer, problem, "the authorization server's keys cannot be read");
            }
            KeysError::Unavailable
        })
    }

    async fn read(&self) -> Result<Known, String> {
        let (issuer, jwks) = match &self.jwks {
            Some(jwks) => (Spelled::AsUrl(self.issuer.clone()), jwks.clone()),
            None => self.discover().await?,
        };
        let keys = self.read_keys(&jwks).await?;
        Ok(Known {
            issuer: Arc::new(issuer),
            jwks,
            keys,
        })
    }

    async fn discover(&self) -> Result<(Spelled, Url), String> {
        let mut at = self.issuer.clone();
        let path = at.path().trim_end_matches('/').to_owned();
        at.set_path(&format!("{path}/.well-known/openid-configuration"));
        let document = self
            .http
            .fetch(&at)
            .await
            .map_err(|error| error.to_string())?;
        let Metadata { issuer, jwks_uri } =
            serde_json::from_slice(&document).map_err(|error| error.to_string())?;
        if !self.is_named(&issuer) {
            return Err(format!(
                "the discovery document is of another issuer, `{issuer}`"
            ));
        }
        let is_fine = match jwks_uri.scheme() {
            "https" => true,
            // SECURITY: a server with TLS must not lead to keys without.
            "http" => {
                self.issuer.scheme() == "http" && jwks_uri.host_str().is_some_and(is_this_machine)
            }
            _ => false,
        };
        if !is_fine {
            return Err(format!("`{jwks_uri}` is not an https address"));
        }
        Ok((Spelled::Exactly(issuer), jwks_uri))
    }

    async fn read_keys(&self, at: &Url) -> Result<KeySet, String> {
        let bytes = self
            .http
            .fetch(at)
            .await
            .map_err(|error| error.to_string())?;
        KeySet::parse(&bytes).ok_or_else(|| "the key set is not valid".to_owned())
    }

    /// Newer keys than `stale`, unless they were read out of turn a moment ago.
    async fn with_fresh_keys(&self, stale: &Arc<Known>) -> Result<Option<Arc<Known>>, KeysError> {
        let newer = self.published.newer(stale, || async {
            Ok(Known {
                issuer: Arc::clone(&stale.issuer),
                jwks: stale.jwks.clone(),
                keys: self.read_keys(&stale.jwks).await?,
            })
        });
        newer.await.map_err(|problem: String| {
            tracing::warn!(issuer = %self.issuer, problem, "newer keys cannot be read");
            KeysError::Unavailable
        })
    }
}
