//! What must hold of every question: slices and memory change no answer, a forbid never admits, an error refuses.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Decision, PolicySet};
use proptest::prelude::*;

use super::bundle::Bundle;
use super::compile::{Compiled, Outcome};
use super::decide::Policies;
use super::question::{CareRelation, PrincipalKind, Purpose, Question};
use super::testing::{
    SHIPPED, SMALL, load, patient, question, roles, shipped_directory, small_with,
};
use crate::request::facts::Verdict;
use crate::request::{Action, PatientRef, Role};

/// Policies that read what the shipped ones do not: identities, patients, and a sum that overflows.
const WILD: &str = r#"
@id("wild-user")
@doc("One person reads the log.")
permit (principal == User::"main|2", action == Action::"Read", resource == Section::"log");
@id("wild-user-condition")
@doc("One person administers.")
@stepup("60s")
permit (principal, action == Action::"Administer", resource)
when { principal == User::"main|1" };
@id("wild-celebrity")
@doc("One chart is closed to all but one.")
forbid (principal, action, resource)
when { context has patient && context.patient == Patient::"urn:mrn|1" }
unless { principal == User::"main|2" };
@id("wild-patient")
@doc("Nurses disclose only of a named patient.")
permit (principal in Role::"nurse", action == Action::"Disclose", resource)
when { context has patient };
@id("wild-emr")
@doc("The archive is not written.")
forbid (principal, action in [Action::"Create", Action::"Update"], resource)
when { context.emr == Emr::"archive" };
@id("wild-overflow")
@doc("A forbid that fails from lockdown level 1 on.")
forbid (principal, action == Action::"Sign", resource)
when { context.lockdown + 9223372036854775807 < 0 };
@id("wild-service")
@doc("Programs search.")
permit (principal is Service, action == Action::"Search", resource)
when { context.purpose == "TREAT" };
@id("wild-action")
@doc("Administrators see unmapped pages.")
permit (principal is User in Role::"it-admin", action == Action::"Unmapped", resource);
"#;

/// The shipped bundle and the wild policies.
static WILD_BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let texts: Vec<_> = std::fs::read_dir(shipped_directory())
        .expect("policies/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cedar"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_str().expect("text");
            (
                name.to_owned(),
                std::fs::read_to_string(&path).expect("text"),
            )
        })
        .collect();
    let mut files: Vec<_> = texts
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    files.push(("wild.cedar", WILD));
    match load(&files) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
});
static WILD_COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(&WILD_BUNDLE));
static WILD_SET: LazyLock<PolicySet> = LazyLock::new(|| {
    PolicySet::from_policies(WILD_BUNDLE.policies().map(|rule| rule.policy().clone()))
        .expect("distinct ids")
});

/// A question that owns its parts.
#[derive(Debug, Clone)]
struct Asked {
    kind: PrincipalKind,
    principal: String,
    roles: BTreeSet<Role>,
    action: Action,
    section: String,
    sensitivity: String,
    emr: String,
    patient: Option<PatientRef>,
    care_relation: CareRelation,
    purpose: Purpose,
    lockdown: u8,
    flags: (bool, bool),
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question {
            kind: self.kind,
            principal: &self.principal,
            roles: &self.roles,
            mfa: self.flags.0,
            action: self.action,
            section: &self.section,
            sensitivity: &self.sensitivity,
            emr: &self.emr,
            patient: self.patient.as_ref(),
            care_relation: self.care_relation,
            purpose: self.purpose,
            lockdown: self.lockdown,
            break_glass: self.flags.1,
        }
    }
}

fn one_of(names: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

fn asked() -> impl Strategy<Value = Asked> {
    let role_names: Vec<_> = SHIPPED.vocabulary().roles().iter().cloned().collect();
    let mut section_names: Vec<_> = SHIPPED.vocabulary().sections().iter().cloned().collect();
    section_names.push("unheard-of".to_owned());
    let who = (
        prop::sample::select(PrincipalKind::ALL),
        one_of(&["main|1", "main|2", "main|3", "anyone", "a \"quoted\" one"]),
        prop::collection::btree_set(prop::sample::select(role_names), 0..4)
            .prop_map(|names| names.iter().map(|name| Role::new(name)).collect()),
    );
    let what = (
        prop::sample::select(Action::ALL),
        prop::sample::select(section_names),
        one_of(&["N", "R", "V", ""]),
        one_of(&["main", "archive"]),
        prop::option::of(one_of(&["1", "2"]).prop_map(|id| patient(&id))),
    );
    let when = (
        prop::sample::select(CareRelation::ALL),
        prop::sample::select(Purpose::ALL),
        prop_oneof![3 => Just(0_u8), 1 => 1..=4_u8],
        (prop::bool::weighted(0.9), any::<bool>()),
    );
    (who, what, when).prop_map(|(who, what, when)| Asked {
        kind: who.0,
        principal: who.1,
        roles: who.2,
        action: what.0,
        section: what.1,
        sensitivity: what.2,
        emr: what.3,
        patient: what.4,
        care_relation: when.0,
        purpose: when.1,
        lockdown: when.2,
        flags: when.3,
    })
}

fn fresh(compiled: &Compiled, question: &Question<'_>) -> Outcome {
    compiled.ask(&compiled.slice(question), question)
}

/// Everything evaluated, in the principal's own name, with nothing left out.
fn fully(
    bundle: &Bundle,
    set: &PolicySet,
    question: &Question<'_>,
) -> (Verdict, Vec<String>, Vec<String>) {
    let vocabulary = bundle.vocabulary();
    let entities = vocabulary
        .entities(question.kind, question.principal, question.roles)
        .expect("entities");
    let request = vocabulary
        .names()
        .request(question, question.principal, None)
        .expect("a request");
    let response = Authorizer::new().is_authorized(&request, set, &entities);
    let mut errors: Vec<_> = response
        .diagnostics()
        .errors()
        .map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(e) => e.policy_id().to_string(),
        })
        .collect();
    errors.sort();
    let mut policies: Vec<_> = response
        .diagnostics()
        .reason()
        .map(ToString::to_string)
        .collect();
    policies.sort();
    match (response.decision(), errors.is_empty()) {
        (Decision::Allow, true) => (Verdict::Allow, policies, errors),
        (Decision::Allow, false) => (Verdict::Deny, Vec::new(), errors),
        (Decision::Deny, _) => (Verdict::Deny, policies, errors),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_slice_answers_as_the_whole_bundle_does(asked in asked()) {
        let question = asked.question();
        let sliced = fresh(&WILD_COMPILED, &question);
        let full = fully(&WILD_BUNDLE, &WILD_SET, &question);
        prop_assert_eq!((sliced.verdict, sliced.policies, sliced.errors), full);
    }
}

#[test]
fn a_slice_holds_a_handful_of_policies() {
    let roles = roles(&["physician"]);
    let compiled = Compiled::new(&SHIPPED);
    let slice = compiled.slice(&question(&roles, Action::Read, "notes"));
    assert!(slice.rules().len() <= 10, "{}", slice.rules().len());
    assert!(SHIPPED.policies().len() >= 80);
}

/// Forbids of every kind of scope and condition.
const FORBIDS: &[&str] = &[
    "forbid (principal, action, resource);",
    r#"forbid (principal in Role::"nurse", action, resource);"#,
    r#"forbid (principal == User::"main|1", action, resource);"#,
    "forbid (principal is Service, action, resource);",
    r#"forbid (principal, action == Action::"Read", resource);"#,
    r#"forbid (principal, action in [Action::"Export", Action::"Search"], resource);"#,
    r#"forbid (principal, action, resource == Section::"notes");"#,
    "forbid (principal, action, resource) when { context.break_glass };",
    "forbid (principal, action, resource) unless { context has patient };",
    r#"forbid (principal, action, resource) when { context has patient && context.patient == Patient::"urn:mrn|1" };"#,
    r#"forbid (principal, action, resource) when { context.lockdown + 9223372036854775807 > 0 };"#,
    r#"forbid (principal, action, resource) when { !(principal in [Role::"nurse", Role::"him"]) };"#,
];

static SMALL_COMPILED: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(&small_with("")));
static WITH_FORBID: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    FORBIDS
        .iter()
        .map(|forbid| {
            let text = format!("@id(\"more\")\n@doc(\"One more.\")\n{forbid}");
            Compiled::new(&small_with(&text))
        })
        .collect()
});
static WITHOUT_EXPORT: LazyLock<Compiled> = LazyLock::new(|| {
    let (kept, _) = SMALL.split_once("@id(\"export\")").expect("two policies");
    Compiled::new(&load(&[("small.cedar", kept)]).expect("a bundle"))
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_forbid_more_never_admits(asked in asked()) {
        let question = asked.question();
        let before = fresh(&SMALL_COMPILED, &question).verdict;
        for (forbid, compiled) in FORBIDS.iter().zip(WITH_FORBID.iter()) {
            let after = fresh(compiled, &question).verdict;
            prop_assert!(!(before == Verdict::Deny && after == Verdict::Allow), "{}", forbid);
        }
    }

    #[test]
    fn a_permit_less_never_admits(asked in asked()) {
        let question = asked.question();
        let before = fresh(&SMALL_COMPILED, &question).verdict;
        let after = fresh(&WITHOUT_EXPORT, &question).verdict;
        prop_assert!(!(before == Verdict::Deny && after == Verdict::Allow));
    }
}

/// What happens to a gateway while requests come in.
#[derive(Debug, Clone)]
enum Step {
    Ask(Box<Asked>),
    Activate(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few distinct questions, so that most come again.
    prop::collection::vec(asked(), 1..5).prop_flat_map(|questions| {
        let step = prop_oneof![
            6 => prop::sample::select(questions).prop_map(|asked| Step::Ask(Box::new(asked))),
            1 => (0..3_usize).prop_map(Step::Activate),
        ];
        prop::collection::vec(step, 1..30)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_remembered_answer_is_a_fresh_one(steps in steps()) {
        static BUNDLES: LazyLock<[Bundle; 3]> = LazyLock::new(|| {
            [WILD_BUNDLE.clone(), SHIPPED.clone(), small_with("")]
        });
        let mut current = 0;
        let policies = Policies::new(BUNDLES[0].clone(), 0);
        for (generation, step) in (1..).zip(steps) {
            match step {
                Step::Activate(next) => {
                    current = next;
                    policies.activate(BUNDLES[next].clone(), generation);
                    prop_assert_eq!(policies.active().generation(), generation);
                }
                Step::Ask(asked) => {
                    let question = asked.question();
                    let remembered = policies.active().ask(&question);
                    let fresh = fresh(&Compiled::new(&BUNDLES[current]), &question);
                    prop_assert_eq!(&*remembered, &fresh);
                }
            }
        }
    }
}

#[test]
fn a_policy_that_fails_refuses_whatever_permits() {
    let nurse = roles(&["nurse"]);
    let asked = Question {
        lockdown: 1,
        ..question(&nurse, Action::Read, "notes")
    };
    let calm = Question {
        lockdown: 0,
        ..asked
    };
    for effect in ["permit", "forbid"] {
        let text = format!(
            "@id(\"failing\")\n@doc(\"Fails from level 1 on.\")\n{effect} (principal, action, resource) when {{ context.lockdown + 9223372036854775807 < 0 }};"
        );
        let compiled = Compiled::new(&small_with(&text));
        assert_eq!(fresh(&compiled, &calm).verdict, Verdict::Allow, "{effect}");
        let failed = fresh(&compiled, &asked);
        assert_eq!(failed.verdict, Verdict::Deny, "{effect}");
        assert_eq!(failed.errors, ["failing"], "{effect}");
        assert!(failed.policies.is_empty(), "{effect}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Requests are not checked against the schema one by one because of this.
    #[test]
    fn every_question_conforms_to_the_schema(asked in asked()) {
        let text = std::fs::read_to_string(shipped_directory().join("schema.cedarschema")).expect("the schema");
        let (schema, _) = cedar_policy::Schema::from_cedarschema_str(&text).expect("a schema");
        let known = SHIPPED.vocabulary().sections().contains(&asked.section);
        let question = asked.question();
        let request = SHIPPED.vocabulary().names().request(&question, &asked.principal, Some(&schema));
        prop_assert_eq!(request.is_ok(), known, "{:?}", request);
    }
}
