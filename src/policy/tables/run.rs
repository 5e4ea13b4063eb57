//! Asks a bundle what its tables expect of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Answer, Expectation};
use crate::policy::bundle::Bundle;
use crate::policy::compile::{Compiled, Outcome};
use crate::request::Action;
use crate::request::facts::Verdict;

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The file, relative to the bundle's directory.
    pub file: PathBuf,
    /// The line of the case or matrix.
    pub line: usize,
    /// Its name, with action and section.
    pub name: String,
    /// What was expected.
    pub expected: String,
    /// What the bundle says.
    pub found: String,
}

/// What came of a bundle's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many expectations were met.
    pub passed: usize,
    /// Those that were not.
    pub misses: Vec<Miss>,
    /// The policies that decided at least one expectation that was met, by id.
    pub covered: BTreeSet<String>,
    /// The policies that decided none.
    pub untested: BTreeSet<String>,
    /// What the expectations that were met are about: action, section, sensitivity.
    pub places: BTreeSet<(Action, String, String)>,
}

impl Report {
    /// Asks `bundle`, made ready as `compiled`, what its tables expect.
    #[must_use]
    pub fn of(bundle: &Bundle, compiled: &Compiled) -> Self {
        let mut report = Self {
            passed: 0,
            misses: Vec::new(),
            covered: BTreeSet::new(),
            untested: BTreeSet::new(),
            places: BTreeSet::new(),
        };
        for expectation in bundle.tables().expectations() {
            let question = expectation.scene.question();
            let outcome = compiled.ask(&compiled.slice(&question), &question);
            if expectation.answer.is_met_by(&outcome) {
                report.passed = report.passed.saturating_add(1);
                report.covered.extend(outcome.policies);
                let scene = &expectation.scene;
                let place = (
                    scene.action,
                    scene.section.clone(),
                    scene.sensitivity.clone(),
                );
                report.places.insert(place);
            } else {
                report.misses.push(expectation.missed(&outcome));
            }
        }
        let ids = bundle.policies().map(|rule| rule.id().to_owned());
        report.untested = ids.filter(|id| !report.covered.contains(id)).collect();
        report
    }
}

impl Answer {
    fn is_met_by(&self, outcome: &Outcome) -> bool {
        let same = |expected: &Option<BTreeSet<String>>, found: &[String]| {
            expected.as_ref().is_none_or(|expected| {
                expected.len() == found.len() && found.iter().all(|one| expected.contains(one))
            })
        };
        self.verdict == outcome.verdict
            && outcome.errors.is_empty()
            && same(&self.policies, &outcome.policies)
            && same(&self.obligations, &outcome.obligations.as_recorded())
    }
}

impl Expectation {
    fn missed(&self, outcome: &Outcome) -> Miss {
        let list = |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>();
        Miss {
            file: self.file.clone(),
            line: self.line,
            name: format!(
                "{}: {} {}",
                self.name,
                self.scene.action.name(),
                self.scene.section
            ),
            expected: says(
                self.answer.verdict,
                self.answer.policies.as_ref().map(list).as_deref(),
                self.answer.obligations.as_ref().map(list).as_deref(),
                &[],
            ),
            found: says(
                outcome.verdict,
                Some(&outcome.policies),
                Some(&outcome.obligations.as_recorded()),
                &outcome.errors,
            ),
        }
    }
}

/// An answer in a line.
fn says(
    verdict: Verdict,
    policies: Option<&[String]>,
    obligations: Option<&[String]>,
    errors: &[String],
) -> String {
    let decided = match policies {
        Some([]) => " by no policy".to_owned(),
        Some(ids) => format!(" by {}", ids.join(", ")),
        None => String::new(),
    };
    let obliged = match obligations {
        Some([]) | None => String::new(),
        Some(obliged) => format!(" with {}", obliged.join(", ")),
    };
    let failed = if errors.is_empty() {
        String::new()
    } else {
        format!("; failed: {}", errors.join(", "))
    };
    format!("{}{decided}{obliged}{failed}", verdict.word())
}
