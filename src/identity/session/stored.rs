//! A session as the store keeps it.
//!
//! *Owns*: the sealed form and its version. *On failure*: a form that this version did not write is no session.

use std::sync::atomic::{AtomicI64, AtomicU64};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Live, SessionId};
use crate::identity::device_key::{BondSlot, Tie};
use crate::identity::lock::Latch;
use crate::identity::origin::{Origin, Usage, Used};
use crate::request::principal::User;
use crate::secret::Secret;

/// The sealed form in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    id: String,
    user: User,
    role_values: Vec<String>,
    issuer_session: Option<String>,
    id_token: String,
    created: Timestamp,
    last_active: Timestamp,
    ends: Timestamp,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    used: Used,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Tie::is_none")]
    tie: Tie,
}

const VERSION: u8 = 1;

impl Live {
    /// Reads the form that the store keeps; `None` for what this version did not write.
    pub(in crate::identity) fn decode(
        key: &str,
        value: &Secret<Vec<u8>>,
        epoch: u64,
    ) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(value.expose()).ok()?;
        if stored.version != VERSION {
            return None;
        }
        let last_active = stored.last_active.as_millisecond();
        Some(Self {
            key: key.to_owned(),
            id: SessionId::known(&stored.id),
            user: stored.user,
            role_values: stored.role_values,
            issuer_session: stored.issuer_session,
            sub: stored.sub,
            id_token: Secret::new(stored.id_token),
            created: stored.created,
            ends: stored.ends,
            epoch,
            last_active: AtomicI64::new(last_active),
            flushed: AtomicI64::new(last_active),
            confirmed: AtomicU64::new(0),
            standing: ArcSwapOption::empty(),
            origin: stored.origin,
            usage: Usage::of(stored.used),
            latch: Latch::of(stored.locked),
            bond: BondSlot::of(stored.tie),
            lifeline: None,
            reading: None,
        })
    }

    /// The form that the store keeps, with the activity known now.
    pub(in crate::identity) fn encode(&self) -> Option<Secret<Vec<u8>>> {
        let stored = Stored {
            version: VERSION,
            id: self.id.as_str().to_owned(),
            user: self.user.clone(),
            role_values: self.role_values.clone(),
            issuer_session: self.issuer_session.clone(),
            id_token: self.id_token.expose().clone(),
            created: self.created,
            last_active: self.last_active(),
            ends: self.ends,
            origin: self.origin.clone(),
            used: self.usage.told(),
            locked: self.latch.since(),
            sub: self.sub.clone(),
            tie: self.bond.tie(),
        };
        let bytes = serde_json::to_vec(&stored).ok().map(Secret::new);
        drop(Secret::new(stored.id_token));
        bytes
    }
}
