//! Tokens: taken apart and judged whatever they hold.
#![no_main]

use std::time::Duration;

use chartgate::config::issuer::ClaimMapping;
use chartgate::config::step_up::PhishingResistant;
use chartgate::config::{Issuer, MfaEvidence, MfaRequire};
use chartgate::identity::oidc::claims::{
    Expected, ExpectedId, validate_id_token, validate_logout_token,
};
use chartgate::identity::oidc::jws::{Algorithm, Jws, Kind};
use chartgate::identity::oidc::person::Person;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_700_000_000;
const LEEWAY: Duration = Duration::from_secs(60);

fuzz_target!(|bytes: &[u8]| {
    let algorithms = [Algorithm::ES256, Algorithm::RS256];
    if let Ok(text) = std::str::from_utf8(bytes) {
        for kind in [Kind::Id, Kind::Logout] {
            if Jws::parse(text, kind, &algorithms).is_ok() {
                assert_eq!(text.split('.').count(), 3);
            }
        }
    }
    let issuer = issuer();
    let token = Expected {
        issuer: "https://op.example",
        client_id: "gateway",
        now: Timestamp::from_second(NOW).expect("a time"),
        leeway: LEEWAY,
    };
    let expected = ExpectedId {
        token,
        nonce: "n",
        access_token: Some("at"),
        algorithm: Algorithm::ES256,
        issuer: &issuer,
    };
    if let Ok(verified) = validate_id_token(bytes, &expected) {
        let person = Person::read(&verified.claims, &issuer.claims).expect("a person");
        assert!(!person.subject.is_empty() && !person.name.is_empty());
        assert!(!person.name.chars().any(char::is_control));
        if let Some(at) = verified.proof.auth_time {
            assert!(at.as_second() > 0 && at.as_second() <= NOW + 60);
        }
        // One token is never both.
        assert!(validate_logout_token(bytes, &token).is_err());
    }
    if let Ok(logout) = validate_logout_token(bytes, &token) {
        assert!(logout.subject.is_some() || logout.issuer_session.is_some());
        assert!(logout.expires.as_second() > NOW - 60);
    }
});

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
