//! `GET /.chartgate/client-jwks.json`: the public keys with which the gateway proves to a provider who it is
//! (`private_key_jwt`), for the provider to fetch. Both of them while one is replaced by the other.

use http::Method;
use jsonwebtoken::jwk::JwkSet;

use super::Identity;
use super::answer::Answer;
use super::login::handled;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Received, Refused};

impl Identity {
    pub(super) fn client_keys(&self, received: Received) -> Result<Handled, Refused> {
        let parts = received.parts();
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(received.refuse(Refusal::MethodRefused));
        }
        let asked = parts.target.fields().find(|(name, _)| name == "issuer");
        let asked = asked.map(|(_, value)| value);
        let is_meant = |name: &str| asked.as_ref().is_none_or(|asked| *asked == name);
        let keys = self
            .providers
            .iter()
            .filter(|provider| is_meant(&provider.settings().name))
            .flat_map(|provider| provider.client_keys())
            .map(|key| key.public().clone())
            .collect();
        let Ok(json) = serde_json::to_vec(&JwkSet { keys }) else {
            return Err(received.refuse(Refusal::Internal));
        };
        let answer = Answer::public(json, "application/jwk-set+json");
        Ok(handled(received, (Event::PageShown, answer)))
    }
}
