//! `GET /.chartgate/frontchannel-logout?iss=…&sid=…`: the provider ends a session through the user's browser (OIDC
//! Front-Channel Logout 1.0).
//!
//! The page stands in a frame of the provider's, where browsers send none of our cookies: the session is the one that
//! `iss` and `sid` name, and no other. Without both there is nothing to go by.
//!
//! SECURITY: nobody signs this request. A `sid` is known to the provider and to us, and is no secret that opens
//! anything: whoever learns one can sign its user out. The answer is the same whether there was a session or not.

use http::Method;

use super::Identity;
use super::answer::Answer;
use super::ending::Cause;
use super::login::{Told, handled};
use super::oidc::{Provider, ProviderError};
use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Received, Refused};
use crate::store::StoreError;

/// The longest `sid` that is looked for.
const LONGEST: usize = 255;

#[derive(Debug, thiserror::Error)]
enum FrontchannelError {
    #[error("method not accepted")]
    Method,
    #[error(
        "`iss` and `sid` must be there, once each (set `frontchannel_logout_session_required`)"
    )]
    Parameters,
    #[error("`iss` is no issuer of ours")]
    Issuer,
    #[error("the provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    #[error("the page cannot be expressed in a header")]
    Header,
}

impl FrontchannelError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Parameters | Self::Issuer => Refusal::LogoutRefused,
            Self::Provider(_) => Refusal::ProviderUnavailable,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Header => Refusal::Internal,
        }
    }
}

impl Identity {
    pub(super) async fn frontchannel_logout(
        &self,
        mut received: Received,
    ) -> Result<Handled, Refused> {
        match self.end_through_browser(&mut received).await {
            Ok(told) => Ok(handled(received, told)),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "a front-channel sign-out was refused");
                Err(received.refuse(refusal))
            }
        }
    }

    async fn end_through_browser(
        &self,
        received: &mut Received,
    ) -> Result<Told, FrontchannelError> {
        let (iss, sid) = parameters(received.parts())?;
        let provider = self.issuer_called(&iss).await?;
        let issuer = provider.settings().name.as_str();
        let ended = self
            .sessions()
            .end_under(issuer, &sid, Cause::FrontChannel)
            .await
            .map_err(FrontchannelError::Store)?;
        if let Some(live) = ended.first() {
            self.name(received.facts_mut(), live);
        }
        tracing::info!(request = %received.parts().id, issuer, ended = ended.len(), "the provider ended sessions through a browser");
        let origin = provider.settings().url.origin().ascii_serialization();
        let page = Answer::framed(&origin).ok_or(FrontchannelError::Header)?;
        Ok((Event::FrontchannelLogout, page))
    }

    /// The provider that calls itself `iss`.
    async fn issuer_called(&self, iss: &str) -> Result<&Provider, FrontchannelError> {
        let mut unknown = None;
        for provider in &self.providers {
            match provider.metadata().await {
                Ok(metadata) if metadata.issuer() == iss => return Ok(provider),
                Ok(_) => {}
                Err(error) => unknown = Some(error),
            }
        }
        Err(unknown.map_or(FrontchannelError::Issuer, FrontchannelError::Provider))
    }
}

fn parameters(parts: &Parts) -> Result<(String, String), FrontchannelError> {
    if parts.method != Method::GET {
        return Err(FrontchannelError::Method);
    }
    let one = |name: &str| {
        let mut found = parts.target.fields().filter(|(field, _)| field == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) if !value.is_empty() && value.len() <= LONGEST => Ok(value),
            (Some(_) | None, _) => Err(FrontchannelError::Parameters),
        }
    };
    Ok((one("iss")?, one("sid")?))
}
