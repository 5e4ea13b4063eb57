//! The first stage's proof: a request whose host, target, lengths and headers have one reading.
//!
//! *Never*: a body read. Construction happens in [`crate::server::receive`] through [`Received::new`], which
//! takes only parts that were already parsed.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Version};
use jiff::Timestamp;
use uuid::Uuid;

use super::held::Remains;
use super::way_back::way_back;
use super::{
    Body, ClientAddr, ClientCertificate, Cover, Edition, Facts, Notice, PeerAddr, Refused, Target,
};
use crate::language::Language;
use crate::refusal::Refusal;

/// The id of a request: in the answer, in the record, and sent to the EMR as `X-Request-Id`. Always ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id (`UUIDv7`: sortable by time).
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// What is known of the connection that a request came over.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The TCP peer.
    pub peer: PeerAddr,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// TLS version and suite, for the record.
    pub tls: Option<String>,
    /// The client's certificate, where clients are asked for one and this one had one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A request as every later stage sees it.
///
/// INVARIANT: `headers` hold no hop-by-hop, forwarding or identity header of the client; `target` and `host` are
/// canonical.
#[derive(Debug)]
#[must_use]
pub struct Received {
    // Boxed: each stage moves it into its own proof, and every await of the request path keeps room for it.
    contents: Box<Contents>,
}

#[derive(Debug)]
struct Contents {
    parts: Parts,
    body: Body,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    facts: Facts,
    told: Vec<Notice>,
    cover: Option<Cover>,
    notes: Vec<(&'static str, String)>,
}

/// The parsed head of a request.
#[derive(Debug)]
pub struct Parts {
    /// The request's id.
    pub id: RequestId,
    /// When its head had arrived.
    pub at: Timestamp,
    /// The method.
    pub method: Method,
    /// The HTTP version of the client's connection.
    pub version: Version,
    /// The host, lower case, without port.
    pub host: String,
    /// The host and port as the client named them (for absolute URLs to itself).
    pub authority: String,
    /// The target.
    pub target: Target,
    /// The client's headers, cleaned.
    pub headers: HeaderMap,
    /// The connection.
    pub connection: Connection,
    /// The client.
    pub client: ClientAddr,
    /// The protocol that the client asks to upgrade to (`websocket`), if any.
    pub upgrade_to: Option<String>,
}

impl Parts {
    /// The head of a request that the gateway makes on behalf of this one: same client, cookies and connection.
    #[must_use]
    pub fn derived(&self, method: Method, target: Target) -> Self {
        Self {
            id: RequestId::new(),
            at: self.at,
            method,
            version: self.version,
            host: self.host.clone(),
            authority: self.authority.clone(),
            target,
            headers: self.headers.clone(),
            connection: self.connection.clone(),
            client: self.client,
            upgrade_to: None,
        }
    }
}

impl Received {
    /// Puts a parsed head and an unread body together.
    pub fn new(
        parts: Parts,
        body: Body,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
        edition: impl Into<Edition>,
    ) -> Self {
        let edition = edition.into();
        let peer = parts.connection.peer.ip();
        let facts = Facts {
            request: parts.id.to_string(),
            trace: trace_id(&parts.headers),
            client: parts.client.to_string(),
            peer: (peer != parts.client.ip()).then(|| peer.to_string()),
            tls: parts.connection.tls.clone(),
            emr: None,
            method: parts.method.to_string(),
            path: parts.target.path().to_owned(),
            principal: None,
            session: None,
            mapping: None,
            decision: None,
            generation: edition.generation,
            bundle: edition.bundle,
        };
        Self {
            contents: Box::new(Contents {
                parts,
                body,
                upgrade,
                facts,
                told: Vec::new(),
                cover: None,
                notes: Vec::new(),
            }),
        }
    }

    /// The parsed head.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.contents.parts
    }

    /// What is known so far.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.contents.facts
    }

    /// What is known so far, for a stage to add what it found.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.contents.facts
    }

    /// What a stage found that the reader has to be told.
    #[must_use]
    pub fn told(&self) -> &[Notice] {
        &self.contents.told
    }

    /// Notes something that the reader has to be told.
    pub fn tell(&mut self, notice: Notice) {
        self.contents.told.push(notice);
    }

    /// What the page needs that locks with its session.
    #[must_use]
    pub fn cover(&self) -> Option<&Cover> {
        self.contents.cover.as_ref()
    }

    /// States that the page locks with its session.
    pub fn set_cover(&mut self, cover: Cover) {
        self.contents.cover = Some(cover);
    }

    /// What the gateway notes of a request that it makes by itself; it goes on record among the fields of the mapping.
    #[must_use]
    pub fn notes(&self) -> &[(&'static str, String)] {
        &self.contents.notes
    }

    /// Notes what a request of the gateway's own is for.
    pub fn note(&mut self, name: &'static str, value: String) {
        self.contents.notes.push((name, value));
    }

    /// The body, for the one stage that may read it before admission.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.contents.body
    }

    /// The client's side of an upgrade, for the one stage that may take it.
    #[must_use = "the client's side is closed when this is dropped"]
    pub fn take_upgrade(&mut self) -> Option<hyper::upgrade::OnUpgrade> {
        self.contents.upgrade.take()
    }

    /// Replaces the `Cookie` field: each stage takes out what must not go further.
    pub fn set_cookies(&mut self, cookies: Option<http::HeaderValue>) {
        let headers = &mut self.contents.parts.headers;
        if let Some(cookies) = cookies {
            headers.insert(http::header::COOKIE, cookies);
        } else {
            headers.remove(http::header::COOKIE);
        }
    }

    /// Takes the client's credential out, once it has said who the client is: it is for nobody behind.
    pub fn remove_authorization(&mut self) {
        let headers = &mut self.contents.parts.headers;
        headers.remove(http::header::AUTHORIZATION);
    }

    /// Ends the request here. The refusal takes along what was known.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        let Contents {
            parts, body, facts, ..
        } = *self.contents;
        let refused = Refused::new(refusal, facts, &parts);
        if Remains::are_worth_keeping(refusal, refused.manner()) {
            refused.leaving(Remains { parts, body })
        } else {
            refused
        }
    }

    /// Takes the request apart for forwarding.
    #[must_use = "the request is lost with its parts"]
    pub fn into_parts(self) -> (Parts, Body, Option<hyper::upgrade::OnUpgrade>, Facts) {
        let Contents {
            parts,
            body,
            upgrade,
            facts,
            told: _,
            cover: _,
            notes: _,
        } = *self.contents;
        (parts, body, upgrade, facts)
    }
}

fn trace_id(headers: &HeaderMap) -> Option<String> {
    // W3C Trace Context §3.2: version "-" trace-id "-" parent-id "-" flags.
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut fields = value.split('-');
    let (version, trace) = (fields.next()?, fields.next()?);
    let is_hex = |s: &str| {
        s.bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    (version.len() == 2 && trace.len() == 32 && is_hex(version) && is_hex(trace))
        .then(|| trace.to_owned())
}

/// How the client wants to be told.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The request's id.
    pub id: RequestId,
    /// What asked: decides between a page, a redirect and a problem document.
    pub audience: Audience,
    /// Where a sign-in should come back to: the page that was asked for, or that sent what was asked; else `/`.
    pub return_to: String,
    /// The host and port as the client named them.
    pub authority: String,
    /// `HEAD` gets no body.
    pub method: Method,
    /// The language that a page speaks.
    pub language: Language,
}

impl Manner {
    /// How the client of a request wants to be told.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let audience = Audience::of(&parts.method, &parts.headers);
        Self {
            id: parts.id,
            audience,
            return_to: way_back(parts, audience),
            authority: parts.authority.clone(),
            method: parts.method.clone(),
            language: Language::of(&parts.headers),
        }
    }
}

/// What kind of client waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A person in front of a top-level navigation: a page, or a redirect to sign in.
    Navigation,
    /// A frame, image or other part of a page: a page, no redirect.
    Subresource,
    /// A script or another program: `application/problem+json`.
    Program,
}

impl Audience {
    /// Decides by Fetch Metadata first, `X-Requested-With` and `Accept` second.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &http::HeaderValue| v.to_str().ok())
        };
        if let Some(mode) = text("sec-fetch-mode") {
            return match (mode, text("sec-fetch-dest")) {
                ("navigate", Some("document") | None) => Self::Navigation,
                ("navigate" | "nested-navigate", _) => Self::Subresource,
                _ => Self::Program,
            };
        }
        let wants_html = text("accept").is_some_and(|a| a.contains("text/html"));
        let is_script = text("x-requested-with").is_some();
        if wants_html
            && !is_script
            && (method == Method::GET || method == Method::HEAD || method == Method::POST)
        {
            Self::Navigation
        } else {
            Self::Program
        }
    }
}
