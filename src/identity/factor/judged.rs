//! What follows from a try: the count of the account, the flow, the record, and only then an answer.

use std::collections::BTreeMap;

use super::account::Account;
use super::flow::{Aim, Proven};
use super::page::Said;
use super::visit::Visit;
use super::{Done, FactorError, location};
use crate::config::second_factor::FactorMethod;
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::refusal::Refusal;
use crate::request::Event;

/// What a try came to.
pub(super) enum Tried {
    /// By this authenticator; a recovery code is none.
    Accepted(Proven, Option<String>),
    /// Why, for the record.
    Wrong(String),
    /// The page was open too long, or sent twice. Nothing was tried.
    Gone,
    /// A passkey of this id counted backwards.
    Suspect(String),
}

impl Identity {
    /// Draws the consequences of a try: written before anything is answered.
    pub(super) async fn judged(
        &self,
        mut visit: Visit<'_>,
        mut account: Account,
        method: &'static str,
        tried: Tried,
    ) -> Result<Done, FactorError> {
        let own = visit.own;
        let now = self.clock().now();
        let (event, cause, said) = match tried {
            Tried::Accepted(proven, authenticator) => {
                account.succeed();
                own.accounts.save(&account).await?;
                visit.flow.proven = Some(proven);
                change(&visit).await?;
                count(method, "accepted");
                let event = match authenticator {
                    Some(_) => Event::SecondFactorUsed,
                    None => Event::RecoveryCodeUsed,
                };
                let left = account.recovery.len().to_string();
                let authenticator = authenticator.unwrap_or_default();
                let mut detail = vec![("method", method), ("authenticator", &authenticator)];
                if event == Event::RecoveryCodeUsed {
                    detail = vec![("method", method), ("left", &left)];
                }
                let answer =
                    Answer::redirect(&location(&visit.token)).ok_or(FactorError::Header)?;
                return Ok(Done::new(event, &detail, answer));
            }
            Tried::Gone => {
                let stage = visit.stage();
                visit.account = Some(account);
                let mut done = self.page_of(&visit, stage, Some(Said::Gone)).await?;
                done.event = Event::SecondFactorFailed;
                done.detail = detail_of(method, "expired or used before");
                return Ok(done);
            }
            Tried::Wrong(cause) => (Event::SecondFactorFailed, cause, Said::Wrong),
            Tried::Suspect(id) => {
                let found = account.authenticators.iter_mut().find(|one| one.id == id);
                if let Some(one) = found {
                    one.suspended = Some(now);
                }
                count(method, "suspect");
                (Event::SecondFactorSuspect, id, Said::Suspect)
            }
        };
        let locked = account.fail(&own.settings, now);
        own.accounts.save(&account).await?;
        match &visit.flow.aim {
            Aim::SignIn(_) => self.note_failed(&visit.flow.user).await,
            Aim::Manage(_) => {}
        }
        if event == Event::SecondFactorFailed {
            count(method, "failed");
        }
        if let Some(until) = locked {
            count(method, "locked");
            let mut detail = detail_of(method, &cause);
            detail.insert("until".to_owned(), until.to_string());
            detail.insert("locks".to_owned(), account.locks.to_string());
            // The page that follows says so: CG-2023.
            let answer = Answer::redirect(&location(&visit.token)).ok_or(FactorError::Header)?;
            let event = if event == Event::SecondFactorFailed {
                Event::SecondFactorLocked
            } else {
                event
            };
            return Ok(Done {
                event,
                detail,
                answer,
            });
        }
        let failures = account.failures.to_string();
        visit.account = Some(account);
        let stage = visit.stage();
        let mut done = self.page_of(&visit, stage, Some(said)).await?;
        done.event = event;
        done.detail = detail_of(method, &cause);
        done.detail.insert("failures".to_owned(), failures);
        Ok(done)
    }
}

/// Writes the flow; one that is over does not come back.
pub(super) async fn change(visit: &Visit<'_>) -> Result<(), FactorError> {
    let there = visit.own.flows().change(visit.ends(), &visit.flow).await?;
    there.then_some(()).ok_or(FactorError::Unknown)
}

fn detail_of(method: &str, cause: &str) -> BTreeMap<String, String> {
    // A cause may repeat what the browser sent, as the words of a parser.
    let cause: String = cause
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect();
    [
        ("method", method.to_owned()),
        ("cause", cause),
        ("code", Refusal::SecondFactorRefused.code().to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

pub(super) fn count(method: &'static str, outcome: &'static str) {
    metrics::counter!("chartgate_second_factor_total", "method" => method, "outcome" => outcome)
        .increment(1);
}

/// The word of a method, on records and in metrics.
pub(super) const fn word(method: FactorMethod) -> &'static str {
    match method {
        FactorMethod::Passkey => "passkey",
        FactorMethod::Totp => "totp",
    }
}
