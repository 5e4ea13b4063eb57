//! Permissions under review: which bundle is in force, how another one gets there, and who last looked it all over.
//!
//! *Owns*: the swap of the bundle with its EMR profiles; the bundles that were in force, the candidate in the shadow and
//! the date of the last review (in the store).
//! *Never*: a bundle in force that has a problem, misses its own tables, lacks a required signature, or is not on record.
//! *On failure*: what is in force stays; the trail, an alarm and a line of `chartgate status` say why.

mod activate;
mod history;
mod review;
mod shadow;
mod start;
pub mod trust;
mod usage;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use activate::{ActivateError, Activated, By};
pub use history::{HistoryError, Hold, How, Line};
pub use review::{Review, ReviewError, SignOff};
pub use shadow::{ShadowAsk, ShadowError};
pub use start::{Start, StartError};
pub use usage::{Seen, Usage, UsageLine, Use};

use crate::audit::log::MasterKey;
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config;
use crate::emr::emrs::{Emrs, Profiles};
use crate::emr::profile::Problem;
use crate::policy::bundle::Bundle;
use crate::policy::decide::Policies;
use crate::store::Store;
use trust::Trust;

/// What an operator asks of this room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Put the bundle in force that is in the configured directory, or in another one.
    Activate {
        /// The other directory, absolute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        directory: Option<PathBuf>,
    },
    /// Go back to the bundle that was in force before; the value is an [`Activated`].
    Rollback {
        /// The beginning of the digest of another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Why.
        reason: String,
    },
    /// The bundles that were in force: one value for each [`Line`], the newest first.
    History,
    /// A candidate beside the bundle in force.
    Shadow(ShadowAsk),
    /// Who used which permission: one value for each [`UsageLine`]. Goes on record as a reading of the trail.
    Usage {
        /// Nothing older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// Sign a review off.
    SignOff(SignOff),
}

/// What this room stands on.
#[derive(Debug)]
pub struct Grounds {
    /// Where the bundle lies, how often it is looked at, and how often it is reviewed.
    pub policy: config::Policy,
    /// The EMRs, whose profiles go with the bundle.
    pub emr_config: Vec<config::Emr>,
    /// The profiles in force.
    pub emrs: Arc<Emrs>,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// Shared state.
    pub store: Store,
    /// The trail, to write in.
    pub audit: Audit,
    /// Where the trail lies.
    pub trail: PathBuf,
    /// The key that opens it.
    pub master: Arc<MasterKey>,
    /// Time.
    pub clock: SharedClock,
}

/// Permissions under review.
#[derive(Debug, Clone)]
pub struct Permissions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    grounds: Grounds,
    /// One activation at a time.
    turn: tokio::sync::Mutex<()>,
    trust: Trust,
    state: ArcSwap<State>,
    reviewed: ArcSwapOption<Review>,
}

/// How the bundle in force relates to the one on disk.
#[derive(Debug, Clone, Default)]
struct State {
    /// Where the bundle in force was read from, where that is not the configured directory.
    elsewhere: Option<PathBuf>,
    /// The rollback that holds.
    held: Option<Hold>,
    /// Why the newest bundle was not put in force.
    rejected: Option<Rejected>,
}

/// A bundle that was not put in force.
#[derive(Debug, Clone)]
struct Rejected {
    at: Timestamp,
    problems: Vec<String>,
}

/// How something about permissions is, for `chartgate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// A stable name.
    pub name: &'static str,
    /// Whether someone should look.
    pub calls: Calls,
    /// What was found, and what to do.
    pub detail: String,
}

/// Whether something calls for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Nobody.
    Nobody,
    /// Somebody should look.
    Somebody,
}

impl Permissions {
    /// Opens the room: the bundle in force goes on record, the last review is read.
    ///
    /// # Errors
    /// [`ReviewError`] when the store or the trail does not answer.
    pub async fn open(grounds: Grounds) -> Result<Self, ReviewError> {
        let reviewed = Review::last(&grounds.store).await?;
        let in_force = grounds.policies.active().bundle().digest().to_owned();
        let held = Hold::read(&grounds.store).await?;
        let held = held.filter(|hold| hold.in_force == in_force);
        let room = Self {
            shared: Arc::new(Shared {
                reviewed: ArcSwapOption::new(reviewed.map(Arc::new)),
                state: ArcSwap::from_pointee(State {
                    held: held.clone(),
                    ..State::default()
                }),
                trust: Trust::of(&grounds.policy)?,
                turn: tokio::sync::Mutex::new(()),
                grounds,
            }),
        };
        room.record_start(held.as_ref()).await?;
        room.resume_shadow().await?;
        Ok(room)
    }

    /// The lines of `chartgate status`.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let mut standings = vec![self.bundle_standing()];
        standings.extend(self.shadow_standing());
        standings.push(self.review_standing());
        standings
    }

    fn bundle_standing(&self) -> Standing {
        let in_force = self.policies().in_force();
        let bundle = in_force.active().bundle();
        let named = format!(
            "{} {}, sha256 {}, {} policies",
            bundle.name(),
            bundle.version(),
            short(bundle.digest()),
            bundle.policies().len()
        );
        let state = self.shared.state.load();
        let (calls, detail) = match (&state.rejected, &state.elsewhere) {
            (Some(rejected), _) => (
                Calls::Somebody,
                format!(
                    "{named}; a newer one was NOT put in force at {:.0}: {}. Run `chartgate policy check`",
                    rejected.at,
                    rejected.problems.join("; ")
                ),
            ),
            (None, Some(directory)) => (
                Calls::Somebody,
                format!(
                    "{named}, from {}; a restart takes the configured one",
                    directory.display()
                ),
            ),
            (None, None) => match &state.held {
                Some(hold) => (Calls::Somebody, held_in_words(&named, hold)),
                None => (Calls::Nobody, named),
            },
        };
        Standing {
            name: "policy-bundle",
            calls,
            detail,
        }
    }

    fn policies(&self) -> &Policies {
        &self.shared.grounds.policies
    }

    fn now(&self) -> Timestamp {
        self.shared.grounds.clock.now()
    }

    fn review_interval(&self) -> Duration {
        self.shared.grounds.policy.review_interval
    }
}

fn held_in_words(named: &str, hold: &Hold) -> String {
    format!(
        "{named}; rolled back by {} at {:.0} ({}). The files on disk are not in force: correct them, or `chartgate policy activate` takes them as they are",
        hold.operator, hold.at, hold.reason
    )
}

/// The beginning of a digest, enough to tell two bundles apart by eye.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The profiles of the configured EMRs as they go with `bundle`: those below the configured directory are the bundle's
/// own, whichever directory it was read from.
///
/// # Errors
/// Every problem of every profile.
pub fn profiles(
    configured: &[config::Emr],
    directory: &Path,
    bundle: &Bundle,
) -> Result<Profiles, Vec<Problem>> {
    let mut missing = Vec::new();
    let texts = bundle.profiles();
    for emr in configured {
        if let Ok(name) = emr.profile.strip_prefix(directory)
            && !texts.contains_key(name)
        {
            missing.push(Problem {
                file: bundle.directory().join(name).display().to_string(),
                line: 0,
                message: format!("the bundle lacks the profile of the EMR `{}`", emr.name),
                remedy: "put it there, or name another file in chartgate.toml".to_owned(),
            });
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    Profiles::read(configured, bundle.digest(), |path| {
        let name = path.strip_prefix(directory).ok()?;
        texts.get(name).map(String::as_str)
    })
}
