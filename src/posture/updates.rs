//! Compares this build with the configured advisory feed, at the start and then once in a while.
//!
//! *Owns*: the newest comparison.
//! *On failure*: a feed that cannot be read leaves the last comparison standing, and says so in the status.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::advisories::{Feed, FeedError, Finding};
use super::sbom::{self, SbomError};
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::config;
use crate::request::Event;
use crate::telemetry::metrics as names;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No feed is configured.
    #[error("no advisory feed is configured; set `update.feed`, or name one with --feed")]
    NoFeed,
    /// The feed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The list of components.
    #[error(transparent)]
    Sbom(#[from] SbomError),
    /// The comparison could not be put on record.
    #[error("the comparison could not be recorded: {0}")]
    Audit(#[from] AuditError),
    /// The thread that compared failed.
    #[error("the comparison failed")]
    Failed,
}

/// A comparison of this build with a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// When.
    pub at: Timestamp,
    /// When the feed's newest record was changed.
    pub feed_newest: Timestamp,
    /// Records in the feed.
    pub records: usize,
    /// Components of the build.
    pub components: usize,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Comparison {
    /// Reads the feed at `path` and compares.
    ///
    /// # Errors
    /// [`UpdateError`] where either side cannot be read.
    pub fn make(path: &std::path::Path, now: Timestamp) -> Result<Self, UpdateError> {
        let feed = Feed::read(path)?;
        let components = sbom::components()?;
        Ok(Self {
            at: now,
            feed_newest: feed.newest(),
            records: feed.len(),
            components: components.len(),
            findings: feed.findings(&components),
        })
    }

    /// Whether the feed was last changed longer ago than `limit`: it may have stopped to arrive.
    #[must_use]
    pub fn is_stale(&self, limit: std::time::Duration, now: Timestamp) -> bool {
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        now.duration_since(self.feed_newest) > limit
    }

    fn ids(&self) -> String {
        let ids: Vec<String> = self
            .findings
            .iter()
            .map(|finding| format!("{} ({} {})", finding.id, finding.package, finding.version))
            .collect();
        ids.join(", ")
    }
}

/// How the newest comparison stands, for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No feed is configured.
    NoFeed,
    /// Nothing was compared yet, or the feed could not be read.
    Unknown(String),
    /// The feed is too old to say anything.
    Stale(Comparison),
    /// It was compared.
    Known(Comparison),
}

/// The newest comparison, and what makes the next.
#[derive(Debug)]
pub struct Updates {
    settings: config::Update,
    audit: Audit,
    clock: SharedClock,
    newest: ArcSwapOption<Comparison>,
    problem: ArcSwapOption<String>,
}

impl Updates {
    /// Nothing is compared yet.
    #[must_use]
    pub fn new(settings: config::Update, audit: Audit, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            settings,
            audit,
            clock,
            newest: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
        })
    }

    /// Compares now, on record as asked for by `by`. What is new in it is an alarm.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn check(&self, by: &str) -> Result<Arc<Comparison>, UpdateError> {
        let compared = self.compare(by).await;
        let problem = compared
            .as_ref()
            .err()
            .map(|error| Arc::new(error.to_string()));
        self.problem.store(problem);
        compared
    }

    async fn compare(&self, by: &str) -> Result<Arc<Comparison>, UpdateError> {
        let path = self.settings.feed.clone().ok_or(UpdateError::NoFeed)?;
        let now = self.clock.now();
        let made = tokio::task::spawn_blocking(move || Comparison::make(&path, now)).await;
        let comparison = Arc::new(made.map_err(|_joined| UpdateError::Failed)??);
        let detail = BTreeMap::from([
            ("by".to_owned(), by.to_owned()),
            ("feed_newest".to_owned(), comparison.feed_newest.to_string()),
            ("records".to_owned(), comparison.records.to_string()),
            ("findings".to_owned(), comparison.ids()),
        ]);
        self.audit.event(Event::UpdateChecked, None, detail).await?;
        let before = self.newest.swap(Some(Arc::clone(&comparison)));
        metrics::gauge!(names::VULNERABILITIES).set(count(comparison.findings.len()));
        let known = before.is_some_and(|before| before.findings == comparison.findings);
        if !comparison.findings.is_empty() && !known {
            let detail = BTreeMap::from([
                ("rule".to_owned(), "known-vulnerability".to_owned()),
                ("level".to_owned(), "high".to_owned()),
                (
                    "title".to_owned(),
                    format!(
                        "this build of Chartgate has known vulnerabilities: {}",
                        comparison.ids()
                    ),
                ),
            ]);
            self.audit.event(Event::Alarm, None, detail).await?;
        }
        Ok(comparison)
    }

    /// How the newest comparison stands.
    #[must_use]
    pub fn state(&self) -> State {
        if self.settings.feed.is_none() {
            return State::NoFeed;
        }
        if let Some(problem) = self.problem.load_full() {
            return State::Unknown(problem.to_string());
        }
        match self.newest.load_full() {
            None => State::Unknown("nothing was compared yet".to_owned()),
            Some(newest) if newest.is_stale(self.settings.max_age, self.clock.now()) => {
                State::Stale(Comparison::clone(&newest))
            }
            Some(newest) => State::Known(Comparison::clone(&newest)),
        }
    }

    /// Compares at once and then at every interval, until `end`.
    pub async fn run(self: Arc<Self>, end: impl Future<Output = ()>) {
        if self.settings.feed.is_none() {
            return;
        }
        let mut end = std::pin::pin!(end);
        loop {
            if let Err(error) = self.check("schedule").await {
                tracing::warn!(%error, "the build could not be compared with known advisories");
            }
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(self.settings.check_interval) => {}
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of components, far below 2^52"
)]
const fn count(findings: usize) -> f64 {
    findings as f64
}
