//! The two requests of the code flow: the one that the browser carries, and the one for tokens.

use ::http::{Request, Response};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthUrl, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode,
    Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, ExtraTokenFields,
    IdToken, IssuerUrl, JsonWebKeySet, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::acr::acr_values;
use crate::config::Issuer;
use crate::identity::routes::Asked;
use crate::outbound::{HttpClient, HttpError};
use crate::secret::Secret;

/// Why a code could not be exchanged for tokens. Never holds the answer, which may hold tokens.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum ExchangeError {
    #[error("{0}")]
    Unreachable(#[source] HttpError),
    #[error("the provider refused the code: {0}")]
    Refused(String),
    #[error("the token response is not valid at `{0}`")]
    Malformed(String),
    #[error("the provider published an address that is no URL: {0}")]
    Address(#[source] url::ParseError),
}

/// What the code bought.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of RFC 6749 and OIDC Core"
)]
pub(in crate::identity) struct Tokens {
    pub(in crate::identity) id_token: Secret<String>,
    pub(in crate::identity) access_token: Secret<String>,
    pub(in crate::identity) refresh_token: Option<Secret<String>>,
}

/// What makes one sign-in's requests different from another's.
#[derive(Debug)]
pub(in crate::identity) struct Challenge {
    pub(in crate::identity) state: Secret<String>,
    pub(in crate::identity) nonce: String,
    pub(in crate::identity) asked: Asked,
}

/// The addresses that the flow uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoints<'e> {
    pub(super) issuer: &'e str,
    pub(super) authorization: &'e url::Url,
    pub(super) token: &'e url::Url,
    pub(super) redirect: &'e str,
}

/// Where to send the browser, and the PKCE verifier (S256) that stays here.
pub(super) fn authorize(
    settings: &Issuer,
    endpoints: Endpoints<'_>,
    challenge: Challenge,
) -> Result<(url::Url, Secret<String>), ExchangeError> {
    let (pkce, verifier) = PkceCodeChallenge::new_random_sha256();
    let client = client(settings, endpoints)?;
    let state = CsrfToken::new(challenge.state.expose().clone());
    let nonce = Nonce::new(challenge.nonce);
    let mut request = client
        .authorize_url(
            AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            move || state,
            move || nonce,
        )
        .add_scopes(
            settings
                .scopes
                .iter()
                .filter(|scope| *scope != "openid")
                .cloned()
                .map(Scope::new),
        )
        .set_pkce_challenge(pkce);
    for acr in acr_values(settings, challenge.asked) {
        request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
    }
    request = match challenge.asked {
        Asked::SignIn => request,
        // `max_age` makes the provider state `auth_time` (OIDC Core §3.1.2.1); `prompt` is for those that ignore it.
        Asked::Unlock => request
            .set_max_age(std::time::Duration::ZERO)
            .add_prompt(CoreAuthPrompt::Login),
        Asked::StepUp(demand) => {
            let request = request.add_prompt(CoreAuthPrompt::Login);
            match demand.max_age() {
                Some(max_age) => request.set_max_age(max_age),
                None => request,
            }
        }
    };
    let (url, _, _) = request.url();
    Ok((url, Secret::new(verifier.into_secret())))
}

/// Exchanges the code for tokens, as the client (`client_secret_basic`).
pub(super) async fn exchange(
    http: &HttpClient,
    settings: &Issuer,
    endpoints: Endpoints<'_>,
    code: String,
    verifier: Secret<String>,
) -> Result<Tokens, ExchangeError> {
    let client = client(settings, endpoints)?;
    let send = sender(http);
    let response = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()))
        .request_async(&send)
        .await
        .map_err(failure)?;
    let id_token = response.extra_fields().id_token.as_ref();
    let id_token = id_token.ok_or_else(|| ExchangeError::Malformed("id_token".to_owned()))?;
    Ok(Tokens {
        id_token: Secret::new(id_token.0.clone()),
        access_token: Secret::new(response.access_token().secret().clone()),
        refresh_token: response
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone())),
    })
}

/// Renewed tokens. A provider need not send an ID token with them (OIDC Core §12.2).
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of RFC 6749 and OIDC Core"
)]
pub(in crate::identity) struct RenewedTokens {
    pub(in crate::identity) id_token: Option<Secret<String>>,
    pub(in crate::identity) access_token: Secret<String>,
    /// The refresh token that counts from now on, where the provider rotates.
    pub(in crate::identity) refresh_token: Option<Secret<String>>,
}

/// Renews the tokens, as the client (RFC 6749 §6).
pub(super) async fn refresh(
    http: &HttpClient,
    settings: &Issuer,
    endpoints: Endpoints<'_>,
    refresh_token: &Secret<String>,
) -> Result<RenewedTokens, ExchangeError> {
    let client = client(settings, endpoints)?;
    let send = sender(http);
    let token = RefreshToken::new(refresh_token.expose().clone());
    let response = client
        .exchange_refresh_token(&token)
        .request_async(&send)
        .await
        .map_err(failure)?;
    let id_token = response.extra_fields().id_token.as_ref();
    Ok(RenewedTokens {
        id_token: id_token.map(|token| Secret::new(token.0.clone())),
        access_token: Secret::new(response.access_token().secret().clone()),
        refresh_token: response
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone())),
    })
}

type Sending = futures_util::future::BoxFuture<'static, Result<Response<Vec<u8>>, HttpError>>;

fn sender(http: &HttpClient) -> impl Fn(Request<Vec<u8>>) -> Sending {
    |request| {
        let http = http.clone();
        Box::pin(async move { http.send(request).await })
    }
}

type Failed = RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>;

fn failure(error: Failed) -> ExchangeError {
    match error {
        RequestTokenError::Request(source) => ExchangeError::Unreachable(source),
        RequestTokenError::ServerResponse(answer) => {
            ExchangeError::Refused(answer.error().as_ref().to_owned())
        }
        RequestTokenError::Parse(place, _) => ExchangeError::Malformed(place.path().to_string()),
        RequestTokenError::Other(_) => ExchangeError::Malformed("/".to_owned()),
    }
}

/// The ID token as it came: it is verified and read elsewhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct RawToken(String);

impl std::fmt::Debug for RawToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<RawToken>,
}

impl ExtraTokenFields for IdTokenField {}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NoClaims {}

impl AdditionalClaims for NoClaims {}

type Tokened = StandardTokenResponse<IdTokenField, CoreTokenType>;

impl
    TokenResponse<
        NoClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for Tokened
{
    fn id_token(
        &self,
    ) -> Option<
        &IdToken<
            NoClaims,
            CoreGenderClaim,
            CoreJweContentEncryptionAlgorithm,
            CoreJwsSigningAlgorithm,
        >,
    > {
        None
    }
}

type FlowClient = Client<
    NoClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokened,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

fn client(settings: &Issuer, endpoints: Endpoints<'_>) -> Result<FlowClient, ExchangeError> {
    let issuer = IssuerUrl::new(endpoints.issuer.to_owned()).map_err(ExchangeError::Address)?;
    let redirect =
        RedirectUrl::new(endpoints.redirect.to_owned()).map_err(ExchangeError::Address)?;
    let id = ClientId::new(settings.client_id.clone());
    let secret = ClientSecret::new(settings.client_secret.expose().clone());
    Ok(Client::new(id, issuer, JsonWebKeySet::default())
        .set_client_secret(secret)
        .set_auth_uri(AuthUrl::from_url(endpoints.authorization.clone()))
        .set_token_uri(TokenUrl::from_url(endpoints.token.clone()))
        .set_redirect_uri(redirect))
}
