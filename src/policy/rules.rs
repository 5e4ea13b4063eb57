//! The policies of a bundle, read and checked in Cedar's strict mode.
//!
//! *On failure*: every problem of every policy is a finding, with its line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{
    Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationResult, Validator,
};
use miette::Diagnostic;

use super::files::Files;
use super::problem::{Findings, Source, first_offset};
use super::rule::{Rule, is_name};

/// Most policies of one bundle.
const MOST_POLICIES: usize = 20_000;
/// Fewest policies that are worth a thread of their own.
const FEWEST_TOGETHER: usize = 64;

/// The policies of all files, in their order there.
pub(super) fn read(
    files: &Files,
    schema: Option<&Schema>,
    findings: &mut Findings,
) -> Vec<Arc<Rule>> {
    let validator = schema.map(|schema| Validator::new(schema.clone()));
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for (file, text) in files.policies() {
        let Some(set) = parse(file, text, findings) else {
            continue;
        };
        let source = Source::of(file, text);
        let policies: Vec<Policy> = set.policies().cloned().collect();
        let parts = in_parts(&policies, |part| {
            Part::read(part, &source, validator.as_ref())
        });
        let mut read = Vec::with_capacity(policies.len());
        for part in parts {
            if let Some(result) = &part.validated {
                report(&source, result, findings);
            }
            findings.append(part.findings);
            read.extend(part.rules);
        }
        read.sort_by_key(Rule::line);
        rules.extend(read.into_iter().map(Arc::new));
    }
    if rules.len() > MOST_POLICIES {
        findings.push(
            Path::new("."),
            None,
            format!("there are {} policies", rules.len()),
            format!("A bundle holds {MOST_POLICIES} policies at most."),
        );
    }
    let mut places: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in &rules {
        if let Some(first) = places.insert(rule.id(), rule) {
            findings.push(
                rule.file(),
                Some(rule.line()),
                format!(
                    "the id \"{}\" is already used in {}:{}",
                    rule.id(),
                    first.file().display(),
                    first.line()
                ),
                "Give each policy an `@id` of its own; records name policies by it.",
            );
        }
    }
    rules
}

fn parse(file: &Path, text: &str, findings: &mut Findings) -> Option<PolicySet> {
    let set = match text.parse::<PolicySet>() {
        Ok(set) => set,
        Err(errors) => {
            for error in errors.iter() {
                findings.diagnostic(file, text, error, "Correct the Cedar syntax here.");
            }
            return None;
        }
    };
    for template in set.templates() {
        findings.push(
            file,
            None,
            format!("the policy {} is a template", template.id()),
            "Write the principal and resource out instead of `?principal` and `?resource`.",
        );
    }
    Some(named(&set))
}

/// The policies under their own ids, so that what Cedar says of them names them as their author does. Ids that
/// cannot be used stay as parsed; they are problems that are reported anyway.
fn named(set: &PolicySet) -> PolicySet {
    let own = |policy: &Policy| {
        let id = policy.annotation("id").filter(|id| is_name(id))?;
        Some(policy.new_id(PolicyId::new(id)))
    };
    PolicySet::from_policies(
        set.policies()
            .map(|policy| own(policy).unwrap_or_else(|| policy.clone())),
    )
    .unwrap_or_else(|_duplicate| set.clone())
}

/// What was read of some policies.
struct Part {
    rules: Vec<Rule>,
    findings: Findings,
    validated: Option<ValidationResult>,
}

impl Part {
    fn read(policies: &[Policy], source: &Source<'_>, validator: Option<&Validator>) -> Self {
        let mut findings = Findings::default();
        let rules = policies
            .iter()
            .filter_map(|policy| Rule::read(policy, source, &mut findings));
        Self {
            rules: rules.collect(),
            validated: validator.and_then(|validator| {
                // Ids that are used twice are reported elsewhere.
                let set = PolicySet::from_policies(policies.iter().cloned()).ok()?;
                Some(validator.validate(&set, ValidationMode::Strict))
            }),
            findings,
        }
    }
}

/// What is made of the items, taken in as many parts as there are processors: a large bundle is checked for as long as
/// its authors, or a start, wait for it.
fn in_parts<I: Sync, T: Send>(items: &[I], work: impl Fn(&[I]) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(workers).max(FEWEST_TOGETHER);
    if items.len() <= size {
        return vec![work(items)];
    }
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items
            .chunks(size)
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        let done: Option<Vec<T>> = running.into_iter().map(|one| one.join().ok()).collect();
        done.unwrap_or_else(|| vec![work(items)])
    })
}

/// Warnings count: a policy that can never apply, or that reads differently than it looks, is a mistake or an attack.
fn report(source: &Source<'_>, result: &ValidationResult, findings: &mut Findings) {
    let remedy = "Use only names and types that schema.cedarschema declares.";
    // Cedar checks a policy once for each action, and so finds one mistake up to thirteen times.
    let mut seen = BTreeSet::new();
    for error in result.validation_errors() {
        let advice = error.help().map(|help| help.to_string());
        if seen.insert((
            first_offset(error),
            advice.unwrap_or_else(|| error.to_string()),
        )) {
            source.diagnostic(error, remedy, findings);
        }
    }
    if !result.validation_passed() {
        // A policy with an unknown word also "never applies"; that is no news.
        return;
    }
    for warning in result.validation_warnings() {
        source.diagnostic(warning, "Remove the policy or correct it.", findings);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_policy_text_is_read_or_refused(
            text in "(permit|forbid|@id\\(\"a\"\\)|@doc\\(\"b\"\\)|\\(principal, action, resource\\)|when \\{|\\};|context\\.|\"|é|\n|\\PC){0,12}",
        ) {
            let mut findings = Findings::default();
            let file = Path::new("any.cedar");
            if let Some(set) = parse(file, &text, &mut findings) {
                for policy in set.policies() {
                    Rule::read(policy, &Source::of(file, &text), &mut findings);
                }
            }
        }
    }
}
