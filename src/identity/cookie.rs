//! The gateway's cookies: read strictly, kept from the EMR, set with every protection.
//!
//! *Never*: more than one session cookie believed; a gateway cookie forwarded.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::device_key::DeviceProof;
use super::token::Token;
use crate::secret::Secret;

/// The cookie with the session token.
pub const SESSION_COOKIE: &str = "__Host-chartgate";
/// The cookie that binds logins in progress to the browser they were started in.
pub const LOGIN_COOKIE: &str = "__Host-chartgate-login";

/// The cookie that proves, for a while, that its browser holds the key that a session is bound to.
pub const DEVICE_COOKIE: &str = "__Host-chartgate-device";
/// How the gateway's cookies are set, but for their age.
pub const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The cookie with the name of the issuer that was chosen last in this browser. It chooses nothing: it only says which
/// one is offered first.
const ISSUER_COOKIE: &str = "__Host-chartgate-issuer";
const ISSUER_REMEMBERED: &str = "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000";

/// What a request presents under the name of one cookie.
#[derive(Debug, Clone)]
pub enum Presented {
    /// No such cookie.
    Nothing,
    /// One, of the right form.
    One(Token),
    /// Several, or one that the gateway cannot have set.
    Malformed,
}

/// What `header`, the value of a `Cookie` field, presents as session cookie. Total: any bytes give an answer.
#[must_use]
pub fn parse_cookie_header(header: &[u8]) -> Presented {
    presented_in(std::iter::once(header), SESSION_COOKIE)
}

/// What the request presents under `name`.
#[must_use]
pub fn presented(headers: &HeaderMap, name: &str) -> Presented {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    presented_in(fields, name)
}

/// What the request presents as proof of its device, if it is one cookie of the right form.
#[must_use]
pub(super) fn device_proof(headers: &HeaderMap) -> Option<DeviceProof> {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut found = fields
        .flat_map(pairs)
        .filter(|(name, _)| *name == DEVICE_COOKIE.as_bytes());
    match (found.next(), found.next()) {
        (Some((_, value)), None) => DeviceProof::parse(value),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn presented_in<'h>(fields: impl Iterator<Item = &'h [u8]>, name: &str) -> Presented {
    let mut found = fields
        .flat_map(pairs)
        .filter(|(cookie, _)| *cookie == name.as_bytes())
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (None, _) => Presented::Nothing,
        // SECURITY: with two cookies of one name, which of them counts would be the attacker's choice.
        (Some(_), Some(_)) => Presented::Malformed,
        (Some(value), None) => Token::parse(value).map_or(Presented::Malformed, Presented::One),
    }
}

/// The `Cookie` field without the gateway's own cookies, or `None` if nothing is left. Several fields become one
/// (RFC 9113 §8.2.3: an HTTP/1.1 back end expects one).
#[must_use]
pub fn without_own(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut kept: Vec<u8> = Vec::new();
    for field in headers.get_all(COOKIE) {
        for pair in field.as_bytes().split(|b| *b == b';') {
            let pair = pair.trim_ascii();
            if pair.is_empty() || is_own(pair) {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
    }
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// Whether a pair is the gateway's, in any case and however oddly written.
fn is_own(pair: &[u8]) -> bool {
    let start = pair.iter().position(|b| *b != b'=').unwrap_or(0);
    pair.get(start..)
        .and_then(|rest| rest.get(..SESSION_COOKIE.len()))
        .is_some_and(|name| name.eq_ignore_ascii_case(SESSION_COOKIE.as_bytes()))
}

fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|b| *b == b';').filter_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// `Set-Cookie` with the session token. It ends with the browser; the server decides when the session does.
#[must_use]
pub fn set_session(token: &Token) -> Option<HeaderValue> {
    set(SESSION_COOKIE, token.expose(), None)
}

/// `Set-Cookie` with a proof of the device, good for `max_age`.
#[must_use]
pub(super) fn set_device(
    proof: Secret<String>,
    max_age: std::time::Duration,
) -> Option<HeaderValue> {
    set(DEVICE_COOKIE, proof, Some(max_age.as_secs()))
}

/// `Set-Cookie` with the value that binds logins to this browser.
#[must_use]
pub fn set_login(token: &Token, max_age: std::time::Duration) -> Option<HeaderValue> {
    set(LOGIN_COOKIE, token.expose(), Some(max_age.as_secs()))
}

/// The issuer that was chosen last in this browser, by what it says.
#[must_use]
pub fn chosen_issuer(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut found = fields
        .flat_map(pairs)
        .filter(|(name, _)| *name == ISSUER_COOKIE.as_bytes());
    found
        .next()
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// `Set-Cookie` with the name of the issuer that was chosen.
#[must_use]
pub fn set_issuer(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{ISSUER_COOKIE}={name}; {ISSUER_REMEMBERED}")).ok()
}

/// `Set-Cookie` that removes the cookie that binds logins to this browser.
#[must_use]
pub const fn clear_login() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-chartgate-login=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
    )
}

/// `Set-Cookie` that removes the session cookie.
#[must_use]
pub const fn clear_session() -> HeaderValue {
    HeaderValue::from_static("__Host-chartgate=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn set(name: &str, value: Secret<String>, max_age: Option<u64>) -> Option<HeaderValue> {
    let age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let line = Secret::new(format!("{name}={}; {ATTRIBUTES}{age}", value.expose()));
    drop(value);
    let mut header = HeaderValue::from_str(line.expose()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spelled() -> String {
        Token::generate().unwrap().expose().expose().clone()
    }

    fn is_one(header: &str) -> bool {
        matches!(parse_cookie_header(header.as_bytes()), Presented::One(_))
    }

    #[test]
    fn one_cookie_among_others_is_read() {
        let t = spelled();
        assert!(is_one(&format!("__Host-chartgate={t}")));
        assert!(is_one(&format!("a=b; __Host-chartgate={t};c=d")));
        assert!(is_one(&format!("a; ;\t__Host-chartgate = {t} ")));
    }

    #[test]
    fn several_cookies_are_as_bad_as_a_malformed_one() {
        let t = spelled();
        for header in [
            format!("__Host-chartgate={t}; __Host-chartgate={t}"),
            format!("__Host-chartgate={t}; x=y; __Host-chartgate="),
            "__Host-chartgate=".to_owned(),
            "__Host-chartgate=short".to_owned(),
            format!("__Host-chartgate=\"{t}\""),
            format!("__Host-chartgate={t}="),
            format!("__Host-chartgate={t}{t}"),
        ] {
            let read = parse_cookie_header(header.as_bytes());
            assert!(matches!(read, Presented::Malformed), "{header}");
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        let t = spelled();
        for header in [
            String::new(),
            format!("__host-chartgate={t}"),
            format!("__Host-chartgate-login={t}"),
            format!("x__Host-chartgate={t}"),
            format!("=__Host-chartgate={t}"),
            "__Host-chartgate".to_owned(),
        ] {
            let read = parse_cookie_header(header.as_bytes());
            assert!(matches!(read, Presented::Nothing), "{header}");
        }
    }

    fn stripped(fields: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        without_own(&headers).map(|v| String::from_utf8(v.as_bytes().to_vec()).unwrap())
    }

    /// oauth2-proxy#644: the gateway's cookie reached the back end.
    #[test]
    fn oauth2_proxy_644_gateway_cookies_do_not_reach_the_back_end() {
        assert_eq!(
            stripped(&["a=1; __Host-chartgate=x; b=\"2\""]).as_deref(),
            Some("a=1; b=\"2\"")
        );
        assert_eq!(
            stripped(&["__HOST-ChartGate=x;__Host-chartgate-login=y"]),
            None
        );
        assert_eq!(stripped(&["=__Host-chartgate=x", "__Host-chartgate"]), None);
        assert_eq!(
            stripped(&["a=1", "__Host-chartgate=x", "b=2;"]).as_deref(),
            Some("a=1; b=2")
        );
        assert_eq!(stripped(&["ä=ö"]).as_deref(), Some("ä=ö"));
    }

    #[test]
    fn cookies_are_set_with_every_protection() {
        let token = Token::generate().unwrap();
        let set = set_session(&token).unwrap();
        assert!(set.is_sensitive());
        let line = set.to_str().unwrap();
        assert_eq!(
            line.split_once('=').unwrap().1.split_once(';').unwrap().1,
            " Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        let login = set_login(&token, std::time::Duration::from_mins(10)).unwrap();
        assert!(login.to_str().unwrap().ends_with("; Max-Age=600"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_stripped(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_cookie_header(&bytes);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                if let Some(kept) = without_own(&headers) {
                    headers.insert(COOKIE, kept.clone());
                    prop_assert_eq!(without_own(&headers), Some(kept));
                    prop_assert!(matches!(presented(&headers, SESSION_COOKIE), Presented::Nothing));
                }
            }
        }
    }
}
