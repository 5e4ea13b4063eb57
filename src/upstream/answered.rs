//! The EMR has answered: the first proof of the way back.

use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::recorded::RecordedBody;
use crate::audit::outcome::End;
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::facts::PatientRef;
use crate::request::{Received, Refused};

/// An answer of the EMR, untouched, whose body nobody has read.
#[derive(Debug)]
#[must_use]
pub struct Answered {
    limited: Limited,
    parts: Parts,
    delivery: Delivery,
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
    pub(super) const fn new(limited: Limited, parts: Parts, delivery: Delivery) -> Self {
        Self {
            limited,
            parts,
            delivery,
        }
    }

    /// The request that was answered.
    pub const fn limited(&self) -> &Limited {
        &self.limited
    }

    /// The request itself.
    pub const fn received(&self) -> &Received {
        self.limited.received()
    }

    /// The EMR's status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// The EMR's headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The EMR's headers, for a later stage to harden or rewrite.
    pub const fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// The outcome concerns this patient too.
    pub fn concerns(&mut self, patient: PatientRef) {
        match &mut self.delivery {
            Delivery::Body(body) => {
                if let Some(guard) = body.guard() {
                    guard.concerns(patient);
                }
            }
            Delivery::Switched => {}
        }
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
        self.limited.refuse(refusal)
    }

    pub(super) fn into_parts(self) -> (Limited, Parts, Delivery) {
        (self.limited, self.parts, self.delivery)
    }

    /// An answer for unit tests of the next stages.
    #[cfg(test)]
    pub(crate) fn for_test(
        limited: Limited,
        guard: crate::audit::outcome::OutcomeGuard,
        response: http::Response<bytes::Bytes>,
    ) -> Self {
        let (parts, body) = response.into_parts();
        let body = Box::new(RecordedBody::fixed(body, guard));
        Self::new(limited, parts, Delivery::Body(body))
    }
}
