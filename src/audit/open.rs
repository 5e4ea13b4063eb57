//! Opens the trail: recovers what a crash left, settles open admissions, and says so on record.
//!
//! *Never*: a request before this is done; a start after a run that did not stop in order without *recovered*.
//! *On failure*: [`OpenError`], which says what to do; the gateway does not start.

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are small")]
mod crash_tests;
mod left;
mod recorder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use left::{Left, left_behind};
use recorder::{Recorder, describe, lost};

use super::entry::Entry;
use super::log::{
    Files, KeyError, Limits as LogLimits, Log, LogError, LogOptions, MasterKey, RealFiles,
    Recovered, SigningKey, Truncation, headers,
};
use super::outcome::{End, Outcome};
use super::tally::Unrecorded;
use super::trail::{Audit, AuditError};
use crate::clock::{SharedClock, SystemClock};
use crate::config;
use crate::request::Event;

/// How long another process may hold the trail: an `audit show` reads it for a moment where no gateway runs.
const LOCK_PATIENCE: Patience = Patience {
    attempts: 50,
    pause: Duration::from_millis(100),
};

/// How often the trail's lock is tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    attempts: u32,
    pause: Duration,
}

/// What the trail stands on beside its configuration; a test puts something else there.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The file system.
    pub files: Arc<dyn Files>,
    /// What its disk is timed with. Not the clock of the records: that one can be set, and tests move it by hours.
    pub watch: SharedClock,
}

impl Default for Ground {
    fn default() -> Self {
        Self::of(Arc::new(RealFiles))
    }
}

impl Ground {
    /// This file system, timed as it is.
    #[must_use]
    pub fn of(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            watch: SystemClock::shared(),
        }
    }
}

/// Why the trail could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What has to be recorded first could not be.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What was done before the first request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Admissions of earlier runs that got *outcome unknown*.
    pub unknown: u64,
    /// Bytes of a torn tail that were cut and put aside.
    pub cut_bytes: u64,
    /// How the run before ended.
    pub before: Before,
}

/// How the run before this one ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// There was none.
    #[default]
    Nothing,
    /// It recorded *stopped*.
    Stopped,
    /// It did not: it was killed, or the machine failed.
    Unclean,
}

impl Audit {
    /// Opens the trail of `config`, settles it, and records the start.
    ///
    /// # Errors
    /// [`OpenError`] when keys, log or disk are not in order.
    pub async fn open(
        config: &config::Audit,
        limits: &config::Limits,
        files: Arc<dyn Files>,
        clock: SharedClock,
        truncation: Truncation,
    ) -> Result<(Self, Settled), OpenError> {
        Self::open_on(Ground::of(files), config, limits, clock, truncation, None).await
    }

    /// The same on a ground of the caller's; `changed` is what changed of the configuration, and goes on record before
    /// *started*.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_on(
        ground: Ground,
        config: &config::Audit,
        limits: &config::Limits,
        clock: SharedClock,
        truncation: Truncation,
        changed: Option<&BTreeMap<String, String>>,
    ) -> Result<(Self, Settled), OpenError> {
        let opened = Self::open_within(LOCK_PATIENCE, ground, config, limits, clock, truncation);
        let (audit, settled, found) = opened.await?;
        audit.settle(&found.recovered, found.left, changed).await?;
        Ok((audit, settled))
    }

    async fn open_within(
        patience: Patience,
        ground: Ground,
        config: &config::Audit,
        limits: &config::Limits,
        clock: SharedClock,
        truncation: Truncation,
    ) -> Result<(Self, Settled, Found), OpenError> {
        let master = Arc::new(MasterKey::read(&config.master_key)?);
        let files = Arc::clone(&ground.files);
        let unrecorded = Arc::<Unrecorded>::default();
        let mut left = patience.attempts;
        let (log, recovered) = loop {
            let recorder = Recorder {
                node: config.node.as_str().into(),
                clock: clock.clone(),
                unrecorded: Arc::clone(&unrecorded),
            };
            let options = options(config, &master, &ground, recorder, &clock, truncation)?;
            match Log::open(options, files.clone(), clock.clone()) {
                Err(LogError::Locked { path }) if left > 0 => {
                    if left == patience.attempts {
                        tracing::warn!(path = %path.display(), "another process holds the trail; waiting for it");
                    }
                    left = left.saturating_sub(1);
                    tokio::time::sleep(patience.pause).await;
                }
                opened => break opened?,
            }
        };
        let audit = Self::new(log, &config.node, limits, clock, unrecorded);
        // Read under the lock: nobody else begins a segment any more.
        let mut earlier = headers(&*files, &config.directory)?;
        earlier.retain(|header| header.segment != recovered.segment);
        let left = left_behind(
            &files,
            &config.directory,
            &master,
            &earlier,
            recovered.last_seq,
        )?;
        let settled = Settled {
            unknown: u64::try_from(left.open.len()).unwrap_or(u64::MAX),
            cut_bytes: recovered.cut.as_ref().map_or(0, |cut| cut.bytes),
            before: left.before,
        };
        Ok((audit, settled, Found { recovered, left }))
    }

    /// INVARIANT: *started* is recorded last. A run without it was not settled, and the next start looks further back.
    async fn settle(
        &self,
        recovered: &Recovered,
        left: Left,
        changed: Option<&BTreeMap<String, String>>,
    ) -> Result<(), AuditError> {
        let unknown = left.open.len();
        for admission in left.open {
            let entry = Entry::outcome(&self.shared.node, self.now(), admission, unknown_outcome());
            self.append(&entry, super::log::Priority::Care).await?;
        }
        let mut detail = describe(recovered);
        let unclean = left.before == Before::Unclean;
        if unclean || unknown > 0 {
            detail.insert("outcomes_unknown".to_owned(), unknown.to_string());
        }
        if unclean {
            detail.insert("previous_run".to_owned(), "not stopped".to_owned());
        }
        let is_accepted = recovered.accepted_loss.is_some() || !recovered.contradictions.is_empty();
        if recovered.cut.is_some() || is_accepted || unknown > 0 || unclean {
            self.event(Event::Recovered, None, detail).await?;
        }
        // Whatever the disk's space: the start was not compared with what they hold.
        for unheard in &recovered.unheard {
            let detail = lost(unheard);
            let entry = Entry::event(
                &self.shared.node,
                self.now(),
                Event::WitnessLost,
                None,
                detail,
            );
            self.append(&entry, super::log::Priority::Care).await?;
        }
        if let Some(changed) = changed {
            self.event(Event::ConfigurationChanged, None, changed.clone())
                .await?;
        }
        let build = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        self.event(Event::Started, None, build).await
    }
}

/// What the log is opened with; made anew for each try, as a try takes it.
fn options(
    config: &config::Audit,
    master: &Arc<MasterKey>,
    ground: &Ground,
    recorder: Recorder,
    clock: &SharedClock,
    truncation: Truncation,
) -> Result<LogOptions, KeyError> {
    let signer = SigningKey::read(&config.signing_key)?;
    Ok(LogOptions {
        directory: config.directory.clone(),
        node: config.node.clone(),
        master: Arc::clone(master),
        witnesses: super::witnesses::open(config, &ground.files, signer.verifier(), clock),
        signer,
        observer: Box::new(recorder),
        limits: LogLimits {
            allocate_bytes: LogLimits::default()
                .allocate_bytes
                .min(config.segment_bytes),
            segment_bytes: config.segment_bytes,
            checkpoint_records: config.checkpoint_records,
            checkpoint_interval: config.checkpoint_interval,
            min_free_bytes: config.reserve_bytes,
            stall_after: config.stall_after,
            ..LogLimits::default()
        },
        watch: ground.watch.clone(),
        truncation,
    })
}

fn unknown_outcome() -> Outcome {
    Outcome {
        end: End::Unknown,
        status: None,
        refusal: None,
        bytes_out: 0,
        bytes_in: 0,
        millis: 0,
        patients: Vec::new(),
        watermark: None,
        appeared: Vec::new(),
        appeared_more: 0,
        appeared_unknown: None,
    }
}

/// What was found when the trail was opened.
struct Found {
    recovered: Recovered,
    left: Left,
}
