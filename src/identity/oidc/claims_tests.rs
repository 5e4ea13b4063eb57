use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::issuer::ClaimMapping;
use crate::config::step_up::PhishingResistant;
use crate::config::{MfaEvidence, MfaRequire};
use crate::identity::oidc::person::Person;
use crate::identity::oidc::training::StatedTraining;

const NOW: i64 = 1_800_000_000;

fn issuer() -> Issuer {
    let mfa = MfaEvidence {
        acr: vec!["loa-5".into()],
        amr: Vec::new(),
        require: MfaRequire::Any,
        phishing_resistant: PhishingResistant::default(),
    };
    Issuer {
        claims: ClaimMapping {
            training: Some("/training_valid_until".to_owned()),
            ..ClaimMapping::with_roles("/realm/groups")
        },
        ..Issuer::for_test("https://op.example/", mfa)
    }
}

/// What a token proves, and who the person is.
#[derive(Debug, PartialEq)]
struct Whole {
    subject: String,
    name: String,
    role_values: Vec<String>,
    roles_elsewhere: bool,
    training: StatedTraining,
    proof: Proof,
}

fn good() -> Value {
    json!({
        "iss": "https://op.example", "aud": "gateway", "sub": "u1", "nonce": "n",
        "iat": NOW, "exp": NOW + 300, "auth_time": NOW - 5, "acr": "loa-5",
        "preferred_username": "dr.adams", "realm": {"groups": ["a", "b"]},
    })
}

fn expected(leeway: u64) -> Expected<'static> {
    Expected {
        issuer: "https://op.example",
        client_id: "gateway",
        now: Timestamp::from_second(NOW).unwrap(),
        leeway: Duration::from_secs(leeway),
    }
}

fn judge_bytes(payload: &[u8], algorithm: Algorithm) -> Result<Whole, ClaimsError> {
    let issuer = issuer();
    let expected = ExpectedId {
        token: expected(60),
        nonce: "n",
        access_token: Some("access"),
        algorithm,
        issuer: &issuer,
    };
    let verified = validate_id_token(payload, &expected)?;
    let person = Person::read(&verified.claims, &issuer.claims)?;
    assert_eq!(person.subject, verified.subject);
    Ok(Whole {
        subject: person.subject,
        name: person.name,
        role_values: person.role_values,
        roles_elsewhere: person.roles_elsewhere,
        training: person.training,
        proof: verified.proof,
    })
}

fn judge(change: impl FnOnce(&mut Value)) -> Result<Whole, ClaimsError> {
    let mut claims = good();
    change(&mut claims);
    judge_bytes(claims.to_string().as_bytes(), Algorithm::ES256)
}

fn without(name: &str) -> Result<Whole, ClaimsError> {
    judge(|c| drop(c.as_object_mut().unwrap().remove(name)))
}

#[test]
fn good_claims_are_read() {
    let verified = judge(|_| {}).unwrap();
    assert_eq!(
        (verified.subject.as_str(), verified.name.as_str()),
        ("u1", "dr.adams")
    );
    assert_eq!(verified.role_values, ["a", "b"]);
    assert!(verified.proof.mfa && !verified.roles_elsewhere);
    assert_eq!(verified.proof.auth_time.unwrap().as_second(), NOW - 5);
}

#[test]
fn a_training_claim_is_a_date_a_time_or_seconds() {
    use StatedTraining::{Nothing, Unreadable, Until};
    let stated = |value: Value| {
        judge(|c| c["training_valid_until"] = value)
            .unwrap()
            .training
    };
    let at = |text: &str| Until(text.parse().unwrap());
    assert_eq!(judge(|_| {}).unwrap().training, Nothing);
    assert_eq!(stated(json!(null)), Nothing);
    assert_eq!(stated(json!("2027-03-31")), at("2027-04-01T00:00:00Z"));
    let time = "2027-03-31T12:00:00+02:00";
    assert_eq!(stated(json!(time)), at(time));
    assert_eq!(stated(json!(1_800_000_000)), at("2027-01-15T08:00:00Z"));
    for other in [
        json!("soon"),
        json!(""),
        json!(true),
        json!(["2027-03-31"]),
        json!("2027-02-30"),
        json!("9999-12-31"),
        json!("2027-03-31T12:00:00"),
        json!(1e300),
        json!("2027-03-31".repeat(1_000)),
    ] {
        assert_eq!(stated(other.clone()), Unreadable, "{other}");
    }
}

/// Found by the fuzz target `claims`: a fraction of the first second was a time that the user authenticated at.
#[test]
fn zero_and_what_rounds_to_it_is_no_time() {
    for none in [
        json!(0),
        json!(0.5),
        json!(0.999_994_999_9),
        json!(-0.5),
        json!(1e-9),
    ] {
        let verified = judge(|c| c["auth_time"] = none.clone()).unwrap();
        assert_eq!(verified.proof.auth_time, None, "{none}");
    }
    let verified = judge(|c| c["auth_time"] = json!(1.5)).unwrap();
    assert!(verified.proof.auth_time.is_some());
}

#[test]
fn what_must_be_there_must_be_there() {
    use ClaimsError::{Audience, Claim, Issuer, Nonce};
    assert_eq!(without("iss"), Err(Issuer));
    assert_eq!(without("aud"), Err(Claim("aud")));
    assert_eq!(without("sub"), Err(Claim("sub")));
    assert_eq!(without("exp"), Err(Claim("exp")));
    assert_eq!(without("iat"), Err(Claim("iat")));
    assert_eq!(without("nonce"), Err(Nonce));
    assert_eq!(
        judge(|c| c["iss"] = json!("https://op.example/")),
        Err(Issuer)
    );
    assert_eq!(
        judge(|c| c["iss"] = json!(["https://op.example"])),
        Err(Issuer)
    );
    assert_eq!(judge(|c| c["aud"] = json!([])), Err(Audience));
    assert_eq!(judge(|c| c["aud"] = json!(["Gateway"])), Err(Audience));
    assert_eq!(
        judge(|c| c["aud"] = json!(["gateway", 1])),
        Err(Claim("aud"))
    );
    assert_eq!(
        judge(|c| c["aud"] = json!({"gateway": 1})),
        Err(Claim("aud"))
    );
    assert_eq!(judge(|c| c["nonce"] = json!(null)), Err(Nonce));
}

#[test]
fn an_authorized_party_must_be_this_client() {
    let with = |aud: Value, azp: Option<&str>| {
        judge(|c| {
            c["aud"] = aud;
            if let Some(azp) = azp {
                c["azp"] = json!(azp);
            }
        })
    };
    assert!(with(json!(["gateway"]), None).is_ok());
    assert!(with(json!("gateway"), Some("gateway")).is_ok());
    assert!(with(json!(["gateway", "other"]), Some("gateway")).is_ok());
    for refused in [
        with(json!(["gateway", "other"]), None),
        with(json!(["gateway", "other"]), Some("other")),
        with(json!("gateway"), Some("other")),
        with(json!("gateway"), Some("")),
        judge(|c| c["azp"] = json!(null)),
    ] {
        assert_eq!(refused, Err(ClaimsError::AuthorizedParty));
    }
}

#[test]
fn times_may_be_off_by_the_leeway_and_may_have_fractions() {
    let exp = |value: Value| judge(|c| c["exp"] = value).err();
    assert_eq!(exp(json!(NOW - 59)), None);
    assert_eq!(exp(json!(NOW - 60)), Some(ClaimsError::Expired(60)));
    assert_eq!(exp(json!(1_800_000_000.25)), None);
    assert_eq!(exp(json!(1_799_999_939.99)), Some(ClaimsError::Expired(61)));
    let iat = |value: Value| judge(|c| c["iat"] = value).err();
    assert_eq!(iat(json!(NOW + 60)), None);
    assert_eq!(iat(json!(NOW + 61)), Some(ClaimsError::Future(61)));
    let nbf = |value: Value| judge(|c| c["nbf"] = value).err();
    assert_eq!(nbf(json!(NOW + 60)), None);
    assert_eq!(nbf(json!(NOW + 61)), Some(ClaimsError::Future(61)));
    for odd in [
        json!("1800000300"),
        json!(1e300),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(null),
        json!([NOW]),
        json!(true),
    ] {
        assert_eq!(exp(odd.clone()), Some(ClaimsError::Claim("exp")), "{odd}");
        assert_eq!(nbf(odd.clone()), Some(ClaimsError::Claim("nbf")), "{odd}");
    }
}

#[test]
fn without_leeway_a_token_ends_at_its_expiry() {
    let claims = |exp: i64| {
        let mut claims = good();
        claims["exp"] = json!(exp);
        let object = claims.as_object().unwrap().clone();
        common(&object, &expected(0)).err()
    };
    assert_eq!(claims(NOW), Some(ClaimsError::Expired(0)));
    assert_eq!(claims(NOW + 1), None);
}

#[test]
fn the_access_token_must_be_the_one_that_came_along() {
    // SHA-256, SHA-384 and SHA-512 of "access", left half, base64url.
    for algorithm in [Algorithm::ES256, Algorithm::RS384, Algorithm::EdDSA] {
        let mut claims = good();
        claims["at_hash"] = json!(token_hash("access", algorithm));
        assert!(judge_bytes(claims.to_string().as_bytes(), algorithm).is_ok());
        claims["at_hash"] = json!(token_hash("other", algorithm));
        let refused = judge_bytes(claims.to_string().as_bytes(), algorithm);
        assert_eq!(refused, Err(ClaimsError::AccessTokenHash));
        claims["at_hash"] = json!(null);
        let refused = judge_bytes(claims.to_string().as_bytes(), algorithm);
        assert_eq!(refused, Err(ClaimsError::AccessTokenHash));
    }
    // The example of OIDC Core, appendix A.3.
    let example = token_hash(
        "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
        Algorithm::RS256,
    );
    assert_eq!(example, "77QmUPtjPfzWtF2AnpK9RQ");
}

/// oauth2-proxy CVE-2026-40574: `a@evil@hosp.org`, and other names that are not what they seem.
#[test]
fn cve_2026_40574_names_are_taken_whole_or_not_at_all() {
    let long = "x".repeat(256);
    for name in [
        "dr.adams",
        "a@evil@hosp.org",
        "a@hosp.org",
        "Jürgen Müller",
        "山田太郎",
        "o'brien",
        "<b>",
        "a,b;c=d",
        "x\"y",
    ] {
        assert_eq!(
            judge(|c| c["preferred_username"] = json!(name))
                .unwrap()
                .name,
            name
        );
        assert_eq!(judge(|c| c["sub"] = json!(name)).unwrap().subject, name);
    }
    for odd in [
        json!(""),
        json!(" "),
        json!(" a"),
        json!("a\n"),
        json!("a\r\nX-Role: admin"),
        json!("a\u{0}b"),
        json!("a\u{1b}[31m"),
        json!("a\u{202e}b"),
        json!("a\u{200b}b"),
        json!("\u{feff}a"),
        json!(long),
        json!(null),
        json!(7),
        json!(true),
        json!(["dr.adams"]),
        json!({"a": "b"}),
    ] {
        assert_eq!(
            judge(|c| c["preferred_username"] = odd.clone())
                .unwrap()
                .name,
            "u1",
            "{odd}"
        );
        let refused = judge(|c| c["sub"] = odd.clone());
        assert_eq!(refused, Err(ClaimsError::Claim("sub")), "{odd}");
    }
    assert_eq!(without("preferred_username").unwrap().name, "u1");
}

#[test]
fn roles_are_strings_or_nothing() {
    let roles = |value: Value| {
        judge(|c| c["realm"] = json!({ "groups": value }))
            .unwrap()
            .role_values
    };
    assert_eq!(roles(json!("one")), ["one"]);
    assert_eq!(roles(json!(["one", ""])), ["one", ""]);
    assert_eq!(roles(json!("a b,c")), ["a b,c"]);
    for nothing in [
        json!(null),
        json!(""),
        json!([]),
        json!(7),
        json!({}),
        json!(["a", 1]),
        json!([["a"]]),
        json!(["a", null]),
    ] {
        assert!(roles(nothing.clone()).is_empty(), "{nothing}");
    }
    let huge: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
    assert_eq!(roles(json!(huge)).len(), 10_000);
}

/// OctopusDeploy#8388, oauth2-proxy#1574: too many groups looked like none.
#[test]
fn octopus_8388_groups_left_out_for_their_size_are_noticed() {
    let verified = judge(|c| {
        c["realm"] = json!({});
        c["_claim_names"] = json!({"realm": "src1"});
    });
    assert!(verified.unwrap().roles_elsewhere);
    assert!(!judge(|c| c["realm"] = json!({})).unwrap().roles_elsewhere);
}

#[test]
fn what_is_no_object_is_refused() {
    for bytes in [
        &b""[..],
        b"null",
        b"[]",
        b"7",
        b"\"x\"",
        b"{",
        b"\xff",
        b"{}x",
    ] {
        assert_eq!(
            judge_bytes(bytes, Algorithm::ES256),
            Err(ClaimsError::Malformed)
        );
    }
    let deep = format!("{{\"a\":{}}}", "[".repeat(100_000));
    assert_eq!(
        judge_bytes(deep.as_bytes(), Algorithm::ES256),
        Err(ClaimsError::Malformed)
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("gateway")),
        Just(json!(NOW)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(judge_bytes(&bytes, Algorithm::ES256).is_err());
        prop_assert!(validate_logout_token(&bytes, &expected(60)).is_err());
    }

    /// Whatever one claim becomes, what is believed still holds.
    #[test]
    fn what_is_believed_holds(name in proptest::sample::select(vec![
        "iss", "aud", "azp", "sub", "nonce", "iat", "exp", "nbf", "at_hash", "acr", "amr", "auth_time", "sid",
        "preferred_username", "realm", "_claim_names",
    ]), value in any_json()) {
        if let Ok(verified) = judge(|c| c[name] = value.clone()) {
            prop_assert!(!verified.subject.is_empty() && !verified.name.is_empty());
            prop_assert!(verified.proof.mfa == (name != "acr") || value == json!("loa-5"));
            if let Some(at) = verified.proof.auth_time {
                prop_assert!(at.as_second() > 0 && at.as_second() <= NOW + 60);
            }
        }
    }
}
