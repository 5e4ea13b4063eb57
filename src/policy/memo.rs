//! Answers that were already worked out under the bundle in force.
//!
//! INVARIANT: the key holds every input of the answer, and a memo lives and dies with one compiled bundle, so a
//! remembered answer equals a fresh one. What changes with time alone (step-up, session and grant expiry) is no
//! input of an answer; it is checked anew for each request.

use std::sync::Arc;

use moka::sync::Cache;

use super::compile::{Compiled, Outcome, Slice};
use super::question::{CareRelation, Purpose, Question, Training};
use super::reads::{PatientRead, PrincipalRead};
use super::situation::as_read;
use crate::request::Situation;

/// Most answers remembered.
const MOST_ANSWERS: u64 = 65_536;

/// Everything that an answer can depend on. Action, kind and roles are those of the slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    slice: u64,
    section: String,
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
    situation: Situation,
    patient: PatientPart,
    principal: Option<String>,
}

/// As much of the patient as the slice reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PatientPart {
    Unread,
    Absent,
    Present,
    Named { system: String, id: String },
}

impl Key {
    fn new(slice: &Slice, question: &Question<'_>) -> Self {
        let reads = slice.reads();
        Self {
            slice: slice.id(),
            section: question.section.to_owned(),
            sensitivity: question.sensitivity.to_owned(),
            emr: question.emr.to_owned(),
            mfa: question.mfa,
            care_relation: question.care_relation,
            purpose: question.purpose,
            lockdown: question.lockdown,
            zone: question.zone.to_owned(),
            training: question.training,
            break_glass: question.break_glass,
            department: question.department.map(str::to_owned),
            situation: as_read(question.situation, reads.attributes),
            patient: match (reads.patient, question.patient) {
                (PatientRead::Nothing, _) => PatientPart::Unread,
                (PatientRead::Presence | PatientRead::Identity, None) => PatientPart::Absent,
                (PatientRead::Presence, Some(_)) => PatientPart::Present,
                (PatientRead::Identity, Some(patient)) => PatientPart::Named {
                    system: patient.system.clone(),
                    id: patient.id.clone(),
                },
            },
            principal: match reads.principal {
                PrincipalRead::Roles => None,
                PrincipalRead::Identity => Some(question.principal.to_owned()),
            },
        }
    }
}

/// A compiled bundle that remembers its answers.
#[derive(Debug)]
pub struct Memo {
    compiled: Compiled,
    answers: Cache<Key, Arc<Outcome>>,
}

impl Memo {
    /// A compiled bundle with no answers yet.
    #[must_use]
    pub fn new(compiled: Compiled) -> Self {
        Self {
            compiled,
            answers: Cache::new(MOST_ANSWERS),
        }
    }

    /// The compiled bundle.
    #[must_use]
    pub const fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The answer to `question`.
    #[must_use]
    pub fn ask(&self, question: &Question<'_>) -> Arc<Outcome> {
        let slice = self.compiled.slice(question);
        let key = Key::new(&slice, question);
        if let Some(answer) = self.answers.get(&key) {
            return answer;
        }
        let answer = Arc::new(self.compiled.ask(&slice, question));
        self.answers.insert(key, Arc::clone(&answer));
        answer
    }
}
