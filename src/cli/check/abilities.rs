//! Whether a provider can do what its `[[identity.issuer]]` asks of it, by its discovery document.

use serde::Deserialize;

use crate::config::Issuer;
use crate::config::issuer::{Callback, ClientAuth, Par};
use crate::config::problem::Severity;
use crate::config::source::{Document, says};

/// The part of a discovery document that is about abilities. What is left out there is not known, and not a problem.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Abilities {
    token_endpoint_auth_methods_supported: Vec<String>,
    pushed_authorization_request_endpoint: Option<String>,
    require_pushed_authorization_requests: bool,
    userinfo_endpoint: Option<String>,
    claims_parameter_supported: Option<bool>,
    authorization_response_iss_parameter_supported: bool,
}

/// Compares them; `name` is the issuer's place in the file.
pub(super) fn check(
    document: &Document<'_>,
    name: &str,
    all: &[Issuer],
    issuer: &Issuer,
    body: &[u8],
) {
    // What keeps the document from being read at all is said elsewhere.
    let found: Abilities = serde_json::from_slice(body).unwrap_or_default();
    let note = |severity, key: &str, message: String, remedy: &str| {
        document.at(severity, &format!("{name}.{key}"), says(message, remedy));
    };
    let methods = &found.token_endpoint_auth_methods_supported;
    let mine: &[&str] = match &issuer.client_auth {
        ClientAuth::Tls(_) => &["tls_client_auth", "self_signed_tls_client_auth"],
        ClientAuth::SecretBasic(_) => &["client_secret_basic"],
        ClientAuth::SecretPost(_) => &["client_secret_post"],
        ClientAuth::PrivateKeyJwt { .. } => &["private_key_jwt"],
    };
    if !methods.is_empty() && !methods.iter().any(|method| mine.contains(&method.as_str())) {
        let message = format!(
            "the provider takes {}, not `{}`",
            methods.join(", "),
            issuer.client_auth.name()
        );
        let remedy =
            "choose one of them as `client_auth`, and set the client up so at the provider";
        note(Severity::Warning, "client_auth", message, remedy);
    }
    let is_pushed = issuer.par == Par::Required || found.require_pushed_authorization_requests;
    if is_pushed && found.pushed_authorization_request_endpoint.is_none() {
        let message = "authorization requests are to be pushed, but the provider names no `pushed_authorization_request_endpoint`";
        let remedy = "set `par = \"auto\"`, or switch PAR on at the provider";
        note(Severity::Error, "par", message.to_owned(), remedy);
    }
    if issuer.userinfo && found.userinfo_endpoint.is_none() {
        let message = "the provider names no `userinfo_endpoint`".to_owned();
        note(Severity::Error, "userinfo", message, "remove `userinfo`");
    }
    if issuer.request_claims.is_some() && found.claims_parameter_supported != Some(true) {
        let message = "the provider does not say that it reads the `claims` parameter".to_owned();
        let remedy = "see whether what it asks for arrives; else set the claims up at the provider";
        note(Severity::Warning, "request_claims", message, remedy);
    }
    if all.len() > 1
        && issuer.callback == Callback::Shared
        && !found.authorization_response_iss_parameter_supported
    {
        let message = "there are several providers, and this one does not name itself in its answers (RFC 9207)";
        let remedy =
            "set `callback = \"own\"` and register `https://HOST/.chartgate/callback/NAME` there";
        note(Severity::Warning, "callback", message.to_owned(), remedy);
    }
}
