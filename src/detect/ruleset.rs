//! The rules of a directory: every `*.yml`, with the references between them resolved.
//!
//! *On failure*: every problem of every file at once; a set with a problem does not load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::read::{self, Draft, DraftLogic, Generate};
use super::rule::{Correlation, Level, Logic, Rule};
use crate::policy::problem::Problem;

/// Where rules are in a policy bundle.
pub const DIRECTORY: &str = "detections";
/// Where their examples are, below that.
pub const TESTS: &str = "tests";
/// Most rules of a directory.
const MOST_RULES: usize = 500;
/// Most files of a directory.
const MOST_FILES: usize = 500;

/// Rules that do not load, with everything that is wrong with them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the detection rules in {} do not load:{}", directory.display(), listed(problems))]
pub struct RulesError {
    /// Their directory.
    pub directory: PathBuf,
    /// Every problem. Never empty.
    pub problems: Vec<Problem>,
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        text.extend(["\n  ", &problem.to_string()]);
        text
    })
}

/// Rules, each after those that it refers to.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

impl RuleSet {
    /// Loads the rules below a policy bundle. A bundle without `detections` has none.
    ///
    /// # Errors
    /// [`RulesError`] with every problem.
    pub fn load(policies: &Path) -> Result<Self, RulesError> {
        let directory = policies.join(DIRECTORY);
        let mut problems = Vec::new();
        let mut drafts = Vec::new();
        for (file, text) in files(&directory, "yml", &mut problems) {
            let read = read::rules(&file, &text, &mut problems);
            drafts.extend(read.into_iter().map(|draft| (file.clone(), draft)));
        }
        let rules = if problems.is_empty() {
            resolve(drafts, &mut problems)
        } else {
            // What refers to a rule that cannot be read is no problem of its own.
            Vec::new()
        };
        if problems.is_empty() {
            return Ok(Self { rules });
        }
        problems.sort();
        Err(RulesError {
            directory,
            problems,
        })
    }

    /// Reads rules from the text of one file.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let file = PathBuf::from("rules.yml");
        let drafts = read::rules(&file, text, &mut problems)
            .into_iter()
            .map(|draft| (file.clone(), draft))
            .collect();
        let rules = if problems.is_empty() {
            resolve(drafts, &mut problems)
        } else {
            // What refers to a rule that cannot be read is no problem of its own.
            Vec::new()
        };
        if problems.is_empty() {
            Ok(Self { rules })
        } else {
            Err(problems)
        }
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that alarm.
    pub fn alarming(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.alarms)
    }

    /// The longest window of a rule.
    #[must_use]
    pub fn longest_window(&self) -> std::time::Duration {
        let span = |rule: &Rule| match &rule.logic {
            Logic::Correlation(correlation) => correlation.timespan.max(rule.suppress),
            Logic::Detection(_) => rule.suppress,
        };
        self.rules.iter().map(span).max().unwrap_or_default()
    }
}

/// The files of a directory with this ending, by name; names are relative to the directory of the rules.
pub(super) fn files(
    directory: &Path,
    ending: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(PathBuf, String)> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    let mut read = Vec::new();
    for path in paths.into_iter().take(MOST_FILES) {
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let size = fs::metadata(&path).map(|metadata| metadata.len());
        let fits = size.is_ok_and(|size| size <= 1 << 20);
        match fs::read_to_string(&path) {
            Ok(text) if fits => read.push((name, text)),
            Ok(_) => problems.push(Problem {
                file: name,
                line: None,
                message: "the file is larger than 1 MiB".to_owned(),
                remedy: "Split it.".to_owned(),
            }),
            Err(error) => problems.push(Problem {
                file: name,
                line: None,
                message: format!("the file cannot be read: {error}"),
                remedy: "Make it a readable UTF-8 text file.".to_owned(),
            }),
        }
    }
    read
}

fn problem(file: &Path, line: usize, message: String, remedy: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: Some(line),
        message,
        remedy: remedy.to_owned(),
    }
}

/// Where each name and id is.
fn named(drafts: &[(PathBuf, Draft)], problems: &mut Vec<Problem>) -> BTreeMap<String, usize> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (position, (file, draft)) in drafts.iter().enumerate() {
        for name in std::iter::once(&draft.name).chain(&draft.id) {
            if names.insert(name.clone(), position).is_some() {
                let message = format!("`{name}` is the name or id of another rule too");
                problems.push(problem(
                    file,
                    draft.line,
                    message,
                    "Give each rule its own.",
                ));
            }
        }
    }
    names
}

/// Puts each rule after those that it refers to.
fn resolve(drafts: Vec<(PathBuf, Draft)>, problems: &mut Vec<Problem>) -> Vec<Rule> {
    if drafts.len() > MOST_RULES {
        let message = format!("there are more than {MOST_RULES} rules");
        problems.push(problem(
            Path::new("."),
            1,
            message,
            "Remove what you do not use.",
        ));
        return Vec::new();
    }
    let names = named(&drafts, problems);
    let mut helpers: BTreeSet<usize> = BTreeSet::new();
    let mut links: Vec<Vec<usize>> = Vec::new();
    for (file, draft) in &drafts {
        let mut found = Vec::new();
        if let DraftLogic::Correlation(correlation) = &draft.logic {
            for (name, line) in &correlation.rules {
                match names.get(name) {
                    Some(position) => found.push(*position),
                    None => problems.push(problem(
                        file,
                        *line,
                        format!("there is no rule `{name}`"),
                        "Write the `name` of a rule in this directory.",
                    )),
                }
            }
            if correlation.generate == Generate::OnlyTogether {
                helpers.extend(&found);
            }
        }
        links.push(found);
    }
    let Some(order) = in_order(&links) else {
        if let Some((file, draft)) = drafts.first() {
            let message = "rules refer to each other in a circle".to_owned();
            problems.push(problem(
                file,
                draft.line,
                message,
                "A correlation may only refer to rules that do not refer back to it.",
            ));
        }
        return Vec::new();
    };
    let places: BTreeMap<usize, usize> = order
        .iter()
        .enumerate()
        .map(|(place, position)| (*position, place))
        .collect();
    let mut sorted: Vec<(usize, Rule)> = Vec::new();
    for (position, (file, draft)) in drafts.into_iter().enumerate() {
        let linked = links.get(position).map(Vec::as_slice).unwrap_or_default();
        let rules = linked
            .iter()
            .filter_map(|link| places.get(link).copied())
            .collect();
        let alarms = draft.level != Level::Informational && !helpers.contains(&position);
        let place = places.get(&position).copied().unwrap_or(usize::MAX);
        sorted.push((place, finished(draft, file, rules, alarms)));
    }
    sorted.sort_by_key(|(place, _)| *place);
    sorted.into_iter().map(|(_, rule)| rule).collect()
}

fn finished(draft: Draft, file: PathBuf, rules: Vec<usize>, alarms: bool) -> Rule {
    Rule {
        name: draft.name,
        title: draft.title,
        description: draft.description,
        level: draft.level,
        response: draft.response,
        suppress: draft.suppress,
        alarms,
        place: (file, draft.line),
        logic: match draft.logic {
            DraftLogic::Detection(detection) => Logic::Detection(detection),
            DraftLogic::Correlation(correlation) => Logic::Correlation(Correlation {
                counting: correlation.counting,
                field: correlation.field,
                rules,
                group_by: correlation.group_by,
                timespan: correlation.timespan,
            }),
        },
    }
}

/// Positions so that each comes after those it links to; `None` where they go in a circle.
fn in_order(links: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    while order.len() < links.len() {
        let before = order.len();
        for (position, linked) in links.iter().enumerate() {
            if !done.contains(&position) && linked.iter().all(|link| done.contains(link)) {
                done.insert(position);
                order.push(position);
            }
        }
        if order.len() == before {
            return None;
        }
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: &str = "\
title: Charts
name: charts
level: low
correlation:
  type: value_count
  rules: [open]
  group-by: [user]
  timespan: 1h
  condition: {gte: 2, field: patient}
---
title: Opened
name: open
level: low
logsource: {product: chartgate, service: trail}
detection:
  sel: {phase: admit}
  condition: sel
";

    #[test]
    fn a_rule_comes_after_those_it_refers_to_and_they_do_not_alarm() {
        let set = RuleSet::parse(RULES).unwrap();
        let names: Vec<&str> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["open", "charts"]);
        let alarming: Vec<&str> = set.alarming().map(|rule| rule.name.as_str()).collect();
        assert_eq!(alarming, ["charts"]);
        let both = RULES.replace("  timespan", "  generate: true\n  timespan");
        assert_eq!(RuleSet::parse(&both).unwrap().alarming().count(), 2);
        assert_eq!(set.longest_window(), std::time::Duration::from_hours(1));
    }

    #[test]
    fn what_is_wrong_is_found_with_line_and_remedy() {
        for (from, to, line, word) in [
            ("name: open", "name: Open", 11, "no usable `name`"),
            ("name: open", "name: charts", 11, "another rule too"),
            ("title: Opened\n", "", 11, "no `title`"),
            (
                "level: low\nlogsource",
                "level: loud\nlogsource",
                13,
                "no usable `level`",
            ),
            (
                "level: low\nlogsource",
                "levle: low\nlevel: low\nlogsource",
                13,
                "`levle` is not known",
            ),
            (
                "product: chartgate",
                "product: windows",
                14,
                "another product",
            ),
            (
                "sel: {phase",
                "sel: {phaze",
                16,
                "the field `phaze` does not exist",
            ),
            (
                "condition: sel",
                "condition: sell",
                17,
                "no selection `sell`",
            ),
            ("rules: [open]", "rules: [opened]", 6, "no rule `opened`"),
            ("rules: [open]", "rules: [charts]", 1, "in a circle"),
            ("group-by: [user]", "group-by: [usr]", 7, "the field `usr`"),
            ("timespan: 1h", "timespan: 8d", 8, "seven days"),
            ("gte: 2", "gte: 2000", 9, "how many"),
            ("field: patient", "field: mfa", 9, "whose values it counts"),
            (
                "type: value_count",
                "type: sum",
                5,
                "no type of correlation",
            ),
            (
                "type: value_count",
                "type: temporal",
                5,
                "at least two rules",
            ),
            (
                "level: low\ncorrelation",
                "level: low\nchartgate: {response: call_police}\ncorrelation",
                4,
                "no response",
            ),
        ] {
            assert!(RULES.contains(from), "{from}");
            let problems = RuleSet::parse(&RULES.replacen(from, to, 1)).unwrap_err();
            let fits = |found: &&Problem| found.message.contains(word) && found.line == Some(line);
            let found = problems.iter().find(fits);
            let found = found.unwrap_or_else(|| panic!("{to}: {problems:?}"));
            assert!(!found.remedy.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_rules_or_refused(cut in 0_usize..420, insert in "[-a-z:\\[\\]{}|*' \n0-9]{0,24}", skip in 0_usize..40) {
            let head: String = RULES.chars().take(cut).collect();
            let tail: String = RULES.chars().skip(cut.saturating_add(skip)).collect();
            drop(RuleSet::parse(&format!("{head}{insert}{tail}")));
        }
    }
}
