//! `POST /.chartgate/backchannel-logout`: the provider ends sessions (OIDC Back-Channel Logout 1.0).
//!
//! The final specification holds: a token without `exp` or `jti` is refused, and so is one that was used before.

use std::time::Duration;

use http::{Method, header};

use super::Identity;
use super::answer::Answer;
use super::ending::Cause;
use super::login::{Told, handled};
use super::oidc::claims::{
    ClaimsError, Expected, Logout, validate_lasting_logout_token, validate_logout_token,
};
use super::oidc::jws::{Kind, named_issuer};
use super::oidc::{Provider, ProviderError, TokenError};
use super::session::Live;
use crate::config::refresh::{LogoutExpiry, LogoutType};
use crate::refusal::Refusal;
use crate::request::{BodyError, Event, Handled, Received, Refused};
use crate::store::{Durability, StoreError, Table, digest_of};

const MAX_BODY: u64 = 256 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);
const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Debug, thiserror::Error)]
enum BackchannelError {
    #[error("method not accepted")]
    Method,
    #[error("the notice could not be read: {0}")]
    Body(#[source] BodyError),
    #[error("the notice is not a form with one logout token")]
    Form,
    #[error("the logout token names no issuer that is configured")]
    Issuer,
    #[error("no issuer's key fits the token: {0}")]
    Token(#[source] TokenError),
    #[error("the provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("the logout token is refused: {0}")]
    Claims(#[source] ClaimsError),
    #[error("the logout token was used before")]
    Replayed,
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
}

impl BackchannelError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Body(error) => error.refusal(),
            Self::Form | Self::Issuer | Self::Token(_) | Self::Claims(_) | Self::Replayed => {
                Refusal::LogoutRefused
            }
            Self::Provider(_) => Refusal::ProviderUnavailable,
            Self::Store(_) => Refusal::StoreUnavailable,
        }
    }
}

impl Identity {
    pub(super) async fn backchannel_logout(
        &self,
        mut received: Received,
    ) -> Result<Handled, Refused> {
        match self.end_by_notice(&mut received).await {
            Ok(told) => Ok(handled(received, told)),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "a back-channel sign-out was refused");
                Err(received.refuse(refusal))
            }
        }
    }

    async fn end_by_notice(&self, received: &mut Received) -> Result<Told, BackchannelError> {
        let token = logout_token(received).await?;
        let (provider, logout) = self.judge_notice(&token).await?;
        let issuer = provider.settings().name.as_str();
        let used = used_key(issuer, &logout.id);
        let seen = self.store.get(Table::Revocations, &used).await;
        if seen.map_err(BackchannelError::Store)?.is_some() {
            return Err(BackchannelError::Replayed);
        }
        // First of all for sign-ins under way, whose sessions do not exist yet.
        self.notices
            .keep(issuer, &logout)
            .await
            .map_err(BackchannelError::Store)?;
        let ended = self
            .sessions()
            .end_all(|live| is_meant(live, issuer, &logout), Cause::BackChannel)
            .await
            .map_err(BackchannelError::Store)?;
        // Only now is the token used up: had a session been left over, the provider must be able to try again.
        let expires = logout
            .expires
            .saturating_add(provider.settings().clock_leeway);
        let insertion = self
            .store
            .insert_if_absent(
                Table::Revocations,
                &used,
                b"",
                expires.unwrap_or(logout.expires),
                Durability::Immediate,
            )
            .await;
        let _ = insertion.map_err(BackchannelError::Store)?;
        // The sessions are one person's: the record says whose.
        if let Some(live) = ended.first() {
            self.name(received.facts_mut(), live);
        }
        tracing::info!(request = %received.parts().id, issuer, ended = ended.len(), "the provider ended sessions");
        Ok((Event::BackchannelLogout, Answer::done()))
    }

    /// Finds the issuer that the notice names, verifies it with that one's keys, and judges what it says.
    ///
    /// Only that issuer's keys are looked at: a notice of one provider must neither wait for another nor make the
    /// gateway read another's keys afresh. Where it is several clients of one provider, the audience tells them apart.
    async fn judge_notice(&self, token: &str) -> Result<(&Provider, Logout), BackchannelError> {
        let named = named_issuer(token).ok_or(BackchannelError::Form)?;
        let mut problem = BackchannelError::Issuer;
        for provider in self.providers.iter().filter(|one| one.is_called(&named)) {
            match self.judge_notice_of(provider, token).await {
                Ok(logout) => return Ok((provider, logout)),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    async fn judge_notice_of(
        &self,
        provider: &Provider,
        token: &str,
    ) -> Result<Logout, BackchannelError> {
        let tolerance = provider.settings().logout;
        let kind = match tolerance.typ {
            LogoutType::Any => Kind::Logout,
            LogoutType::Stated => Kind::StatedLogout,
        };
        let (payload, _) = provider
            .verified(token, kind)
            .await
            .map_err(|error| match error {
                TokenError::Provider(error) => BackchannelError::Provider(error),
                error @ (TokenError::Form(_) | TokenError::Forged | TokenError::NoKey) => {
                    BackchannelError::Token(error)
                }
            })?;
        let metadata = provider.metadata().await;
        let metadata = metadata.map_err(BackchannelError::Provider)?;
        let expected = Expected {
            issuer: metadata.issuer(),
            client_id: &provider.settings().client_id,
            now: self.clock().now(),
            leeway: provider.settings().clock_leeway,
        };
        let logout = match tolerance.expiry {
            LogoutExpiry::Stated => validate_logout_token(&payload, &expected),
            LogoutExpiry::MayBeMissing => validate_lasting_logout_token(&payload, &expected),
        };
        logout.map_err(BackchannelError::Claims)
    }
}

/// By the issuer's session where both sides know it, else by subject.
fn is_meant(live: &Live, issuer: &str, logout: &Logout) -> bool {
    if live.user().issuer != issuer {
        return false;
    }
    let is_subject = logout.subject.as_ref().map(|s| s == live.sub());
    match (&logout.issuer_session, live.issuer_session()) {
        (Some(meant), Some(own)) => meant == own && is_subject != Some(false),
        (Some(_) | None, _) => is_subject == Some(true),
    }
}

async fn logout_token(received: &mut Received) -> Result<String, BackchannelError> {
    let parts = received.parts();
    if parts.method != Method::POST {
        return Err(BackchannelError::Method);
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let essence = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or("");
    if !essence.trim().eq_ignore_ascii_case(FORM) {
        return Err(BackchannelError::Form);
    }
    let body = received
        .body_mut()
        .read(MAX_BODY, BODY_DEADLINE)
        .await
        .map_err(BackchannelError::Body)?;
    let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        (Some(_), Some(_)) | (None, _) => Err(BackchannelError::Form),
    }
}

fn used_key(issuer: &str, id: &str) -> String {
    let parts = ["logout-token", issuer, id];
    hex::encode(digest_of(parts.map(str::as_bytes)))
}
