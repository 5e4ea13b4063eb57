//! What a request presents in `Authorization` and in its address as proof of who asks (RFC 9110 §11.6.2, RFC 6750).
//!
//! *Never*: a token in a log or a record; two readings of one field.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::Target;
use crate::secret::Secret;

/// The longest token that is read. Each API may state less.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What `Authorization` presents.
#[derive(Debug)]
pub enum Presented {
    /// There is none.
    Nothing,
    /// One well-formed bearer token (RFC 6750 §2.1).
    Bearer(Secret<String>),
    /// The scheme `Bearer` with what is no token, or with more than one.
    Malformed,
    /// A scheme of tokens that need a proof which is not understood here (`DPoP`, RFC 9449).
    Proof,
    /// Another scheme: not the gateway's business.
    Other,
}

/// Reads `Authorization`.
#[must_use]
pub fn presented(headers: &HeaderMap) -> Presented {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => return Presented::Nothing,
        // SECURITY: with two fields, which of them counts would be the sender's choice.
        (Some(_), Some(_)) => return Presented::Malformed,
        (Some(field), None) => field.as_bytes().trim_ascii(),
    };
    let end = field.iter().position(|b| !is_token_byte(*b));
    let (scheme, rest) = field
        .split_at_checked(end.unwrap_or(field.len()))
        .unwrap_or((field, &[]));
    if scheme.eq_ignore_ascii_case(b"dpop") {
        return Presented::Proof;
    }
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Presented::Other;
    }
    let token = rest.strip_prefix(b" ").map(|rest| {
        let start = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
        rest.get(start..).unwrap_or_default()
    });
    match token {
        Some(token) if is_b64token(token) => std::str::from_utf8(token)
            .ok()
            .map_or(Presented::Malformed, |token| {
                Presented::Bearer(Secret::new(token.to_owned()))
            }),
        Some(_) | None => Presented::Malformed,
    }
}

/// Whether a cookie of the gateway is among the cookies, in any spelling.
#[must_use]
pub fn has_gateway_cookie(headers: &HeaderMap) -> bool {
    headers.get_all(COOKIE).iter().any(|field| {
        let mut pairs = field.as_bytes().split(|b| *b == b';');
        pairs.any(is_gateway_cookie)
    })
}

/// Whether a cookie (`name=value`) is the gateway's own.
///
/// SECURITY: a cookie without a name, `=__Host-chartgate=x`, comes back from older browsers as `__Host-chartgate=x`.
#[must_use]
pub fn is_gateway_cookie(pair: &[u8]) -> bool {
    let start = pair
        .iter()
        .position(|b| *b != b'=' && !b.is_ascii_whitespace());
    let named = start.and_then(|at| pair.get(at..)).unwrap_or_default();
    let name = named.split(|b| *b == b'=').next().unwrap_or_default();
    let name = name.trim_ascii().to_ascii_lowercase();
    name.starts_with(b"__host-chartgate") || name.starts_with(b"__secure-chartgate")
}

/// Whether the address carries an access token (RFC 6750 §2.3): in logs, histories and referrers, so never accepted.
#[must_use]
pub fn is_in_address(target: &Target) -> bool {
    target
        .fields()
        .any(|(name, _)| name.trim().eq_ignore_ascii_case("access_token"))
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `b64token` (RFC 6750 §2.1), of bounded length.
fn is_b64token(token: &[u8]) -> bool {
    let end = token.iter().position(|b| *b == b'=').unwrap_or(token.len());
    let (text, padding) = token.split_at_checked(end).unwrap_or((token, &[]));
    token.len() <= MAX_TOKEN
        && !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(b))
        && padding.iter().all(|b| *b == b'=')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(value: &[u8]) -> Presented {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        presented(&headers)
    }

    fn word(presented: &Presented) -> &'static str {
        match presented {
            Presented::Nothing => "nothing",
            Presented::Bearer(_) => "bearer",
            Presented::Malformed => "malformed",
            Presented::Proof => "proof",
            Presented::Other => "other",
        }
    }

    #[test]
    fn a_bearer_token_has_one_form() {
        for (value, expected) in [
            ("Bearer abc", "bearer"),
            ("bEARER  a.b-c_d~e+f/g==", "bearer"),
            ("Bearer", "malformed"),
            ("Bearer ", "malformed"),
            ("Bearer a b", "malformed"),
            ("Bearer a,Bearer b", "malformed"),
            ("Bearer =", "malformed"),
            ("Bearer a=b", "malformed"),
            ("Bearer\ta", "malformed"),
            ("Bearer \"a\"", "malformed"),
            ("Bearer, a", "malformed"),
            ("Bearer:a", "malformed"),
            ("Bearera", "other"),
            ("DPoP abc", "proof"),
            ("dpop", "proof"),
            ("Basic YTpi", "other"),
            ("Negotiate x", "other"),
            ("", "other"),
        ] {
            assert_eq!(word(&of(value.as_bytes())), expected, "{value:?}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN.saturating_add(1)));
        assert_eq!(word(&of(long.as_bytes())), "malformed");
    }

    #[test]
    fn the_gateways_cookies_are_known_in_every_spelling() {
        for pair in [
            "__Host-chartgate=x; Path=/",
            " __host-CHARTGATE-login = x",
            "__Secure-chartgate=x",
            "=__Host-chartgate=x; Secure",
            " = __Host-chartgate=x",
            "==__Host-chartgate",
        ] {
            assert!(is_gateway_cookie(pair.as_bytes()), "{pair}");
        }
        for pair in ["", "=", "S=__Host-chartgate=x", "Host-chartgate=x"] {
            assert!(!is_gateway_cookie(pair.as_bytes()), "{pair}");
        }
    }

    #[test]
    fn two_fields_are_no_token_and_none_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(word(&presented(&headers)), "nothing");
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(word(&presented(&headers)), "malformed");
    }

    #[test]
    fn a_token_in_the_address_is_seen_in_every_spelling() {
        for (target, is_there) in [
            ("/a?access_token=x", true),
            ("/a?b=1&Access_Token=x", true),
            ("/a?acce%73s_token=x", true),
            ("/a?access_token", true),
            ("/a?b=access_token", false),
            ("/access_token=x", false),
        ] {
            let target = Target::parse_str(target).unwrap();
            assert_eq!(is_in_address(&target), is_there, "{target:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", of(b"Bearer abcdef")).contains("abcdef"));
    }

    proptest! {
        /// Whatever stands in the field: one reading, and a token only of the characters that tokens have.
        #[test]
        fn any_field_has_one_reading(
            value in prop_oneof![
                prop::collection::vec(prop_oneof![Just(b'\t'), 0x20_u8..0x7f, 0x80_u8..=0xff], 0..64),
                "[Bb][Ee]arer[ ,=\\t]{0,3}[A-Za-z0-9._=/+~, -]{0,40}".prop_map(String::into_bytes),
            ],
        ) {
            if let Presented::Bearer(token) = of(&value) {
                let token = token.expose().as_bytes();
                prop_assert!(!token.is_empty());
                prop_assert!(token.iter().all(|b| b.is_ascii_graphic() && !b",\"';".contains(b)));
                prop_assert!(value.len() > 7 && value.trim_ascii().ends_with(token));
                prop_assert!(value.trim_ascii().get(..6).unwrap().eq_ignore_ascii_case(b"bearer"));
            }
        }
    }
}
