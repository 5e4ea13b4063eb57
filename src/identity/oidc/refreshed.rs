//! What renewed tokens prove (OIDC Core §12.2), and what the provider says of a user without an ID token (§5.3).

use ::http::{Request, StatusCode, header};

use super::claims::{
    ClaimsError, ExpectedId, Verified, common, identifier, judge, object, strings, text,
};
use super::mfa;
use crate::config::Issuer;
use crate::identity::factor::MARK;
use crate::outbound::{HttpClient, HttpError};
use crate::request::principal::{Proof, User};
use crate::secret::Secret;

/// Judges the claims of an ID token that came with renewed tokens, whose signature was verified, against the sign-in
/// that it renews. `expected.nonce` is the nonce of that sign-in, which the token may repeat.
///
/// # Errors
/// [`ClaimsError`].
pub(in crate::identity) fn validate_renewed(
    payload: &[u8],
    expected: &ExpectedId<'_>,
    (user, stated): (&User, &Proof),
) -> Result<Verified, ClaimsError> {
    let claims = object(payload)?;
    let (issued, _) = common(&claims, &expected.token)?;
    let nonce = claims.get("nonce");
    if nonce.is_some_and(|nonce| nonce.as_str() != Some(expected.nonce)) {
        return Err(ClaimsError::Nonce);
    }
    if text(&claims, "sub") != Some(&user.subject) {
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

/// What the `UserInfo` answer says of name and roles: it must be about the same user (§5.3.2).
///
/// # Errors
/// [`ClaimsError`].
pub(in crate::identity) fn read_user_info(
    answer: &[u8],
    settings: &Issuer,
    user: &User,
) -> Result<(User, Vec<String>), ClaimsError> {
    let claims = object(answer)?;
    if text(&claims, "sub") != Some(&user.subject) {
        return Err(ClaimsError::Subject);
    }
    let all = serde_json::Value::Object(claims);
    let name = identifier(all.pointer(&settings.name_claim));
    let role_values = strings(all.pointer(&settings.roles_claim));
    let user = User {
        name: name.unwrap_or_else(|| user.name.clone()),
        ..user.clone()
    };
    Ok((user, role_values))
}

/// Asks the `UserInfo` endpoint.
pub(super) async fn ask_about_user(
    http: &HttpClient,
    at: &url::Url,
    access_token: &Secret<String>,
) -> Result<Vec<u8>, HttpError> {
    let bearer = format!("Bearer {}", access_token.expose());
    let mut bearer = ::http::HeaderValue::try_from(bearer)
        .ok()
        .ok_or_else(|| HttpError::Address("the access token fits no header".to_owned()))?;
    bearer.set_sensitive(true);
    let request = Request::get(at.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, bearer)
        .body(Vec::new())
        .map_err(|source| HttpError::Address(source.to_string()))?;
    let answer = http.send(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(HttpError::Status(answer.status().as_u16()));
    }
    Ok(answer.into_body())
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
    use crate::config::refresh::LogoutTolerance;
    use crate::config::{MfaEvidence, MfaRequire};

    const NOW: i64 = 1_800_000_000;

    fn settings() -> Issuer {
        Issuer {
            name: "staff".to_owned(),
            url: "https://op.example/".parse().unwrap(),
            ca: None,
            client_id: "gateway".to_owned(),
            client_secret: Secret::new(String::new()),
            scopes: Vec::new(),
            algorithms: Vec::new(),
            request_acr: Vec::new(),
            training_claim: None,
            mfa: MfaEvidence {
                phishing_resistant: crate::config::step_up::PhishingResistant::default(),
                acr: vec!["strong".to_owned()],
                amr: vec![vec!["otp".to_owned()]],
                require: MfaRequire::All,
            },
            name_claim: "/preferred_username".to_owned(),
            roles_claim: "/groups".to_owned(),
            refresh: None,
            logout: LogoutTolerance::default(),
        }
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
            (&user(), &user().proof),
        )
    }

    #[test]
    fn a_renewed_token_needs_no_nonce_and_keeps_what_it_does_not_state() {
        let verified = renew(|_| {}).unwrap();
        assert_eq!(verified.role_values, ["b"]);
        assert_eq!(verified.name, "dr.adams-byrne");
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

    #[test]
    fn user_info_must_be_about_the_same_user() {
        let (read, roles) = read_user_info(
            br#"{"sub":"u1","groups":["x"],"preferred_username":"new"}"#,
            &settings(),
            &user(),
        )
        .unwrap();
        assert_eq!((read.name.as_str(), roles), ("new", vec!["x".to_owned()]));
        assert_eq!(read.proof, user().proof);
        for answer in ["{}", r#"{"sub":"u2"}"#, "[]", "a.b.c"] {
            assert!(read_user_info(answer.as_bytes(), &settings(), &user()).is_err());
        }
    }
}
