//! Cedar's own integration tests, asked as the gateway asks.
//!
//! They have vocabularies of their own, so they go through [`answer`] (Cedar, and the rule that a policy which fails
//! refuses) and not through slices. `cedar_corpus/NOTICE` says where they are from.

use cedar_policy::{
    Authorizer, Context, Entities, EntityUid, PolicySet, Request, Schema, ValidationMode, Validator,
};
use serde_json::Value;

use crate::policy::compile::answer;
use crate::request::facts::Verdict;

const TESTS: &str = include_str!("cedar_corpus/tests.json");

fn ids(value: &Value) -> Vec<String> {
    let mut ids: Vec<String> = serde_json::from_value(value.clone()).expect("ids");
    ids.sort();
    ids
}

fn request(asked: &Value, schema: &Schema) -> Request {
    let uid = |part: &str| EntityUid::from_json(asked[part].clone()).expect("an entity");
    let action = uid("action");
    let checked = asked["validateRequest"].as_bool().unwrap_or(true);
    let schema = checked.then_some(schema);
    let context = Context::from_json_value(
        asked["context"].clone(),
        schema.map(|schema| (schema, &action)),
    );
    let context = context.expect("a context");
    let (principal, resource) = (uid("principal"), uid("resource"));
    Request::new(principal, action, resource, context, schema).expect("a request")
}

#[test]
fn cedars_own_tests_come_out_as_published() {
    let tests: Vec<Value> = serde_json::from_str(TESTS).expect("the corpus");
    let (mut asked, mut failing) = (0_usize, 0_usize);
    for test in &tests {
        let name = test["name"].as_str().expect("a name");
        let text = |part: &str| test[part].as_str().expect("text");
        let policies: PolicySet = text("policies").parse().expect("policies");
        let (schema, _) = Schema::from_cedarschema_str(text("schema")).expect("a schema");
        let validated = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        assert_eq!(
            Value::Bool(validated.validation_passed()),
            test["shouldValidate"],
            "{name}"
        );
        let entities = Entities::from_json_value(test["entities"].clone(), Some(&schema));
        let entities = entities.expect("entities");
        for one in test["requests"].as_array().expect("requests") {
            let request = request(one, &schema);
            let found = answer(&Authorizer::new(), (&request, &policies, &entities));
            let errors = ids(&one["errors"]);
            let allows = one["decision"] == "allow";
            // The one rule that the gateway adds: what fails refuses.
            let expected = if allows && errors.is_empty() {
                Verdict::Allow
            } else {
                Verdict::Deny
            };
            let reason = if allows && !errors.is_empty() {
                Vec::new()
            } else {
                ids(&one["reason"])
            };
            assert_eq!(found.verdict, expected, "{name}: {}", one["description"]);
            assert_eq!(
                (found.policies, &found.errors),
                (reason, &errors),
                "{name}: {}",
                one["description"]
            );
            asked = asked.saturating_add(1);
            failing = failing.saturating_add(usize::from(!errors.is_empty()));
        }
    }
    assert!(
        tests.len() >= 72 && asked >= 470 && failing > 0,
        "{asked} {failing}"
    );
}
