//! Everything of one question, owned: for tables of expected decisions, explanations and reviews.

use std::collections::BTreeSet;

use super::question::{CareRelation, PrincipalKind, Purpose, Question, Training, UNKNOWN_ZONE};
use crate::request::facts::{Facts, PatientSource};
use crate::request::{Action, PatientRef, Role, Situation};

/// The numbering system of a patient who is named by number alone.
const ANY_SYSTEM: &str = "urn:chartgate:any";

/// Who does what, where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// What kind of principal acts.
    pub kind: PrincipalKind,
    /// The principal's stable identifier.
    pub principal: String,
    /// The principal's roles.
    pub roles: BTreeSet<Role>,
    /// Whether the sign-in was multi-factor.
    pub mfa: bool,
    /// The clinical action.
    pub action: Action,
    /// The section.
    pub section: String,
    /// HL7 v3 Confidentiality.
    pub sensitivity: String,
    /// The EMR's name in the configuration.
    pub emr: String,
    /// The patient concerned.
    pub patient: Option<PatientRef>,
    /// Care relation of user and patient.
    pub care_relation: CareRelation,
    /// What the access is for.
    pub purpose: Purpose,
    /// The lockdown level, 0 to 4.
    pub lockdown: u8,
    /// The network zone that the client is in.
    pub zone: String,
    /// How the user stands with training.
    pub training: Training,
    /// Whether a break-glass grant opens this patient's chart.
    pub break_glass: bool,
    /// The department of the user, where their provider states one.
    pub department: Option<String>,
    /// What is known beyond that.
    pub situation: Situation,
}

impl Scene {
    /// Someone with these roles, signed in with a second factor, in no particular circumstances.
    #[must_use]
    pub fn new(roles: BTreeSet<Role>, action: Action, section: &str) -> Self {
        Self {
            kind: PrincipalKind::User,
            principal: "any|someone".to_owned(),
            roles,
            mfa: true,
            action,
            section: section.to_owned(),
            sensitivity: "N".to_owned(),
            emr: "any".to_owned(),
            patient: None,
            care_relation: CareRelation::Unknown,
            purpose: Purpose::Unknown,
            lockdown: 0,
            zone: UNKNOWN_ZONE.to_owned(),
            training: Training::Unknown,
            break_glass: false,
            department: None,
            situation: Situation::UNKNOWN,
        }
    }

    /// The scene that a record of the trail tells of, for one of its patients; nothing where it was not decided.
    #[must_use]
    pub fn of_record(facts: &Facts, patient: Option<&PatientRef>) -> Option<Self> {
        let principal = facts.principal.as_ref()?;
        let mapping = facts.mapping.as_ref()?;
        let decision = facts.decision.as_ref()?;
        let (relation, sensitivity, situation) = decision.considered_of(mapping, patient);
        let or_unknown = |text: &str| if text.is_empty() { UNKNOWN_ZONE } else { text }.to_owned();
        Some(Self {
            kind: PrincipalKind::of(principal),
            principal: principal.id(),
            roles: principal.roles().clone(),
            mfa: principal.proof().mfa,
            action: mapping.action,
            section: mapping.section.clone(),
            sensitivity,
            emr: facts.emr.clone()?,
            patient: patient.cloned(),
            care_relation: CareRelation::by_word(&relation).unwrap_or_default(),
            purpose: Purpose::by_code(&decision.purpose).unwrap_or_default(),
            lockdown: decision.lockdown,
            zone: or_unknown(&decision.zone),
            training: Training::by_word(&decision.training).unwrap_or_default(),
            break_glass: decision.grant.is_some(),
            department: principal.department().map(str::to_owned),
            situation: Situation {
                phishing_resistant: principal.proof().phishing_resistant,
                ..situation
            },
        })
    }

    /// The question that it puts.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question {
            kind: self.kind,
            principal: &self.principal,
            roles: &self.roles,
            mfa: self.mfa,
            action: self.action,
            section: &self.section,
            sensitivity: &self.sensitivity,
            emr: &self.emr,
            patient: self.patient.as_ref(),
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            zone: &self.zone,
            training: self.training,
            break_glass: self.break_glass,
            department: self.department.as_deref(),
            situation: &self.situation,
        }
    }
}

/// A patient as people write one: `system|number`, or the number alone.
#[must_use]
pub fn patient(written: &str) -> PatientRef {
    let (system, id) = written.rsplit_once('|').unwrap_or((ANY_SYSTEM, written));
    PatientRef {
        system: system.to_owned(),
        id: id.to_owned(),
        source: PatientSource::Request,
    }
}
