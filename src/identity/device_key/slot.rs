//! The bond of a session in use, shared by its requests.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use super::bond::Bond;

/// Whether a session was opened with a bond, and is nothing without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::identity) enum Tie {
    /// It was not: sessions are not bound to devices, or were not then.
    #[default]
    None,
    /// It was.
    Kept,
}

impl Tie {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(in crate::identity) const fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Kept => false,
        }
    }
}

/// Where a session in use has its bond.
#[derive(Debug, Default)]
pub(in crate::identity) struct BondSlot {
    tie: Tie,
    bond: ArcSwapOption<Bond>,
}

impl BondSlot {
    /// A session as it was stored: its bond is still to be read.
    pub(in crate::identity) fn of(tie: Tie) -> Self {
        Self {
            tie,
            bond: ArcSwapOption::empty(),
        }
    }

    pub(in crate::identity) const fn tie(&self) -> Tie {
        self.tie
    }

    pub(in crate::identity) fn get(&self) -> Option<Arc<Bond>> {
        self.bond.load_full()
    }

    /// A key was registered. There is no way back: a session that loses its key gets a new token with its new bond.
    pub(in crate::identity) fn set(&self, bond: Arc<Bond>) {
        self.bond.store(Some(bond));
    }

    /// What the store knows of it counts, too. A reading that began before a registration does not undo it.
    pub(in crate::identity) fn join(&self, stored: &Self) {
        if let Some(bond) = stored.get().filter(|bond| bond.is_registered()) {
            self.set(bond);
        }
    }
}

impl From<Option<Arc<Bond>>> for BondSlot {
    fn from(bond: Option<Arc<Bond>>) -> Self {
        Self {
            tie: if bond.is_some() { Tie::Kept } else { Tie::None },
            bond: ArcSwapOption::new(bond),
        }
    }
}
