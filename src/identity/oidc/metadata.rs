//! What is used of a provider's discovery document (OIDC Discovery §3, RFC 8414, RFC 8705, RFC 9126, RFC 9207).
//!
//! *Never*: an address in clear to another machine, wherever the document leads.

use serde::{Deserialize, Deserializer};
use url::Url;

use super::provider::ProviderError;
use crate::config::Issuer;
use crate::config::issuer::ClientAuth;
use crate::outbound::is_this_machine;

/// The document. Other members are not read, so that one that is odd does not keep everyone from signing in.
#[derive(Debug, Deserialize)]
struct Published {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    end_session_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "where_it_is_one")]
    pushed_authorization_request_endpoint: Option<Url>,
    #[serde(default)]
    require_pushed_authorization_requests: Option<bool>,
    #[serde(default, deserialize_with = "where_it_is_one")]
    userinfo_endpoint: Option<Url>,
    #[serde(default)]
    mtls_endpoint_aliases: Aliases,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Addresses for clients that show a certificate (RFC 8705 §5).
#[derive(Debug, Default, Deserialize)]
struct Aliases {
    #[serde(
        default,
        rename = "token_endpoint",
        deserialize_with = "where_it_is_one"
    )]
    token: Option<Url>,
    #[serde(
        default,
        rename = "pushed_authorization_request_endpoint",
        deserialize_with = "where_it_is_one"
    )]
    pushed: Option<Url>,
    #[serde(
        default,
        rename = "userinfo_endpoint",
        deserialize_with = "where_it_is_one"
    )]
    userinfo: Option<Url>,
}

/// A URL that not everyone needs: where it is none, those who do are told so.
fn where_it_is_one<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| value.as_str()?.parse().ok()))
}

/// A provider's addresses, as this gateway and its users' browsers reach them.
#[derive(Debug)]
pub(in crate::identity) struct Metadata {
    issuer: String,
    pub(super) authorization: Url,
    end_session: Option<Url>,
    /// As published: what the audience of a client assertion may have to be.
    pub(super) token_published: Url,
    pub(super) token: Url,
    pub(super) jwks: Url,
    pub(super) pushed: Option<Url>,
    pub(super) demands_pushed: bool,
    pub(super) userinfo: Option<Url>,
    names_itself: bool,
}

impl Metadata {
    /// The issuer, spelled as in its tokens.
    pub(in crate::identity) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(in crate::identity) const fn end_session(&self) -> Option<&Url> {
        self.end_session.as_ref()
    }

    /// Whether a callback's `iss` parameter (or its absence) is this provider's (RFC 9207 §2.4).
    pub(in crate::identity) fn may_call_back_with(&self, iss: Option<&str>) -> bool {
        iss.map_or(!self.names_itself, |iss| iss == self.issuer)
    }

    pub(super) fn read(bytes: &[u8], settings: &Issuer) -> Result<Self, ProviderError> {
        let found: Published = serde_json::from_slice(bytes)
            .map_err(|source| ProviderError::Metadata(source.to_string()))?;
        // The configuration's URL is normalised, so a missing final slash of a bare host is no difference. From here
        // on the document's own spelling counts, to the byte.
        let named = Url::parse(&found.issuer).ok();
        if named.as_ref() != Some(&settings.url) {
            return Err(ProviderError::OtherIssuer(found.issuer));
        }
        let aliases = match settings.client_auth {
            ClientAuth::Tls(_) => found.mtls_endpoint_aliases,
            ClientAuth::SecretBasic(_)
            | ClientAuth::SecretPost(_)
            | ClientAuth::PrivateKeyJwt { .. } => Aliases::default(),
        };
        let token = aliases.token;
        let token = token.unwrap_or_else(|| found.token_endpoint.clone());
        let pushed = aliases
            .pushed
            .or(found.pushed_authorization_request_endpoint);
        let userinfo = aliases.userinfo.or(found.userinfo_endpoint);
        let metadata = Self {
            issuer: found.issuer,
            authorization: settings.outward(&found.authorization_endpoint),
            end_session: found.end_session_endpoint.map(|url| settings.outward(&url)),
            token: settings.inward(&token),
            token_published: found.token_endpoint,
            jwks: settings.inward(&found.jwks_uri),
            pushed: pushed.map(|url| settings.inward(&url)),
            demands_pushed: found.require_pushed_authorization_requests == Some(true),
            userinfo: userinfo.map(|url| settings.inward(&url)),
            names_itself: found.authorization_response_iss_parameter_supported,
        };
        metadata.check(settings)?;
        Ok(metadata)
    }

    fn check(&self, settings: &Issuer) -> Result<(), ProviderError> {
        let endpoints = [
            Some(&self.authorization),
            Some(&self.token),
            Some(&self.jwks),
            self.end_session.as_ref(),
            self.pushed.as_ref(),
            self.userinfo.as_ref(),
        ];
        for endpoint in endpoints.into_iter().flatten() {
            let is_internal = settings
                .internal_url
                .as_ref()
                .is_some_and(|internal| internal.origin() == endpoint.origin());
            let is_fine = match endpoint.scheme() {
                "https" => true,
                // SECURITY: a provider with TLS must not lead to one without. (That `internal_url` has none on
                // loopback only was seen to when it was read.)
                "http" => {
                    (settings.url.scheme() == "http" || is_internal)
                        && endpoint.host_str().is_some_and(is_this_machine)
                }
                _ => false,
            };
            if !is_fine {
                return Err(ProviderError::Metadata(format!(
                    "`{endpoint}` is not an https address"
                )));
            }
        }
        Ok(())
    }
}
