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
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::Desks;
use crate::identity::Identity;
use crate::policy::decide::Policies;
use crate::posture::updates::{State, Updates};
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
    /// Sessions.
    pub(super) identity: Arc<Identity>,
    /// Time.
    pub(super) clock: SharedClock,
}

/// Every room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// What is known to be vulnerable in this build.
    pub(super) updates: Arc<Updates>,
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    #[expect(clippy::unused_async, reason = "rooms read the store")]
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        Ok(Self {
            updates: Updates::new(on.config.update.clone(), on.audit.clone(), on.clock.clone()),
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
        vec![updates(&self.updates.state())]
    }

    /// Starts what rooms do in the background.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        let end = || ended(ending.clone());
        background.spawn(Arc::clone(&self.updates).run(end()));
    }
}

fn check(name: &str, status: Status, detail: String) -> Check {
    Check {
        name: name.to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}

fn updates(state: &State) -> Check {
    let (status, detail) = match state {
        State::NoFeed => (
            Status::Amber,
            "no advisory feed is configured (`update.feed`); nobody compares this build".to_owned(),
        ),
        State::Unknown(problem) => (Status::Amber, problem.clone()),
        State::Stale(newest) => (
            Status::Amber,
            format!(
                "the advisory feed is old: its newest record is of {}",
                newest.feed_newest
            ),
        ),
        State::Known(newest) if newest.findings.is_empty() => (
            Status::Green,
            format!(
                "nothing known against {} components, feed of {}",
                newest.components, newest.feed_newest
            ),
        ),
        State::Known(newest) => (
            Status::Red,
            format!(
                "{} known vulnerabilities; see `chartgate update check`",
                newest.findings.len()
            ),
        ),
    };
    check("updates", status, detail)
}
