//! Writes ID tokens, and bad ones when told to.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Number, Value, json};

use super::{
    Client, IssuerError, Misbehave,
    keys::SigningKey,
    provider::{Grant, Provider},
};
use crate::demo::users::DemoUser;

/// How long an ID token is good, in seconds.
const LIFETIME: i64 = 300;
/// The audience, issuer and nonce of somebody else.
const SOMEBODY_ELSE: &str = "somebody-else";

/// The claims that describe a person.
pub(super) fn person(provider: &Provider, user: &DemoUser) -> Map<String, Value> {
    let mut claims = Map::new();
    for (name, value) in [
        ("sub", json!(user.subject())),
        ("name", json!(user.display())),
        ("preferred_username", json!(user.name())),
        ("email", json!(user.email())),
        ("email_verified", json!(true)),
        ("groups", json!(provider.groups_of(user))),
    ] {
        claims.insert(name.to_owned(), value);
    }
    claims
}

/// The ID token for a redeemed code.
pub(super) fn id_token(
    provider: &Provider,
    client: &Client,
    user: &DemoUser,
    grant: &Grant,
) -> Result<String, IssuerError> {
    let misbehaviour = *provider.misbehaviour();
    let now = provider.now().as_second();
    let mut claims = person(provider, user);
    for (name, value) in [
        ("iss", json!(provider.options.issuer_url)),
        ("aud", json!(client.id())),
        ("iat", json!(now)),
        ("exp", json!(now.saturating_add(LIFETIME))),
        ("auth_time", json!(grant.session.auth_time.as_second())),
        ("acr", json!(grant.session.strength.acr())),
        ("amr", json!(grant.session.strength.amr())),
        ("sid", json!(grant.session.sid)),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if let Some(nonce) = &grant.authorization.nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    distort(&mut claims, misbehaviour, client, now);
    sign(provider, client, &claims, misbehaviour)
}

/// Makes the claims wrong in the way asked for.
fn distort(claims: &mut Map<String, Value>, how: Misbehave, client: &Client, now: i64) {
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    match how {
        Misbehave::AlgorithmNone
        | Misbehave::Encrypted
        | Misbehave::HmacWithClientSecret
        | Misbehave::Nothing
        | Misbehave::TokenEndpointFails
        | Misbehave::TokenEndpointSlow(_)
        | Misbehave::UnknownKey => {}
        Misbehave::AuthTimeZero => set("auth_time", json!(0)),
        Misbehave::Claims(text) => replace(claims, text),
        Misbehave::ExpiredToken => {
            set("iat", json!(now.saturating_sub(7200)));
            set("exp", json!(now.saturating_sub(3600)));
        }
        Misbehave::FractionalTimes => {
            for name in ["iat", "exp", "auth_time"] {
                if let Some(whole) = claims.get(name).and_then(Value::as_i64)
                    && let Ok(number) = format!("{whole}.5").parse::<Number>()
                {
                    claims.insert(name.to_owned(), Value::Number(number));
                }
            }
        }
        Misbehave::MissingNonce => {
            claims.remove("nonce");
        }
        Misbehave::TwoAudiencesWithoutAzp => set("aud", json!([client.id(), SOMEBODY_ELSE])),
        Misbehave::WrongAudience => set("aud", json!(SOMEBODY_ELSE)),
        Misbehave::WrongAzp => {
            set("aud", json!([client.id(), SOMEBODY_ELSE]));
            set("azp", json!(SOMEBODY_ELSE));
        }
        Misbehave::WrongIssuer => set("iss", json!("https://somebody-else.example")),
        Misbehave::WrongNonce => set("nonce", json!(SOMEBODY_ELSE)),
    }
}

/// Puts the members of an object in the place of the claims of the same names.
fn replace(claims: &mut Map<String, Value>, text: &str) {
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        tracing::warn!("the claims to misbehave with are not a JSON object");
        return;
    };
    for (name, value) in members {
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
}

/// A token in the form of RFC 7516 §7.1 whose text was compressed before it was encrypted. No key is needed: whoever
/// does not look for one refuses it as much as somebody who has the wrong one.
fn encrypted() -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "zip": "DEF", "cty": "JWT" });
    [
        part(header.to_string().as_bytes()),
        part(&[0x5a; 256]),
        part(&[0x5a; 12]),
        part(&[0x5a; 8192]),
        part(&[0x5a; 16]),
    ]
    .join(".")
}

/// Signs the claims, or pretends to, in the way asked for.
fn sign(
    provider: &Provider,
    client: &Client,
    claims: &Map<String, Value>,
    how: Misbehave,
) -> Result<String, IssuerError> {
    match how {
        Misbehave::AlgorithmNone => {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let header = part(&json!({ "alg": "none", "typ": "JWT" }));
            Ok(format!(
                "{header}.{}.",
                part(&Value::Object(claims.clone()))
            ))
        }
        Misbehave::HmacWithClientSecret => {
            let key = EncodingKey::from_secret(client.secret_bytes());
            Ok(jsonwebtoken::encode(
                &Header::new(Algorithm::HS256),
                claims,
                &key,
            )?)
        }
        Misbehave::Encrypted => Ok(encrypted()),
        Misbehave::UnknownKey => SigningKey::generate()?.sign("JWT", claims),
        Misbehave::AuthTimeZero
        | Misbehave::Claims(_)
        | Misbehave::ExpiredToken
        | Misbehave::FractionalTimes
        | Misbehave::MissingNonce
        | Misbehave::Nothing
        | Misbehave::TokenEndpointFails
        | Misbehave::TokenEndpointSlow(_)
        | Misbehave::TwoAudiencesWithoutAzp
        | Misbehave::WrongAudience
        | Misbehave::WrongAzp
        | Misbehave::WrongIssuer
        | Misbehave::WrongNonce => provider.keys().current().sign("JWT", claims),
    }
}
