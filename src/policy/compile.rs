//! A bundle made ready to be asked: for each action and set of roles, only the policies that can matter.
//!
//! Cedar evaluates every policy that it is given, so the cost of a decision is the number of policies in the set.
//! A policy whose scope cannot match the principal's roles and kind, or the action, is neither satisfied nor an
//! error in any evaluation, so leaving it out changes no answer (`tests/evaluation.rs` holds slices to that).
//!
//! *Owns*: the slices, made when they are first needed, bounded in number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Decision, Entities, EntityUid, PolicySet,
    PrincipalConstraint,
};
use moka::sync::Cache;

use super::attribute::Attributes;
use super::bundle::Bundle;
use super::obligation::Obligations;
use super::question::{PrincipalKind, Question};
use super::reads::{PrincipalRead, Reads, is_role};
use super::rule::Rule;
use super::vocabulary::Vocabulary;
use crate::request::facts::Verdict;
use crate::request::{Action, Role};

/// Most slices kept: 13 actions times the sets of roles that people really have.
const MOST_SLICES: u64 = 4_096;

/// In whose name a slice is asked that no one's identity matters to.
const ANYONE: &str = "anyone";

/// What an evaluation said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Allow only if something permits, nothing forbids and nothing failed.
    pub verdict: Verdict,
    /// Ids of the policies that decided, sorted.
    pub policies: Vec<String>,
    /// Ids of the policies that failed, sorted. What failed is not kept: it can name a patient.
    pub errors: Vec<String>,
    /// What the permits that decided oblige.
    pub obligations: Obligations,
}

impl Outcome {
    /// The answer when the question itself could not be put.
    pub(super) fn unanswerable() -> Self {
        Self {
            verdict: Verdict::Deny,
            policies: Vec::new(),
            errors: vec!["request".to_owned()],
            obligations: Obligations::default(),
        }
    }

    /// Both answers as one: allow only if both allow.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        if other.verdict == Verdict::Deny {
            if self.verdict == Verdict::Allow {
                // Permits of another patient did not decide a refusal.
                self.policies.clear();
                self.obligations = Obligations::default();
            }
            self.verdict = Verdict::Deny;
            merge(&mut self.policies, &other.policies);
        } else if self.verdict == Verdict::Allow {
            merge(&mut self.policies, &other.policies);
            self.obligations = std::mem::take(&mut self.obligations).union(&other.obligations);
        }
        merge(&mut self.errors, &other.errors);
        self
    }
}

fn merge(into: &mut Vec<String>, from: &[String]) {
    into.extend_from_slice(from);
    into.sort_unstable();
    into.dedup();
}

/// What a slice is made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scope {
    action: Action,
    kind: PrincipalKind,
    roles: BTreeSet<Role>,
}

/// The policies that can matter for one action and set of roles.
#[derive(Debug)]
pub struct Slice {
    id: u64,
    rules: Vec<Arc<Rule>>,
    policies: PolicySet,
    reads: Reads,
    /// The entities for [`ANYONE`]; nothing where identity matters, and then they are made for each question.
    entities: Option<Entities>,
}

impl Slice {
    /// Its number, unique among the slices of one [`Compiled`].
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Its policies.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }

    /// What its answers can depend on beyond roles and circumstances.
    #[must_use]
    pub const fn reads(&self) -> Reads {
        self.reads
    }
}

/// A bundle made ready to be asked.
pub struct Compiled {
    vocabulary: Vocabulary,
    by_action: Vec<(Action, Vec<Arc<Rule>>)>,
    slices: Cache<Scope, Arc<Slice>>,
    numbers: AtomicU64,
    attributes: Attributes,
    authorizer: Authorizer,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("slices", &self.slices.entry_count())
            .finish_non_exhaustive()
    }
}

impl Compiled {
    /// Makes a bundle ready.
    #[must_use]
    pub fn new(bundle: &Bundle) -> Self {
        let vocabulary = bundle.vocabulary().clone();
        let by_action = Action::ALL
            .iter()
            .map(|action| {
                let uid = vocabulary.names().action(*action);
                let matching = bundle
                    .rules()
                    .iter()
                    .filter(|rule| fits_action(rule, &uid, vocabulary.actions()))
                    .cloned()
                    .collect();
                (*action, matching)
            })
            .collect();
        Self {
            vocabulary,
            by_action,
            slices: Cache::new(MOST_SLICES),
            numbers: AtomicU64::new(0),
            attributes: bundle
                .policies()
                .map(|rule| rule.reads().attributes)
                .fold(Attributes::NONE, Attributes::union),
            authorizer: Authorizer::new(),
        }
    }

    /// Which of the newer attributes any policy reads.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The slice that answers `question`.
    #[must_use]
    pub fn slice(&self, question: &Question<'_>) -> Arc<Slice> {
        let scope = Scope {
            action: question.action,
            kind: question.kind,
            roles: question.roles.clone(),
        };
        if let Some(slice) = self.slices.get(&scope) {
            return slice;
        }
        self.slices
            .get_with_by_ref(&scope, || Arc::new(self.cut(&scope)))
    }

    fn cut(&self, scope: &Scope) -> Slice {
        let rules: Vec<_> = self
            .by_action
            .iter()
            .filter(|(action, _)| *action == scope.action)
            .flat_map(|(_, rules)| rules)
            .filter(|rule| self.fits_principal(rule, scope))
            .cloned()
            .collect();
        let reads = rules
            .iter()
            .fold(Reads::LEAST, |reads, rule| reads.union(rule.reads()));
        let entities = match reads.principal {
            PrincipalRead::Roles => self
                .vocabulary
                .entities(scope.kind, ANYONE, &scope.roles)
                .ok(),
            PrincipalRead::Identity => None,
        };
        Slice {
            id: self.numbers.fetch_add(1, Ordering::Relaxed),
            // INVARIANT: ids are unique in a bundle, and a bundle holds no template, so no policy is lost here.
            policies: PolicySet::from_policies(rules.iter().map(|rule| rule.policy().clone()))
                .unwrap_or_default(),
            rules,
            reads,
            entities,
        }
    }

    fn fits_principal(&self, rule: &Rule, scope: &Scope) -> bool {
        let kind = self.vocabulary.names().kind(scope.kind);
        // Anything but a role may be an ancestor that is not known here: such a policy stays in.
        let may_be_in = |of: &EntityUid| {
            !is_role(of)
                || scope
                    .roles
                    .iter()
                    .any(|role| role.as_str() == of.id().unescaped())
        };
        match rule.policy().principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::In(of) => may_be_in(&of),
            PrincipalConstraint::Eq(one) => one.type_name() == kind,
            PrincipalConstraint::Is(only) => only == *kind,
            PrincipalConstraint::IsIn(only, of) => only == *kind && may_be_in(&of),
        }
    }

    /// Asks the slice, without memory.
    #[must_use]
    pub fn ask(&self, slice: &Slice, question: &Question<'_>) -> Outcome {
        // INVARIANT: a slice lost no policy; a set that is smaller than its rules answers nothing.
        if slice.policies.num_of_policies() != slice.rules.len() {
            return Outcome::unanswerable();
        }
        let made;
        let (entities, principal) = match &slice.entities {
            Some(entities) => (entities, ANYONE),
            None => {
                match self
                    .vocabulary
                    .entities(question.kind, question.principal, question.roles)
                {
                    Ok(entities) => {
                        made = entities;
                        (&made, question.principal)
                    }
                    Err(error) => return refused_to_ask(&error),
                }
            }
        };
        match self.vocabulary.names().request(question, principal, None) {
            Ok(request) => self.evaluate(slice, &request, entities),
            Err(error) => refused_to_ask(&error),
        }
    }

    fn evaluate(
        &self,
        slice: &Slice,
        request: &cedar_policy::Request,
        entities: &Entities,
    ) -> Outcome {
        let response = self
            .authorizer
            .is_authorized(request, &slice.policies, entities);
        let mut policies: Vec<_> = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        policies.sort_unstable();
        let mut errors: Vec<_> = response
            .diagnostics()
            .errors()
            .map(|error| match error {
                AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
            })
            .collect();
        errors.sort_unstable();
        // SECURITY: Cedar leaves out a policy that fails. A forbid that fails must not thereby permit.
        let verdict = match response.decision() {
            Decision::Allow if errors.is_empty() => Verdict::Allow,
            Decision::Allow | Decision::Deny => Verdict::Deny,
        };
        let obligations = match verdict {
            Verdict::Allow => slice
                .rules()
                .filter(|rule| {
                    policies
                        .binary_search_by(|id| id.as_str().cmp(rule.id()))
                        .is_ok()
                })
                .fold(Obligations::default(), |all, rule| {
                    all.union(rule.obligations())
                }),
            Verdict::Deny => Obligations::default(),
        };
        if response.decision() == Decision::Allow && verdict == Verdict::Deny {
            policies.clear();
        }
        Outcome {
            verdict,
            policies,
            errors,
            obligations,
        }
    }
}

/// The question could not be put into Cedar's terms; the answer is no, and the cause is logged without the question.
fn refused_to_ask(error: &dyn std::fmt::Display) -> Outcome {
    // The error names types and attributes of the schema, never values of the request.
    tracing::error!(%error, "a policy question could not be put");
    Outcome::unanswerable()
}

fn fits_action(rule: &Rule, action: &EntityUid, actions: &Entities) -> bool {
    let within = |group: &EntityUid| group == action || actions.is_ancestor_of(group, action);
    match rule.policy().action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(groups) => groups.iter().any(within),
        ActionConstraint::Eq(one) => one == *action,
    }
}
