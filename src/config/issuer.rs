//! One OpenID provider and this gateway as its client. `[[identity.issuer]]`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Certificate;
use super::client_key::ClientKey;
use super::refresh::{LogoutTolerance, Refresh};
use super::step_up::PhishingResistant;
use crate::secret::Secret;

/// An OpenID provider. `[[identity.issuer]]`
#[derive(Debug, Clone)]
pub struct Issuer {
    /// A short name; part of every user id on record. Unique.
    pub name: String,
    /// What the page on which users choose their provider calls it; only where it was written.
    pub label: Option<String>,
    /// The issuer URL exactly as in its tokens.
    pub url: url::Url,
    /// Scheme, host and port at which this gateway itself reaches the provider. Default: those of `url`.
    pub internal_url: Option<url::Url>,
    /// Private CA of the provider, PEM.
    pub ca: Option<PathBuf>,
    /// Client id.
    pub client_id: String,
    /// How the gateway proves to the provider that it is this client.
    pub client_auth: ClientAuth,
    /// Scopes beside `openid`.
    pub scopes: Vec<String>,
    /// Algorithms that ID tokens may be signed with. Never `none`, never HMAC.
    pub algorithms: Vec<String>,
    /// `acr_values` to ask for at sign-in.
    pub request_acr: Vec<String>,
    /// The `claims` parameter (OIDC Core §5.5), a JSON object.
    pub request_claims: Option<String>,
    /// Further parameters of the authorization request, none of which the gateway sets itself.
    pub parameters: BTreeMap<String, String>,
    /// Whether the authorization request is pushed (RFC 9126).
    pub par: Par,
    /// Where the provider sends the browser back to.
    pub callback: Callback,
    /// Where this provider is for.
    pub serves: Serves,
    /// What proves a second factor. Names nothing where users of the issuer have the gateway's own, and only that.
    pub mfa: MfaEvidence,
    /// What its claims say of a person.
    pub claims: ClaimMapping,
    /// Whether claims that the ID token lacks are fetched from UserInfo (OIDC Core §5.3).
    pub userinfo: bool,
    /// Where groups are read that did not fit into the token; without it such a sign-in is refused.
    pub groups_endpoint: Option<url::Url>,
    /// What of a group there is its value (JSON pointer). Default `/id`.
    pub groups_value: String,
    /// Tolerated difference between the provider's clock and ours. Default: that of `[identity]`.
    pub clock_leeway: Duration,
    /// How often what it says of a person is read again. Never, without.
    pub refresh: Option<Refresh>,
    /// What is tolerated in its logout tokens.
    pub logout: LogoutTolerance,
}

impl Issuer {
    /// Where this gateway reaches what the provider has at `address`.
    #[must_use]
    pub fn inward(&self, address: &url::Url) -> url::Url {
        match &self.internal_url {
            Some(internal) if address.origin() == self.url.origin() => moved(address, internal),
            Some(_) | None => address.clone(),
        }
    }

    /// Where a browser reaches what the provider has at `address`.
    #[must_use]
    pub fn outward(&self, address: &url::Url) -> url::Url {
        match &self.internal_url {
            Some(internal) if address.origin() == internal.origin() => moved(address, &self.url),
            Some(_) | None => address.clone(),
        }
    }

    /// Where the provider describes itself (OIDC Discovery §4), as this gateway reaches it.
    #[must_use]
    pub fn discovery(&self) -> url::Url {
        let mut url = self.inward(&self.url);
        let path = format!(
            "{}/.well-known/openid-configuration",
            url.path().trim_end_matches('/')
        );
        url.set_path(&path);
        url
    }
}

/// `address` with scheme, host and port of `origin`.
fn moved(address: &url::Url, origin: &url::Url) -> url::Url {
    let mut moved = origin.clone();
    moved.set_path(address.path());
    moved.set_query(address.query());
    moved
}

/// How a client proves itself (OIDC Core §9, RFC 8705). Each secret may have a predecessor that still works, so that
/// it can be replaced without a failed sign-in.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// `client_secret_basic`
    SecretBasic(Rotating<Secret<String>>),
    /// `client_secret_post`
    SecretPost(Rotating<Secret<String>>),
    /// `private_key_jwt`
    PrivateKeyJwt {
        /// The keys.
        keys: Box<Rotating<ClientKey>>,
        /// What the assertion's `aud` is.
        audience: AssertionAudience,
    },
    /// `tls_client_auth`, and `self_signed_tls_client_auth`, which is the same on this side.
    Tls(Certificate),
}

impl ClientAuth {
    /// Its name in the configuration and in the registries of OAuth.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SecretBasic(_) => "client_secret_basic",
            Self::SecretPost(_) => "client_secret_post",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
            Self::Tls(_) => "tls_client_auth",
        }
    }

    /// The certificate that is shown to the provider.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Tls(certificate) => Some(certificate),
            Self::SecretBasic(_) | Self::SecretPost(_) | Self::PrivateKeyJwt { .. } => None,
        }
    }

    /// The keys that the provider has to know, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &ClientKey> {
        let keys = match self {
            Self::PrivateKeyJwt { keys, .. } => Some(&**keys),
            Self::SecretBasic(_) | Self::SecretPost(_) | Self::Tls(_) => None,
        };
        keys.into_iter().flat_map(Rotating::newest_first)
    }
}

/// Something secret and, while it is being replaced, what it was before.
#[derive(Debug, Clone)]
pub struct Rotating<T> {
    /// What is used.
    pub current: T,
    /// What is tried where the provider does not know `current` (yet).
    pub previous: Option<T>,
}

impl<T> Rotating<T> {
    /// Both, the newer first.
    pub fn newest_first(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// The audience of a client assertion. RFC 7523 left it open, and providers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer identifier, as the update of RFC 7523 demands.
    Issuer,
    /// The address of the token endpoint.
    TokenEndpoint,
}

/// Whether authorization requests are pushed (RFC 9126).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Par {
    /// Where the provider publishes an endpoint for it.
    Auto,
    /// Always: without an endpoint nobody signs in.
    Required,
    /// Only where the provider itself demands it.
    Off,
}

/// Where a provider sends the browser back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// `/.chartgate/callback`
    Shared,
    /// `/.chartgate/callback/NAME`: an address for this issuer alone, which tells the answers of several providers
    /// apart where they do not name themselves (RFC 9700 §4.4.2).
    Own,
}

/// Where a provider is for.
#[derive(Debug, Clone, Default)]
pub struct Serves {
    /// The hosts at which its users may work; every host where empty.
    pub hosts: Vec<String>,
    /// The domains of its users' e-mail addresses, lower case.
    pub email_domains: Vec<String>,
}

impl Serves {
    /// Whether its users may work at `host`.
    #[must_use]
    pub fn host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|served| served == host)
    }
}

/// What counts as proof of a second factor. At least one list is not empty.
#[derive(Debug, Clone)]
pub struct MfaEvidence {
    /// Any of these `acr` values.
    pub acr: Vec<String>,
    /// All values of any of these `amr` sets.
    pub amr: Vec<Vec<String>>,
    /// Whether `acr` and `amr` must both hold, or either.
    pub require: MfaRequire,
    /// What counts as proof of a phishing-resistant factor.
    pub phishing_resistant: PhishingResistant,
}

/// How [`MfaEvidence`]'s lists combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaRequire {
    /// One of the configured lists is enough.
    Any,
    /// Every configured list must hold.
    All,
}

/// What a provider's claims say of a person. Claims are named by JSON pointer (RFC 6901).
#[derive(Debug, Clone)]
pub struct ClaimMapping {
    /// The stable identifier. Default `/sub`.
    pub subject: String,
    /// The user name. Default `/preferred_username`, else the subject.
    pub name: String,
    /// Taken off the end of a user name, after an `@`; then a name must have an `@`.
    pub name_strip_domain: Option<String>,
    /// Put at the end of a user name, so that it is not the name of another provider's user.
    pub name_suffix: Option<String>,
    /// The values that `roles.toml` maps to roles. At least one claim.
    pub roles: Vec<String>,
    /// The e-mail address must be one of these domains; any, and none, where empty.
    pub require_email_domains: Vec<String>,
    /// The claim with that address. Default `/email`.
    pub email: String,
    /// The department.
    pub department: Option<String>,
    /// What the values of the department's claim are called here; where empty, as the provider calls them.
    pub departments: BTreeMap<String, String>,
    /// The date until which the user's training holds, where the provider states one.
    pub training: Option<String>,
}

impl ClaimMapping {
    /// The default mapping, with this claim for roles.
    #[must_use]
    pub fn with_roles(roles: &str) -> Self {
        Self {
            subject: "/sub".to_owned(),
            name: "/preferred_username".to_owned(),
            name_strip_domain: None,
            name_suffix: None,
            roles: vec![roles.to_owned()],
            require_email_domains: Vec::new(),
            email: "/email".to_owned(),
            department: None,
            departments: BTreeMap::new(),
            training: None,
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Issuer {
    /// An issuer for tests: at `url`, with a secret, and `acr` or `amr` as told.
    #[must_use]
    pub fn for_test(url: &str, mfa: MfaEvidence) -> Self {
        Self {
            name: "staff".to_owned(),
            label: None,
            url: url.parse().unwrap_or_else(|_| std::process::abort()),
            internal_url: None,
            ca: None,
            client_id: "gateway".to_owned(),
            client_auth: ClientAuth::SecretBasic(Rotating {
                current: Secret::new(String::new()),
                previous: None,
            }),
            scopes: Vec::new(),
            algorithms: Vec::new(),
            request_acr: Vec::new(),
            request_claims: None,
            parameters: BTreeMap::new(),
            par: Par::Auto,
            callback: Callback::Shared,
            serves: Serves::default(),
            mfa,
            claims: ClaimMapping::with_roles("/groups"),
            userinfo: false,
            groups_endpoint: None,
            groups_value: "/id".to_owned(),
            clock_leeway: Duration::from_mins(1),
            refresh: None,
            logout: LogoutTolerance::default(),
        }
    }
}
