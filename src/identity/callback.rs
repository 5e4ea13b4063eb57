//! `GET /.chartgate/callback`: the provider's answer becomes a session, or a refusal.
//!
//! *Never*: a session from an answer that was not asked for in this browser, twice, or without a second factor.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::answer::Answer;
use super::arrival::{Age, ArrivalError, Arrived, authenticated_afresh, fresh_enough};
use super::attempts::{Attempt, Purpose};
use super::cookie::{self, LOGIN_COOKIE, Presented};
use super::ends::Cause;
use super::factor::{FactorError, MARK};
use super::lock::unlock as lock;
use super::login::{self, Told, callback_url, handled};
use super::oidc::claims::{
    ClaimsError, Expected, ExpectedId, StatedTraining, Verified, validate_id_token,
};
use super::oidc::jws::Kind;
use super::oidc::{ExchangeError, Metadata, Provider, ProviderError, TokenError, Tokens};
use super::origin::{Origin, Used};
use super::session::{Live, Opening, SessionId};
use super::token::{NoRandomness, Token};
use super::{AccountLimit, Identity};
use crate::refusal::Refusal;
use crate::request::principal::User;
use crate::request::received::{Parts, Throttle};
use crate::request::{Event, Handled, Principal, Received, Refused, Target};
use crate::store::StoreError;

/// Why the provider's answer gave no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallbackError {
    #[error("method not accepted")]
    Method,
    #[error("a parameter of the callback occurs twice")]
    Duplicate,
    #[error("no sign-in with this state was started in this browser, or it is used or too old")]
    Unknown,
    #[error("the store does not answer: {0}")]
    Store(#[source] StoreError),
    #[error("the callback is from another issuer than the sign-in")]
    OtherIssuer,
    #[error("the provider answered with an error: {0:?}")]
    Denied(String),
    #[error("the callback holds no code")]
    NoCode,
    #[error("the issuer of this sign-in is not configured any more")]
    IssuerGone,
    #[error("the provider is not available: {0}")]
    Provider(#[source] ProviderError),
    #[error("{0}")]
    Exchange(#[source] ExchangeError),
    #[error("the ID token is not believed: {0}")]
    Token(#[source] TokenError),
    #[error("the ID token is refused: {0}")]
    Claims(#[source] ClaimsError),
    #[error("{0}")]
    Factor(#[source] FactorError),
    #[error("no second factor is proven (acr {:?}, amr {:?})", .0.proof.acr, .0.proof.amr)]
    Mfa(Box<User>),
    #[error("the user is locked out, or not active")]
    KeptOut(Refusal, Box<User>),
    #[error("the session to confirm is over, or not this browser's")]
    StepUpSession,
    #[error("someone else confirmed than the one whose session it is")]
    StepUpUser,
    #[error("the provider does not state when the user authenticated (auth_time)")]
    StepUpUnknown,
    #[error("the user did not authenticate afresh (auth_time is before the request)")]
    StepUpStale,
    #[error("the user has as many sessions as are allowed")]
    Full(Box<User>),
    #[error("someone else signed in at a locked screen, and has to read the notice first")]
    StartsClean,
    #[error("the account signs in too often")]
    TooOften(Throttle, Box<User>),
    #[error("the provider ended this sign-in's session before it was open")]
    Ended,
    #[error("{0}")]
    Randomness(#[source] NoRandomness),
    #[error("the answer cannot be expressed in a header")]
    Header,
}

impl CallbackError {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Method => Refusal::MethodRefused,
            Self::Unknown => Refusal::LoginStateUnknown,
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Denied(_) => Refusal::ProviderDenied,
            Self::Provider(_)
            | Self::Exchange(ExchangeError::Unreachable(_))
            | Self::Token(TokenError::Provider(_)) => Refusal::ProviderUnavailable,
            Self::Factor(error) => error.refusal(),
            Self::Mfa(_) => Refusal::MfaRequired,
            Self::TooOften(..) => Refusal::LoginRate,
            Self::KeptOut(refusal, _) => *refusal,
            Self::Full(_) => Refusal::TooManySessions,
            Self::Duplicate
            | Self::OtherIssuer
            | Self::NoCode
            | Self::IssuerGone
            | Self::Exchange(
                ExchangeError::Refused(_) | ExchangeError::Malformed(_) | ExchangeError::Address(_),
            )
            | Self::Token(TokenError::Form(_) | TokenError::Forged | TokenError::NoKey)
            | Self::Claims(_)
            | Self::StepUpSession
            | Self::StepUpUser
            | Self::StepUpUnknown
            | Self::StepUpStale
            | Self::StartsClean
            | Self::Ended => Refusal::LoginRefused,
            Self::Randomness(_) | Self::Header => Refusal::Internal,
        }
    }

    /// Who the provider vouched for before it went wrong, and how long they have to wait.
    fn vouched(self) -> (Option<Box<User>>, Option<Throttle>) {
        match self {
            Self::Mfa(user) | Self::KeptOut(_, user) | Self::Full(user) => (Some(user), None),
            Self::TooOften(throttle, user) => (Some(user), Some(throttle)),
            Self::Method
            | Self::Duplicate
            | Self::Unknown
            | Self::Store(_)
            | Self::OtherIssuer
            | Self::Denied(_)
            | Self::NoCode
            | Self::IssuerGone
            | Self::Provider(_)
            | Self::Exchange(_)
            | Self::Token(_)
            | Self::Claims(_)
            | Self::StepUpSession
            | Self::StepUpUser
            | Self::StepUpUnknown
            | Self::StepUpStale
            | Self::StartsClean
            | Self::Ended
            | Self::Factor(_)
            | Self::Randomness(_)
            | Self::Header => (None, None),
        }
    }
}

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
        match self.finish(&mut received, limit).await {
            Ok((told, detail)) => Ok(Handled {
                detail,
                ..handled(received, told)
            }),
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "a sign-in was refused");
                // The provider vouches for who it was; that they got no further is what the record says.
                let (user, throttle) = error.vouched();
                if let Some(user) = user {
                    self.note_failed(&user).await;
                    received.facts_mut().principal = Some(Arc::new(Principal::User(*user)));
                }
                let refused = received.refuse(refusal);
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
    ) -> Result<(Told, BTreeMap<String, String>), CallbackError> {
        let parts = received.parts();
        if parts.method != Method::GET {
            return Err(CallbackError::Method);
        }
        let parameters = Parameters::read(&parts.target)?;
        let attempt = self.attempt(parts, &parameters).await?;
        let current = self.session_of(parts).await.map_err(CallbackError::Store)?;
        let Some(attempt) = attempt else {
            // A callback that was followed twice, or after another tab had finished (envoy#42079): the user is in.
            let live = current.ok_or(CallbackError::Unknown)?;
            self.name(received.facts_mut(), &live);
            let answer = Answer::redirect("/").ok_or(CallbackError::Header)?;
            return Ok(((Event::PageShown, answer), BTreeMap::new()));
        };
        let signed_in = self.sign_in(&attempt, &parameters).await;
        let training = signed_in.as_ref().ok().map(|(_, v)| v.training);
        let (opening, event) = match signed_in
            .and_then(|(o, v)| judge_purpose(&attempt, current.as_deref(), o, &v, self))
            .and_then(|judged| charged(judged, limit))
        {
            Ok(judged) => judged,
            Err(error) => {
                let error = lock::failed(&attempt, current.as_deref(), error, limit);
                if let CallbackError::StartsClean = &error {
                    if let Some(old) = &current {
                        self.name(received.facts_mut(), old);
                        self.sessions().end_or_remember(old).await;
                        Cause::Replaced.count(1);
                    }
                    let told = lock::starts_clean().ok_or(CallbackError::Header)?;
                    return Ok((told, BTreeMap::new()));
                }
                // SECURITY: CVE-2026-34454. Whoever failed to sign in here must not find the session of the one
                // before. A step-up that merely failed leaves its own user's session as it was.
                if let Some(old) = current.filter(|_| ends_session(&attempt, &error)) {
                    self.sessions().end_or_remember(&old).await;
                    Cause::FailedSignIn.count(1);
                }
                return Err(error);
            }
        };
        if !opening.user.proof.mfa {
            return self.hand_over(received, attempt, opening, current).await;
        }
        let token = Token::generate().map_err(CallbackError::Randomness)?;
        let opening = Opening {
            origin: Origin::of(parts),
            ..opening
        };
        let arrived = self.open(&token, opening, current, &attempt).await?;
        let (live, mut detail) = (arrived.live, arrived.detail);
        self.name(received.facts_mut(), &live);
        let cookie = cookie::set_session(&token).ok_or(CallbackError::Header)?;
        let answer = Answer::redirect(&attempt.return_to).ok_or(CallbackError::Header)?;
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
            self.sessions().end_or_remember(&old).await;
            Cause::Replaced.count(1);
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

    /// Asks the provider who signed in.
    async fn sign_in(
        &self,
        attempt: &Attempt,
        parameters: &Parameters,
    ) -> Result<(Opening, Verified), CallbackError> {
        let provider = self
            .provider_named(&attempt.issuer)
            .ok_or(CallbackError::IssuerGone)?;
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
        let redirect = callback_url(&attempt.authority);
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
        let mut user = User {
            issuer: attempt.issuer.clone(),
            subject: verified.subject.clone(),
            name: verified.name.clone(),
            roles: std::collections::BTreeSet::new(),
            proof: verified.proof.clone(),
        };
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
            user,
            role_values: verified.role_values.clone(),
            issuer_session: verified.issuer_session.clone(),
            id_token: tokens.id_token,
            continues: None,
            origin: Origin::default(),
            used: Used::default(),
            ends: None,
        };
        Ok((opening, verified))
    }

    async fn verify(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        attempt: &Attempt,
        tokens: &Tokens,
    ) -> Result<Verified, CallbackError> {
        let (payload, algorithm) = provider
            .verified(tokens.id_token.expose(), Kind::Id)
            .await
            .map_err(CallbackError::Token)?;
        let now = self.clock().now();
        let settings = provider.settings();
        let expected = ExpectedId {
            token: Expected {
                issuer: metadata.issuer(),
                client_id: &settings.client_id,
                now,
                leeway: self.leeway,
            },
            nonce: &attempt.nonce,
            access_token: Some(tokens.access_token.expose()),
            algorithm,
            issuer: settings,
        };
        let verified = validate_id_token(&payload, &expected).map_err(CallbackError::Claims)?;
        // An ID token is made for the answer that brings it, so its age is the difference of the clocks.
        let skew = now.duration_since(verified.issued).as_secs_f64();
        metrics::gauge!("chartgate_issuer_clock_skew_seconds", "issuer" => settings.name.clone())
            .set(skew);
        if verified.training == StatedTraining::Unreadable {
            tracing::warn!(
                issuer = settings.name,
                "the training claim is no date: nothing is taken from it"
            );
        }
        if verified.roles_elsewhere {
            tracing::warn!(
                issuer = settings.name,
                "the role claim was left out of the token for its size (groups overage): the user gets no role"
            );
        }
        Ok(verified)
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
        let arrived = match self.arrive(token, opening, current.as_deref()).await {
            Ok(arrived) => arrived,
            Err(error) => {
                let error = CallbackError::from(error);
                if let Some(old) = current.filter(|_| ends_session(attempt, &error)) {
                    self.sessions().end_or_remember(&old).await;
                    Cause::FailedSignIn.count(1);
                }
                return Err(error);
            }
        };
        let live = &arrived.live;
        let meant = self.notices.mean(live, attempt.started).await;
        if !matches!(meant, Ok(false)) {
            self.sessions().end_or_remember(live).await;
            Cause::Provider.count(1);
            if let Some(old) = current.filter(|_| ends_session(attempt, &CallbackError::Ended)) {
                self.sessions().end_or_remember(&old).await;
            }
            return Err(meant.map_or_else(CallbackError::Store, |_| CallbackError::Ended));
        }
        // SECURITY: a lock that came between the check and the session found no session to end.
        if let Some(refusal) = self.kept_out(live.user()) {
            self.sessions().end_or_remember(live).await;
            Cause::Locked.count(1);
            let user = Box::new(live.user().clone());
            return Err(CallbackError::KeptOut(refusal, user));
        }
        if let Some(old) = current {
            if continued.as_ref() == Some(old.id()) {
                self.sessions().retire(&old).await;
            } else {
                self.sessions().end_or_remember(&old).await;
                Cause::Replaced.count(1);
            }
        }
        Ok(arrived)
    }
}

impl From<Age> for CallbackError {
    fn from(age: Age) -> Self {
        match age {
            Age::Unknown => Self::StepUpUnknown,
            Age::Stale => Self::StepUpStale,
        }
    }
}

impl From<ArrivalError> for CallbackError {
    fn from(error: ArrivalError) -> Self {
        match error {
            ArrivalError::Store(error) => Self::Store(error),
            ArrivalError::Full(user) => Self::Full(user),
        }
    }
}

/// Charges a sign-in to its account, before anything is opened or retired: a step-up over the limit leaves its session
/// as it was; any other sign-in over it counts as failed.
fn charged(
    judged: (Opening, Event),
    limit: AccountLimit<'_>,
) -> Result<(Opening, Event), CallbackError> {
    let (opening, event) = judged;
    let principal = Principal::User(opening.user.clone());
    match limit(&principal.id()) {
        Ok(()) => Ok((opening, event)),
        Err(throttle) => Err(CallbackError::TooOften(throttle, Box::new(opening.user))),
    }
}

/// Whether a step-up is what it says: the same user, in the same session, afresh.
fn judge_purpose(
    attempt: &Attempt,
    current: Option<&Live>,
    opening: Opening,
    verified: &Verified,
    identity: &Identity,
) -> Result<(Opening, Event), CallbackError> {
    let key = match &attempt.purpose {
        Purpose::SignIn => {
            fresh_enough(attempt, verified, identity.leeway).map_err(CallbackError::from)?;
            return Ok((opening, Event::Login));
        }
        Purpose::Unlock(key) => {
            let current = current.filter(|live| live.key() == key);
            return lock::judge(attempt, current, opening, verified, identity);
        }
        Purpose::StepUp(key) => key,
    };
    let current = current
        .filter(|live| live.key() == key)
        .ok_or(CallbackError::StepUpSession)?;
    let (old, new) = (current.user(), &opening.user);
    if old.issuer != new.issuer || old.subject != new.subject {
        return Err(CallbackError::StepUpUser);
    }
    is_fresh(attempt, verified, identity.leeway)?;
    let continues: Option<SessionId> = Some(current.id().clone());
    Ok((
        Opening {
            continues,
            ..opening
        },
        Event::StepUp,
    ))
}

/// Whether the user authenticated since this was asked for.
pub(super) fn is_fresh(
    attempt: &Attempt,
    verified: &Verified,
    leeway: std::time::Duration,
) -> Result<(), CallbackError> {
    // A provider that does not say when the user authenticated cannot serve a demand for freshness. Refused here, it
    // is seen and said; let through, the user would be sent round in circles.
    authenticated_afresh(attempt, verified, leeway).map_err(CallbackError::from)
}

/// Whether a failed sign-in ends the session that the browser still has.
const fn ends_session(attempt: &Attempt, error: &CallbackError) -> bool {
    match attempt.purpose {
        Purpose::SignIn => true,
        // Someone else is at the keyboard.
        Purpose::StepUp(_) => matches!(error, CallbackError::StepUpUser),
        // It stays locked: whoever failed here finds nothing of it.
        Purpose::Unlock(_) => false,
    }
}
