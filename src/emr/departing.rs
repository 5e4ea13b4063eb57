//! What a browser still holds of an EMR session: whose it is, when somebody else signs in.

use http::HeaderMap;

use super::cookies::Presented;
use super::emrs::Emrs;
use crate::store::StoreError;

/// Whose EMR session a browser presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// It presents none.
    Nobody,
    /// It presents what nobody is known to have obtained, or what cannot be read in one way.
    Unknown,
    /// The user, and the gateway session under which they obtained it.
    User {
        /// The user's id.
        user: String,
        /// The session's fingerprint.
        session: String,
    },
}

impl Emrs {
    /// Whose EMR session `headers` present at `host`; of several the first in the profile's order.
    ///
    /// # Errors
    /// [`StoreError`], where the bindings cannot be read.
    pub async fn holder(&self, host: &str, headers: &HeaderMap) -> Result<Holder, StoreError> {
        let Some(emr) = self.by_host(host).and_then(|index| self.emr(index)) else {
            return Ok(Holder::Nobody);
        };
        let Ok(presented) = Presented::read(headers, emr.profile().session_cookies()) else {
            return Ok(Holder::Unknown);
        };
        let mut holder = Holder::Nobody;
        for (_, key) in emr.keys(&presented) {
            if let Some(bound) = self.bindings.find(&key).await? {
                let (user, session) = bound.obtained_by();
                return Ok(Holder::User { user, session });
            }
            holder = Holder::Unknown;
        }
        Ok(holder)
    }
}
