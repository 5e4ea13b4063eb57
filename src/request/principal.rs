//! Who acts, and how strongly that is proven.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A role of the policy bundle (`physician`, `nurse`, …).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(Arc<str>);

impl Role {
    /// The role called `name` in the bundle.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name in the bundle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Someone or something that acts; an identity is never without its strength.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Principal {
    /// A person who signed in.
    User(User),
    /// A program that proved itself by a token or a certificate.
    Service(Service),
}

impl Principal {
    /// The roles that policy sees.
    #[must_use]
    pub const fn roles(&self) -> &BTreeSet<Role> {
        match self {
            Self::User(user) => &user.roles,
            Self::Service(service) => &service.roles,
        }
    }

    /// The stable identifier, unique across issuers: `issuer name|subject`.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::User(user) => user.id(),
            Self::Service(service) => service.id(),
        }
    }

    /// The name a person would recognise.
    #[must_use]
    pub fn display(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Service(service) => &service.client,
        }
    }

    /// The name that an EMR may be told: a user's own, or the account that the configuration gives a client.
    ///
    /// SECURITY: a client id is chosen in another place than user names are. Told as a name, the client `admin` would
    /// be the EMR's user `admin`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.name),
            Self::Service(service) => service.account.as_deref(),
        }
    }

    /// The department, where the issuer states one.
    #[must_use]
    pub fn department(&self) -> Option<&str> {
        match self {
            Self::User(user) => user.department.as_deref(),
            Self::Service(_) => None,
        }
    }

    /// How the identity was proven.
    #[must_use]
    pub const fn proof(&self) -> &Proof {
        match self {
            Self::User(user) => &user.proof,
            Self::Service(service) => &service.proof,
        }
    }
}

/// A person, as one issuer knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The issuer's `sub`.
    pub subject: String,
    /// The user name: the claim that the issuer's configuration names.
    pub name: String,
    /// The roles that `roles.toml` grants for the issuer's claims.
    pub roles: BTreeSet<Role>,
    /// How the identity was proven.
    pub proof: Proof,
    /// The department: what the issuer's configuration makes of the claim that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
}

impl User {
    /// The stable identifier, unique across issuers.
    #[must_use]
    pub fn id(&self) -> String {
        [self.issuer.as_str(), "|", self.subject.as_str()].concat()
    }
}

/// A program, as one API of the configuration knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The API's name in the configuration.
    pub issuer: String,
    /// The client id.
    pub client: String,
    /// The token's `sub`, where it is not the client itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The EMR account that stands for the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The roles that `roles.toml` grants.
    pub roles: BTreeSet<Role>,
    /// What the client proved itself with.
    pub credential: Credential,
    /// What policy sees of that: a program has no second factor and never signed in.
    pub proof: Proof,
}

impl Service {
    /// The stable identifier, unique across APIs and issuers: no API has the name of an issuer.
    #[must_use]
    pub fn id(&self) -> String {
        [self.issuer.as_str(), "|", self.client.as_str()].concat()
    }
}

/// What a program proved itself with. Never the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its kind.
    pub kind: CredentialKind,
    /// A fingerprint: of a token's id (`jti`), of a token without one, or of the certificate. Lower-case hex.
    pub fingerprint: String,
    /// Whether it works only together with the client's private key.
    pub bound: bool,
}

/// Kinds of credentials of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A signed access token (RFC 9068).
    Jwt,
    /// An access token that its authorization server was asked about (RFC 7662).
    Introspected,
    /// A client certificate.
    Certificate,
}

impl CredentialKind {
    /// The word in metrics and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Introspected => "introspected",
            Self::Certificate => "certificate",
        }
    }
}

/// The strength of a sign-in, as the provider stated and the issuer's configuration judged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// `acr` (OIDC Core §2), if the provider sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// `amr` (RFC 8176), as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Whether this counts as multi-factor for this issuer.
    pub mfa: bool,
    /// When the user authenticated; `None` when the provider did not say (or said 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// Whether a factor counts as phishing-resistant for this issuer; false in what was stored before that was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub phishing_resistant: bool,
}
