//! The rooms above the stages: made once the owners of the stages exist, before anyone is served.
//!
//! A room acts on the stages through the store, the policies' standing and the trail, and through nothing else.
//! *Owns*: one handle of each room.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{StartError, containment};
use crate::admin::health::Check;
use crate::audit::log::MasterKey;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::Desks;
use crate::identity::Identity;
use crate::operate::cases::Cases;
use crate::operate::containment::Containment;
use crate::operate::incidents::{self, Incidents};
use crate::operate::lockdown::{Ground, Lockdowns};
use crate::policy::decide::Policies;
use crate::store::Store;
use crate::upstream::Streams;

/// What rooms stand on.
#[derive(Debug)]
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
    /// Live streams.
    pub(super) streams: Arc<Streams>,
    /// Sessions.
    pub(super) identity: Arc<Identity>,
    /// Time.
    pub(super) clock: SharedClock,
}

/// Every room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    clock: SharedClock,
    /// Cases.
    pub(super) cases: Arc<Cases>,
    /// Locks and sessions.
    pub(super) containment: Arc<Containment>,
    /// Incidents.
    pub(super) incidents: Arc<Incidents>,
    /// Lockdowns.
    pub(super) lockdowns: Arc<Lockdowns>,
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        let (store, audit, clock) = (&on.store, &on.audit, &on.clock);
        let cases = Cases::load(store.clone(), audit.clone(), clock.clone()).await?;
        let containment = Containment::load(
            store.clone(),
            audit.clone(),
            on.identity.clone(),
            clock.clone(),
        );
        let lockdowns = Lockdowns::load(Ground {
            store: store.clone(),
            audit: audit.clone(),
            policies: on.policies.clone(),
            streams: on.streams.clone(),
            emrs: on.config.emrs.iter().map(|emr| emr.name.clone()).collect(),
            clock: clock.clone(),
        });
        let incidents = Incidents::load(incidents::Ground {
            store: store.clone(),
            audit: audit.clone(),
            trail: on.trail.clone(),
            master: on.master.clone(),
            signing_key: on.config.audit.signing_key.clone(),
            checkpoint_interval: on.config.audit.checkpoint_interval,
            cases: cases.clone(),
            clock: clock.clone(),
        });
        Ok(Self {
            clock: clock.clone(),
            incidents: incidents.await?,
            cases,
            containment: containment.await?,
            lockdowns: lockdowns.await?,
        })
    }

    /// Who answers the gateway's pages for people who are signed in.
    #[expect(clippy::unused_self, reason = "no room has pages yet")]
    pub(super) fn desks(&self) -> Desks {
        Desks::new(Vec::new())
    }

    /// How each room is: the lines of `chartgate status`.
    #[expect(clippy::unused_async, reason = "rooms read the store")]
    pub(super) async fn checks(&self) -> Vec<Check> {
        containment::checks(self, self.clock.now())
    }

    /// Starts what rooms do in the background.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        background.spawn(containment::keep_time(self.clone(), ending.clone()));
    }
}
