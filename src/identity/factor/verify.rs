//! A try: an answer of an authenticator, a code of an app, a recovery code, an enrolment code.

use super::account::{Account, Kind};
use super::codes::{Code, Good};
use super::flow::{Aim, Ceremony, Proven};
use super::form::{self, Step};
use super::judged::{Tried, change, count};
use super::operators::Invitation;
use super::passkey::{self, Asserted};
use super::visit::{Stage, Visit};
use super::{Done, FactorError, location};
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::identity::token::Token;
use crate::request::{Event, Received};

impl Identity {
    /// `POST`: one step.
    pub(super) async fn posted(&self, received: &mut Received) -> Result<Done, FactorError> {
        let (token, step) = form::sent(received).await?;
        let visit = self.visit(received.parts(), token.clone()).await?;
        Self::name_visitor(received, &visit.flow);
        // SECURITY: the one place where an account is read, judged and written: of parallel tries each sees what the
        // one before it left.
        let id = visit.flow.user.id();
        let held = visit.own.accounts.hold(&id).await?;
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
