//! Refresh tokens: each is redeemed once, for the next one of its family.

use super::provider::Grant;
use crate::demo::{
    random::{self, RandomFailure},
    recent::Recent,
};

/// A refresh token that was given out.
#[derive(Debug)]
struct Held {
    grant: Grant,
    family: String,
    redeemed: bool,
}

/// The refresh tokens of all grants.
#[derive(Debug)]
pub(super) struct Families {
    tokens: Recent<Held>,
    redeemed: u64,
    reused: u64,
}

impl Families {
    pub(super) fn new(most: usize) -> Self {
        Self {
            tokens: Recent::new(most),
            redeemed: 0,
            reused: 0,
        }
    }

    /// The first token of a grant's family.
    pub(super) fn begin(&mut self, grant: &Grant) -> Result<String, RandomFailure> {
        let family = random::token()?;
        self.next(grant.clone(), family)
    }

    fn next(&mut self, grant: Grant, family: String) -> Result<String, RandomFailure> {
        let token = random::token()?;
        let held = Held {
            grant,
            family,
            redeemed: false,
        };
        self.tokens.insert(token.clone(), held);
        Ok(token)
    }

    /// Redeems a token of this client: what it stands for, and the next token.
    pub(super) fn rotate(
        &mut self,
        token: &str,
        client: &str,
    ) -> Result<Option<(Grant, String)>, RandomFailure> {
        let Some(held) = self.tokens.find_mut(token) else {
            return Ok(None);
        };
        if held.grant.authorization.client != client {
            return Ok(None);
        }
        let (grant, family) = (held.grant.clone(), held.family.clone());
        if held.redeemed {
            // SECURITY: one of the two who presented it has stolen it.
            self.reused = self.reused.saturating_add(1);
            self.end(|held| held.family == family);
            return Ok(None);
        }
        held.redeemed = true;
        self.redeemed = self.redeemed.saturating_add(1);
        let next = self.next(grant.clone(), family)?;
        Ok(Some((grant, next)))
    }

    /// Takes back all tokens of a user.
    pub(super) fn revoke(&mut self, user: &str) {
        self.end(|held| held.grant.session.user == user);
    }

    /// How many tokens were redeemed, and how many were presented once more.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.redeemed, self.reused)
    }

    fn end(&mut self, which: impl Fn(&Held) -> bool) {
        let tokens = self.tokens.iter().filter(|(_, held)| which(held));
        let tokens: Vec<String> = tokens.map(|(token, _)| token.to_owned()).collect();
        for token in tokens {
            self.tokens.remove(&token);
        }
    }
}
