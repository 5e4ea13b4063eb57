//! `/.chartgate/logout` and `/.chartgate/signed-out`: ends the session here and at the provider.
//!
//! A `POST` signs out (the screen has checked where it comes from). A `GET` signs out if the browser says that it was
//! not another site's doing (`Sec-Fetch-Site` is `same-origin` or `none`); otherwise it shows a page with a button, so
//! that a link in a mail or an image on another site signs nobody out.

use askama::Template;
use http::Method;

use super::Identity;
use super::answer::Answer;
use super::cookie;
use super::ending::Cause;
use super::login::{Told, handled};
use super::routes::OwnRoute;
use super::session::Live;
use super::switch;
use super::turns::BrowserKey;
use crate::language::Language;
use crate::language::phrases::Phrases;
use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Received, Refused};
use crate::store::StoreError;

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage<'p> {
    authority: &'p str,
    nonce: &'p str,
    phrases: &'static Phrases,
}

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOutPage<'p> {
    authority: &'p str,
    action: &'p str,
    nonce: &'p str,
    phrases: &'static Phrases,
}

/// The longest ID token that is put into an address as a hint.
const MAX_HINT: usize = 3 * 1024;

/// Why nobody was signed out.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogoutError {
    #[error("method not accepted")]
    Method,
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    #[error("the page cannot be made: {0}")]
    Page(#[source] askama::Error),
    #[error("the answer cannot be expressed in a header")]
    Header,
}

impl LogoutError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Page(_) | Self::Header => Refusal::Internal,
        }
    }
}

impl Identity {
    /// Whether a request for [`OwnRoute::Logout`] or [`OwnRoute::Switch`] ends the session (and does not ask first).
    #[must_use]
    pub fn is_sign_out(parts: &Parts) -> bool {
        matches!(wish(parts), Wish::Act)
    }

    pub(super) async fn logout(&self, mut received: Received) -> Result<Handled, Refused> {
        match self.sign_out(&mut received).await {
            Ok(told) => Ok(handled(received, told)),
            Err(error) => Err(refused(received, &error)),
        }
    }

    /// The page that the provider sends the browser back to.
    pub(super) fn signed_out(parts: &Parts) -> Result<Told, LogoutError> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(LogoutError::Method);
        }
        if switch::goes_on(parts) {
            return switch::next();
        }
        let (nonce, language) = (parts.id.to_string(), Language::of(&parts.headers));
        let page = SignedOutPage {
            authority: &parts.authority,
            nonce: &nonce,
            phrases: language.phrases(),
        };
        shown(&page, &nonce, language)
    }

    async fn sign_out(&self, received: &mut Received) -> Result<Told, LogoutError> {
        let parts = received.parts();
        match wish(parts) {
            Wish::Act => {}
            Wish::Ask => {
                let (nonce, language) = (parts.id.to_string(), Language::of(&parts.headers));
                let page = SignOutPage {
                    authority: &parts.authority,
                    action: OwnRoute::Logout.path(),
                    nonce: &nonce,
                    phrases: language.phrases(),
                };
                return shown(&page, &nonce, language);
            }
            Wish::Other => return Err(LogoutError::Method),
        }
        let authority = parts.authority.clone();
        let live = self.session_of(parts).await.map_err(LogoutError::Store)?;
        self.turns
            .forget(&BrowserKey::of(&parts.headers, parts.client));
        let mut location = OwnRoute::SignedOut.path().to_owned();
        if let Some(live) = live {
            self.name(received.facts_mut(), &live);
            self.sessions()
                .end(&live, Cause::SignedOut)
                .await
                .map_err(LogoutError::Store)?;
            if let Some(url) = self.end_session_url(&live, &authority).await {
                url.as_str().clone_into(&mut location);
            }
        }
        let answer = Answer::redirect(&location).ok_or(LogoutError::Header)?;
        let answer = answer.set_cookie(cookie::clear_session()).clear_site();
        Ok((Event::Logout, answer))
    }

    /// Where the provider ends its own session (OIDC RP-Initiated Logout 1.0), if it offers that and is known.
    pub(super) async fn end_session_url(&self, live: &Live, authority: &str) -> Option<url::Url> {
        let provider = self
            .provider_named(&live.user().issuer)
            .filter(|provider| provider.is_known())?;
        let metadata = provider.metadata().await.ok()?;
        let mut url = metadata.end_session()?.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &provider.settings().client_id);
        let back = format!("https://{authority}{}", OwnRoute::SignedOut.path());
        query.append_pair("post_logout_redirect_uri", &back);
        let hint = live.id_token().expose();
        // A token with hundreds of groups makes an address that no server takes; `client_id` then has to do.
        if hint.len() <= MAX_HINT {
            query.append_pair("id_token_hint", hint);
        }
        drop(query);
        Some(url)
    }
}

pub(super) fn shown(
    page: &impl Template,
    nonce: &str,
    language: Language,
) -> Result<Told, LogoutError> {
    let html = page.render().map_err(LogoutError::Page)?;
    let answer = Answer::page(html, nonce).ok_or(LogoutError::Header)?;
    Ok((Event::PageShown, answer.spoken(language)))
}

pub(super) fn refused(received: Received, error: &LogoutError) -> Refused {
    let refusal = error.refusal();
    tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "a sign-out failed");
    received.refuse(refusal)
}

/// Whether a request does what its path says: it was sent from here, or typed by somebody.
pub(super) fn acts(parts: &Parts) -> bool {
    matches!(wish(parts), Wish::Act)
}

/// What a request to sign out asks for.
pub(super) enum Wish {
    Act,
    Ask,
    Other,
}

pub(super) fn wish(parts: &Parts) -> Wish {
    if parts.method == Method::POST {
        return Wish::Act;
    }
    if parts.method != Method::GET {
        return Wish::Other;
    }
    let mut sites = parts.headers.get_all("sec-fetch-site").iter();
    match (sites.next().map(http::HeaderValue::as_bytes), sites.next()) {
        (Some(b"same-origin" | b"none"), None) => Wish::Act,
        (Some(_) | None, _) => Wish::Ask,
    }
}
