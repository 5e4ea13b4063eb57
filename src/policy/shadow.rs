//! A candidate bundle beside the one in force: asked the same questions, heard by nobody but its author.
//!
//! The roles that people have and the meaning of routes are those of the bundle in force; policies, zones, shifts and
//! purposes are the candidate's. It costs one more decision for each request, from a memory of its own, and a fixed amount of memory.
//!
//! *Owns*: the candidate, and the counts of what it would have decided otherwise.
//! *Never*: a change of a decision, an error or a panic that reaches the request.
//! *On failure*: a candidate that panics is not asked again; its report says so.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::compile::Outcome;
use super::decide::Active;
use crate::request::Role;
use crate::request::facts::{Mapping, Shadowed, Verdict};

/// Most kinds of differing decisions that are told apart in the report; the counts hold all of them.
const MOST_KINDS: u64 = 1_000;

/// How the candidate's answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// What is permitted would be refused.
    Refused,
    /// What is refused would be permitted.
    Permitted,
    /// Both permit, with other obligations.
    Obliged,
    /// The candidate could not be evaluated; it would refuse.
    Failed,
}

impl Difference {
    /// Every difference.
    pub const ALL: &'static [Self] = &[Self::Refused, Self::Permitted, Self::Obliged, Self::Failed];

    /// The word in reports and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Permitted => "permitted",
            Self::Obliged => "obliged",
            Self::Failed => "failed",
        }
    }

    fn between(active: &Outcome, candidate: &Outcome) -> Option<Self> {
        if !candidate.errors.is_empty() {
            return (active.errors.is_empty()).then_some(Self::Failed);
        }
        match (active.verdict, candidate.verdict) {
            (Verdict::Allow, Verdict::Deny) => Some(Self::Refused),
            (Verdict::Deny, Verdict::Allow) => Some(Self::Permitted),
            (Verdict::Allow, Verdict::Allow) => {
                (active.obligations != candidate.obligations).then_some(Self::Obliged)
            }
            (Verdict::Deny, Verdict::Deny) => None,
        }
    }
}

/// A kind of decision that differs: no person, no patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kind {
    /// How.
    pub difference: Difference,
    /// The clinical action.
    pub action: String,
    /// The section.
    pub section: String,
    /// The roles of who asked.
    pub roles: BTreeSet<Role>,
    /// The candidate's policies that would decide, or that fail.
    pub policies: Vec<String>,
}

/// What a candidate would have changed so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub sha256: String,
    /// Until when it is asked.
    pub until: Timestamp,
    /// Since when it is counted.
    pub since: Timestamp,
    /// Decisions that it was asked about.
    pub compared: u64,
    /// Those that differ, by how.
    pub differing: Vec<(Difference, u64)>,
    /// Whether it panicked, and is not asked any more.
    pub stopped: bool,
    /// The kinds of decisions that differ, the most frequent first.
    pub kinds: Vec<(Kind, u64)>,
}

/// A candidate bundle in the shadow of the one in force.
#[derive(Debug)]
pub struct Shadow {
    candidate: Arc<Active>,
    since: Timestamp,
    until: Timestamp,
    compared: AtomicU64,
    differing: [AtomicU64; Difference::ALL.len()],
    kinds: Cache<Kind, Arc<AtomicU64>>,
    stopped: AtomicBool,
}

impl Shadow {
    /// Sets `bundle` in the shadow from `since` until `until`.
    #[must_use]
    pub fn new(bundle: Bundle, since: Timestamp, until: Timestamp) -> Self {
        Self {
            candidate: Arc::new(Active::new(bundle)),
            since,
            until,
            compared: AtomicU64::new(0),
            differing: Default::default(),
            kinds: Cache::new(MOST_KINDS),
            stopped: AtomicBool::new(false),
        }
    }

    /// The candidate.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        self.candidate.bundle()
    }

    /// When its time is over.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// How many decisions differed so.
    #[must_use]
    pub fn counted(&self, difference: Difference) -> u64 {
        self.count_of(difference)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn count_of(&self, difference: Difference) -> Option<&AtomicU64> {
        let index = Difference::ALL.iter().position(|one| *one == difference)?;
        self.differing.get(index)
    }

    /// How many decisions it was asked about.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// Whether it panicked, and is not asked any more.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What it would have changed so far.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        let bundle = self.bundle();
        let mut kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|(kind, count)| (Kind::clone(&kind), count.load(Ordering::Relaxed)))
            .collect();
        kinds.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        ShadowReport {
            name: bundle.name().to_owned(),
            version: bundle.version().to_owned(),
            sha256: bundle.digest().to_owned(),
            until: self.until,
            since: self.since,
            compared: self.compared(),
            differing: Difference::ALL
                .iter()
                .map(|one| (*one, self.counted(*one)))
                .collect(),
            stopped: self.has_stopped(),
            kinds,
        }
    }

    /// Holds what the candidate says against what was decided; what it would change is counted and returned, for the
    /// record.
    pub(super) fn look(
        &self,
        decided: &Outcome,
        (mapping, roles): (&Mapping, &BTreeSet<Role>),
        now: Timestamp,
        ask: impl FnOnce(&Arc<Active>) -> Outcome,
    ) -> Option<Shadowed> {
        if now >= self.until || self.has_stopped() {
            return None;
        }
        // SECURITY: nothing of a candidate may reach a request: not its answer, not its failure.
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&self.candidate)));
        let Ok(candidate) = asked else {
            self.stopped.store(true, Ordering::Relaxed);
            tracing::error!(
                "the candidate bundle in the shadow panicked; it is not asked any more"
            );
            return None;
        };
        self.compared.fetch_add(1, Ordering::Relaxed);
        let difference = Difference::between(decided, &candidate)?;
        if let Some(count) = self.count_of(difference) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let policies = if difference == Difference::Failed {
            candidate.errors
        } else {
            candidate.policies
        };
        let kind = Kind {
            difference,
            action: mapping.action.name().to_owned(),
            section: mapping.section.clone(),
            roles: roles.clone(),
            policies: policies.clone(),
        };
        self.kinds
            .get_with(kind, Default::default)
            .fetch_add(1, Ordering::Relaxed);
        Some(Shadowed {
            bundle: self.candidate.mark()?,
            verdict: candidate.verdict,
            policies,
            obligations: candidate.obligations.as_recorded(),
        })
    }
}
