//! A browser registers the key of its device for a session.
//!
//! *Never*: a second key for a session, or one after its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bond::{Bond, Challenge, For, Registered};
use super::error::KeyError;
use super::proof::Proof;
use super::{Outcome, must_be_post};
use crate::identity::Identity;
use crate::identity::answer::Answer;
use crate::identity::cookie::{ATTRIBUTES, DEVICE_COOKIE};
use crate::identity::login::handled;
use crate::identity::routes::DEVICE_KEY_REFRESH;
use crate::identity::session::{Live, SessionId};
use crate::request::{Event, Handled, Received};
use crate::store::{Insertion, Replacement};

/// What the record of a registration says.
pub(super) type Detail = BTreeMap<String, String>;

impl Identity {
    pub(super) async fn register(&self, received: &mut Received) -> Result<Outcome, KeyError> {
        let parts = received.parts();
        must_be_post(parts)?;
        let proof = Proof::of(&parts.headers)?.ok_or(KeyError::NoProof)?;
        let answered = proof.challenge().to_owned();
        let challenge = Challenge::parse(&answered).ok_or(KeyError::Challenge)?;
        // Nothing is asked of the store for what is not even signed.
        let key = proof.registers()?;
        let (live, bond) = self.tied(received, &challenge.session()).await?;
        let now = self.clock().now();
        if !bond.is_answered(For::Registration, (live.id(), &challenge), now) {
            return Err(KeyError::Challenge);
        }
        // SECURITY: a key is registered once. Whoever comes second is not the browser that signed in.
        if bond.is_registered() {
            return Err(KeyError::Registered);
        }
        let bonds = self.sessions().bonds().ok_or(KeyError::NoSession)?;
        match bonds.use_up(&challenge).await? {
            Insertion::Stored => {}
            Insertion::Present => return Err(KeyError::Challenge),
        }
        let detail = [
            ("algorithm", format!("{:?}", key.algorithm())),
            ("key", key.thumbprint()),
        ];
        let bond = Arc::new(Bond {
            secret: bond.secret.clone(),
            registered: Some(Registered { key, since: now }),
        });
        match self.sessions().bind(&live, Arc::clone(&bond)).await? {
            Replacement::Replaced => {}
            Replacement::Absent => return Err(KeyError::NoSession),
        }
        let answer = Answer::json(&instructions(&live, &received.parts().authority));
        let answer = self.proving(answer.ok_or(KeyError::Answer)?, &live, &bond)?;
        let detail = detail.map(|(name, value)| (name.to_owned(), value));
        Ok(Outcome::Registered(answer, Detail::from(detail)))
    }
}

/// What the browser has to know (JSON Session Instructions): which cookie it keeps fresh, for what, and where.
///
/// Whatever leads to this host, a link in a mail or the way back from the provider, may have the browser refresh first:
/// else it would come without the cookie. From other sites only pages that are opened carry it (`SameSite=Lax`).
fn instructions(live: &Live, authority: &str) -> Value {
    let id: &SessionId = live.id();
    json!({
        "session_identifier": id.as_str(),
        "refresh_url": DEVICE_KEY_REFRESH,
        "scope": { "origin": format!("https://{authority}"), "include_site": false },
        "credentials": [{ "type": "cookie", "name": DEVICE_COOKIE, "attributes": ATTRIBUTES }],
        "allowed_refresh_initiators": ["*"],
    })
}

pub(super) fn on_record(received: Received, answer: Answer, detail: Detail) -> Handled {
    Handled {
        detail,
        ..handled(received, (Event::DeviceKeyRegistered, answer))
    }
}
