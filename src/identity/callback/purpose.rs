//! What a sign-in is for, and whether it is that: a session, a stronger sign-in, a locked screen.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::CallbackError;
use crate::identity::attempts::{Attempt, Freshness, Purpose};
use crate::identity::lock::unlock;
use crate::identity::origin::Origin;
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
        (current, origin): (Option<&Live>, &Origin),
        opening: Opening,
    ) -> Result<(Opening, Event), CallbackError> {
        let is_theirs = |live: &&Live| {
            let (old, new) = (live.user(), &opening.user);
            old.issuer == new.issuer && old.subject == new.subject
        };
        let key = match &attempt.purpose {
            Purpose::SignIn => {
                self.must_be_present(attempt, current.filter(is_theirs), &opening)?;
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
                return unlock::judge(attempt, current, opening, (self, origin));
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
        if let Some(lack) = self.lacks(attempt, demand, opening.sign_in()) {
            return Err(CallbackError::Unmet(lack, Box::new(opening.user)));
        }
        self.must_be_present(attempt, Some(current), &opening)?;
        let continues = Some(current.id().clone());
        let opening = Opening {
            continues,
            ..opening
        };
        Ok((opening, Event::StepUp))
    }

    /// Whoever signs in has to have authenticated since it was asked for, where single sign-on must not answer for them.
    ///
    /// SECURITY: at a shared workstation the provider may still know the user before, and one that ignores `prompt=login`
    /// would sign that one in again, in front of somebody else. And a sign-in that was begun before the screen of
    /// `current` locked must not open it.
    pub(in crate::identity) fn must_be_present(
        &self,
        attempt: &Attempt,
        current: Option<&Live>,
        opening: &Opening,
    ) -> Result<(), CallbackError> {
        let is_locked = current.is_some_and(|live| self.sessions().is_locked(live));
        let lack = match attempt.freshness {
            Freshness::Any if !is_locked => None,
            Freshness::Any | Freshness::Now => self.lacks(attempt, Demand::NOW, opening.sign_in()),
        };
        lack.map_or(Ok(()), |lack| {
            Err(CallbackError::Unmet(lack, Box::new(opening.user.clone())))
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
        sign_in: SignIn<'_>,
    ) -> Option<Shortfall> {
        lacks((demand, attempt.started), sign_in, self.clock().now())
    }
}

/// A sign-in, and when the provider issued the token that states it, by the provider's clock.
#[derive(Debug, Clone, Copy)]
pub(in crate::identity) struct SignIn<'s> {
    /// What was proven.
    pub(in crate::identity) proof: &'s Proof,
    /// None where the gateway itself saw it, by its own clock.
    pub(in crate::identity) issued: Option<Timestamp>,
}

impl Opening {
    pub(in crate::identity) fn sign_in(&self) -> SignIn<'_> {
        SignIn {
            proof: &self.user.proof,
            issued: self.issued,
        }
    }
}

/// Providers state whole seconds, of when the user authenticated and of when the token was issued.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);

/// What a sign-in lacks of a demand that was made at a time.
fn lacks(
    (demand, made): (Demand, Timestamp),
    SignIn { proof, issued }: SignIn<'_>,
    now: Timestamp,
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
    // SECURITY: how long ago it was by the provider's own clock, so that no difference of the clocks has to be
    // tolerated: within that, the person before would pass for the one who sits there now.
    let age = issued.unwrap_or(now).duration_since(authenticated);
    let asked = now.duration_since(made).saturating_add(ROUNDING);
    (age > asked).then_some(Shortfall::TooOld)
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
