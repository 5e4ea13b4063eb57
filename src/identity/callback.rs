//! `GET /.chartgate/callback`: the provider's answer becomes a session, or a refusal.
//!
//! *Never*: a session from an answer that was not asked for in this browser, twice, or without a second factor.

mod error;
mod purpose;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::answer::Answer;
use super::arrival::Arrived;
use super::attempts::Attempt;
use super::cookie::{self, LOGIN_COOKIE, Presented};
use super::ending::Cause;
use super::factor::MARK;
use super::lock::unlock;
use super::login::{self, Told, callback_url, handled};
use super::oidc::training::StatedTraining;
use super::origin::{Origin, Used};
use super::person::vouched;
use super::routes;
use super::session::{Live, Opening};
use super::token::Token;
use super::turns::{BrowserKey, Round};
use super::ways::Way;
use super::{AccountLimit, Identity};
use crate::config::issuer::Callback;
use crate::request::onward::Back;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Onward, Principal, Received, Refused, Target};
pub(super) use error::CallbackError;
pub(super) use purpose::SignIn;
use purpose::{charged, ends_session};

/// The parameters of a callback. Each occurs once at most.
struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    const KNOWN: &'static [&'static str] = &["code", "state", "iss", "error"];

    fn read(target: &Target) -> Result<Self, CallbackError> {
        let mut found = BTreeMap::new();
        for (name, value) in target.fields() {
            let known = Self::KNOWN.iter().find(|known| **known == name);
            // SECURITY: with two states or codes, which one counts would be whoever reads them's choice.
            if let Some(known) = known
                && found.insert(*known, value).is_some()
            {
                return Err(CallbackError::Duplicate);
            }
        }
        Ok(Self(found))
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn state(&self) -> Option<Token> {
        Token::parse(self.one("state")?.as_bytes())
    }
}

impl Identity {
    pub(super) async fn callback(
        &self,
        mut received: Received,
        limit: AccountLimit<'_>,
    ) -> Result<Handled, Refused> {
        let mut onward = Onward::default();
        match self.finish(&mut received, limit, &mut onward).await {
            Ok((told, detail)) => Ok(Handled {
                detail,
                ..handled(received, told)
            }),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "a sign-in was refused");
                onward.lack = error.lack();
                if let Some(lack) = onward.lack {
                    login::count_step_up(lack.word());
                }
                // The provider vouches for who it was; that they got no further is what the record says.
                let (user, throttle) = error.vouched();
                if let Some(user) = user {
                    self.note_failed(&user).await;
                    received.facts_mut().principal = Some(Arc::new(Principal::User(*user)));
                }
                let refused = received.refuse(refusal).leading(|to| *to = onward);
                Err(match throttle {
                    Some(throttle) => refused.throttled(throttle),
                    None => refused,
                })
            }
        }
    }

    async fn finish(
        &self,
        received: &mut Received,
        limit: AccountLimit<'_>,
        onward: &mut Onward,
    ) -> Result<(Told, BTreeMap<String, String>), CallbackError> {
        let parts = received.parts();
        if parts.method != Method::GET {
            return Err(CallbackError::Method);
        }
        let parameters = Parameters::read(&parts.target)?;
        let attempt = self.attempt(parts, &parameters).await?;
        let current = self.session_of(parts).await.map_err(CallbackError::Store)?;
        let Some(attempt) = attempt else {
            let way = self.way_of(parts, &parameters).await?;
            // A callback that was followed twice, or after another tab had finished (envoy#42079): the user is in.
            if let Some(live) = current {
                let to = way.map_or_else(|| "/".to_owned(), |way| way.return_to);
                self.name(received.facts_mut(), &live);
                let answer = Answer::redirect(&to).ok_or(CallbackError::Header)?;
                return Ok(((Event::PageShown, answer), BTreeMap::new()));
            }
            onward.back = way.map(|way| self.lost(parts, way));
            return Err(CallbackError::Unknown);
        };
        onward.back = Some(Back::Link(attempt.return_to.clone()));
        onward.demand = Some(attempt.demand).filter(|demand| !demand.is_none());
        let named = routes::own_callback(&parts.target);
        let origin = Origin::of(parts);
        let signed_in = self.sign_in(&attempt, &parameters, named).await;
        let training = signed_in.as_ref().ok().map(|(_, training)| *training);
        let (opening, event) = match signed_in
            .and_then(|(opening, _)| {
                self.judge_purpose(&attempt, (current.as_deref(), &origin), opening)
            })
            .and_then(|judged| charged(judged, limit))
        {
            Ok(judged) => judged,
            Err(error) => {
                let error = unlock::failed(&attempt, current.as_deref(), error, limit);
                if let CallbackError::StartsClean = &error {
                    if let Some(old) = &current {
                        self.name(received.facts_mut(), old);
                        self.sessions().end_or_remember(old, Cause::Replaced).await;
                    }
                    let told = unlock::starts_clean().ok_or(CallbackError::Header)?;
                    return Ok((told, BTreeMap::new()));
                }
                // SECURITY: CVE-2026-34454. Whoever failed to sign in here must not find the session of the one
                // before. A step-up that merely failed leaves its own user's session as it was.
                if let Some(old) = current.filter(|_| ends_session(&attempt, &error)) {
                    let cause = Cause::SignInFailed;
                    self.sessions().end_or_remember(&old, cause).await;
                }
                return Err(error);
            }
        };
        self.came_back(received.parts(), &parameters, &attempt)
            .await;
        if self.owes_factor(&attempt, &opening.user) {
            return self.hand_over(received, attempt, opening, current).await;
        }
        let token = Token::generate().map_err(CallbackError::Randomness)?;
        let opening = Opening { origin, ..opening };
        let arrived = self.open(&token, opening, current, &attempt).await?;
        let (live, mut detail) = (arrived.live, arrived.detail);
        login::count_opened(event);
        self.turns
            .opened(live.id(), BrowserKey::of(&parts.headers, parts.client));
        self.name(received.facts_mut(), &live);
        let cookie = cookie::set_session(&token).ok_or(CallbackError::Header)?;
        let answer = Answer::redirect(&attempt.return_to).ok_or(CallbackError::Header)?;
        let answer = self.offering(answer, &live);
        let answer = answer.map_err(CallbackError::Randomness)?;
        detail.extend(login::acknowledged(attempt.banner));
        detail.extend(training.and_then(StatedTraining::particular));
        Ok(((event, answer.set_cookie(cookie)), detail))
    }

    /// Goes on to the gateway's own second factor; until that is accepted there is no session.
    async fn hand_over(
        &self,
        received: &mut Received,
        attempt: Attempt,
        opening: Opening,
        current: Option<Arc<Live>>,
    ) -> Result<(Told, BTreeMap<String, String>), CallbackError> {
        let user = Principal::User(opening.user.clone());
        // SECURITY: whoever signs in here and does not finish must not find the session of someone else.
        if let Some(old) = current.filter(|old| old.user().id() != user.id()) {
            self.sessions().end_or_remember(&old, Cause::Replaced).await;
        }
        let asked = self.ask_factor(received.parts(), &attempt, opening);
        let answer = Box::pin(asked).await.map_err(CallbackError::Factor)?;
        received.facts_mut().principal = Some(Arc::new(user));
        let detail = login::acknowledged(attempt.banner);
        Ok(((Event::PageShown, answer), detail))
    }

    async fn attempt(
        &self,
        parts: &Parts,
        parameters: &Parameters,
    ) -> Result<Option<Attempt>, CallbackError> {
        let browser = match cookie::presented(&parts.headers, LOGIN_COOKIE) {
            Presented::One(browser) => browser,
            Presented::Nothing | Presented::Malformed => return Ok(None),
        };
        let Some(state) = parameters.state() else {
            return Ok(None);
        };
        let attempt = self
            .attempts
            .take(&state, &browser)
            .await
            .map_err(CallbackError::Store)?;
        Ok(attempt.filter(|attempt| attempt.authority == parts.authority))
    }

    /// Where a sign-in whose state is not known in this browser was to lead.
    async fn way_of(
        &self,
        parts: &Parts,
        parameters: &Parameters,
    ) -> Result<Option<Way>, CallbackError> {
        let Some(state) = parameters.state() else {
            return Ok(None);
        };
        let way = self.ways.of(&state, &parts.authority).await;
        way.map_err(CallbackError::Store)
    }

    /// How a browser gets on whose sign-in is not known in it.
    fn lost(&self, parts: &Parts, way: Way) -> Back {
        let browser = BrowserKey::of(&parts.headers, parts.client);
        self.turns.came_back(&browser, Round::SignIn, way.turn);
        // Several tabs that are restored at once each get a cookie, of which the browser keeps the last: the others'
        // sign-ins begin once more, under that one. Whoever keeps no cookie would not get on by that.
        let keeps_cookies = match cookie::presented(&parts.headers, LOGIN_COOKIE) {
            Presented::One(_) => true,
            Presented::Nothing | Presented::Malformed => false,
        };
        if keeps_cookies && !way.used && self.ways.is_in_time(&way) {
            Back::AtOnce(way.return_to)
        } else {
            Back::Link(way.return_to)
        }
    }

    /// Notes that the provider sent a user back.
    async fn came_back(&self, parts: &Parts, parameters: &Parameters, attempt: &Attempt) {
        let browser = BrowserKey::of(&parts.headers, parts.client);
        if let Some(round) = attempt.purpose.round() {
            self.turns.came_back(&browser, round, attempt.turn);
        }
        if let Some(state) = parameters.state() {
            self.ways.use_up(&state, attempt).await;
        }
    }

    /// Asks the provider who signed in.
    async fn sign_in(
        &self,
        attempt: &Attempt,
        parameters: &Parameters,
        named: Option<&str>,
    ) -> Result<(Opening, StatedTraining), CallbackError> {
        let provider = self
            .provider_named(&attempt.issuer)
            .ok_or(CallbackError::IssuerGone)?;
        // SECURITY: an address of its own is where one provider sends its answers and no other (RFC 9700 §4.4.2).
        let expected = match provider.settings().callback {
            Callback::Shared => None,
            Callback::Own => Some(attempt.issuer.as_str()),
        };
        if named != expected {
            return Err(CallbackError::OtherIssuer);
        }
        let metadata = provider.metadata().await.map_err(CallbackError::Provider)?;
        // SECURITY: the answer of another provider that the browser was led to (mix-up, RFC 9207).
        if !metadata.may_call_back_with(parameters.one("iss")) {
            return Err(CallbackError::OtherIssuer);
        }
        if let Some(error) = parameters.one("error") {
            let error = error.chars().take(64).collect();
            return Err(CallbackError::Denied(error));
        }
        let code = parameters.one("code").ok_or(CallbackError::NoCode)?;
        let redirect = callback_url(&attempt.authority, provider.settings());
        let tokens = provider
            .exchange(
                &metadata,
                &redirect,
                code.to_owned(),
                attempt.verifier.clone().into(),
            )
            .await
            .map_err(CallbackError::Exchange)?;
        let verified = self.verify(provider, &metadata, attempt, &tokens).await?;
        if provider.settings().refresh.is_some() && tokens.refresh_token.is_none() {
            tracing::warn!(
                issuer = attempt.issuer,
                "the provider gave no refresh token: the session ends when its roles are too old (`refresh.every` and `refresh.grace`)"
            );
        }
        let person = self
            .person(provider, &metadata, &verified, &tokens.access_token)
            .await
            .map_err(CallbackError::Person)?;
        let mut user = vouched(&attempt.issuer, &person, verified.proof.clone());
        // SECURITY: only the gateway itself says that it verified a factor.
        user.proof.amr.retain(|method| method != MARK);
        // One factor unlocks: see `lock::unlock`, which asks for two of anyone but the session's own user.
        let may_have_one = attempt.is_unlock() || self.adds_factor(&user.issuer);
        if !user.proof.mfa && !may_have_one {
            return Err(CallbackError::Mfa(Box::new(user)));
        }
        if let Some(refusal) = self.kept_out(&user) {
            return Err(CallbackError::KeptOut(refusal, Box::new(user)));
        }
        let opening = Opening {
            sub: (user.subject != verified.subject).then(|| verified.subject.clone()),
            issued: Some(verified.issued),
            stated: user.proof.clone(),
            user,
            role_values: person.role_values,
            issuer_session: verified.issuer_session.clone(),
            id_token: tokens.id_token,
            continues: None,
            origin: Origin::default(),
            used: Used::default(),
            ends: None,
            refresh_token: tokens.refresh_token,
            nonce: attempt.nonce.clone(),
        };
        Ok((opening, person.training))
    }

    /// Opens the session and ends what this browser had before.
    pub(super) async fn open(
        &self,
        token: &Token,
        opening: Opening,
        current: Option<Arc<Live>>,
        attempt: &Attempt,
    ) -> Result<Arrived, CallbackError> {
        let continued = opening.continues.clone();
        let arrived = match self
            .arrive(token, opening, current.as_deref(), &attempt.purpose)
            .await
        {
            Ok(arrived) => arrived,
            Err(error) => {
                let error = CallbackError::from(error);
                if let Some(old) = current.filter(|_| ends_session(attempt, &error)) {
                    let cause = Cause::SignInFailed;
                    self.sessions().end_or_remember(&old, cause).await;
                }
                return Err(error);
            }
        };
        let live = &arrived.live;
        // SECURITY: the session that was to go on ended meanwhile: under its id nothing begins again.
        if continued.is_some() && self.has_ended(live.id()) {
            let sessions = self.sessions();
            sessions.end_or_remember(live, Cause::SignInFailed).await;
            return Err(CallbackError::StepUpSession);
        }
        let meant = self.notices.mean(live, attempt.started).await;
        if !matches!(meant, Ok(false)) {
            let sessions = self.sessions();
            sessions.end_or_remember(live, Cause::BackChannel).await;
            if let Some(old) = current.filter(|_| ends_session(attempt, &CallbackError::Ended)) {
                sessions.end_or_remember(&old, Cause::SignInFailed).await;
            }
            return Err(meant.map_or_else(CallbackError::Store, |_| CallbackError::Ended));
        }
        // SECURITY: a lock that came between the check and the session found no session to end.
        if let Some(refusal) = self.kept_out(live.user()) {
            self.sessions().end_or_remember(live, Cause::Locked).await;
            if let Some(old) = current.filter(|_| ends_session(attempt, &CallbackError::Ended)) {
                let cause = Cause::SignInFailed;
                self.sessions().end_or_remember(&old, cause).await;
            }
            let user = Box::new(live.user().clone());
            return Err(CallbackError::KeptOut(refusal, user));
        }
        if let Some(old) = current {
            if continued.as_ref() == Some(old.id()) {
                self.sessions().retire(&old).await;
            } else {
                self.sessions().end_or_remember(&old, Cause::Replaced).await;
            }
        }
        Ok(arrived)
    }
}
