//! Notices on the EMR's own pages, put in while the page streams through.
//!
//! *Never*: a notice on what no person looks at.
//! *On failure*: the page passes as it is and is counted as such. Showing a notice is worth less than showing the chart.

mod body;
#[cfg(test)]
mod tests;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response};
use http_body::Body;

use self::body::{Fate, Noticed};
use super::notices;
use crate::request::received::Audience;
use crate::request::{AnswerBody, Notice};
use crate::upstream::page::is_readable;

/// What a changed page can no longer say of itself.
const OF_THE_WHOLE: &[&str] = &[
    "accept-ranges",
    "content-digest",
    "content-length",
    "content-md5",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
];

/// Counts what became of one page, by a word.
pub(super) type Count = fn(&'static str);

/// What of `told` is put on an answer to `audience`, as markup; nothing, if nothing is.
pub(super) fn markup(audience: Audience, told: &[Notice]) -> Option<String> {
    let told: Vec<&Notice> = told
        .iter()
        .filter(|notice| concerns(audience, notice))
        .collect();
    (!told.is_empty()).then(|| notices::html(&told))
}

/// Whether a page goes on without what was to stand on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It does: it is told something, no more.
    Told,
    /// It breaks off: a permit obliges it.
    Obliged,
}

/// What is put on a page.
pub(super) struct Markup {
    pub(super) html: String,
    pub(super) duty: Duty,
}

/// Puts `markup` at the top of a page, and says by `count` what became of it.
pub(super) fn put(
    response: Response<AnswerBody>,
    markup: Markup,
    count: Count,
) -> Response<AnswerBody> {
    if !is_readable(response.headers()) {
        tracing::warn!(
            "a page is compressed or of another character set; it passes without its notice"
        );
        Fate::Passed.count(count);
        return response;
    }
    let (mut parts, body) = response.into_parts();
    for name in OF_THE_WHOLE {
        parts.headers.remove(*name);
    }
    // A notice is true for now; a page from the cache would show it afterwards, or not show it now.
    parts
        .headers
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = if body.is_end_stream() {
        body
    } else {
        AnswerBody::streaming(Noticed::new(body, markup, count))
    };
    Response::from_parts(parts, body)
}

/// A frame of a page tells what concerns its own content; the rest stands once, on the page around it.
const fn concerns(audience: Audience, notice: &Notice) -> bool {
    match (audience, notice) {
        (Audience::Navigation, _)
        | (Audience::Subresource, Notice::BreakGlass { .. } | Notice::ReadOnly) => true,
        (
            Audience::Subresource,
            Notice::Lockdown { .. }
            | Notice::TrainingDue { .. }
            | Notice::TrainingLapsed { .. }
            | Notice::SignedIn { .. }
            | Notice::SharedWorkstation { .. }
            | Notice::OldBrowser { .. }
            | Notice::UnknownBrowser { .. },
        )
        | (Audience::Program, _) => false,
    }
}
