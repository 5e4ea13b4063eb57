//! The first stage: from what hyper parsed to a [`Received`] with one reading.
//!
//! *Never*: a body read, and no second chance for an ambiguous request: it is refused, on record, and its
//! connection is closed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, Method, Request, Version};
use hyper::upgrade::OnUpgrade;
use ipnet::IpNet;

use super::host::Host;
use super::progress::Progress;
use super::wire::Flaw;
use crate::clock::SharedClock;
use crate::refusal::Refusal;
use crate::request::hygiene::{self, HopByHop, Hygiene};
use crate::request::received::{Audience, Connection, Manner, Parts};
use crate::request::{Body, BodyError, ClientAddr, Facts, Received, Refused, RequestId, Target};

/// What receiving depends on.
pub struct Reception {
    /// The source of time.
    pub clock: SharedClock,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted: Vec<IpNet>,
    /// Which header fields a client may send.
    pub hygiene: Hygiene,
    /// Whether an EMR is served under a host name (lower case, no port).
    pub knows: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The generation of policy, configuration, grants and lockdown in force.
    pub generation: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// A body must make progress within this.
    pub body_timeout: Duration,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception").finish_non_exhaustive()
    }
}

/// What a head says once it is known to say it once.
struct Reading {
    host: Host,
    target: Target,
}

impl Reception {
    /// Reads a request, or says why it cannot be read.
    ///
    /// # Errors
    /// [`Refused`] for every request that has no single reading, or is for nobody here.
    pub fn receive<B>(
        &self,
        request: Request<B>,
        connection: &Connection,
        flaw: Option<Flaw>,
    ) -> Result<Received, Refused>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError>,
    {
        let (mut head, body) = request.into_parts();
        let reading = flaw
            .map_or(Ok(()), |flaw| Err(flaw.refusal()))
            .and_then(|()| self.read(&head, connection));
        let Reading { host, target } = match reading {
            Ok(reading) => reading,
            Err(refusal) => {
                return Err(self.unreadable(refusal, &head, connection));
            }
        };
        let client = ClientAddr::find(connection.peer, &head.headers, &self.trusted);
        let HopByHop { upgrade, trailers } = self.hygiene.clean(&mut head.headers);
        head.headers.remove(header::HOST);
        head.headers.remove(header::EXPECT);
        if trailers {
            head.headers
                .insert(header::TE, http::HeaderValue::from_static("trailers"));
        }
        let empty = body.is_end_stream();
        let upgrade_to = upgrade.filter(|protocol| {
            protocol == "websocket"
                && head.method == Method::GET
                && head.version == Version::HTTP_11
                && empty
        });
        let on_upgrade = upgrade_to
            .is_some()
            .then(|| head.extensions.remove::<OnUpgrade>())
            .flatten();
        let parts = Parts {
            id: RequestId::new(),
            at: self.clock.now(),
            method: head.method,
            version: head.version,
            authority: host.authority(),
            host: host.name().to_owned(),
            target,
            headers: head.headers,
            connection: connection.clone(),
            client,
            upgrade_to,
        };
        let body = if empty {
            Body::empty()
        } else {
            Body::streaming(Progress::new(body, self.body_timeout))
        };
        Ok(Received::new(parts, body, on_upgrade, (self.generation)()))
    }

    fn read(
        &self,
        head: &http::request::Parts,
        connection: &Connection,
    ) -> Result<Reading, Refusal> {
        check_method(&head.method)?;
        check_version(head.version)?;
        let host = read_host(head)?;
        let target = Target::parse(&head.uri).map_err(|problem| {
            tracing::debug!(%problem, "target refused");
            Refusal::AmbiguousTarget
        })?;
        check_lengths(head)?;
        check_fields(&head.headers)?;
        let other_sni = connection
            .sni
            .as_deref()
            .is_some_and(|sni| !sni.trim_end_matches('.').eq_ignore_ascii_case(host.name()));
        // SECURITY: a browser may reuse a connection for any host that the certificate covers (coalescing); what was
        // checked for the handshake's name must not count for another one.
        if other_sni {
            return Err(Refusal::Misdirected);
        }
        if !(self.knows)(host.name()) {
            return Err(Refusal::UnknownHost);
        }
        Ok(Reading { host, target })
    }

    fn unreadable(
        &self,
        refusal: Refusal,
        head: &http::request::Parts,
        connection: &Connection,
    ) -> Refused {
        let id = RequestId::new();
        let peer = connection.peer.ip();
        let client = ClientAddr::find(connection.peer, &head.headers, &self.trusted);
        let target = Target::parse(&head.uri).ok();
        let host = read_host(head)
            .ok()
            .filter(|host| (self.knows)(host.name()));
        let facts = Facts {
            request: id.to_string(),
            trace: None,
            client: client.to_string(),
            peer: (peer != client.ip()).then(|| peer.to_string()),
            tls: connection.tls.clone(),
            emr: None,
            method: printable(head.method.as_str(), 32),
            path: target.as_ref().map_or_else(
                || printable(head.uri.path(), 256),
                |t| printable(t.path(), 2048),
            ),
            principal: None,
            session: None,
            mapping: None,
            decision: None,
            generation: (self.generation)(),
        };
        let manner = Manner {
            id,
            audience: Audience::of(&head.method, &head.headers),
            return_to: "/".to_owned(),
            // A host that is not served here is not repeated to anyone.
            authority: host.map(|host| host.authority()).unwrap_or_default(),
            method: head.method.clone(),
        };
        Refused::unreadable(refusal, facts, manner)
    }
}

/// The methods that are forwarded. Others tunnel, reflect, or are not known to policy.
fn check_method(method: &Method) -> Result<(), Refusal> {
    let known = [
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if known.contains(method) {
        Ok(())
    } else {
        Err(Refusal::MethodRefused)
    }
}

fn check_version(version: Version) -> Result<(), Refusal> {
    if [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2].contains(&version) {
        Ok(())
    } else {
        Err(Refusal::MethodRefused)
    }
}

/// Exactly one host, agreeing with the target's authority where there is one.
fn read_host(head: &http::request::Parts) -> Result<Host, Refusal> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(Refusal::MalformedHost),
        (None, None) => None,
        (Some(value), None) => Some(
            value
                .to_str()
                .ok()
                .and_then(Host::parse)
                .ok_or(Refusal::MalformedHost)?,
        ),
    };
    let authority = match head.uri.authority() {
        None => None,
        Some(authority) => Some(Host::parse(authority.as_str()).ok_or(Refusal::MalformedHost)?),
    };
    let is_http2 = head.version == Version::HTTP_2;
    match (field, authority) {
        // RFC 9113 §8.3.1: `:authority` may replace `Host`; RFC 9112 §3.2: in HTTP/1.1 nothing replaces it.
        (None, Some(authority)) if is_http2 => Ok(authority),
        (Some(host), None) => Ok(host),
        (Some(host), Some(authority)) if host.agrees(&authority) => Ok(host),
        (None | Some(_), Some(_)) | (None, None) => Err(Refusal::MalformedHost),
    }
}

/// Lengths that hyper already judged are judged again: this file alone answers for them.
fn check_lengths(head: &http::request::Parts) -> Result<(), Refusal> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let (first, second) = (lengths.next(), lengths.next());
    let is_number = |value: &http::HeaderValue| {
        !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
    };
    if second.is_some() || first.is_some_and(|value| !is_number(value)) {
        return Err(Refusal::ConflictingLength);
    }
    let codings: Vec<String> = hygiene::tokens(&head.headers, &header::TRANSFER_ENCODING).collect();
    let coded = head.headers.contains_key(header::TRANSFER_ENCODING);
    if coded && (head.version != Version::HTTP_11 || first.is_some() || codings != ["chunked"]) {
        return Err(Refusal::ConflictingLength);
    }
    Ok(())
}

/// Fields that say something once or not at all.
const SINGLE: [&str; 8] = [
    "authorization",
    "content-type",
    "content-encoding",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "x-requested-with",
];

/// Fields that ask for another method.
const OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::ExpectationRefused);
    }
    // Most requests repeat no field at all.
    let repeats = headers.len() > headers.keys_len();
    if repeats
        && SINGLE
            .iter()
            .any(|name| headers.get_all(*name).iter().count() > 1)
    {
        return Err(Refusal::AmbiguousField);
    }
    // SECURITY: policy decides on the method of the request line; a back end that takes another one from a header
    // would do what was not decided on.
    let overrides = |name: &HeaderName| OVERRIDES.contains(&name.as_str());
    if headers.keys().any(overrides) {
        return Err(Refusal::AmbiguousField);
    }
    Ok(())
}

fn printable(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::request::PeerAddr;
    use http_body_util::{Empty, Full};

    fn reception() -> Reception {
        Reception {
            clock: SystemClock::shared(),
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            hygiene: Hygiene::new(&[HeaderName::from_static("emr-user")]),
            knows: Arc::new(|host| host == "emr.example"),
            generation: Arc::new(|| 7),
            body_timeout: Duration::from_secs(1),
        }
    }

    fn connection(sni: Option<&str>) -> Connection {
        Connection {
            peer: PeerAddr::new("192.0.2.1:1".parse().unwrap()),
            sni: sni.map(str::to_owned),
            tls: None,
        }
    }

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(Empty::new()).unwrap()
    }

    fn outcome(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Received, Refusal> {
        reception()
            .receive(request(method, uri, fields), &connection(None), None)
            .map_err(|refused| refused.refusal())
    }

    const HOST: (&str, &str) = ("host", "emr.example");

    #[test]
    fn a_plain_request_is_received_clean() {
        let received = outcome(
            "GET",
            "/chart?pid=4",
            &[
                ("Host", "EMR.example.:8443"),
                ("X-Forwarded-User", "root"),
                ("Connection", "close"),
                ("EMR-User", "root"),
                ("Accept", "*/*"),
            ],
        )
        .unwrap();
        let parts = received.parts();
        assert_eq!(parts.host, "emr.example");
        assert_eq!(parts.authority, "emr.example:8443");
        assert_eq!(parts.target.as_str(), "/chart?pid=4");
        assert_eq!(parts.headers.len(), 1);
        assert_eq!(received.facts().generation, 7);
    }

    #[test]
    fn the_host_is_said_once_and_one_way() {
        assert_eq!(
            outcome("GET", "/", &[]).unwrap_err(),
            Refusal::MalformedHost
        );
        assert_eq!(
            outcome("GET", "/", &[HOST, HOST]).unwrap_err(),
            Refusal::MalformedHost
        );
        assert_eq!(
            outcome("GET", "https://other.example/", &[HOST]).unwrap_err(),
            Refusal::MalformedHost
        );
        assert_eq!(
            outcome("GET", "https://emr.example@other.example/", &[HOST]).unwrap_err(),
            Refusal::MalformedHost
        );
        assert_eq!(
            outcome("GET", "https://emr.example/", &[]).unwrap_err(),
            Refusal::MalformedHost
        );
        let absolute = outcome("GET", "https://emr.example:443/a?b", &[HOST]).unwrap();
        assert_eq!(absolute.parts().target.as_str(), "/a?b");
        assert_eq!(
            outcome("GET", "/", &[("host", "other.example")]).unwrap_err(),
            Refusal::UnknownHost
        );
    }

    #[test]
    fn http2_authority_stands_for_the_host() {
        let mut over_h2 = request("GET", "https://emr.example/a", &[]);
        *over_h2.version_mut() = Version::HTTP_2;
        let received = reception()
            .receive(over_h2, &connection(None), None)
            .unwrap();
        assert_eq!(received.parts().target.as_str(), "/a");
        let mut differing = request("GET", "https://emr.example/a", &[("host", "b.example")]);
        *differing.version_mut() = Version::HTTP_2;
        let refused = reception()
            .receive(differing, &connection(None), None)
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::MalformedHost);
    }

    #[test]
    fn sni_and_host_must_agree() {
        let receive = |sni| {
            reception()
                .receive(request("GET", "/", &[HOST]), &connection(Some(sni)), None)
                .map_err(|refused| refused.refusal())
        };
        assert!(receive("EMR.example").is_ok());
        assert_eq!(receive("other.example").unwrap_err(), Refusal::Misdirected);
    }

    #[test]
    fn methods_expectations_and_overrides_are_refused() {
        for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
            let uri = if method == "CONNECT" {
                "emr.example:443"
            } else {
                "/"
            };
            assert_eq!(
                outcome(method, uri, &[HOST]).unwrap_err(),
                Refusal::MethodRefused
            );
        }
        assert_eq!(
            outcome("POST", "/", &[HOST, ("expect", "200-ok")]).unwrap_err(),
            Refusal::ExpectationRefused
        );
        for pair in [
            [("content-type", "a/b"), ("content-type", "c/d")],
            [("origin", "https://a"), ("origin", "https://b")],
            [("x-http-method-override", "DELETE"), ("a", "b")],
        ] {
            assert_eq!(
                outcome("POST", "/", &[HOST, pair[0], pair[1]]).unwrap_err(),
                Refusal::AmbiguousField
            );
        }
    }

    #[test]
    fn lengths_are_judged_again() {
        for fields in [
            [("content-length", "1"), ("content-length", "1")],
            [("content-length", "1"), ("transfer-encoding", "chunked")],
            [("content-length", "+1"), ("a", "b")],
            [("transfer-encoding", "gzip, chunked"), ("a", "b")],
        ] {
            assert_eq!(
                outcome("POST", "/", &[HOST, fields[0], fields[1]]).unwrap_err(),
                Refusal::ConflictingLength
            );
        }
        let mut old = request("POST", "/", &[HOST, ("transfer-encoding", "chunked")]);
        *old.version_mut() = Version::HTTP_10;
        let refused = reception()
            .receive(old, &connection(None), None)
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::ConflictingLength);
    }

    #[test]
    fn a_flaw_in_the_bytes_refuses_whatever_the_head_says() {
        let refused = reception()
            .receive(
                request("GET", "/", &[HOST]),
                &connection(None),
                Some(Flaw::Length),
            )
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::ConflictingLength);
        assert_eq!(refused.facts().method, "GET");
    }

    #[test]
    fn an_unreadable_request_tells_nothing_it_should_not() {
        let refused = reception()
            .receive(
                request("GET", "/a%00?pid=4", &[("host", "evil.example")]),
                &connection(None),
                None,
            )
            .unwrap_err();
        assert_eq!(refused.facts().path, "/a%00");
        assert_eq!(refused.manner().authority, "");
        assert_eq!(refused.manner().return_to, "/");
    }

    #[test]
    fn only_a_whole_websocket_handshake_is_an_upgrade() {
        let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let received = outcome("GET", "/ws", &[HOST, upgrade[0], upgrade[1]]).unwrap();
        assert_eq!(received.parts().upgrade_to.as_deref(), Some("websocket"));
        let posted = outcome("POST", "/ws", &[HOST, upgrade[0], upgrade[1]]).unwrap();
        assert_eq!(posted.parts().upgrade_to, None);
        let with_body = Request::builder()
            .uri("/ws")
            .header(HOST.0, HOST.1)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .body(Full::new(Bytes::from_static(b"GET /admin HTTP/1.1")))
            .unwrap();
        let received = reception()
            .receive(with_body, &connection(None), None)
            .unwrap();
        assert_eq!(received.parts().upgrade_to, None);
    }
}
