//! What the client sees.
//!
//! *Never*: internal text; an answer to a refusal that is not on record (except the fixed 503 of a trail that is down).

mod banner;
mod csp;
pub mod held;
mod notices;
mod overlay;
pub mod own;
pub mod refused;
mod said;
mod watermark;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use jsonwebtoken::jwk::JwkSet;

use self::banner::{Duty, Markup};
use crate::request::AnswerBody;
use crate::request::received::Audience;
use crate::telemetry::metrics as names;
use crate::upstream::{Cleaned, page};

/// Hands a cleaned answer of the EMR to the connection, with what its reader has to be told.
pub fn deliver(cleaned: Cleaned) -> Response<AnswerBody> {
    let (cover, watermark) = (cleaned.cover(), cleaned.watermark());
    let (mut response, audience, told) = cleaned.into_parts();
    if audience == Audience::Program || !page::is_page(response.status(), response.headers()) {
        return response;
    }
    let notices = banner::markup(audience, &told);
    let mark = watermark.map(|watermark| {
        watermark::admit(response.headers_mut());
        watermark::markup(&watermark)
    });
    let script = cover.map(|(cover, authority)| {
        overlay::admit(response.headers_mut(), &authority);
        overlay::markup(&cover, response.headers())
    });
    let count: banner::Count = match (&mark, &notices, &script) {
        (None, None, None) => return response,
        (Some(_), Some(_), _) => |result| {
            metrics::counter!(names::WATERMARKS, "result" => result).increment(1);
            metrics::counter!(names::BANNERS, "result" => result).increment(1);
        },
        (Some(_), None, _) => |result| {
            metrics::counter!(names::WATERMARKS, "result" => result).increment(1);
        },
        (None, Some(_), _) => |result| {
            metrics::counter!(names::BANNERS, "result" => result).increment(1);
        },
        (None, None, Some(_)) => |result| {
            metrics::counter!(names::LOCK_OVERLAYS, "result" => result).increment(1);
        },
    };
    let duty = match &mark {
        Some(_) => Duty::Obliged,
        None => Duty::Told,
    };
    let html = [notices, mark, script].into_iter().flatten().collect();
    banner::put(response, Markup { html, duty }, count)
}

/// The keys that EMRs verify assertions with (RFC 7517).
#[must_use]
pub fn jwks(keys: &JwkSet) -> Response<Bytes> {
    let json = serde_json::to_vec(keys).unwrap_or_default();
    let mut response = Response::new(Bytes::from(json));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/jwk-set+json"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
