//! The form and the protection of a desk's pages.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::identity::identify::Identified;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Refused, Target};

/// A form must have arrived within this.
const DEADLINE: Duration = Duration::from_secs(20);

/// A page: this browser's alone, runs nothing, stands in no frame, and sends its forms here only.
#[must_use]
pub fn page(html: String, status: StatusCode, nonce: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(html));
    *response.status_mut() = status;
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (HeaderName::from_static("x-frame-options"), "DENY"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// A page with a form, as rendered: shown for the first time, or again with what is wrong with what was sent.
#[must_use]
pub fn form(html: String, problem: Option<&str>, nonce: &str) -> Response<Bytes> {
    let status = match problem {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    page(html, status, nonce)
}

/// To another page of this host, by `GET`.
#[must_use]
pub fn redirect(location: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a visitor typed, by field; at most `largest` bytes.
///
/// # Errors
/// [`Refused`] for a form that is too large or too slow, or names a field twice.
pub async fn typed(
    mut visitor: Identified,
    largest: u64,
) -> Result<(Identified, BTreeMap<String, String>), Refused> {
    let body = match visitor
        .received_mut()
        .body_mut()
        .read(largest, DEADLINE)
        .await
    {
        Ok(body) => body,
        Err(error) => return Err(visitor.refuse(error.refusal())),
    };
    let mut fields = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(&body).into_owned() {
        // SECURITY: with two of a field, which one counts would be whoever reads them's choice.
        if fields.insert(name, value).is_some() {
            return Err(visitor.refuse(Refusal::AmbiguousField));
        }
    }
    Ok((visitor, fields))
}

/// A text as it goes on record: plain line ends, and nothing else that moves a cursor.
#[must_use]
pub fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let kept = text.chars().filter(|c| *c == '\n' || !c.is_control());
    kept.collect::<String>().trim().to_owned()
}

/// The one field of this name that an address holds; nothing where there are several.
#[must_use]
pub fn sole(target: &Target, name: &str) -> Option<String> {
    let mut found = target.fields().filter(|(field, _)| field == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// SECURITY: what was sealed is for one user in one session at one host; a link that was passed on opens nothing.
#[must_use]
pub fn is_for(visitor: &Identified, (user, session, authority): (&str, &str, &str)) -> bool {
    user == visitor.principal().id()
        && session == visitor.session().as_str()
        && authority == visitor.received().parts().authority
}

/// The answer to a visitor, with what goes on record first.
pub fn handled(
    visitor: Identified,
    event: Event,
    detail: &[(&str, &str)],
    response: Response<Bytes>,
) -> Handled {
    let is_head = visitor.received().parts().method == Method::HEAD;
    let (received, _, _) = visitor.into_parts();
    let (_, _, _, facts) = received.into_parts();
    let detail = detail.iter();
    Handled {
        facts,
        event,
        detail: detail
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        response: if is_head {
            response.map(|_| Bytes::new())
        } else {
            response
        },
    }
}
