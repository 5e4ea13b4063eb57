//! The circumstances of a question, as far as policies can tell them apart: what a context is made of, and remembered by.
//!
//! INVARIANT: it holds every input of a context ([`Question::context`]) that policies which read `reads` can see. Patients
//! whom the bundle does not name are one.

use std::hash::{Hash, Hasher};

use equivalent::Equivalent;

use super::named::Named;
use super::question::{CareRelation, Purpose, Question, Training};
use super::reads::{PatientRead, Reads};
use super::situation::{AsRead, Kept};

/// As a question has it: looked up without a copy.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Given<'q> {
    sensitivity: &'q str,
    emr: &'q str,
    mfa: bool,
    care_relation: CareRelation,
    purpose: Purpose,
    lockdown: u8,
    zone: &'q str,
    training: Training,
    break_glass: bool,
    department: Option<&'q str>,
    situation: AsRead<'q>,
    patient: PatientPart<&'q str>,
}

/// The same, kept.
#[derive(Debug, Clone)]
pub(super) struct GivenKey {
    sensitivity: String,
    emr: String,
    mfa: bool,
    care_relation: CareRelation,
    purpose: Purpose,
    lockdown: u8,
    zone: String,
    training: Training,
    break_glass: bool,
    department: Option<String>,
    situation: Kept,
    patient: PatientPart<String>,
}

/// As much of the patient as the bundle can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PatientPart<T> {
    Unread,
    Absent,
    Unnamed,
    Named { system: T, id: T },
}

impl<'q> Given<'q> {
    pub(super) fn new(question: &Question<'q>, named: &Named, reads: Reads) -> Self {
        Self {
            sensitivity: question.sensitivity,
            emr: question.emr,
            mfa: question.mfa,
            care_relation: question.care_relation,
            purpose: question.purpose,
            lockdown: question.lockdown,
            zone: question.zone,
            training: question.training,
            break_glass: question.break_glass,
            department: question.department,
            situation: AsRead::new(question.situation, reads.attributes),
            patient: match (reads.patient, question.patient) {
                (PatientRead::Nothing, _) => PatientPart::Unread,
                (PatientRead::Presence | PatientRead::Identity, None) => PatientPart::Absent,
                (PatientRead::Identity, Some(patient)) if named.has_patient(patient) => {
                    PatientPart::Named {
                        system: patient.system.as_str(),
                        id: patient.id.as_str(),
                    }
                }
                (PatientRead::Presence | PatientRead::Identity, Some(_)) => PatientPart::Unnamed,
            },
        }
    }

    pub(super) fn to_key(&self) -> GivenKey {
        GivenKey {
            sensitivity: self.sensitivity.to_owned(),
            emr: self.emr.to_owned(),
            mfa: self.mfa,
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            zone: self.zone.to_owned(),
            training: self.training,
            break_glass: self.break_glass,
            department: self.department.map(str::to_owned),
            situation: self.situation.kept(),
            patient: match &self.patient {
                PatientPart::Unread => PatientPart::Unread,
                PatientPart::Absent => PatientPart::Absent,
                PatientPart::Unnamed => PatientPart::Unnamed,
                PatientPart::Named { system, id } => PatientPart::Named {
                    system: (*system).to_owned(),
                    id: (*id).to_owned(),
                },
            },
        }
    }
}

impl GivenKey {
    pub(super) fn given(&self) -> Given<'_> {
        Given {
            sensitivity: &self.sensitivity,
            emr: &self.emr,
            mfa: self.mfa,
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            zone: &self.zone,
            training: self.training,
            break_glass: self.break_glass,
            department: self.department.as_deref(),
            situation: self.situation.as_read(),
            patient: match &self.patient {
                PatientPart::Unread => PatientPart::Unread,
                PatientPart::Absent => PatientPart::Absent,
                PatientPart::Unnamed => PatientPart::Unnamed,
                PatientPart::Named { system, id } => PatientPart::Named { system, id },
            },
        }
    }
}

impl Hash for GivenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.given().hash(state);
    }
}

impl PartialEq for GivenKey {
    fn eq(&self, other: &Self) -> bool {
        self.given() == other.given()
    }
}

impl Eq for GivenKey {}

impl Equivalent<GivenKey> for Given<'_> {
    fn equivalent(&self, key: &GivenKey) -> bool {
        *self == key.given()
    }
}
