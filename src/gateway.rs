//! The request path. Read this file first.
//!
//! Each line of [`Gateway::admit`] is a stage; each consumes the proof of the one before, so that none can be left
//! out (`proofs`). A stage that says no ends the request with a [`Refused`], which is put on record before it is
//! answered.
//!
//! *Never*: an answer that is not on record; a byte to the EMR before the record is durable.
//! *On failure*: the one answer without a record is the fixed 503 of a trail that is down.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::audit::refuse::Unrecorded;
use crate::audit::trail::Audit;
use crate::emr::map::Emrs;
use crate::identity::Identity;
use crate::identity::routes::OwnRoute;
use crate::limit::charge::Charges;
use crate::limit::screen::{Purpose, Screen};
use crate::policy::decide::Policies;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Received, Refused, Target};
use crate::respond::{self, Answer};
use crate::upstream::assertion::Jwks;
use crate::upstream::forward::Upstream;

/// What all workers share: the owner of each stage.
#[derive(Debug)]
pub struct Stages {
    /// Limits per address.
    pub screen: Screen,
    /// Sessions and sign-in.
    pub identity: Arc<Identity>,
    /// EMR profiles and sessions.
    pub emrs: Emrs,
    /// Policies.
    pub policies: Policies,
    /// Limits per user.
    pub charges: Charges,
    /// The trail.
    pub audit: Audit,
    /// Keys that EMRs verify assertions with.
    pub jwks: Jwks,
}

/// The request path of one worker.
#[derive(Debug)]
pub struct Gateway {
    stages: Arc<Stages>,
    upstream: Upstream,
}

/// Where a request is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Emr,
    Identity(OwnRoute),
    Jwks,
    Nowhere,
}

impl Place {
    fn of(target: &Target) -> Self {
        let mut segments = target.segments();
        if segments.next() != Some(".chartgate") {
            return Self::Emr;
        }
        match (segments.next(), segments.next()) {
            (Some("jwks.json"), None) => Self::Jwks,
            _ => OwnRoute::of(target).map_or(Self::Nowhere, Self::Identity),
        }
    }
}

impl Gateway {
    /// A worker's gateway.
    #[must_use]
    pub fn new(stages: Arc<Stages>, upstream: Upstream) -> Rc<Self> {
        Rc::new(Self { stages, upstream })
    }

    /// Serves a request: whatever happens is on record before it is answered.
    pub async fn serve(&self, received: Result<Received, Refused>) -> Response<Answer> {
        let answered = match received {
            Ok(received) => self.route(received).await,
            Err(refused) => Err(refused),
        };
        match answered {
            Ok(response) => response,
            Err(refused) => self.refuse(refused).await,
        }
    }

    async fn route(&self, received: Received) -> Result<Response<Answer>, Refused> {
        match Place::of(&received.parts().target) {
            Place::Emr => self.admit(received).await,
            Place::Identity(route) => self.sign_in(route, received).await,
            Place::Jwks => self.jwks(received).await,
            Place::Nowhere => {
                let screened = self.stages.screen.screen(received, Purpose::Ordinary)?;
                Err(screened.refuse(Refusal::NotFound))
            }
        }
    }

    /// The request path.
    async fn admit(&self, received: Received) -> Result<Response<Answer>, Refused> {
        let stages = &*self.stages;
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let identified = stages.identity.identify(screened).await?;
        let mapped = stages.emrs.map(identified).await?;
        stages.identity.touch(&mapped);
        let authorized = stages.policies.decide(mapped)?;
        let limited = stages.charges.charge(authorized)?;
        let admitted = stages.audit.admit(limited).await?;
        let answered = self.upstream.forward(admitted).await?;
        let classified = stages.emrs.classify(answered).await;
        let cleaned = self.upstream.clean(classified);
        Ok(respond::deliver(cleaned))
    }
}
