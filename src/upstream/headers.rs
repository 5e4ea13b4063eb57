//! The head of the request that the EMR receives: what the client may say, and what the gateway states.
//!
//! *Never*: a gateway cookie, a client's `Authorization` that the route does not pass, an identity that is not the
//! principal's.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body::Body as _;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Emr;
use super::assertion::Recent;
use super::outgoing::Outgoing;
use crate::config::{BackendProtocol, HostHeader};
use crate::emr::profile::RouteTraits;
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::credentials::is_gateway_cookie;
use crate::request::received::{Audience, Parts};
use crate::request::watermark::Marks;

/// Everything in a header value but visible ASCII, and what would end a list or an escape.
const NAME: &AsciiSet = &CONTROLS.add(b'%');
const LISTED: &AsciiSet = &NAME.add(b',');

/// Where a request comes from. Constants are not parsed anew for each request.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The id that the user sees, on the way there and back.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Builds the request that the EMR receives, with exactly the target that policy saw.
pub(super) fn build(
    limited: &Limited,
    emr: &Emr,
    recent: &Recent,
    body: Outgoing,
    now: jiff::Timestamp,
) -> Result<Request<Outgoing>, Refusal> {
    let parts = limited.received().parts();
    let mut request = Request::new(body);
    let host = match emr.backend.host {
        HostHeader::Public => parts.authority.as_str(),
        HostHeader::Backend => emr.endpoint.authority(),
    };
    *request.uri_mut() = uri(parts, emr, host)?;
    request.method_mut().clone_from(&parts.method);
    *request.headers_mut() = parts.headers.clone();
    if emr.backend.protocol == BackendProtocol::Http2 {
        *request.version_mut() = http::Version::HTTP_2;
    }
    let empty = request.body().is_end_stream();
    let headers = request.headers_mut();
    restrict(headers, limited.authorized().mapped().traits());
    if limited.authorized().mapped().is_listened_to() {
        ask_for_all(headers, &parts.method);
    }
    let is_page = Audience::of(&parts.method, &parts.headers) != Audience::Program;
    let marked = limited.authorized().obligations().marks == Marks::Watermark;
    if is_page && (marked || !limited.authorized().notices().is_empty()) {
        ask_for_all(headers, &parts.method);
    }
    if is_page && limited.received().cover().is_some() {
        ask_plainly(headers, &parts.method);
    }
    if limited.authorized().mapped().traits().no_store {
        ask_afresh(headers, &parts.method);
    }
    frame(headers, parts, emr, empty);
    if emr.backend.protocol == BackendProtocol::Http1 {
        headers.insert(header::HOST, text(host)?);
    }
    state_origin(headers, parts)?;
    state_identity(headers, limited, emr, recent, now)?;
    Ok(request)
}

fn uri(parts: &Parts, emr: &Emr, host: &str) -> Result<Uri, Refusal> {
    let target = parts.target.as_str();
    let uri = match emr.backend.protocol {
        BackendProtocol::Http1 => Uri::try_from(target),
        BackendProtocol::Http2 => {
            Uri::try_from(format!("{}://{host}{target}", emr.backend.url.scheme()))
        }
    };
    uri.ok()
        // INVARIANT: what is sent is what was decided on, byte for byte.
        .filter(|uri| {
            uri.path_and_query()
                .is_some_and(|sent| sent.as_str() == target)
        })
        .ok_or(Refusal::AmbiguousTarget)
}

/// Removes what may not reach this EMR.
fn restrict(headers: &mut HeaderMap, route: &RouteTraits) {
    // SECURITY: NTLM and Negotiate authenticate the connection, not the request; in a pool, the next user's requests
    // would run under the last one's name.
    let of_connection = headers.get(header::AUTHORIZATION).is_some_and(|value| {
        let scheme = value.as_bytes().split(|b| *b == b' ').next();
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
        })
    });
    if !route.pass_authorization || of_connection {
        headers.remove(header::AUTHORIZATION);
    }
    let Some(cookies) = headers.get(header::COOKIE) else {
        return;
    };
    let kept: Vec<&[u8]> = cookies
        .as_bytes()
        .split(|b| *b == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_gateway_cookie(pair))
        .collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..]));
    match kept {
        Ok(kept) if !kept.is_empty() => headers.insert(header::COOKIE, kept),
        Ok(_) | Err(_) => headers.remove(header::COOKIE),
    };
}

/// Asks for an answer that can be listened to, or be given a notice: whole, and not compressed. "Not modified" would
/// teach nothing and tell nothing.
fn ask_for_all(headers: &mut HeaderMap, method: &Method) {
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    // Of a change they are conditions, and stay.
    if [Method::GET, Method::HEAD].contains(method) {
        for name in [
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_RANGE,
            header::RANGE,
        ] {
            headers.remove(name);
        }
    }
}

/// Asks for a page that the script of the screen lock can be put on. A part of something larger is no page, and stays
/// one.
fn ask_plainly(headers: &mut HeaderMap, method: &Method) {
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    ask_afresh(headers, method);
}

/// Asks for an answer about a patient as if nothing was kept of an earlier one: nothing may have been, and "not
/// modified" would have a copy shown that stems from before the gateway.
fn ask_afresh(headers: &mut HeaderMap, method: &Method) {
    // Of a change they are conditions, and stay.
    if [Method::GET, Method::HEAD].contains(method) {
        headers.remove(header::IF_NONE_MATCH);
        headers.remove(header::IF_MODIFIED_SINCE);
    }
}

/// States how the message is framed; lengths come from the body itself.
fn frame(headers: &mut HeaderMap, parts: &Parts, emr: &Emr, empty: bool) {
    headers.remove(header::CONTENT_LENGTH);
    let wants_length = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    if empty && wants_length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    match (emr.backend.protocol, &parts.upgrade_to) {
        (BackendProtocol::Http1, Some(protocol)) => {
            if let Ok(protocol) = HeaderValue::try_from(protocol) {
                headers.insert(header::UPGRADE, protocol);
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
        }
        // RFC 9110 §10.1.4: `TE` is for the next hop only, and says so.
        (BackendProtocol::Http1, None) if headers.contains_key(header::TE) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        (BackendProtocol::Http1 | BackendProtocol::Http2, _) => {}
    }
}

/// States where the request comes from, in single values.
fn state_origin(headers: &mut HeaderMap, parts: &Parts) -> Result<(), Refusal> {
    let port = parts
        .authority
        .strip_prefix(&parts.host)
        .and_then(|rest| rest.strip_prefix(':'))
        .unwrap_or("443");
    headers.insert(FOR, text(&parts.client.to_string())?);
    headers.insert(PROTO, HeaderValue::from_static("https"));
    headers.insert(HOST, text(&parts.authority)?);
    headers.insert(PORT, text(port)?);
    headers.insert(REQUEST_ID, text(&parts.id.to_string())?);
    Ok(())
}

/// States who the user is, in the ways that the EMR understands.
fn state_identity(
    headers: &mut HeaderMap,
    limited: &Limited,
    emr: &Emr,
    recent: &Recent,
    now: jiff::Timestamp,
) -> Result<(), Refusal> {
    let identified = limited.authorized().mapped().identified();
    let principal = identified.principal();
    let pass = &emr.identity;
    // A client without an account is nobody in an EMR that goes by names.
    let account = || principal.account().ok_or(Refusal::CredentialNotAccepted);
    if let Some(name) = &pass.user_header {
        let user = utf8_percent_encode(account()?, NAME).to_string();
        headers.insert(name, text(&user)?);
    }
    if let Some(name) = &pass.roles_header {
        let roles: Vec<String> = principal
            .roles()
            .iter()
            .map(|role| utf8_percent_encode(role.as_str(), LISTED).to_string())
            .collect();
        headers.insert(name, text(&roles.join(","))?);
    }
    if let (Some(assertion), Some(signer)) = (&pass.assertion, &emr.signer) {
        account()?;
        let parts = limited.received().parts();
        let who = (identified.session(), principal);
        let value = recent
            .assertion(signer, who, &parts.authority, parts.id, now)
            .ok_or(Refusal::Internal)?;
        headers.insert(&assertion.header, value);
    }
    if let Some(basic) = &emr.basic {
        headers.insert(header::AUTHORIZATION, basic.clone());
    }
    Ok(())
}

fn text(value: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(value).ok().ok_or(Refusal::Internal)
}
