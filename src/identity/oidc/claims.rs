//! What the claims of a verified token prove. Pure: bytes and expectations in, a verdict out.
//!
//! *Never*: a guess. A claim of an unexpected type is an error where the token depends on it, and "not stated" where
//! it does not.

use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::jws::Algorithm;
use super::mfa;
use crate::config::Issuer;
use crate::request::principal::Proof;

/// Why a token's claims are refused. Says nothing of their values, which may name people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not a JSON object.
    #[error("the claims are not a JSON object")]
    Malformed,
    /// A claim that must be there is missing or of the wrong type.
    #[error("the claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// `iss` is another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` does not name this client.
    #[error("the token is for another audience")]
    Audience,
    /// `azp` is another client, or missing among several audiences.
    #[error("the token was issued to another party")]
    AuthorizedParty,
    /// `exp` has passed.
    #[error("the token expired {0} s ago; compare the clocks")]
    Expired(i64),
    /// `iat` or `nbf` lies ahead.
    #[error("the token is from {0} s in the future; compare the clocks")]
    Future(i64),
    /// `nonce` is not the one of this sign-in.
    #[error("the nonce is not the one of this sign-in")]
    Nonce,
    /// `at_hash` does not fit the access token.
    #[error("the token belongs to another access token")]
    AccessTokenHash,
    /// The claim that the user name is read from does not give a name that is the user's alone.
    #[error("the claim with the user name gives no name that could not be another user's")]
    Name,
    /// The e-mail address is not of a domain that the issuer's configuration demands.
    #[error("the e-mail address is missing, unverified, or of a domain that is not accepted")]
    Email,
    /// A logout token without the logout event, or with a nonce.
    #[error("the token is not a logout token")]
    NotLogout,
    /// A renewed token is of another user.
    #[error("the token is of another user than the one who signed in")]
    Subject,
    /// A renewed token states another time of authentication.
    #[error("the token is of another sign-in (auth_time)")]
    OtherSignIn,
}

/// What is expected of any token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, as in its discovery document.
    pub issuer: &'a str,
    /// This client.
    pub client_id: &'a str,
    /// The time now.
    pub now: Timestamp,
    /// Tolerated difference of clocks.
    pub leeway: Duration,
}

/// What is expected of an ID token beyond that.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedId<'a> {
    /// What is expected of any token.
    pub token: Expected<'a>,
    /// The nonce of the sign-in.
    pub nonce: &'a str,
    /// The access token that came with it.
    pub access_token: Option<&'a str>,
    /// The algorithm that it was signed with.
    pub algorithm: Algorithm,
    /// How this issuer's claims are read.
    pub issuer: &'a Issuer,
}

/// What an ID token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// `sub`.
    pub subject: String,
    /// How strongly the user authenticated.
    pub proof: Proof,
    /// `sid`.
    pub issuer_session: Option<String>,
    /// When the token was issued.
    pub issued: Timestamp,
    /// All claims, a JSON object. What they say of the person is read in [`super::person`].
    pub claims: Value,
}

/// Whom a logout token signs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// `sub`.
    pub subject: Option<String>,
    /// `sid`.
    pub issuer_session: Option<String>,
    /// `jti`.
    pub id: String,
    /// `exp`: it need not be remembered for longer.
    pub expires: Timestamp,
}

/// Judges the claims of an ID token whose signature was verified. Total: any bytes give an answer.
///
/// # Errors
/// [`ClaimsError`].
pub fn validate_id_token(
    payload: &[u8],
    expected: &ExpectedId<'_>,
) -> Result<Verified, ClaimsError> {
    let claims = object(payload)?;
    let (issued, _) = common(&claims, &expected.token)?;
    if text(&claims, "nonce") != Some(expected.nonce) {
        return Err(ClaimsError::Nonce);
    }
    judge(claims, issued, expected)
}

/// What an ID token proves that is genuine, for us, and of this sign-in.
pub(super) fn judge(
    claims: Map<String, Value>,
    issued: Timestamp,
    expected: &ExpectedId<'_>,
) -> Result<Verified, ClaimsError> {
    if let Some(hash) = claims.get("at_hash") {
        let fits = expected
            .access_token
            .map(|token| token_hash(token, expected.algorithm));
        if hash.as_str() != fits.as_deref() {
            return Err(ClaimsError::AccessTokenHash);
        }
    }
    let subject = identifier(claims.get("sub")).ok_or(ClaimsError::Claim("sub"))?;
    let all = Value::Object(claims);
    let at = |pointer: &str| all.pointer(pointer);
    let acr = at("/acr").and_then(Value::as_str).map(ToOwned::to_owned);
    let amr = strings(at("/amr"));
    let phishing_resistant = mfa::is_phishing_resistant(&expected.issuer.mfa, acr.as_deref(), &amr);
    let proof = Proof {
        mfa: mfa::is_proven(&expected.issuer.mfa, acr.as_deref(), &amr),
        acr,
        amr,
        auth_time: auth_time(at("/auth_time"), &expected.token),
        phishing_resistant,
    };
    Ok(Verified {
        subject,
        proof,
        issuer_session: identifier(at("/sid")),
        issued,
        claims: all,
    })
}

/// Judges the claims of a logout token whose signature was verified (OIDC Back-Channel Logout 1.0 §2.6). Total.
///
/// # Errors
/// [`ClaimsError`].
pub fn validate_logout_token(
    payload: &[u8],
    expected: &Expected<'_>,
) -> Result<Logout, ClaimsError> {
    validate_logout(&object(payload)?, expected)
}

/// How long a logout token counts that does not say so, after it was issued: what the final specification
/// recommends at most (§2.4).
const LOGOUT_LIFETIME: i64 = 120;

/// The same for an issuer some of whose logout tokens may state no expiry.
///
/// # Errors
/// [`ClaimsError`].
pub fn validate_lasting_logout_token(
    payload: &[u8],
    expected: &Expected<'_>,
) -> Result<Logout, ClaimsError> {
    let mut claims = object(payload)?;
    if !claims.contains_key("exp") {
        let issued = claims.get("iat").and_then(numeric_date);
        let issued = issued.ok_or(ClaimsError::Claim("iat"))?.as_second();
        let expires = issued.saturating_add(LOGOUT_LIFETIME);
        claims.insert("exp".to_owned(), Value::from(expires));
    }
    validate_logout(&claims, expected)
}

fn validate_logout(
    claims: &Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<Logout, ClaimsError> {
    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    let (_, expires) = common(claims, expected)?;
    let event = claims.get("events").and_then(|events| events.get(EVENT));
    // SECURITY: with a nonce it could be an ID token, which a browser has seen.
    if !event.is_some_and(Value::is_object) || claims.contains_key("nonce") {
        return Err(ClaimsError::NotLogout);
    }
    let id = identifier(claims.get("jti")).ok_or(ClaimsError::Claim("jti"))?;
    let subject = optional(claims, "sub")?;
    let issuer_session = optional(claims, "sid")?;
    if subject.is_none() && issuer_session.is_none() {
        return Err(ClaimsError::Claim("sub"));
    }
    Ok(Logout {
        subject,
        issuer_session,
        id,
        expires,
    })
}

pub(super) fn object(payload: &[u8]) -> Result<Map<String, Value>, ClaimsError> {
    match serde_json::from_slice(payload).ok() {
        Some(Value::Object(claims)) => Ok(claims),
        Some(_) | None => Err(ClaimsError::Malformed),
    }
}

/// What both kinds of token must state: issuer, audience, authorized party and times.
pub(super) fn common(
    claims: &Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<(Timestamp, Timestamp), ClaimsError> {
    if text(claims, "iss") != Some(expected.issuer) {
        return Err(ClaimsError::Issuer);
    }
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
            .ok_or(ClaimsError::Claim("aud"))?,
        Some(_) | None => return Err(ClaimsError::Claim("aud")),
    };
    if !audiences.contains(&expected.client_id) {
        return Err(ClaimsError::Audience);
    }
    let is_shared = audiences.len() > 1;
    if (is_shared || claims.contains_key("azp")) && text(claims, "azp") != Some(expected.client_id)
    {
        return Err(ClaimsError::AuthorizedParty);
    }
    let time = |name| {
        claims
            .get(name)
            .map(|value| numeric_date(value).ok_or(ClaimsError::Claim(name)))
            .transpose()
    };
    let expires = time("exp")?.ok_or(ClaimsError::Claim("exp"))?;
    let issued = time("iat")?.ok_or(ClaimsError::Claim("iat"))?;
    let leeway = i64::try_from(expected.leeway.as_secs()).unwrap_or(i64::MAX);
    let late = expected.now.as_second().saturating_sub(expires.as_second());
    if late >= leeway {
        return Err(ClaimsError::Expired(late));
    }
    for from in [Some(issued), time("nbf")?].into_iter().flatten() {
        let early = from.as_second().saturating_sub(expected.now.as_second());
        if early > leeway {
            return Err(ClaimsError::Future(early));
        }
    }
    Ok((issued, expires))
}

/// RFC 7519 `NumericDate`: seconds, possibly with a fraction.
pub(in crate::identity) fn numeric_date(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_i64() {
        return Timestamp::from_second(seconds).ok();
    }
    let since = SignedDuration::try_from_secs_f64(value.as_f64()?).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since).ok()
}

/// When the user authenticated. Absent, 0, unreadable or in the future is "unknown" and never counts as fresh.
fn auth_time(value: Option<&Value>, expected: &Expected<'_>) -> Option<Timestamp> {
    let latest = expected.now.saturating_add(expected.leeway).ok()?;
    // A fraction of the first second is no time either.
    numeric_date(value?).filter(|at| at.as_second() > 0 && *at <= latest)
}

pub(super) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

/// A claim that may be absent, but if it is there it must be an identifier.
fn optional(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, ClaimsError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        value @ Some(_) => identifier(value).map(Some).ok_or(ClaimsError::Claim(name)),
    }
}

/// The longest identifier (OIDC Core §2 on `sub`).
const MAX_IDENTIFIER: usize = 255;

/// A string that can stand for someone in a record and a header: not empty, not huge, nothing invisible in it.
///
/// SECURITY: control and direction characters would forge log lines or make one name look like another.
pub(in crate::identity) fn identifier(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let is_plain = |c: char| !c.is_control() && !is_invisible(c);
    let is_fine = !text.trim().is_empty()
        && text.trim() == text
        && text.chars().count() <= MAX_IDENTIFIER
        && text.chars().all(is_plain);
    is_fine.then(|| text.to_owned())
}

const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// A string or an array of strings; anything else, or anything else among them, is nothing.
pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) if !one.is_empty() => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .map(|v| v.as_str().map(ToOwned::to_owned))
            .collect::<Option<_>>()
            .unwrap_or_default(),
        Some(_) | None => Vec::new(),
    }
}

/// OIDC Core §3.1.3.6: the left half of the token's hash, by the hash of the signature's algorithm.
fn token_hash(token: &str, algorithm: Algorithm) -> String {
    let is = |list: &[Algorithm]| list.contains(&algorithm);
    let hash = if is(&[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256]) {
        &SHA256
    } else if is(&[Algorithm::RS384, Algorithm::PS384, Algorithm::ES384]) {
        &SHA384
    } else {
        // Ed25519 hashes with SHA-512, too.
        &SHA512
    };
    let digest = digest::digest(hash, token.as_bytes());
    let whole = digest.as_ref();
    let half = whole.split_at_checked(whole.len() / 2);
    URL_SAFE_NO_PAD.encode(half.map_or(whole, |(left, _)| left))
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
