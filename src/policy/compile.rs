//! A bundle made ready to be asked: for each action, section and set of roles, only the policies that can matter.
//!
//! Cedar evaluates every policy that it is given, so the cost of a decision is the number of policies in the set.
//! A policy whose scope cannot match the principal, the action or the section, or that is about another section or
//! patient, is neither satisfied nor an error in any evaluation, so leaving it out changes no answer
//! (`tests/evaluation.rs` holds slices to that).
//!
//! *Owns*: the slices, made when they are first needed, bounded in number.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Context, Decision, Entities, EntityUid,
    PolicySet, PrincipalConstraint,
};
use moka::sync::Cache;

use super::about::name_of;
use super::attribute::Attributes;
use super::bundle::Bundle;
use super::given::{Given, GivenKey};
use super::named::Named;
use super::obligation::Obligations;
use super::question::{PrincipalKind, Question};
use super::reads::{PatientRead, PrincipalRead, Reads, is_role};
use super::rule::Rule;
use super::vocabulary::Vocabulary;
use crate::request::facts::{PatientSource, Verdict};
use crate::request::{Action, PatientRef, Role};

/// Most slices kept: the pages that the profiles know times the sets of roles that people really have.
const MOST_SLICES: u64 = 16_384;

/// Most contexts kept: the combinations of circumstances that people are really in.
const MOST_CONTEXTS: u64 = 16_384;

/// In whose name a slice is asked that no one's identity matters to.
const ANYONE: &str = "anyone who is not named";

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
    section: String,
    /// The principal, where a policy is for them alone.
    principal: Option<String>,
    /// The patient, where a policy is about them alone.
    patient: Option<String>,
}

/// A policy and whom it is for, taken apart once.
#[derive(Debug, Clone)]
struct Prepared {
    rule: Arc<Rule>,
    principal: PrincipalConstraint,
}

/// The policies that can matter for one action, and what any of them reads.
#[derive(Debug)]
struct OfAction {
    rules: Vec<Prepared>,
    reads: Reads,
}

/// The policies that can matter for one action, section and set of roles.
#[derive(Debug)]
pub struct Slice {
    rules: Vec<Arc<Rule>>,
    policies: PolicySet,
    reads: Reads,
    /// The entities for [`ANYONE`].
    entities: Option<Entities>,
}

impl Slice {
    /// Its policies.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }
}

/// A bundle made ready to be asked.
pub struct Compiled {
    vocabulary: Vocabulary,
    by_action: Vec<(Action, OfAction)>,
    slices: Cache<Scope, Arc<Slice>>,
    contexts: Cache<GivenKey, Context>,
    named: Named,
    /// Who stands for every patient that the bundle does not name.
    someone: PatientRef,
    /// The principals whom a policy is for alone.
    owners: HashSet<String>,
    /// The patients whom a policy is about alone.
    subjects: HashSet<String>,
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
                let rules: Vec<_> = bundle
                    .rules()
                    .iter()
                    .filter(|rule| fits_action(rule, &uid, vocabulary.actions()))
                    .map(|rule| Prepared {
                        principal: rule.policy().principal_constraint(),
                        rule: Arc::clone(rule),
                    })
                    .collect();
                let reads = rules.iter().map(|one| one.rule.reads());
                let reads = reads.fold(Reads::LEAST, Reads::union);
                (*action, OfAction { rules, reads })
            })
            .collect();
        let owner = |rule: &Rule| match rule.policy().principal_constraint() {
            PrincipalConstraint::Eq(one) => Some(one.id().unescaped().to_owned()),
            PrincipalConstraint::Any
            | PrincipalConstraint::In(_)
            | PrincipalConstraint::Is(_)
            | PrincipalConstraint::IsIn(..) => None,
        };
        let subject = |rule: &Rule| rule.about().patient().map(str::to_owned);
        let reads = bundle.policies().map(Rule::reads);
        Self {
            vocabulary,
            by_action,
            slices: Cache::new(MOST_SLICES),
            contexts: Cache::new(MOST_CONTEXTS),
            someone: PatientRef {
                system: "urn:chartgate:patient".to_owned(),
                id: "someone who is not named".to_owned(),
                source: PatientSource::Request,
            },
            named: Named::of(bundle.policies()),
            owners: bundle.policies().filter_map(owner).collect(),
            subjects: bundle.policies().filter_map(subject).collect(),
            attributes: reads.fold(Reads::LEAST, Reads::union).attributes,
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
            section: question.section.to_owned(),
            principal: self.owners.get(question.principal).map(ToOwned::to_owned),
            patient: question
                .patient
                .filter(|_| !self.subjects.is_empty())
                .and_then(|patient| self.subjects.get(&name_of(patient)))
                .map(ToOwned::to_owned),
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
            .flat_map(|(_, of_action)| &of_action.rules)
            .filter(|prepared| {
                let about = prepared.rule.about();
                let subject = about.patient();
                about.fits_section(&scope.section)
                    && subject.is_none_or(|one| scope.patient.as_deref() == Some(one))
                    && self.fits_principal(&prepared.principal, scope)
            })
            .map(|prepared| Arc::clone(&prepared.rule))
            .collect();
        let reads = rules
            .iter()
            .fold(Reads::LEAST, |reads, rule| reads.union(rule.reads()));
        let entities = self
            .vocabulary
            .entities(scope.kind, ANYONE, &scope.roles)
            .ok();
        Slice {
            // INVARIANT: ids are unique in a bundle, and a bundle holds no template, so no policy is lost here.
            policies: PolicySet::from_policies(rules.iter().map(|rule| rule.lean().clone()))
                .unwrap_or_default(),
            rules,
            reads,
            entities,
        }
    }

    fn fits_principal(&self, constraint: &PrincipalConstraint, scope: &Scope) -> bool {
        let kind = self.vocabulary.names().kind(scope.kind);
        // Anything but a role may be an ancestor that is not known here: such a policy stays in.
        let may_be_in = |of: &EntityUid| {
            !is_role(of)
                || scope
                    .roles
                    .iter()
                    .any(|role| role.as_str() == of.id().unescaped())
        };
        match constraint {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::In(of) => may_be_in(of),
            PrincipalConstraint::Eq(one) => {
                let id: &str = one.id().unescaped();
                one.type_name() == kind && scope.principal.as_deref() == Some(id)
            }
            PrincipalConstraint::Is(only) => only == kind,
            PrincipalConstraint::IsIn(only, of) => only == kind && may_be_in(of),
        }
    }

    /// Whom the bundle names.
    pub(super) const fn named(&self) -> &Named {
        &self.named
    }

    /// What the answers about `action` can depend on beyond roles and circumstances.
    pub(super) fn reads(&self, action: Action) -> Reads {
        let mut all = self.by_action.iter();
        // INVARIANT: there is one entry for each action; without one, everything counts.
        all.find(|(one, _)| *one == action)
            .map_or(Reads::MOST, |(_, of_action)| of_action.reads)
    }

    /// The entities that `slice` is asked with for anyone who is like everyone else to it.
    fn prebuilt<'s>(&self, slice: &'s Slice, principal: &str) -> Option<&'s Entities> {
        let is_anyone = match slice.reads.principal {
            PrincipalRead::Roles => true,
            PrincipalRead::Identity => {
                !self.named.has_principal(principal) && !self.named.has_principal(ANYONE)
            }
        };
        slice.entities.as_ref().filter(|_| is_anyone)
    }

    /// Asks the slice, without memory.
    #[must_use]
    pub fn ask(&self, slice: &Slice, question: &Question<'_>) -> Outcome {
        // INVARIANT: a slice lost no policy; a set that is smaller than its rules answers nothing.
        if slice.policies.num_of_policies() != slice.rules.len() {
            return Outcome::unanswerable();
        }
        let made;
        let (entities, principal) = match self.prebuilt(slice, question.principal) {
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
        let request = self.context(slice, question).and_then(|context| {
            let names = self.vocabulary.names();
            names.request_in(context, question, principal, None)
        });
        match request {
            Ok(request) => self.evaluate(slice, &request, entities),
            Err(error) => refused_to_ask(&error),
        }
    }

    /// The context of a question, as much of it as the slice reads. Questions differ in who does what where; their
    /// circumstances are few, and putting them into Cedar's words costs as much as evaluating a few policies.
    fn context(&self, slice: &Slice, question: &Question<'_>) -> Result<Context, String> {
        let given = Given::new(question, &self.named, slice.reads);
        if let Some(context) = self.contexts.get(&given) {
            return Ok(context);
        }
        let is_named = |patient: &PatientRef| self.named.has_patient(patient);
        let patient = match slice.reads.patient {
            PatientRead::Nothing => None,
            PatientRead::Presence | PatientRead::Identity => question.patient.map(|patient| {
                if is_named(patient) || is_named(&self.someone) {
                    patient
                } else {
                    &self.someone
                }
            }),
        };
        let question = Question {
            patient,
            ..*question
        };
        let names = self.vocabulary.names();
        let context = question
            .context(names, slice.reads.attributes)
            .map_err(|error| error.to_string())?;
        self.contexts.insert(given.into_key(), context.clone());
        Ok(context)
    }

    fn evaluate(
        &self,
        slice: &Slice,
        request: &cedar_policy::Request,
        entities: &Entities,
    ) -> Outcome {
        let Answer {
            verdict,
            policies,
            errors,
        } = answer(&self.authorizer, (request, &slice.policies, entities));
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
        Outcome {
            verdict,
            policies,
            errors,
            obligations,
        }
    }
}

/// What Cedar says to one request, as the gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) policies: Vec<String>,
    pub(super) errors: Vec<String>,
}

/// Asks Cedar.
pub(super) fn answer(
    authorizer: &Authorizer,
    (request, policies, entities): (&cedar_policy::Request, &PolicySet, &Entities),
) -> Answer {
    let response = authorizer.is_authorized(request, policies, entities);
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
        Decision::Allow => {
            policies.clear();
            Verdict::Deny
        }
        Decision::Deny => Verdict::Deny,
    };
    Answer {
        verdict,
        policies,
        errors,
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
