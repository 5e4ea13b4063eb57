//! Says why a decision came out as it did: what applied, and for everything else what kept it from applying.
//!
//! The policies are asked one by one, and the conditions of those that did not apply clause by clause. Nothing here
//! decides: the verdict is that of [`Compiled::ask`].

mod clause;

use std::path::PathBuf;

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, Entities, EntityTypeName, EntityUid, Policy, PolicySet,
    PrincipalConstraint, Request, ResourceConstraint,
};
use serde::Serialize;

use super::bundle::Bundle;
use super::compile::{Compiled, Outcome};
use super::rule::Rule;
use super::scene::Scene;

/// Why a decision came out as it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub outcome: Outcome,
    /// What each policy of the bundle had to do with it, by file and line.
    pub policies: Vec<Finding>,
}

/// What one policy had to do with a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its `@id`.
    pub id: String,
    /// Its `@doc`.
    pub doc: String,
    /// Its file, relative to the bundle's directory.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What it had to do with the decision.
    #[serde(flatten)]
    pub bearing: Bearing,
}

/// What a policy had to do with a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "bearing", rename_all = "snake_case")]
pub enum Bearing {
    /// It applied, and decided.
    Decided,
    /// It applied, and something stronger decided.
    Overruled,
    /// It failed while it was evaluated.
    Failed,
    /// Who, what and where fit; these clauses did not.
    Unmet {
        /// The clauses, in words.
        clauses: Vec<String>,
    },
    /// It is about someone or something else.
    Elsewhere {
        /// What about, in words.
        scope: Vec<String>,
    },
}

impl Explanation {
    /// Explains what `bundle`, made ready as `compiled`, says to `scene`.
    #[must_use]
    pub fn of(bundle: &Bundle, compiled: &Compiled, scene: &Scene) -> Self {
        let question = scene.question();
        let outcome = compiled.ask(&compiled.slice(&question), &question);
        let policies = match Bench::set_up(bundle, scene) {
            Some(bench) => bundle
                .policies()
                .map(|rule| bench.finding(rule, scene, &outcome))
                .collect(),
            // The question cannot be put, and the outcome says so.
            None => Vec::new(),
        };
        Self { outcome, policies }
    }
}

/// The question, ready to be put to single policies.
struct Bench<'b> {
    bundle: &'b Bundle,
    request: Request,
    entities: Entities,
    authorizer: Authorizer,
}

/// What a single policy says to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Applies,
    Not,
    Failed,
}

impl<'b> Bench<'b> {
    fn set_up(bundle: &'b Bundle, scene: &Scene) -> Option<Self> {
        let vocabulary = bundle.vocabulary();
        let question = scene.question();
        Some(Self {
            bundle,
            request: vocabulary
                .names()
                .request(&question, &scene.principal, None)
                .ok()?,
            entities: vocabulary
                .entities(scene.kind, &scene.principal, &scene.roles)
                .ok()?,
            authorizer: Authorizer::new(),
        })
    }

    fn ask(&self, policy: &Policy) -> Said {
        let Ok(alone) = PolicySet::from_policies([policy.clone()]) else {
            return Said::Failed;
        };
        let response = self
            .authorizer
            .is_authorized(&self.request, &alone, &self.entities);
        if response.diagnostics().errors().next().is_some() {
            Said::Failed
        } else if response.diagnostics().reason().next().is_some() {
            Said::Applies
        } else {
            Said::Not
        }
    }

    fn finding(&self, rule: &Rule, scene: &Scene, outcome: &Outcome) -> Finding {
        let scope = self.scope(rule.policy(), scene);
        let bearing = if scope.is_empty() {
            self.bearing(rule, scene, outcome)
        } else {
            Bearing::Elsewhere { scope }
        };
        Finding {
            id: rule.id().to_owned(),
            doc: rule.doc().to_owned(),
            file: rule.file().to_owned(),
            line: rule.line(),
            effect: match rule.effect() {
                Effect::Permit => "permit",
                Effect::Forbid => "forbid",
            },
            bearing,
        }
    }

    /// What a policy had to do with the decision whose scope fits.
    fn bearing(&self, rule: &Rule, scene: &Scene, outcome: &Outcome) -> Bearing {
        match self.ask(rule.policy()) {
            Said::Applies if outcome.policies.iter().any(|id| id == rule.id()) => Bearing::Decided,
            Said::Applies => Bearing::Overruled,
            Said::Failed => Bearing::Failed,
            Said::Not => Bearing::Unmet {
                clauses: clause::unmet(rule.policy(), scene, |policy| self.ask(policy)),
            },
        }
    }

    /// What of the policy's scope does not fit, in words.
    fn scope(&self, policy: &Policy, scene: &Scene) -> Vec<String> {
        let names = self.bundle.vocabulary().names();
        let principal = names.principal(scene.kind, &scene.principal);
        let resource = names.section(&scene.section);
        let action = names.action(scene.action);
        let is_in =
            |uid: &EntityUid, of: &EntityUid| uid == of || self.entities.is_ancestor_of(of, uid);
        let is = |uid: &EntityUid, kind: &EntityTypeName| uid.type_name() == kind;
        let who = match policy.principal_constraint() {
            PrincipalConstraint::Any => None,
            PrincipalConstraint::Eq(one) => (one != principal).then(|| one.to_string()),
            PrincipalConstraint::In(of) => (!is_in(&principal, &of)).then(|| of.to_string()),
            PrincipalConstraint::Is(kind) => {
                (!is(&principal, &kind)).then(|| format!("any {kind}"))
            }
            PrincipalConstraint::IsIn(kind, of) => (!is(&principal, &kind)
                || !is_in(&principal, &of))
            .then(|| format!("{kind} in {of}")),
        };
        let what = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(one) => (one != action).then(|| one.id().unescaped().to_owned()),
            ActionConstraint::In(list) => (!list.iter().any(|of| is_in(&action, of))).then(|| {
                let listed: Vec<_> = list.iter().map(|of| of.id().unescaped()).collect();
                listed.join(", ")
            }),
        };
        let place = match policy.resource_constraint() {
            ResourceConstraint::Any => None,
            ResourceConstraint::Eq(one) => (one != resource).then(|| one.to_string()),
            ResourceConstraint::In(of) => (!is_in(&resource, &of)).then(|| of.to_string()),
            ResourceConstraint::Is(kind) => (!is(&resource, &kind)).then(|| format!("any {kind}")),
            ResourceConstraint::IsIn(kind, of) => {
                (!is(&resource, &kind) || !is_in(&resource, &of)).then(|| format!("{kind} in {of}"))
            }
        };
        let roles: Vec<_> = scene.roles.iter().map(ToString::to_string).collect();
        let roles = if roles.is_empty() {
            "no role".to_owned()
        } else {
            format!("the roles {}", roles.join(", "))
        };
        [
            who.map(|who| format!("it is about {who}; this is a {} with {roles}", kind(scene))),
            what.map(|what| format!("it is about {what}; this is {}", scene.action.name())),
            place.map(|place| format!("it is about {place}; this is \"{}\"", scene.section)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

const fn kind(scene: &Scene) -> &'static str {
    use super::question::PrincipalKind;
    match scene.kind {
        PrincipalKind::User => "person",
        PrincipalKind::Service => "program",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::question::CareRelation;
    use crate::policy::scene::patient;
    use crate::policy::tests::{SHIPPED, roles, small_with};
    use crate::request::Action;
    use crate::request::facts::Verdict;

    fn explain(bundle: &Bundle, scene: &Scene) -> Explanation {
        Explanation::of(bundle, &Compiled::new(bundle), scene)
    }

    fn bearing<'e>(explanation: &'e Explanation, id: &str) -> &'e Bearing {
        let found = explanation.policies.iter().find(|policy| policy.id == id);
        &found.expect("the policy").bearing
    }

    fn unmet(explanation: &Explanation, id: &str) -> Vec<String> {
        let Bearing::Unmet { clauses } = bearing(explanation, id) else {
            panic!("{id}: {explanation:?}");
        };
        clauses.clone()
    }

    #[test]
    fn a_permit_is_named_and_its_neighbours_say_what_they_lack() {
        let scene = Scene {
            patient: Some(patient("4")),
            care_relation: CareRelation::Unrelated,
            ..Scene::new(roles(&["physician"]), Action::Read, "notes")
        };
        let refused = explain(&SHIPPED, &scene);
        assert_eq!(refused.outcome.verdict, Verdict::Deny);
        assert_eq!(
            unmet(&refused, "physician-chart"),
            [
                "`[\"assigned\", \"unknown\"].contains(context.care_relation) || context.break_glass` does not hold: \
                 break_glass is false, care_relation is \"none\""
            ]
        );
        assert_eq!(
            *bearing(&refused, "nurse-chart"),
            Bearing::Elsewhere {
                scope: vec![
                    "it is about Role::\"nurse\"; this is a person with the roles physician"
                        .to_owned()
                ]
            }
        );
        let granted = Scene {
            break_glass: true,
            ..scene
        };
        let permitted = explain(&SHIPPED, &granted);
        assert_eq!(*bearing(&permitted, "physician-chart"), Bearing::Decided);
    }

    #[test]
    fn a_forbid_that_decides_overrules_and_one_that_does_not_says_what_lifts_it() {
        let scene = Scene {
            lockdown: 4,
            zone: "on-site".to_owned(),
            ..Scene::new(roles(&["nurse"]), Action::Search, "demographics")
        };
        let explanation = explain(&SHIPPED, &scene);
        assert_eq!(
            *bearing(&explanation, "lockdown-4-downtime"),
            Bearing::Decided
        );
        assert_eq!(*bearing(&explanation, "nurse-index"), Bearing::Overruled);
        let clauses = unmet(&explanation, "mfa-for-everything");
        assert_eq!(
            clauses,
            ["`context.mfa` holds, which lifts it: mfa is true"]
        );
        let clauses = unmet(&explanation, "lockdown-3-clinical-core");
        assert_eq!(clauses.len(), 1, "{clauses:?}");
        assert!(clauses[0].contains("principal in [Role::"), "{clauses:?}");
        let open = Scene {
            lockdown: 0,
            ..scene
        };
        assert_eq!(
            unmet(&explain(&SHIPPED, &open), "lockdown-4-downtime"),
            ["`context.lockdown >= 4` does not hold: lockdown is 0"]
        );
    }

    #[test]
    fn a_guard_stops_where_evaluation_would() {
        let bundle = small_with(
            r#"@id("closed") @doc("x") forbid (principal, action, resource)
            when { context has patient && context.patient == Patient::"urn:mrn|2" && context.lockdown > 1 };
            @id("bad") @doc("x") forbid (principal, action, resource)
            when { context.lockdown + 9223372036854775807 < 0 };"#,
        );
        let scene = Scene::new(roles(&["nurse"]), Action::Read, "notes");
        let explanation = explain(&bundle, &scene);
        assert_eq!(
            unmet(&explanation, "closed"),
            ["`context has patient` does not hold: there is no patient"]
        );
        let scene = Scene {
            patient: Some(patient("urn:mrn|1")),
            lockdown: 1,
            ..scene
        };
        let explanation = explain(&bundle, &scene);
        assert_eq!(unmet(&explanation, "closed").len(), 2);
        assert_eq!(*bearing(&explanation, "bad"), Bearing::Failed);
        assert_eq!(explanation.outcome.verdict, Verdict::Deny);
        assert_eq!(*bearing(&explanation, "read"), Bearing::Overruled);
    }
}
