//! `/.chartgate/login`: remembers where to come back to and sends the browser to the identity provider.
//!
//! Where a notice has to be read first, `GET` shows it and its form, a `POST`, goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template as _;
use http::Method;

use super::answer::Answer;
use super::attempts::{Attempt, Purpose, StartError};
use super::banner::{Banner, BannerPage};
use super::cookie::{self, LOGIN_COOKIE, Presented, SESSION_COOKIE};
use super::oidc::{Challenge, ExchangeError, ProviderError, can_prove};
use super::routes::{Asked, OwnRoute, asked_by, login_location};
use super::session::Live;
use super::sessions::Found;
use super::token::{NoRandomness, Token};
use super::turns::{BrowserKey, Circle, Turn};
use super::{Identity, ReturnTo};
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::demand::Shortfall;
use crate::request::onward::Back;
use crate::request::received::Parts;
use crate::request::{BodyError, Demand, Event, Facts, Handled, Onward, Received, Refused, Target};
use crate::store::StoreError;
use crate::telemetry::metrics as names;

/// Why a sign-in could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("method not accepted")]
    Method,
    #[error("the form cannot be read: {0}")]
    Form(#[source] BodyError),
    #[error("the page cannot be made: {0}")]
    Page(#[source] askama::Error),
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
    #[error("nothing is configured that would prove what is demanded: {}", .0.as_recorded().join(" "))]
    Unprovable(Demand),
    #[error("{1}")]
    Circle(ReturnTo, #[source] Circle),
}

impl LoginError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Sessions(_) | Self::Start(StartError::Store(_)) => Refusal::StoreUnavailable,
            Self::Provider(_) => Refusal::ProviderUnavailable,
            Self::Start(StartError::Busy) => Refusal::Busy,
            Self::Unprovable(_) => Refusal::StepUpUnmet,
            Self::Circle(..) => Refusal::SignInCircle,
            Self::Form(error) => error.refusal(),
            Self::Page(_)
            | Self::Request(_)
            | Self::Start(StartError::Encoding)
            | Self::Randomness(_)
            | Self::Header => Refusal::Internal,
        }
    }

    /// Where it leads on to.
    fn onward(self) -> Onward {
        let mut onward = Onward::default();
        match self {
            Self::Unprovable(demand) => {
                count_step_up(Shortfall::NotConfigured.word());
                onward.demand = Some(demand);
                onward.lack = Some(Shortfall::NotConfigured);
            }
            Self::Circle(return_to, Circle) => {
                onward.back = Some(Back::Link(again(&return_to)));
            }
            Self::Method
            | Self::Form(_)
            | Self::Page(_)
            | Self::Sessions(_)
            | Self::Provider(_)
            | Self::Request(_)
            | Self::Start(_)
            | Self::Randomness(_)
            | Self::Header => {}
        }
        onward
    }
}

/// What the browser is told and the record says.
pub(super) type Told = (Event, Answer);

/// The largest form.
const LARGEST: u64 = 16 * 1024;
/// A form must have arrived within this.
const DEADLINE: Duration = Duration::from_secs(20);
/// What the record says where the notice does not concern the one who signs in.
const NOT_SHOWN: &str = "not shown";

/// What a request for a sign-in asks for, wherever it says so.
struct Wish {
    return_to: ReturnTo,
    asked: Asked,
    /// A person asks to try again, whatever was before.
    again: bool,
    /// What proves that the notice was shown, where the form was sent.
    ticket: Option<String>,
}

impl Identity {
    pub(super) async fn login(&self, mut received: Received) -> Result<Handled, Refused> {
        match self.start(&mut received).await {
            Ok((told, banner)) => Ok(Handled {
                detail: acknowledged(banner),
                ..handled(received, told)
            }),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "no sign-in was started");
                Err(received
                    .refuse(refusal)
                    .leading(|onward| *onward = error.onward()))
            }
        }
    }

    async fn start(&self, received: &mut Received) -> Result<(Told, Option<String>), LoginError> {
        let wish = self.wish(received).await?;
        let parts = received.parts();
        if wish.again {
            self.turns
                .forget(&BrowserKey::of(&parts.headers, parts.client));
        }
        let session = self.session_of(parts).await.map_err(LoginError::Sessions)?;
        let purpose = match (session, wish.asked) {
            (Some(live), _) if self.sessions().is_locked(&live) => {
                let purpose = Purpose::Unlock(live.key().to_owned());
                self.leaves(&live);
                self.name(received.facts_mut(), &live);
                purpose
            }
            // Another tab signed in already (oauth2-proxy#611): nothing to do.
            (Some(live), Asked::SignIn | Asked::Unlock) => {
                self.name(received.facts_mut(), &live);
                let answer = Answer::redirect(wish.return_to.as_str()).ok_or(LoginError::Header)?;
                return Ok(((Event::PageShown, answer), None));
            }
            (Some(live), Asked::StepUp(_)) => {
                let purpose = Purpose::StepUp(live.key().to_owned());
                self.name(received.facts_mut(), &live);
                purpose
            }
            (None, Asked::SignIn | Asked::StepUp(_) | Asked::Unlock) => Purpose::SignIn,
        };
        let turn = self.turn(received.parts(), &purpose, &wish)?;
        let browser = match cookie::presented(&received.parts().headers, LOGIN_COOKIE) {
            Presented::One(browser) => browser,
            Presented::Nothing | Presented::Malformed => {
                Token::generate().map_err(LoginError::Randomness)?
            }
        };
        let banner = match (&self.banner, &purpose) {
            (Some(banner), Purpose::SignIn) => {
                if !banner.concerns(&received.parts().headers) {
                    Some(NOT_SHOWN.to_owned())
                } else if self.has_read(banner, &wish, &browser, received.parts()) {
                    Some(banner.digest().to_owned())
                } else {
                    let answer = self.notice(banner, &wish, &browser, received)?;
                    let digest = banner.digest().to_owned();
                    return Ok(((Event::PageShown, answer), Some(digest)));
                }
            }
            (Some(_) | None, _) => None,
        };
        let sent = self.send(
            received.parts(),
            (&wish, turn),
            purpose,
            (browser, banner.clone()),
        );
        Ok(((Event::LoginStarted, sent.await?), banner))
    }

    /// What is asked for: in the address, or in the form of the notice.
    async fn wish(&self, received: &mut Received) -> Result<Wish, LoginError> {
        let parts = received.parts();
        if parts.method == Method::GET {
            return Ok(Wish {
                return_to: return_to(&parts.target),
                asked: asked_by(&parts.target),
                again: parts.target.fields().any(|(name, _)| name == AGAIN),
                ticket: None,
            });
        }
        if parts.method != Method::POST || self.banner.is_none() {
            return Err(LoginError::Method);
        }
        let body = received.body_mut().read(LARGEST, DEADLINE).await;
        let form = body.map_err(LoginError::Form)?;
        let mut wish = Wish {
            return_to: ReturnTo::start(),
            asked: Asked::SignIn,
            again: false,
            ticket: Some(String::new()),
        };
        // Of a field that is there twice the last one counts: neither can do more than the other.
        for (name, value) in form_urlencoded::parse(&form) {
            match &*name {
                "return_to" => wish.return_to = ReturnTo::parse(&value),
                "ticket" => wish.ticket = Some(value.into_owned()),
                _other => {}
            }
        }
        Ok(wish)
    }

    fn has_read(&self, banner: &Banner, wish: &Wish, browser: &Token, parts: &Parts) -> bool {
        let (now, lifetime) = (self.clock().now(), self.attempts.timeout());
        wish.ticket.as_ref().is_some_and(|ticket| {
            banner.is_acknowledged(ticket, (browser, &parts.authority), now, lifetime)
        })
    }

    /// The notice, with the form that goes on.
    fn notice(
        &self,
        banner: &Banner,
        wish: &Wish,
        browser: &Token,
        received: &Received,
    ) -> Result<Answer, LoginError> {
        let parts = received.parts();
        let nonce = parts.id.to_string();
        let ticket = banner.ticket(browser, &parts.authority, self.clock().now());
        let language = Language::of(&parts.headers);
        let (phrases, told) = (language.phrases(), received.told().iter());
        let page = BannerPage {
            authority: &parts.authority,
            nonce: &nonce,
            paragraphs: banner.paragraphs(),
            action: OwnRoute::Login.path(),
            return_to: wish.return_to.as_str(),
            ticket: &ticket,
            again: wish.ticket.is_some().then_some(phrases.confirm_again),
            notes: told.filter_map(|told| told.of_browser(language)).collect(),
            phrases,
        };
        let html = page.render().map_err(LoginError::Page)?;
        let answer = Answer::page(html, &nonce).ok_or(LoginError::Header)?;
        let binding = cookie::set_login(browser, self.attempts.timeout());
        let answer = answer.spoken(language);
        Ok(answer.set_cookie(binding.ok_or(LoginError::Header)?))
    }

    async fn send(
        &self,
        parts: &Parts,
        (wish, turn): (&Wish, Turn),
        purpose: Purpose,
        (browser, banner): (Token, Option<String>),
    ) -> Result<Answer, LoginError> {
        // `Identity::new` refuses a configuration without a provider.
        let provider = self
            .first_provider()
            .ok_or(LoginError::Provider(ProviderError::Resting))?;
        let (asked, demand) = match (&purpose, wish.asked) {
            (Purpose::SignIn, _) | (Purpose::StepUp(_), Asked::SignIn | Asked::Unlock) => {
                (Asked::SignIn, Demand::NONE)
            }
            (Purpose::Unlock(_), _) => (Asked::Unlock, Demand::NOW),
            (Purpose::StepUp(_), Asked::StepUp(demand)) => (Asked::StepUp(demand), demand),
        };
        let settings = provider.settings();
        if !can_prove(settings, demand) && !self.adds_factor(&settings.name) {
            return Err(LoginError::Unprovable(demand));
        }
        let metadata = provider.metadata().await.map_err(LoginError::Provider)?;
        let state = Token::generate().map_err(LoginError::Randomness)?;
        let nonce = Token::generate().map_err(LoginError::Randomness)?;
        let nonce = nonce.expose().expose().clone();
        let challenge = Challenge {
            state: state.expose(),
            nonce: nonce.clone(),
            asked,
        };
        let (url, verifier) = provider
            .authorize(&metadata, &callback_url(&parts.authority), challenge)
            .map_err(LoginError::Request)?;
        let attempt = Attempt {
            issuer: provider.settings().name.clone(),
            nonce,
            verifier: verifier.expose().clone(),
            return_to: wish.return_to.as_str().to_owned(),
            authority: parts.authority.clone(),
            started: self.clock().now(),
            purpose,
            banner,
            demand,
            turn,
        };
        self.attempts
            .start(&state, &browser, &attempt)
            .await
            .map_err(LoginError::Start)?;
        if !demand.is_none() && !attempt.is_unlock() {
            count_step_up("asked");
        }
        self.ways.remember(&state, &attempt).await;
        let binding = cookie::set_login(&browser, self.attempts.timeout());
        let answer = Answer::redirect(url.as_str()).ok_or(LoginError::Header)?;
        Ok(answer.set_cookie(binding.ok_or(LoginError::Header)?))
    }

    /// Which turn of its browser this sign-in is; the third within seconds is refused.
    fn turn(&self, parts: &Parts, purpose: &Purpose, wish: &Wish) -> Result<Turn, LoginError> {
        let Some(round) = purpose.round() else {
            return Ok(Turn::default());
        };
        let browser = BrowserKey::of(&parts.headers, parts.client);
        let next = self.turns.next(&browser, round, self.clock().now());
        next.map_err(|circle| LoginError::Circle(wish.return_to.clone(), circle))
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
            Found::Over(..) | Found::Unknown | Found::NotRenewed(_) => None,
        })
    }

    /// Puts a session and its user on record.
    pub(super) fn name(&self, facts: &mut Facts, live: &Live) {
        facts.principal = Some(self.principal_of(live));
        facts.session = Some(live.id().to_string());
    }
}

/// The notice before sign-in, as particulars of a record.
pub(super) fn acknowledged(banner: Option<String>) -> BTreeMap<String, String> {
    let named = banner.map(|banner| ("banner".to_owned(), banner));
    named.into_iter().collect()
}

/// What is recorded and sent.
pub(super) fn handled(received: Received, (event, answer): Told) -> Handled {
    let (_, _, _, facts) = received.into_parts();
    Handled {
        facts,
        event,
        detail: BTreeMap::new(),
        response: answer.into_response(),
    }
}

/// Counts a session that was opened, where it met a demand.
pub(super) fn count_opened(event: Event) {
    if event == Event::StepUp {
        count_step_up("met");
    }
}

/// Counts a step-up by what became of it.
pub(super) fn count_step_up(result: &'static str) {
    metrics::counter!(names::STEP_UPS, "result" => result).increment(1);
}

/// The redirect URI on the host that the browser used.
pub(super) fn callback_url(authority: &str) -> String {
    format!("https://{authority}{}", OwnRoute::Callback.path())
}

/// The field of an address by which a person asks to try again.
const AGAIN: &str = "again";

/// The address to try again at, whatever was before.
fn again(return_to: &ReturnTo) -> String {
    let location = login_location(return_to.as_str(), Asked::SignIn);
    format!("{location}&{AGAIN}=1")
}

fn return_to(target: &Target) -> ReturnTo {
    let mut return_to = target.fields().filter(|(name, _)| name == "return_to");
    match (return_to.next(), return_to.next()) {
        (Some((_, one)), None) => ReturnTo::parse(&one),
        (Some(_), Some(_)) | (None, _) => ReturnTo::start(),
    }
}
