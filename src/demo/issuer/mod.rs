//! The development identity provider: real `OpenID` Connect for invented people, over plain HTTP.
//!
//! Authorization code flow with PKCE (S256), password and TOTP, single sign-on, RP-initiated and
//! back-channel logout. It can be told to misbehave, so that a relying party can be tested.
//!
//! *Owns*: keys made at start, sessions, codes and tokens, all in memory.
//! *Never*: listens or connects beyond loopback.
//! *On failure*: answers 500; the reason goes to the log.

mod authorize;
mod backchannel;
mod claims;
mod client;
mod discovery;
mod exchange;
mod families;
mod handle;
mod keys;
mod login;
mod logout;
mod misbehave;
mod pages;
mod provider;
#[cfg(test)]
mod tests;
mod userinfo;

use std::{future::Future, io, sync::Arc};

use axum::{
    Router,
    http::header,
    routing::{get, post},
};
use tokio::net::TcpListener;

use self::provider::Provider;
pub use self::{client::Client, handle::IssuerHandle, keys::Retired, misbehave::Misbehave};
use super::{listen, random::RandomFailure, users::DemoUser};
use crate::clock::SharedClock;

/// The `acr` of somebody who gave a password only.
pub const ACR_PASSWORD: &str = "urn:chartgate:acr:pwd";
/// The `acr` of somebody who gave a password and a TOTP code.
pub const ACR_MFA: &str = "urn:chartgate:acr:mfa";

/// Why the provider could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// No key could be made.
    #[error("a signing key could not be made")]
    Key {
        /// What the cryptographic library said.
        source: aws_lc_rs::error::Unspecified,
    },
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomFailure),
    /// A token could not be signed.
    #[error("a token could not be signed")]
    Token(#[from] jsonwebtoken::errors::Error),
}

/// Whether a TOTP code may be used again within its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotpReplay {
    /// It may: for tests that sign the same person in several times a second.
    Accepted,
    /// It may not, as RFC 6238 section 5.2 has it.
    Refused,
}

/// What the provider is made from.
#[derive(Debug)]
pub struct IssuerOptions {
    /// The issuer identifier, such as `http://127.0.0.1:8081`, without a slash at its end.
    pub issuer_url: String,
    /// The applications that may sign people in.
    pub clients: Vec<Client>,
    /// The people.
    pub users: Vec<DemoUser>,
    /// Where times in tokens come from.
    pub clock: SharedClock,
    /// Whether a TOTP code may be used twice.
    pub totp_replay: TotpReplay,
    /// How `https` back-channel addresses are verified; without it they are not told.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// The development identity provider.
#[derive(Debug)]
pub struct Issuer {
    provider: Arc<Provider>,
}

impl Issuer {
    /// A provider with a new signing key.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn new(options: IssuerOptions) -> Result<Self, IssuerError> {
        Ok(Self {
            provider: Arc::new(Provider::new(options)?),
        })
    }

    /// The way to act on the provider while it runs.
    #[must_use]
    pub fn handle(&self) -> IssuerHandle {
        IssuerHandle::new(Arc::clone(&self.provider))
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    ///
    /// When the listener is not bound to loopback.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let closing = self.provider.closing().clone();
        listen::serve(self.router(), listener, shutdown, closing).await
    }

    fn router(self) -> Router {
        Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(discovery::configuration),
            )
            .route("/jwks", get(discovery::keys))
            .route(
                "/authorize",
                get(authorize::authorize).post(authorize::authorize),
            )
            .route("/login", get(login::form).post(login::password))
            .route("/login/code", post(login::code))
            .route("/login/cancel", post(login::cancel))
            .route("/token", post(exchange::token))
            .route(
                "/userinfo",
                get(userinfo::userinfo).post(userinfo::userinfo),
            )
            .route("/logout", get(logout::logout).post(logout::logout))
            .route("/logout/confirm", post(logout::confirmed))
            .route("/static/issuer.css", get(style))
            .with_state(self.provider)
    }
}

async fn style() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    (
        [(header::CONTENT_TYPE, "text/css")],
        include_str!("../assets/issuer.css"),
    )
}
