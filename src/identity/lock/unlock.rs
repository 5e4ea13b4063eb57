//! Who comes back to a locked screen: its own user, with one factor, or somebody else, who starts clean.
//!
//! *Never*: a session that is stronger than it was, or lasts longer, because it was unlocked.

use crate::identity::answer::Answer;
use crate::identity::attempts::Attempt;
use crate::identity::callback::CallbackError;
use crate::identity::login::Told;
use crate::identity::origin::Origin;
use crate::identity::routes::{Asked, login_location};
use crate::identity::session::{Live, Opening};
use crate::identity::{AccountLimit, Identity, binding};
use crate::request::principal::User;
use crate::request::{Demand, Event};

/// What a sign-in at the locked screen of `current` opens. `current` is none where that session is over.
pub(in crate::identity) fn judge(
    attempt: &Attempt,
    current: Option<&Live>,
    opening: Opening,
    (identity, origin): (&Identity, &Origin),
) -> Result<(Opening, Event), CallbackError> {
    let is_own = |live: &&Live| {
        let (old, new) = (live.user(), &opening.user);
        old.issuer == new.issuer && old.subject == new.subject
    };
    let Some(live) = current.filter(is_own) else {
        // Somebody else, or too late: a sign-in like any other.
        if !opening.user.proof.mfa && !identity.adds_factor(&opening.user.issuer) {
            return Err(CallbackError::Mfa(Box::new(opening.user)));
        }
        identity.must_be_present(attempt, None, &opening)?;
        // SECURITY: whoever has to read the notice before signing in has not: an unlock passes it by. And who still owes
        // the gateway's own second factor brings it in a sign-in of their own.
        if identity.banner().is_some() || !opening.user.proof.mfa {
            return Err(CallbackError::StartsClean);
        }
        return Ok((opening, Event::Login));
    };
    if let Some(lack) = identity.lacks(attempt, Demand::NOW, opening.sign_in()) {
        return Err(CallbackError::Unmet(lack, Box::new(opening.user)));
    }
    // SECURITY: one factor is enough where the screen is. From elsewhere the session's cookie may have been carried off.
    let now = identity.clock().now();
    let moved = binding::moved(&identity.limits.binding, live, origin, now);
    if moved.is_some() && !opening.user.proof.mfa {
        return Err(if identity.adds_factor(&opening.user.issuer) {
            CallbackError::StartsClean
        } else {
            CallbackError::Mfa(Box::new(opening.user))
        });
    }
    // One factor opens what two had opened; it does not count for more than it is.
    let proof = if opening.user.proof.mfa {
        opening.user.proof.clone()
    } else {
        live.user().proof.clone()
    };
    Ok((
        Opening {
            user: User {
                proof,
                ..opening.user
            },
            continues: Some(live.id().clone()),
            ends: Some(live.ends()),
            ..opening
        },
        Event::ScreenUnlocked,
    ))
}

/// Where somebody goes on who has to sign in at a screen that was another's: as if nobody had been there.
pub(in crate::identity) fn starts_clean() -> Option<Told> {
    let location = login_location("/", Asked::SignIn);
    let answer = Answer::redirect(&location)?;
    Some((
        Event::Logout,
        answer
            .set_cookie(crate::identity::cookie::clear_session())
            .clear_site(),
    ))
}

/// An unlock failed: it is charged to the account whose screen it is.
pub(in crate::identity) fn failed(
    attempt: &Attempt,
    current: Option<&Live>,
    error: CallbackError,
    limit: AccountLimit<'_>,
) -> CallbackError {
    let counts = attempt.is_unlock()
        && !matches!(
            error,
            CallbackError::StartsClean | CallbackError::TooOften(..)
        );
    let Some(live) = current.filter(|_| counts) else {
        return error;
    };
    match limit(&live.user().id()) {
        Ok(()) => error,
        Err(throttle) => {
            tracing::warn!(session = %live.id(), %error, "a screen is to be unlocked too often");
            CallbackError::TooOften(throttle, Box::new(live.user().clone()))
        }
    }
}
