//! The request path. Read this file first.
//!
//! Each line of `Gateway::admit` is a stage; each consumes the proof of the one before, so that none can be left
//! out (see [`crate::proofs`]). A stage that says no ends the request with a [`Refused`], which is put on record
//! before it is answered.
//!
//! *Never*: an answer that is not on record; a byte to the EMR before the record is durable.
//! *On failure*: the one answer without a record is the fixed 503 of a trail that is down.

mod device_key;
mod emergency;
mod held;
mod leave;
mod lock;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderValue, Response};

use crate::audit::admit::Admitted;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::desk::offers::Offers;
use crate::desk::{Desk, Desks, Hatch};
use crate::emr::classify::{Classified, classify};
use crate::emr::emrs::Emrs;
use crate::emr::map::Mapped;
use crate::identity::Identity;
use crate::identity::held::HeldPosts;
use crate::identity::identify::Identified;
use crate::identity::lock::Asks;
use crate::identity::routes::{ACTIVE, HELD, OwnRoute, SCREEN, is_own};
use crate::limit::charge::Charges;
use crate::limit::screen::{Purpose, Screen};
use crate::policy::decide::{InForce, Policies};
use crate::policy::remind::Reminders;
use crate::refusal::Refusal;
use crate::request::received::Manner;
use crate::request::{AnswerBody, Body, Event, Handled, Received, Refused, Target};
use crate::respond;
use crate::upstream::{Answered, Backends, Upstream};
use leave::Left;

/// What all workers share: the owner of each stage.
#[derive(Debug)]
pub struct Stages {
    /// Limits per address.
    pub screen: Screen,
    /// Sessions and sign-in.
    pub identity: Arc<Identity>,
    /// Forms that wait for their user, where any are kept.
    pub held: Option<Arc<HeldPosts>>,
    /// EMR profiles and sessions.
    pub emrs: Arc<Emrs>,
    /// Policies.
    pub policies: Arc<Policies>,
    /// Who was reminded today of a course that is due.
    pub reminders: Reminders,
    /// Limits per user.
    pub charges: Charges,
    /// The trail.
    pub audit: Audit,
    /// The EMRs' back ends.
    pub backends: Arc<Backends>,
    /// The rooms that answer pages of their own.
    pub desks: Desks,
    /// What seals the offers to break the glass.
    pub offers: Arc<Offers>,
    /// Time.
    pub clock: SharedClock,
}

/// The request path of one worker.
#[derive(Debug)]
pub struct Gateway {
    stages: Arc<Stages>,
    audit: Audit,
    upstream: Upstream,
}

/// Where a request is to go.
#[derive(Debug)]
enum Place {
    Emr,
    Identity(OwnRoute),
    Screen(Asks),
    DeviceKey(device_key::Asks),
    Held,
    Jwks,
    Desk(Arc<dyn Desk>),
    Hatch(Arc<dyn Hatch>),
    Nowhere,
}

/// Whether a request says that its user is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    User,
    /// The gateway made it.
    None,
    /// The gateway made it to sign out whoever left; what is answered is nobody's any more.
    Leaving,
}

/// How often, and after how long, a request looks again for the two halves of a bundle that is being put in force.
const SWAP_LOOKS: u32 = 500;
const SWAP_LOOK: Duration = Duration::from_millis(1);

const JWKS: &str = "/.chartgate/jwks.json";

impl Place {
    fn of(target: &Target, desks: &Desks) -> Self {
        if !is_own(target) {
            Self::Emr
        } else if target.path() == JWKS {
            Self::Jwks
        } else if let Some(route) = OwnRoute::of(target) {
            Self::Identity(route)
        } else if target.path() == SCREEN {
            Self::Screen(Asks::Looks)
        } else if target.path() == ACTIVE {
            Self::Screen(Asks::Works)
        } else if let Some(asks) = device_key::asks(target) {
            Self::DeviceKey(asks)
        } else if target
            .path()
            .strip_prefix(HELD)
            .is_some_and(|rest| rest.starts_with('/'))
        {
            Self::Held
        } else {
            let desk = desks.at(target).map(Self::Desk);
            let place = desk.or_else(|| desks.hatch_at(target).map(Self::Hatch));
            place.unwrap_or(Self::Nowhere)
        }
    }
}

impl Gateway {
    /// A worker's gateway, on the worker's `LocalSet`.
    #[must_use]
    pub fn new(stages: Arc<Stages>, upstream: Upstream) -> Rc<Self> {
        let audit = stages.audit.for_worker();
        tokio::task::spawn_local(audit.log().courier().run());
        Rc::new(Self {
            stages,
            audit,
            upstream,
        })
    }

    /// Serves a request: whatever happens is on record before it is answered.
    pub async fn serve(
        self: Rc<Self>,
        received: Result<Received, Refused>,
    ) -> Response<AnswerBody> {
        let answered = match received {
            Ok(received) => self.route(received).await,
            Err(refused) => Err(refused),
        };
        match answered {
            Ok(response) => response,
            Err(refused) => Box::pin(self.end(refused)).await.map(AnswerBody::from),
        }
    }

    /// Ends a request with a refusal; what was sent with it need not be lost.
    async fn end(self: &Rc<Self>, refused: Refused) -> Response<bytes::Bytes> {
        let refused = self.hold(refused).await;
        self.refuse(refused).await
    }

    async fn route(self: &Rc<Self>, received: Received) -> Result<Response<AnswerBody>, Refused> {
        match Place::of(&received.parts().target, &self.stages.desks) {
            Place::Emr => self.admit(received).await,
            // Boxed: rare, and the future of each request would keep room for it.
            Place::Identity(route) => Box::pin(self.own(route, received)).await,
            Place::Screen(asks) => Box::pin(self.screen(asks, received)).await,
            Place::DeviceKey(asks) => Box::pin(self.device_key(asks, received)).await,
            Place::Held => Box::pin(self.held(received)).await,
            Place::Jwks => Box::pin(self.jwks(received)).await,
            Place::Desk(desk) => Box::pin(self.visit(&*desk, received)).await,
            Place::Hatch(hatch) => Box::pin(self.serve_server(&*hatch, received)).await,
            Place::Nowhere => {
                let screened = self.stages.screen.screen(received, Purpose::Ordinary)?;
                Err(screened.refuse(Refusal::NotFound))
            }
        }
    }

    /// The request path.
    async fn admit(self: &Rc<Self>, received: Received) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let identified = stages.identity.identify(screened).await?;
        self.proceed(identified, Activity::User).await
    }

    /// The request path from the third stage on.
    async fn proceed(
        self: &Rc<Self>,
        identified: Identified,
        activity: Activity,
    ) -> Result<Response<AnswerBody>, Refused> {
        let (mapped, in_force) = self.map(identified).await?;
        if activity == Activity::User && !mapped.mapping().poll {
            self.stages.identity.touch(mapped.identified());
        }
        self.carry_out(mapped, &in_force, activity).await
    }

    /// The request path from the fourth stage on.
    async fn carry_out(
        self: &Rc<Self>,
        mapped: Mapped,
        in_force: &InForce,
        activity: Activity,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let now = stages.clock.now();
        let circumstances = in_force.circumstances(&mapped, now);
        let authorized = in_force.decide(mapped, &circumstances, now)?;
        let authorized = stages.reminders.remind(authorized, now)?;
        let limited = stages.charges.charge(authorized)?;
        let admitted = self.audit.admit(limited).await?;
        let classified = self.exchange(admitted).await?;
        // SECURITY: an answer that took longer than its session must not bring cookies or a page to whoever is next.
        let session = classified.answer().identified().session();
        if activity != Activity::Leaving && stages.identity.has_ended(session) {
            return Err(classified
                .into_answer()
                .refuse(Refusal::LoginRequired)
                .forwarded());
        }
        let cleaned = self.upstream.clean(classified)?;
        Ok(respond::deliver(cleaned))
    }

    /// Maps a request, and gives the policies that belong to the profile which mapped it.
    ///
    /// INVARIANT: what a request means and who may do it are of one bundle. A request that is mapped while another
    /// bundle is put in force is mapped again: its body was read before, so it is the same bytes.
    async fn map(&self, identified: Identified) -> Result<(Mapped, Arc<InForce>), Refused> {
        let stages = &*self.stages;
        let mut mapped = stages.emrs.map(identified).await?;
        for _ in 0..SWAP_LOOKS {
            let in_force = stages.policies.in_force();
            if mapped.edition() == in_force.active().bundle().digest() {
                return Ok((mapped, in_force));
            }
            tokio::time::sleep(SWAP_LOOK).await;
            mapped = stages.emrs.map(mapped.into_identified()).await?;
        }
        Err(mapped.refuse(Refusal::Busy))
    }

    /// Forwards an admitted request and draws the consequences of the answer's head.
    ///
    /// A selection or sign-in that the EMR may carry out although the client hung up is followed to the answer's head
    /// in a task of its own; else the next request could overtake it, and act on another patient than its record says.
    async fn exchange(
        self: &Rc<Self>,
        admitted: Admitted,
    ) -> Result<Classified<Answered>, Refused> {
        let mapped = admitted.limited().authorized().mapped();
        if !mapped.outlives_client() {
            return self.forward(admitted).await;
        }
        let manner = Manner::of(admitted.limited().received().parts());
        let facts = admitted.limited().received().facts().clone();
        let gateway = Rc::clone(self);
        let followed = tokio::task::spawn_local(async move { gateway.forward(admitted).await });
        followed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an exchange failed");
            Err(Refused::unreadable(Refusal::Internal, facts, manner))
        })
    }

    async fn forward(&self, admitted: Admitted) -> Result<Classified<Answered>, Refused> {
        let (exchange, answered) = self.upstream.forward(admitted).await?;
        Ok(classify(exchange, answered).await)
    }

    /// The gateway's own paths: sign-in, callback, sign-out.
    async fn own(
        self: &Rc<Self>,
        route: OwnRoute,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let purpose = match route {
            OwnRoute::Login
            | OwnRoute::Callback
            | OwnRoute::Unlock
            | OwnRoute::SecondFactor
            | OwnRoute::SecondFactors
            | OwnRoute::Emergency => Purpose::SignIn,
            OwnRoute::Lock | OwnRoute::Unlocked | OwnRoute::LockScript | OwnRoute::ClientKeys => {
                Purpose::Ordinary
            }
            OwnRoute::BackchannelLogout => Purpose::ServerNotice,
            // Strangers can send it, so it counts as a sign-in does.
            OwnRoute::FrontchannelLogout => Purpose::BrowserNotice,
            OwnRoute::Logout | OwnRoute::Switch | OwnRoute::SignedOut => Purpose::SignOut,
        };
        let received = stages.screen.screen(received, purpose)?.into_received();
        let manner = Manner::of(received.parts());
        let leaves = matches!(route, OwnRoute::Logout | OwnRoute::Switch)
            && Identity::is_sign_out(received.parts());
        let removed = if leaves {
            self.sign_out_of_emr(&received).await
        } else {
            Vec::new()
        };
        let browser = {
            let parts = received.parts();
            parts.derived(parts.method.clone(), parts.target.clone())
        };
        let limit = |account: &str| stages.charges.login(account);
        let answered = stages.identity.handle(route, received, &limit).await;
        let left = match route {
            OwnRoute::Callback | OwnRoute::SecondFactor | OwnRoute::Emergency => {
                self.see_off(&browser, &answered).await
            }
            OwnRoute::Login
            | OwnRoute::Lock
            | OwnRoute::Unlock
            | OwnRoute::Unlocked
            | OwnRoute::LockScript
            | OwnRoute::Logout
            | OwnRoute::Switch
            | OwnRoute::SignedOut
            | OwnRoute::BackchannelLogout
            | OwnRoute::FrontchannelLogout
            | OwnRoute::ClientKeys
            | OwnRoute::SecondFactors => Left::default(),
        };
        let mut response = match answered {
            Ok(handled) => {
                Self::count_locks(&handled);
                let alarm = emergency::alarm(&handled);
                let response = self.answer(handled, manner).await?;
                self.raise(alarm).await;
                response
            }
            Err(refused) => self.end(refused).await.map(AnswerBody::from),
        };
        left.clear(response.headers_mut());
        for cookie in removed {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// A page of a room: screened and identified like any request, answered by the room.
    async fn visit(
        self: &Rc<Self>,
        desk: &dyn Desk,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let identified = stages.identity.identify(screened).await?;
        stages.identity.touch(&identified);
        let manner = Manner::of(identified.received().parts());
        let handled = desk.answer(identified).await?;
        self.answer(handled, manner).await
    }

    /// Another server's request: screened like any, answered by the room that knows whether to believe it.
    async fn serve_server(
        self: &Rc<Self>,
        hatch: &dyn Hatch,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let screened = self.stages.screen.screen(received, Purpose::ServerNotice)?;
        let manner = Manner::of(screened.received().parts());
        let handled = hatch.answer(screened).await?;
        self.answer(handled, manner).await
    }

    /// Ends the EMR's session through the request path itself, so that it is decided and recorded like any request.
    async fn sign_out_of_emr(self: &Rc<Self>, received: &Received) -> Vec<HeaderValue> {
        let stages = &*self.stages;
        let parts = received.parts();
        if let Some((method, target)) = self.emr_logout(&parts.host) {
            if let Some(before) = self.before(parts).await {
                // A locked screen: the one who leaves it need not unlock it first.
                return self.leave(before, method, target).await;
            }
            let parts = parts.derived(method, target);
            let request = Received::new(parts, Body::empty(), None, stages.policies.edition());
            // Boxed: the request path inside the request path.
            match Box::pin(self.admit(request)).await {
                Ok(_answer) => {}
                Err(refused) => drop(self.refuse(refused).await),
            }
        }
        stages.emrs.removals(&parts.host)
    }

    async fn jwks(&self, received: Received) -> Result<Response<AnswerBody>, Refused> {
        let received = self
            .stages
            .screen
            .screen(received, Purpose::Ordinary)?
            .into_received();
        let manner = Manner::of(received.parts());
        let response = respond::jwks(&self.stages.backends.jwks());
        let (_, _, _, facts) = received.into_parts();
        self.answer(
            Handled {
                facts,
                event: Event::PageShown,
                detail: std::collections::BTreeMap::new(),
                response,
            },
            manner,
        )
        .await
    }

    /// Answers what the gateway handled itself, once it is on record.
    async fn answer(
        &self,
        handled: Handled,
        manner: Manner,
    ) -> Result<Response<AnswerBody>, Refused> {
        match self.audit.handled(handled).await {
            Ok(mut response) => {
                respond::own::protect(response.headers_mut(), self.stages.backends.hsts());
                Ok(response.map(AnswerBody::from))
            }
            Err(unrecorded) => {
                tracing::error!(error = %unrecorded.error, "not answered: no durable record");
                Ok(respond::refused::trail_down(&manner).map(AnswerBody::from))
            }
        }
    }

    async fn refuse(&self, refused: Refused) -> Response<bytes::Bytes> {
        let refused = self.stages.identity.challenge(refused);
        let host = refused.manner().authority.clone();
        let foreign = refused.refusal() == Refusal::ForeignEmrSession;
        let mut response = match self.audit.refuse(refused).await {
            Ok(recorded) => respond::refused::render(recorded, &self.stages.offers),
            Err(unrecorded) => {
                tracing::error!(error = %unrecorded.error, "a refusal could not be recorded");
                respond::refused::trail_down(unrecorded.refused.manner())
            }
        };
        respond::own::protect(response.headers_mut(), self.stages.backends.hsts());
        if foreign {
            // The next person at a shared workstation must not present the last one's EMR session for ever.
            let host = host
                .rsplit_once(':')
                .map_or(host.as_str(), |(name, _)| name);
            for cookie in self.stages.emrs.removals(&host.to_ascii_lowercase()) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        response
    }
}
