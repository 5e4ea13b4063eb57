//! What the claims of an access token grant. Pure: claims and expectations in, a verdict out; the same for tokens
//! that were signed (RFC 9068 §2.2) and for answers of an introspection endpoint (RFC 7662 §2.2).
//!
//! *Never*: a guess. A claim that is there and of the wrong type refuses the token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

use crate::config::api::ApiClaims;
use crate::identity::oidc::claims::{identifier, numeric_date};

/// Most scopes of a token.
const MAX_SCOPES: usize = 256;

/// What is expected of the claims.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// `aud`.
    pub(super) audience: &'a str,
    /// Where some claims stand.
    pub(super) claims: &'a ApiClaims,
    /// The time now.
    pub(super) now: Timestamp,
    /// Tolerated difference of clocks.
    pub(super) leeway: Duration,
    /// What kind of claims these are.
    pub(super) form: Form,
}

/// Where the claims come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A signed token: everything that RFC 9068 demands must be there.
    Signed {
        /// The longest time since `iat`.
        max_age: Duration,
        /// Whether `typ` of the header did not say that it is an access token.
        is_plain: bool,
    },
    /// The answer of an introspection endpoint, which may leave things out.
    Introspected,
}

/// What a token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    /// The client id.
    pub(super) client: String,
    /// `sub`, where it is not the client.
    pub(super) subject: Option<String>,
    /// The scopes.
    pub(super) scopes: Vec<String>,
    /// `exp`, with the tolerance.
    pub(super) expires: Timestamp,
    /// `jti`.
    pub(super) id: Option<String>,
    /// The certificate it is bound to (RFC 8705 §3.1).
    pub(super) bound: Option<[u8; 32]>,
}

/// Judges claims, but for `iss`. Total: any claims give an answer, which says nothing of their values.
pub(super) fn granted(claims: &Value, expected: &Expected<'_>) -> Result<Granted, &'static str> {
    if !claims.is_object() {
        return Err("the claims are not an object");
    }
    is_access_token(claims, expected.form)?;
    if !names_audience(claims.get("aud"), expected.audience)? {
        return Err("the token is for another audience");
    }
    let expires = times(claims, expected)?;
    let at = |pointer: &str| claims.pointer(pointer).filter(|value| !value.is_null());
    let client = identifier(at(&expected.claims.client)).ok_or("the client is missing")?;
    let subject = match (claims.get("sub"), expected.form) {
        (None | Some(Value::Null), Form::Introspected) => None,
        (value, Form::Introspected | Form::Signed { .. }) => {
            Some(identifier(value).ok_or("`sub` is missing")?)
        }
    };
    let id = match (at(&expected.claims.id), expected.form) {
        (None, Form::Introspected) => None,
        (value, Form::Introspected | Form::Signed { .. }) => {
            Some(identifier(value).ok_or("the token's id is missing")?)
        }
    };
    Ok(Granted {
        subject: subject.filter(|subject| *subject != client),
        client,
        scopes: scopes(at(&expected.claims.scope))?,
        expires,
        id,
        bound: bound(claims.get("cnf"))?,
    })
}

/// SECURITY: issuers sign several kinds of token with one key, and know them all when asked. What calls itself
/// anything but an access token is none.
fn is_access_token(claims: &Value, form: Form) -> Result<(), &'static str> {
    for (claim, meanings) in [
        ("typ", ["bearer", "at+jwt"]),
        ("token_type", ["bearer", "access_token"]),
        ("token_use", ["access", "access_token"]),
    ] {
        let said = claims.get(claim).filter(|value| !value.is_null());
        let fits = said.is_none_or(|said| {
            let said = said.as_str().unwrap_or_default();
            meanings.iter().any(|one| said.eq_ignore_ascii_case(one))
        });
        if !fits {
            return Err("the token says that it is of another kind");
        }
    }
    let has = |name| claims.get(name).is_some();
    if has("events") {
        return Err("the token is a logout token");
    }
    let plain = match form {
        Form::Signed { is_plain, .. } => is_plain,
        Form::Introspected => true,
    };
    if plain && (has("nonce") || has("at_hash") || has("c_hash")) {
        return Err("the token is an ID token");
    }
    Ok(())
}

fn names_audience(value: Option<&Value>, audience: &str) -> Result<bool, &'static str> {
    match value {
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(many)) if many.iter().all(Value::is_string) => {
            Ok(many.iter().any(|one| one == audience))
        }
        Some(_) | None => Err("`aud` is missing"),
    }
}

/// Judges the times; returns the end.
fn times(claims: &Value, expected: &Expected<'_>) -> Result<Timestamp, &'static str> {
    let time = |name| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => numeric_date(value).map(Some).ok_or("a time is none"),
    };
    let expires = time("exp")?.ok_or("`exp` is missing")?;
    let issued = time("iat")?;
    let leeway = expected.leeway;
    let later = |at: Timestamp, by: Duration| at.saturating_add(by).unwrap_or(at);
    let ends = later(expires, leeway);
    if ends <= expected.now {
        return Err("the token has expired");
    }
    let latest = later(expected.now, leeway);
    for from in [issued, time("nbf")?].into_iter().flatten() {
        if from > latest {
            return Err("the token is from the future");
        }
    }
    if let Form::Signed { max_age, .. } = expected.form {
        let issued = issued.ok_or("`iat` is missing")?;
        if later(later(issued, max_age), leeway) <= expected.now {
            return Err("the token is older than `max_age`");
        }
    }
    Ok(ends)
}

/// RFC 9068 §2.2.3: a text with spaces between; elsewhere a list.
fn scopes(value: Option<&Value>) -> Result<Vec<String>, &'static str> {
    let scopes: Vec<String> = match value {
        None => Vec::new(),
        Some(Value::String(text)) => text.split(' ').map(str::to_owned).collect(),
        Some(Value::Array(many)) => many
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or("a scope is no text")?,
        Some(_) => return Err("the scopes are no text"),
    };
    if scopes.len() > MAX_SCOPES {
        return Err("there are too many scopes");
    }
    Ok(scopes
        .into_iter()
        .filter(|scope| !scope.is_empty())
        .collect())
}

/// SECURITY: a token that is bound in a way that is not understood must not pass as one that is not bound.
fn bound(cnf: Option<&Value>) -> Result<Option<[u8; 32]>, &'static str> {
    const OTHER: &str = "the token is bound in a way that is not understood";
    let Some(cnf) = cnf else { return Ok(None) };
    let members = cnf.as_object().ok_or(OTHER)?;
    let mut thumbprint = None;
    for (name, value) in members {
        if name != "x5t#S256" {
            return Err(OTHER);
        }
        let bytes = value
            .as_str()
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        thumbprint = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    }
    thumbprint.map(Some).ok_or(OTHER)
}
