//! Addresses of the EMR in an answer's head, turned into the gateway's.
//!
//! An EMR that does not know that it stands behind a gateway redirects to its own host, or to plain HTTP.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// Where an answer belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// The back end's own `host` or `host:port`.
    pub(super) back_end: &'a str,
    /// The host and port that the client used.
    pub(super) public: &'a str,
    /// The host that the client used.
    pub(super) host: &'a str,
}

/// Rewrites every address in the head.
pub(super) fn addresses(headers: &mut HeaderMap, places: Places<'_>) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        rewrite(headers, &name, |value| places.rewrite(value));
    }
    // `Refresh: 5; url=http://emr/next`
    rewrite(headers, &HeaderName::from_static("refresh"), |value| {
        let (delay, rest) = value.split_once(';')?;
        let (key, address) = rest.split_once('=')?;
        if !key.trim().eq_ignore_ascii_case("url") {
            return None;
        }
        let address = address.trim().trim_matches(['"', '\'']);
        Some(format!("{delay}; url={}", places.rewrite(address)?))
    });
}

fn rewrite(headers: &mut HeaderMap, name: &HeaderName, with: impl Fn(&str) -> Option<String>) {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let rewritten = value.and_then(with).map(HeaderValue::try_from);
    if let Some(Ok(value)) = rewritten {
        headers.insert(name, value);
    }
}

impl Places<'_> {
    /// The public form of an absolute address of the EMR; `None` for every other address.
    fn rewrite(&self, address: &str) -> Option<String> {
        let url = Url::parse(address)
            .or_else(|_| Url::parse(&format!("https:{address}")))
            .ok()
            .filter(|_| address.contains("//"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = url.host_str()?;
        let authority = match url.port() {
            None => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        };
        if authority != self.back_end && !host.eq_ignore_ascii_case(self.host) {
            return None;
        }
        // The rest of the address as the EMR wrote it.
        let (_, after) = address.split_once("//")?;
        let path = after.find(['/', '?', '#']).and_then(|at| after.get(at..));
        Some(format!("https://{}{}", self.public, path.unwrap_or("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let places = Places {
            back_end: "10.0.0.5:8080",
            public: "emr.example:8443",
            host: "emr.example",
        };
        addresses(&mut headers, places);
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_emrs_own_addresses_become_the_gateways() {
        for (from, to) in [
            (
                "http://10.0.0.5:8080/a/%2F?x=1#y",
                "https://emr.example:8443/a/%2F?x=1#y",
            ),
            ("http://emr.example/a", "https://emr.example:8443/a"),
            ("http://EMR.example:80", "https://emr.example:8443/"),
            ("//10.0.0.5:8080/a", "https://emr.example:8443/a"),
            ("https://emr.example:8443?x", "https://emr.example:8443?x"),
        ] {
            assert_eq!(rewritten("location", from), to);
        }
        assert_eq!(
            rewritten("refresh", "5;URL='http://10.0.0.5:8080/b'"),
            "5; url=https://emr.example:8443/b"
        );
    }

    #[test]
    fn other_addresses_stay_as_they_are() {
        for value in [
            "/relative?u=http://10.0.0.5:8080/",
            "next",
            "https://login.example/authorize",
            "http://10.0.0.5:9090/a",
            "http://emr.example@evil.example/",
            "mailto:it@emr.example",
        ] {
            assert_eq!(rewritten("location", value), value);
        }
        assert_eq!(rewritten("refresh", "5"), "5");
    }
}
