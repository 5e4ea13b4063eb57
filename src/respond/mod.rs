//! What the client sees.
//!
//! *Never*: internal text; an answer to a refusal that is not on record (except the fixed 503 of a trail that is down).

mod banner;
mod notices;
pub mod own;
pub mod refused;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use jsonwebtoken::jwk::JwkSet;

use crate::request::AnswerBody;
use crate::upstream::Cleaned;

/// Hands a cleaned answer of the EMR to the connection, with what its reader has to be told.
pub fn deliver(cleaned: Cleaned) -> Response<AnswerBody> {
    let (response, audience, told) = cleaned.into_parts();
    banner::noticed(response, audience, &told)
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
