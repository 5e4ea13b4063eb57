//! A signed token taken apart: which algorithm, which key, which bytes.
//!
//! *Never*: an algorithm that is not on the issuer's list; `none` and HMAC cannot be put on it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use jsonwebtoken::Algorithm;
use serde::Deserialize;

/// Why a token could not be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three base64url parts with a JSON header, or too long.
    #[error("the token is not a signed JWT in compact form")]
    Malformed,
    /// The algorithm is not allowed for this issuer.
    #[error("the token's algorithm, {0:?}, is not allowed (`algorithms` of the issuer)")]
    Algorithm(String),
    /// Another kind of token (`typ`).
    #[error("the token is of another type")]
    Type,
    /// An extension that must be understood (`crit`) and is not.
    #[error("the token demands an extension")]
    Critical,
}

/// The longest token that is read.
pub const MAX_BYTES: usize = 128 * 1024;

/// Reads an algorithm's name from the configuration. `None` for `none`, for HMAC and for unknown names.
#[must_use]
pub fn algorithm(name: &str) -> Option<Algorithm> {
    SIGNATURES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, algorithm)| *algorithm)
}

/// Public-key signatures. SECURITY: with an HMAC among them, whoever knows the public key could sign.
const SIGNATURES: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The kinds of token that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ID token.
    Id,
    /// A back-channel logout token.
    Logout,
    /// An access token (RFC 9068 §2.1: `typ` says so).
    Access,
    /// An access token of an authorization server that does not say so. Nothing in the header tells it from an ID
    /// token: the audience must.
    PlainAccess,
    /// A back-channel logout token that says so (`typ` is `logout+jwt`).
    StatedLogout,
}

impl Kind {
    fn accepts(self, typ: Option<&str>) -> bool {
        let Some(typ) = typ else {
            return match self {
                Self::Id | Self::Logout | Self::PlainAccess => true,
                Self::Access | Self::StatedLogout => false,
            };
        };
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        let is = |name: &str| typ.eq_ignore_ascii_case(name);
        match self {
            Self::Id => is("JWT"),
            Self::Logout => is("logout+jwt") || is("JWT"),
            Self::Access => is("at+jwt"),
            Self::PlainAccess => is("at+jwt") || is("JWT"),
            Self::StatedLogout => is("logout+jwt"),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// A token taken apart, its signature not verified yet.
#[derive(Debug)]
pub struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) signed: &'t str,
    pub(super) signature: &'t str,
    pub(in crate::identity) payload: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`JwsError`].
    pub fn parse(token: &'t str, kind: Kind, allowed: &[Algorithm]) -> Result<Self, JwsError> {
        if token.len() > MAX_BYTES {
            return Err(JwsError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().ok_or(JwsError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?)
            .ok()
            .ok_or(JwsError::Malformed)?;
        let algorithm = algorithm(&header.alg)
            .filter(|named| allowed.contains(named))
            .ok_or_else(|| JwsError::Algorithm(header.alg.chars().take(16).collect()))?;
        if header.crit.is_some() {
            return Err(JwsError::Critical);
        }
        // SECURITY: a logout or access token of the same issuer and audience is no ID token (RFC 8725 §3.11).
        if !kind.accepts(header.typ.as_deref()) {
            return Err(JwsError::Type);
        }
        decode(signature)?;
        Ok(Self {
            algorithm,
            key_id: header.kid,
            signed,
            signature,
            payload: decode(payload)?,
        })
    }
}

/// The issuer that a token names, before anything of it is verified: to find whose keys to verify it with, no more.
#[must_use]
pub fn named_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    if token.len() > MAX_BYTES {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let named: Named = serde_json::from_slice(&payload).ok()?;
    Some(named.iss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    fn error(header: &str, kind: Kind) -> Option<JwsError> {
        Jws::parse(&token(header), kind, &[Algorithm::ES256]).err()
    }

    #[test]
    fn algorithms_that_anyone_can_forge_have_no_name_here() {
        for name in [
            "none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS1", "es256",
        ] {
            assert_eq!(algorithm(name), None, "{name}");
            let header = format!(r#"{{"alg":"{name}"}}"#);
            let refused = JwsError::Algorithm(name.to_owned());
            assert_eq!(error(&header, Kind::Id), Some(refused));
        }
        assert_eq!(
            error(r#"{"alg":"RS256"}"#, Kind::Id),
            Some(JwsError::Algorithm("RS256".to_owned()))
        );
        assert_eq!(error(r#"{"alg":"ES256"}"#, Kind::Id), None);
    }

    #[test]
    fn other_kinds_of_token_are_refused() {
        let of = |typ: &str| format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
        assert_eq!(error(&of("JWT"), Kind::Id), None);
        assert_eq!(error(&of("application/jwt"), Kind::Id), None);
        assert_eq!(error(&of("logout+jwt"), Kind::Id), Some(JwsError::Type));
        assert_eq!(error(&of("at+jwt"), Kind::Id), Some(JwsError::Type));
        assert_eq!(error(&of("logout+jwt"), Kind::Logout), None);
        assert_eq!(error(&of("JWT"), Kind::Logout), None);
        assert_eq!(error(&of("at+jwt"), Kind::Logout), Some(JwsError::Type));
        for (typ, access, plain) in [
            ("at+jwt", true, true),
            ("application/AT+JWT", true, true),
            ("JWT", false, true),
            ("logout+jwt", false, false),
            ("dpop+jwt", false, false),
            ("", false, false),
        ] {
            assert_eq!(error(&of(typ), Kind::Access).is_none(), access, "{typ}");
            assert_eq!(error(&of(typ), Kind::PlainAccess).is_none(), plain, "{typ}");
        }
        let none = r#"{"alg":"ES256"}"#;
        assert_eq!(error(none, Kind::Access), Some(JwsError::Type));
        assert_eq!(error(none, Kind::PlainAccess), None);
        assert_eq!(error(&of("logout+jwt"), Kind::StatedLogout), None);
        assert_eq!(error(&of("JWT"), Kind::StatedLogout), Some(JwsError::Type));
        let untyped = r#"{"alg":"ES256"}"#;
        assert_eq!(error(untyped, Kind::Logout), None);
        assert_eq!(error(untyped, Kind::StatedLogout), Some(JwsError::Type));
    }

    #[test]
    fn extensions_and_odd_headers_are_refused() {
        let critical = r#"{"alg":"ES256","crit":["b64"],"b64":false}"#;
        assert_eq!(error(critical, Kind::Id), Some(JwsError::Critical));
        for header in [
            "[]",
            "{}",
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","alg":"none"}"#,
            r#"{"alg":"ES256","kid":1}"#,
            "not json",
        ] {
            assert_eq!(
                error(header, Kind::Id),
                Some(JwsError::Malformed),
                "{header}"
            );
        }
    }

    #[test]
    fn encrypted_and_oversized_tokens_are_refused() {
        let parse = |token: &str| Jws::parse(token, Kind::Id, &[Algorithm::ES256]).err();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        assert_eq!(
            parse(&format!("{header}.a.b.c.d")),
            Some(JwsError::Malformed)
        );
        let long = format!("{header}.{}.c2ln", "A".repeat(MAX_BYTES));
        assert_eq!(parse(&long), Some(JwsError::Malformed));
        assert_eq!(
            parse(&format!("{header}.e30=.c2ln")),
            Some(JwsError::Malformed)
        );
        assert_eq!(parse(""), Some(JwsError::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(token in "\\PC{0,80}|[A-Za-z0-9_.-]{0,80}") {
            let _ = Jws::parse(&token, Kind::Id, &[Algorithm::ES256]);
        }
    }
}
