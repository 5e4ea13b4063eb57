//! The fifth stage: what policy says, and what it obliges.
//!
//! *Owns*: the bundle in force, swapped as a whole.
//! *On failure*: refuses; the record names the policies that decided or failed, and every input.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};

use super::bundle::Bundle;
use super::compile::{Compiled, Outcome};
use super::memo::Memo;
pub use super::obligation::Obligations;
use super::question::{Circumstances, Grant, PrincipalKind, Question};
use crate::emr::map::Mapped;
use crate::refusal::Refusal;
use crate::request::facts::{Decision, Verdict};
use crate::request::{Action, PatientRef, Received, Refused};

/// How far a provider's clock may be ahead of ours.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A request that policy permits.
#[derive(Debug)]
#[must_use]
pub struct Authorized {
    mapped: Mapped,
    obligations: Obligations,
    valid_until: Timestamp,
}

impl Authorized {
    /// The mapped request.
    #[must_use]
    pub const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The request.
    #[must_use]
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
        }
    }
}

/// A bundle in force, with its generation.
#[derive(Debug)]
pub struct Active {
    generation: u64,
    bundle: Bundle,
    memo: Memo,
}

impl Active {
    fn new(bundle: Bundle, generation: u64) -> Self {
        Self {
            generation,
            memo: Memo::new(Compiled::new(&bundle)),
            bundle,
        }
    }

    /// The generation that it was put in force as.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The bundle.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The answer to one question.
    #[must_use]
    pub fn ask(&self, question: &Question<'_>) -> Arc<Outcome> {
        self.memo.ask(question)
    }
}

/// The policies in force.
#[derive(Debug)]
pub struct Policies {
    active: ArcSwap<Active>,
}

impl Policies {
    /// Puts `bundle` in force.
    #[must_use]
    pub fn new(bundle: Bundle, generation: u64) -> Self {
        Self {
            active: ArcSwap::from_pointee(Active::new(bundle, generation)),
        }
    }

    /// Replaces the bundle in force. Requests that are being decided finish with the one they began with.
    pub fn activate(&self, bundle: Bundle, generation: u64) {
        self.active.store(Arc::new(Active::new(bundle, generation)));
    }

    /// The bundle in force.
    #[must_use]
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// Decides a mapped request.
    ///
    /// # Errors
    /// Refuses what is not permitted for every patient that it concerns, what could not be evaluated, and what
    /// needs a fresher sign-in.
    pub fn decide(
        &self,
        mut mapped: Mapped,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Result<Authorized, Refused> {
        let active = self.active.load();
        mapped.received_mut().facts_mut().generation = active.generation();
        let Some(ruling) = Ruling::on(&active, &mapped, circumstances, now) else {
            // The EMR's name is an input of the decision; a request without one was mapped by a defect.
            tracing::error!("a mapped request names no EMR");
            return Err(mapped.refuse(Refusal::Internal));
        };
        let refusal = ruling.refusal(&mapped, now);
        let valid_until = ruling.valid_until(&mapped, circumstances, now);
        let obligations = ruling.outcome.obligations;
        mapped.received_mut().facts_mut().decision = Some(ruling.into_decision(circumstances));
        match refusal {
            Some(refusal) => Err(mapped.refuse(refusal)),
            None => Ok(Authorized {
                mapped,
                obligations,
                valid_until,
            }),
        }
    }
}

/// What policy said on a whole request.
struct Ruling {
    outcome: Outcome,
    /// The break-glass grant, if it opened any of the charts concerned.
    grant: Option<String>,
}

impl Ruling {
    /// Asks once for each patient, or once where there is none.
    fn on(
        active: &Active,
        mapped: &Mapped,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Option<Self> {
        let emr = mapped.received().facts().emr.as_deref()?;
        let principal = mapped.identified().principal();
        let mapping = mapped.mapping();
        let id = principal.id();
        let opened = |patient: Option<&PatientRef>| {
            let grant = circumstances.grant.as_ref()?;
            patient
                .is_some_and(|patient| grant.opens(patient, now))
                .then_some(grant)
        };
        let ask = |patient: Option<&PatientRef>| {
            active.ask(&Question {
                kind: PrincipalKind::of(principal),
                principal: &id,
                roles: principal.roles(),
                mfa: principal.proof().mfa,
                action: mapping.action,
                section: &mapping.section,
                sensitivity: &mapping.sensitivity,
                emr,
                patient,
                care_relation: circumstances.care_relation,
                purpose: circumstances.purpose,
                lockdown: circumstances.lockdown,
                break_glass: opened(patient).is_some(),
            })
        };
        let mut patients = mapping.patients.iter();
        let first = patients.next();
        let outcome = patients.fold((*ask(first)).clone(), |all, patient| {
            all.and(&ask(Some(patient)))
        });
        let grant = mapping
            .patients
            .iter()
            .find_map(|patient| opened(Some(patient)))
            .map(|grant| grant.id.clone());
        Some(Self { outcome, grant })
    }

    fn refusal(&self, mapped: &Mapped, now: Timestamp) -> Option<Refusal> {
        if !self.outcome.errors.is_empty() {
            return Some(Refusal::PolicyError);
        }
        match self.outcome.verdict {
            Verdict::Deny => Some(if mapped.mapping().action == Action::Unmapped {
                Refusal::Unmapped
            } else if mapped.identified().principal().roles().is_empty() {
                Refusal::NoRole
            } else {
                Refusal::PolicyDenied
            }),
            Verdict::Allow => self
                .outcome
                .obligations
                .step_up
                .filter(|limit| {
                    fresh_until(authenticated(mapped), *limit, now).is_none_or(|end| now > end)
                })
                .map(|_| Refusal::StepUpRequired),
        }
    }

    fn valid_until(
        &self,
        mapped: &Mapped,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Timestamp {
        let step_up = self
            .outcome
            .obligations
            .step_up
            .and_then(|limit| fresh_until(authenticated(mapped), limit, now));
        let grant = circumstances
            .grant
            .as_ref()
            .filter(|_| self.grant.is_some())
            .map(|grant: &Grant| grant.expires);
        [step_up, grant]
            .into_iter()
            .flatten()
            .fold(mapped.identified().expires(), Timestamp::min)
    }

    fn into_decision(self, circumstances: &Circumstances) -> Decision {
        Decision {
            verdict: self.outcome.verdict,
            policies: self.outcome.policies,
            errors: self.outcome.errors,
            care_relation: circumstances.care_relation.word().to_owned(),
            purpose: circumstances.purpose.code().to_owned(),
            lockdown: circumstances.lockdown,
            grant: self.grant,
            obligations: self.outcome.obligations.as_recorded(),
        }
    }
}

const fn authenticated(mapped: &Mapped) -> Option<Timestamp> {
    mapped.identified().principal().proof().auth_time
}

/// Until when a sign-in is fresh enough; nothing when it is not known when it was.
fn fresh_until(auth_time: Option<Timestamp>, limit: Duration, now: Timestamp) -> Option<Timestamp> {
    let auth_time = auth_time?;
    // SECURITY: a sign-in that the provider dates into the future would stay fresh for as long as it likes.
    if auth_time.duration_since(now) > CLOCK_LEEWAY {
        return None;
    }
    Some(
        auth_time
            .min(now)
            .checked_add(limit)
            .unwrap_or(Timestamp::MAX),
    )
}
