//! What renewed tokens prove (OIDC Core §12.2).

use super::claims::{ClaimsError, ExpectedId, Verified, common, judge, object, text};
use super::mfa;
use crate::identity::factor::MARK;
use crate::request::principal::{Proof, User};

/// Judges the claims of an ID token that came with renewed tokens, whose signature was verified, against the sign-in
/// that it renews. `expected.nonce` is the nonce of that sign-in, which the token may repeat,
/// and `sub` what the issuer calls the user.
///
/// # Errors
/// [`ClaimsError`].
pub(in crate::identity) fn validate_renewed(
    payload: &[u8],
    expected: &ExpectedId<'_>,
    (sub, user, stated): (&str, &User, &Proof),
) -> Result<Verified, ClaimsError> {
    let claims = object(payload)?;
    let (issued, _) = common(&claims, &expected.token)?;
    let nonce = claims.get("nonce");
    if nonce.is_some_and(|nonce| nonce.as_str() != Some(expected.nonce)) {
        return Err(ClaimsError::Nonce);
    }
    if text(&claims, "sub") != Some(sub) {
        return Err(ClaimsError::Subject);
    }
    let mut verified = judge(claims, issued, expected)?;
    let (before, now) = (stated, verified.proof);
    // SECURITY: a renewal proves no presence. The time of authentication is the sign-in's, whatever is stated; a
    // provider that states another one renewed something else.
    if let (Some(old), Some(new)) = (before.auth_time, now.auth_time)
        && old.as_second() != new.as_second()
    {
        return Err(ClaimsError::OtherSignIn);
    }
    // What the renewed token does not state is as it was; what it states counts.
    let acr = now.acr.or_else(|| before.acr.clone());
    let mut amr = if now.amr.is_empty() {
        before.amr.clone()
    } else {
        now.amr
    };
    // What the gateway added to the sign-in, it added itself: that goes on.
    if user.proof != *stated {
        verified.proof = user.proof.clone();
        return Ok(verified);
    }
    amr.retain(|method| method != MARK);
    verified.proof = Proof {
        mfa: mfa::is_proven(&expected.issuer.mfa, acr.as_deref(), &amr),
        phishing_resistant: mfa::is_phishing_resistant(&expected.issuer.mfa, acr.as_deref(), &amr),
        acr,
        amr,
        auth_time: before.auth_time,
    };
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::claims::Expected;
    use super::super::jws::Algorithm;
    use super::*;
    use crate::config::{Issuer, MfaEvidence, MfaRequire};
    use crate::identity::oidc::person::Person;

    const NOW: i64 = 1_800_000_000;

    fn settings() -> Issuer {
        let mfa = MfaEvidence {
            phishing_resistant: crate::config::step_up::PhishingResistant::default(),
            acr: vec!["strong".to_owned()],
            amr: vec![vec!["otp".to_owned()]],
            require: MfaRequire::All,
        };
        Issuer::for_test("https://op.example/", mfa)
    }

    fn user() -> User {
        User {
            issuer: "staff".to_owned(),
            subject: "u1".to_owned(),
            name: "dr.adams".to_owned(),
            roles: BTreeSet::new(),
            proof: Proof {
                acr: Some("strong".to_owned()),
                amr: vec!["pwd".to_owned(), "otp".to_owned()],
                mfa: true,
                phishing_resistant: false,
                auth_time: Some(Timestamp::from_second(NOW - 600).unwrap()),
            },
            department: None,
        }
    }

    fn renew(change: impl FnOnce(&mut Value)) -> Result<Verified, ClaimsError> {
        let settings = settings();
        let mut claims = json!({
            "iss": "https://op.example", "aud": "gateway", "sub": "u1", "iat": NOW, "exp": NOW + 60,
            "groups": ["b"], "preferred_username": "dr.adams-byrne",
        });
        change(&mut claims);
        let expected = ExpectedId {
            token: Expected {
                issuer: "https://op.example",
                client_id: "gateway",
                now: Timestamp::from_second(NOW).unwrap(),
                leeway: Duration::from_mins(1),
            },
            nonce: "n1",
            access_token: Some("at"),
            algorithm: Algorithm::ES256,
            issuer: &settings,
        };
        validate_renewed(
            claims.to_string().as_bytes(),
            &expected,
            ("u1", &user(), &user().proof),
        )
    }

    #[test]
    fn a_renewed_token_needs_no_nonce_and_keeps_what_it_does_not_state() {
        let verified = renew(|_| {}).unwrap();
        let person = Person::read(&verified.claims, &settings().claims).unwrap();
        assert_eq!(person.role_values, ["b"]);
        assert_eq!(person.name, "dr.adams-byrne");
        assert_eq!(verified.proof, user().proof);
        renew(|claims| claims["nonce"] = json!("n1")).unwrap();
        let same = renew(|claims| claims["auth_time"] = json!(NOW - 600)).unwrap();
        assert_eq!(same.proof.auth_time, user().proof.auth_time);
    }

    #[test]
    fn a_token_of_another_sign_in_is_refused() {
        let cases: [(&str, Value, ClaimsError); 7] = [
            ("nonce", json!("n2"), ClaimsError::Nonce),
            ("nonce", json!(1), ClaimsError::Nonce),
            ("sub", json!("u2"), ClaimsError::Subject),
            ("sub", json!(null), ClaimsError::Subject),
            ("iss", json!("https://other.example"), ClaimsError::Issuer),
            ("aud", json!("someone-else"), ClaimsError::Audience),
            ("auth_time", json!(NOW), ClaimsError::OtherSignIn),
        ];
        for (name, value, error) in cases {
            let renewed = renew(|claims| claims[name] = value.clone());
            assert_eq!(renewed.unwrap_err(), error, "{name} {value}");
        }
    }

    #[test]
    fn evidence_that_is_stated_anew_counts() {
        let weak = renew(|claims| claims["amr"] = json!(["pwd"])).unwrap();
        assert!(!weak.proof.mfa);
        let weak = renew(|claims| claims["acr"] = json!("weak")).unwrap();
        assert!(!weak.proof.mfa);
        let strong = renew(|claims| claims["amr"] = json!(["otp"])).unwrap();
        assert!(strong.proof.mfa);
    }
}
