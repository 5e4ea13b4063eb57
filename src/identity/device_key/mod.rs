//! Device Bound Session Credentials (W3C draft, <https://w3c.github.io/webappsec-dbsc/>): a session that is bound to a
//! key which its browser made and which does not leave the device.
//!
//! A sign-in offers registration (`Secure-Session-Registration`). A browser that knows it answers with a proof of its new
//! key, and gets a cookie that is good for minutes; it signs a challenge for each further one. From the registration on
//! the session is not accepted without that cookie.
//!
//! *Owns*: the bond of each session. *Never*: a way back from bound to unbound but a new sign-in of the session's user; a
//! session found by its cookie here, which browsers leave out of these requests when another site led to them.
//! *On failure*: what cannot be verified is refused on record; without the store nobody registers or proves anything.

mod bond;
mod error;
mod keeping;
mod key;
mod proof;
mod refresh;
mod register;
mod slot;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response};

pub(super) use bond::{Bond, DeviceProof};
pub(super) use keeping::Bonds;
pub(super) use slot::{BondSlot, Tie};

use super::Identity;
use super::answer::Answer;
use super::cookie;
use super::routes::DEVICE_KEY;
use super::session::{Live, Opening, SessionId};
use super::token::NoRandomness;
use crate::limit::screen::Screened;
use crate::request::received::Parts;
use crate::request::{Handled, Received, Refused};
use crate::telemetry::metrics as names;
use bond::For;
use error::KeyError;

const REGISTRATION: HeaderName = HeaderName::from_static("secure-session-registration");

/// What a browser asks for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// To register its key.
    Register,
    /// To prove that it has it.
    Refresh,
}

/// What it gets.
#[derive(Debug)]
pub enum Given {
    /// A session was bound: put on record before it is answered.
    Registered(Box<Handled>),
    /// A cookie or a challenge, some hundred times a day for each session.
    Refreshed(Response<Bytes>),
}

impl Identity {
    /// The bond of a session that opens: that of the session which goes on, where this browser proves its key; else a
    /// new one, to which it may register one.
    pub(super) fn bond_for(
        &self,
        continued: Option<&Live>,
        opening: &Opening,
    ) -> Result<Option<Arc<Bond>>, NoRandomness> {
        if self.sessions().bonds().is_none() {
            return Ok(None);
        }
        let now = self.clock().now();
        let proof = opening.origin.proof.as_ref();
        let carried = continued.and_then(|live| {
            let bond = live.bond().get()?;
            bond.accepts(live.id(), proof, now).then_some(bond)
        });
        match carried {
            Some(bond) => Ok(Some(bond)),
            None => Ok(Some(Arc::new(Bond::new()?))),
        }
    }

    /// The answer that a session opens with, with the offer to bind it, where it is not bound yet. A browser that does
    /// not know what that is passes it over.
    pub(super) fn offering(&self, answer: Answer, live: &Live) -> Result<Answer, NoRandomness> {
        let Some(bond) = live.bond().get().filter(|bond| !bond.is_registered()) else {
            return Ok(answer);
        };
        let now = self.clock().now();
        let challenge = bond.challenge(For::Registration, live.id(), now)?;
        let offer = format!(r#"(ES256 RS256);path="{DEVICE_KEY}";challenge="{challenge}""#);
        // Hex digits and base64url fit a header.
        Ok(match HeaderValue::try_from(offer) {
            Ok(offer) => answer.with(REGISTRATION, offer),
            Err(_unfit) => answer,
        })
    }

    /// Answers what a browser asks for by itself, to bind a session or to go on in one.
    ///
    /// # Errors
    /// [`Refused`]: what is no proof, a key that is not the session's, a session that is not open.
    pub async fn device_key(&self, asks: Asks, screened: Screened) -> Result<Given, Refused> {
        let mut received = screened.into_received();
        let given = match asks {
            Asks::Register => self.register(&mut received).await,
            Asks::Refresh => self.refresh(&mut received).await,
        };
        let outcome = match given {
            Ok(outcome) => outcome,
            Err(error) => return Err(refused(received, &error)),
        };
        metrics::counter!(names::DEVICE_KEYS, "outcome" => outcome.word()).increment(1);
        Ok(match outcome {
            Outcome::Registered(answer, detail) => {
                Given::Registered(Box::new(register::on_record(received, answer, detail)))
            }
            Outcome::Proven(answer) | Outcome::Challenged(answer) => {
                Given::Refreshed(answer.into_response())
            }
        })
    }

    /// The session that a proof is for, which has to be open here, and what binds it.
    async fn tied(
        &self,
        received: &mut Received,
        id: &SessionId,
    ) -> Result<(Arc<Live>, Arc<Bond>), KeyError> {
        let (live, bond) = self
            .sessions()
            .tied(id)
            .await?
            .filter(|(live, _)| self.is_at_home(live, &received.parts().host))
            .ok_or(KeyError::NoSession)?;
        self.name(received.facts_mut(), &live);
        match self.kept_out(live.user()) {
            Some(refusal) => Err(KeyError::KeptOut(refusal)),
            None => Ok((live, bond)),
        }
    }

    /// An answer with the cookie that proves the device for a while.
    fn proving(&self, answer: Answer, live: &Live, bond: &Bond) -> Result<Answer, KeyError> {
        let lifetime = self.limits.binding.device_proof_lifetime;
        let proof = bond.cookie(live.id(), self.clock().now(), lifetime);
        let cookie = proof.and_then(|proof| cookie::set_device(proof, lifetime));
        Ok(answer.set_cookie(cookie.ok_or(KeyError::Answer)?))
    }
}

/// What came of what a browser asked for.
#[derive(Debug)]
enum Outcome {
    Registered(Answer, register::Detail),
    Proven(Answer),
    Challenged(Answer),
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Registered(..) => "registered",
            Self::Proven(_) => "proven",
            Self::Challenged(_) => "challenged",
        }
    }
}

fn must_be_post(parts: &Parts) -> Result<(), KeyError> {
    if parts.method == Method::POST {
        Ok(())
    } else {
        Err(KeyError::Method)
    }
}

fn refused(received: Received, error: &KeyError) -> Refused {
    metrics::counter!(names::DEVICE_KEYS, "outcome" => "refused").increment(1);
    let request = received.parts().id;
    let session = received.facts().session.clone();
    tracing::warn!(%request, session, %error, "a device's key was not accepted");
    received.refuse(error.refusal())
}
