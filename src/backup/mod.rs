//! Backups of all that Chartgate owns and of what the operator adds: encrypted, signed, verified, and practised.
//!
//! *Owns*: the backup target, and what was last backed up and drilled (`upkeep/backup` in the store).
//! *Never*: two backups at once; a private key in a backup; a backup that nobody hears has failed.
//! *On failure*: an alarm on the trail, amber or red in `chartgate status`; the gateway serves on.

mod collect;
mod command;
mod drill;
mod error;
mod make;
mod manifest;
mod restore;
mod seal;
mod state;
mod target;
mod vault;
mod verify;

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use drill::Drilled;
pub use error::BackupError;
pub use manifest::{Link, Manifest};
pub use restore::{RestoredError, marker, restore, settle};
pub use seal::Keys;
pub use state::{Failed, Made, State};
pub use target::Target;
pub use vault::{Kept, Vault};
pub use verify::{Verified, verify};

use crate::audit::log::{MasterKey, SigningKey};
use crate::audit::trail::Audit;
use crate::clock::{SharedClock, began_and_now, spoken};
use crate::config::{Backup, Config};
use crate::request::Event;
use crate::store::Store;
use crate::store::remembered::Remembered;
use crate::telemetry::metrics as names;
use target::fresh_directory;

/// How often it is looked whether a backup is due.
const LOOK: Duration = Duration::from_mins(1);
/// A gateway that never made a backup makes its first one after this.
const FIRST: Duration = Duration::from_mins(10);
/// After a failure the next attempt comes after this.
const AGAIN: Duration = Duration::from_mins(15);

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Make a backup now.
    Run,
    /// The backups at the target.
    List,
    /// Verify every backup, or one.
    Verify {
        /// Which.
        id: Option<String>,
    },
    /// Practise a restore of the newest backup, or of one.
    Drill {
        /// Which.
        id: Option<String>,
    },
}

/// How backups are: a line of `chartgate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In order.
    Fine(String),
    /// Somebody should look.
    Look(String),
    /// There is no backup that would do.
    Bad(String),
}

/// The room; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Backups {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    backup: Backup,
    store: Store,
    audit: Audit,
    master: Arc<MasterKey>,
    clock: SharedClock,
    memory: Remembered<State>,
    /// By the clock that nobody sets.
    started: Duration,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Backups {
    /// Opens the room, where backups are configured.
    ///
    /// # Errors
    /// [`BackupError`] where a key is not in order, or the store does not answer.
    pub async fn open(
        config: &Config,
        store: Store,
        audit: Audit,
        master: Arc<MasterKey>,
        clock: SharedClock,
    ) -> Result<Option<Self>, BackupError> {
        let Some(backup) = config.backup.clone() else {
            return Ok(None);
        };
        MasterKey::read(&backup.key)?;
        Ok(Some(Self {
            inner: Arc::new(Inner {
                memory: Remembered::new(state::KEY, State::of(&store).await?),
                config: config.clone(),
                backup,
                store,
                audit,
                master,
                started: clock.monotonic(),
                clock,
                one_at_a_time: tokio::sync::Mutex::new(()),
            }),
        }))
    }

    /// What was last made and practised.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.memory.state()
    }

    /// Answers an operator, a value for each line.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Vec<Value>, BackupError> {
        let value = |value: Result<Value, serde_json::Error>| {
            value.map_err(|error| BackupError::Refused(error.to_string()))
        };
        match ask {
            Ask::Run => Ok(vec![value(serde_json::to_value(
                self.run(operator).await?,
            ))?]),
            Ask::List => self.blocking(|inner| listed(&inner.vault()?)).await,
            Ask::Verify { id } => {
                let found = self.verify(operator, id).await?;
                Ok(vec![value(serde_json::to_value(found))?])
            }
            Ask::Drill { id } => {
                let drilled = self.drill(operator, id).await?;
                Ok(vec![value(serde_json::to_value(drilled))?])
            }
        }
    }

    /// How backups are.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let inner = &self.inner;
        let (started, now) = inner.times();
        state::standing(&inner.memory.state(), &inner.backup, started, now)
    }

    /// Makes backups when they are due, and alarms when they are not made; ends when `end` does.
    pub async fn keep(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look().await;
        }
    }

    /// Does what is due now.
    async fn look(&self) {
        let inner = &self.inner;
        let (started, now) = inner.times();
        let state = inner.memory.state();
        if state.is_due(inner.backup.schedule, started, now)
            && let Err(error) = self.run("schedule").await
        {
            tracing::error!(%error, "the scheduled backup failed");
        }
        let state = inner.memory.state();
        let age = state.age(started, now);
        metrics::gauge!(names::BACKUP_AGE).set(age);
        if age > inner.backup.max_age {
            let title = format!("the newest backup is {} old", spoken(age));
            self.alarm("backup-old", "high", title).await;
        } else {
            inner.memory.quiet("backup-old");
        }
    }

    /// Makes a backup.
    ///
    /// # Errors
    /// [`BackupError`], which is on record and an alarm already.
    pub async fn run(&self, by: &str) -> Result<Made, BackupError> {
        let inner = &self.inner;
        let _alone = inner.alone()?;
        let begun = inner.clock.monotonic();
        let made = self.make(begun).await;
        let failure = match &made {
            Ok(made) if made.problems.is_empty() => None,
            Ok(made) => Some(made.problems.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        let mut state = inner.memory.state();
        if let Ok(made) = &made {
            state.newest = Some(made.clone());
            metrics::gauge!(names::BACKUP_BYTES).set(precise(made.bytes));
            metrics::gauge!(names::BACKUP_SECONDS).set(Duration::from_millis(made.millis));
        }
        state.failed = failure.clone().map(|reason| Failed {
            time: inner.clock.now(),
            reason,
        });
        inner.memory.keep(&inner.store, state).await?;
        self.record(Event::BackupMade, by, described(&made)).await;
        match failure {
            Some(reason) => {
                metrics::counter!(names::BACKUP_FAILURES).increment(1);
                self.alarm(
                    "backup-failed",
                    "high",
                    format!("a backup failed: {reason}"),
                )
                .await;
            }
            None => inner.memory.quiet("backup-failed"),
        }
        made
    }

    async fn make(&self, begun: Duration) -> Result<Made, BackupError> {
        let inner = &self.inner;
        let spool = inner.spool();
        fresh_directory(&spool)?;
        let copy = spool.join("store.redb");
        inner.store.copy_to(&copy).await?;
        let made = self
            .blocking(move |inner| {
                let vault = inner.vault()?;
                let signer = SigningKey::read(&inner.config.audit.signing_key)?;
                let target = vault.target.describe();
                let maker = make::Maker {
                    config: &inner.config,
                    backup: &inner.backup,
                    vault: &vault,
                    signer: &signer,
                    spool: inner.spool(),
                    expected: inner.memory.state().link_at(&target),
                    clock: inner.clock.clone(),
                };
                let made = maker.make(&copy, || inner.audit.log().status())?;
                let took = inner.clock.monotonic().saturating_sub(begun);
                Ok(Made::new(&made, target, took))
            })
            .await;
        let cleared = std::fs::remove_dir_all(&spool).map_err(BackupError::io(&spool));
        made.and_then(|made| cleared.map(|()| made))
    }

    /// Verifies what lies at the target.
    ///
    /// # Errors
    /// [`BackupError`] where it cannot be read at all.
    pub async fn verify(&self, by: &str, id: Option<String>) -> Result<Verified, BackupError> {
        let _alone = self.inner.alone()?;
        let found = self
            .blocking(move |inner| {
                let vault = inner.vault()?;
                let expected = inner.memory.state().link_at(&vault.target.describe());
                verify(&vault, id.as_deref(), expected.as_ref())
            })
            .await?;
        let detail = BTreeMap::from([
            ("backups".to_owned(), found.backups.to_string()),
            ("objects".to_owned(), found.objects.to_string()),
            ("problems".to_owned(), found.problems.len().to_string()),
        ]);
        self.record(Event::BackupVerified, by, detail).await;
        match found.problems.first() {
            Some(first) => {
                let title = format!("what lies at the backup target is not intact: {first}");
                self.alarm("backup-altered", "critical", title).await;
            }
            None => self.inner.memory.quiet("backup-altered"),
        }
        Ok(found)
    }

    /// Practises a restore.
    ///
    /// # Errors
    /// [`BackupError`] where there is no such backup.
    pub async fn drill(&self, by: &str, id: Option<String>) -> Result<Drilled, BackupError> {
        let inner = &self.inner;
        let _alone = inner.alone()?;
        let begun = inner.clock.monotonic();
        let scratch = inner.beside("backup-drill");
        fresh_directory(&scratch)?;
        let place = scratch.clone();
        let practised = self
            .blocking(move |inner| {
                let vault = inner.vault()?;
                let kept = vault.backup(id.as_deref())?;
                let manifest = kept.manifest;
                let (config, master) = (&inner.config, &inner.master);
                let proven =
                    drill::practise(config, &vault, master, &manifest, &place, &inner.clock);
                Ok((manifest, proven))
            })
            .await;
        let drilled = match practised {
            Ok((manifest, proven)) => {
                let values = drill::open_store(&inner.config, &scratch, inner.clock.clone()).await;
                let took = inner.clock.monotonic().saturating_sub(begun);
                Ok(drill::sum_up(
                    &manifest,
                    proven,
                    values,
                    inner.clock.now(),
                    took,
                ))
            }
            Err(error) => Err(error),
        };
        std::fs::remove_dir_all(&scratch).map_err(BackupError::io(&scratch))?;
        let drilled = drilled?;
        let mut state = inner.memory.state();
        state.drilled = Some(drilled.clone());
        inner.memory.keep(&inner.store, state).await?;
        self.record(Event::BackupDrilled, by, drilled_detail(&drilled))
            .await;
        match drilled.problems.first() {
            Some(first) => {
                let title = format!("a restore that was practised failed: {first}");
                self.alarm("backup-drill-failed", "critical", title).await;
            }
            None => inner.memory.quiet("backup-drill-failed"),
        }
        Ok(drilled)
    }

    /// Works on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| BackupError::Refused(error.to_string()))?
    }

    async fn record(&self, event: Event, by: &str, mut detail: BTreeMap<String, String>) {
        detail.insert("operator".to_owned(), by.to_owned());
        if let Err(error) = self.inner.audit.event(event, None, detail).await {
            tracing::error!(%error, ?event, "it could not be recorded");
        }
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
    /// When the gateway was started, as the clock stands now, and now.
    fn times(&self) -> (Timestamp, Timestamp) {
        began_and_now(&*self.clock, self.started)
    }

    fn vault(&self) -> Result<Vault, BackupError> {
        Vault::of(&self.config, &self.backup, self.clock.clone())
    }

    fn alone(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, BackupError> {
        self.one_at_a_time.try_lock().map_err(|_busy| {
            BackupError::Refused("another backup, verification or drill is under way".to_owned())
        })
    }

    fn spool(&self) -> PathBuf {
        self.beside("backup-spool")
    }

    /// A directory next to the store, on the disk that is trusted with what the store holds.
    fn beside(&self, name: &str) -> PathBuf {
        let parent = self.config.store.path.parent();
        parent.unwrap_or(Path::new(".")).join(name)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus numbers are floating point"
)]
const fn precise(bytes: u64) -> f64 {
    bytes as f64
}

/// The backups at a target, a value for each.
///
/// # Errors
/// [`BackupError`] where the target cannot be listed.
pub fn listed(vault: &Vault) -> Result<Vec<Value>, BackupError> {
    let mut list = Vec::new();
    for id in vault.ids()? {
        list.push(match vault.backup(Some(&id)) {
            Ok(Kept { manifest, .. }) => json!({
                "id": manifest.id,
                "number": manifest.number,
                "time": manifest.time,
                "node": manifest.node,
                "files": manifest.files.len(),
                "bytes": manifest.bytes(),
                "trail_sequence": manifest.trail.sequence,
                "problems": manifest.problems,
            }),
            Err(error) => json!({ "id": id, "problems": [error.to_string()] }),
        });
    }
    Ok(list)
}

fn described(made: &Result<Made, BackupError>) -> BTreeMap<String, String> {
    match made {
        Ok(made) => BTreeMap::from([
            ("result".to_owned(), "made".to_owned()),
            ("backup".to_owned(), made.id.clone()),
            ("manifest".to_owned(), made.digest.clone()),
            ("trail_sequence".to_owned(), made.sequence.to_string()),
            ("bytes".to_owned(), made.bytes.to_string()),
            ("stored".to_owned(), made.stored.to_string()),
            ("problems".to_owned(), made.problems.join("; ")),
        ]),
        Err(error) => BTreeMap::from([
            ("result".to_owned(), "failed".to_owned()),
            ("problems".to_owned(), error.to_string()),
        ]),
    }
}

fn drilled_detail(drilled: &Drilled) -> BTreeMap<String, String> {
    let sound = if drilled.problems.is_empty() {
        "sound"
    } else {
        "failed"
    };
    BTreeMap::from([
        ("result".to_owned(), sound.to_owned()),
        ("backup".to_owned(), drilled.backup.clone()),
        ("rpo_seconds".to_owned(), drilled.rpo_seconds.to_string()),
        ("rto_millis".to_owned(), drilled.rto_millis.to_string()),
        ("records".to_owned(), drilled.records.to_string()),
        ("problems".to_owned(), drilled.problems.join("; ")),
    ])
}
