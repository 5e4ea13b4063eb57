//! Claims that the ID token lacks, from the UserInfo endpoint (OIDC Core §5.3).
//!
//! *Never*: the claims of someone else (§5.3.2: `sub` must be that of the ID token); a claim of the ID token replaced;
//! a word on how the user authenticated.

use ::http::{HeaderValue, Request, StatusCode, header};
use serde_json::{Map, Value};
use url::Url;

use super::metadata::Metadata;
use super::provider::Provider;
use crate::outbound::{HttpClient, HttpError};
use crate::secret::Secret;

/// Why UserInfo is of no use. Holds nothing of the answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum UserInfoError {
    #[error("{0}")]
    Http(#[source] HttpError),
    #[error("the provider publishes no UserInfo endpoint")]
    NoEndpoint,
    #[error("UserInfo is no JSON object (signed UserInfo is not read)")]
    Malformed,
    #[error("UserInfo is about someone else than the ID token")]
    OtherSubject,
}

/// Asks `url` for JSON, as whoever the token is for.
pub(super) async fn ask(
    http: &HttpClient,
    url: &Url,
    access_token: &Secret<String>,
) -> Result<Vec<u8>, HttpError> {
    let line = Secret::new(format!("Bearer {}", access_token.expose()));
    let address = |problem: String| HttpError::Address(problem);
    let mut bearer = HeaderValue::from_str(line.expose())
        .ok()
        .ok_or_else(|| address("the access token fits no header".to_owned()))?;
    bearer.set_sensitive(true);
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, bearer)
        .body(Vec::new())
        .map_err(|source| address(source.to_string()))?;
    let answer = http.send(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(HttpError::Status(answer.status().as_u16()));
    }
    Ok(answer.into_body())
}

impl Provider {
    /// Adds to the claims of an ID token what UserInfo knows beyond them.
    pub(in crate::identity) async fn with_userinfo(
        &self,
        metadata: &Metadata,
        access_token: &Secret<String>,
        claims: Value,
    ) -> Result<Value, UserInfoError> {
        let url = metadata.userinfo.as_ref();
        let url = url.ok_or(UserInfoError::NoEndpoint)?;
        let bytes = ask(self.http(), url, access_token)
            .await
            .map_err(UserInfoError::Http)?;
        merged(claims, &bytes)
    }

    /// What UserInfo says of the user with this `sub`, where there is no ID token to add it to.
    pub(in crate::identity) async fn userinfo_of(
        &self,
        metadata: &Metadata,
        access_token: &Secret<String>,
        sub: &str,
    ) -> Result<Value, UserInfoError> {
        let claims = serde_json::json!({ "sub": sub });
        self.with_userinfo(metadata, access_token, claims).await
    }
}

fn merged(claims: Value, bytes: &[u8]) -> Result<Value, UserInfoError> {
    let more: Map<String, Value> = serde_json::from_slice(bytes)
        .ok()
        .ok_or(UserInfoError::Malformed)?;
    let Value::Object(mut claims) = claims else {
        return Err(UserInfoError::Malformed);
    };
    // SECURITY: an access token that was swapped would bring another person's groups.
    let subject = more.get("sub").filter(|sub| sub.is_string());
    if subject.is_none() || subject != claims.get("sub") {
        return Err(UserInfoError::OtherSubject);
    }
    for (name, value) in more {
        claims.entry(name).or_insert(value);
    }
    Ok(Value::Object(claims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merge(more: &Value) -> Result<Value, UserInfoError> {
        let claims = json!({"sub": "u1", "groups": ["a"], "acr": "1"});
        merged(claims, more.to_string().as_bytes())
    }

    #[test]
    fn userinfo_adds_and_never_replaces() {
        let more = json!({"sub": "u1", "groups": ["b"], "acr": "2", "email": "a@b.example"});
        let all = merge(&more).unwrap();
        assert_eq!(all["groups"], json!(["a"]));
        assert_eq!(all["acr"], "1");
        assert_eq!(all["email"], "a@b.example");
    }

    #[test]
    fn userinfo_of_someone_else_is_refused() {
        for more in [
            json!({}),
            json!({"sub": "u2"}),
            json!({"sub": null}),
            json!({"sub": ["u1"]}),
        ] {
            let refused = merge(&more);
            assert!(
                matches!(refused, Err(UserInfoError::OtherSubject)),
                "{more}"
            );
        }
        for more in [json!([]), json!("x"), json!(null)] {
            assert!(
                matches!(merge(&more), Err(UserInfoError::Malformed)),
                "{more}"
            );
        }
    }
}
