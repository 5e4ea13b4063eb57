//! The EMR's `Set-Cookie`: what it sets, and the attributes that old software forgets.

use http::HeaderValue;
use jiff::Timestamp;

use super::profile::{DomainScope, Flag, Profile, SameSite};

/// What a `Set-Cookie` does to one cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// It sets this value.
    Set(&'a [u8]),
    /// It deletes the cookie.
    Deleted,
}

/// Which cookie a `Set-Cookie` changes, and how.
pub(super) fn change(value: &HeaderValue, now: Timestamp) -> Option<(&str, Change<'_>)> {
    let bytes = value.as_bytes();
    let pair = bytes.split(|b| *b == b';').next()?;
    let mut parts = pair.splitn(2, |b| *b == b'=');
    let name = std::str::from_utf8(parts.next()?.trim_ascii()).ok()?;
    let text = parts.next()?.trim_ascii();
    let is_gone = text.is_empty() || value.to_str().is_ok_and(|line| is_past(line, now));
    Some((
        name,
        if is_gone {
            Change::Deleted
        } else {
            Change::Set(text)
        },
    ))
}

/// Whether browsers would delete the cookie at once.
fn is_past(line: &str, now: Timestamp) -> bool {
    let Ok(cookie) = cookie::Cookie::parse(line) else {
        return false;
    };
    // `Max-Age` wins over `Expires` (RFC 6265 §5.3).
    if let Some(age) = cookie.max_age() {
        return age.whole_seconds() <= 0;
    }
    cookie
        .expires_datetime()
        .is_some_and(|at| at.unix_timestamp() <= now.as_second())
}

/// Adds the attributes that the profile asks for and the EMR left out, and takes out `Domain`; everything else stays
/// byte for byte.
///
/// SECURITY: a cookie without flags leaves by plain HTTP, is read by injected script, and rides on cross-site
/// requests; one with a domain goes to every host below it, past the gateway.
#[must_use]
pub fn harden_set_cookie(profile: &Profile, value: &HeaderValue) -> HeaderValue {
    let bytes = value.as_bytes().trim_ascii();
    let mut parts = bytes.split(|b| *b == b';');
    let name = parts
        .next()
        .and_then(|pair| pair.split(|b| *b == b'=').next())
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned())
        .unwrap_or_default();
    let attributes: Vec<Vec<u8>> = parts
        .map(|part| {
            part.split(|b| *b == b'=')
                .next()
                .unwrap_or_default()
                .trim_ascii()
                .to_ascii_lowercase()
        })
        .collect();
    let lacks = |attribute: &[u8]| !attributes.iter().any(|own| own == attribute);
    let wanted = profile.cookies().of(&name);
    let mut line = match wanted.domain {
        DomainScope::Strip if !lacks(b"domain") => without_domain(bytes),
        DomainScope::Strip | DomainScope::Keep => bytes.to_vec(),
    };
    let mut add = |text: &[u8]| {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(text);
    };
    if wanted.secure == Flag::Add && lacks(b"secure") {
        add(b"Secure");
    }
    if wanted.http_only == Flag::Add && lacks(b"httponly") {
        add(b"HttpOnly");
    }
    if lacks(b"samesite") {
        match wanted.same_site {
            SameSite::Strict => add(b"SameSite=Strict"),
            SameSite::Lax => add(b"SameSite=Lax"),
            SameSite::None => add(b"SameSite=None"),
            SameSite::Leave => {}
        }
    }
    // A header value with ASCII appended is a header value.
    HeaderValue::from_bytes(&line).unwrap_or_else(|_| value.clone())
}

/// The line without its `Domain` attributes. The first part is the cookie itself, whatever it is called.
fn without_domain(line: &[u8]) -> Vec<u8> {
    let is_domain = |part: &[u8]| {
        let name = part.split(|b| *b == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let parts = line.split(|b| *b == b';').enumerate();
    let kept = parts.filter(|(position, part)| *position == 0 || !is_domain(part));
    let kept: Vec<&[u8]> = kept.map(|(_, part)| part).collect();
    kept.join(&b";"[..]).trim_ascii_end().to_vec()
}

/// A `Set-Cookie` that removes the cookie called `name` from the browser.
pub(super) fn removal(name: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(
        "{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile() -> Profile {
        let text = r#"
version = 1
name = "x"
[cookies]
[cookies.except.XSRF-TOKEN]
http_only = false
same_site = "strict"
[cookies.except.plain]
secure = false
http_only = false
same_site = "leave"
domain = "keep"
[[route]]
id = "r"
methods = ["GET"]
path = "/"
action = "Navigate"
section = "shell"
"#;
        Profile::parse(text, "x.toml").unwrap()
    }

    fn hardened(line: &str) -> String {
        let value = HeaderValue::from_str(line).unwrap();
        harden_set_cookie(&profile(), &value)
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn missing_attributes_are_added() {
        assert_eq!(
            hardened("S=1; Path=/"),
            "S=1; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(hardened("  S=1"), "S=1; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(
            hardened("XSRF-TOKEN=1; Path=/"),
            "XSRF-TOKEN=1; Path=/; Secure; SameSite=Strict"
        );
        assert_eq!(hardened("plain=1; Path=/"), "plain=1; Path=/");
    }

    #[test]
    fn what_the_emr_says_stays() {
        for line in [
            "S=1; SECURE; httponly; samesite=None",
            "S=1; secure;HttpOnly ; SameSite = Strict; Path=/; Partitioned; Priority=High",
        ] {
            assert_eq!(hardened(line), line);
        }
        assert_eq!(
            hardened("S=Secure; X-Unknown=1"),
            "S=Secure; X-Unknown=1; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_cookie_is_for_the_gateway_s_host_alone() {
        assert_eq!(
            hardened("S=1; Domain=emr.internal; Path=/"),
            "S=1; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            hardened("domain=1; domain = .x ;DOMAIN; Path=/"),
            "domain=1; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            hardened("S=1; Secure; HttpOnly; SameSite=None; ;Domain="),
            "S=1; Secure; HttpOnly; SameSite=None;"
        );
        assert_eq!(hardened("plain=1; Domain=x"), "plain=1; Domain=x");
        // What the prefixes demand (RFC 6265bis §4.1.3) is what is left.
        assert_eq!(
            hardened("__Host-S=1; Path=/; Domain=x"),
            "__Host-S=1; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_profile_that_says_nothing_hardens_every_cookie() {
        let text = "version = 1\nname = \"x\"\n[[route]]\nid = \"r\"\nmethods = [\"GET\"]\npath = \"/\"\naction = \"Navigate\"\nsection = \"shell\"\n";
        let profile = Profile::parse(text, "x.toml").unwrap();
        let value = HeaderValue::from_static("plain=1; Domain=x");
        assert_eq!(
            harden_set_cookie(&profile, &value),
            "plain=1; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn changes_are_read() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let read = |line: &str| {
            let value = HeaderValue::from_str(line).unwrap();
            change(&value, now).map(|(name, change)| match change {
                Change::Set(text) => format!("{name}={}", String::from_utf8_lossy(text)),
                Change::Deleted => format!("{name} deleted"),
            })
        };
        let is = |line: &str, expected: &str| {
            assert_eq!(read(line).as_deref(), Some(expected), "{line}");
        };
        is(" S = a=b ; Path=/", "S=a=b");
        is("S=; Path=/", "S deleted");
        is(
            "S=deleted; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "S deleted",
        );
        is("S=x; Max-Age=0", "S deleted");
        is(
            "S=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "S=x",
        );
        is("S=x; Expires=Fri, 01 Jan 2027 00:00:00 GMT", "S=x");
        assert_eq!(read("nothing"), None);
    }

    proptest! {
        #[test]
        fn hardening_happens_once_and_leaves_the_rest_as_it_was(line in "[a-zA-Z=-]{0,12}(; ?(Path=/|Domain=[a-z.]{0,4}|Secure|secure=x|HttpOnly|SameSite=None|[a-z= ]{0,6})){0,6}") {
            let value = HeaderValue::from_str(&line).unwrap();
            let once = harden_set_cookie(&profile(), &value);
            let text = once.to_str().unwrap();
            let own = |line: &str| -> Vec<String> {
                let parts = line.trim().split(';').enumerate();
                let kept = parts.filter(|(at, part)| *at == 0 || !part.trim().to_ascii_lowercase().starts_with("domain"));
                kept.map(|(_, part)| part.trim().to_owned()).collect()
            };
            prop_assert!(own(text).starts_with(&own(&line)), "{} {}", line, text);
            let lower = text.to_ascii_lowercase();
            prop_assert!(lower.contains("; secure") || lower.contains(";secure"));
            prop_assert!(lower.contains("samesite") && lower.contains("httponly"));
            prop_assert_eq!(harden_set_cookie(&profile(), &once), once);
        }
    }
}
