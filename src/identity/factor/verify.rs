//! A try: an answer of an authenticator, a code of an app, a recovery code, an enrolment code.

use super::account::{Account, Kind};
use super::codes::{Code, Good};
use super::flow::{Aim, Ceremony, Proven};
use super::form::{self, Step};
use super::operators::Invitation;
use super::page::Said;
use super::passkey::{self, Asserted};
use super::visit::{Stage, Visit};
use super::{Done, FactorError, location};
use crate::config::second_factor::FactorMethod;
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::identity::token::Token;
use crate::request::{Event, Received};

/// What a try came to.
enum Tried {
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
    /// `POST`: one step.
    pub(super) async fn posted(&self, received: &mut Received) -> Result<Done, FactorError> {
        let (token, step) = form::sent(received).await?;
        let visit = self.visit(received.parts(), token.clone()).await?;
        Self::name_visitor(received, &visit.flow);
        // SECURITY: the one place where an account is read, judged and written: of parallel tries each sees what the
        // one before it left.
        let id = visit.flow.user.id();
        let held = visit.own.accounts.hold(&id).await;
        let visit = self.visit(received.parts(), token).await?;
        self.must_be_free(&visit)?;
        if let Aim::Manage(session) = &visit.flow.aim {
            self.must_be_in(received.parts(), session).await?;
        }
        let done = match step {
            Step::Passkey { ceremony, answer } => {
                self.tried_passkey(visit, &ceremony, &answer).await
            }
            Step::Totp { code } => self.tried_totp(visit, &code).await,
            Step::Recovery { code } => self.tried_recovery(visit, &code).await,
            Step::Invitation { code } => self.tried_invitation(visit, &code).await,
            Step::EnrolPasskey {
                ceremony,
                answer,
                name,
            } => {
                self.enrolled_passkey(visit, (&ceremony, &answer), name)
                    .await
            }
            Step::EnrolTotp {
                ceremony,
                code,
                name,
            } => self.enrolled_totp(visit, (&ceremony, &code), name).await,
            Step::Remove { authenticator } => self.removed(visit, &authenticator).await,
            Step::Renew => self.renewed(visit).await,
        };
        drop(held);
        done
    }

    async fn tried_passkey(
        &self,
        visit: Visit<'_>,
        ceremony: &Token,
        answer: &str,
    ) -> Result<Done, FactorError> {
        let account = verifiable(&visit)?;
        let flows = visit.own.flows();
        let (token, browser) = visit.ends();
        let Some(Ceremony::Assert(state)) = flows.end((ceremony, token, browser)).await? else {
            return self.judged(visit, account, "passkey", Tried::Gone).await;
        };
        let site = visit.site.as_ref().ok_or(FactorError::Encoding)?;
        let asserted = site.asserted(answer, &state);
        let (account, tried) = self.judge_assertion(&visit, account, asserted);
        self.judged(visit, account, "passkey", tried).await
    }

    fn judge_assertion(
        &self,
        visit: &Visit<'_>,
        mut account: Account,
        asserted: Asserted,
    ) -> (Account, Tried) {
        let now = self.clock().now();
        let result = match asserted {
            Asserted::Accepted(result) => result,
            Asserted::CountsBackwards(id) => {
                let meant = |one: &&super::account::Authenticator| match &one.kind {
                    Kind::Passkey { credential, .. } => *credential.cred_id() == id,
                    Kind::Totp { .. } => false,
                };
                let found = account.authenticators.iter().find(meant);
                let tried = found.map_or_else(
                    || Tried::Wrong("unknown passkey".to_owned()),
                    |one| Tried::Suspect(one.id.clone()),
                );
                return (account, tried);
            }
            Asserted::Refused(why) => return (account, Tried::Wrong(why)),
        };
        let handle = account.handle;
        let settings = &visit.own.settings;
        // It may have been removed, or used in another tab, since this page asked.
        for one in &mut account.authenticators {
            let counts = one.counts(settings);
            let Kind::Passkey {
                credential,
                sign_count,
                ..
            } = &mut one.kind
            else {
                continue;
            };
            if credential.cred_id() != result.cred_id() || !counts {
                continue;
            }
            let counter = result.counter();
            if (counter > 0 || *sign_count > 0) && counter <= *sign_count {
                let id = one.id.clone();
                return (account, Tried::Suspect(id));
            }
            *sign_count = counter;
            let _changed: Option<bool> = credential.update_credential(&result);
            one.last_used = Some(now);
            let id = one.id.clone();
            let proven = Proven {
                method: "passkey".to_owned(),
                amr: passkey::methods(&result).map(str::to_owned).to_vec(),
                at: now,
                handle,
            };
            return (account, Tried::Accepted(proven, Some(id)));
        }
        (account, Tried::Wrong("unknown passkey".to_owned()))
    }

    async fn tried_totp(&self, visit: Visit<'_>, code: &str) -> Result<Done, FactorError> {
        let mut account = verifiable(&visit)?;
        let now = self.clock().now();
        let mut accepted = None;
        for one in &mut account.authenticators {
            let counts = one.counts(&visit.own.settings);
            let Kind::Totp { key, last_step } = &mut one.kind else {
                continue;
            };
            if accepted.is_none()
                && counts
                && let Some(step) = key.step_of(code, now, *last_step)
            {
                *last_step = step;
                one.last_used = Some(now);
                accepted = Some(one.id.clone());
            }
        }
        let tried = match accepted {
            Some(id) => Tried::Accepted(
                Proven {
                    method: "totp".to_owned(),
                    amr: ["otp", "mfa"].map(str::to_owned).to_vec(),
                    at: now,
                    handle: account.handle,
                },
                Some(id),
            ),
            None => Tried::Wrong("wrong or used code".to_owned()),
        };
        self.judged(visit, account, "totp", tried).await
    }

    async fn tried_recovery(&self, visit: Visit<'_>, code: &str) -> Result<Done, FactorError> {
        let mut account = verifiable(&visit)?;
        let used = Code::parse(code).is_some_and(|code| account.use_recovery(&code));
        let tried = if used {
            let proven = Proven {
                method: "recovery".to_owned(),
                amr: vec!["mfa".to_owned()],
                at: self.clock().now(),
                handle: account.handle,
            };
            Tried::Accepted(proven, None)
        } else {
            Tried::Wrong("wrong or used code".to_owned())
        };
        self.judged(visit, account, "recovery", tried).await
    }

    async fn tried_invitation(
        &self,
        mut visit: Visit<'_>,
        code: &str,
    ) -> Result<Done, FactorError> {
        if visit.stage() != Stage::Invitation {
            return redirect(&visit);
        }
        let user = &visit.flow.user;
        let mut invited = None;
        if let Some(code) = Code::parse(code) {
            for name in [user.id(), user.name.clone()] {
                let print = code.fingerprint(Good::Enrolment, &name);
                let kept = Invitation::find(visit.own.accounts.store(), &name).await?;
                if kept.is_some_and(|kept| kept.code.is(&print)) {
                    invited = Some((name, print));
                }
            }
        }
        if invited.is_none() {
            let account = match visit.account.take() {
                Some(account) => account,
                None => Account::new(user.id(), user.name.clone())?,
            };
            let wrong = Tried::Wrong("wrong or used code".to_owned());
            return self.judged(visit, account, "invitation", wrong).await;
        }
        visit.flow.invited = invited;
        change(&visit).await?;
        count("invitation", "accepted");
        let detail = [("second_factor", "invitation-accepted")];
        let answer = Answer::redirect(&location(&visit.token)).ok_or(FactorError::Header)?;
        Ok(Done::new(Event::PageShown, &detail, answer))
    }

    /// Draws the consequences of a try: written before anything is answered.
    async fn judged(
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
            let event = match event {
                Event::SecondFactorSuspect => event,
                _other => Event::SecondFactorLocked,
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

/// The account of a visit that may try an authenticator.
fn verifiable(visit: &Visit<'_>) -> Result<Account, FactorError> {
    if visit.stage() != Stage::Verify {
        return Err(FactorError::Malformed);
    }
    visit.account.clone().ok_or(FactorError::Malformed)
}

fn redirect(visit: &Visit<'_>) -> Result<Done, FactorError> {
    let answer = Answer::redirect(&location(&visit.token)).ok_or(FactorError::Header)?;
    Ok(Done::new(
        Event::PageShown,
        &[("second_factor", "passed on")],
        answer,
    ))
}

/// Writes the flow; one that is over does not come back.
pub(super) async fn change(visit: &Visit<'_>) -> Result<(), FactorError> {
    let there = visit.own.flows().change(visit.ends(), &visit.flow).await?;
    there.then_some(()).ok_or(FactorError::Unknown)
}

fn detail_of(method: &str, cause: &str) -> std::collections::BTreeMap<String, String> {
    // A cause may repeat what the browser sent, as the words of a parser.
    let cause: String = cause
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect();
    [
        ("method", method.to_owned()),
        ("cause", cause),
        (
            "code",
            crate::refusal::Refusal::SecondFactorRefused
                .code()
                .to_owned(),
        ),
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
