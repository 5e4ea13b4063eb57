//! What a sign-in is for, and whether it is that: a session, a stronger sign-in, a locked screen.

use std::time::Duration;

use jiff::Timestamp;

use super::CallbackError;
use crate::identity::attempts::{Attempt, Freshness, Purpose};
use crate::identity::lock::unlock;
use crate::identity::session::{Live, Opening};
use crate::identity::{AccountLimit, Identity};
use crate::request::demand::Shortfall;
use crate::request::principal::{Proof, User};
use crate::request::{Demand, Event, Factor, Principal};

impl Identity {
    /// Whether a sign-in is what it says: for a session, or to meet a demand of the session that there is.
    pub(super) fn judge_purpose(
        &self,
        attempt: &Attempt,
        current: Option<&Live>,
        opening: Opening,
    ) -> Result<(Opening, Event), CallbackError> {
        let is_theirs = |live: &&Live| {
            let (old, new) = (live.user(), &opening.user);
            old.issuer == new.issuer && old.subject == new.subject
        };
        let key = match &attempt.purpose {
            Purpose::SignIn => {
                self.is_fresh_enough(attempt, &opening.user)?;
                // Another tab of the same person signed in first: its session goes on under a new token, and with it
                // the EMR sessions that are bound to it (oauth2-proxy#3258).
                let continues = current.filter(is_theirs).map(|live| live.id().clone());
                let opening = Opening {
                    continues,
                    ..opening
                };
                return Ok((opening, Event::Login));
            }
            Purpose::Unlock(key) => {
                let current = current.filter(|live| self.sessions().is_continued(key, live));
                return unlock::judge(attempt, current, opening, self);
            }
            Purpose::StepUp(key) => key,
        };
        let current = current
            .filter(|live| self.sessions().is_continued(key, live))
            .ok_or(CallbackError::StepUpSession)?;
        if !is_theirs(&current) {
            return Err(CallbackError::StepUpUser);
        }
        // Where the gateway adds a factor of its own, the factor is judged after that.
        let demand = if self.adds_factor(&opening.user.issuer) {
            Demand::new(attempt.demand.max_age(), Factor::Any)
        } else {
            attempt.demand
        };
        // What does not meet the demand is refused here, seen and said; let through, the user would be sent round in
        // circles.
        if let Some(lack) = self.lacks(attempt, demand, &opening.user.proof) {
            return Err(CallbackError::Unmet(lack, Box::new(opening.user)));
        }
        let continues = Some(current.id().clone());
        let opening = Opening {
            continues,
            ..opening
        };
        Ok((opening, Event::StepUp))
    }

    /// Whether a sign-in is as new as it was asked for.
    ///
    /// SECURITY: at a shared workstation the provider may still know the user before. One that ignores `prompt=login`
    /// would sign that one in again, in front of somebody else.
    pub(in crate::identity) fn is_fresh_enough(
        &self,
        attempt: &Attempt,
        user: &User,
    ) -> Result<(), CallbackError> {
        let lack = match attempt.freshness {
            Freshness::Any => None,
            Freshness::Now => self.lacks(attempt, Demand::NOW, &user.proof),
        };
        lack.map_or(Ok(()), |lack| {
            Err(CallbackError::Unmet(lack, Box::new(user.clone())))
        })
    }

    /// Whether the gateway's own second factor is still to come: the provider proved none, or not the one demanded.
    pub(super) fn owes_factor(&self, attempt: &Attempt, user: &User) -> bool {
        let demand = Demand::with(attempt.demand.factor().max(Factor::Mfa));
        !attempt.is_unlock()
            && self.adds_factor(&user.issuer)
            && demand.shortfall(&user.proof, self.clock().now()).is_some()
    }

    /// What a sign-in that was started by `attempt` lacks of `demand`.
    pub(in crate::identity) fn lacks(
        &self,
        attempt: &Attempt,
        demand: Demand,
        proof: &Proof,
    ) -> Option<Shortfall> {
        let provider = self.provider_named(&attempt.issuer);
        let leeway = provider.map_or(Duration::ZERO, |known| known.settings().clock_leeway);
        lacks((demand, attempt.started), proof, self.clock().now(), leeway)
    }
}

/// What `proof` lacks of a demand that was made at a time.
fn lacks(
    (demand, made): (Demand, Timestamp),
    proof: &Proof,
    now: Timestamp,
    leeway: Duration,
) -> Option<Shortfall> {
    if demand.max_age() != Some(Duration::ZERO) {
        return demand.shortfall(proof, now);
    }
    // Just now is after it was asked for.
    if let Some(lack) = Demand::with(demand.factor()).shortfall(proof, now) {
        return Some(lack);
    }
    let Some(authenticated) = proof.auth_time else {
        return Some(Shortfall::TimeUnknown);
    };
    let earliest = made.saturating_sub(leeway).unwrap_or(made);
    // Providers that state whole seconds round down.
    (authenticated.as_second() < earliest.as_second()).then_some(Shortfall::TooOld)
}

/// Charges a sign-in to its account, before anything is opened or retired: a step-up over the limit leaves its session
/// as it was; any other sign-in over it counts as failed.
pub(super) fn charged(
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

/// Whether a failed sign-in ends the session that the browser still has.
pub(super) const fn ends_session(attempt: &Attempt, error: &CallbackError) -> bool {
    match attempt.purpose {
        Purpose::SignIn => true,
        // Someone else is at the keyboard.
        Purpose::StepUp(_) => matches!(error, CallbackError::StepUpUser),
        // The screen stays locked.
        Purpose::Unlock(_) => false,
    }
}
