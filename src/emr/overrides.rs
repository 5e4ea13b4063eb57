//! Refuses requests that ask the EMR to take them for another method than the one that policy sees.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

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
    // SECURITY: piece by piece. A piece that does not decode here is skipped by no back end that reads on behind it,
    // so it must not hide an override that stands there.
    if raw.split(['&', ';']).any(is_override_field) {
        return Err(Refusal::AmbiguousField);
    }
    Ok(())
}

fn is_override_field(piece: &str) -> bool {
    match form::value(piece, FIELD) {
        Ok(found) => found.is_some(),
        Err(FieldError::Twice) => true,
        // Read as leniently as any back end might.
        Err(FieldError::Malformed) => percent_decode_str(piece)
            .decode_utf8_lossy()
            .to_ascii_lowercase()
            .contains("method"),
    }
}

/// CGI-style back ends see `_` and `.` in a header name as `-`.
fn is_override(name: &str) -> bool {
    let folded = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b };
    HEADERS
        .iter()
        .any(|header| header.len() == name.len() && header.bytes().eq(name.bytes().map(folded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_does_not_decode_hides_no_override() {
        for raw in [
            "_method=DELETE",
            "a=1&_METHOD=DELETE",
            "%ff=1&_method=DELETE",
            "%ff=1&%5fmethod=DELETE",
            "a;_method=DELETE",
            "%ff;_method=DELETE",
            "_method%00=DELETE",
            "_method=%ff",
            "_method[]=DELETE",
        ] {
            assert_eq!(refuse_in_field(raw), Err(Refusal::AmbiguousField), "{raw}");
        }
        for raw in [
            "",
            "a=1",
            "%ff=1",
            "name=J%FCrgen&a=1",
            "method=x",
            "x=_method",
        ] {
            assert_eq!(refuse_in_field(raw), Ok(()), "{raw}");
        }
    }
}
