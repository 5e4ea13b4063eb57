//! The last step: a sign-in whose second factor was accepted opens its session.

use super::flow::Aim;
use super::visit::Visit;
use super::{Done, FactorError};
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::identity::attempts::Purpose;
use crate::identity::callback::CallbackError;
use crate::identity::callback::SignIn;
use crate::identity::origin::Origin;
use crate::identity::session::Opening;
use crate::identity::token::Token;
use crate::identity::turns::BrowserKey;
use crate::identity::{cookie, login};
use crate::request::{Event, Received};

impl Identity {
    /// Opens the session. The flow is used up first: of several browsers tabs that follow the same address one gets it.
    pub(super) async fn finished(
        &self,
        received: &mut Received,
        visit: Visit<'_>,
    ) -> Result<Done, FactorError> {
        let flow = visit.own.flows().take(visit.ends()).await?;
        let flow = flow.ok_or(FactorError::Unknown)?;
        let proven = flow.proven.clone().ok_or(FactorError::Unknown)?;
        let user = flow.user_with(&proven);
        let Aim::SignIn(waiting) = flow.aim else {
            return Err(FactorError::Unknown);
        };
        if self.provider_named(&user.issuer).is_none() {
            return Err(FactorError::Off);
        }
        let demand = waiting.attempt.demand;
        // The gateway itself saw the factor.
        let sign_in = SignIn {
            proof: &user.proof,
            issued: None,
        };
        if let Some(lack) = self.lacks(&waiting.attempt, demand, sign_in) {
            login::count_step_up(lack.word());
            return Err(FactorError::Unmet(lack, demand));
        }
        let current = self.session_of(received.parts()).await?;
        let (event, continues) = match &waiting.attempt.purpose {
            // Another tab of the same person may have signed in first: its session goes on.
            Purpose::SignIn => {
                let own = current
                    .as_ref()
                    .filter(|live| live.user().id() == user.id());
                (Event::Login, own.map(|live| live.id().clone()))
            }
            // The session's own user needs no second factor, and anybody else starts clean.
            Purpose::Unlock(_) => return Err(FactorError::Unknown),
            Purpose::StepUp(_) => {
                // By its fingerprint: another tab may have given the session a new token meanwhile.
                let session = current
                    .as_ref()
                    .filter(|live| Some(live.id().as_str()) == waiting.continues.as_deref())
                    .filter(|live| live.user().id() == user.id())
                    .ok_or(FactorError::StepUpSession)?;
                (Event::StepUp, Some(session.id().clone()))
            }
        };
        let (attempt, opening) = waiting.opening(user, continues);
        let opening = Opening {
            origin: Origin::of(received.parts()),
            ..opening
        };
        let token = Token::generate()?;
        let opened = Box::pin(self.open(&token, opening, current, &attempt)).await;
        let arrived = match opened {
            Ok(arrived) => arrived,
            Err(error) => {
                if let CallbackError::Full(user) | CallbackError::KeptOut(_, user) = &error {
                    self.note_failed(user).await;
                }
                return Err(FactorError::Open(Box::new(error)));
            }
        };
        login::count_opened(event);
        let parts = received.parts();
        let browser = BrowserKey::of(&parts.headers, parts.client);
        self.turns.opened(arrived.live.id(), browser);
        self.name(received.facts_mut(), &arrived.live);
        let cookie = cookie::set_session(&token).ok_or(FactorError::Header)?;
        let answer = Answer::redirect(&attempt.return_to).ok_or(FactorError::Header)?;
        let answer = self.offering(answer, &arrived.live)?;
        let mut done = Done::new(
            event,
            &[("second_factor", &proven.method)],
            answer.set_cookie(cookie),
        );
        done.detail.extend(arrived.detail);
        if let Some(banner) = attempt.banner {
            done.detail.insert("banner".to_owned(), banner);
        }
        Ok(done)
    }
}
