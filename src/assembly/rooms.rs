//! The rooms above the stages: made once the owners of the stages exist, before anyone is served.
//!
//! A room acts on the stages through the store, the policies' standing and the trail, and through nothing else.
//! *Owns*: one handle of each room.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use crate::admin::health::{Check, Status, Weight};
use crate::audit::answers::{Age, Answers, Holdings};
use crate::audit::log::{LogError, MasterKey, RealFiles};
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::Desks;
use crate::identity::Identity;
use crate::policy::decide::Policies;
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
    answers: Answers,
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    #[expect(clippy::unused_async, reason = "rooms read the store")]
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        let holdings = Holdings::new(&on.config.audit, Arc::new(RealFiles), on.master.clone());
        Ok(Self {
            answers: Answers::new(on.audit.clone(), holdings, on.clock.clone()),
        })
    }

    /// Who answers what operators ask of the trail.
    pub(super) const fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Who answers the gateway's pages for people who are signed in.
    #[expect(clippy::unused_self, reason = "no room has pages yet")]
    pub(super) fn desks(&self) -> Desks {
        Desks::new(Vec::new())
    }

    /// How each room is: the lines of `chartgate status`.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let answers = self.answers.clone();
        let age = tokio::task::spawn_blocking(move || answers.age()).await;
        age.into_iter().map(retention).collect()
    }

    /// Starts what rooms do in the background.
    #[expect(clippy::unused_self, reason = "no room works yet")]
    pub(super) fn start(&self, _background: &mut JoinSet<()>, _ending: &watch::Receiver<bool>) {}
}

fn retention(age: Result<Age, LogError>) -> Check {
    let (status, detail) = match age {
        Err(error) => (
            Status::Amber,
            format!("the trail's age is not known: {error}"),
        ),
        Ok(Age {
            oldest,
            segments,
            years,
            over,
        }) => {
            let oldest = oldest.map_or_else(
                || "nothing yet".to_owned(),
                |oldest| oldest.strftime("%Y-%m-%d").to_string(),
            );
            let over = match over {
                0 => String::new(),
                over => format!("; {over} may be removed: see `chartgate audit retention`"),
            };
            let detail = format!(
                "oldest record {oldest}, {segments} segments, kept {years} calendar years{over}"
            );
            (Status::Green, detail)
        }
    };
    Check {
        name: "retention".to_owned(),
        status,
        weight: Weight::Advisory,
        detail,
    }
}
