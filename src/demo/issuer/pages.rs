//! Renders the provider's pages, redirects and cookies with the headers that belong to them.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};
use cookie::{Cookie, SameSite};

use super::provider::Provider;

/// The cookie of somebody who is signed in at the provider.
pub(super) const SESSION_COOKIE: &str = "riverside_idp_session";
/// The cookie that ties a login form to the browser that asked for it.
pub(super) const BROWSER_COOKIE: &str = "riverside_idp_browser";

/// The form for user name and password.
#[derive(Template)]
#[template(path = "issuer/password.html")]
pub(super) struct PasswordPage<'a> {
    pub(super) transaction: &'a str,
    pub(super) username: &'a str,
    pub(super) message: &'a str,
}

/// The form for the code of the authenticator.
#[derive(Template)]
#[template(path = "issuer/code.html")]
pub(super) struct CodePage<'a> {
    pub(super) transaction: &'a str,
    pub(super) message: &'a str,
}

/// A request that cannot go on and cannot be sent back.
#[derive(Template)]
#[template(path = "issuer/refused.html")]
pub(super) struct Refused<'a> {
    pub(super) why: &'a str,
}

/// The question whether to sign out.
#[derive(Template)]
#[template(path = "issuer/confirm.html")]
pub(super) struct ConfirmPage<'a> {
    pub(super) user: &'a str,
}

/// The end of a session.
#[derive(Template)]
#[template(path = "issuer/signed_out.html")]
pub(super) struct SignedOutPage;

/// A page whose forms go to the provider and are then sent on to `onward`.
pub(super) fn page(status: StatusCode, template: &impl Template, onward: Option<&str>) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page of the sample provider could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    // Browsers hold form-action against the redirects that follow a form, too.
    let onward = onward.and_then(origin).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {onward}; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn origin(uri: &str) -> Option<String> {
    let uri: Uri = uri.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// A page that says why nothing more happens.
pub(super) fn refused(why: &Refused<'_>) -> Response {
    page(StatusCode::BAD_REQUEST, why, None)
}

/// The answer when the provider itself fails.
pub(super) fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "the sample provider failed");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// A redirect that turns a form into a page.
pub(super) fn see_other(location: &str) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => (
            StatusCode::SEE_OTHER,
            [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
        )
            .into_response(),
        Err(error) => failed(&error),
    }
}

/// `uri` with these fields added to its query.
pub(super) fn with_query(uri: &str, fields: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let joint = match (query.is_empty(), uri.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{uri}{joint}{query}")
}

/// Sends the browser back to the client with an answer (RFC 6749, and `iss` by RFC 9207).
pub(super) fn send_back(
    provider: &Provider,
    redirect_uri: &str,
    state: Option<&str>,
    fields: &[(&str, &str)],
) -> Response {
    let mut all = fields.to_vec();
    all.extend(state.map(|state| ("state", state)));
    all.push(("iss", &provider.options.issuer_url));
    see_other(&with_query(redirect_uri, &all))
}

/// Sets a cookie that scripts and other sites' forms do not get.
pub(super) fn with_cookie(mut response: Response, name: &str, value: &str) -> Response {
    let cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .build();
    if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// The value of a cookie, if the browser has it.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_join_the_query_that_is_there() {
        assert_eq!(
            with_query("http://a/b", &[("c", "d e")]),
            "http://a/b?c=d+e"
        );
        assert_eq!(
            with_query("http://a/b?x=1", &[("c", "&")]),
            "http://a/b?x=1&c=%26"
        );
        assert_eq!(with_query("http://a/b", &[]), "http://a/b");
    }

    #[test]
    fn forms_may_lead_on_to_the_client_only() {
        let page = page(
            StatusCode::OK,
            &SignedOutPage,
            Some("https://gate.example:8443/cb?x=1"),
        );
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.contains("form-action 'self' https://gate.example:8443;"),
            "{policy}"
        );
    }
}
