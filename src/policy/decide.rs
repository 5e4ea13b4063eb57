//! The fifth stage: what policy says, and what it obliges.
//!
//! *On failure*: refuses; the record names the policies that decided or failed, and every input.

mod in_force;
mod inquiry;
mod ruling;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::in_force::{Active, InForce, Policies};
use self::inquiry::{Inquiry, Matter};
use self::ruling::Ruling;
pub(super) use self::ruling::what_no_bundle_leaves_out;
pub use super::obligation::{Extent, Marks, Obligations};
use super::question::{Circumstances, Grant, Training};
use super::shadow::Shadow;
use crate::emr::map::Mapped;
use crate::refusal::Refusal;
use crate::request::facts::{Decision, Shadowed};
use crate::request::situation::DeviceKind;
use crate::request::{Enquiry, Facts, Notice, Offer, Principal, Received, Refused};

/// The level from which only the clinical core goes on.
const CLINICAL_CORE: u8 = 3;
/// The level at which the EMR is closed.
const DOWNTIME: u8 = 4;

/// A request that policy permits.
#[derive(Debug)]
#[must_use]
pub struct Authorized {
    mapped: Mapped,
    obligations: Obligations,
    valid_until: Timestamp,
    notices: Vec<Notice>,
}

impl Authorized {
    /// The mapped request.
    pub const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The request.
    pub const fn received(&self) -> &Received {
        self.mapped.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.mapped.received_mut()
    }

    /// What the permit obliges.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// When the permission has to be asked for again (a live stream ends or is decided anew then).
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// What the reader of the answer has to be told.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The request is sent now.
    ///
    /// # Errors
    /// What [`Mapped::begin`](crate::emr::map::Mapped::begin) refuses.
    pub async fn begin(&mut self) -> Result<(), Refusal> {
        self.mapped.begin().await
    }

    /// The mapped request itself.
    pub fn into_mapped(self) -> Mapped {
        self.mapped
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.mapped.refuse(refusal)
    }

    /// An authorized request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) const fn for_test(
        mapped: Mapped,
        obligations: Obligations,
        valid_until: Timestamp,
    ) -> Self {
        Self {
            mapped,
            obligations,
            valid_until,
            notices: Vec::new(),
        }
    }

    /// The same with notices.
    #[cfg(test)]
    pub(crate) fn noticed(mut self, notices: Vec<Notice>) -> Self {
        self.notices = notices;
        self
    }
}

impl InForce {
    /// Decides a mapped request.
    ///
    /// # Errors
    /// Refuses what is not permitted for every patient that it concerns, what could not be evaluated, what sends where
    /// only looking is permitted, and what needs a fresher sign-in or a reason.
    pub fn decide(
        &self,
        mut mapped: Mapped,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Result<Authorized, Refused> {
        let edition = self.edition();
        mapped.received_mut().facts_mut().set_edition(edition);
        let Some(matter) = Matter::of(&mapped) else {
            // The EMR's name is an input of the decision; a request without one was mapped by a defect.
            tracing::error!("a mapped request names no EMR");
            return Err(mapped.refuse(Refusal::Internal));
        };
        let inquiry = Inquiry::of(self, &matter, circumstances, now);
        let ruling = Ruling::on(&inquiry);
        let refusal = ruling.refusal(&matter, now);
        // A bundle may close charts to who is late with a course; breaking the glass still opens them.
        let closed = matches!(
            refusal,
            Some(Refusal::PolicyDenied | Refusal::TrainingLapsed)
        );
        // Breaking the glass takes a person who says why.
        let is_person = match matter.principal {
            Principal::User(_) => true,
            Principal::Service(_) => false,
        };
        let opens = closed && is_person && is_repeatable(&mapped) && inquiry.opens_by_break_glass();
        let valid_until = ruling.valid_until(&matter, now);
        let obligations = ruling.outcome.obligations.clone();
        let shadow = self.shadow.as_deref();
        let shadowed = shadow.and_then(|shadow| self.shadowed(shadow, &ruling, &mapped, now));
        let mut notices = notices(circumstances, ruling.grant.as_ref());
        match obligations.extent {
            Extent::LooksOnly => notices.push(Notice::ReadOnly),
            Extent::Whole => {}
        }
        notices.extend_from_slice(mapped.received().told());
        let decision = Decision {
            shadow: shadowed.map(Box::new),
            ..ruling.into_decision(circumstances)
        };
        mapped.received_mut().facts_mut().decision = Some(decision);
        match refusal {
            Some(_) if opens => Err(offered(mapped, now)),
            Some(Refusal::StepUpRequired) => Err(mapped
                .refuse(Refusal::StepUpRequired)
                .demanding(obligations.demand)),
            Some(Refusal::ReasonRequired) => Err(asked(mapped, &obligations, now)),
            Some(refusal) => Err(mapped.refuse(refusal)),
            None => Ok(Authorized {
                mapped,
                obligations,
                valid_until,
                notices,
            }),
        }
    }

    /// What the candidate in the shadow would have said to the same request, where that differs. Zones, shifts and
    /// purposes are its own.
    fn shadowed(
        &self,
        shadow: &Shadow,
        ruling: &Ruling,
        mapped: &Mapped,
        now: Timestamp,
    ) -> Option<Shadowed> {
        let matter = Matter::of(mapped)?;
        let subject = (matter.mapping, matter.principal.roles());
        shadow.look(&ruling.outcome, subject, now, |candidate| {
            let beside = self.beside(candidate);
            let circumstances = beside.circumstances(mapped, now);
            let inquiry = Inquiry::of(&beside, &matter, &circumstances, now);
            let mut outcome = inquiry.ask_for_all(circumstances.training);
            what_no_bundle_leaves_out(&mut outcome, matter.mapping, circumstances.lockdown);
            outcome
        })
    }

    /// Decides anew what was permitted before and goes on: the matter of `facts`, for its session's `principal` as it
    /// is now.
    pub fn decide_again(
        &self,
        mut facts: Facts,
        principal: Arc<Principal>,
        expires: Timestamp,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Again {
        facts.set_edition(self.edition());
        facts.principal = Some(principal);
        let Some(matter) = Matter::on_record(&facts, expires) else {
            let verdict = Err(Refusal::Internal);
            return Again { facts, verdict };
        };
        // What somebody sits at is known of the request alone.
        let considered = facts
            .decision
            .as_ref()
            .and_then(|one| one.considered.first());
        let device = considered.map_or(DeviceKind::Unknown, |one| one.situation.device);
        let circumstances = &circumstances.clone().at(device);
        let ruling = Ruling::on(&Inquiry::of(self, &matter, circumstances, now));
        // Who lost every role could not ask at all.
        let refusal = if matter.principal.roles().is_empty() {
            Some(Refusal::NoRole)
        } else {
            ruling.refusal(&matter, now)
        };
        let valid_until = ruling.valid_until(&matter, now);
        facts.decision = Some(ruling.into_decision(circumstances));
        let verdict = refusal.map_or(Ok(valid_until), Err);
        Again { facts, verdict }
    }
}

/// What deciding again came to.
#[derive(Debug)]
#[must_use]
pub struct Again {
    /// What is known of the request, with the new decision and every input that it had.
    pub facts: Facts,
    /// Until when it is permitted now.
    pub verdict: Result<Timestamp, Refusal>,
}

/// Refuses what breaking the glass would open, with the offer to do so.
fn offered(mapped: Mapped, now: Timestamp) -> Refused {
    let received = mapped.received();
    let offer = Offer::of(received.facts(), received.parts(), now);
    match offer {
        Some(offer) => mapped.refuse(Refusal::BreakGlassOffered).offering(offer),
        None => mapped.refuse(Refusal::PolicyDenied),
    }
}

/// Refuses what wants a reason, with the enquiry about it.
fn asked(mapped: Mapped, obligations: &Obligations, now: Timestamp) -> Refused {
    let holds = obligations.reason.unwrap_or_default();
    let received = mapped.received();
    let enquiry = Enquiry::of(received.facts(), &received.parts().authority, holds, now);
    let refused = mapped.refuse(Refusal::ReasonRequired);
    match enquiry {
        Some(enquiry) => refused.asking(enquiry),
        None => refused,
    }
}

/// What the reader of the answer has to be told.
fn notices(circumstances: &Circumstances, grant: Option<&Grant>) -> Vec<Notice> {
    let broken = grant.map(|grant| Notice::BreakGlass {
        reach: grant.reach.clone(),
        until: grant.expires,
    });
    let level = circumstances.lockdown;
    let lockdown = (level > 0).then_some(Notice::Lockdown { level });
    let training = circumstances
        .training_due
        .and_then(|due| match circumstances.training {
            Training::Unknown | Training::Current => None,
            Training::Due | Training::Urgent => Some(Notice::TrainingDue { by: due }),
            Training::Lapsed => Some(Notice::TrainingLapsed { since: due }),
        });
    [broken, lockdown, training].into_iter().flatten().collect()
}

/// Whether a request can be made again as it was, once the glass is broken.
fn is_repeatable(mapped: &Mapped) -> bool {
    let method = &mapped.received().parts().method;
    method == http::Method::GET || method == http::Method::HEAD
}
