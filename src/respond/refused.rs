//! Renders a recorded refusal: a page, a redirect to sign in, or a problem document (RFC 9457).

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER,
    SET_COOKIE, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use crate::audit::refuse::Recorded;
use crate::desk::offers::Offers;
use crate::identity::cookie;
use crate::identity::routes::{Asked, TRAINING, login_location};
use crate::language::Phrases;
use crate::refusal::Refusal;
use crate::request::Notice;
use crate::request::received::{Audience, Manner, Throttle};

#[derive(Template)]
#[template(path = "refusal.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
    remedy: &'a str,
    code: &'a str,
    request_id: &'a str,
    nonce: &'a str,
    retry: Option<u64>,
    links: Vec<Link>,
    note: Option<String>,
    lang: &'static str,
    phrases: &'static Phrases,
}

struct Link {
    href: String,
    label: &'static str,
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    remedy: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    /// Tells a script that a person who opens the page itself is offered to break the glass.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    break_glass: bool,
}

/// Renders a refusal that is on record.
#[must_use]
pub fn render(recorded: Recorded, offers: &Offers) -> Response<Bytes> {
    let refused = recorded.into_refused();
    let retry = refused.retry();
    let offer = refused
        .offer()
        .filter(|_| refused.manner().audience == Audience::Navigation)
        .and_then(|offer| offers.location(offer));
    let link = offer.map(|href| Link {
        href,
        label: refused.manner().language.phrases().break_the_glass,
    });
    let note = refused.notice().and_then(Notice::of_browser);
    let mut response = answer(refused.refusal(), refused.manner(), (retry, note), link);
    if let Some(throttle) = refused.throttle() {
        throttle_headers(response.headers_mut(), throttle);
    }
    response
}

/// The one answer that needs no record: the trail itself is down.
#[must_use]
pub fn trail_down(manner: &Manner) -> Response<Bytes> {
    answer(Refusal::AuditUnavailable, manner, (None, None), None)
}

fn answer(
    refusal: Refusal,
    manner: &Manner,
    (retry, note): (Option<Duration>, Option<String>),
    offer: Option<Link>,
) -> Response<Bytes> {
    let sign_in = sign_in_link(refusal, manner);
    let safe = manner.method == Method::GET || manner.method == Method::HEAD;
    let mut response = match (manner.audience, &sign_in) {
        // "Please sign in" is a redirect only where a person waits and nothing typed can be lost.
        (Audience::Navigation, Some(href)) if safe => redirect(href),
        (Audience::Navigation | Audience::Subresource, _) => page(
            refusal,
            manner,
            (retry, note),
            offer.map_or_else(|| links(refusal, sign_in, manner), |offer| vec![offer]),
        ),
        (Audience::Program, _) => problem(refusal, manner, sign_in),
    };
    if manner.method == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("referrer-policy", HeaderValue::from_static("same-origin"));
    if manner.audience != Audience::Program {
        // What a page says depends on the language that was asked for.
        insert(headers, VARY.as_str(), "Accept-Language");
        insert(headers, CONTENT_LANGUAGE.as_str(), manner.language.tag());
    }
    insert(headers, "x-request-id", &manner.id.to_string());
    insert(headers, "x-chartgate-refusal", refusal.code());
    if let Some(retry) = retry {
        insert(headers, RETRY_AFTER.as_str(), &seconds(retry).to_string());
    }
    // SECURITY: a bad or ended cookie is cleared at once, so that it cannot poison the next request.
    if matches!(
        refusal,
        Refusal::SessionUnknown
            | Refusal::SessionExpired
            | Refusal::UserLocked
            | Refusal::UserDeactivated
    ) {
        headers.append(SET_COOKIE, cookie::clear_session());
    }
    response
}

fn sign_in_link(refusal: Refusal, manner: &Manner) -> Option<String> {
    if matches!(
        refusal,
        Refusal::LoginRequired | Refusal::SessionExpired | Refusal::SessionUnknown
    ) {
        Some(login_location(&manner.return_to, Asked::SignIn))
    } else if refusal == Refusal::StepUpRequired {
        Some(login_location(&manner.return_to, Asked::StepUp))
    } else {
        None
    }
}

fn redirect(href: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    insert(response.headers_mut(), LOCATION.as_str(), href);
    response
}

/// Where the page leads on to.
fn links(refusal: Refusal, sign_in: Option<String>, manner: &Manner) -> Vec<Link> {
    let phrases = manner.language.phrases();
    let one = |href: &str, label| {
        let href = href.to_owned();
        vec![Link { href, label }]
    };
    if let Some(href) = sign_in {
        return one(&href, phrases.sign_in);
    }
    if matches!(
        refusal,
        Refusal::LoginStateUnknown
            | Refusal::LoginRefused
            | Refusal::ProviderDenied
            | Refusal::MfaRequired
            | Refusal::ProviderUnavailable
    ) {
        return one("/", phrases.start_again);
    }
    if refusal == Refusal::TrainingUrgent {
        let mut both = one(TRAINING, phrases.take_the_course);
        both.extend(one(&manner.return_to, phrases.continue_to_emr));
        return both;
    }
    if refusal == Refusal::TrainingLapsed {
        return one(TRAINING, phrases.take_the_course);
    }
    Vec::new()
}

fn page(
    refusal: Refusal,
    manner: &Manner,
    (retry, note): (Option<Duration>, Option<String>),
    links: Vec<Link>,
) -> Response<Bytes> {
    let id = manner.id.to_string();
    let words = refusal.words(manner.language);
    let page = Page {
        title: words.title,
        detail: words.detail,
        remedy: words.remedy,
        code: refusal.code(),
        request_id: &id,
        nonce: &id,
        retry: retry.map(seconds),
        links,
        note,
        lang: manner.language.tag(),
        phrases: manner.language.phrases(),
    };
    // A template of fixed text cannot fail to render; if it did, the code alone is the page.
    let html = page.render().unwrap_or_else(|_| refusal.code().to_owned());
    let mut response = Response::new(Bytes::from(html));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    insert(
        headers,
        CONTENT_SECURITY_POLICY.as_str(),
        &format!(
            "default-src 'none'; style-src 'nonce-{id}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        ),
    );
    response
}

fn problem(refusal: Refusal, manner: &Manner, login: Option<String>) -> Response<Bytes> {
    let problem = Problem {
        kind: format!("urn:chartgate:refusal:{}", refusal.code()),
        title: refusal.title(),
        status: refusal.status().as_u16(),
        detail: refusal.detail(),
        code: refusal.code(),
        remedy: refusal.remedy(),
        request_id: &manner.id.to_string(),
        login,
        break_glass: refusal == Refusal::BreakGlassOffered,
    };
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Bytes::from(json));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if refusal.status() == StatusCode::UNAUTHORIZED {
        // RFC 9470 for step-up; else a scheme that no browser answers with a password pop-up.
        let challenge = if refusal == Refusal::StepUpRequired {
            r#"Bearer error="insufficient_user_authentication""#
        } else {
            r#"Chartgate realm="EMR""#
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
fn throttle_headers(headers: &mut http::HeaderMap, throttle: Throttle) {
    let (window, retry) = (seconds(throttle.window), seconds(throttle.retry));
    insert(
        headers,
        "ratelimit-policy",
        &format!("\"{}\";q={};w={window}", throttle.name, throttle.quota),
    );
    insert(
        headers,
        "ratelimit",
        &format!("\"{}\";r=0;t={retry}", throttle.name),
    );
}

/// Whole seconds, rounded up, at least one.
fn seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
        .max(1)
}

fn insert(headers: &mut http::HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (
        name.parse::<http::HeaderName>(),
        HeaderValue::from_str(value),
    ) {
        headers.insert(name, value);
    }
}
