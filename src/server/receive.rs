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
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::hygiene::{self, HopByHop, Hygiene};
use crate::request::received::{Audience, Connection, Manner, Parts};
use crate::request::{
    Body, BodyError, ClientAddr, Edition, Facts, Received, Refused, RequestId, Target,
};

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
    /// Which generation of policy, grants and lockdown is in force, and which bundle.
    pub edition: Arc<dyn Fn() -> Edition + Send + Sync>,
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
        Ok(Received::new(parts, body, on_upgrade, (self.edition)()))
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
        let edition = (self.edition)();
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
            generation: edition.generation,
            bundle: edition.bundle,
        };
        let manner = Manner {
            id,
            audience: Audience::of(&head.method, &head.headers),
            return_to: "/".to_owned(),
            // A host that is not served here is not repeated to anyone.
            authority: host.map(|host| host.authority()).unwrap_or_default(),
            method: head.method.clone(),
            language: Language::of(&head.headers),
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
mod tests;
