//! The refresh tokens of the provider for unit tests: rotated at each use, and a second use ends the family.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// How tokens are renewed.
#[derive(Debug, Default)]
pub(in crate::identity) struct Renewing {
    /// These take the place of the claims of the sign-in; `null` removes one.
    pub(in crate::identity) claims: Map<String, Value>,
    /// No ID token comes with renewed tokens.
    pub(in crate::identity) without_id_token: bool,
    /// What `/userinfo` answers.
    pub(in crate::identity) user_info: Value,
    /// Every refresh token is refused.
    pub(in crate::identity) denies: bool,
    /// The token endpoint takes this long.
    pub(in crate::identity) delay: Duration,
    /// How often tokens were renewed.
    pub(in crate::identity) renewed: usize,
    /// How often a token came that had been used.
    pub(in crate::identity) reused: usize,
}

struct Held {
    claims: Value,
    family: usize,
    used: bool,
}

#[derive(Default)]
pub(super) struct Tokens {
    pub(super) renewing: Renewing,
    held: HashMap<String, Held>,
    count: usize,
}

impl Tokens {
    pub(super) fn begin(&mut self, claims: &Value) -> String {
        let family = self.count;
        self.next(claims.clone(), family)
    }

    fn next(&mut self, claims: Value, family: usize) -> String {
        self.count = self.count.saturating_add(1);
        let token = format!("rt-{}", self.count);
        let held = Held {
            claims,
            family,
            used: false,
        };
        self.held.insert(token.clone(), held);
        token
    }

    /// The claims of the renewed ID token, if there is one, and the next refresh token.
    pub(super) fn rotate(&mut self, token: &str) -> Option<(Option<Value>, String)> {
        if self.renewing.denies {
            return None;
        }
        let held = self.held.get_mut(token)?;
        let (claims, family) = (held.claims.clone(), held.family);
        if held.used {
            self.renewing.reused = self.renewing.reused.saturating_add(1);
            self.held.retain(|_, held| held.family != family);
            return None;
        }
        held.used = true;
        self.renewing.renewed = self.renewing.renewed.saturating_add(1);
        let next = self.next(claims.clone(), family);
        let mut renewed = claims;
        let members = renewed.as_object_mut().unwrap();
        members.remove("nonce");
        for (name, value) in &self.renewing.claims {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        let without = self.renewing.without_id_token;
        Some(((!without).then_some(json!(renewed)), next))
    }
}
