//! The page of a form that waits for its user: what was typed, where it would go, and what may become of it.
//!
//! *Never*: to anybody but the user who sent it; a form that sends anything by itself.

use askama::Template;
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::tz::TimeZone;

use super::notices::time;
use crate::desk::page::page;
use crate::identity::held::{HeldPost, Way, location};
use crate::language::Language;
use crate::language::phrases::Phrases;

/// The page.
#[derive(Template)]
#[template(path = "held.html")]
struct Page<'p> {
    nonce: &'p str,
    action: String,
    digest: String,
    method_path: &'p str,
    what: Option<String>,
    patients: String,
    sent_at: String,
    until: String,
    fields: Vec<Field>,
    step: Step<'p>,
    waits: bool,
    can_send: bool,
    tried: bool,
    link: Option<(&'p str, &'p str)>,
    phrases: &'static Phrases,
}

struct Field {
    name: String,
    value: String,
    rows: usize,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'s> {
    /// It waits, and its user may have it sent.
    Offered,
    /// It waits, to be copied.
    Shown,
    /// It was sent and was not taken, for this reason; it waits on.
    Refused(&'s str),
    /// It was sent; what the EMR answered is no page that could be shown here.
    Sent,
}

impl Step<'_> {
    /// How a form that nobody sent yet is shown.
    #[must_use]
    pub const fn first(post: &HeldPost) -> Self {
        match post.way() {
            Way::Replay => Self::Offered,
            Way::Show => Self::Shown,
        }
    }
}

/// Renders the page in `language`; `link` leads on, where that is needed.
#[must_use]
pub fn render(
    post: &HeldPost,
    step: Step<'_>,
    link: Option<(&str, &str)>,
    (nonce, language): (&str, Language),
) -> Response<Bytes> {
    let zone = TimeZone::system();
    let about = post.about();
    let patients = about.map(|about| {
        let ids = about.patients.iter().map(|patient| patient.id.as_str());
        ids.collect::<Vec<_>>().join(", ")
    });
    let fields = post.fields().into_iter().map(|(name, value)| Field {
        rows: value.lines().count().clamp(1, 12),
        name,
        value,
    });
    let target = post.target();
    let shown = Page {
        nonce,
        action: location(post.id()),
        digest: post.digest(),
        method_path: target.split('?').next().unwrap_or(target),
        what: about.map(|about| format!("{} {}", about.action.name(), about.section)),
        patients: patients.unwrap_or_default(),
        sent_at: time(post.at(), &zone),
        until: time(post.until(), &zone),
        fields: fields.collect(),
        step,
        waits: step != Step::Sent,
        can_send: post.way() == Way::Replay,
        tried: step != Step::Sent && post.tried() > 0,
        link,
        phrases: language.phrases(),
    };
    let html = shown.render().unwrap_or_default();
    let mut response = page(html, StatusCode::OK, nonce);
    language.state(response.headers_mut());
    response
}
