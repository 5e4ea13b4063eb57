//! API clients: who asks without a browser, by access token (JWT or introspected) or client certificate.
//!
//! *Owns*: the keys of authorization servers, answers of introspection endpoints, the client CA with its revocation
//! lists, the list of revoked tokens.
//! *Never*: a token where it is not meant to work; a token beside a session; a certificate that is presented and bad,
//! yet passes as none.
//! *On failure*: an authorization server that does not answer refuses with `CG-2006`; everything else with `CG-2018`
//! (not good) or `CG-2019` (not here). The reason is logged under the request id and told to nobody.

mod bearer;
mod certificate;
mod claims;
mod introspect;
mod issuer;
mod revoked;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tests reckon with small constants"
)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use rustls::DistinguishedName;

use super::IdentityError;
use super::cookie::Presented as Session;
use super::routes::is_own;
use crate::clock::SharedClock;
use crate::config;
use crate::config::api::{ApiKind, Reach};
use crate::refusal::Refusal;
use crate::request::credentials::{self, Presented};
use crate::request::principal::{Credential, CredentialKind};
use crate::request::received::Parts;
use crate::secret::Secret;
use crate::telemetry::metrics as names;

use bearer::Jwt;
use certificate::Certificates;
use claims::Granted;
use introspect::Introspection;
use revoked::Revoked;
pub use revoked::{Mark, RevokedTokens};

/// Why there is no client. What it says is for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// The credential is not good.
    #[error("{1}")]
    Refused(Kind, &'static str),
    /// The credential is not accepted here, or not in this company.
    #[error("{0}")]
    Misplaced(&'static str),
    /// Nobody can say whether the credential is good.
    #[error("{1}")]
    Unavailable(Kind, &'static str),
}

/// What kind of credential it was, as far as that was found out.
type Kind = Option<CredentialKind>;

impl ApiError {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::Refused(..) => Refusal::TokenRefused,
            Self::Misplaced(_) => Refusal::CredentialNotAccepted,
            Self::Unavailable(..) => Refusal::ProviderUnavailable,
        }
    }

    /// Counts it.
    pub(super) fn count(self) {
        match self {
            Self::Refused(kind, _) => count(kind, "refused"),
            Self::Misplaced(_) => count(None, "misplaced"),
            Self::Unavailable(kind, _) => count(kind, "unavailable"),
        }
    }
}

/// Counts a credential by what became of it.
pub(super) fn count(kind: Kind, outcome: &'static str) {
    let kind = kind.map_or("none", CredentialKind::word);
    metrics::counter!(names::API_TOKENS, "kind" => kind, "outcome" => outcome).increment(1);
}

/// A client whose credential is good; not yet asked for: roles, revocations, locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// The API's name.
    pub(super) issuer: String,
    /// The client id.
    pub(super) name: String,
    /// `sub`, where it is not the client.
    pub(super) subject: Option<String>,
    /// Its EMR account.
    pub(super) account: Option<String>,
    /// What `roles.toml` maps.
    pub(super) role_values: Vec<String>,
    /// What it proved itself with.
    pub(super) credential: Credential,
    /// `jti`, for the list of revoked tokens.
    pub(super) token_id: Option<String>,
    /// When the proof ends.
    pub(super) expires: Timestamp,
}

/// One API of the configuration.
#[derive(Debug)]
struct Block {
    settings: config::api::Api,
    judge: Judge,
}

#[derive(Debug)]
enum Judge {
    Jwt(Box<Jwt>),
    Introspection(Box<Introspection>),
}

/// Every API of the configuration.
#[derive(Debug)]
pub(super) struct Apis {
    blocks: Vec<Block>,
    certificates: Option<Certificates>,
    revoked: Revoked,
    clock: SharedClock,
}

impl Apis {
    /// Sets the APIs up. Authorization servers need not answer yet; the files of certificates must be in order.
    pub(super) fn new(
        config: &config::Identity,
        clock: &SharedClock,
    ) -> Result<Self, IdentityError> {
        let block = |settings: &config::api::Api| {
            let problem = |problem: String| IdentityError::Api {
                api: settings.name.clone(),
                problem,
            };
            let judge = match &settings.kind {
                ApiKind::Jwt(jwt) => Jwt::new(jwt, settings, config.clock_leeway, clock)
                    .map(Box::new)
                    .map(Judge::Jwt),
                ApiKind::Introspection(asked) => {
                    Introspection::new(asked, settings, config.clock_leeway, clock)
                        .map(Box::new)
                        .map(Judge::Introspection)
                }
            };
            Ok(Block {
                judge: judge.map_err(problem)?,
                settings: settings.clone(),
            })
        };
        let certificates = config.client_certificates.as_ref().map(|settings| {
            Certificates::load(settings, clock).map_err(|problem| IdentityError::Api {
                api: settings.name.clone(),
                problem,
            })
        });
        Ok(Self {
            blocks: config.api.iter().map(block).collect::<Result<_, _>>()?,
            certificates: certificates.transpose()?,
            revoked: Revoked::default(),
            clock: Arc::clone(clock),
        })
    }

    /// Whether a request could come from a client at all: most do not, and go on without a look.
    pub(super) fn may_concern(&self, parts: &Parts) -> bool {
        let has_certificate = parts.connection.certificate.is_some();
        (has_certificate && self.certificates.is_some()) || self.is_near(parts)
    }

    /// Finds out which client asks. `None`: none, so that the session decides.
    pub(super) async fn client(
        &self,
        parts: &Parts,
        session: &Session,
    ) -> Result<Option<Client>, ApiError> {
        // SECURITY: a certificate that is presented and not good ends the request, whatever else it carries.
        let mapped = match (&self.certificates, &parts.connection.certificate) {
            (Some(own), Some(presented)) => own.client(presented, self.clock.now())?,
            (Some(_) | None, _) => None,
        };
        let alone = match session {
            Session::Nothing => true,
            Session::One(_) | Session::Malformed => false,
        };
        match credentials::presented(&parts.headers) {
            Presented::Bearer(token) => self.by_token(parts, alone, Some(token)).await,
            Presented::Malformed => self.by_token(parts, alone, None).await,
            Presented::Proof if self.is_near(parts) && (alone || self.is_here(parts)) => {
                Err(ApiError::Misplaced("DPoP tokens are not understood"))
            }
            Presented::Nothing | Presented::Other
                if alone && self.is_here(parts) && credentials::is_in_address(&parts.target) =>
            {
                Err(ApiError::Misplaced("a token in the address"))
            }
            Presented::Proof | Presented::Nothing | Presented::Other => {
                self.by_certificate(parts, alone, mapped)
            }
        }
    }

    /// Judges a bearer token, if that is what it can be here. `None` stands for one that is malformed.
    async fn by_token(
        &self,
        parts: &Parts,
        alone: bool,
        token: Option<Secret<String>>,
    ) -> Result<Option<Client>, ApiError> {
        if !self.is_near(parts) {
            return Ok(None);
        }
        if !self.is_here(parts) {
            // Beside a session, it is the EMR's own token for a page of the EMR.
            return if alone || is_own(&parts.target) {
                Err(ApiError::Misplaced(
                    "a bearer token is not accepted at this path",
                ))
            } else {
                Ok(None)
            };
        }
        if !alone {
            // SECURITY: who acts would be the choice of whoever added one of the two.
            return Err(ApiError::Misplaced("a bearer token beside a session"));
        }
        if credentials::is_in_address(&parts.target) {
            return Err(ApiError::Misplaced(
                "two tokens, one of them in the address",
            ));
        }
        if parts.upgrade_to.is_some() {
            return Err(ApiError::Misplaced("a WebSocket lives in a session"));
        }
        let token = token.ok_or(ApiError::Refused(None, "no bearer token in proper form"))?;
        let token = token.expose().as_str();
        let block = self.judge_of(parts, token)?;
        let most = block.settings.max_token_bytes;
        if token.len() > most {
            return Err(ApiError::Refused(
                None,
                "the token is longer than `max_token_bytes`",
            ));
        }
        let (kind, granted) = match &block.judge {
            Judge::Jwt(jwt) => (CredentialKind::Jwt, jwt.judge(token).await?),
            Judge::Introspection(asked) => {
                (CredentialKind::Introspected, asked.judge(token).await?)
            }
        };
        block.client(kind, granted, token, parts).map(Some)
    }

    /// The API that judges this token: by the issuer that it names, which proves nothing yet, or by asking.
    fn judge_of(&self, parts: &Parts, token: &str) -> Result<&Block, ApiError> {
        let here = || self.blocks.iter().filter(|block| block.is_here(parts));
        let named = bearer::named_issuer(token);
        let of_issuer = named.and_then(|named| {
            here().find(|block| match &block.judge {
                Judge::Jwt(jwt) => jwt.is_of(&named),
                Judge::Introspection(_) => false,
            })
        });
        of_issuer
            .or_else(|| {
                here().find(|block| match &block.judge {
                    Judge::Jwt(_) => false,
                    Judge::Introspection(_) => true,
                })
            })
            .ok_or(ApiError::Refused(
                None,
                "nobody here judges tokens of this issuer",
            ))
    }

    fn by_certificate(
        &self,
        parts: &Parts,
        alone: bool,
        mapped: Option<Client>,
    ) -> Result<Option<Client>, ApiError> {
        let Some(client) = mapped else {
            return Ok(None);
        };
        let reach = self.certificates.as_ref().and_then(Certificates::reach);
        match (reach.is_some_and(|reach| is_here(reach, parts)), alone) {
            (true, true) if parts.upgrade_to.is_some() => {
                Err(ApiError::Misplaced("a WebSocket lives in a session"))
            }
            (true, true) => Ok(Some(client)),
            (true, false) => Err(ApiError::Misplaced(
                "a client's certificate beside a session",
            )),
            (false, true) => Err(ApiError::Misplaced(
                "the certificate is not accepted at this path",
            )),
            (false, false) => Ok(None),
        }
    }

    /// Whether tokens, or certificates alone, are accepted somewhere at this host.
    fn is_near(&self, parts: &Parts) -> bool {
        let certificates = self.certificates.as_ref().and_then(Certificates::reach);
        let tokens = self.blocks.iter().map(|block| &block.settings.reach);
        tokens
            .chain(certificates)
            .any(|reach| reach.has_host(&parts.host))
    }

    /// Whether tokens are accepted at this very place.
    fn is_here(&self, parts: &Parts) -> bool {
        self.blocks.iter().any(|block| block.is_here(parts))
    }

    /// Whether a client's token was revoked.
    pub(super) fn is_revoked(&self, client: &Client) -> bool {
        self.revoked.holds(client, self.clock.now())
    }

    pub(super) fn revoke(&self, tokens: RevokedTokens) {
        self.revoked.replace(tokens);
    }

    /// The CAs whose certificates clients are asked for.
    pub(super) fn client_issuers(&self) -> Option<Vec<DistinguishedName>> {
        self.certificates.as_ref().map(Certificates::issuers)
    }

    /// Reads the client CA and the revocation lists again. Says whether that was possible.
    pub(super) fn reload(&self) -> Result<(), String> {
        self.certificates
            .as_ref()
            .map_or(Ok(()), Certificates::reload)
    }

    /// Keeps keys and revocation lists fresh; never ends.
    pub(super) async fn keep_fresh(&self) {
        let keys = self.blocks.iter().filter_map(|block| match &block.judge {
            Judge::Jwt(jwt) => Some(jwt.keep_fresh(&block.settings.name)),
            Judge::Introspection(_) => None,
        });
        let files = async {
            if let Some(certificates) = &self.certificates {
                certificates.keep_fresh().await;
            }
        };
        futures_util::future::join(join_all(keys), files).await;
    }
}

impl Block {
    fn is_here(&self, parts: &Parts) -> bool {
        is_here(&self.settings.reach, parts)
    }

    /// What a good token comes to with this API's settings.
    fn client(
        &self,
        kind: CredentialKind,
        granted: Granted,
        token: &str,
        parts: &Parts,
    ) -> Result<Client, ApiError> {
        let refused = |why| Err(ApiError::Refused(Some(kind), why));
        let settings = &self.settings;
        if !settings.clients.is_empty() && !settings.clients.contains(&granted.client) {
            return refused("the client is not among `clients`");
        }
        let presented = parts.connection.certificate.as_ref();
        let bound = match (granted.bound, presented) {
            (Some(thumbprint), Some(certificate)) if thumbprint == *certificate.thumbprint() => {
                true
            }
            (Some(_), _) => {
                return refused("the token is bound to a certificate that did not come");
            }
            (None, _) if settings.require_bound => return refused("the token is not bound"),
            (None, _) => false,
        };
        let role_values = granted
            .scopes
            .iter()
            .filter_map(|scope| settings.scopes.get(scope).cloned())
            .collect();
        Ok(Client {
            issuer: settings.name.clone(),
            account: settings.accounts.get(&granted.client).cloned(),
            name: granted.client,
            subject: granted.subject,
            role_values,
            credential: Credential {
                kind,
                fingerprint: fingerprint(granted.id.as_deref().unwrap_or(token)),
                bound,
            },
            token_id: granted.id,
            expires: granted.expires,
        })
    }
}

fn is_here(reach: &Reach, parts: &Parts) -> bool {
    !is_own(&parts.target) && reach.covers(&parts.host, parts.target.path())
}

/// What stands for a token or its id on record: half of a SHA-256, lower-case hex.
fn fingerprint(of: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
    let half = digest.as_ref().split_at_checked(16);
    half.map_or_else(String::new, |(half, _)| hex::encode(half))
}

/// The longest that anything of an authorization server is waited for before it is asked again after a failure.
const REST: Duration = Duration::from_secs(1);
