//! The rooms above the stages: made once the owners of the stages exist, before anyone is served.
//!
//! A room acts on the stages through the store, the policies' standing and the trail, and through nothing else.
//! *Owns*: one handle of each room.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{StartError, UPKEEP, ended};
use crate::admin::health::{Check, Status, Weight};
use crate::admin::protocol::{AdminError, AdminErrorKind, Operator};
use crate::admin::socket::Replies;
use crate::audit::log::MasterKey;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::Desks;
use crate::emr::emrs::Emrs;
use crate::identity::Identity;
use crate::operate::permissions::{Ask, By, Calls, Grounds, Permissions};
use crate::policy::decide::Policies;
use crate::store::Store;

/// What rooms stand on.
#[derive(Debug)]
#[expect(dead_code, reason = "each room takes what it needs")]
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
    /// EMR profiles and sessions.
    pub(super) emrs: Arc<Emrs>,
    /// Sessions.
    pub(super) identity: Arc<Identity>,
    /// Time.
    pub(super) clock: SharedClock,
}

/// Every room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// Permissions: the bundle in force, and their review.
    pub(super) permissions: Permissions,
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        let permissions = Permissions::open(Grounds {
            policy: on.config.policy.clone(),
            emr_config: on.config.emrs.clone(),
            emrs: on.emrs.clone(),
            policies: on.policies.clone(),
            store: on.store.clone(),
            audit: on.audit.clone(),
            trail: on.trail.clone(),
            master: on.master.clone(),
            clock: on.clock.clone(),
        })
        .await?;
        Ok(Self { permissions })
    }

    /// Who answers the gateway's pages for people who are signed in.
    #[expect(clippy::unused_self, reason = "no room has pages yet")]
    pub(super) fn desks(&self) -> Desks {
        Desks::new(Vec::new())
    }

    /// How each room is: the lines of `chartgate status`.
    #[expect(clippy::unused_async, reason = "rooms read the store")]
    pub(super) async fn checks(&self) -> Vec<Check> {
        self.permissions.measure();
        self.permissions
            .standings()
            .into_iter()
            .map(|standing| Check {
                name: standing.name.to_owned(),
                status: match standing.calls {
                    Calls::Nobody => Status::Green,
                    Calls::Somebody => Status::Amber,
                },
                weight: Weight::Advisory,
                detail: standing.detail,
            })
            .collect()
    }

    /// Starts what rooms do in the background.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        background.spawn(self.permissions.clone().watch(ended(ending.clone())));
        background.spawn(measure(self.permissions.clone(), ended(ending.clone())));
    }
}

/// Keeps the gauges of permissions true.
async fn measure(permissions: Permissions, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    loop {
        permissions.measure();
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
    }
}

/// Answers an operator about permissions.
pub(super) async fn permissions(
    room: &Permissions,
    operator: &Operator,
    ask: Ask,
    replies: &Replies,
) -> Result<(), AdminError> {
    let failed = |error: &dyn std::fmt::Display| AdminError::new(AdminErrorKind::Failed, error);
    match ask {
        Ask::Activate { directory } => {
            let by = By::Operator(operator.name().to_owned());
            let activated = room.activate(directory, by).await;
            replies
                .send(&activated.map_err(|error| failed(&error))?)
                .await
        }
        Ask::Usage { since } => {
            let usage = room.usage(operator.name(), since).await;
            for line in usage.map_err(|error| failed(&error))?.lines() {
                replies.send(&line).await?;
            }
            Ok(())
        }
        Ask::SignOff(signed) => {
            let review = room.sign_off(operator.name(), signed).await;
            replies.send(&review.map_err(|error| failed(&error))?).await
        }
    }
}
