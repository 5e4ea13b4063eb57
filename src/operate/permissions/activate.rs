//! Puts a bundle in force: read, checked, asked its own tables, put on record, and only then swapped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Permissions, Rejected, profiles};
use crate::audit::trail::AuditError;
use crate::config;
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
}

impl By {
    fn note(&self, detail: &mut BTreeMap<String, String>) {
        let (key, value) = match self {
            Self::Start => ("by", "start"),
            Self::Watch => ("by", "watch"),
            Self::Operator(name) => ("operator", name.as_str()),
        };
        detail.insert(key.to_owned(), value.to_owned());
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
}

/// Why a bundle was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// It has problems, or misses its own tables.
    #[error("the bundle has {} and is not put in force:\n  {}", counted(.0.len()), .0.join("\n  "))]
    Problems(Vec<String>),
    /// It could not be put on record.
    #[error("what is not on record is not put in force: {0}")]
    Audit(#[from] AuditError),
    /// The work was cut off.
    #[error("the bundle could not be examined: {0}")]
    Cut(String),
}

fn counted(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    }
}

/// A bundle that is fit to be put in force.
struct Candidate {
    active: Active,
    profiles: Profiles,
    tests: usize,
}

/// Reads a bundle with its profiles and asks it its own tables.
fn examine(
    directory: &Path,
    configured: &Path,
    emrs: &[config::Emr],
) -> Result<Candidate, Vec<String>> {
    let bundle = Bundle::load(directory).map_err(|error| {
        let line = |problem: &crate::policy::problem::Problem| {
            let line = problem
                .line
                .map_or_else(String::new, |line| format!(":{line}"));
            format!("{}{line}: {}", problem.file.display(), problem.message)
        };
        error.problems().iter().map(line).collect::<Vec<_>>()
    })?;
    let profiles = profiles(emrs, configured, &bundle)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let active = Active::new(bundle);
    let report = Report::of(active.bundle(), active.compiled());
    if report.misses.is_empty() {
        return Ok(Candidate {
            active,
            profiles,
            tests: report.passed,
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
        let configured = self.shared.grounds.policy.directory.clone();
        let elsewhere = directory.filter(|directory| *directory != configured);
        let from = elsewhere.clone().unwrap_or_else(|| configured.clone());
        let emrs = self.shared.grounds.emr_config.clone();
        let examined = tokio::task::spawn_blocking(move || examine(&from, &configured, &emrs));
        let examined = examined
            .await
            .map_err(|error| ActivateError::Cut(error.to_string()))?;
        match examined {
            Ok(candidate) => self.swap(candidate, elsewhere, &by).await,
            Err(problems) => {
                self.reject(&problems, &by).await?;
                Err(ActivateError::Problems(problems))
            }
        }
    }

    async fn swap(
        &self,
        candidate: Candidate,
        elsewhere: Option<PathBuf>,
        by: &By,
    ) -> Result<Activated, ActivateError> {
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
        };
        if unchanged {
            metrics::counter!(names::POLICY_RELOADS, "result" => "unchanged").increment(1);
        } else {
            let previous = before.active().bundle().digest().to_owned();
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
        self.shared.state.rcu(|_| super::State {
            elsewhere: elsewhere.clone(),
            rejected: None,
        });
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

    /// The bundle that the gateway starts with goes on record.
    pub(super) async fn record_start(&self) -> Result<(), AuditError> {
        let in_force = self.policies().in_force();
        let bundle = in_force.active().bundle();
        let started = Activated {
            name: bundle.name().to_owned(),
            version: bundle.version().to_owned(),
            sha256: bundle.digest().to_owned(),
            generation: in_force.generation(),
            tests: 0,
            unchanged: false,
        };
        self.record(&started, None, &By::Start).await
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
                    counted(problems.len())
                ),
            ),
            ("level".to_owned(), "high".to_owned()),
        ]);
        let audit = &self.shared.grounds.audit;
        audit.event(Event::PolicyRejected, None, detail).await?;
        audit.event(Event::Alarm, None, alarm).await
    }
}
