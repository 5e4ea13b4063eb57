//! `GET /.chartgate/login`: remembers where to come back to and sends the browser to the identity provider.

use http::Method;

use super::answer::Answer;
use super::attempts::{Attempt, Purpose, StartError};
use super::cookie::{self, LOGIN_COOKIE, Presented, SESSION_COOKIE};
use super::oidc::{Challenge, ExchangeError, ProviderError};
use super::routes::{Asked, OwnRoute};
use super::session::Live;
use super::sessions::Found;
use super::token::{NoRandomness, Token};
use super::{Identity, ReturnTo};
use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{Event, Facts, Handled, Received, Refused, Target};
use crate::store::StoreError;

/// Why a sign-in could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("method not accepted")]
    Method,
    #[error("the session could not be looked up: {0}")]
    Sessions(#[source] StoreError),
    #[error("the identity provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("the authorization request cannot be made: {0}")]
    Request(#[source] ExchangeError),
    #[error("{0}")]
    Start(#[source] StartError),
    #[error("{0}")]
    Randomness(#[source] NoRandomness),
    #[error("the answer cannot be expressed in a header")]
    Header,
}

impl LoginError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Sessions(_) | Self::Start(StartError::Store(_)) => Refusal::StoreUnavailable,
            Self::Provider(_) => Refusal::ProviderUnavailable,
            Self::Start(StartError::Busy) => Refusal::Busy,
            Self::Request(_)
            | Self::Start(StartError::Encoding)
            | Self::Randomness(_)
            | Self::Header => Refusal::Internal,
        }
    }
}

/// What the browser is told and the record says.
pub(super) type Told = (Event, Answer);

impl Identity {
    pub(super) async fn login(&self, mut received: Received) -> Result<Handled, Refused> {
        match self.start(&mut received).await {
            Ok(told) => Ok(handled(received, told)),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "no sign-in was started");
                Err(received.refuse(refusal))
            }
        }
    }

    async fn start(&self, received: &mut Received) -> Result<Told, LoginError> {
        let parts = received.parts();
        if parts.method != Method::GET {
            return Err(LoginError::Method);
        }
        let (return_to, asked) = asked(&parts.target);
        let session = self.session_of(parts).await.map_err(LoginError::Sessions)?;
        let purpose = match (session, asked) {
            // Another tab signed in already (oauth2-proxy#611): nothing to do.
            (Some(live), Asked::SignIn) => {
                self.name(received.facts_mut(), &live);
                let answer = Answer::redirect(return_to.as_str()).ok_or(LoginError::Header)?;
                return Ok((Event::PageShown, answer));
            }
            (Some(live), Asked::StepUp) => {
                let purpose = Purpose::StepUp(live.key().to_owned());
                self.name(received.facts_mut(), &live);
                purpose
            }
            (None, Asked::SignIn | Asked::StepUp) => Purpose::SignIn,
        };
        let answer = self.send(received.parts(), &return_to, purpose).await?;
        Ok((Event::LoginStarted, answer))
    }

    async fn send(
        &self,
        parts: &Parts,
        return_to: &ReturnTo,
        purpose: Purpose,
    ) -> Result<Answer, LoginError> {
        // `Identity::new` refuses a configuration without a provider.
        let provider = self
            .first_provider()
            .ok_or(LoginError::Provider(ProviderError::Resting))?;
        let metadata = provider.metadata().await.map_err(LoginError::Provider)?;
        let state = Token::generate().map_err(LoginError::Randomness)?;
        let nonce = Token::generate().map_err(LoginError::Randomness)?;
        let nonce = nonce.expose().expose().clone();
        let browser = match cookie::presented(&parts.headers, LOGIN_COOKIE) {
            Presented::One(browser) => browser,
            Presented::Nothing | Presented::Malformed => {
                Token::generate().map_err(LoginError::Randomness)?
            }
        };
        let challenge = Challenge {
            state: state.expose(),
            nonce: nonce.clone(),
            asked: match purpose {
                Purpose::SignIn => Asked::SignIn,
                Purpose::StepUp(_) => Asked::StepUp,
            },
        };
        let (url, verifier) = provider
            .authorize(&metadata, &callback_url(&parts.authority), challenge)
            .map_err(LoginError::Request)?;
        let attempt = Attempt {
            issuer: provider.settings().name.clone(),
            nonce,
            verifier: verifier.expose().clone(),
            return_to: return_to.as_str().to_owned(),
            authority: parts.authority.clone(),
            started: self.clock().now(),
            purpose,
        };
        self.attempts
            .start(&state, &browser, &attempt)
            .await
            .map_err(LoginError::Start)?;
        let binding = cookie::set_login(&browser, self.attempts.timeout());
        let answer = Answer::redirect(url.as_str()).ok_or(LoginError::Header)?;
        Ok(answer.set_cookie(binding.ok_or(LoginError::Header)?))
    }

    /// The live session that a request presents, if any.
    pub(super) async fn session_of(
        &self,
        parts: &Parts,
    ) -> Result<Option<std::sync::Arc<Live>>, StoreError> {
        let Presented::One(token) = cookie::presented(&parts.headers, SESSION_COOKIE) else {
            return Ok(None);
        };
        Ok(match self.sessions().find(&token).await? {
            Found::Live(live) => Some(live),
            Found::Over(..) | Found::Unknown => None,
        })
    }

    /// Puts a session and its user on record.
    pub(super) fn name(&self, facts: &mut Facts, live: &Live) {
        facts.principal = Some(self.principal_of(live));
        facts.session = Some(live.id().to_string());
    }
}

/// What is recorded and sent.
pub(super) fn handled(received: Received, (event, answer): Told) -> Handled {
    let (_, _, _, facts) = received.into_parts();
    Handled {
        facts,
        event,
        detail: std::collections::BTreeMap::new(),
        response: answer.into_response(),
    }
}

/// The redirect URI on the host that the browser used.
pub(super) fn callback_url(authority: &str) -> String {
    format!("https://{authority}{}", OwnRoute::Callback.path())
}

fn asked(target: &Target) -> (ReturnTo, Asked) {
    let mut return_to = target.fields().filter(|(name, _)| name == "return_to");
    let return_to = match (return_to.next(), return_to.next()) {
        (Some((_, one)), None) => ReturnTo::parse(&one),
        (Some(_), Some(_)) | (None, _) => ReturnTo::start(),
    };
    let is_step_up = target
        .fields()
        .any(|(name, value)| name == "step_up" && value == "1");
    let asked = if is_step_up {
        Asked::StepUp
    } else {
        Asked::SignIn
    };
    (return_to, asked)
}
