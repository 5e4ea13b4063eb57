//! What policy said on a whole request, with what profile, gateway and lockdown add to it.

use std::time::Duration;

use jiff::Timestamp;

use super::inquiry::{Inquiry, Matter};
use super::{DOWNTIME, Extent, Obligations};
use crate::policy::compile::Outcome;
use crate::policy::question::{CareRelation, Circumstances, Grant, Purpose};
use crate::policy::restraint::{Conduct, Reason};
use crate::refusal::Refusal;
use crate::request::facts::{Considered, Decision, Mapping, Verdict};
use crate::request::{Action, Demand};

/// Under lockdown, who changes anything signed in no longer ago than this.
const LOCKDOWN_STEP_UP: Duration = Duration::from_mins(5);

/// What policy said on a whole request.
pub(super) struct Ruling {
    pub(super) outcome: Outcome,
    /// The break-glass grant that opened a chart concerned: the one that ends first, if there are several.
    pub(super) grant: Option<Grant>,
    /// The lockdown level that applied.
    lockdown: u8,
    /// Whether it is only for an overdue course that policy says no.
    lapsed: bool,
    /// The care relation of all patients as one word.
    relation: CareRelation,
    /// What was considered of each patient.
    considered: Vec<Considered>,
    /// When something that policies may have looked at ends or begins.
    until: Option<Timestamp>,
    /// The reason that was stated, where one is obliged.
    reason: Reason,
}

/// What lockdown adds to whatever the bundle says, so that no bundle can leave it out.
fn lock_down(outcome: &mut Outcome, action: Action, level: u8) {
    if level >= DOWNTIME {
        outcome.verdict = Verdict::Deny;
        outcome.obligations = Obligations::default();
    } else if level > 0 && outcome.verdict == Verdict::Allow && !action.only_looks() {
        oblige(outcome, Demand::fresh(LOCKDOWN_STEP_UP));
    }
}

/// What the profile or the gateway demands of the sign-in adds to what the bundle obliges; the stronger of both counts.
fn oblige(outcome: &mut Outcome, demand: Demand) {
    if outcome.verdict == Verdict::Allow {
        let more = Obligations::of_sign_in(demand);
        outcome.obligations = std::mem::take(&mut outcome.obligations).union(&more);
    }
}

/// What profile and lockdown add to an answer, so that no bundle can leave it out: for requests that are decided anew.
pub(in crate::policy) fn what_no_bundle_leaves_out(
    outcome: &mut Outcome,
    mapping: &Mapping,
    lockdown: u8,
) {
    oblige(outcome, mapping.demand);
    lock_down(outcome, mapping.action, lockdown);
}

impl Ruling {
    /// Asks once for each patient, or once where there is none.
    pub(super) fn on(inquiry: &Inquiry<'_>) -> Self {
        let mapping = inquiry.matter.mapping;
        let lockdown = inquiry.circumstances.lockdown;
        let mut outcome = inquiry.ask_for_all(inquiry.circumstances.training);
        let lapsed = inquiry.lapsed_only(&outcome);
        what_no_bundle_leaves_out(&mut outcome, mapping, lockdown);
        let grant = inquiry.grant().cloned();
        let reason = inquiry.reason(&outcome.obligations);
        Self {
            outcome,
            reason,
            grant,
            lockdown,
            lapsed,
            relation: inquiry.relation(),
            considered: inquiry.considered(),
            until: inquiry.until(),
        }
    }

    pub(super) fn refusal(&self, matter: &Matter<'_>, now: Timestamp) -> Option<Refusal> {
        if !self.outcome.errors.is_empty() {
            return Some(Refusal::PolicyError);
        }
        match self.outcome.verdict {
            Verdict::Deny => Some(if self.lockdown >= DOWNTIME {
                Refusal::Downtime
            } else if matter.mapping.action == Action::Unmapped {
                Refusal::Unmapped
            } else if matter.principal.roles().is_empty() {
                Refusal::NoRole
            } else if self.lapsed {
                Refusal::TrainingLapsed
            } else {
                Refusal::PolicyDenied
            }),
            Verdict::Allow => self.unmet(matter, now),
        }
    }

    /// What is obliged and not met; nothing, if all is. First what nobody can do anything about.
    fn unmet(&self, matter: &Matter<'_>, now: Timestamp) -> Option<Refusal> {
        let obligations = &self.outcome.obligations;
        if obligations.extent == Extent::LooksOnly && matter.conduct == Conduct::Sends {
            return Some(Refusal::ReadOnly);
        }
        let lacks = obligations
            .demand
            .shortfall(matter.principal.proof(), now)
            .map(|_| Refusal::StepUpRequired);
        lacks.or_else(|| self.reason.refusal(matter.principal))
    }

    pub(super) fn valid_until(&self, matter: &Matter<'_>, now: Timestamp) -> Timestamp {
        let demand = self.outcome.obligations.demand;
        let step_up = demand.met_until(matter.principal.proof(), now);
        let grant = self.grant.as_ref().map(|grant| grant.expires);
        [step_up, grant, self.until, self.reason.until()]
            .into_iter()
            .flatten()
            .fold(matter.expires, Timestamp::min)
    }

    pub(super) fn into_decision(self, circumstances: &Circumstances) -> Decision {
        let (reasons, stated) = self.reason.into_recorded();
        Decision {
            verdict: self.outcome.verdict,
            policies: self.outcome.policies,
            errors: self.outcome.errors,
            care_relation: self.relation.word().to_owned(),
            // Whoever broke the glass said that it is an emergency.
            purpose: match self.grant {
                Some(_) => Purpose::Emergency.code().to_owned(),
                None => circumstances.purpose.code().to_owned(),
            },
            lockdown: circumstances.lockdown,
            zone: circumstances.zone.to_string(),
            training: circumstances.training.word().to_owned(),
            grant: self.grant.map(|grant| grant.id),
            obligations: self.outcome.obligations.as_recorded(),
            considered: self.considered,
            reasons,
            shadow: None,
            stated,
        }
    }
}
