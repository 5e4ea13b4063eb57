//! Puts a bundle in force: read, checked, its signatures and its own tables asked, put on record, and only then swapped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::history::{self, History, HistoryError, Hold, How, Line};
use super::trust::Trust;
use super::{Permissions, Rejected, profiles, short};
use crate::audit::trail::AuditError;
use crate::config;
use crate::counted::counted;
use crate::emr::emrs::Profiles;
use crate::policy::bundle::Bundle;
use crate::policy::decide::Active;
use crate::policy::tables::Report;
use crate::request::Event;
use crate::telemetry::metrics as names;

/// Problems that are named on record and in `chartgate status`; the rest is counted.
const MOST_NAMED: usize = 3;
/// Most characters of one of them.
const MOST_CHARACTERS: usize = 240;

/// Who has a bundle put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The gateway, at its start.
    Start,
    /// The gateway, because the files changed.
    Watch,
    /// An operator.
    Operator(String),
    /// An operator who goes back to what was in force before.
    Rollback {
        /// Who.
        operator: String,
        /// Why.
        reason: String,
    },
}

/// Longest reason of a rollback.
const MOST_REASON: usize = 500;

impl By {
    fn note(&self, detail: &mut BTreeMap<String, String>) {
        let (key, value) = match self {
            Self::Start => ("by", "start"),
            Self::Watch => ("by", "watch"),
            Self::Operator(name) => ("operator", name.as_str()),
            Self::Rollback { operator, reason } => {
                detail.insert("how".to_owned(), "rollback".to_owned());
                let reason = reason.chars().take(MOST_REASON).collect();
                detail.insert("reason".to_owned(), reason);
                ("operator", operator.as_str())
            }
        };
        detail.insert(key.to_owned(), value.to_owned());
    }

    const fn how(&self) -> How {
        match self {
            Self::Start => How::Start,
            Self::Watch => How::Change,
            Self::Operator(_) => How::Activation,
            Self::Rollback { .. } => How::Rollback,
        }
    }

    fn operator(&self) -> Option<&str> {
        match self {
            Self::Start | Self::Watch => None,
            Self::Operator(name) | Self::Rollback { operator: name, .. } => Some(name),
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Start | Self::Watch | Self::Operator(_) => None,
            Self::Rollback { reason, .. } => Some(reason),
        }
    }
}

/// A bundle that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub sha256: String,
    /// The generation that it was put in force as.
    pub generation: u64,
    /// How many expectations of its own tables it met.
    pub tests: usize,
    /// Whether it was in force before, so that nothing changed.
    pub unchanged: bool,
    /// The trusted keys that signed it.
    #[serde(default)]
    pub signers: Vec<String>,
}

/// Why a bundle was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// It has problems, or misses its own tables.
    #[error("the bundle has {} and is not put in force:\n  {}", counted(.0.len(), "problem"), .0.join("\n  "))]
    Problems(Vec<String>),
    /// It could not be put on record.
    #[error("what is not on record is not put in force: {0}")]
    Audit(#[from] AuditError),
    /// The work was cut off.
    #[error("the bundle could not be examined: {0}")]
    Cut(String),
    /// There is no way back.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It is in force, and would not be after a restart.
    #[error(
        "the bundle is in force, but that could not be kept ({0}): a restart takes the configured directory, and a rollback may not find it"
    )]
    Unkept(HistoryError),
}

/// A bundle that is fit to be put in force.
struct Candidate {
    active: Active,
    profiles: Profiles,
    tests: usize,
    signers: Vec<String>,
}

/// Where a candidate comes from.
enum Source {
    /// The configured directory.
    Configured,
    /// Another one.
    Elsewhere(PathBuf),
    /// The store, where it was kept when it was in force.
    Kept(BTreeMap<PathBuf, String>, Hold),
}

/// What a bundle is held against.
struct Measure {
    configured: PathBuf,
    emrs: Vec<config::Emr>,
    trust: Trust,
}

/// Reads a bundle with its profiles, and asks for its signatures and its own tables.
fn examine(source: &Source, measure: &Measure) -> Result<Candidate, Vec<String>> {
    let Measure {
        configured,
        emrs,
        trust,
    } = measure;
    let read = match source {
        Source::Configured => Bundle::load(configured),
        Source::Elsewhere(directory) => Bundle::load(directory),
        Source::Kept(texts, _) => Bundle::of_texts(configured, texts.clone()),
    };
    let bundle = read.map_err(|error| {
        let line = |problem: &crate::policy::problem::Problem| {
            let line = problem
                .line
                .map_or_else(String::new, |line| format!(":{line}"));
            format!("{}{line}: {}", problem.file.display(), problem.message)
        };
        error.problems().iter().map(line).collect::<Vec<_>>()
    })?;
    let trusted = trust.examine(&bundle);
    let signers = trusted.map_err(|error| vec![error.to_string()])?;
    let profiles = profiles(emrs, configured, &bundle)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let active = Active::new(bundle);
    let report = Report::of(active.bundle(), active.compiled());
    // A gateway starts with a bundle that misses its tables, where there is no other; then there is a way back to it.
    let was_in_force = matches!(source, Source::Kept(..));
    if report.misses.is_empty() || was_in_force {
        return Ok(Candidate {
            active,
            profiles,
            tests: report.passed,
            signers,
        });
    }
    let miss = |miss: &crate::policy::tables::Miss| {
        let (file, line) = (miss.file.display(), miss.line);
        format!(
            "{file}:{line}: {}: expected {}, found {}",
            miss.name, miss.expected, miss.found
        )
    };
    Err(report.misses.iter().map(miss).collect())
}

impl Permissions {
    /// Puts the bundle in `directory`, or in the configured one, in force.
    ///
    /// # Errors
    /// [`ActivateError`]; what was in force still is.
    pub async fn activate(
        &self,
        directory: Option<PathBuf>,
        by: By,
    ) -> Result<Activated, ActivateError> {
        let _turn = self.shared.turn.lock().await;
        let configured = &self.shared.grounds.policy.directory;
        let elsewhere = directory.filter(|directory| directory != configured);
        let source = elsewhere.map_or(Source::Configured, Source::Elsewhere);
        self.put_in_force(source, by).await
    }

    /// Goes back to the bundle that was in force before, or to the one whose digest begins with `to`. It holds until a
    /// file of the configured directory changes, or somebody activates a bundle; a restart changes nothing.
    ///
    /// # Errors
    /// [`ActivateError`]; what was in force still is.
    pub async fn rollback(
        &self,
        to: Option<&str>,
        operator: String,
        reason: String,
    ) -> Result<Activated, ActivateError> {
        let _turn = self.shared.turn.lock().await;
        let store = &self.shared.grounds.store;
        let history = History::read(store).await?;
        let in_force = self.policies().active().bundle().digest().to_owned();
        let line = match to {
            Some(beginning) => history.called(beginning)?,
            None => history.before(&in_force)?,
        };
        if line.sha256 == in_force {
            let named = format!("{} {}", line.name, line.version);
            return Err(HistoryError::InForce(named).into());
        }
        let texts = history::kept(store, &line.sha256).await?;
        let hold = Hold {
            on_disk: self.digest_on_disk().await?,
            in_force: line.sha256.clone(),
            operator: operator.clone(),
            at: self.now(),
            reason: reason.clone(),
        };
        let by = By::Rollback { operator, reason };
        self.put_in_force(Source::Kept(texts, hold), by).await
    }

    /// The digest of the configured directory.
    pub(super) async fn digest_on_disk(&self) -> Result<String, ActivateError> {
        let directory = self.shared.grounds.policy.directory.clone();
        tokio::task::spawn_blocking(move || Bundle::digest_of(&directory))
            .await
            .map_err(|error| ActivateError::Cut(error.to_string()))
    }

    async fn put_in_force(&self, source: Source, by: By) -> Result<Activated, ActivateError> {
        let measure = Measure {
            configured: self.shared.grounds.policy.directory.clone(),
            emrs: self.shared.grounds.emr_config.clone(),
            trust: self.shared.trust.clone(),
        };
        let examined = tokio::task::spawn_blocking(move || {
            let examined = examine(&source, &measure);
            (source, examined)
        });
        let (source, examined) = examined
            .await
            .map_err(|error| ActivateError::Cut(error.to_string()))?;
        match examined {
            Ok(candidate) => {
                if let Source::Kept(_, hold) = &source
                    && hold.in_force != candidate.active.bundle().digest()
                {
                    let named = short(&hold.in_force).to_owned();
                    return Err(HistoryError::Damaged(named).into());
                }
                self.swap(candidate, source, &by).await
            }
            Err(problems) => {
                self.reject(&problems, &by).await?;
                Err(ActivateError::Problems(problems))
            }
        }
    }

    async fn swap(
        &self,
        candidate: Candidate,
        source: Source,
        by: &By,
    ) -> Result<Activated, ActivateError> {
        let store = &self.shared.grounds.store;
        let before = self.policies().in_force();
        let bundle = candidate.active.bundle();
        let unchanged = bundle.digest() == before.active().bundle().digest();
        let mut activated = Activated {
            name: bundle.name().to_owned(),
            version: bundle.version().to_owned(),
            sha256: bundle.digest().to_owned(),
            generation: before.generation(),
            tests: candidate.tests,
            unchanged,
            signers: candidate.signers,
        };
        if unchanged {
            metrics::counter!(names::POLICY_RELOADS, "result" => "unchanged").increment(1);
        } else {
            let previous = before.active().bundle().digest().to_owned();
            history::keep(store, bundle).await?;
            activated.generation = before.generation().saturating_add(1);
            // INVARIANT: on record first. A bundle that cannot be recorded decides nothing.
            self.record(&activated, Some(&previous), by).await?;
            let generation = self.policies().activate(&Arc::new(candidate.active));
            self.shared.grounds.emrs.replace(candidate.profiles);
            metrics::counter!(names::POLICY_RELOADS, "result" => "activated").increment(1);
            if generation != activated.generation {
                // Lockdown, grants or training changed in the meantime and took the number.
                activated.generation = generation;
                self.record(&activated, Some(&previous), by).await?;
            }
        }
        let (elsewhere, held) = match source {
            Source::Configured => (None, None),
            Source::Elsewhere(directory) => (Some(directory), None),
            Source::Kept(_, hold) => (None, Some(hold)),
        };
        self.shared.state.rcu(|_| super::State {
            elsewhere: elsewhere.clone(),
            rejected: None,
            held: held.clone(),
        });
        let kept = self.remember(&activated, held.as_ref(), by).await;
        kept.map_err(ActivateError::Unkept)?;
        tracing::info!(
            name = activated.name,
            version = activated.version,
            sha256 = activated.sha256,
            generation = activated.generation,
            unchanged,
            "the policy bundle is in force"
        );
        Ok(activated)
    }

    /// Takes down what is in force, for a restart and for a rollback.
    async fn remember(
        &self,
        activated: &Activated,
        held: Option<&Hold>,
        by: &By,
    ) -> Result<(), HistoryError> {
        let store = &self.shared.grounds.store;
        match held {
            Some(rollback) => rollback.keep(store).await?,
            None => Hold::end(store).await?,
        }
        let history = History::read(store).await?;
        if activated.unchanged || history.ends_with(&activated.sha256) {
            return Ok(());
        }
        let line = Line {
            at: self.now(),
            how: by.how(),
            operator: by.operator().map(str::to_owned),
            reason: by.reason().map(str::to_owned),
            name: activated.name.clone(),
            version: activated.version.clone(),
            sha256: activated.sha256.clone(),
            generation: activated.generation,
            signers: activated.signers.clone(),
        };
        history.push(store, line).await
    }

    /// The activations that are remembered, the newest first.
    ///
    /// # Errors
    /// [`HistoryError`] when the store does not answer.
    pub async fn history(&self) -> Result<Vec<Line>, HistoryError> {
        let history = History::read(&self.shared.grounds.store).await?;
        Ok(history.newest_first())
    }

    /// The bundle that the gateway starts with goes on record, and is kept.
    pub(super) async fn record_start(&self, held: Option<&Hold>) -> Result<(), super::ReviewError> {
        let in_force = self.policies().in_force();
        let bundle = in_force.active().bundle();
        let started = Activated {
            name: bundle.name().to_owned(),
            version: bundle.version().to_owned(),
            sha256: bundle.digest().to_owned(),
            generation: in_force.generation(),
            tests: 0,
            unchanged: false,
            signers: self.shared.trust.examine(bundle).unwrap_or_default(),
        };
        self.record(&started, None, &By::Start).await?;
        history::keep(&self.shared.grounds.store, bundle).await?;
        Ok(self.remember(&started, held, &By::Start).await?)
    }

    async fn record(
        &self,
        activated: &Activated,
        previous: Option<&str>,
        by: &By,
    ) -> Result<(), AuditError> {
        let mut detail = BTreeMap::from([
            ("name".to_owned(), activated.name.clone()),
            ("version".to_owned(), activated.version.clone()),
            ("sha256".to_owned(), activated.sha256.clone()),
            ("generation".to_owned(), activated.generation.to_string()),
        ]);
        if let Some(previous) = previous {
            detail.insert("previous_sha256".to_owned(), previous.to_owned());
            detail.insert("tests_passed".to_owned(), activated.tests.to_string());
        }
        if !activated.signers.is_empty() {
            detail.insert("signed_by".to_owned(), activated.signers.join(" "));
        }
        by.note(&mut detail);
        let audit = &self.shared.grounds.audit;
        audit.event(Event::PolicyActivated, None, detail).await
    }

    /// Nothing changes, and everyone who should know is told.
    async fn reject(&self, problems: &[String], by: &By) -> Result<(), AuditError> {
        metrics::counter!(names::POLICY_RELOADS, "result" => "rejected").increment(1);
        // The log names no problem: a policy may be about a patient, and its text about them.
        tracing::error!(
            problems = problems.len(),
            "a policy bundle was not put in force"
        );
        let shown = |problem: &String| {
            let line: String = problem.lines().collect::<Vec<_>>().join(" ");
            line.chars().take(MOST_CHARACTERS).collect::<String>()
        };
        let mut first: Vec<_> = problems.iter().take(MOST_NAMED).map(shown).collect();
        let more = problems.len().saturating_sub(first.len());
        if more > 0 {
            first.push(format!("and {more} more"));
        }
        self.shared.state.rcu(|before| super::State {
            elsewhere: before.elsewhere.clone(),
            held: before.held.clone(),
            rejected: Some(Rejected {
                at: self.now(),
                problems: first.clone(),
            }),
        });
        let mut detail = BTreeMap::from([
            ("problems".to_owned(), problems.len().to_string()),
            ("first".to_owned(), first.join("; ")),
            (
                "in_force_sha256".to_owned(),
                self.policies().active().bundle().digest().to_owned(),
            ),
        ]);
        by.note(&mut detail);
        let alarm = BTreeMap::from([
            ("rule".to_owned(), "policy-rejected".to_owned()),
            (
                "title".to_owned(),
                format!(
                    "A policy bundle was not put in force: {}",
                    counted(problems.len(), "problem")
                ),
            ),
            ("level".to_owned(), "high".to_owned()),
        ]);
        let audit = &self.shared.grounds.audit;
        audit.event(Event::PolicyRejected, None, detail).await?;
        audit.event(Event::Alarm, None, alarm).await
    }
}
