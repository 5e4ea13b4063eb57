//! Rewrites the absolute redirects of an EMR that believes it is reached by plain HTTP.

use http::HeaderValue;
use url::Url;

/// Turns a `Location` at the back end, or at the public host by plain HTTP, into one at the public origin
/// `https://{authority}`. Every other location stays as it is.
///
/// SECURITY: the authority is compared whole, so that `http://emr.local.example.net/` is not taken for
/// `http://emr.local/`.
#[must_use]
pub fn rewrite_location(value: &HeaderValue, backend: &Url, authority: &str) -> HeaderValue {
    let rewritten = value
        .to_str()
        .ok()
        .and_then(|text| rewritten(text, backend, authority))
        .and_then(|text| HeaderValue::try_from(text).ok());
    rewritten.unwrap_or_else(|| value.clone())
}

fn rewritten(text: &str, backend: &Url, authority: &str) -> Option<String> {
    let text = text.trim_ascii();
    let (scheme, after) = text.split_once("://")?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (host, rest) = after.split_at_checked(end)?;
    let (named, port) = split_port(host, default_port)?;
    let is_backend = backend.scheme().eq_ignore_ascii_case(scheme)
        && backend
            .host_str()
            .is_some_and(|own| own.eq_ignore_ascii_case(named))
        && backend.port_or_known_default() == Some(port);
    let (public, public_port) = split_port(authority, 443)?;
    // The EMR names the public host with the port that it was told, or with none.
    let is_public =
        named.eq_ignore_ascii_case(public) && (port == public_port || port == default_port);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    (is_backend || is_public).then(|| format!("https://{authority}{slash}{rest}"))
}

/// Host and port of an authority without user information.
fn split_port(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    if authority.contains('@') || authority.is_empty() {
        return None;
    }
    let after_bracket = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':').filter(|at| *at > after_bracket) {
        Some(at) => {
            let (host, port) = authority.split_at_checked(at)?;
            Some((host, port.strip_prefix(':')?.parse().ok()?))
        }
        None => Some((authority, default_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(location: &str) -> String {
        let backend = Url::parse("http://10.0.0.5:8080").unwrap();
        let value = HeaderValue::from_str(location).unwrap();
        rewrite_location(&value, &backend, "emr.example.org:8443")
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_emrs_own_addresses_become_the_public_one() {
        for (location, expected) in [
            (
                "http://10.0.0.5:8080/chart?x=1#y",
                "https://emr.example.org:8443/chart?x=1#y",
            ),
            (
                "http://emr.example.org:8443/login",
                "https://emr.example.org:8443/login",
            ),
            (
                "http://emr.example.org/login",
                "https://emr.example.org:8443/login",
            ),
            ("HTTP://EMR.example.ORG", "https://emr.example.org:8443/"),
            (
                "https://emr.example.org:8443/x",
                "https://emr.example.org:8443/x",
            ),
            (
                "http://emr.example.org?x",
                "https://emr.example.org:8443/?x",
            ),
        ] {
            assert_eq!(rewrite(location), expected);
        }
    }

    #[test]
    fn other_addresses_stay() {
        for location in [
            "/chart",
            "chart",
            "//evil.example/",
            "http://emr.example.org.evil.example/",
            "http://emr.example.org@evil.example/",
            "http://emr.example.org:9999/",
            "http://10.0.0.5/",
            "https://10.0.0.5:8080/",
            "ftp://emr.example.org/",
            "http://evil.example/http://emr.example.org/",
            "javascript://emr.example.org/%0aalert(1)",
        ] {
            assert_eq!(rewrite(location), location);
        }
    }

    #[test]
    fn ipv6_authorities_are_compared_whole() {
        let backend = Url::parse("http://[::1]:8080").unwrap();
        let value = HeaderValue::from_static("http://[::1]:8080/a");
        assert_eq!(
            rewrite_location(&value, &backend, "emr.example.org"),
            "https://emr.example.org/a"
        );
        let other = HeaderValue::from_static("http://[::1]/a");
        assert_eq!(rewrite_location(&other, &backend, "emr.example.org"), other);
    }
}
