//! What policy is asked about one request: once for each patient concerned, or once where there is none.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Active, CLINICAL_CORE, DOWNTIME};
use crate::emr::map::Mapped;
use crate::policy::compile::Outcome;
use crate::policy::question::{Circumstances, Grant, PrincipalKind, Question, Training};
use crate::request::facts::{Mapping, Verdict};
use crate::request::{Action, Facts, PatientRef, Principal};

/// What is decided on.
pub(super) struct Matter<'m> {
    pub(super) emr: &'m str,
    pub(super) principal: &'m Principal,
    pub(super) mapping: &'m Mapping,
    /// When the session ends, or what is known of its user may not be relied on any more.
    pub(super) expires: Timestamp,
}

impl<'m> Matter<'m> {
    pub(super) fn of(mapped: &'m Mapped) -> Option<Self> {
        Some(Self {
            emr: mapped.received().facts().emr.as_deref()?,
            principal: mapped.identified().principal(),
            mapping: mapped.mapping(),
            expires: mapped.identified().confirmed_until(),
        })
    }

    pub(super) fn on_record(facts: &'m Facts, expires: Timestamp) -> Option<Self> {
        Some(Self {
            emr: facts.emr.as_deref()?,
            principal: facts.principal.as_ref()?,
            mapping: facts.mapping.as_ref()?,
            expires,
        })
    }
}

/// Whether policy is asked as things are, or as if the user broke the glass for the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glass {
    AsItIs,
    Broken,
}

/// What policy is asked about one request.
pub(super) struct Inquiry<'a> {
    active: &'a Active,
    pub(super) matter: &'a Matter<'a>,
    pub(super) circumstances: &'a Circumstances,
    now: Timestamp,
    principal: String,
}

impl<'a> Inquiry<'a> {
    pub(super) fn of(
        active: &'a Active,
        matter: &'a Matter<'a>,
        circumstances: &'a Circumstances,
        now: Timestamp,
    ) -> Self {
        Self {
            active,
            circumstances,
            now,
            principal: matter.principal.id(),
            matter,
        }
    }

    /// The grant that opens the chart of `patient`, or, where no chart is concerned, the EMR's frame.
    pub(super) fn opened(&self, patient: Option<&PatientRef>) -> Option<&'a Grant> {
        let circumstances = self.circumstances;
        match patient {
            Some(patient) => circumstances.grant_for(patient, self.now),
            // Whoever broke the glass needs the EMR's frame to see the chart in, and lockdown may have closed that.
            None if circumstances.lockdown >= CLINICAL_CORE
                && self.matter.mapping.action == Action::Navigate =>
            {
                let mut grants = circumstances.grants.iter();
                grants.find(|grant| self.now < grant.expires)
            }
            None => None,
        }
    }

    fn ask(&self, patient: Option<&PatientRef>, glass: Glass, training: Training) -> Arc<Outcome> {
        let Matter {
            emr,
            principal,
            mapping,
            ..
        } = *self.matter;
        let circumstances = self.circumstances;
        self.active.ask(&Question {
            kind: PrincipalKind::of(principal),
            principal: &self.principal,
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
            zone: &circumstances.zone,
            training,
            break_glass: match glass {
                Glass::Broken => true,
                Glass::AsItIs => self.opened(patient).is_some(),
            },
            department: principal.department(),
        })
    }

    /// What policy says for every patient concerned, or once where there is none, to somebody who stands so with
    /// training.
    pub(super) fn ask_for_all(&self, training: Training) -> Outcome {
        let mut each = self.matter.mapping.patients.iter();
        let first = each.next();
        each.fold(
            (*self.ask(first, Glass::AsItIs, training)).clone(),
            |all, patient| all.and(&self.ask(Some(patient), Glass::AsItIs, training)),
        )
    }

    /// Whether a course that is overdue is all that stands in the way.
    pub(super) fn lapsed_only(&self, outcome: &Outcome) -> bool {
        self.circumstances.training == Training::Lapsed
            && outcome.verdict == Verdict::Deny
            && outcome.errors.is_empty()
            && self.ask_for_all(Training::Current).verdict == Verdict::Allow
    }

    /// Whether breaking the glass for the one patient concerned would turn a refusal into a permit: for looking only.
    pub(super) fn opens_by_break_glass(&self) -> bool {
        let mapping = self.matter.mapping;
        let [patient] = mapping.patients.as_slice() else {
            return false;
        };
        if !mapping.action.only_looks() {
            return false;
        }
        let outcome = self.ask(Some(patient), Glass::Broken, self.circumstances.training);
        self.circumstances.lockdown < DOWNTIME
            && outcome.verdict == Verdict::Allow
            && outcome.errors.is_empty()
    }
}
