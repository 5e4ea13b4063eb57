//! The archive of the trail: ended segments, byte for byte, and signed checkpoints, where nobody can remove them.
//!
//! *Owns*: the archive's target, and what is remembered of it (`upkeep/archive` in the store; what it holds stands in
//! `audit::archived`, where retention asks for it).
//! *Never*: on the path of a request; the segment that is being written; a removal from the archive.
//! *On failure*: an alarm on the trail, amber or red in `chartgate status`, and retention removes nothing that is not
//! archived; the gateway serves on.

mod chain;
mod error;
mod put;
mod restore;
mod run;
mod state;
mod target;
mod verify;

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod missing_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use error::ArchiveError;
pub use restore::{Restored, restore};
pub use run::Ran;
pub use state::{Failed, Standing, State};
pub use target::Target;
pub use verify::{Expected, Verified, verify};

use crate::audit::answers::Holdings;
use crate::audit::archived::Shelf;
use crate::audit::hold;
use crate::audit::log::SigningKey;
use crate::audit::trail::Audit;
use crate::clock::{SharedClock, began_and_now, spoken};
use crate::config::{Archive, Config};
use crate::request::Event;
use crate::store::Store;
use crate::store::remembered::Remembered;
use crate::telemetry::metrics as names;
use state::Outcome;

/// How often it is looked whether the archive is to be brought up to date.
const LOOK: Duration = Duration::from_secs(30);

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Bring it up to date now.
    Run,
    /// The segments that it holds.
    List,
    /// Read everything that it holds.
    Verify,
}

/// The room; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Archives {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Archive,
    /// The trail's directory.
    trail: PathBuf,
    signing_key: PathBuf,
    /// Calendar years that the trail is kept.
    retention: u16,
    /// Where objects of a bucket pass through.
    scratch: PathBuf,
    holdings: Holdings,
    shelf: Shelf,
    store: Store,
    audit: Audit,
    clock: SharedClock,
    memory: Remembered<State>,
    /// By the clock that nobody sets.
    started: Duration,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Archives {
    /// Opens the room, where an archive is configured.
    ///
    /// # Errors
    /// [`ArchiveError`] where the store does not answer.
    pub async fn open(
        config: &Config,
        store: Store,
        audit: Audit,
        holdings: Holdings,
        clock: SharedClock,
    ) -> Result<Option<Self>, ArchiveError> {
        let Some(archive) = config.audit.archive.clone() else {
            return Ok(None);
        };
        let target = archive.target.describe();
        Ok(Some(Self {
            inner: Arc::new(Inner {
                trail: config.audit.directory.clone(),
                signing_key: config.audit.signing_key.clone(),
                retention: config.audit.retention_years,
                scratch: scratch(config),
                holdings,
                shelf: Shelf::new(store.clone(), &target),
                memory: Remembered::new(state::KEY, State::of(&store, &target).await?),
                store,
                audit,
                started: clock.monotonic(),
                clock,
                config: archive,
                one_at_a_time: tokio::sync::Mutex::new(()),
            }),
        }))
    }

    /// What was last done.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.memory.state()
    }

    /// How the archive is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.inner.memory.state();
        state.standing(self.inner.config.every, self.inner.times())
    }

    /// Answers an operator, a value for each line.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, ArchiveError> {
        match ask {
            Ask::Run => Ok(vec![value(&self.run(operator).await?)?]),
            Ask::List => {
                self.reading(operator, "archive list").await?;
                let all = self.inner.shelf.all().await?;
                all.values().map(value).collect()
            }
            Ask::Verify => {
                self.reading(operator, "archive verify").await?;
                Ok(vec![value(&self.verify().await?)?])
            }
        }
    }

    async fn reading(&self, operator: &str, command: &str) -> Result<(), ArchiveError> {
        let detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("command".to_owned(), command.to_owned()),
        ]);
        let audit = &self.inner.audit;
        Ok(audit.event(Event::AuditRead, None, detail).await?)
    }

    /// Brings the archive up to date when that is due, and alarms when it is not; ends when `end` does.
    pub async fn keep_up(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            // A run that is cut short is taken up by the next one.
            tokio::select! {
                () = &mut end => return,
                () = self.look() => {}
            }
        }
    }

    /// Does what is due now.
    async fn look(&self) {
        let inner = &self.inner;
        let (every, times) = (inner.config.every, inner.times());
        if inner.memory.state().is_due(every, times)
            && let Err(error) = self.run("schedule").await
        {
            tracing::error!(%error, "the trail could not be archived");
        }
        let (state, times) = (inner.memory.state(), inner.times());
        let (started, now) = times;
        metrics::gauge!(names::ARCHIVE_AGE).set(state.age(started, now));
        metrics::gauge!(names::ARCHIVE_SEGMENTS).set(precise(state.segments));
        if state.is_late(every, times) {
            let age = spoken(state.age(started, now));
            let title = format!("the archive of the trail has not been complete for {age}");
            self.alarm("archive-late", "high", title).await;
        } else {
            inner.memory.quiet("archive-late");
        }
        // What cannot be read now is alarmed of where it matters: by retention, and by the run.
        if let Ok(holds) = inner.holdings.holds()
            && let Ok(book) = holds.kept().await
        {
            hold::measure(&book);
        }
    }

    /// Brings the archive up to date.
    ///
    /// # Errors
    /// [`ArchiveError`], which is an alarm already.
    pub async fn run(&self, by: &str) -> Result<Ran, ArchiveError> {
        let inner = &self.inner;
        let _alone = inner.alone()?;
        let ran = self.bring_up_to_date(by).await;
        let failure = match &ran {
            Ok(ran) if ran.problems.is_empty() => None,
            Ok(ran) => Some(ran.problems.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        let Some(reason) = failure else {
            inner.memory.quiet("archive-failed");
            return ran;
        };
        metrics::counter!(names::ARCHIVE_FAILURES).increment(1);
        let mut state = inner.memory.state();
        state.failed = Some(Failed {
            time: inner.clock.now(),
            reason: reason.clone(),
        });
        let kept = inner.memory.keep(&inner.store, state).await;
        let title = format!("the trail could not be archived: {reason}");
        self.alarm("archive-failed", "high", title).await;
        kept?;
        ran
    }

    /// Reads everything that the archive holds. What it does not prove to hold is archived again, where it still can be.
    ///
    /// # Errors
    /// [`ArchiveError`] where it cannot be read at all.
    pub async fn verify(&self) -> Result<Verified, ArchiveError> {
        let inner = &self.inner;
        let _alone = inner.alone()?;
        let known = inner.shelf.all().await?;
        let is_new = known.is_empty();
        let here = self.blocking(|inner| Ok(inner.holdings.headers()?)).await?;
        let found = self
            .blocking(move |inner| {
                let signer = SigningKey::read(&inner.signing_key)?;
                let expected = Expected {
                    known: Some(&known),
                    key: Some(signer.verifier()),
                };
                within(&inner.scratch, |scratch| {
                    verify(&inner.target()?, expected, scratch)
                })
            })
            .await;
        let found = match found {
            Err(ArchiveError::Absent(path)) if !is_new => {
                // What it should hold is not forgotten: it may only not be mounted.
                self.conclude(1, &ArchiveError::Absent(path.clone()).to_string())
                    .await?;
                return Err(ArchiveError::Absent(path));
            }
            found => found?,
        };
        for header in here {
            if found.lost.contains(&header.number) {
                inner.shelf.forget(header.number).await?;
            }
        }
        let first = found.problems.first().map_or("", String::as_str);
        self.conclude(found.problems.len(), first).await?;
        Ok(found)
    }

    /// Remembers what a verification found, and alarms where that is anything.
    async fn conclude(&self, problems: usize, first: &str) -> Result<(), ArchiveError> {
        let inner = &self.inner;
        let mut state = inner.memory.state();
        state.verified = Some(Outcome {
            time: inner.clock.now(),
            problems,
        });
        inner.memory.keep(&inner.store, state).await?;
        if problems == 0 {
            inner.memory.quiet("archive-altered");
            return Ok(());
        }
        let title = format!("what lies in the archive of the trail is not intact: {first}");
        self.alarm("archive-altered", "critical", title).await;
        Ok(())
    }

    /// Works on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| ArchiveError::Refused(error.to_string()))?
    }

    /// Alarms once until the reason is gone.
    async fn alarm(&self, rule: &'static str, level: &str, title: String) {
        if !self.inner.memory.loud(rule) {
            return;
        }
        let detail = BTreeMap::from([
            ("rule".to_owned(), rule.to_owned()),
            ("level".to_owned(), level.to_owned()),
            ("title".to_owned(), title),
        ]);
        if let Err(error) = self.inner.audit.event(Event::Alarm, None, detail).await {
            tracing::error!(%error, rule, "an alarm could not be recorded");
        }
    }
}

impl Inner {
    fn target(&self) -> Result<Target, ArchiveError> {
        Target::open(&self.config.target, self.clock.clone())
    }

    /// When the gateway was started, as the clock stands now, and now.
    fn times(&self) -> (Timestamp, Timestamp) {
        began_and_now(&*self.clock, self.started)
    }

    fn alone(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, ArchiveError> {
        self.one_at_a_time.try_lock().map_err(|_busy| {
            ArchiveError::Refused("another run or verification is under way".to_owned())
        })
    }
}

/// A directory next to the store, on the disk that is trusted with what the store holds.
#[must_use]
pub fn scratch(config: &Config) -> PathBuf {
    let parent = config.store.path.parent();
    parent.unwrap_or(Path::new(".")).join("archive-scratch")
}

/// Works with a directory that is made afresh and removed afterwards.
///
/// # Errors
/// [`ArchiveError::Io`], and those of the work.
pub fn within<T>(
    scratch: &Path,
    work: impl FnOnce(&Path) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    let remove = || match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArchiveError::io(scratch)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    };
    remove()?;
    std::fs::create_dir_all(scratch).map_err(ArchiveError::io(scratch))?;
    let done = work(scratch);
    remove()?;
    done
}

fn value<T: Serialize>(of: &T) -> Result<Value, ArchiveError> {
    serde_json::to_value(of).map_err(|error| ArchiveError::Refused(error.to_string()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus numbers are floating point"
)]
const fn precise(count: u64) -> f64 {
    count as f64
}
