//! What must hold of every evaluation: slices change no answer, a forbid never admits, an error refuses.

use std::sync::LazyLock;

use cedar_policy::{Authorizer, Decision, PolicySet, Schema};
use proptest::prelude::*;

use super::asked::{WILD_BUNDLE, WILD_COMPILED, WILD_SET, asked, fresh};
use super::{SHIPPED, SMALL, load, question, roles, shipped_directory, small_with};
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::question::Question;
use crate::request::Action;
use crate::request::facts::Verdict;

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
    r"forbid (principal, action, resource) when { context.lockdown + 9223372036854775807 > 0 };",
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
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let path = shipped_directory().join("schema.cedarschema");
            let text = std::fs::read_to_string(path).expect("the schema");
            Schema::from_cedarschema_str(&text).expect("a schema").0
        });
        let known = SHIPPED.vocabulary().sections().contains(&asked.section);
        let question = asked.question();
        let request = SHIPPED.vocabulary().names().request(&question, &asked.principal, Some(&SCHEMA));
        prop_assert_eq!(request.is_ok(), known, "{:?}", request);
    }
}
