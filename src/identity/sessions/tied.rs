//! Sessions that are bound to devices: what binds one is read and kept with it.

use std::sync::Arc;

use super::{Found, Sessions, remembered_until};
use crate::config;
use crate::config::sessions::BindTo;
use crate::identity::device_key::{Bond, BondSlot, Bonds, Tie};
use crate::identity::session::{Live, SessionId};
use crate::store::{Replacement, Store, StoreError};

/// Where bonds are kept, if sessions are bound to devices.
pub(super) fn bonds(config: &config::Identity, store: &Store) -> Option<Bonds> {
    let is_on = config.sessions.binding.on.contains(&BindTo::DeviceKey);
    is_on.then(|| Bonds::new(store.clone()))
}

impl Sessions {
    /// Where bonds are kept.
    pub(in crate::identity) const fn bonds(&self) -> Option<&Bonds> {
        self.bonds.as_ref()
    }

    /// Keeps the bond of a session that opens. Its token is told nobody before that is done.
    pub(super) async fn tie(&self, live: &Live) -> Result<(), StoreError> {
        let (Some(bonds), Some(bond)) = (&self.bonds, live.bond().get()) else {
            return Ok(());
        };
        let name = (live.id(), live.key());
        bonds.keep(name, &bond, remembered_until(live)).await
    }

    /// A session that was read, with its bond. None where that is not there or is for another token: a session that
    /// was bound is not to be had without.
    pub(super) async fn as_tied(&self, live: Live) -> Result<Option<Live>, StoreError> {
        let Some(bonds) = &self.bonds else {
            return Ok(Some(live));
        };
        match live.bond().tie() {
            Tie::None => return Ok(Some(live)),
            Tie::Kept => {}
        }
        let kept = bonds.get(live.id()).await?;
        let own = kept.filter(|kept| kept.session == live.key());
        Ok(own.map(|kept| live.tied(BondSlot::from(Some(Arc::new(kept.bond))))))
    }

    /// The session with this fingerprint, and its bond, if it is open and was bound.
    pub(in crate::identity) async fn tied(
        &self,
        id: &SessionId,
    ) -> Result<Option<(Arc<Live>, Arc<Bond>)>, StoreError> {
        let Some(bonds) = &self.bonds else {
            return Ok(None);
        };
        let Some(kept) = bonds.get(id).await? else {
            return Ok(None);
        };
        Ok(match self.find_under(&kept.session).await? {
            Found::Live(live) if live.id() == id => live.bond().get().map(|bond| (live, bond)),
            Found::Live(_) | Found::Over(..) | Found::Unknown | Found::NotRenewed(_) => None,
        })
    }

    /// Binds a session to a device, durably; whether it is still open.
    pub(in crate::identity) async fn bind(
        &self,
        live: &Live,
        bond: Arc<Bond>,
    ) -> Result<Replacement, StoreError> {
        let Some(bonds) = &self.bonds else {
            return Ok(Replacement::Absent);
        };
        let name = (live.id(), live.key());
        let replaced = bonds.replace(name, &bond, remembered_until(live)).await?;
        match replaced {
            Replacement::Replaced => {
                if let Some(cached) = self.cache.get(live.key()) {
                    cached.bond().set(Arc::clone(&bond));
                }
                live.bond().set(bond);
            }
            Replacement::Absent => {}
        }
        Ok(replaced)
    }
}
