//! Matches the EMR sessions that a request presents with the gateway session that obtained them.

use std::sync::Arc;

use super::bindings::{Bindings, Claim, CookieKey, EmrSession};
use super::cookies::Presented;
use super::emrs::Emr;
use crate::identity::identify::Identified;
use crate::refusal::Refusal;

/// The EMR sessions of a request that are its own.
#[derive(Debug, Default)]
pub(super) struct OwnSessions {
    /// The one that patients stick to: the first in the profile's order.
    pub(super) primary: Option<Arc<EmrSession>>,
    /// All, by cookie name.
    pub(super) keys: Vec<(String, CookieKey)>,
    /// Names of cookies that were not forwarded.
    pub(super) dropped: Vec<String>,
}

/// Looks up the session cookies of a request, and takes those out that are not its own.
///
/// SECURITY: session swap and fixation. A cookie that another user obtained ends the request. One that nobody
/// obtained through the gateway, or that this user obtained in an earlier session, never reaches the EMR.
pub(super) async fn own(
    bindings: &Bindings,
    emr: &Emr,
    identified: &mut Identified,
) -> Result<OwnSessions, Refusal> {
    if emr.profile().session_cookies().is_empty() {
        return Ok(OwnSessions::default());
    }
    let headers = &identified.received().parts().headers;
    let presented = Presented::read(headers, emr.profile().session_cookies())
        .ok()
        .ok_or(Refusal::AmbiguousField)?;
    let user = identified.principal().id();
    let mut own = OwnSessions::default();
    for (cookie, key) in emr.keys(&presented) {
        let found = bindings.find(&key).await.map_err(|error| {
            tracing::error!(%error, "the EMR session bindings cannot be read");
            Refusal::StoreUnavailable
        })?;
        let claim = match &found {
            Some(bound) => Bindings::claim(bound, identified.session(), &user),
            None => Claim::Former,
        };
        match (claim, found) {
            (Claim::Own, Some(bound)) => {
                own.keys.push((cookie.to_owned(), key));
                own.primary.get_or_insert(bound);
            }
            (Claim::Own | Claim::Former, _) => own.dropped.push(cookie.to_owned()),
            (Claim::Foreign, _) => return Err(Refusal::ForeignEmrSession),
        }
    }
    if !own.dropped.is_empty() {
        let kept = presented.keeping(|name| !own.dropped.iter().any(|dropped| dropped == name));
        identified.received_mut().set_cookies(kept);
    }
    Ok(own)
}
