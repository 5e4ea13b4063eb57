//! `/.chartgate/switch`: one person leaves a workstation, and the next one signs in.
//!
//! Everything of the one who leaves ends first: the EMR's session (the gateway sees to that before it comes here), the
//! session here, and the one at the identity provider, where it offers that. Then the next one is asked for, with a
//! demand to authenticate afresh, so that a provider which still knows the one before does not sign them in again.
//!
//! As with sign-out, a link on another site does nothing but show a page with a button.

use askama::Template;

use super::Identity;
use super::answer::Answer;
use super::cookie;
use super::ending::Cause;
use super::login::{Told, handled};
use super::logout::{LogoutError, Wish, refused, shown, wish};
use super::routes::{Asked, OwnRoute, login_location};
use super::turns::BrowserKey;
use crate::language::Language;
use crate::language::phrases::Phrases;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Received, Refused};

#[derive(Template)]
#[template(path = "switch.html")]
struct SwitchPage<'p> {
    authority: &'p str,
    name: Option<&'p str>,
    action: &'p str,
    nonce: &'p str,
    phrases: &'static Phrases,
}

/// What the provider hands back with the browser, so that it goes straight on to the next sign-in. It decides nothing:
/// whoever makes it up is asked to sign in.
const STATE: &str = "switch";

impl Identity {
    pub(super) async fn switch(&self, mut received: Received) -> Result<Handled, Refused> {
        match self.make_way(&mut received).await {
            Ok(told) => {
                let mut handled = handled(received, told);
                if handled.event == Event::Logout {
                    let why = ("for".to_owned(), "switch".to_owned());
                    handled.detail.extend([why]);
                }
                Ok(handled)
            }
            Err(error) => Err(refused(received, &error)),
        }
    }

    async fn make_way(&self, received: &mut Received) -> Result<Told, LogoutError> {
        let parts = received.parts();
        let acts = match wish(parts) {
            Wish::Act => true,
            Wish::Ask => false,
            Wish::Other => return Err(LogoutError::Method),
        };
        let authority = parts.authority.clone();
        let (nonce, language) = (parts.id.to_string(), Language::of(&parts.headers));
        let browser = BrowserKey::of(&parts.headers, parts.client);
        let live = self.session_of(parts).await.map_err(LogoutError::Store)?;
        if let Some(live) = &live {
            self.name(received.facts_mut(), live);
        }
        if !acts {
            let page = SwitchPage {
                authority: &authority,
                name: live.as_ref().map(|live| live.user().name.as_str()),
                action: OwnRoute::Switch.path(),
                nonce: &nonce,
                phrases: language.phrases(),
            };
            return shown(&page, &nonce, language);
        }
        self.turns.forget(&browser);
        let mut location = login_location("/", Asked::Fresh);
        if let Some(live) = live {
            self.sessions()
                .end(&live, Cause::Switched)
                .await
                .map_err(LogoutError::Store)?;
            if let Some(mut url) = self.end_session_url(&live, &authority).await {
                url.query_pairs_mut().append_pair("state", STATE);
                url.as_str().clone_into(&mut location);
            }
        }
        let answer = Answer::redirect(&location).ok_or(LogoutError::Header)?;
        let answer = answer.set_cookie(cookie::clear_session()).clear_site();
        Ok((Event::Logout, answer))
    }
}

/// Whether the provider sends the browser back from a switch.
pub(super) fn goes_on(parts: &Parts) -> bool {
    let mut fields = parts.target.fields();
    fields.any(|(name, value)| name == "state" && value == STATE)
}

/// To the next sign-in.
pub(super) fn next() -> Result<Told, LogoutError> {
    let location = login_location("/", Asked::Fresh);
    let answer = Answer::redirect(&location).ok_or(LogoutError::Header)?;
    Ok((Event::PageShown, answer))
}
