//! The room over a store that outlives it, with sign-in, sessions and grants below it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::patch::{Filter, Patched, apply};
use super::person::{Person, Wrong};

fn person() -> Person {
    let resource = json!({
        "schemas": [super::person::USER],
        "userName": "Nurse.Lee@hospital.example",
        "externalId": "7",
        "name": { "formatted": "Lee, N." },
        "active": true,
        "groups": [{ "value": "emr-nurses" }, { "value": "ward-3" }],
        "roles": [{ "value": "nurse", "primary": true }],
        "emails": [{ "value": "x@y", "type": "work" }],
    });
    let now = "2026-11-25T08:00:00Z".parse().unwrap();
    Person::read(resource.as_object().unwrap(), None, "id-1", now).unwrap()
}

fn patched(operations: &Value) -> Result<Patched, Wrong> {
    let body = json!({ "Operations": operations });
    apply(&person(), body.as_object().unwrap())
}

#[test]
fn a_user_is_read_and_given_back() {
    let person = person();
    assert_eq!(person.display.as_deref(), Some("Lee, N."));
    assert_eq!(person.rights.len(), 3);
    let back = person.resource("https://h/Users");
    assert_eq!(back["meta"]["location"], "https://h/Users/id-1");
    assert_eq!(back["groups"].as_array().unwrap().len(), 2);
    let now = "2026-11-26T08:00:00Z".parse().unwrap();
    let again = Person::read(back.as_object().unwrap(), Some(&person), "x", now).unwrap();
    assert_eq!((again.id, again.rights), (person.id, person.rights));
}

#[test]
fn what_names_nobody_or_is_of_another_type_is_refused() {
    let now = "2026-11-25T08:00:00Z".parse().unwrap();
    for bad in [
        json!({}),
        json!({ "userName": null }),
        json!({ "userName": "" }),
        json!({ "userName": " a" }),
        json!({ "userName": "a\nb" }),
        json!({ "userName": "a".repeat(256) }),
        json!({ "userName": ["a"] }),
        json!({ "userName": "a", "active": "perhaps" }),
        json!({ "userName": "a", "active": 0 }),
        json!({ "userName": "a", "groups": [7] }),
    ] {
        let read = Person::read(bad.as_object().unwrap(), None, "i", now);
        assert_eq!(read, Err(Wrong::Value), "{bad}");
    }
}

/// As Entra ID, Okta and others spell it.
#[test]
fn deactivation_is_understood_in_every_spelling() {
    for operations in [
        json!([{ "op": "replace", "path": "active", "value": false }]),
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
        json!([{ "op": "replace", "value": { "active": false } }]),
        json!([{ "op": "Add", "path": "Active", "value": "false" }]),
        json!([{ "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }]),
    ] {
        assert!(!patched(&operations).unwrap().person.active, "{operations}");
    }
    for operations in [
        json!([{ "op": "replace", "path": "active", "value": "no" }]),
        json!([{ "op": "remove", "path": "active" }]),
        json!([{ "op": "remove", "path": "userName" }]),
        json!([{ "op": "move", "path": "active", "value": false }]),
        json!([{ "path": "active", "value": false }]),
        json!([7]),
        json!([{ "op": "replace", "path": 7, "value": false }]),
        json!("x"),
    ] {
        assert!(patched(&operations).is_err(), "{operations}");
    }
}

#[test]
fn a_change_of_rights_never_passes_unseen() {
    let rights = |operations: Value| {
        let patched = patched(&operations).unwrap();
        (patched.person.rights, patched.rights_unclear)
    };
    let before = person().rights;
    for (operations, count) in [
        (
            json!([{ "op": "remove", "path": "groups[value eq \"ward-3\"]" }]),
            2,
        ),
        (
            json!([{ "op": "remove", "path": "groups", "value": [{ "value": "ward-3" }] }]),
            2,
        ),
        (json!([{ "op": "remove", "path": "groups" }]), 1),
        (
            json!([{ "op": "add", "path": "groups", "value": [{ "value": "ward-4" }] }]),
            4,
        ),
        (
            json!([{ "op": "replace", "path": "roles", "value": "physician" }]),
            3,
        ),
        (
            json!([{ "op": "replace", "value": { "entitlements": ["x"] } }]),
            4,
        ),
    ] {
        let (after, unclear) = rights(operations.clone());
        assert!(after != before && !unclear, "{operations}");
        assert_eq!(after.len(), count, "{operations}");
    }
    for operations in [
        json!([{ "op": "Replace", "path": "roles[primary eq \"True\"].value", "value": "x" }]),
        json!([{ "op": "remove", "path": "groups[display sw \"w\"]" }]),
        json!([{ "op": "add", "path": "groups.x", "value": "y" }]),
    ] {
        assert!(rights(operations.clone()).1, "{operations}");
    }
    // What is not kept changes nothing.
    let other =
        json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "z" }]);
    assert_eq!(rights(other), (before, false));
}

#[test]
fn users_are_found_by_name_in_any_case_and_by_identifiers() {
    let person = person();
    let finds = |text: &str| Filter::read(text).map(|filter| filter.finds(&person));
    assert_eq!(
        finds("userName eq \"nurse.lee@HOSPITAL.example\""),
        Ok(true)
    );
    assert_eq!(finds("USERNAME EQ \"other\""), Ok(false));
    assert_eq!(finds("externalId eq \"7\""), Ok(true));
    assert_eq!(finds("id eq \"id-1\""), Ok(true));
    for bad in [
        "",
        "userName",
        "userName eq",
        "userName eq nurse",
        "userName co \"n\"",
        "userName eq \"a\" or active eq true",
        "password eq \"x\"",
    ] {
        assert_eq!(finds(bad), Err(Wrong::Filter), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_patch_is_applied_or_refused_and_never_brings_someone_back_unasked(
        verb in "[a-zA-Z]{2,8}", path in "[a-zA-Z\\[\\]. \"]{0,24}", value in "[a-z\"]{0,8}",
    ) {
        let mut inactive = person();
        inactive.active = false;
        let body = json!({ "Operations": [{ "op": verb, "path": path, "value": value }] });
        if let Ok(patched) = apply(&inactive, body.as_object().unwrap()) {
            let asked = path.to_lowercase().contains("active") && value == "true";
            prop_assert!(!patched.person.active || asked);
        }
        let _ = Filter::read(&path);
    }
}
