//! Renders a recorded refusal: a page, a redirect to sign in, or a problem document (RFC 9457).

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::said::{became_of, said};
use crate::audit::refuse::Recorded;
use crate::desk::offers::Offers;
use crate::identity::cookie;
use crate::identity::lock::marker;
use crate::identity::routes::{Asked, OwnRoute, TRAINING, emergency_location, login_location};
use crate::language::Language;
use crate::language::phrases::Phrases;
use crate::refusal::Refusal;
use crate::request::onward::{Back, CookieFate};
use crate::request::received::{Audience, Manner};
use crate::request::{Demand, Onward, Throttle};

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
    said: Vec<String>,
    sent: Option<String>,
    phrases: &'static Phrases,
}

struct Link {
    href: String,
    label: &'static str,
    place: Place,
}

/// Where a link opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where it stands.
    Here,
    /// In the whole window: what it leads to is shown in no frame.
    Window,
}

impl Link {
    fn fills_the_window(&self) -> bool {
        self.place == Place::Window
    }
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
    /// Where a person signs in so that what is demanded is met (RFC 9470).
    #[serde(skip_serializing_if = "Option::is_none")]
    step_up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
    /// Where a person states the reason that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_form: Option<String>,
    /// Tells a script that a person who opens the page itself is offered to break the glass.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    break_glass: bool,
}

/// Renders a refusal that is on record.
#[must_use]
pub fn render(recorded: Recorded, offers: &Offers) -> Response<Bytes> {
    let refused = recorded.into_refused();
    let retry = refused.retry();
    let language = refused.manner().language;
    let offer = refused
        .offer()
        .filter(|_| refused.manner().audience == Audience::Navigation)
        .and_then(|offer| offers.location(offer));
    let link = offer.map(|href| Link {
        href,
        label: language.phrases().break_the_glass,
        place: Place::Here,
    });
    let form = refused
        .enquiry()
        .and_then(|enquiry| offers.location_of(&enquiry));
    let note = refused
        .notice()
        .and_then(|notice| notice.of_browser(language));
    let telling = Telling {
        refusal: refused.refusal(),
        manner: refused.manner(),
        onward: refused.onward(),
        retry,
        note,
        sent: became_of(&refused),
        form,
    };
    let mut response = answer(telling, link);
    if let Some(throttle) = refused.throttle() {
        throttle_headers(response.headers_mut(), throttle);
    }
    response
}

/// The one answer that needs no record: the trail itself is down.
#[must_use]
pub fn trail_down(manner: &Manner) -> Response<Bytes> {
    let telling = Telling {
        refusal: Refusal::AuditUnavailable,
        manner,
        onward: &Onward::default(),
        retry: None,
        note: None,
        sent: None,
        form: None,
    };
    answer(telling, None)
}

/// What is told, and to whom.
struct Telling<'t> {
    refusal: Refusal,
    manner: &'t Manner,
    onward: &'t Onward,
    retry: Option<Duration>,
    note: Option<String>,
    /// What became of what was sent.
    sent: Option<String>,
    /// Where a reason is stated that is asked for.
    form: Option<String>,
}

fn answer(telling: Telling<'_>, offer: Option<Link>) -> Response<Bytes> {
    let Telling {
        refusal,
        manner,
        onward,
        retry,
        ..
    } = telling;
    let sign_in = sign_in_link(refusal, manner, onward);
    // Either is where its reader goes on by themselves.
    let lead = sign_in.as_ref().or(telling.form.as_ref());
    let mut response = match (manner.audience, lead) {
        // "Please sign in" is a redirect only where a person waits and nothing typed can be lost.
        (Audience::Navigation, Some(href)) if leads(refusal, manner) => redirect(href),
        (Audience::Navigation | Audience::Subresource, _) => {
            let form = telling.form.clone().map(|href| Link {
                href,
                label: manner.language.phrases().state_reason,
                place: Place::Window,
            });
            let links = offer.or(form).map_or_else(
                || links(refusal, sign_in, manner, onward),
                |offer| vec![offer],
            );
            page(telling, links)
        }
        (Audience::Program, _) => problem(refusal, manner, onward, (sign_in, telling.form)),
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
    insert(headers, "x-request-id", &manner.id.to_string());
    insert(headers, "x-chartgate-refusal", refusal.code());
    if let Some(retry) = retry {
        insert(headers, RETRY_AFTER.as_str(), &seconds(retry).to_string());
    }
    if refusal == Refusal::TokenRefused {
        // RFC 6750 §3.1, whatever asked.
        let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if refusal == Refusal::ScreenLocked {
        headers.insert("chartgate-session", marker());
    }
    clear_cookies(headers, refusal, manner.audience, onward.cookie);
    response
}

/// SECURITY: a bad or ended cookie is cleared at once, so that it cannot poison the next request.
fn clear_cookies(
    headers: &mut http::HeaderMap,
    refusal: Refusal,
    audience: Audience,
    fate: CookieFate,
) {
    // A background poll that meets the end of a session must not take away whose a form is that is still being typed.
    let is_poll = audience == Audience::Program && refusal == Refusal::SessionExpired;
    let ended = matches!(
        refusal,
        Refusal::SessionUnknown
            | Refusal::SessionExpired
            | Refusal::UserLocked
            | Refusal::UserDeactivated
            | Refusal::SignInCircle
    );
    if ended && !is_poll && fate == CookieFate::Cleared {
        headers.append(SET_COOKIE, cookie::clear_session());
    }
    if refusal == Refusal::SignInCircle {
        headers.append(SET_COOKIE, cookie::clear_login());
    }
}

/// Whether a browser is led on by itself. A locked screen is shown as one: it is unlocked by who wants to, not by
/// whoever follows a link.
fn leads(refusal: Refusal, manner: &Manner) -> bool {
    let is_safe = manner.method == Method::GET || manner.method == Method::HEAD;
    is_safe && refusal != Refusal::ScreenLocked
}

/// Whether the session's own user only has to confirm that it is them.
fn asks_again(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::StepUpRequired | Refusal::BindingChanged)
}

fn sign_in_link(refusal: Refusal, manner: &Manner, onward: &Onward) -> Option<String> {
    if matches!(
        refusal,
        Refusal::LoginRequired
            | Refusal::SessionExpired
            | Refusal::SessionUnknown
            | Refusal::NotRenewed
    ) {
        return Some(login_location(&manner.return_to, Asked::SignIn));
    }
    if refusal == Refusal::ScreenLocked {
        return Some(login_location(&manner.return_to, Asked::Unlock));
    }
    match (&onward.back, onward.demand) {
        (_, demand) if asks_again(refusal) => {
            let asked = Asked::StepUp(demand.unwrap_or(Demand::NOW));
            Some(login_location(&manner.return_to, asked))
        }
        (Some(Back::AtOnce(to)), _) => Some(login_location(to, Asked::SignIn)),
        (Some(Back::Link(_)) | None, _) => None,
    }
}

fn redirect(href: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    insert(response.headers_mut(), LOCATION.as_str(), href);
    response
}

/// Where the page leads on to.
fn links(refusal: Refusal, sign_in: Option<String>, manner: &Manner, onward: &Onward) -> Vec<Link> {
    let phrases = manner.language.phrases();
    let one = |href: &str, label| {
        vec![Link {
            href: href.to_owned(),
            label,
            place: Place::Here,
        }]
    };
    if let Some(href) = sign_in {
        if refusal == Refusal::ScreenLocked {
            let mut both = one(&href, phrases.lock.unlock);
            both.extend(one(OwnRoute::Logout.path(), phrases.lock.someone_else));
            return both;
        }
        return one(&href, phrases.sign_in);
    }
    if let Some(Back::Link(to)) = &onward.back {
        let label = if matches!(refusal, Refusal::SignInCircle | Refusal::StepUpUnmet) {
            phrases.try_again
        } else {
            phrases.start_again
        };
        let mut links = one(to, label);
        if refusal == Refusal::StepUpUnmet && to != "/" {
            links.extend(one("/", phrases.step_up.go_on));
        }
        return links;
    }
    if matches!(
        refusal,
        Refusal::LoginStateUnknown
            | Refusal::LoginRefused
            | Refusal::ProviderDenied
            | Refusal::MfaRequired
            | Refusal::ProviderUnavailable
            | Refusal::TooManySessions
            | Refusal::SecondFactorLocked
            | Refusal::StepUpUnmet
    ) {
        let mut links = one("/", phrases.start_again);
        if refusal == Refusal::ProviderUnavailable && onward.emergency {
            let href = emergency_location(&manner.return_to);
            links.extend(one(&href, phrases.emergency.title));
        }
        return links;
    }
    if refusal == Refusal::TrainingUrgent {
        let mut both = one(TRAINING, phrases.take_the_course);
        both.extend(one(&manner.return_to, phrases.continue_to_emr));
        return both;
    }
    if refusal == Refusal::TrainingLapsed {
        return one(TRAINING, phrases.take_the_course);
    }
    if refusal == Refusal::HeldGone {
        return one("/", phrases.go_to_emr);
    }
    Vec::new()
}

fn page(telling: Telling<'_>, links: Vec<Link>) -> Response<Bytes> {
    let Telling {
        refusal,
        manner,
        onward,
        retry,
        note,
        sent,
        form: _,
    } = telling;
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
        said: said(onward, manner.language),
        sent,
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
    manner.language.state(headers);
    response
}

fn problem(
    refusal: Refusal,
    manner: &Manner,
    onward: &Onward,
    (sign_in, reason_form): (Option<String>, Option<String>),
) -> Response<Bytes> {
    let stronger = asks_again(refusal);
    let demand = onward.demand.filter(|_| stronger);
    let problem = Problem {
        kind: format!("urn:chartgate:refusal:{}", refusal.code()),
        title: refusal.title(),
        status: refusal.status().as_u16(),
        detail: refusal.detail(),
        code: refusal.code(),
        remedy: refusal.remedy(),
        request_id: &manner.id.to_string(),
        step_up: sign_in.clone().filter(|_| stronger),
        acr_values: acr_values(onward).filter(|_| stronger),
        max_age: demand.and_then(Demand::max_age_seconds),
        login: sign_in,
        reason_form,
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
        let challenge = if stronger {
            insufficient(demand.unwrap_or(Demand::NOW), onward)
        } else {
            // A scheme that no browser answers with a password pop-up.
            r#"Chartgate realm="EMR""#.to_owned()
        };
        insert(headers, WWW_AUTHENTICATE.as_str(), &challenge);
    }
    response
}

/// The challenge of RFC 9470 §3.
fn insufficient(demand: Demand, onward: &Onward) -> String {
    let mut challenge = format!(
        r#"Bearer error="insufficient_user_authentication", error_description="What is asked for: {}""#,
        demand.told(Language::English)
    );
    if let Some(values) = acr_values(onward) {
        challenge.extend([", acr_values=\"", &values, "\""]);
    }
    if let Some(age) = demand.max_age_seconds() {
        challenge.extend([", max_age=\"", &age.to_string(), "\""]);
    }
    challenge
}

/// The values that fit into a quoted string, in the form of `acr_values`.
fn acr_values(onward: &Onward) -> Option<String> {
    let fits = |value: &&str| {
        let fine = |b: u8| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\';
        !value.is_empty() && value.bytes().all(fine)
    };
    let values = onward.acr_values.iter().map(String::as_str).filter(fits);
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| values.join(" "))
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
