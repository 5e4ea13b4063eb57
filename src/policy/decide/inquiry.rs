//! What policy is asked about one request: once for each patient concerned, or once where there is none.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Active, CLINICAL_CORE, DOWNTIME, InForce, Obligations};
use crate::emr::map::Mapped;
use crate::policy::care::Sensitivity;
use crate::policy::compile::Outcome;
use crate::policy::question::{
    CareRelation, Circumstances, Grant, PrincipalKind, Purpose, Question, Training,
};
use crate::policy::reasons::{Reasons, Subject};
use crate::policy::restraint::{Conduct, Ground, Reason};
use crate::request::facts::{Considered, Mapping, Verdict};
use crate::request::{Action, Facts, PatientRef, Principal, Situation};

/// What is decided on.
pub(super) struct Matter<'m> {
    pub(super) emr: &'m str,
    pub(super) principal: &'m Principal,
    pub(super) mapping: &'m Mapping,
    session: &'m str,
    pub(super) conduct: Conduct,
    /// When the session ends, or what is known of its user may not be relied on any more.
    pub(super) expires: Timestamp,
}

impl<'m> Matter<'m> {
    pub(super) fn of(mapped: &'m Mapped) -> Option<Self> {
        Some(Self {
            emr: mapped.received().facts().emr.as_deref()?,
            principal: mapped.identified().principal(),
            mapping: mapped.mapping(),
            session: mapped.identified().session().as_str(),
            conduct: Conduct::of(mapped.received().parts()),
            expires: mapped.identified().confirmed_until(),
        })
    }

    pub(super) fn on_record(facts: &'m Facts, expires: Timestamp) -> Option<Self> {
        Some(Self {
            emr: facts.emr.as_deref()?,
            principal: facts.principal.as_ref()?,
            mapping: facts.mapping.as_ref()?,
            // Without a session nobody stated a reason: none is found under no name.
            session: facts.session.as_deref().unwrap_or_default(),
            // It was permitted to go on as it is when it began.
            conduct: Conduct::Looks,
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

/// One patient concerned, or nobody, with what is known of them.
pub(super) struct Concerned<'a> {
    patient: Option<&'a PatientRef>,
    relation: CareRelation,
    sensitivity: Cow<'a, str>,
    situation: Situation,
    /// When something of this ends or begins.
    until: Option<Timestamp>,
}

impl<'a> Concerned<'a> {
    fn of(
        matter: &Matter<'a>,
        patient: Option<&'a PatientRef>,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Self {
        let mapping = matter.mapping;
        let mut concerned = Self {
            patient,
            relation: circumstances.care_relation,
            sensitivity: Cow::Borrowed(&mapping.sensitivity),
            situation: circumstances.situation.clone(),
            until: None,
        };
        let kinds = &mut concerned.situation.information_types;
        kinds.extend(mapping.information_types.iter().cloned());
        if let Some(patient) = patient
            && !circumstances.care.is_empty()
        {
            let bond = circumstances.care.bond(matter.principal, patient, now);
            kinds.extend(bond.information_types);
            concerned.relation = bond.relation;
            concerned.situation.patient_ward = bond.ward;
            concerned.until = bond.until;
            // SECURITY: a page is never less sensitive than its patient, nor a patient than the page.
            let page = Sensitivity::by_code(&mapping.sensitivity);
            if let Some(higher) = bond.sensitivity.filter(|patient| Some(*patient) > page) {
                concerned.sensitivity = Cow::Borrowed(higher.code());
            }
        }
        concerned
    }

    fn is_plain(&self, mapping: &Mapping) -> bool {
        let plain = Situation {
            phishing_resistant: self.situation.phishing_resistant,
            ..Situation::UNKNOWN
        };
        self.situation == plain && self.sensitivity == mapping.sensitivity
    }
}

/// What policy is asked about one request.
pub(super) struct Inquiry<'a> {
    active: &'a Active,
    reasons: &'a Reasons,
    pub(super) matter: &'a Matter<'a>,
    pub(super) circumstances: &'a Circumstances,
    now: Timestamp,
    principal: String,
    concerned: Vec<Concerned<'a>>,
}

impl<'a> Inquiry<'a> {
    pub(super) fn of(
        in_force: &'a InForce,
        matter: &'a Matter<'a>,
        circumstances: &'a Circumstances,
        now: Timestamp,
    ) -> Self {
        let patients = matter.mapping.patients.iter().map(Some);
        let nobody = matter.mapping.patients.is_empty().then_some(None);
        let concerned = patients
            .chain(nobody)
            .map(|patient| Concerned::of(matter, patient, circumstances, now))
            .collect();
        Self {
            active: &in_force.active,
            reasons: &in_force.reasons,
            concerned,
            circumstances,
            now,
            principal: matter.principal.id(),
            matter,
        }
    }

    /// The grant that opened a chart concerned: the one that ends first, if there are several.
    pub(super) fn grant(&self) -> Option<&'a Grant> {
        let each = self.concerned.iter();
        each.filter_map(|concerned| self.opened(concerned))
            .min_by_key(|grant| grant.expires)
    }

    /// The grant that opens the chart of whom it concerns, by what feeds say now of where they lie.
    fn grant_for(&self, concerned: &Concerned<'_>) -> Option<&'a Grant> {
        let ward = concerned.situation.patient_ward.as_deref();
        self.circumstances
            .grant_for(concerned.patient?, ward, self.now)
    }

    /// The grant that opens the chart of whom it concerns, or, where no chart is concerned, the EMR's frame.
    fn opened(&self, concerned: &Concerned<'_>) -> Option<&'a Grant> {
        let circumstances = self.circumstances;
        match concerned.patient {
            Some(_) => self.grant_for(concerned),
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

    fn ask(&self, concerned: &Concerned<'_>, glass: Glass, training: Training) -> Arc<Outcome> {
        let Matter {
            emr,
            principal,
            mapping,
            ..
        } = *self.matter;
        let circumstances = self.circumstances;
        let break_glass = match glass {
            Glass::Broken => true,
            Glass::AsItIs => self.opened(concerned).is_some(),
        };
        self.active.ask(&Question {
            kind: PrincipalKind::of(principal),
            principal: &self.principal,
            roles: principal.roles(),
            mfa: principal.proof().mfa,
            action: mapping.action,
            section: &mapping.section,
            sensitivity: &concerned.sensitivity,
            emr,
            patient: concerned.patient,
            care_relation: concerned.relation,
            purpose: if break_glass {
                Purpose::Emergency
            } else {
                circumstances.purpose
            },
            lockdown: circumstances.lockdown,
            zone: &circumstances.zone,
            training,
            break_glass,
            department: principal.department(),
            situation: &concerned.situation,
        })
    }

    /// Whether the reason that is obliged was stated, for every patient concerned. Who broke the glass for a patient said why.
    pub(super) fn reason(&self, obligations: &Obligations) -> Reason {
        let Some(holds) = obligations.reason else {
            return Reason::NotAsked;
        };
        let Matter {
            emr,
            mapping,
            session,
            ..
        } = *self.matter;
        Reason::for_all(&mapping.patients, |patient| {
            let mut known = self.concerned.iter();
            let known = known.find(|concerned| concerned.patient == patient);
            if let Some(grant) = known.and_then(|concerned| self.grant_for(concerned)) {
                return Some(Ground {
                    id: Arc::from(grant.id.as_str()),
                    code: None,
                    until: grant.expires,
                });
            }
            let subject = Subject::new(
                (&self.principal, session),
                emr,
                (mapping.action, &mapping.section),
                patient,
            );
            let stated = self.reasons.stated(&subject)?;
            let until = stated.holds_until(holds, self.now)?;
            Some(Ground {
                id: stated.id,
                code: Some(stated.code),
                until,
            })
        })
    }

    /// What policy says for every patient concerned, or once where there is none, to somebody who stands so with
    /// training.
    pub(super) fn ask_for_all(&self, training: Training) -> Outcome {
        let each = self.concerned.iter();
        each.map(|concerned| (*self.ask(concerned, Glass::AsItIs, training)).clone())
            .reduce(|all, one| all.and(&one))
            .unwrap_or_else(Outcome::unanswerable)
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
        let [concerned] = self.concerned.as_slice() else {
            return false;
        };
        if concerned.patient.is_none() || !mapping.action.only_looks() {
            return false;
        }
        let outcome = self.ask(concerned, Glass::Broken, self.circumstances.training);
        self.circumstances.lockdown < DOWNTIME
            && outcome.verdict == Verdict::Allow
            && outcome.errors.is_empty()
    }

    /// The care relation of all patients as one word: the one that says least for the user.
    pub(super) fn relation(&self) -> CareRelation {
        let least = [
            CareRelation::Unrelated,
            CareRelation::Unknown,
            CareRelation::Assigned,
            CareRelation::Patient,
        ];
        least
            .into_iter()
            .find(|one| self.concerned.iter().any(|known| known.relation == *one))
            .unwrap_or_default()
    }

    /// What was considered of each patient, for the record; nothing where there is no more to say.
    pub(super) fn considered(&self) -> Vec<Considered> {
        let relation = self.relation();
        let mapping = self.matter.mapping;
        let is_said = |one: &Concerned<'_>| one.relation == relation && one.is_plain(mapping);
        if self.concerned.iter().all(is_said) {
            return Vec::new();
        }
        let each = self.concerned.iter().map(|one| Considered {
            care_relation: (one.relation != relation).then(|| one.relation.word().to_owned()),
            sensitivity: (one.sensitivity != mapping.sensitivity)
                .then(|| one.sensitivity.clone().into_owned()),
            situation: one.situation.clone(),
        });
        each.collect()
    }

    /// When something that policies may have looked at ends or begins.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let of_patients = self.concerned.iter().filter_map(|one| one.until);
        of_patients.chain(self.circumstances.turns_at).min()
    }
}
