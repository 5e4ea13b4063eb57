//! The circumstances of a question, as far as policies can tell them apart: what a context is made of, and remembered by.
//!
//! INVARIANT: it holds every input of a context ([`Question::context`]) that policies which read `reads` can see. Patients
//! whom the bundle does not name are one.

use std::borrow::Cow;

use equivalent::Equivalent;

use super::named::Named;
use super::question::{CareRelation, Purpose, Question, Training};
use super::reads::{PatientRead, Reads};
use super::situation::AsRead;

/// As a question has it, borrowed, so that it is looked up without a copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Given<'q> {
    sensitivity: Cow<'q, str>,
    emr: Cow<'q, str>,
    mfa: bool,
    care_relation: CareRelation,
    purpose: Purpose,
    lockdown: u8,
    zone: Cow<'q, str>,
    training: Training,
    break_glass: bool,
    department: Option<Cow<'q, str>>,
    situation: AsRead<'q>,
    patient: PatientPart<'q>,
}

/// As much of the patient as the bundle can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PatientPart<'q> {
    Unread,
    Absent,
    Unnamed,
    Named {
        system: Cow<'q, str>,
        id: Cow<'q, str>,
    },
}

/// The same, kept.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct GivenKey(Given<'static>);

impl Equivalent<GivenKey> for Given<'_> {
    fn equivalent(&self, key: &GivenKey) -> bool {
        *self == key.0
    }
}

impl<'q> Given<'q> {
    pub(super) fn new(question: &Question<'q>, named: &Named, reads: Reads) -> Self {
        Self {
            sensitivity: question.sensitivity.into(),
            emr: question.emr.into(),
            mfa: question.mfa,
            care_relation: question.care_relation,
            purpose: question.purpose,
            lockdown: question.lockdown,
            zone: question.zone.into(),
            training: question.training,
            break_glass: question.break_glass,
            department: question.department.map(Cow::Borrowed),
            situation: AsRead::new(question.situation, reads.attributes),
            patient: match (reads.patient, question.patient) {
                (PatientRead::Nothing, _) => PatientPart::Unread,
                (PatientRead::Presence | PatientRead::Identity, None) => PatientPart::Absent,
                (PatientRead::Identity, Some(patient)) if named.has_patient(patient) => {
                    PatientPart::Named {
                        system: patient.system.as_str().into(),
                        id: patient.id.as_str().into(),
                    }
                }
                (PatientRead::Presence | PatientRead::Identity, Some(_)) => PatientPart::Unnamed,
            },
        }
    }

    pub(super) fn into_owned(self) -> Given<'static> {
        Given {
            sensitivity: owned(self.sensitivity),
            emr: owned(self.emr),
            zone: owned(self.zone),
            department: self.department.map(owned),
            situation: self.situation.into_owned(),
            patient: match self.patient {
                PatientPart::Unread => PatientPart::Unread,
                PatientPart::Absent => PatientPart::Absent,
                PatientPart::Unnamed => PatientPart::Unnamed,
                PatientPart::Named { system, id } => PatientPart::Named {
                    system: owned(system),
                    id: owned(id),
                },
            },
            mfa: self.mfa,
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            training: self.training,
            break_glass: self.break_glass,
        }
    }

    pub(super) fn into_key(self) -> GivenKey {
        GivenKey(self.into_owned())
    }
}

pub(super) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
