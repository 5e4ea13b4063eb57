//! The rooms above the stages: made once the owners of the stages exist, before anyone is served.
//!
//! A room acts on the stages through the store, the policies' standing and the trail, and through nothing else.
//! *Owns*: one handle of each room.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{StartError, ended};
use crate::admin::health::{Check, Status, Weight};
use crate::audit::log::MasterKey;
use crate::audit::trail::Audit;
use crate::backup::{Backups, Standing};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::Desks;
use crate::identity::Identity;
use crate::policy::decide::Policies;
use crate::segmentation::{self, Probes};
use crate::store::Store;

/// What rooms stand on.
#[derive(Debug)]
#[expect(dead_code, reason = "each room takes what it needs; none is here yet")]
pub(super) struct Foundations<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// Shared state.
    pub(super) store: Store,
    /// The trail, to write in.
    pub(super) audit: Audit,
    /// Where the trail lies, to read from.
    pub(super) trail: PathBuf,
    /// The key that opens it.
    pub(super) master: Arc<MasterKey>,
    /// Policies and standing.
    pub(super) policies: Arc<Policies>,
    /// Sessions.
    pub(super) identity: Arc<Identity>,
    /// Time.
    pub(super) clock: SharedClock,
}

/// Every room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// Backups, where they are configured.
    pub(super) backups: Option<Backups>,
    /// Probes for a way around the gateway.
    pub(super) probes: Probes,
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        let backups = Backups::open(
            on.config,
            on.store.clone(),
            on.audit.clone(),
            on.master.clone(),
            on.clock.clone(),
        )
        .await?;
        let probes = Probes::open(on.config, on.audit.clone(), on.clock.clone());
        Ok(Self { backups, probes })
    }

    /// Who answers the gateway's pages for people who are signed in.
    #[expect(clippy::unused_self, reason = "no room has pages yet")]
    pub(super) fn desks(&self) -> Desks {
        Desks::new(Vec::new())
    }

    /// How each room is: the lines of `chartgate status`.
    #[expect(clippy::unused_async, reason = "rooms read the store")]
    pub(super) async fn checks(&self) -> Vec<Check> {
        vec![
            backup_line(self.backups.as_ref()),
            segmentation_line(&self.probes),
        ]
    }

    /// Starts what rooms do in the background.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        if let Some(backups) = &self.backups {
            background.spawn(backups.clone().keep(ended(ending.clone())));
        }
        background.spawn(self.probes.clone().keep(ended(ending.clone())));
    }
}

fn segmentation_line(probes: &Probes) -> Check {
    let (status, detail) = match probes.standing() {
        segmentation::Standing::Fine(detail) => (Status::Green, detail),
        segmentation::Standing::Look(detail) => (Status::Amber, detail),
        segmentation::Standing::Bad(detail) => (Status::Red, detail),
    };
    Check {
        name: "segmentation".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}

fn backup_line(backups: Option<&Backups>) -> Check {
    let standing = backups.map_or_else(
        || Standing::Look("none is configured: add [backup]".to_owned()),
        Backups::standing,
    );
    let (status, detail) = match standing {
        Standing::Fine(detail) => (Status::Green, detail),
        Standing::Look(detail) => (Status::Amber, detail),
        Standing::Bad(detail) => (Status::Red, detail),
    };
    Check {
        name: "backup".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}
