//! Which header fields may cross the gateway: none that speaks about the connection, and none in which a client
//! could state who it is or where it comes from.
//!
//! *Never*: an injected header here. Cleaning is done before anything is set, so a client cannot delete or shadow
//! what the gateway states (CVE-2024-45410, CVE-2025-64484).

use std::collections::BTreeSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Cleans requests; knows the header names that the configuration gives to identity.
#[derive(Debug, Clone, Default)]
pub struct Hygiene {
    identity: BTreeSet<String>,
}

/// What a request's connection fields asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HopByHop {
    /// The protocol of an `Upgrade` that `Connection` names too, lower case.
    pub upgrade: Option<String>,
    /// Whether the sender takes trailers (`TE: trailers`).
    pub trailers: bool,
}

impl Hygiene {
    /// Hygiene that also removes the `identity` headers of the configuration.
    pub fn new<'a>(identity: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        Self {
            identity: identity
                .into_iter()
                .map(|name| name.as_str().replace('_', "-"))
                .collect(),
        }
    }

    /// Removes everything that a client may not say, and joins what arrives in pieces.
    pub fn clean(&self, headers: &mut HeaderMap) -> HopByHop {
        let hop = remove_hop_by_hop(headers);
        remove_all(headers, |name| self.forbids(name));
        join_cookies(headers);
        // W3C Trace Context §3.2.1: more than one `traceparent` is as good as none.
        if headers.get_all("traceparent").iter().count() > 1 {
            headers.remove("traceparent");
            headers.remove("tracestate");
        }
        hop
    }

    /// Whether a client's header of this (lower-case) name is removed.
    #[must_use]
    pub fn forbids(&self, name: &str) -> bool {
        // SECURITY: CGI, WSGI and PHP turn `-`, `_` and sometimes `.` into the same variable name, so a name with
        // anything but letters, digits and hyphens could be another spelling of one that the gateway sets.
        !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            || speaks_of_identity(name)
            || self.identity.contains(name)
    }
}

/// Removes the fields that speak about one connection only (RFC 9110 §7.6.1), with all that `Connection` names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) -> HopByHop {
    let tokens: Vec<String> = tokens(headers, &header::CONNECTION).collect();
    let upgrade = tokens
        .iter()
        .any(|token| token == "upgrade")
        .then(|| headers.get(header::UPGRADE))
        .flatten()
        .and_then(|value| value.to_str().ok())
        .map(|value| value.trim().to_ascii_lowercase());
    let trailers = self::tokens(headers, &header::TE).any(|token| token == "trailers");
    for token in tokens {
        if let Ok(name) = HeaderName::from_bytes(token.as_bytes()) {
            headers.remove(name);
        }
    }
    remove_all(headers, |name| {
        matches!(
            name,
            "connection"
                | "http2-settings"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "transfer-encoding"
                | "upgrade"
        )
    });
    HopByHop { upgrade, trailers }
}

/// Removes every field whose name is `unwanted`, in one pass: looking up each name of a long list costs more.
pub fn remove_all(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name.as_str()))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether a field may not stand in trailers: it frames, routes, authenticates or identifies (RFC 9110 §6.5.1).
#[must_use]
pub fn forbidden_in_trailers(name: &HeaderName) -> bool {
    let text = name.as_str();
    matches!(
        text,
        "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "expect"
            | "host"
            | "keep-alive"
            | "location"
            | "origin"
            | "range"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "www-authenticate"
    ) || text.starts_with("sec-")
        || text.starts_with("if-")
        || text.starts_with("access-control-")
}

/// The lower-case members of a comma-separated field, over all its lines.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(|token| String::from_utf8_lossy(token).trim().to_ascii_lowercase())
        .filter(|token| !token.is_empty())
}

fn join_cookies(headers: &mut HeaderMap) {
    // RFC 9113 §8.2.3: HTTP/2 clients send one field per cookie; one field is what every back end reads.
    if headers.get_all(header::COOKIE).iter().count() < 2 {
        return;
    }
    let mut joined = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

/// Headers in which proxies, web servers and single-sign-on modules state identity, origin or the "real" request.
fn speaks_of_identity(name: &str) -> bool {
    let (family, rest) = name.split_once('-').unwrap_or((name, ""));
    match family {
        "x" => X_FAMILIES.iter().any(|prefix| rest.starts_with(prefix)),
        "akamai" | "cdn" | "cf" | "fastly" | "fly" | "forwarded" | "iv" | "oidc" | "proxy"
        | "remote" | "shib" | "sm" | "ssl" | "surrogate" | "via" | "webauth" | "wl" => true,
        "auth" => matches!(rest, "user" | "type"),
        "client" => matches!(rest, "ip" | "cert" | "cert-chain"),
        "early" => rest == "data",
        "front" => rest == "end-https",
        "max" => rest == "forwards",
        "true" => rest == "client-ip",
        _ => false,
    }
}

/// What follows `X-` in such headers.
const X_FAMILIES: &[&str] = &[
    "accel-",
    "amzn-",
    "appengine-",
    "arr-",
    "auth",
    "azure-",
    "chartgate",
    "client-",
    "cluster-client-ip",
    "email",
    "envoy-",
    "forwarded",
    "goog-",
    "group",
    "host",
    "http-host",
    "ms-client-",
    "oidc-",
    "original-",
    "originating-",
    "pomerium-",
    "proxy",
    "real-",
    "remote-",
    "request-id",
    "rewrite-",
    "role",
    "scheme",
    "ssl-",
    "url-scheme",
    "user",
    "vouch-",
    "webauth-",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    const FORBIDDEN: &[&str] = &[
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X-Forwarded-Uri",
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Remote-User",
        "Remote-User",
        "X-User",
        "X-User-Name",
        "X-Auth-Request-User",
        "X-SSL-Client-Cert",
        "X-Chartgate-Assertion",
        "X-Request-Id",
        "Via",
        "Proxy-Authorization",
        "Proxy",
        "OIDC-CLAIM-sub",
        "Keep-Alive",
        "TE",
        "Upgrade",
        "Transfer-Encoding",
    ];

    #[test]
    fn what_connection_names_is_removed_and_what_a_page_needs_stays() {
        let mut headers = map(&[
            ("Connection", "close, X-Trace , Cookie"),
            ("Connection", "te"),
            ("X-Trace", "1"),
            ("Cookie", "a=1"),
            ("TE", "trailers"),
            ("Accept", "*/*"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("X-Requested-With", "XMLHttpRequest"),
            ("Sec-WebSocket-Key", "x"),
            ("Upgrade-Insecure-Requests", "1"),
        ]);
        let hop = Hygiene::default().clean(&mut headers);
        assert!(hop.trailers && hop.upgrade.is_none());
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept",
                "sec-websocket-key",
                "traceparent",
                "upgrade-insecure-requests",
                "x-requested-with"
            ]
        );
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_names_it() {
        let mut named = map(&[
            ("Connection", "Keep-Alive, Upgrade"),
            ("Upgrade", "WebSocket"),
        ]);
        assert_eq!(
            remove_hop_by_hop(&mut named).upgrade.as_deref(),
            Some("websocket")
        );
        let mut premature = map(&[("Upgrade", "websocket")]);
        assert_eq!(remove_hop_by_hop(&mut premature).upgrade, None);
        assert!(premature.is_empty());
    }

    #[test]
    fn cookie_crumbs_become_one_cookie() {
        let mut headers = map(&[("Cookie", "a=1"), ("cookie", "b=2; c=3")]);
        Hygiene::default().clean(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
        assert_eq!(headers["cookie"], "a=1; b=2; c=3");
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut headers = map(&[
            ("traceparent", "a"),
            ("traceparent", "b"),
            ("tracestate", "c"),
        ]);
        Hygiene::default().clean(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn trailers_cannot_frame_or_authenticate() {
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
            "set-cookie",
        ] {
            assert!(forbidden_in_trailers(&HeaderName::from_static(name)));
        }
        assert!(!forbidden_in_trailers(&HeaderName::from_static(
            "x-checksum"
        )));
    }

    proptest! {
        /// No identity or forwarding header of a client survives in any spelling, however often it is sent.
        #[test]
        fn no_client_header_survives_in_any_spelling(
            plain in proptest::sample::select([FORBIDDEN, &["emr_user", "clinician"]].concat()),
            upper in proptest::collection::vec(any::<bool>(), 40),
            separator in proptest::sample::select(vec!['-', '_', '.', '~', '!']),
            copies in 1usize..4,
        ) {
            let configured = [HeaderName::from_static("emr_user"), HeaderName::from_static("clinician")];
            let spelt: String = plain
                .chars()
                .zip(upper.iter().cycle())
                .map(|(c, up)| match c {
                    '-' | '_' => separator,
                    c if *up => c.to_ascii_uppercase(),
                    c => c.to_ascii_lowercase(),
                })
                .collect();
            let mut headers = HeaderMap::new();
            for _ in 0..copies {
                headers.append(HeaderName::from_bytes(spelt.as_bytes()).unwrap(), HeaderValue::from_static("evil"));
            }
            headers.insert("accept", HeaderValue::from_static("text/html"));
            Hygiene::new(&configured).clean(&mut headers);
            prop_assert_eq!(headers.len(), 1, "{} survived", spelt);
        }
    }
}
