//! The page of one's own authenticators, after a fresh second factor.

use std::time::Duration;

use super::flow::Aim;
use super::visit::Visit;
use super::{Done, FactorError, browser_of, form, page};
use crate::identity::Identity;
use crate::identity::token::Token;
use crate::request::{Demand, Event, Received};

/// How old the sign-in may be under which a first authenticator is enrolled.
const FRESH: Demand = Demand::fresh(Duration::from_mins(10));

impl Identity {
    /// `GET`: the page, or first the second factor.
    pub(super) async fn managed(&self, received: &mut Received) -> Result<Done, FactorError> {
        let own = self.own_factor()?;
        let parts = received.parts();
        let live = self
            .session_of(parts)
            .await?
            .ok_or(FactorError::NoSession)?;
        if !own.serves(&live.user().issuer) {
            return Err(FactorError::Off);
        }
        if let Some(refusal) = self.kept_out(live.user()) {
            return Err(FactorError::KeptOut(refusal));
        }
        self.must_be_at_hand(parts, &live)?;
        let account = own.accounts.load(&live.user().id()).await?;
        let has_one = account.is_some_and(|known| !known.authenticators.is_empty());
        let now = self.clock().now();
        // SECURITY: who has none yet proves nothing here before the first is enrolled: the sign-in has to be a fresh one.
        if !has_one && FRESH.shortfall(&live.user().proof, now).is_some() {
            return Err(FactorError::Stale(FRESH));
        }
        let (token, _) = form::asked(&parts.target)?;
        if let Some(token) = token {
            match self.visit(parts, token).await {
                Ok(visit) if is_open(&visit, live.id().as_str()) => {
                    self.must_be_free(&visit)?;
                    let answer = page::manage(&visit, None)?;
                    self.name(received.facts_mut(), &live);
                    let detail = [("second_factor", "manage")];
                    return Ok(Done::new(Event::PageShown, &detail, answer));
                }
                // Over, or not of this session: asked anew.
                Ok(_) | Err(FactorError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        let browser = match browser_of(parts)? {
            Some(browser) => browser,
            None => Token::generate()?,
        };
        let aim = Aim::Manage(live.id().to_string());
        let user = live.user().clone();
        let answer = self.start_flow(parts, user, aim, &browser).await?;
        self.name(received.facts_mut(), &live);
        Ok(Done::new(
            Event::PageShown,
            &[("second_factor", "asked")],
            answer,
        ))
    }

    /// Removes an authenticator. The last one that is accepted stays: an operator resets an account.
    pub(super) async fn removed(
        &self,
        mut visit: Visit<'_>,
        id: &str,
    ) -> Result<Done, FactorError> {
        let mut account = opened(&mut visit)?;
        let settings = &visit.own.settings;
        let mut kept = account.authenticators.clone();
        kept.retain(|one| one.id != id);
        if !kept.iter().any(|one| one.counts(settings)) {
            visit.account = Some(account);
            let said = visit.language.phrases().factor.only_one;
            let answer = page::manage(&visit, Some(said))?;
            let detail = [("second_factor", "manage")];
            return Ok(Done::new(Event::PageShown, &detail, answer));
        }
        let found = account.authenticators.iter().find(|one| one.id == id);
        let Some(removed) = found.cloned() else {
            return page::to_manage(&visit);
        };
        account.authenticators = kept;
        visit.own.accounts.save(&account).await?;
        let method = super::judged::word(removed.method());
        let detail = [
            ("method", method),
            ("authenticator", removed.id.as_str()),
            ("name", removed.name.as_str()),
        ];
        let answer = page::to_manage(&visit)?.answer;
        Ok(Done::new(Event::SecondFactorRemoved, &detail, answer))
    }

    /// New recovery codes; those before are void.
    pub(super) async fn renewed(&self, mut visit: Visit<'_>) -> Result<Done, FactorError> {
        let mut account = opened(&mut visit)?;
        let codes = account.renew_recovery()?;
        visit.own.accounts.save(&account).await?;
        visit.account = Some(account);
        let answer = page::codes(&visit, &codes)?;
        let many = codes.len().to_string();
        let detail = [("codes", many.as_str())];
        Ok(Done::new(Event::RecoveryCodesRenewed, &detail, answer))
    }
}

/// Whether the page of this session's own authenticators is open to this visit.
fn is_open(visit: &Visit<'_>, session: &str) -> bool {
    match &visit.flow.aim {
        Aim::Manage(own) => own == session && visit.is_proven(),
        Aim::SignIn(_) => false,
    }
}

/// The account of a visit that may change it.
fn opened(visit: &mut Visit<'_>) -> Result<super::account::Account, FactorError> {
    let is_manage = match &visit.flow.aim {
        Aim::Manage(_) => true,
        Aim::SignIn(_) => false,
    };
    if !is_manage || !visit.is_proven() {
        return Err(FactorError::Malformed);
    }
    visit.account.take().ok_or(FactorError::Malformed)
}
