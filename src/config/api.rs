//! API clients: programs that prove who they are without a browser. `[[identity.api]]`,
//! `[identity.client_certificates]`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::problem::Severity;
use super::source::{Document, says};
use crate::secret::Secret;

/// Where a credential is accepted. Nowhere else is it anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Host names of EMRs, lower case. Never empty.
    pub hosts: Vec<String>,
    /// Paths by whole segments (`/fhir` is `/fhir` and all below it). Empty: every path.
    pub paths: Vec<String>,
}

impl Reach {
    /// Whether a credential is accepted at this host and path.
    #[must_use]
    pub fn covers(&self, host: &str, path: &str) -> bool {
        self.has_host(host) && (self.paths.is_empty() || self.paths.iter().any(|p| is_at(p, path)))
    }

    /// Whether it is accepted somewhere at this host.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own == host)
    }
}

/// Whether `path` is `prefix` or below it, by whole segments.
fn is_at(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Access tokens of one authorization server. `[[identity.api]]`
#[derive(Debug, Clone)]
pub struct Api {
    /// A short name: the `issuer` of its grants in `roles.toml`, and part of every client's id on record.
    pub name: String,
    /// How a token is judged.
    pub kind: ApiKind,
    /// What `aud` must name.
    pub audience: String,
    /// Private CA of the authorization server, PEM.
    pub ca: Option<PathBuf>,
    /// Where its tokens are accepted.
    pub reach: Reach,
    /// Claim value for `roles.toml`, by scope. A scope that is not here says nothing.
    pub scopes: BTreeMap<String, String>,
    /// The clients that are accepted, by client id. Empty: every client of the authorization server.
    pub clients: BTreeSet<String>,
    /// The EMR account that stands for a client, by client id.
    pub accounts: BTreeMap<String, String>,
    /// Where client id, scopes and token id stand.
    pub claims: ApiClaims,
    /// Whether a token must be bound to the client's certificate (RFC 8705 §3).
    pub require_bound: bool,
    /// Most bytes of a token. Default 8 KiB.
    pub max_token_bytes: usize,
}

/// How a token is judged.
#[derive(Debug, Clone)]
pub enum ApiKind {
    /// By its signature (RFC 9068).
    Jwt(JwtApi),
    /// By asking the authorization server (RFC 7662).
    Introspection(IntrospectionApi),
}

/// `kind = "jwt"`
#[derive(Debug, Clone)]
pub struct JwtApi {
    /// The issuer, as in `iss`.
    pub issuer: url::Url,
    /// Its key set, where it is not to be found by OpenID discovery.
    pub jwks: Option<url::Url>,
    /// Algorithms that tokens may be signed with. Never `none`, never HMAC.
    pub algorithms: Vec<String>,
    /// Whether `typ` may be missing or `JWT`, against RFC 9068 §2.1.
    pub accept_plain_typ: bool,
    /// A token older than this, by `iat`, is refused. Default 1 h.
    pub max_age: Duration,
}

/// `kind = "introspection"`
#[derive(Debug, Clone)]
pub struct IntrospectionApi {
    /// The introspection endpoint.
    pub endpoint: url::Url,
    /// What `iss` must be, where the answer has one.
    pub issuer: Option<url::Url>,
    /// Who asks.
    pub client_id: String,
    /// What the gateway proves itself with (HTTP Basic).
    pub client_secret: Secret<String>,
    /// An answer is used this long, and never beyond the token's `exp`. Default 10 s, at most 30 s.
    pub cache_ttl: Duration,
    /// Answers kept at once. Default 10 000.
    pub cache_entries: u64,
    /// The endpoint must answer within this. Default 3 s.
    pub timeout: Duration,
}

/// JSON pointers to claims that some authorization servers call otherwise. `[identity.api.claims]`
#[derive(Debug, Clone)]
pub struct ApiClaims {
    /// The client. Default `/client_id`.
    pub client: String,
    /// The scopes: a text with spaces between, or a list. Default `/scope`.
    pub scope: String,
    /// The token's id. Default `/jti`.
    pub id: String,
}

/// Client certificates. `[identity.client_certificates]`
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// A short name, as that of an [`Api`]. Default `certificates`.
    pub name: String,
    /// The CAs that issue them, PEM.
    pub ca: PathBuf,
    /// Revocation lists, PEM or DER. Where there is one, every certificate must be covered by one that is in date.
    pub crl: Vec<PathBuf>,
    /// Where a certificate alone is accepted; nowhere, where no client is mapped.
    pub reach: Option<Reach>,
    /// Who proves what by it.
    pub clients: Vec<CertificateClient>,
}

/// A client that a certificate proves. `[[identity.client_certificates.client]]`
#[derive(Debug, Clone)]
pub struct CertificateClient {
    /// The client id on record.
    pub client: String,
    /// Which certificate.
    pub names: CertificateName,
    /// Claim values for `roles.toml`.
    pub roles: Vec<String>,
    /// The EMR account that stands for the client.
    pub account: Option<String>,
}

/// What tells one certificate of a CA from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// A URI in `subjectAltName`.
    Uri(String),
    /// A DNS name in `subjectAltName`, lower case.
    Dns(String),
    /// The whole subject, `CN=mirth, O=Hospital`, in the order of the certificate.
    Subject(String),
    /// SHA-256 of the certificate.
    Fingerprint([u8; 32]),
}

/// Checks what only API clients, issuers and EMRs together can get wrong.
pub(super) fn check(document: &Document<'_>, config: &Config) {
    let refuse = |key: &str, message: String, remedy: &str| {
        document.at(Severity::Error, key, says(message, remedy));
    };
    let issuers = config.identity.issuers.iter().map(|i| i.name.as_str());
    let mut names: BTreeSet<&str> = issuers.collect();
    let apis = config.identity.api.iter().enumerate();
    let certificates = config.identity.client_certificates.as_ref();
    let sources = apis
        .map(|(index, api)| {
            (
                format!("identity.api[{index}]"),
                &api.name,
                Some(&api.reach),
            )
        })
        .chain(certificates.map(|own| {
            let key = "identity.client_certificates".to_owned();
            (key, &own.name, own.reach.as_ref())
        }));
    for (key, name, reach) in sources {
        // SECURITY: the name is the first half of every id; two sources of one name could speak for each other.
        if !names.insert(name) {
            let message = format!("`{name}` names two sources of identity");
            let remedy = "give each issuer, each API and the client certificates a name of its own";
            refuse(&format!("{key}.name"), message, remedy);
        }
        let hosts = reach
            .map(|reach| reach.hosts.as_slice())
            .unwrap_or_default();
        for host in hosts {
            let known = config.emrs.iter().any(|emr| emr.hosts.contains(host));
            if !known {
                let message = format!("no EMR is served as `{host}`");
                let remedy = "name hosts that stand in `hosts` of an `[[emr]]`";
                refuse(&format!("{key}.hosts"), message, remedy);
            }
        }
    }
    doubles(config, refuse);
    if certificates.is_none() {
        for (index, api) in config.identity.api.iter().enumerate() {
            if api.require_bound {
                let message =
                    "tokens must be bound to a certificate, and no client is asked for one";
                let remedy =
                    "add `[identity.client_certificates]` with `ca`, or leave `require_bound` out";
                let key = format!("identity.api[{index}].require_bound");
                refuse(&key, message.to_owned(), remedy);
            }
        }
    }
}

/// Two APIs that could both judge one token.
fn doubles(config: &Config, refuse: impl Fn(&str, String, &str)) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (index, api) in config.identity.api.iter().enumerate() {
        let judge = match &api.kind {
            ApiKind::Jwt(jwt) => jwt.issuer.as_str(),
            ApiKind::Introspection(_) => "",
        };
        for host in &api.reach.hosts {
            if let Some(first) = seen.insert((host, judge), &api.name) {
                let message = format!(
                    "`{first}` and `{}` judge the same tokens at `{host}`",
                    api.name
                );
                let remedy =
                    "keep one API for each issuer, and one with introspection, at each host";
                refuse(&format!("identity.api[{index}].hosts"), message, remedy);
            }
        }
        let plain = matches!(&api.kind, ApiKind::Jwt(jwt) if jwt.accept_plain_typ);
        let is_sign_in = |issuer: &super::Issuer| issuer.client_id == api.audience;
        // SECURITY: an ID token has no `typ` that tells it from a plain access token; only its audience does.
        if plain && config.identity.issuers.iter().any(is_sign_in) {
            let message = format!("`{}` is the audience of ID tokens too", api.audience);
            let remedy = "have access tokens issued for an audience of their own, or leave `accept_plain_typ` out";
            refuse(&format!("identity.api[{index}].audience"), message, remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_by_whole_segments() {
        let reach = Reach {
            hosts: vec!["emr.example".to_owned()],
            paths: vec!["/fhir/".to_owned(), "/api/v1".to_owned()],
        };
        for (host, path, covered) in [
            ("emr.example", "/fhir", true),
            ("emr.example", "/fhir/Patient/4", true),
            ("emr.example", "/api/v1/x", true),
            ("emr.example", "/fhirx", false),
            ("emr.example", "/api", false),
            ("emr.example", "/", false),
            ("other.example", "/fhir", false),
        ] {
            assert_eq!(reach.covers(host, path), covered, "{host} {path}");
        }
        let anywhere = Reach {
            paths: Vec::new(),
            ..reach
        };
        assert!(anywhere.covers("emr.example", "/"));
    }
}
