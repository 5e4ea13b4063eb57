//! Refuses requests that ask the EMR to take them for another method than the one that policy sees.

use http::HeaderMap;

use super::content::Content;
use super::form::{self, FieldError};
use crate::refusal::Refusal;
use crate::request::Target;

/// Header fields by which frameworks override the method.
const HEADERS: [&str; 3] = [
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
];
/// The query and form field by which frameworks override the method.
const FIELD: &str = "_method";

/// Looks for an override in head and query.
///
/// SECURITY: `POST` with an override is `DELETE` to many frameworks, and a harmless entry to policy.
pub(super) fn refuse_in_head(headers: &HeaderMap, target: &Target) -> Result<(), Refusal> {
    if headers.keys().any(|name| is_override(name.as_str())) {
        return Err(Refusal::AmbiguousField);
    }
    target.query().map_or(Ok(()), refuse_in_field)
}

/// Looks for an override in a form that was read.
pub(super) fn refuse_in_content(content: &Content) -> Result<(), Refusal> {
    match content {
        Content::Form(text) => refuse_in_field(text),
        Content::Unread | Content::Json(_) => Ok(()),
    }
}

fn refuse_in_field(raw: &str) -> Result<(), Refusal> {
    // A field of that name cannot be spelt without these letters or an escape.
    let could_hold = raw.contains('%') || raw.to_ascii_lowercase().contains("method");
    if !could_hold {
        return Ok(());
    }
    match form::value(raw, FIELD) {
        // What does not decode holds no field of this name; where the mapping depends on it, it is refused there.
        Ok(None) | Err(FieldError::Malformed) => Ok(()),
        Ok(Some(_)) | Err(FieldError::Twice) => Err(Refusal::AmbiguousField),
    }
}

/// CGI-style back ends see `_` and `.` in a header name as `-`.
fn is_override(name: &str) -> bool {
    let folded = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b };
    HEADERS
        .iter()
        .any(|header| header.len() == name.len() && header.bytes().eq(name.bytes().map(folded)))
}
