//! The token endpoint: a client proves itself and its PKCE verifier, and redeems a code once.

use std::sync::Arc;

use axum::{
    Form, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Client, Misbehave, claims, pages,
    provider::{Grant, Provider},
};
use crate::demo::random::same_secret;

/// The parameters as they came.
#[derive(Default, Deserialize)]
pub(super) struct Raw {
    grant_type: Option<String>,
    code: Option<String>,
    refresh_token: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// The errors of RFC 6749 section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    UnsupportedGrantType,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        };
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if self == Self::InvalidClient {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"token endpoint\""),
            );
        }
        response
    }
}

/// Reads `Authorization: Basic`, whose halves are form-encoded (RFC 6749 section 2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced)
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

/// The client that proved itself, by exactly one of the two methods.
fn authenticate<'a>(
    provider: &'a Provider,
    headers: &HeaderMap,
    raw: &Raw,
) -> Result<&'a Client, Fault> {
    let (id, secret) = match (headers.get(header::AUTHORIZATION), &raw.client_secret) {
        (Some(_), Some(_)) => return Err(Fault::InvalidRequest),
        (Some(value), None) => basic(value).ok_or(Fault::InvalidClient)?,
        (None, Some(secret)) => (
            raw.client_id.clone().ok_or(Fault::InvalidRequest)?,
            secret.clone(),
        ),
        (None, None) => return Err(Fault::InvalidClient),
    };
    if raw.client_id.as_ref().is_some_and(|given| *given != id) {
        return Err(Fault::InvalidRequest);
    }
    provider
        .client(&id)
        .filter(|client| client.has_secret(&secret))
        .ok_or(Fault::InvalidClient)
}

/// Whether the verifier has the form of RFC 7636 and hashes to the challenge.
fn verifies(verifier: &str, challenge: &str) -> bool {
    let well_formed = (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    well_formed && same_secret(&URL_SAFE_NO_PAD.encode(digest), challenge)
}

pub(super) async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(raw): Form<Raw>,
) -> Response {
    let misbehaviour = *provider.misbehaviour();
    if misbehaviour == Misbehave::TokenEndpointFails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if let Misbehave::TokenEndpointSlow(delay) = misbehaviour {
        tokio::time::sleep(delay).await;
    }
    let mut response = match exchange(&provider, &headers, &raw) {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn exchange(provider: &Provider, headers: &HeaderMap, raw: &Raw) -> Result<Response, Fault> {
    let client = authenticate(provider, headers, raw)?;
    match raw.grant_type.as_deref() {
        Some("authorization_code") => {}
        Some("refresh_token") => return renew(provider, client, raw),
        Some(_) => return Err(Fault::UnsupportedGrantType),
        None => return Err(Fault::InvalidRequest),
    }
    let code = raw.code.as_deref().ok_or(Fault::InvalidRequest)?;
    let verifier = raw.code_verifier.as_deref().ok_or(Fault::InvalidGrant)?;
    let redeemed = provider.redeem(code, |grant| {
        grant.authorization.client == client.id()
            && raw.redirect_uri.as_deref() == Some(grant.authorization.redirect_uri.as_str())
            && verifies(verifier, &grant.authorization.challenge)
    });
    let (grant, access_token) = match redeemed {
        Ok(Some(redeemed)) => redeemed,
        Ok(None) => return Err(Fault::InvalidGrant),
        Err(error) => return Ok(pages::failed(&error)),
    };
    let refresh_token = match provider.families().begin(&grant) {
        Ok(token) => token,
        Err(error) => return Ok(pages::failed(&error)),
    };
    answer(provider, client, &grant, &access_token, &refresh_token)
}

/// RFC 6749 section 6, with rotation: a token that comes a second time was stolen, and its family ends (RFC 9700
/// section 4.14).
fn renew(provider: &Provider, client: &Client, raw: &Raw) -> Result<Response, Fault> {
    let token = raw.refresh_token.as_deref().ok_or(Fault::InvalidRequest)?;
    let rotated = provider.families().rotate(token, client.id());
    let (grant, refresh_token) = match rotated {
        Ok(Some(rotated)) => rotated,
        Ok(None) => return Err(Fault::InvalidGrant),
        Err(error) => return Ok(pages::failed(&error)),
    };
    if !provider.is_alive(&grant.session.sid) {
        return Err(Fault::InvalidGrant);
    }
    // A refreshed access token opens nothing here.
    let access_token = match crate::demo::random::token() {
        Ok(token) => token,
        Err(error) => return Ok(pages::failed(&error)),
    };
    answer(provider, client, &grant, &access_token, &refresh_token)
}

fn answer(
    provider: &Provider,
    client: &Client,
    grant: &Grant,
    access_token: &str,
    refresh_token: &str,
) -> Result<Response, Fault> {
    let user = provider
        .user(&grant.session.user)
        .ok_or(Fault::InvalidGrant)?;
    Ok(match claims::id_token(provider, client, user, grant) {
        Ok(id_token) => Json(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 600,
            "id_token": id_token,
            "refresh_token": refresh_token,
            "scope": "openid profile email groups",
        }))
        .into_response(),
        Err(error) => pages::failed(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_the_standard_matches_its_challenge() {
        // RFC 7636 appendix B
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(verifies(verifier, challenge));
        assert!(!verifies(&verifier.replace('d', "e"), challenge));
        assert!(!verifies("short", challenge));
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let encoded = STANDARD.encode("gate%3Away:s+p%2Bc");
        let value = HeaderValue::try_from(format!("Basic {encoded}")).unwrap();
        assert_eq!(
            basic(&value),
            Some(("gate:way".to_owned(), "s p+c".to_owned()))
        );
        assert_eq!(basic(&HeaderValue::from_static("Basic !!")), None);
        assert_eq!(basic(&HeaderValue::from_static("Bearer abc")), None);
    }
}
