//! A request that ends at the gateway: why, and all that its record and its answer need.
//!
//! *Never*: something that only the EMR or a log should see; the answer is made of this.

use std::time::Duration;

use super::held::{Holding, Remains};
use super::received::{Manner, Parts};
use super::{Demand, Enquiry, Facts, Notice, Offer, Onward};
use crate::refusal::Refusal;

/// A request that ends here, with all that its record and its answer need.
#[derive(Debug)]
#[must_use]
pub struct Refused {
    ending: Box<Ending>,
}

#[derive(Debug)]
struct Ending {
    refusal: Refusal,
    facts: Facts,
    manner: Manner,
    throttle: Option<Throttle>,
    retry: Option<Duration>,
    offer: Option<Offer>,
    enquiry: Option<Enquiry>,
    notice: Option<Notice>,
    remains: Option<Remains>,
    holding: Option<Holding>,
    onward: Onward,
}

/// What a limit says to someone who reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// The limit's name.
    pub name: &'static str,
    /// Requests per window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// When the next request is accepted.
    pub retry: Duration,
}

impl Refused {
    /// Ends a request with `refusal`.
    pub fn new(refusal: Refusal, facts: Facts, parts: &Parts) -> Self {
        Self::unreadable(refusal, facts, Manner::of(parts))
    }

    /// Ends a request whose head could not be read as far as a [`Received`](super::Received) needs.
    pub fn unreadable(refusal: Refusal, facts: Facts, manner: Manner) -> Self {
        Self {
            ending: Box::new(Ending {
                refusal,
                facts,
                manner,
                throttle: None,
                retry: None,
                offer: None,
                enquiry: None,
                notice: None,
                remains: None,
                holding: None,
                onward: Onward::default(),
            }),
        }
    }

    /// States which limit was reached and when it is worth trying again.
    pub fn throttled(mut self, throttle: Throttle) -> Self {
        self.ending.throttle = Some(throttle);
        self.retry_after(throttle.retry)
    }

    /// States when it is worth trying again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.ending.retry = Some(after);
        self
    }

    /// States that breaking the glass would lift it.
    pub fn offering(mut self, offer: Offer) -> Self {
        self.ending.offer = Some(offer);
        self
    }

    /// States that a reason would lift it.
    pub fn asking(mut self, enquiry: Enquiry) -> Self {
        self.ending.enquiry = Some(enquiry);
        self
    }

    /// States what exactly is wrong, for the page and the record.
    pub fn telling(mut self, notice: Notice) -> Self {
        self.ending.notice = Some(notice);
        self
    }

    /// Takes along what was sent.
    pub(super) fn leaving(mut self, remains: Remains) -> Self {
        self.ending.remains = Some(remains);
        self
    }

    /// Takes what was sent out of it, where that may be worth keeping.
    pub fn take_remains(&mut self) -> Option<Remains> {
        self.ending.remains.take()
    }

    /// States what became of what was sent. Where it is kept, a sign-in comes back to it.
    pub fn holding(mut self, holding: Holding) -> Self {
        if let Holding::Kept { location, .. } = &holding {
            location.clone_into(&mut self.ending.manner.return_to);
        }
        self.ending.holding = Some(holding);
        self
    }

    /// States that it was forwarded before it ended here: nothing of it may be sent again as if it were new.
    pub fn forwarded(mut self) -> Self {
        self.ending.remains = None;
        self.holding(Holding::Unknown)
    }

    /// What became of what was sent.
    #[must_use]
    pub fn held(&self) -> Option<&Holding> {
        self.ending.holding.as_ref()
    }

    /// States what sign-in is demanded.
    pub fn demanding(self, demand: Demand) -> Self {
        self.leading(|onward| onward.demand = Some(demand))
    }

    /// States where it leads on to.
    pub fn leading(mut self, state: impl FnOnce(&mut Onward)) -> Self {
        state(&mut self.ending.onward);
        self
    }

    /// Where it leads on to.
    #[must_use]
    pub fn onward(&self) -> &Onward {
        &self.ending.onward
    }

    /// Why.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.ending.refusal
    }

    /// What was known.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.ending.facts
    }

    /// How to answer.
    #[must_use]
    pub fn manner(&self) -> &Manner {
        &self.ending.manner
    }

    /// When it is worth trying again.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.ending.retry
    }

    /// What breaking the glass would open, where that is offered.
    #[must_use]
    pub fn offer(&self) -> Option<&Offer> {
        self.ending.offer.as_ref()
    }

    /// What a reason would open, where one is asked for. It leads back to where its asker comes back to.
    #[must_use]
    pub fn enquiry(&self) -> Option<Enquiry> {
        let enquiry = self.ending.enquiry.clone()?;
        Some(enquiry.leading_to(&self.ending.manner.return_to))
    }

    /// What exactly is wrong, where that can be said.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.ending.notice.as_ref()
    }

    /// The limit that was reached.
    #[must_use]
    pub fn throttle(&self) -> Option<Throttle> {
        self.ending.throttle
    }
}
