//! The gateway's own second factor: passkeys, codes of authenticator apps, and recovery codes.
//!
//! The provider vouches for the first factor; `callback` hands a sign-in that lacks the second one
//! over to here, and a session opens once a factor was accepted.
//!
//! *Owns*: accounts with what they enrolled (`account`), and the ways through the pages (`flow`).
//! *Never*: two of anything for one proof: a code, an answer of an authenticator and a way to a session are each used
//! up; a wrong try that is not counted on the one account that it was for.
//! *On failure*: an account that cannot be read is refused with `CG-6002`, never asked to enrol.

mod account;
pub(super) mod codes;
mod enrol;
mod error;
mod finish;
mod flow;
mod form;
mod judged;
mod manage;
pub mod operators;
mod page;
mod passkey;
mod totp;
mod verify;
mod visit;

use std::collections::BTreeMap;

use account::Accounts;
use http::Method;

use super::Identity;
use super::answer::Answer;
use super::attempts::Attempt;
use super::cookie::{self, LOGIN_COOKIE, Presented};
use super::routes::OwnRoute;
use super::session::Opening;
use super::token::Token;
use crate::config::second_factor::SecondFactor;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Received, Refused};
use crate::store::Store;

pub(super) use error::FactorError;
pub(super) use flow::MARK;
use flow::{Aim, Flow, Flows, Waiting};
#[cfg(test)]
pub(super) use totp::TotpKey;

/// The own second factor of a gateway that has one.
#[derive(Debug)]
pub(super) struct OwnFactor {
    settings: SecondFactor,
    accounts: Accounts,
}

/// What came of a visit.
struct Done {
    event: Event,
    detail: BTreeMap<String, String>,
    answer: Answer,
}

impl Done {
    fn new(event: Event, detail: &[(&str, &str)], answer: Answer) -> Self {
        let detail = detail.iter();
        let detail = detail.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Self {
            event,
            detail: detail.collect(),
            answer,
        }
    }
}

impl OwnFactor {
    pub(super) fn new(settings: SecondFactor, store: Store) -> Self {
        Self {
            settings,
            accounts: Accounts::new(store),
        }
    }

    /// Whether users of this issuer have it.
    fn serves(&self, issuer: &str) -> bool {
        self.settings.issuers.iter().any(|name| name == issuer)
    }

    const fn flows(&self) -> Flows<'_> {
        Flows(self.accounts.store())
    }
}

impl Identity {
    /// Whether a sign-in of this issuer that proves one factor goes on to the gateway's own second one.
    pub(super) fn adds_factor(&self, issuer: &str) -> bool {
        self.own_factor
            .as_ref()
            .is_some_and(|own| own.serves(issuer))
    }

    fn own_factor(&self) -> Result<&OwnFactor, FactorError> {
        self.own_factor.as_ref().ok_or(FactorError::Off)
    }

    /// Keeps a sign-in that only lacks the second factor, and sends the browser to its page.
    pub(super) async fn ask_factor(
        &self,
        parts: &Parts,
        attempt: &Attempt,
        opening: Opening,
    ) -> Result<Answer, FactorError> {
        let browser = browser_of(parts)?.ok_or(FactorError::Unknown)?;
        let (user, waiting) = Waiting::new(attempt.clone(), opening);
        let aim = Aim::SignIn(Box::new(waiting));
        self.start_flow(parts, user, aim, &browser).await
    }

    async fn start_flow(
        &self,
        parts: &Parts,
        user: crate::request::principal::User,
        aim: Aim,
        browser: &Token,
    ) -> Result<Answer, FactorError> {
        let own = self.own_factor()?;
        let timeout = self.attempts.timeout();
        let now = self.clock().now();
        let flow = Flow {
            user,
            authority: parts.authority.clone(),
            expires: now.saturating_add(timeout).unwrap_or(now),
            aim,
            proven: None,
            invited: None,
        };
        let token = Token::generate()?;
        own.flows().start((&token, browser), &flow).await?;
        let answer = Answer::redirect(&location(&token)).ok_or(FactorError::Header)?;
        let binding = cookie::set_login(browser, timeout).ok_or(FactorError::Header)?;
        Ok(answer.set_cookie(binding))
    }

    /// `/.chartgate/second-factor`
    pub(super) async fn second_factor(&self, mut received: Received) -> Result<Handled, Refused> {
        let method = received.parts().method.clone();
        let done = if method == Method::GET {
            self.shown(&mut received).await
        } else if method == Method::POST {
            Box::pin(self.posted(&mut received)).await
        } else {
            Err(FactorError::Method)
        };
        self.told(received, done)
    }

    /// `/.chartgate/second-factor/manage`
    pub(super) async fn second_factors(&self, mut received: Received) -> Result<Handled, Refused> {
        let done = if received.parts().method == Method::GET {
            self.managed(&mut received).await
        } else {
            Err(FactorError::Method)
        };
        self.told(received, done)
    }

    fn told(
        &self,
        received: Received,
        done: Result<Done, FactorError>,
    ) -> Result<Handled, Refused> {
        match done {
            Ok(Done {
                event,
                detail,
                answer,
            }) => {
                let (_, _, _, facts) = received.into_parts();
                Ok(Handled {
                    facts,
                    event,
                    detail,
                    response: answer.into_response(),
                })
            }
            Err(error) => {
                let refusal = error.refusal();
                tracing::warn!(request = %received.parts().id, code = refusal.code(), %error, "no second factor");
                let wait = error.wait(self.clock().now());
                let onward = error.onward();
                let refused = received.refuse(refusal).leading(|to| *to = onward);
                Err(match wait {
                    Some(wait) => refused.retry_after(wait),
                    None => refused,
                })
            }
        }
    }
}

/// The page of a flow.
fn location(token: &Token) -> String {
    let path = OwnRoute::SecondFactor.path();
    format!("{path}?flow={}", token.expose().expose())
}

/// The value that binds what this browser started to it.
fn browser_of(parts: &Parts) -> Result<Option<Token>, FactorError> {
    match cookie::presented(&parts.headers, LOGIN_COOKIE) {
        Presented::One(browser) => Ok(Some(browser)),
        Presented::Nothing => Ok(None),
        Presented::Malformed => Err(FactorError::Unknown),
    }
}
