use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mapping(change: impl FnOnce(&mut ClaimMapping)) -> ClaimMapping {
    let mut mapping = ClaimMapping::with_roles("/groups");
    change(&mut mapping);
    mapping
}

fn read(claims: &Value, change: impl FnOnce(&mut ClaimMapping)) -> Result<Person, ClaimsError> {
    Person::read(claims, &mapping(change))
}

fn strip(mapping: &mut ClaimMapping) {
    mapping.name_strip_domain = Some("hospital.example".to_owned());
}

fn stripped(name: &Value) -> Result<String, ClaimsError> {
    let claims = json!({"sub": "u1", "preferred_username": name});
    read(&claims, strip).map(|person| person.name)
}

#[test]
fn the_subject_is_the_claim_that_is_named_and_nothing_else() {
    let claims = json!({"sub": "u1", "oid": "o1", "deep": {"id": "d1"}, "many": ["m1"]});
    let subject = |pointer: &str| {
        let found = read(&claims, |m| m.subject = pointer.to_owned());
        found.map(|person| person.subject)
    };
    assert_eq!(subject("/sub").as_deref(), Ok("u1"));
    assert_eq!(subject("/oid").as_deref(), Ok("o1"));
    assert_eq!(subject("/deep/id").as_deref(), Ok("d1"));
    // No way back to `sub`: that would be someone else's identifier.
    for none in ["/none", "/deep", "/many", "/sub/x"] {
        assert_eq!(
            subject(none),
            Err(ClaimsError::Claim("subject_claim")),
            "{none}"
        );
    }
}

/// oauth2-proxy CVE-2026-40574: `a@evil@hosp.org`.
#[test]
fn cve_2026_40574_a_domain_is_taken_off_only_where_the_rest_is_one_persons() {
    for (name, kept) in [
        ("a@hospital.example", "a"),
        ("J\u{fc}rgen@hospital.example", "J\u{fc}rgen"),
        ("a@b@hospital.example", "a@b@hospital.example"),
        ("a@HOSPITAL.example", "a@HOSPITAL.example"),
        ("a@other.example", "a@other.example"),
        (
            "a@hospital.example.evil.example",
            "a@hospital.example.evil.example",
        ),
        ("a@evil.hospital.example", "a@evil.hospital.example"),
        ("@hospital.example", "@hospital.example"),
        ("a@", "a@"),
    ] {
        assert_eq!(stripped(&json!(name)).as_deref(), Ok(kept), "{name}");
    }
    for none in [
        json!("a"),
        json!(null),
        json!(["a@hospital.example"]),
        json!(7),
        json!(""),
        json!(" a@hospital.example"),
        json!("a @hospital.example"),
        json!(format!("{}@hospital.example", "x".repeat(255))),
    ] {
        assert_eq!(stripped(&none), Err(ClaimsError::Name), "{none}");
    }
}

#[test]
fn a_suffix_ends_every_name() {
    let named = |claims: &Value| {
        read(claims, |m| m.name_suffix = Some("@partner".to_owned())).map(|person| person.name)
    };
    let claims = json!({"sub": "u1", "preferred_username": "dr.adams"});
    assert_eq!(named(&claims).as_deref(), Ok("dr.adams@partner"));
    assert_eq!(named(&json!({"sub": "u1"})).as_deref(), Ok("u1@partner"));
    let long = json!({"sub": "u1", "preferred_username": "x".repeat(250)});
    assert_eq!(named(&long), Err(ClaimsError::Name));
}

#[test]
fn roles_come_from_every_claim_that_is_named() {
    let claims = json!({"sub": "u1", "groups": ["a", "b"], "realm": {"roles": ["b", "c"]}, "one": "d", "odd": ["e", 1]});
    let values = read(&claims, |m| {
        let named = ["/groups", "/realm/roles", "/one", "/odd", "/none"];
        m.roles = named.map(str::to_owned).to_vec();
    });
    assert_eq!(values.unwrap().role_values, ["a", "b", "c", "d"]);
}

/// OctopusDeploy#8388: too many groups looked like none.
#[test]
fn groups_that_are_elsewhere_are_noticed_in_every_spelling() {
    let elsewhere = |claims: Value, roles: &str| {
        let found = read(&claims, |m| m.roles = vec![roles.to_owned()]);
        found.unwrap().roles_elsewhere
    };
    let named = json!({"sub": "u", "_claim_names": {"groups": "src1", "a/b": "src1"}});
    assert!(elsewhere(named.clone(), "/groups"));
    assert!(elsewhere(named.clone(), "/groups/0"));
    assert!(elsewhere(named.clone(), "/a~1b"));
    assert!(!elsewhere(named, "/roles"));
    for has in [json!(true), json!("true")] {
        let claims = json!({"sub": "u", "hasgroups": has});
        assert!(elsewhere(claims.clone(), "/groups"));
        assert!(!elsewhere(claims, "/roles"));
    }
    for not in [
        json!(false),
        json!("false"),
        json!(null),
        json!([]),
        json!(1),
    ] {
        assert!(!elsewhere(json!({"sub": "u", "hasgroups": not}), "/groups"));
    }
    // Some of them in the token are not all of them.
    let some = json!({"sub": "u", "groups": ["a"], "_claim_names": {"groups": "src1"}});
    assert!(elsewhere(some, "/groups"));
}

#[test]
fn a_department_is_the_claims_or_what_the_table_calls_it() {
    let claims = |value: Value| json!({"sub": "u1", "ou": value});
    let plain = |value: Value| {
        let found = read(&claims(value), |m| m.department = Some("/ou".to_owned()));
        found.unwrap().department
    };
    assert_eq!(plain(json!("Cardiology")).as_deref(), Some("Cardiology"));
    for none in [
        json!(null),
        json!(["x"]),
        json!("a\nb"),
        json!(""),
        json!(1),
    ] {
        assert_eq!(plain(none), None);
    }
    let table: BTreeMap<_, _> = [("4711", "cardiology"), ("4712", "surgery")]
        .map(|(value, name)| (value.to_owned(), name.to_owned()))
        .into();
    let mapped = |value: Value| {
        let found = read(&claims(value), |m| {
            m.department = Some("/ou".to_owned());
            m.departments = table.clone();
        });
        found.unwrap().department
    };
    assert_eq!(mapped(json!("4711")).as_deref(), Some("cardiology"));
    assert_eq!(
        mapped(json!(["x", "4712", "4711"])).as_deref(),
        Some("surgery")
    );
    assert_eq!(mapped(json!("cardiology")), None);
    assert_eq!(
        read(&claims(json!("4711")), |_| {}).unwrap().department,
        None
    );
}

#[test]
fn an_address_of_a_domain_that_is_demanded_has_one_at_sign_and_is_not_unverified() {
    let accepted = |claims: Value| {
        read(&claims, |m| {
            m.require_email_domains = vec!["hosp.org".to_owned()];
        })
        .is_ok()
    };
    let with = |email: Value| json!({"sub": "u1", "email": email});
    assert!(accepted(with(json!("a@hosp.org"))));
    assert!(accepted(with(json!("a@HOSP.org"))));
    for refused in [
        json!("a@evil@hosp.org"),
        json!("a@evil.org"),
        json!("a@evilhosp.org"),
        json!("a@hosp.org.evil.org"),
        json!("a@x.hosp.org"),
        json!("@hosp.org"),
        json!("hosp.org"),
        json!("a@hosp.org\u{200b}"),
        json!("a@ho\u{455}p.org"),
        json!(["a@hosp.org"]),
        json!(null),
        json!(""),
    ] {
        assert!(!accepted(with(refused.clone())), "{refused}");
    }
    for (verified, is_fine) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(null), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(1), false),
        (json!([true]), false),
    ] {
        let claims = json!({"sub": "u1", "email": "a@hosp.org", "email_verified": verified});
        assert_eq!(accepted(claims), is_fine, "{verified}");
    }
}

proptest! {
    /// No two claims give one name, whatever is taken off.
    #[test]
    fn names_stay_apart(a in "[ab@.]{1,8}(@hospital\\.example)?", b in "[ab@.]{1,8}(@hospital\\.example)?") {
        let (one, other) = (stripped(&json!(a)), stripped(&json!(b)));
        if a != b && one.is_ok() {
            prop_assert_ne!(one, other);
        }
    }
}
