//! RP-initiated logout: ends the session at the provider and sends the browser back.

use std::sync::Arc;

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::{
    backchannel,
    pages::{self, ConfirmPage, SignedOutPage},
    provider::Provider,
};

/// The parameters as they came.
#[derive(Deserialize)]
pub(super) struct Raw {
    id_token_hint: Option<String>,
    client_id: Option<String>,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
}

/// What an ID token says about whose session is to end.
#[derive(Deserialize)]
struct Hint {
    aud: String,
    sid: String,
}

/// Reads an ID token of ours, which may have expired.
fn hint(provider: &Provider, token: &str) -> Option<Hint> {
    let id = jsonwebtoken::decode_header(token).ok()?.kid?;
    let key = provider.keys().verifier(&id)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["iss"]);
    validation.set_issuer(&[&provider.options.issuer_url]);
    let token = jsonwebtoken::decode::<Hint>(token, &key, &validation).ok()?;
    Some(token.claims)
}

pub(super) async fn logout(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(raw): Form<Raw>,
) -> Response {
    let hint = raw
        .id_token_hint
        .as_deref()
        .and_then(|token| hint(&provider, token));
    let cookie = pages::cookie(&headers, pages::SESSION_COOKIE);
    let session = cookie
        .as_deref()
        .and_then(|cookie| provider.session(cookie));
    let Some(hint) = hint else {
        // SECURITY: any site can send a browser here, so without a token the person is asked.
        return match session {
            Some(session) => {
                let page = ConfirmPage {
                    user: &session.user,
                };
                pages::page(StatusCode::OK, &page, None)
            }
            None => signed_out(),
        };
    };
    let ended = provider.end_sessions(|_, session| session.sid == hint.sid);
    backchannel::announce(&provider, ended).await;
    let client = provider
        .client(&hint.aud)
        .filter(|client| raw.client_id.as_deref().is_none_or(|id| id == client.id()));
    let back = raw
        .post_logout_redirect_uri
        .filter(|uri| client.is_some_and(|client| client.may_return_to(uri)));
    match back {
        Some(uri) => {
            let state: Vec<(&str, &str)> = raw
                .state
                .as_deref()
                .map(|state| ("state", state))
                .into_iter()
                .collect();
            pages::see_other(&pages::with_query(&uri, &state))
        }
        None => signed_out(),
    }
}

/// Ends the session of the browser after its person said so.
pub(super) async fn confirmed(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
) -> Response {
    if let Some(cookie) = pages::cookie(&headers, pages::SESSION_COOKIE) {
        let ended = provider.end_sessions(|held, _| held == cookie);
        backchannel::announce(&provider, ended).await;
    }
    signed_out()
}

fn signed_out() -> Response {
    pages::page(StatusCode::OK, &SignedOutPage, None)
}
