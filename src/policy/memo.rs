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
use super::given::{Given, GivenKey};
use super::question::{PrincipalKind, Question};
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
    principal: Option<&'q str>,
    given: Given<'q>,
}

/// The same, kept.
#[derive(Debug, Clone)]
struct Key {
    action: Action,
    kind: PrincipalKind,
    roles: BTreeSet<Role>,
    section: String,
    principal: Option<String>,
    given: GivenKey,
}

impl<'q> Asked<'q> {
    fn new(compiled: &Compiled, question: &Question<'q>) -> Self {
        let named = compiled.named();
        Self {
            action: question.action,
            kind: question.kind,
            roles: question.roles,
            section: question.section,
            principal: Some(question.principal).filter(|who| named.has_principal(who)),
            given: Given::new(question, named, compiled.reads(question.action)),
        }
    }

    fn to_key(&self) -> Key {
        Key {
            action: self.action,
            kind: self.kind,
            roles: self.roles.clone(),
            section: self.section.to_owned(),
            principal: self.principal.map(str::to_owned),
            given: self.given.to_key(),
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
            principal: self.principal.as_deref(),
            given: self.given.given(),
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
