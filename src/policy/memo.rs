//! Answers that were already worked out under the bundle in force.
//!
//! INVARIANT: the key holds every input of the answer, and a memo lives and dies with one compiled bundle, so a
//! remembered answer equals a fresh one. People and patients whom the bundle does not name are one to it, and one to the
//! key. What changes with time alone (step-up, session and grant expiry) is no input of an answer; it is checked anew for
//! each request.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use equivalent::Equivalent;
use moka::sync::Cache;

use super::compile::{Compiled, Outcome};
use super::given::{Given, owned};
use super::question::{PrincipalKind, Question};
use crate::request::{Action, Role};

/// Most answers remembered.
const MOST_ANSWERS: u64 = 65_536;

/// Everything that an answer can depend on: as a question has it, borrowed, so that it is looked up without a copy.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked<'q> {
    action: Action,
    kind: PrincipalKind,
    roles: Cow<'q, BTreeSet<Role>>,
    section: Cow<'q, str>,
    principal: Option<Cow<'q, str>>,
    given: Given<'q>,
}

/// The same, kept.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key(Asked<'static>);

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.0
    }
}

impl<'q> Asked<'q> {
    fn new(compiled: &Compiled, question: &Question<'q>) -> Self {
        let named = compiled.named();
        let principal = Some(question.principal).filter(|who| named.has_principal(who));
        Self {
            action: question.action,
            kind: question.kind,
            roles: Cow::Borrowed(question.roles),
            section: question.section.into(),
            principal: principal.map(Cow::Borrowed),
            given: Given::new(question, named, compiled.reads(question.action)),
        }
    }

    fn into_key(self) -> Key {
        Key(Asked {
            action: self.action,
            kind: self.kind,
            roles: Cow::Owned(self.roles.into_owned()),
            section: owned(self.section),
            principal: self.principal.map(owned),
            given: self.given.into_owned(),
        })
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
        self.answers.insert(asked.into_key(), Arc::clone(&answer));
        answer
    }
}
