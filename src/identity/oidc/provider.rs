//! One identity provider: what it publishes about itself, kept fresh, and what is asked of it.
//!
//! *Owns*: the discovery document and the key set.
//! *On failure*: the last good ones stay; without any, sign-ins are refused with `CG-2006` and discovery is tried again.

use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::exchange::{self, Challenge, ExchangeError, Flow, RenewedTokens, Tokens};
use super::jws::{self, Algorithm, Jws, JwsError, Kind};
use super::keys::{KeySet, Verdict};
use super::metadata::Metadata;
use crate::clock::SharedClock;
use crate::config::Issuer;
use crate::config::client_key::ClientKey;
use crate::identity::published::{Published, Unknown};
use crate::outbound::{HttpClient, HttpError};
use crate::secret::Secret;

/// Why the provider cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum ProviderError {
    #[error("{0}")]
    Http(#[source] HttpError),
    #[error("the discovery document is not valid: {0}")]
    Metadata(String),
    #[error("the discovery document is of another issuer, `{0}`")]
    OtherIssuer(String),
    #[error("the key set is not valid")]
    Keys,
    #[error("it failed a moment ago and is not asked again yet")]
    Resting,
}

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum TokenError {
    #[error("{0}")]
    Form(#[source] JwsError),
    #[error("the signature is not the provider's")]
    Forged,
    #[error("no published key fits the token")]
    NoKey,
    #[error("{0}")]
    Provider(#[source] ProviderError),
}

/// The time between two attempts to find the provider.
const REST: Duration = Duration::from_secs(5);
/// How long somebody waits who has to know whether the provider answers.
const PROBE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(in crate::identity) struct Provider {
    settings: Issuer,
    algorithms: Vec<Algorithm>,
    http: HttpClient,
    channel: Arc<Channel>,
    published: Published<Known>,
}

#[derive(Debug)]
struct Known {
    metadata: Arc<Metadata>,
    keys: KeySet,
}

/// An algorithm of the configuration that cannot be allowed.
#[derive(Debug)]
pub(in crate::identity) struct UnknownAlgorithm(pub(in crate::identity) String);

impl Provider {
    pub(in crate::identity) fn algorithms_of(
        settings: &Issuer,
    ) -> Result<Vec<Algorithm>, UnknownAlgorithm> {
        let read =
            |name: &String| jws::algorithm(name).ok_or_else(|| UnknownAlgorithm(name.clone()));
        settings.algorithms.iter().map(read).collect()
    }

    pub(in crate::identity) fn new(
        settings: Issuer,
        algorithms: Vec<Algorithm>,
        clock: SharedClock,
    ) -> Result<Self, HttpError> {
        let certificate = settings.client_auth.certificate();
        let http = HttpClient::with_certificate(settings.ca.as_deref(), certificate)?;
        let channel = Channel::new(&settings, http.clone(), Arc::clone(&clock));
        Ok(Self {
            http,
            channel: Arc::new(channel),
            settings,
            algorithms,
            published: Published::new(clock, REST),
        })
    }

    pub(in crate::identity) const fn settings(&self) -> &Issuer {
        &self.settings
    }

    /// Whether the provider was found since the start.
    pub(in crate::identity) fn is_known(&self) -> bool {
        self.published.is_known()
    }

    /// Reads discovery document and keys afresh.
    pub(in crate::identity) async fn refresh(&self) -> Result<(), ProviderError> {
        let known = self.read().await?;
        self.published.keep(known);
        Ok(())
    }

    /// Whether the provider answers at this moment; it is asked.
    pub(in crate::identity) async fn answers(&self) -> bool {
        let asked = tokio::time::timeout(PROBE, self.refresh()).await;
        asked.is_ok_and(|read| read.is_ok())
    }

    async fn read(&self) -> Result<Known, ProviderError> {
        let at = self.settings.discovery();
        let document = self.http.fetch(&at).await.map_err(ProviderError::Http)?;
        let metadata = Arc::new(Metadata::read(&document, &self.settings)?);
        let keys = self.read_keys(&metadata).await?;
        Ok(Known { metadata, keys })
    }

    /// What the provider publishes; asks for it if it is not known yet.
    pub(in crate::identity) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        Ok(Arc::clone(&self.known().await?.metadata))
    }

    async fn known(&self) -> Result<Arc<Known>, ProviderError> {
        let known = self.published.known(|| self.read()).await;
        known.map_err(|unknown| match unknown {
            Unknown::Resting => ProviderError::Resting,
            Unknown::Failed(error) => error,
        })
    }

    async fn read_keys(&self, metadata: &Metadata) -> Result<KeySet, ProviderError> {
        let bytes = self
            .http
            .fetch(&metadata.jwks)
            .await
            .map_err(ProviderError::Http)?;
        KeySet::parse(&bytes).ok_or(ProviderError::Keys)
    }

    /// Where to send the browser to sign in, and the PKCE verifier that stays here.
    pub(in crate::identity) async fn authorize(
        &self,
        metadata: &Metadata,
        redirect: &str,
        challenge: Challenge,
    ) -> Result<(url::Url, Secret<String>), ExchangeError> {
        exchange::authorize(self.flow(metadata, redirect), challenge).await
    }

    /// Exchanges a code for tokens.
    pub(in crate::identity) async fn exchange(
        &self,
        metadata: &Metadata,
        redirect: &str,
        code: String,
        verifier: Secret<String>,
    ) -> Result<Tokens, ExchangeError> {
        exchange::exchange(self.flow(metadata, redirect), code, verifier).await
    }

    const fn flow<'f>(&'f self, metadata: &'f Metadata, redirect: &'f str) -> Flow<'f> {
        Flow {
            settings: &self.settings,
            channel: &self.channel,
            metadata,
            redirect,
        }
    }

    /// The client for what the provider gives out to whoever has a token.
    pub(super) const fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Whether tokens that name `issuer` may be this provider's, before anything of them is verified.
    pub(in crate::identity) fn is_called(&self, issuer: &str) -> bool {
        url::Url::parse(issuer).is_ok_and(|url| url == self.settings.url)
    }

    /// The keys that the provider has to know, newest first.
    pub(in crate::identity) fn client_keys(&self) -> impl Iterator<Item = &ClientKey> {
        self.settings.client_auth.keys()
    }

    /// Renews the tokens of a session.
    pub(in crate::identity) async fn renew(
        &self,
        metadata: &Metadata,
        refresh_token: &Secret<String>,
    ) -> Result<RenewedTokens, ExchangeError> {
        // No browser is sent anywhere: any address of the issuer's own does.
        exchange::refresh(self.flow(metadata, metadata.issuer()), refresh_token).await
    }

    /// Verifies a token's signature; returns its claims, which say nothing until they are judged.
    ///
    /// If no key fits, the key set is read once more, at most every 30 seconds.
    pub(in crate::identity) async fn verified(
        &self,
        token: &str,
        kind: Kind,
    ) -> Result<(Vec<u8>, Algorithm), TokenError> {
        let jws = Jws::parse(token, kind, &self.algorithms).map_err(TokenError::Form)?;
        let known = self.known().await.map_err(TokenError::Provider)?;
        let verdict = match known.keys.verify(&jws) {
            Verdict::NoKey => {
                let fresh = self.with_fresh_keys(&known).await;
                fresh
                    .map_err(TokenError::Provider)?
                    .map_or(Verdict::NoKey, |known| known.keys.verify(&jws))
            }
            verdict @ (Verdict::Genuine | Verdict::Forged) => verdict,
        };
        match verdict {
            Verdict::Genuine => Ok((jws.payload, jws.algorithm)),
            Verdict::Forged => Err(TokenError::Forged),
            Verdict::NoKey => Err(TokenError::NoKey),
        }
    }

    /// Newer keys than `stale`, unless they were read out of turn a moment ago.
    async fn with_fresh_keys(
        &self,
        stale: &Arc<Known>,
    ) -> Result<Option<Arc<Known>>, ProviderError> {
        let newer = self.published.newer(stale, || async {
            Ok(Known {
                metadata: Arc::clone(&stale.metadata),
                keys: self.read_keys(&stale.metadata).await?,
            })
        });
        newer.await
    }
}
