//! A way into the mapping for the fuzz target `route`, which holds no session, and into answers for `appear`.
//!
//! *Never*: a part of what ships. It is compiled with `--cfg fuzzing` alone, because it skips screening and identity.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::appear::Expected;
use super::bindings::{BindingStore, Bindings, StoreFuture};
use super::emrs::{Emr, Emrs};
use super::listeners::Listeners;
use super::profile::Profile;
use crate::audit::outcome::End;
use crate::clock::SharedClock;
use crate::identity::identify::Identified;
use crate::identity::session::SessionId;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::appeared::Appeared;
use crate::request::facts::Mapping;
use crate::request::principal::{Proof, User};
use crate::request::{Principal, Received};

/// The host under which the profile's EMR is served.
pub const HOST: &str = "emr.test";

/// One profile as the request path sees it, with a user and without an EMR session.
#[derive(Debug)]
pub struct Rig {
    emrs: Emrs,
    emr: Option<Arc<Emr>>,
}

impl Rig {
    /// Puts `profile` where the gateway has its EMRs.
    #[must_use]
    pub fn new(profile: Profile, clock: SharedClock) -> Self {
        let list = vec![("emr".to_owned(), vec![HOST.to_owned()], profile)];
        let bindings = Arc::new(Bindings::new(Arc::new(Nothing)));
        let emrs = Emrs::new(list, Duration::from_secs(1), bindings, clock);
        let emr = emrs.emr(0);
        Self { emrs, emr }
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.emr.as_deref().map(Emr::profile)
    }

    /// What a request means.
    ///
    /// # Errors
    /// The [`Refusal`] of one that has no meaning, or two.
    pub async fn map(&self, received: Received, expires: Timestamp) -> Result<Mapping, Refusal> {
        let principal = Principal::User(User {
            issuer: "fuzz".to_owned(),
            subject: "1".to_owned(),
            name: "dr.okafor".to_owned(),
            roles: BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        });
        let screened = Screened::for_test(received);
        let session = SessionId::for_test("fuzz");
        let identified = Identified::for_test(screened, principal, session, expires);
        match self.emrs.map(identified).await {
            Ok(mapped) => Ok(mapped.mapping().clone()),
            Err(refused) => Err(refused.refusal()),
        }
    }
}

/// Who appears in an answer of this media type to the first route of `profile`, and whether it was heard whole.
#[must_use]
pub fn appeared(profile: &Profile, kind: &str, pieces: &[&[u8]]) -> Option<Appeared> {
    let head = http::Response::builder().header(http::header::CONTENT_TYPE, kind);
    let head = head.body(()).ok()?.into_parts().0;
    let expected = Expected::of(profile.routes().first()?, &head)?;
    let listeners = Listeners::of(None, Some(expected), &head);
    let mut listening = listeners.begin();
    for piece in pieces {
        listening.hear(piece);
    }
    listening.appeared(End::Complete)
}

/// No EMR session was obtained before.
#[derive(Debug)]
struct Nothing;

impl BindingStore for Nothing {
    fn get<'a>(&'a self, _key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn put<'a>(
        &'a self,
        _key: &'a str,
        _value: Vec<u8>,
        _expires: Timestamp,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
