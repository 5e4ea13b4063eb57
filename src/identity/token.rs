//! A bearer value of 256 random bits, and what is derived from it.
//!
//! *Never*: the value itself in a store, a record or a log; only hashes of it leave this module, and the one spelling
//! that goes to the browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::Secret;
use crate::store::digest_of;

const BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const SPELLED: usize = 43;

/// A session token, a login state, or the value that binds a login to a browser.
#[derive(Debug, Clone)]
pub struct Token(Secret<[u8; BYTES]>);

/// The operating system has no random bytes to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes are available")]
pub struct NoRandomness;

impl Token {
    /// A new token.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0_u8; BYTES];
        aws_lc_rs::rand::fill(&mut bytes).ok().ok_or(NoRandomness)?;
        Ok(Self(Secret::new(bytes)))
    }

    /// Reads a token. There is exactly one spelling of each.
    #[must_use]
    pub fn parse(spelled: &[u8]) -> Option<Self> {
        if spelled.len() != SPELLED {
            return None;
        }
        // The engine refuses padding and non-zero trailing bits.
        let bytes = URL_SAFE_NO_PAD.decode(spelled).ok()?;
        Some(Self(Secret::new(<[u8; BYTES]>::try_from(bytes).ok()?)))
    }

    /// The spelling that the browser keeps.
    #[must_use]
    pub fn expose(&self) -> Secret<String> {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.expose()))
    }

    /// A hash of the token for one `purpose`, and of `more` that belongs to it. Each part is hashed with its length.
    pub(super) fn digest(&self, purpose: &str, more: &[&[u8]]) -> [u8; 32] {
        let own = [purpose.as_bytes(), self.0.expose()];
        digest_of(own.into_iter().chain(more.iter().copied()))
    }

    /// The bytes, for a hash that binds another token to this one.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_read_as_it_was_spelled() {
        let token = Token::generate().unwrap();
        let spelled = token.expose();
        assert_eq!(spelled.expose().len(), SPELLED);
        let read = Token::parse(spelled.expose().as_bytes()).unwrap();
        assert_eq!(read.bytes(), token.bytes());
        assert_eq!(format!("{token:?}"), "Token([redacted])");
    }

    #[test]
    fn hashes_differ_by_purpose_and_split() {
        let token = Token::generate().unwrap();
        assert_ne!(token.digest("a", &[]), token.digest("b", &[]));
        assert_ne!(
            token.digest("a", &[b"bc"]),
            token.digest("a", &[b"b", b"c"])
        );
    }

    proptest! {
        #[test]
        fn there_is_one_spelling_of_each_token(bytes: [u8; 32], at in 0_usize..SPELLED, with: u8) {
            let mut spelled = URL_SAFE_NO_PAD.encode(bytes).into_bytes();
            let before = spelled[at];
            spelled[at] = with;
            if let Some(read) = Token::parse(&spelled) {
                prop_assert_eq!(read.bytes() == bytes, before == with);
            }
        }
    }
}
