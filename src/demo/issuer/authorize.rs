//! The authorization endpoint: checks a request, then sends a code or starts a login.

use std::sync::Arc;

use axum::{Form, extract::State, http::HeaderMap, response::Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    pages::{self, Refused},
    provider::{Provider, SsoSession},
};
use crate::demo::random;

/// The parameters as they came.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Raw {
    client_id: Option<String>,
    redirect_uri: Option<String>,
    response_type: Option<String>,
    response_mode: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    prompt: Option<String>,
    max_age: Option<String>,
    login_hint: Option<String>,
    request: Option<String>,
    request_uri: Option<String>,
}

/// Whether the person must be asked, may be asked, or must not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prompt {
    Login,
    Never,
    WhenNeeded,
}

/// A request that this client may make.
///
/// `acr_values` is not part of it: as with most providers it is a wish, and what the person has
/// decides what the token says.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) challenge: String,
    pub(super) login_hint: String,
    prompt: Prompt,
    max_age: Option<i64>,
}

/// What is wrong with a request: shown to the person, or sent back to the client.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Returned(&'static str, &'static str),
    Shown(&'static str),
}

/// Where an answer goes, once that is certain.
struct Destination {
    client: String,
    redirect_uri: String,
    state: Option<String>,
}

impl Destination {
    fn of(raw: &mut Raw, provider: &Provider) -> Result<Self, Fault> {
        let client = raw
            .client_id
            .take()
            .and_then(|id| provider.client(&id))
            .ok_or(Fault::Shown("The application is not registered here."))?;
        // SECURITY: a code must never go to an address that the client did not register.
        let redirect_uri = raw
            .redirect_uri
            .take()
            .filter(|uri| client.may_receive_codes_at(uri))
            .ok_or(Fault::Shown(
                "The application gave a return address that is not registered.",
            ))?;
        Ok(Self {
            client: client.id().to_owned(),
            redirect_uri,
            state: raw.state.take(),
        })
    }
}

fn code_challenge(raw: &mut Raw) -> Result<String, Fault> {
    if raw.code_challenge_method.as_deref() != Some("S256") {
        return Err(Fault::Returned(
            "invalid_request",
            "PKCE with S256 is required",
        ));
    }
    raw.code_challenge
        .take()
        .filter(|challenge| {
            challenge.len() == 43
                && challenge
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
        .ok_or(Fault::Returned(
            "invalid_request",
            "code_challenge is missing or malformed",
        ))
}

fn prompt(raw: &Raw) -> Result<Prompt, Fault> {
    let words: Vec<&str> = raw
        .prompt
        .as_deref()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let known = ["login", "none", "consent", "select_account"];
    if words.iter().any(|word| !known.contains(word)) {
        return Err(Fault::Returned(
            "invalid_request",
            "prompt is not understood",
        ));
    }
    match (
        words.contains(&"none"),
        words.contains(&"login"),
        words.len(),
    ) {
        (true, _, 1) => Ok(Prompt::Never),
        (true, _, _) => Err(Fault::Returned(
            "invalid_request",
            "prompt none excludes others",
        )),
        (false, true, _) => Ok(Prompt::Login),
        (false, false, _) => Ok(Prompt::WhenNeeded),
    }
}

impl Authorization {
    fn check(mut raw: Raw, destination: &Destination) -> Result<Self, Fault> {
        if raw.request.is_some() {
            return Err(Fault::Returned(
                "request_not_supported",
                "request objects are not read",
            ));
        }
        if raw.request_uri.is_some() {
            return Err(Fault::Returned(
                "request_uri_not_supported",
                "request objects are not read",
            ));
        }
        if raw.response_type.as_deref() != Some("code") {
            return Err(Fault::Returned(
                "unsupported_response_type",
                "only code is supported",
            ));
        }
        if raw
            .response_mode
            .as_deref()
            .is_some_and(|mode| mode != "query")
        {
            return Err(Fault::Returned(
                "invalid_request",
                "only response_mode query is supported",
            ));
        }
        let scopes = raw.scope.take().unwrap_or_default();
        if !scopes.split(' ').any(|scope| scope == "openid") {
            return Err(Fault::Returned(
                "invalid_scope",
                "the scope openid is needed",
            ));
        }
        let max_age = match raw.max_age.as_deref().map(str::parse::<u32>) {
            None => None,
            Some(Ok(seconds)) => Some(i64::from(seconds)),
            Some(Err(_)) => return Err(Fault::Returned("invalid_request", "max_age is no number")),
        };
        Ok(Self {
            challenge: code_challenge(&mut raw)?,
            prompt: prompt(&raw)?,
            max_age,
            client: destination.client.clone(),
            redirect_uri: destination.redirect_uri.clone(),
            state: destination.state.clone(),
            nonce: raw.nonce,
            login_hint: raw.login_hint.unwrap_or_default(),
        })
    }

    /// Whether a session that exists may be used without asking the person again.
    fn accepts(&self, session: &SsoSession, now: Timestamp) -> bool {
        let age = now.duration_since(session.auth_time).as_secs();
        self.prompt != Prompt::Login && self.max_age.is_none_or(|most| age < most)
    }
}

pub(super) async fn authorize(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(mut raw): Form<Raw>,
) -> Response {
    let destination = match Destination::of(&mut raw, &provider) {
        Ok(destination) => destination,
        Err(Fault::Shown(why) | Fault::Returned(_, why)) => {
            return pages::refused(&Refused { why });
        }
    };
    match Authorization::check(raw, &destination) {
        Ok(authorization) => proceed(&provider, &headers, authorization),
        Err(Fault::Returned(error, description)) => {
            let fields = [("error", error), ("error_description", description)];
            pages::send_back(
                &provider,
                &destination.redirect_uri,
                destination.state.as_deref(),
                &fields,
            )
        }
        Err(Fault::Shown(why)) => pages::refused(&Refused { why }),
    }
}

fn proceed(provider: &Provider, headers: &HeaderMap, authorization: Authorization) -> Response {
    let cookie = pages::cookie(headers, pages::SESSION_COOKIE);
    let usable = cookie.filter(|cookie| {
        provider
            .session(cookie)
            .is_some_and(|session| authorization.accepts(&session, provider.now()))
    });
    if let Some(cookie) = usable {
        return send_code(provider, &cookie, &authorization);
    }
    if authorization.prompt == Prompt::Never {
        let fields = [("error", "login_required")];
        let state = authorization.state.as_deref();
        return pages::send_back(provider, &authorization.redirect_uri, state, &fields);
    }
    // One browser may have several logins open, so it keeps the value that it has.
    let browser = match pages::cookie(headers, pages::BROWSER_COOKIE) {
        Some(browser) if browser.len() == 43 => Ok(browser),
        Some(_) | None => random::token(),
    };
    let begun = browser.and_then(|browser| {
        let transaction = provider.begin_login(authorization, &browser)?;
        Ok((browser, transaction))
    });
    match begun {
        Ok((browser, transaction)) => pages::with_cookie(
            pages::see_other(&format!("/login?transaction={transaction}")),
            pages::BROWSER_COOKIE,
            &browser,
        ),
        Err(error) => pages::failed(&error),
    }
}

/// Sends the browser back with a code for the session of this cookie.
pub(super) fn send_code(
    provider: &Provider,
    cookie: &str,
    authorization: &Authorization,
) -> Response {
    match provider.issue_code(cookie, authorization) {
        Ok(Some(code)) => pages::send_back(
            provider,
            &authorization.redirect_uri,
            authorization.state.as_deref(),
            &[("code", &code)],
        ),
        Ok(None) => pages::refused(&Refused {
            why: "The session ended meanwhile. Please start again from the application.",
        }),
        Err(error) => pages::failed(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompted(value: &str) -> Result<Prompt, Fault> {
        prompt(&Raw {
            prompt: Some(value.to_owned()),
            ..Raw::default()
        })
    }

    #[test]
    fn prompts_are_read_strictly() {
        assert_eq!(prompted("login consent"), Ok(Prompt::Login));
        assert_eq!(prompted("none"), Ok(Prompt::Never));
        assert_eq!(prompted("consent"), Ok(Prompt::WhenNeeded));
        assert_eq!(prompt(&Raw::default()), Ok(Prompt::WhenNeeded));
        assert!(prompted("none login").is_err());
        assert!(prompted("maybe").is_err());
    }
}
