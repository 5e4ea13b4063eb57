//! The EMR has answered: the first proof of the way back.

use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::recorded::RecordedBody;
use crate::audit::outcome::{End, OutcomeGuard};
use crate::emr::classify::{Answer, Exchange};
use crate::emr::listeners::Listeners;
use crate::emr::profile::RouteTraits;
use crate::identity::identify::Identified;
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::watermark::{Marking, Marks};
use crate::request::{Notice, Received, Refused};

/// An answer of the EMR, untouched, whose body nobody has read.
#[derive(Debug)]
#[must_use]
pub struct Answered {
    identified: Identified,
    traits: RouteTraits,
    emr: usize,
    parts: Parts,
    delivery: Delivery,
    notices: Vec<Notice>,
    marks: Marks,
}

/// What follows the head.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The body, which carries the outcome.
    Body(Box<RecordedBody>),
    /// The connection was switched to another protocol; its own task carries the outcome.
    Switched,
}

impl Answered {
    /// Parts the answer from the exchange that it has to be classified with.
    pub(super) fn new(limited: Limited, parts: Parts, delivery: Delivery) -> (Exchange, Self) {
        let authorized = limited.into_authorized();
        let notices = authorized.notices().to_vec();
        let marks = authorized.obligations().marks;
        let mapped = authorized.into_mapped();
        let emr = mapped.emr();
        let (identified, traits, exchange) = mapped.into_parts();
        let answered = Self {
            identified,
            traits,
            emr,
            parts,
            delivery,
            notices,
            marks,
        };
        (exchange, answered)
    }

    /// The request that was answered.
    pub const fn received(&self) -> &Received {
        self.identified.received()
    }

    /// Who asked.
    pub const fn identified(&self) -> &Identified {
        &self.identified
    }

    /// How its route behaves.
    #[must_use]
    pub const fn traits(&self) -> &RouteTraits {
        &self.traits
    }

    /// Index of the EMR in the configuration.
    #[must_use]
    pub const fn emr(&self) -> usize {
        self.emr
    }

    /// The EMR's status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// What the reader has to be told.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What the permit obliges the page to carry.
    pub(super) const fn marks(&self) -> Marks {
        self.marks
    }

    /// Notes for the outcome what became of the watermark.
    pub(super) fn mark(&mut self, marking: Marking) {
        match &mut self.delivery {
            Delivery::Body(body) => {
                if let Some(guard) = body.guard() {
                    guard.marked(marking);
                }
            }
            Delivery::Switched => {}
        }
    }

    /// The EMR's headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Withholds the answer: the client gets `refusal` instead, and the outcome says so.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        match self.delivery {
            Delivery::Body(mut body) => {
                if let Some(guard) = body.guard() {
                    guard.refused(refusal);
                }
                body.end(End::UpstreamFailed);
            }
            Delivery::Switched => {}
        }
        self.identified.refuse(refusal)
    }

    pub(super) fn into_parts(self) -> (Identified, Parts, Delivery) {
        (self.identified, self.parts, self.delivery)
    }

    /// An answer for unit tests of the next stages.
    #[cfg(test)]
    pub(crate) fn for_test(
        limited: Limited,
        guard: OutcomeGuard,
        response: http::Response<bytes::Bytes>,
    ) -> (Exchange, Self) {
        let (parts, body) = response.into_parts();
        let body = Box::new(RecordedBody::fixed(body, guard));
        Self::new(limited, parts, Delivery::Body(body))
    }
}

impl Answer for Answered {
    fn head(&mut self) -> (&Parts, Option<&mut OutcomeGuard>) {
        let guard = match &mut self.delivery {
            Delivery::Body(body) => body.guard(),
            Delivery::Switched => None,
        };
        (&self.parts, guard)
    }

    fn listen(&mut self, listeners: Listeners) {
        match &mut self.delivery {
            Delivery::Body(body) => body.listen(listeners),
            Delivery::Switched => {}
        }
    }
}
