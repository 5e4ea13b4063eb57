//! The policy bundle, and the names in the configuration that come from its vocabulary.

use std::path::Path;

use crate::config::Config;
use crate::config::problem::{Place, Problem, Problems, Severity};
use crate::config::source::{Document, says};
use crate::policy::bundle::Bundle;
use crate::request::Action;

/// Loads the bundle as `serve` would. The problems of its files are returned.
pub(super) fn check(document: &Document<'_>, config: &Config) -> Problems {
    actions(document, config);
    let mut problems = Problems::default();
    if let Err(error) = Bundle::load(&config.policy.directory) {
        for found in error.problems() {
            let file = error.directory().join(&found.file);
            problems.push(Problem {
                severity: Severity::Error,
                place: found.line.map(|line| whole_line(&file, line)),
                file,
                key: String::new(),
                message: found.message.clone(),
                remedy: found.remedy.clone(),
            });
        }
    }
    problems
}

/// A limit for an action that does not exist would limit nothing.
fn actions(document: &Document<'_>, config: &Config) {
    for name in config.limits.actions.keys() {
        if !Action::ALL.iter().any(|action| action.name() == name) {
            let known: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            let message = format!("`{name}` is not a clinical action");
            let remedy = format!("the actions are {}", known.join(", "));
            document.at(Severity::Error, &format!("limits.actions.{name}"), says(message, remedy));
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
        assert!(check(&document, &reading.config.unwrap()).is_empty());
        let problems = document.into_problems();
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.key, "limits.actions.Exprot");
        assert!(problem.place.is_some() && problem.remedy.contains("Export"));
    }

    #[test]
    fn a_broken_policy_is_shown_in_its_own_file() {
        let fixture = Fixture::with_policies();
        fixture.write("policies/care.cedar", "permit (principal, action, resource)\nwhen { nonsense };\n");
        let reading = fixture.read(TEMPLATE);
        let document = Document::parse(&reading.source).unwrap();
        let problems = check(&document, &reading.config.unwrap());
        let problem = problems.iter().next().unwrap();
        assert!(problem.file.ends_with("policies/care.cedar"), "{problem:?}");
        assert!(problem.place.is_some());
    }
}
