//! Publishes what the provider supports and with which keys it signs.

use std::sync::Arc;

use axum::{Json, extract::State};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use super::{ACR_MFA, ACR_PASSWORD, provider::Provider};

pub(super) async fn configuration(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = &provider.options.issuer_url;
    let at = |path: &str| format!("{issuer}{path}");
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "end_session_endpoint": at("/logout"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "acr_values_supported": [ACR_PASSWORD, ACR_MFA],
        "prompt_values_supported": ["none", "login"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "sid",
            "name", "preferred_username", "email", "email_verified", "groups"
        ],
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false
    }))
}

pub(super) async fn keys(State(provider): State<Arc<Provider>>) -> Json<JwkSet> {
    Json(provider.keys().published())
}
