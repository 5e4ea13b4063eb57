//! Examples of rules, and whether the rules keep to them: `tests/RULE.positive.jsonl`, `tests/RULE.negative.jsonl`.
//!
//! A line is an entry of the trail (as `chartgate audit show --json` prints it), or fields with a `time`; the latter
//! may be repeated: `{"repeat": 40, "every": "20s", "time": …, "patient": "{n}"}`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::engine::Engine;
use super::fields::{Fields, Holds, Value, holds};
use super::flatten::{Flattener, network_of};
use super::habits::Habits;
use super::ruleset::{self, RuleSet};
use crate::audit::entry::Entry;
use crate::config::alarm::Detection;
use crate::config::unit::parse_duration;
use crate::policy::problem::Problem;

/// Most records of an example.
const MOST_RECORDS: u64 = 20_000;

/// What an example shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shows {
    /// The rule fires.
    Positive,
    /// It does not.
    Negative,
}

impl Shows {
    /// The word in the file's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// An example of a rule.
#[derive(Debug, Clone)]
pub struct Example {
    /// Its file, relative to the directory of the rules.
    pub file: PathBuf,
    /// The rule.
    pub rule: String,
    /// What it shows.
    pub shows: Shows,
    records: Vec<Record>,
}

#[derive(Debug, Clone)]
enum Record {
    Entry(Box<Entry>),
    Fields(Timestamp, Fields),
}

impl Example {
    /// Whether the rules keep to it.
    #[must_use]
    pub fn holds(&self, rules: &Arc<RuleSet>) -> bool {
        let mut engine = Engine::new(Arc::clone(rules));
        let mut flattener = Flattener::default();
        let mut habits = Habits::new(Detection {
            time_zone: TimeZone::UTC,
            ..Detection::default()
        });
        let position = rules.rules().iter().position(|rule| rule.name == self.rule);
        let mut fired = false;
        for record in &self.records {
            let (at, mut fields) = match record {
                Record::Entry(entry) => (entry.time, flattener.flatten(entry)),
                Record::Fields(at, fields) => (*at, fields.clone()),
            };
            habits.add(at, &mut fields);
            let firings = engine.feed(at, Uuid::nil(), &fields);
            fired |= firings.iter().any(|firing| Some(firing.rule) == position);
        }
        fired == (self.shows == Shows::Positive)
    }
}

/// Reads the examples below a policy bundle, and finds rules that lack one.
#[must_use]
pub fn load(policies: &Path, rules: &RuleSet) -> (Vec<Example>, Vec<Problem>) {
    let mut problems = Vec::new();
    let directory = policies.join(ruleset::DIRECTORY).join(ruleset::TESTS);
    let mut examples = Vec::new();
    for (found, text) in ruleset::files(&directory, "jsonl", &mut problems) {
        let file = Path::new(ruleset::TESTS).join(&found);
        let file_name = found.to_string_lossy();
        let mut parts = file_name.split('.');
        let rule = parts.next().unwrap_or_default().to_owned();
        let kind = match parts.next() {
            Some("positive") => Some(Shows::Positive),
            Some("negative") => Some(Shows::Negative),
            Some(_) | None => None,
        };
        let known = rules.alarming().any(|known| known.name == rule);
        let (Some(shows), true) = (kind, known) else {
            problems.push(Problem {
                file,
                line: None,
                message: "the file is no example of a rule that alarms".to_owned(),
                remedy:
                    "Call it NAME_OF_THE_RULE.positive.jsonl or NAME_OF_THE_RULE.negative.jsonl."
                        .to_owned(),
            });
            continue;
        };
        let mut records = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            if let Err(message) = read(line, &mut records) {
                problems.push(Problem {
                    file: file.clone(),
                    line: Some(number.saturating_add(1)),
                    message,
                    remedy: "Write a record as `chartgate audit show --json` prints it, or fields of docs/detection.md with a `time`.".to_owned(),
                });
            }
        }
        examples.push(Example {
            file,
            rule,
            shows,
            records,
        });
    }
    for rule in rules.alarming() {
        for shows in [Shows::Positive, Shows::Negative] {
            let there = |example: &Example| example.rule == rule.name && example.shows == shows;
            if !examples.iter().any(there) {
                let word = shows.word();
                problems.push(Problem {
                    file: rule.place.0.clone(),
                    line: Some(rule.place.1),
                    message: format!("the rule `{}` has no {word} example", rule.name),
                    remedy: format!("Add {}/{}.{word}.jsonl.", ruleset::TESTS, rule.name),
                });
            }
        }
    }
    problems.sort();
    (examples, problems)
}

fn read(line: &str, records: &mut Vec<Record>) -> Result<(), String> {
    let mut map: Map<String, Json> = serde_json::from_str(line)
        .map_err(|error| format!("the line is no JSON object: {error}"))?;
    let entry = match map.get("entry") {
        Some(entry) => Some(entry.to_string()),
        None => map.contains_key("v").then(|| line.to_owned()),
    };
    if let Some(entry) = entry {
        let entry = Entry::from_bytes(entry.as_bytes()).map_err(|error| error.to_string())?;
        records.push(Record::Entry(Box::new(entry)));
        return Ok(());
    }
    let time = map
        .remove("time")
        .and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    let mut time = time.ok_or("there is no usable `time`")?;
    let repeat = map
        .remove("repeat")
        .map_or(Some(1), |repeat| repeat.as_u64());
    let repeat = repeat
        .filter(|repeat| (1..=MOST_RECORDS).contains(repeat))
        .ok_or_else(|| format!("`repeat` is no number from 1 to {MOST_RECORDS}"))?;
    let every = map
        .remove("every")
        .map_or(Some(std::time::Duration::ZERO), |every| {
            parse_duration(every.as_str()?).ok()
        })
        .ok_or("`every` is no duration")?;
    for n in 1..=repeat {
        if u64::try_from(records.len()).is_ok_and(|len| len >= MOST_RECORDS) {
            return Err(format!("the example has more than {MOST_RECORDS} records"));
        }
        let mut fields = Fields::default();
        for (name, json) in &map {
            fields.set(name.clone(), value(name, json, n)?);
        }
        network_of(&mut fields);
        records.push(Record::Fields(time, fields));
        time = time.checked_add(every).unwrap_or(time);
    }
    Ok(())
}

fn value(name: &str, json: &Json, n: u64) -> Result<Value, String> {
    let kind = holds(name).ok_or_else(|| format!("the field `{name}` does not exist"))?;
    let text = |json: &Json| {
        json.as_str()
            .map(|text| text.replace("{n}", &n.to_string()))
    };
    let read = match kind {
        Holds::Text => text(json).map(Value::Text),
        Holds::Texts => match json {
            Json::Array(items) => items
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .map(Value::Texts),
            Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
                text(json).map(|one| Value::Texts(vec![one]))
            }
        },
        Holds::Number => json.as_i64().map(Value::Number),
        Holds::Truth => json.as_bool().map(Value::Truth),
    };
    read.ok_or_else(|| format!("`{name}` cannot hold {json}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
    }

    #[test]
    fn every_shipped_rule_keeps_to_its_examples() {
        let rules = Arc::new(RuleSet::load(&shipped()).unwrap_or_else(|error| panic!("{error}")));
        let (examples, problems) = load(&shipped(), &rules);
        assert_eq!(problems, []);
        assert_eq!(rules.alarming().count(), 13);
        assert!(examples.len() >= 26);
        for example in examples {
            assert!(example.holds(&rules), "{}", example.file.display());
        }
    }

    #[test]
    fn what_is_wrong_with_examples_is_found() {
        let home = tempfile::tempdir().unwrap();
        let tests = home.path().join("detections/tests");
        std::fs::create_dir_all(&tests).unwrap();
        let rule =
            "title: T\nname: one\nlevel: low\ndetection: {sel: {phase: admit}, condition: sel}\n";
        std::fs::write(home.path().join("detections/one.yml"), rule).unwrap();
        std::fs::write(tests.join("two.positive.jsonl"), "").unwrap();
        let lines = "{\"phase\":\"admit\"}\n\nnonsense\n{\"time\":\"2026-01-01T00:00:00Z\",\"phaze\":\"x\"}\n\
                     {\"time\":\"2026-01-01T00:00:00Z\",\"phase\":1}\n{\"time\":\"2026-01-01T00:00:00Z\",\"repeat\":0}\n{\"v\":9}\n";
        std::fs::write(tests.join("one.positive.jsonl"), lines).unwrap();
        let rules = RuleSet::load(home.path()).unwrap();
        let (examples, problems) = load(home.path(), &rules);
        assert_eq!(examples.len(), 1);
        let found: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}:{:?}", problem.file.display(), problem.line))
            .collect();
        assert_eq!(
            found,
            [
                "one.yml:Some(1)",
                "tests/one.positive.jsonl:Some(1)",
                "tests/one.positive.jsonl:Some(3)",
                "tests/one.positive.jsonl:Some(4)",
                "tests/one.positive.jsonl:Some(5)",
                "tests/one.positive.jsonl:Some(6)",
                "tests/one.positive.jsonl:Some(7)",
                "tests/two.positive.jsonl:None",
            ]
        );
    }

    #[test]
    fn whole_entries_are_examples_too() {
        let facts = super::super::flatten::tests::facts("a", "1");
        let entry = Entry::admit(
            &"gw".into(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
            &facts,
        );
        let json = serde_json::to_string(&entry).unwrap();
        let rules = Arc::new(RuleSet::parse("title: T\nname: one\nlevel: low\ndetection: {sel: {user: a, off_hours: true}, condition: sel}\n").unwrap());
        for line in [json.clone(), format!("{{\"seq\":3,\"entry\":{json}}}")] {
            let mut records = Vec::new();
            read(&line, &mut records).unwrap();
            let example = Example {
                file: PathBuf::new(),
                rule: "one".to_owned(),
                shows: Shows::Positive,
                records,
            };
            assert!(example.holds(&rules));
        }
    }
}
