//! The requests of the code flow: the one that the browser carries, pushed ahead where the provider takes that
//! (RFC 9126), and the one for tokens.

use std::sync::Arc;

use ::http::{Request, Response, StatusCode};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthUrl, AuthenticationContextClass, AuthenticationFlow,
    AuthorizationCode, Client, ClientId, CsrfToken, EndpointNotSet, EndpointSet, ExtraTokenFields,
    IdToken, IssuerUrl, JsonWebKeySet, LoginHint, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::acr::acr_values;
use super::channel::{Audience, Channel, Fault, Form};
use super::metadata::Metadata;
use crate::config::Issuer;
use crate::config::issuer::Par;
use crate::config::request_claims::without_acr;
use crate::identity::routes::Asked;
use crate::outbound::HttpError;
use crate::request::Factor;
use crate::secret::Secret;

/// The client authentication failed (RFC 6749 §5.2).
const UNPROVEN: &str = "invalid_client";

/// Why a request of the flow came to nothing. Never holds the answer, which may hold tokens.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum ExchangeError {
    #[error("{0}")]
    Unreachable(#[source] HttpError),
    #[error("the provider refused the code: {0}")]
    Refused(String),
    #[error(
        "the provider does not accept what the gateway shows as its client (`{0}`): {UNPROVEN}"
    )]
    Unproven(&'static str),
    #[error("the provider refused the pushed authorization request: {0}")]
    NotPushed(String),
    #[error(
        "authorization requests are to be pushed, but the provider publishes no address for it"
    )]
    NoPushing,
    #[error("the response is not valid at `{0}`")]
    Malformed(String),
    #[error("the provider published an address that is no URL: {0}")]
    Address(#[source] url::ParseError),
    #[error("the gateway cannot prove to the provider who it is")]
    Proof,
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
    /// Whom the user says to be (OIDC Core §3.1.2.1): fills the provider's form, proves nothing.
    pub(in crate::identity) login_hint: Option<String>,
}

/// The gateway as a client, the provider's addresses, and where the browser comes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'f> {
    pub(super) settings: &'f Issuer,
    pub(super) channel: &'f Arc<Channel>,
    pub(super) metadata: &'f Metadata,
    pub(super) redirect: &'f str,
}

/// Where to send the browser, and the PKCE verifier (S256) that stays here.
pub(super) async fn authorize(
    flow: Flow<'_>,
    challenge: Challenge,
) -> Result<(Url, Secret<String>), ExchangeError> {
    let (url, verifier) = request(flow, challenge)?;
    let (settings, metadata) = (flow.settings, flow.metadata);
    let endpoint = match (settings.par, metadata.demands_pushed) {
        (Par::Off, false) => None,
        (Par::Auto, false) => metadata.pushed.as_ref(),
        (Par::Required, _) | (Par::Auto | Par::Off, true) => {
            Some(metadata.pushed.as_ref().ok_or(ExchangeError::NoPushing)?)
        }
    };
    let Some(endpoint) = endpoint else {
        return Ok((url, verifier));
    };
    match push(flow, endpoint, &url).await {
        Ok(pushed) => Ok((pushed, verifier)),
        // A provider that offers it to other clients only; the request loses nothing that it had before.
        Err(ExchangeError::NotPushed(why))
            if settings.par == Par::Auto && !metadata.demands_pushed =>
        {
            tracing::warn!(
                issuer = settings.name,
                why,
                "the provider does not take pushed authorization requests of this client (`par = \"off\"` leaves them out)"
            );
            Ok((url, verifier))
        }
        Err(error) => Err(error),
    }
}

/// The whole authorization request as an address.
fn request(flow: Flow<'_>, challenge: Challenge) -> Result<(Url, Secret<String>), ExchangeError> {
    let settings = flow.settings;
    let (pkce, verifier) = PkceCodeChallenge::new_random_sha256();
    let client = client(flow)?;
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
    if let Some(claims) = claims(settings, challenge.asked) {
        request = request.add_extra_param("claims", claims);
    }
    for (name, value) in &settings.parameters {
        request = request.add_extra_param(name.clone(), value.clone());
    }
    if let Some(hint) = challenge.login_hint {
        request = request.set_login_hint(LoginHint::new(hint));
    }
    request = match challenge.asked {
        Asked::SignIn => request,
        // `max_age` makes the provider state `auth_time` (OIDC Core §3.1.2.1); `prompt` is for those that ignore it.
        Asked::Unlock | Asked::Fresh => request
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

/// The `claims` parameter. What is asked of a sign-in's strength beyond the usual, or less than that, goes into
/// `acr_values` alone.
fn claims(settings: &Issuer, asked: Asked) -> Option<String> {
    let claims = settings.request_claims.as_ref()?;
    let is_usual = match asked {
        Asked::SignIn | Asked::Fresh => true,
        Asked::Unlock => false,
        Asked::StepUp(demand) => demand.factor() == Factor::Any,
    };
    if is_usual {
        Some(claims.clone())
    } else {
        without_acr(claims)
    }
}

/// The answer of a PAR endpoint (RFC 9126 §2.2).
#[derive(Deserialize)]
struct Pushed {
    request_uri: String,
}

/// The longest `request_uri`.
const MAX_REQUEST_URI: usize = 2048;

/// Hands the request over; the address that is left for the browser names it and holds nothing of it.
async fn push(flow: Flow<'_>, endpoint: &Url, whole: &Url) -> Result<Url, ExchangeError> {
    let own: Vec<_> = flow.metadata.authorization.query_pairs().collect();
    // With `client_id`, also where a header proves the client: it is a parameter of the request (RFC 9126 §2.1).
    let form: Form = whole
        .query_pairs()
        .filter(|pair| !own.contains(pair))
        .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
        .collect();
    let audience = audience(flow.metadata);
    let answer = flow.channel.post(endpoint, &audience, &form).await?;
    if ![StatusCode::CREATED, StatusCode::OK].contains(&answer.status()) {
        let fault = Fault::of(&answer).map(|fault| fault.error);
        let status = || format!("status {}", answer.status().as_u16());
        return Err(ExchangeError::NotPushed(fault.unwrap_or_else(status)));
    }
    let malformed = || ExchangeError::Malformed("request_uri".to_owned());
    let pushed: Pushed = serde_json::from_slice(answer.body())
        .ok()
        .ok_or_else(malformed)?;
    if pushed.request_uri.is_empty() || pushed.request_uri.len() > MAX_REQUEST_URI {
        return Err(malformed());
    }
    let mut url = flow.metadata.authorization.clone();
    url.query_pairs_mut()
        .append_pair("client_id", &flow.settings.client_id)
        .append_pair("request_uri", &pushed.request_uri);
    Ok(url)
}

fn audience(metadata: &Metadata) -> Audience {
    Audience {
        issuer: metadata.issuer().to_owned(),
        token_endpoint: metadata.token_published.as_str().to_owned(),
    }
}

/// Exchanges the code for tokens, as the client.
pub(super) async fn exchange(
    flow: Flow<'_>,
    code: String,
    verifier: Secret<String>,
) -> Result<Tokens, ExchangeError> {
    let client = client(flow)?;
    let send = sender(flow);
    let response = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()))
        .request_async(&send)
        .await
        .map_err(|error| failure(flow, error))?;
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
    flow: Flow<'_>,
    refresh_token: &Secret<String>,
) -> Result<RenewedTokens, ExchangeError> {
    let client = client(flow)?;
    let send = sender(flow);
    let token = RefreshToken::new(refresh_token.expose().clone());
    let response = client
        .exchange_refresh_token(&token)
        .request_async(&send)
        .await
        .map_err(|error| failure(flow, error))?;
    let id_token = response.extra_fields().id_token.as_ref();
    Ok(RenewedTokens {
        id_token: id_token.map(|token| Secret::new(token.0.clone())),
        access_token: Secret::new(response.access_token().secret().clone()),
        refresh_token: response
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone())),
    })
}

type Sending = futures_util::future::BoxFuture<'static, Result<Response<Vec<u8>>, ExchangeError>>;

/// Sends to the token endpoint, as the client.
fn sender(flow: Flow<'_>) -> impl Fn(Request<Vec<u8>>) -> Sending + use<> {
    let (channel, audience) = (Arc::clone(flow.channel), audience(flow.metadata));
    let endpoint = flow.metadata.token.clone();
    move |request| {
        let (channel, audience) = (Arc::clone(&channel), audience.clone());
        let endpoint = endpoint.clone();
        Box::pin(async move {
            let form = Secret::new(request.into_body());
            // The channel proves the client in its own way, whichever that is.
            let form: Form = form_urlencoded::parse(form.expose())
                .filter(|(name, _)| name != "client_id")
                .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
                .collect();
            channel.post(&endpoint, &audience, &form).await
        })
    }
}

type Failed = RequestTokenError<ExchangeError, StandardErrorResponse<CoreErrorResponseType>>;

fn failure(flow: Flow<'_>, error: Failed) -> ExchangeError {
    match error {
        RequestTokenError::Request(source) => source,
        RequestTokenError::ServerResponse(answer) if answer.error().as_ref() == UNPROVEN => {
            ExchangeError::Unproven(flow.settings.client_auth.name())
        }
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

/// A client without a secret: [`Channel`] proves it.
fn client(flow: Flow<'_>) -> Result<FlowClient, ExchangeError> {
    let metadata = flow.metadata;
    let issuer = IssuerUrl::new(metadata.issuer().to_owned()).map_err(ExchangeError::Address)?;
    let redirect = RedirectUrl::new(flow.redirect.to_owned()).map_err(ExchangeError::Address)?;
    let id = ClientId::new(flow.settings.client_id.clone());
    Ok(Client::new(id, issuer, JsonWebKeySet::default())
        .set_auth_type(AuthType::RequestBody)
        .set_auth_uri(AuthUrl::from_url(metadata.authorization.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token.clone()))
        .set_redirect_uri(redirect))
}
