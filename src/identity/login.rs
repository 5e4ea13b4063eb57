//! `/.chartgate/login`: remembers where to come back to and sends the browser to the identity provider.
//!
//! Where a notice has to be read first, `GET` shows it and its form, a `POST`, goes on.

mod error;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template as _;
use http::Method;

use super::answer::Answer;
use super::attempts::{Attempt, Freshness, Purpose};
use super::banner::{Banner, BannerPage};
use super::choose::{Choice, ChoosePage, Said};
use super::cookie::{self, LOGIN_COOKIE, Presented};
use super::oidc::{Challenge, Provider, can_prove};
use super::routes::{self, Asked, OwnRoute, asked_by, login_location};
use super::token::Token;
use super::turns::{BrowserKey, Turn};
use super::{Identity, ReturnTo};
use crate::config::emergency::ISSUER;
use crate::config::issuer::{Callback, Issuer};
use crate::language::Language;
use crate::request::onward::CookieFate;
use crate::request::received::Parts;
use crate::request::{Demand, Event, Handled, Received, Refused, Target, Workplace};
use crate::telemetry::metrics as names;
use error::LoginError;

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
    said: Said,
}

/// What one sign-in is started with.
struct Start {
    provider: Arc<Provider>,
    login_hint: Option<String>,
    purpose: Purpose,
    freshness: Freshness,
    turn: Turn,
    browser: Token,
    banner: Option<String>,
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
                Err(received.refuse(refusal).leading(|onward| {
                    *onward = error.onward();
                    if self.sessions().locks() {
                        onward.cookie = CookieFate::Stays;
                    }
                    onward.emergency = self.has_emergency();
                }))
            }
        }
    }

    async fn start(&self, received: &mut Received) -> Result<(Told, Option<String>), LoginError> {
        let wish = self.wish(received).await?;
        let parts = received.parts();
        // A person's hand, not a browser that goes round: several people in a row switch at one workstation.
        if wish.again || wish.asked == Asked::Fresh {
            self.turns
                .forget(&BrowserKey::of(&parts.headers, parts.client));
        }
        let session = self.session_of(parts).await.map_err(LoginError::Sessions)?;
        let (purpose, own) = match (session, wish.asked) {
            (Some(live), _) if self.sessions().is_locked(&live) => {
                let purpose = Purpose::Unlock(live.key().to_owned());
                self.leaves(&live);
                self.name(received.facts_mut(), &live);
                // Somebody else may come to a locked screen, and say so.
                let own = wish.said.is_nothing().then(|| live.user().issuer.clone());
                (purpose, own)
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
                (purpose, Some(live.user().issuer.clone()))
            }
            // Someone else takes over: the session that there is ends with their sign-in.
            (Some(_) | None, Asked::Fresh)
            | (None, Asked::SignIn | Asked::StepUp(_) | Asked::Unlock) => (Purpose::SignIn, None),
        };
        // Who came with a sealed account comes with it again: no provider knows them.
        if own.as_deref() == Some(ISSUER) {
            return Ok((to_the_envelopes(&wish)?, None));
        }
        let freshness = self.freshness(&purpose, wish.asked, received.parts());
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
        let parts = received.parts();
        let (provider, login_hint) = match self.provider_for(own, &wish, parts)? {
            Choice::Made(provider, hint) => (provider, hint),
            Choice::Nobody => return Err(LoginError::NoProvider),
            open @ Choice::Open { .. } => {
                let answer = self.choices(open, &wish, &browser, parts)?;
                return Ok(((Event::PageShown, answer), banner));
            }
        };
        let start = Start {
            provider,
            login_hint,
            purpose,
            freshness,
            turn,
            browser,
            banner: banner.clone(),
        };
        let sent = self.send(parts, &wish, start);
        Ok(((Event::LoginStarted, sent.await?), banner))
    }

    /// At which provider: that of `own`, or whichever is chosen.
    fn provider_for(
        &self,
        own: Option<String>,
        wish: &Wish,
        parts: &Parts,
    ) -> Result<Choice, LoginError> {
        let Some(name) = own else {
            let last = cookie::chosen_issuer(&parts.headers);
            return Ok(self.choose(&parts.host, &wish.said, last));
        };
        // Whoever opened the session confirms it.
        let provider = self.provider_named(&name).ok_or(LoginError::NoProvider)?;
        Ok(Choice::Made(Arc::clone(provider), None))
    }

    /// What is asked for: in the address, or in the form of the notice.
    async fn wish(&self, received: &mut Received) -> Result<Wish, LoginError> {
        let parts = received.parts();
        if parts.method == Method::GET {
            let issuer = parts.target.fields().find(|(name, _)| name == "issuer");
            return Ok(Wish {
                return_to: return_to(&parts.target),
                asked: asked_by(&parts.target),
                again: parts.target.fields().any(|(name, _)| name == AGAIN),
                ticket: None,
                said: Said {
                    issuer: issuer.map(|(_, value)| value),
                    user: None,
                },
            });
        }
        if parts.method != Method::POST || (self.banner.is_none() && !self.is_choice()) {
            return Err(LoginError::Method);
        }
        let body = received.body_mut().read(LARGEST, DEADLINE).await;
        let form = body.map_err(LoginError::Form)?;
        let mut wish = Wish {
            return_to: ReturnTo::start(),
            asked: match asked_by(&received.parts().target) {
                fresh @ Asked::Fresh => fresh,
                Asked::SignIn | Asked::StepUp(_) | Asked::Unlock => Asked::SignIn,
            },
            again: false,
            ticket: Some(String::new()),
            said: Said::default(),
        };
        // Of a field that is there twice the last one counts: neither can do more than the other.
        for (name, value) in form_urlencoded::parse(&form) {
            match &*name {
                "return_to" => wish.return_to = ReturnTo::parse(&value),
                "ticket" => wish.ticket = Some(value.into_owned()),
                "issuer" => wish.said.issuer = Some(value.into_owned()),
                "user" => wish.said.user = Some(value.into_owned()),
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
        let action = action(wish);
        let language = Language::of(&parts.headers);
        let (phrases, told) = (language.phrases(), received.told().iter());
        let page = BannerPage {
            authority: &parts.authority,
            nonce: &nonce,
            paragraphs: banner.paragraphs(),
            action: &action,
            return_to: wish.return_to.as_str(),
            ticket: &ticket,
            issuer: wish.said.issuer.as_deref(),
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

    /// The page on which people say where they have their account.
    fn choices(
        &self,
        choice: Choice,
        wish: &Wish,
        browser: &Token,
        parts: &Parts,
    ) -> Result<Answer, LoginError> {
        let Choice::Open {
            offers,
            by_address,
            is_misspelled,
        } = choice
        else {
            return Err(LoginError::NoProvider);
        };
        let nonce = parts.id.to_string();
        let ticket = self
            .banner
            .as_ref()
            .map(|banner| banner.ticket(browser, &parts.authority, self.clock().now()));
        let language = Language::of(&parts.headers);
        let phrases = language.phrases();
        let page = ChoosePage {
            authority: &parts.authority,
            nonce: &nonce,
            action: &action(wish),
            return_to: wish.return_to.as_str(),
            ticket: ticket.as_deref(),
            offers: &offers,
            by_address,
            again: is_misspelled.then_some(phrases.choose.whole_address),
            phrases,
        };
        let html = page.render().map_err(LoginError::Page)?;
        let answer = Answer::page(html, &nonce).ok_or(LoginError::Header)?;
        let answer = answer.spoken(language);
        let binding = cookie::set_login(browser, self.attempts.timeout());
        Ok(answer.set_cookie(binding.ok_or(LoginError::Header)?))
    }

    async fn send(&self, parts: &Parts, wish: &Wish, start: Start) -> Result<Answer, LoginError> {
        let Start {
            provider,
            login_hint,
            purpose,
            freshness,
            turn,
            browser,
            banner,
        } = start;
        let (asked, demand) = match (&purpose, wish.asked) {
            (Purpose::SignIn, _)
            | (Purpose::StepUp(_), Asked::SignIn | Asked::Fresh | Asked::Unlock) => {
                let asked = match freshness {
                    Freshness::Any => Asked::SignIn,
                    Freshness::Now => Asked::Fresh,
                };
                (asked, Demand::NONE)
            }
            // Whoever names a provider at a locked screen may be somebody else, who needs their second factor.
            (Purpose::Unlock(_), _) if !wish.said.is_nothing() => (Asked::Fresh, Demand::NOW),
            (Purpose::Unlock(_), _) => (Asked::Unlock, Demand::NOW),
            (Purpose::StepUp(_), Asked::StepUp(demand)) => {
                // At a shared workstation whoever confirms proves that it is them who sits there.
                let demand = match freshness {
                    Freshness::Any => demand,
                    Freshness::Now => demand.union(Demand::NOW),
                };
                (Asked::StepUp(demand), demand)
            }
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
            login_hint,
        };
        let redirect = callback_url(&parts.authority, settings);
        let (url, verifier) = provider
            .authorize(&metadata, &redirect, challenge)
            .await
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
            freshness,
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
        let answer = answer.set_cookie(binding.ok_or(LoginError::Header)?);
        if !self.is_choice() {
            return Ok(answer);
        }
        let chosen = cookie::set_issuer(&provider.settings().name);
        Ok(answer.set_cookie(chosen.ok_or(LoginError::Header)?))
    }

    /// How old an authentication may be: at a shared workstation the provider may still know the user before.
    fn freshness(&self, purpose: &Purpose, asked: Asked, parts: &Parts) -> Freshness {
        match purpose {
            Purpose::Unlock(_) => return Freshness::Now,
            Purpose::SignIn if self.was_left(parts) => return Freshness::Now,
            Purpose::SignIn | Purpose::StepUp(_) => {}
        }
        match (asked, self.workplace(parts)) {
            (Asked::Fresh, _) | (_, Workplace::Shared) => Freshness::Now,
            (Asked::SignIn | Asked::StepUp(_) | Asked::Unlock, Workplace::Personal) => {
                Freshness::Any
            }
        }
    }

    /// Which turn of its browser this sign-in is; the third within seconds is refused.
    fn turn(&self, parts: &Parts, purpose: &Purpose, wish: &Wish) -> Result<Turn, LoginError> {
        let Some(round) = purpose.round() else {
            return Ok(Turn::default());
        };
        let browser = BrowserKey::of(&parts.headers, parts.client);
        let next = self.turns.next(&browser, round, self.clock().now());
        next.map_err(|circle| LoginError::Circle(wish.return_to.clone(), round, circle))
    }
}

/// To the form of the sealed accounts.
fn to_the_envelopes(wish: &Wish) -> Result<Told, LoginError> {
    let location = routes::emergency_location(wish.return_to.as_str());
    let answer = Answer::redirect(&location).ok_or(LoginError::Header)?;
    Ok((Event::PageShown, answer))
}

/// Where the form of a page on the way to the provider goes to: it asks for what the page was asked for.
fn action(wish: &Wish) -> String {
    match wish.asked {
        Asked::Fresh => login_location("/", Asked::Fresh),
        Asked::SignIn | Asked::StepUp(_) | Asked::Unlock => OwnRoute::Login.path().to_owned(),
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
pub(super) fn callback_url(authority: &str, issuer: &Issuer) -> String {
    let path = OwnRoute::Callback.path();
    match issuer.callback {
        Callback::Shared => format!("https://{authority}{path}"),
        Callback::Own => format!("https://{authority}{path}/{}", issuer.name),
    }
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
