//! The few answers that sign-in and sign-out give: redirects and two plain pages.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

use crate::language::Language;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Has the browser forget what it kept of a session: pages, also those that Back would show, and what scripts stored
/// (W3C Clear Site Data). Not `cookies`: that would clear those of every other system under the same domain.
pub fn clear_site_data(headers: &mut http::HeaderMap) {
    let all = HeaderValue::from_static("\"cache\", \"storage\"");
    headers.insert(CLEAR_SITE_DATA, all);
}

/// An answer in the making; nothing of it may be stored, and its address leaks to nobody.
#[derive(Debug)]
pub(super) struct Answer(Response<Bytes>);

impl Answer {
    fn new(status: StatusCode, body: Bytes) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Self(response)
    }

    /// 303 to a path on this host or an address of the provider; `None` if it fits no header.
    pub(super) fn redirect(location: &str) -> Option<Self> {
        let location = HeaderValue::from_str(location).ok()?;
        let mut answer = Self::new(StatusCode::SEE_OTHER, Bytes::new());
        answer.0.headers_mut().insert(LOCATION, location);
        Some(answer)
    }

    /// 200 with a JSON document for one browser; `None` if it cannot be written.
    pub(super) fn json(document: &serde_json::Value) -> Option<Self> {
        let json = serde_json::to_vec(document).ok()?;
        let mut answer = Self::new(StatusCode::OK, Bytes::from(json));
        let json = HeaderValue::from_static("application/json");
        answer.0.headers_mut().insert(CONTENT_TYPE, json);
        Some(answer)
    }

    /// 403 without content: the browser has more to bring.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, Bytes::new())
    }

    /// The same with one more field.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// 200 without content.
    pub(super) fn done() -> Self {
        Self::new(StatusCode::OK, Bytes::new())
    }

    /// An empty page that only pages of `origin` may frame; `None` if that fits no header.
    pub(super) fn framed(origin: &str) -> Option<Self> {
        let policy = format!("default-src 'none'; base-uri 'none'; frame-ancestors {origin}");
        let policy = HeaderValue::try_from(policy).ok()?;
        let page = "<!doctype html><html lang=\"en\"><title>Signed out</title></html>";
        let mut answer = Self::new(StatusCode::OK, Bytes::from_static(page.as_bytes()));
        let headers = answer.0.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        // A provider may be cross-origin isolated, and then frames only what says that it may be.
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        );
        Some(answer)
    }

    /// A page without scripts or images, whose one style carries `nonce`; `None` if that fits no header.
    pub(super) fn page(html: String, nonce: &str) -> Option<Self> {
        // No `form-action`: browsers apply it to the redirect to the provider that follows the form.
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).ok()?;
        let mut answer = Self::new(StatusCode::OK, Bytes::from(html));
        let headers = answer.0.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        // Under `no-referrer` browsers send `Origin: null` with a form (Fetch standard, "append a request Origin header"),
        // which the screen refuses.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(answer)
    }

    /// 200 with a public JSON document that may be kept for five minutes.
    pub(super) fn public(json: Vec<u8>, kind: &'static str) -> Self {
        let mut answer = Self::new(StatusCode::OK, Bytes::from(json));
        let headers = answer.0.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        answer
    }

    /// The same as [`Self::page`], with one script that carries `nonce`, too, and another status.
    pub(super) fn scripted(html: String, nonce: &str, status: StatusCode) -> Option<Self> {
        let mut answer = Self::page(html, nonce)?;
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).ok()?;
        answer
            .0
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, policy);
        *answer.0.status_mut() = status;
        Some(answer)
    }

    /// The same as [`Self::page`] with another status.
    pub(super) fn page_of(html: String, nonce: &str, status: StatusCode) -> Option<Self> {
        let mut answer = Self::page(html, nonce)?;
        *answer.0.status_mut() = status;
        Some(answer)
    }

    /// States the refusal that the page is about, as every refusal does.
    pub(super) fn about(mut self, code: &'static str) -> Self {
        let name = HeaderName::from_static("x-chartgate-refusal");
        self.0
            .headers_mut()
            .insert(name, HeaderValue::from_static(code));
        self
    }

    /// The same with a script of the gateway's own.
    pub(super) fn page_with_own_script(html: String, nonce: &str) -> Option<Self> {
        let mut answer = Self::page(html, nonce)?;
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).ok()?;
        answer
            .0
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, policy);
        Some(answer)
    }

    /// A script that is the same for everyone who speaks a language.
    pub(super) fn script(text: String) -> Self {
        let mut answer = Self::new(StatusCode::OK, Bytes::from(text));
        let headers = answer.0.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/javascript; charset=utf-8"),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Kept for a while: it is loaded with every page.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
        answer
    }

    /// States the language that it is in, which follows from what the browser asked for.
    pub(super) fn spoken(mut self, language: Language) -> Self {
        language.state(self.0.headers_mut());
        self
    }

    pub(super) fn set_cookie(mut self, cookie: HeaderValue) -> Self {
        self.0.headers_mut().append(SET_COOKIE, cookie);
        self
    }

    pub(super) fn clear_site(mut self) -> Self {
        clear_site_data(self.0.headers_mut());
        self
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        self.0
    }
}
