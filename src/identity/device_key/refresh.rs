//! A browser proves that it still has the key of a session, and gets a cookie for the next minutes.
//!
//! *Never*: a cookie for a challenge that was answered before, or for another key.

use http::{HeaderName, HeaderValue};

use super::bond::{Bond, Challenge, For, fingerprint};
use super::error::KeyError;
use super::proof::{Proof, SESSION, string};
use super::{Outcome, must_be_post};
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::identity::session::SessionId;
use crate::request::Received;
use crate::store::Insertion;

const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

impl Identity {
    pub(super) async fn refresh(&self, received: &mut Received) -> Result<Outcome, KeyError> {
        let parts = received.parts();
        must_be_post(parts)?;
        let id = string(&parts.headers, &SESSION)?.and_then(fingerprint);
        let id = id.ok_or(KeyError::NoSession)?;
        let (live, bond) = self.tied(received, &id).await?;
        let registered = bond.registered.as_ref().ok_or(KeyError::NoSession)?;
        let Some(proof) = Proof::of(&received.parts().headers)? else {
            return self.asks_again(&id, &bond);
        };
        proof.proves(&registered.key)?;
        if !self.is_first_answer(&proof, &id, &bond).await? {
            return self.asks_again(&id, &bond);
        }
        let answer = self.proving(Answer::done(), &live, &bond)?;
        Ok(Outcome::Proven(answer))
    }

    /// Whether a proof answers a challenge of this session that is in time and was not answered before. A browser sends
    /// the last one that it made again; it is then asked for another.
    async fn is_first_answer(
        &self,
        proof: &Proof<'_>,
        id: &SessionId,
        bond: &Bond,
    ) -> Result<bool, KeyError> {
        let now = self.clock().now();
        let challenge = Challenge::parse(proof.challenge())
            .filter(|challenge| bond.is_answered(For::Refresh, (id, challenge), now));
        let (Some(challenge), Some(bonds)) = (challenge, self.sessions().bonds()) else {
            return Ok(false);
        };
        Ok(bonds.use_up(&challenge).await? == Insertion::Stored)
    }

    fn asks_again(&self, id: &SessionId, bond: &Bond) -> Result<Outcome, KeyError> {
        let challenge = bond.challenge(For::Refresh, id, self.clock().now())?;
        let challenge = HeaderValue::try_from(format!(r#""{challenge}";id="{id}""#));
        let challenge = challenge.ok().ok_or(KeyError::Answer)?;
        let answer = Answer::forbidden().with(CHALLENGE, challenge);
        Ok(Outcome::Challenged(answer))
    }
}
