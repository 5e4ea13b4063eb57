//! Reads a body that the mapping depends on, as exactly one kind of content.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;

use super::form::FieldError;
use super::json::Json;
use super::profile::{BodyNeed, MOST_READ, Multipart, Route};
use crate::refusal::Refusal;
use crate::request::{Body, Received};

/// What the mapping knows of a body.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: it was not read.
    Unread,
    /// A form, as sent.
    Form(String),
    /// A JSON document; nothing was sent if `Null`.
    Json(Json),
}

/// What a body says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unstated,
    Form,
    Json,
    Multipart,
    Other,
}

/// Reads what `route` needs; the bytes that were read are the bytes that are forwarded.
///
/// SECURITY: a compressed body, a body in another charset and a body with two content types are read differently
/// by the EMR than here, so they are refused where the mapping depends on them.
pub(super) async fn read(
    need: BodyNeed,
    route: &Route,
    received: &mut Received,
    otherwise: Duration,
) -> Result<Content, Refusal> {
    let wanted = match need {
        BodyNeed::Unread => return Ok(Content::Unread),
        BodyNeed::Form | BodyNeed::NoRepeat => Kind::Form,
        BodyNeed::Json => Kind::Json,
    };
    if received.body_mut().is_end_stream() {
        return content(wanted, &Bytes::new());
    }
    let headers = &received.parts().headers;
    let kind = kind(headers)?;
    let is_encoded = is_encoded(headers);
    if need == BodyNeed::NoRepeat && kind != Kind::Form {
        let passes = match kind {
            Kind::Multipart => route.multipart() == Multipart::Passes,
            // SECURITY: Rack takes a POST without a content type for a form.
            Kind::Unstated => false,
            Kind::Form | Kind::Json | Kind::Other => true,
        };
        return if passes {
            Ok(Content::Unread)
        } else {
            Err(Refusal::UnsupportedBody)
        };
    }
    if kind != wanted || is_encoded {
        return Err(Refusal::UnsupportedBody);
    }
    // Boxed: most requests have no body to read, and their futures would keep room for it.
    let bytes = Box::pin(read_whole(received.body_mut(), route, otherwise)).await?;
    content(wanted, &bytes)
}

async fn read_whole(body: &mut Body, route: &Route, otherwise: Duration) -> Result<Bytes, Refusal> {
    body.read(
        route.traits().body_limit.min(MOST_READ),
        route.body_timeout().unwrap_or(otherwise),
    )
    .await
    .map_err(|error| {
        tracing::debug!(%error, "a body that the mapping needs could not be read");
        error.refusal()
    })
}

fn content(kind: Kind, bytes: &[u8]) -> Result<Content, Refusal> {
    if kind == Kind::Form {
        let text = std::str::from_utf8(bytes)
            .ok()
            .ok_or(Refusal::MalformedBody)?;
        return Ok(Content::Form(text.to_owned()));
    }
    if bytes.is_empty() {
        return Ok(Content::Json(Json::Null));
    }
    Json::parse(bytes)
        .map(Content::Json)
        .map_err(|error| match error {
            FieldError::Twice => Refusal::AmbiguousField,
            FieldError::Malformed => Refusal::MalformedBody,
        })
}

fn kind(headers: &HeaderMap) -> Result<Kind, Refusal> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(Kind::Unstated);
    };
    let text = value
        .to_str()
        .ok()
        .ok_or(Refusal::UnsupportedBody)?
        .to_ascii_lowercase();
    let mut parameters = text.split(';');
    let essence = parameters.next().unwrap_or("").trim();
    // SECURITY: PHP ends the type at a comma or space; `application/x-www-form-urlencoded, x` is a form to it.
    if values.next().is_some() || essence.contains([',', ' ', '\t']) {
        return Err(Refusal::UnsupportedBody);
    }
    let kind = match essence {
        "application/x-www-form-urlencoded" => Kind::Form,
        "application/json" => Kind::Json,
        _ if essence.starts_with("application/") && essence.ends_with("+json") => Kind::Json,
        _ if essence.starts_with("multipart/") => Kind::Multipart,
        _ => Kind::Other,
    };
    let has_other_charset = || {
        parameters
            .filter_map(|p| p.split_once('='))
            .any(|(name, value)| {
                name.trim() == "charset"
                    && !matches!(value.trim().trim_matches('"'), "utf-8" | "utf8")
            })
    };
    if matches!(kind, Kind::Form | Kind::Json) && has_other_charset() {
        return Err(Refusal::UnsupportedBody);
    }
    Ok(kind)
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
