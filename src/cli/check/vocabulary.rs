//! The policy bundle, the EMR profiles, and the names in the configuration that come from their vocabulary.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::config::problem::{Place, Problem, Problems, Severity};
use crate::config::source::{Document, says};
use crate::detect::RuleSet;
use crate::emr::profile::{FindingKind, Profile};
use crate::operate::permissions::trust::Trust;
use crate::policy::bundle::Bundle;
use crate::policy::decide::Active;
use crate::policy::tables::Report;
use crate::request::Action;

/// Loads bundle and profiles as `serve` would. The problems of their files are returned.
pub(super) fn check(document: &Document<'_>, config: &Config, now: Timestamp) -> Problems {
    actions(document, config);
    let (mut problems, read) = bundle(&config.policy.directory);
    signatures(document, config, read.as_ref());
    super::step_up::check(document, config, read.as_ref());
    problems.append(super::issuers::check(config, read.as_ref()));
    // A gateway that runs would not take this bundle; one that starts has no other.
    problems.append(misses(read.as_ref(), Severity::Warning));
    problems.append(detections(config));
    for emr in &config.emrs {
        problems.append(profile(&emr.profile, day_of(now)));
    }
    problems
}

/// Whether the bundle is signed as the configuration demands.
fn signatures(document: &Document<'_>, config: &Config, read: Option<&Active>) {
    let trust = match Trust::of(&config.policy) {
        Ok(trust) => trust,
        Err(error) => {
            let remedy = "correct the keys";
            document.at(
                Severity::Error,
                "policy.trusted_keys",
                says(error.to_string(), remedy),
            );
            return;
        }
    };
    if let Some(Err(error)) = read.map(|active| trust.examine(active.bundle())) {
        let remedy = "a gateway neither starts with this bundle nor takes it over";
        document.at(
            Severity::Error,
            "policy.directory",
            says(error.to_string(), remedy),
        );
    }
}

/// The bundle in `directory`, and what is wrong with it.
pub(in crate::cli) fn bundle(directory: &Path) -> (Problems, Option<Active>) {
    let mut problems = Problems::default();
    match Bundle::load(directory) {
        Ok(bundle) => return (problems, Some(Active::new(bundle))),
        Err(error) => {
            for found in error.problems() {
                let file = error.directory().join(&found.file);
                problems.push(at_line(
                    &file,
                    found.line,
                    Severity::Error,
                    &found.message,
                    &found.remedy,
                ));
            }
        }
    }
    (problems, None)
}

/// What a bundle's own tables expect and do not find.
pub(in crate::cli) fn misses(read: Option<&Active>, severity: Severity) -> Problems {
    let mut problems = Problems::default();
    let Some(active) = read else {
        return problems;
    };
    for miss in Report::of(active.bundle(), active.compiled()).misses {
        let message = format!(
            "{}: expected {}, found {}",
            miss.name, miss.expected, miss.found
        );
        let file = active.bundle().directory().join(&miss.file);
        let remedy = "correct the policies, or the table if this is what you mean";
        problems.push(at_line(&file, Some(miss.line), severity, &message, remedy));
    }
    problems
}

fn detections(config: &Config) -> Problems {
    let mut problems = Problems::default();
    if let Err(error) = RuleSet::load(&config.policy.directory) {
        for found in &error.problems {
            let file = error.directory.join(&found.file);
            let severity = if config.detection.enabled {
                Severity::Error
            } else {
                Severity::Warning
            };
            let problem = at_line(&file, found.line, severity, &found.message, &found.remedy);
            problems.push(problem);
        }
    }
    problems
}

/// A profile that does not load, or whose routes get in each other's way.
pub(in crate::cli) fn profile(file: &Path, today: Date) -> Problems {
    let mut problems = Problems::default();
    match Profile::read(file) {
        Err(found) => {
            for found in found {
                let line = Some(found.line).filter(|line| *line > 0);
                problems.push(at_line(
                    file,
                    line,
                    Severity::Error,
                    &found.message,
                    &found.remedy,
                ));
            }
        }
        Ok(profile) => {
            let routes = profile.report().into_iter().map(|found| ("route", found));
            let patches = profile.patch_report(today).into_iter();
            for (what, finding) in routes.chain(patches.map(|found| ("patch", found))) {
                let remedy = match finding.kind {
                    FindingKind::Unreachable => "move it before that route, or remove it",
                    FindingKind::Overlap => {
                        "make one of them more specific, or put the exception first"
                    }
                    FindingKind::UnknownSection => {
                        "correct it, or make sure that your policies speak of it"
                    }
                    FindingKind::PatchExpired => {
                        "see whether the EMR is mended: remove the patch, or give it a later date"
                    }
                    FindingKind::PatchUnmapped => "correct its path or methods, or remove it",
                    FindingKind::PatchOverlap => "make one of the two more specific",
                };
                let message = format!("{what} `{}`: {}", finding.route, finding.message);
                problems.push(at_line(
                    file,
                    Some(finding.line),
                    Severity::Warning,
                    &message,
                    remedy,
                ));
            }
        }
    }
    problems
}

/// The day in UTC: expiry is a matter of days, not of hours.
pub(in crate::cli) fn day_of(now: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(now).date()
}

pub(in crate::cli) fn at_line(
    file: &Path,
    line: Option<usize>,
    severity: Severity,
    message: &str,
    remedy: &str,
) -> Problem {
    Problem {
        severity,
        file: file.to_owned(),
        place: line.map(|line| whole_line(file, line)),
        key: String::new(),
        message: message.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// A limit for an action that does not exist would limit nothing.
fn actions(document: &Document<'_>, config: &Config) {
    for name in config.limits.actions.keys() {
        if !Action::ALL.iter().any(|action| action.name() == name) {
            let known: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            let message = format!("`{name}` is not a clinical action");
            let remedy = format!("the actions are {}", known.join(", "));
            document.at(
                Severity::Error,
                &format!("limits.actions.{name}"),
                says(message, remedy),
            );
        }
    }
}

fn whole_line(file: &Path, line: usize) -> Place {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let excerpt = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indent = excerpt.chars().take_while(|c| c.is_whitespace()).count();
    Place {
        line,
        column: indent.saturating_add(1),
        width: excerpt.trim().chars().count().max(1),
        excerpt: excerpt.replace('\t', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE};

    #[test]
    fn limits_name_clinical_actions() {
        let fixture = Fixture::with_policies();
        let reading = fixture.read(&TEMPLATE.replace("Export = ", "Exprot = "));
        let document = Document::parse(&reading.source).unwrap();
        let files = check(&document, &reading.config.unwrap(), Timestamp::UNIX_EPOCH);
        assert!(files.is_empty(), "{files}");
        let problems = document.into_problems();
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.key, "limits.actions.Exprot");
        assert!(problem.place.is_some() && problem.remedy.contains("Export"));
    }

    #[test]
    fn a_profile_is_checked_in_its_own_file() {
        let fixture = Fixture::with_policies();
        fixture.write("policies/emr/opal.toml", "nonsense = true\n");
        let reading = fixture.read(TEMPLATE);
        let document = Document::parse(&reading.source).unwrap();
        let problems = check(&document, &reading.config.unwrap(), Timestamp::UNIX_EPOCH);
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.severity, Severity::Error);
        assert!(
            problem.file.ends_with("policies/emr/opal.toml"),
            "{problem:?}"
        );
    }

    #[test]
    fn a_broken_policy_is_shown_in_its_own_file() {
        let fixture = Fixture::with_policies();
        fixture.write(
            "policies/care.cedar",
            "permit (principal, action, resource)\nwhen { nonsense };\n",
        );
        let reading = fixture.read(TEMPLATE);
        let document = Document::parse(&reading.source).unwrap();
        let problems = check(&document, &reading.config.unwrap(), Timestamp::UNIX_EPOCH);
        let problem = problems.iter().next().unwrap();
        assert!(problem.file.ends_with("policies/care.cedar"), "{problem:?}");
        assert!(problem.place.is_some());
    }

    #[test]
    fn a_broken_detection_rule_is_shown_in_its_own_file() {
        let fixture = Fixture::with_policies();
        fixture.write("policies/detections/own.yml", "title: T\nnonsense: 1\n");
        let reading = fixture.read(TEMPLATE);
        let document = Document::parse(&reading.source).unwrap();
        let problems = check(&document, &reading.config.unwrap(), Timestamp::UNIX_EPOCH);
        let problem = problems
            .iter()
            .find(|problem| problem.message.contains("`nonsense`"))
            .unwrap();
        assert_eq!(problem.severity, Severity::Error);
        assert!(problem.file.ends_with("policies/detections/own.yml"));
        assert_eq!(problem.place.as_ref().unwrap().line, 2);
    }
}
