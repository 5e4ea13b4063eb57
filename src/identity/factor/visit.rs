//! A visit to the second factor's page: which flow, whose account, and what comes next.

use http::StatusCode;

use super::account::Account;
use super::flow::{Aim, Flow};
use super::page::{self, Said};
use super::passkey::Site;
use super::{Done, FactorError, OwnFactor, browser_of, form};
use crate::config::second_factor::Enrolment;
use crate::identity::Identity;
use crate::identity::session::Live;
use crate::identity::token::Token;
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{Event, Factor, Principal, Received};
use std::sync::Arc;

/// A visit.
pub(super) struct Visit<'v> {
    pub(super) own: &'v OwnFactor,
    pub(super) token: Token,
    pub(super) browser: Token,
    pub(super) flow: Flow,
    pub(super) account: Option<Account>,
    pub(super) site: Option<Site>,
    /// What the pages are in.
    pub(super) language: Language,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// One of the authenticators that there are.
    Verify,
    /// A first authenticator.
    Enrol,
    /// The enrolment code.
    Invitation,
}

impl Visit<'_> {
    pub(super) fn ends(&self) -> (&Token, &Token) {
        (&self.token, &self.browser)
    }

    pub(super) fn stage(&self) -> Stage {
        let known = self.account.as_ref();
        if known.is_some_and(|account| !account.authenticators.is_empty()) {
            Stage::Verify
        } else if self.own.settings.enrolment == Enrolment::FirstSignIn
            || self.flow.invited.is_some()
        {
            Stage::Enrol
        } else {
            Stage::Invitation
        }
    }

    /// The factor that the sign-in is asked for.
    pub(super) fn demanded(&self) -> Factor {
        match &self.flow.aim {
            Aim::SignIn(waiting) => waiting.attempt.demand.factor(),
            Aim::Manage(_) => Factor::Any,
        }
    }

    /// Whether what was proven still counts: the account was not reset since.
    pub(super) fn is_proven(&self) -> bool {
        let proven = self.flow.proven.as_ref();
        let account = self.account.as_ref();
        proven
            .zip(account)
            .is_some_and(|(proven, account)| proven.handle == account.handle)
    }
}

impl Identity {
    /// The flow of this browser and host, and its account as it is now.
    pub(super) async fn visit<'v>(
        &'v self,
        parts: &Parts,
        token: Token,
    ) -> Result<Visit<'v>, FactorError> {
        let own = self.own_factor()?;
        let browser = browser_of(parts)?.ok_or(FactorError::Unknown)?;
        let found = own.flows().find((&token, &browser)).await?;
        let flow = found
            .filter(|flow| flow.authority == parts.authority)
            .filter(|flow| self.clock().now() < flow.expires)
            .ok_or(FactorError::Unknown)?;
        if !own.serves(&flow.user.issuer) {
            return Err(FactorError::Off);
        }
        let account = own.accounts.load(&flow.user.id()).await?;
        // Where the host can have no passkeys, everything else works.
        let site = Site::of(&own.settings, &parts.host, &parts.authority).ok();
        Ok(Visit {
            own,
            token,
            browser,
            flow,
            account,
            site,
            language: Language::of(&parts.headers),
        })
    }

    /// Puts the user of a flow on record.
    pub(super) fn name_visitor(received: &mut Received, flow: &Flow) {
        let facts = received.facts_mut();
        facts.principal = Some(Arc::new(Principal::User(flow.user.clone())));
        if let Aim::Manage(session) = &flow.aim {
            facts.session = Some(session.clone());
        }
    }

    /// `GET`: the page of what comes next, or the session.
    pub(super) async fn shown(&self, received: &mut Received) -> Result<Done, FactorError> {
        let (token, adds) = form::asked(&received.parts().target)?;
        let visit = self
            .visit(received.parts(), token.ok_or(FactorError::Unknown)?)
            .await?;
        Self::name_visitor(received, &visit.flow);
        self.must_be_free(&visit)?;
        let is_proven = visit.is_proven();
        match &visit.flow.aim {
            Aim::SignIn(_) if visit.flow.proven.is_some() => {
                if !is_proven {
                    return Err(FactorError::Reset);
                }
                Box::pin(self.finished(received, visit)).await
            }
            Aim::Manage(_) if is_proven && !adds => page::to_manage(&visit),
            Aim::Manage(session) => {
                let session = session.clone();
                self.must_be_in(received.parts(), &session).await?;
                let stage = if is_proven {
                    Stage::Enrol
                } else {
                    visit.stage()
                };
                self.page_of(&visit, stage, None).await
            }
            Aim::SignIn(_) => self.page_of(&visit, visit.stage(), None).await,
        }
    }

    /// SECURITY: a locked account is told so before anything is looked at, however it is tried.
    pub(super) fn must_be_free(&self, visit: &Visit<'_>) -> Result<(), FactorError> {
        let now = self.clock().now();
        if let Some(refusal) = self.kept_out(&visit.flow.user) {
            return Err(FactorError::KeptOut(refusal));
        }
        let locked = visit.account.as_ref().and_then(|one| one.locked(now));
        locked.map_or(Ok(()), |until| Err(FactorError::Locked(until)))
    }

    /// The session of this browser must be this one.
    pub(super) async fn must_be_in(&self, parts: &Parts, session: &str) -> Result<(), FactorError> {
        let live = self.session_of(parts).await?;
        let live = live.filter(|live| live.id().as_str() == session);
        let live = live.ok_or(FactorError::NoSession)?;
        self.must_be_at_hand(parts, &live)
    }

    /// SECURITY: behind a locked screen, or from elsewhere than where the session is bound to, nobody changes what
    /// proves the user.
    pub(super) fn must_be_at_hand(&self, parts: &Parts, live: &Live) -> Result<(), FactorError> {
        if self.has_moved(parts, live) {
            Err(FactorError::KeptOut(Refusal::BindingChanged))
        } else if self.sessions().is_locked(live) {
            Err(FactorError::KeptOut(Refusal::ScreenLocked))
        } else {
            Ok(())
        }
    }

    /// The page of a stage.
    pub(super) async fn page_of(
        &self,
        visit: &Visit<'_>,
        stage: Stage,
        said: Option<Said>,
    ) -> Result<Done, FactorError> {
        let step = match stage {
            Stage::Verify => "verify",
            Stage::Enrol => "enrol",
            Stage::Invitation => "invitation",
        };
        let status = if said.is_some() {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::OK
        };
        let answer = match stage {
            Stage::Verify => page::verify(visit, said, status).await?,
            Stage::Enrol => page::enrol(visit, None, said, status).await?,
            Stage::Invitation => page::invitation(visit, said, status)?,
        };
        let detail = [("second_factor", step)];
        Ok(Done::new(Event::PageShown, &detail, answer))
    }
}
