//! Answers that were already worked out under the bundle in force.
//!
//! INVARIANT: the key holds every input of the answer, and a memo lives and dies with one compiled bundle, so a
//! remembered answer equals a fresh one. People and patients whom the bundle does not name are one to it, and one to the
//! key. What changes with time alone (step-up, session and grant expiry) is no input of an answer; it is checked anew for
//! each request.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;
use moka::sync::Cache;

use super::compile::{Compiled, Outcome};
use super::question::{CareRelation, PrincipalKind, Purpose, Question, Training};
use super::reads::PatientRead;
use super::situation::{AsRead, Kept};
use crate::request::{Action, Role};

/// Most answers remembered.
const MOST_ANSWERS: u64 = 65_536;

/// Everything that an answer can depend on, as a question has it: looked up without a copy.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked<'q> {
    action: Action,
    kind: PrincipalKind,
    roles: &'q BTreeSet<Role>,
    section: &'q str,
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
    principal: Option<&'q str>,
}

/// The same, kept.
#[derive(Debug, Clone)]
struct Key {
    action: Action,
    kind: PrincipalKind,
    roles: BTreeSet<Role>,
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
    situation: Kept,
    patient: PatientPart<String>,
    principal: Option<String>,
}

/// As much of the patient as the bundle can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PatientPart<T> {
    Unread,
    Absent,
    Unnamed,
    Named { system: T, id: T },
}

impl<'q> Asked<'q> {
    fn new(compiled: &Compiled, question: &Question<'q>) -> Self {
        let named = compiled.named();
        let reads = compiled.reads(question.action);
        Self {
            action: question.action,
            kind: question.kind,
            roles: question.roles,
            section: question.section,
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
            principal: Some(question.principal).filter(|who| named.has_principal(who)),
        }
    }

    fn to_key(&self) -> Key {
        Key {
            action: self.action,
            kind: self.kind,
            roles: self.roles.clone(),
            section: self.section.to_owned(),
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
            principal: self.principal.map(str::to_owned),
        }
    }
}

impl Key {
    fn asked(&self) -> Asked<'_> {
        Asked {
            action: self.action,
            kind: self.kind,
            roles: &self.roles,
            section: &self.section,
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
            principal: self.principal.as_deref(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asked().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.asked() == other.asked()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.asked()
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
        let asked = Asked::new(&self.compiled, question);
        if let Some(answer) = self.answers.get(&asked) {
            return answer;
        }
        let slice = self.compiled.slice(question);
        let answer = Arc::new(self.compiled.ask(&slice, question));
        self.answers.insert(asked.to_key(), Arc::clone(&answer));
        answer
    }
}
