//! The findings as SARIF 2.1.0 (OASIS), which code hosts and editors show at the line.

use std::path::Path;

use serde_json::{Value, json};
use url::Url;

use super::found::{Found, Rule};
use crate::config::problem::Severity;

/// The published schema of the format.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The whole document.
pub(super) fn document(found: &[Found]) -> Value {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id(),
                "shortDescription": { "text": rule.says() },
                "defaultConfiguration": { "level": level(rule.severity()) },
            })
        })
        .collect();
    let results: Vec<Value> = found.iter().map(result).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "chartgate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(found: &Found) -> Value {
    let problem = &found.problem;
    let mut place = json!({ "artifactLocation": { "uri": address(&problem.file) } });
    if let (Some(at), Some(place)) = (&problem.place, place.as_object_mut()) {
        let region = json!({
            "startLine": at.line,
            "startColumn": at.column,
            "endColumn": at.column.saturating_add(at.width),
        });
        place.insert("region".to_owned(), region);
    }
    json!({
        "ruleId": found.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == found.rule),
        "level": level(problem.severity),
        "message": { "text": format!("{}. Remedy: {}", problem.message, problem.remedy) },
        "locations": [{ "physicalLocation": place }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A file as a URI reference: relative to where the command runs, or absolute.
fn address(file: &Path) -> String {
    if let Ok(url) = Url::from_file_path(file) {
        return url.into();
    }
    let file = file.strip_prefix(".").unwrap_or(file);
    let segments = file.iter().map(|part| {
        let bytes = part.as_encoded_bytes();
        percent_encoding::percent_encode(bytes, SEGMENT).to_string()
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::{Place, Problem};

    fn found(rule: Rule, file: &str, place: Option<Place>) -> Found {
        Found {
            rule,
            problem: Problem {
                severity: rule.severity(),
                file: file.into(),
                place,
                key: String::new(),
                message: "what".to_owned(),
                remedy: "do".to_owned(),
            },
        }
    }

    /// What the published schema requires: of the log `version` and `runs`; of a run `tool`; of a tool `driver`; of a
    /// driver `name`; of a rule `id`; of a result `message`; lines and columns from 1; levels of a closed list; a rule
    /// index within the rules.
    #[test]
    fn the_document_has_the_shape_that_the_schema_requires() {
        let place = Place {
            line: 3,
            column: 1,
            width: 10,
            excerpt: String::new(),
        };
        let all = [
            found(Rule::Bundle, "./policies/care one.cedar", Some(place)),
            found(
                Rule::PermitWithoutMfa,
                "/etc/chartgate/policies/care.cedar",
                None,
            ),
        ];
        let document = document(&all);
        assert_eq!(document["version"], "2.1.0");
        assert!(
            document["$schema"]
                .as_str()
                .unwrap()
                .contains("sarif-2.1.0")
        );
        let runs = document["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1);
        let driver = &runs[0]["tool"]["driver"];
        assert_eq!(driver["name"], "chartgate");
        let rules = driver["rules"].as_array().unwrap();
        let mut ids: Vec<_> = rules
            .iter()
            .map(|rule| rule["id"].as_str().unwrap())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), rules.len(), "rule ids are unique");
        for result in runs[0]["results"].as_array().unwrap() {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(
                ["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap())
            );
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(!uri.contains(' '), "{uri}");
            if let Some(region) = place.get("region") {
                assert!(region["startLine"].as_u64().unwrap() >= 1);
                assert!(region["endColumn"].as_u64() > region["startColumn"].as_u64());
            }
        }
        let uri = |at: usize| {
            let place = &document["runs"][0]["results"][at]["locations"][0]["physicalLocation"];
            place["artifactLocation"]["uri"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(uri(0), "policies/care%20one.cedar");
        assert_eq!(uri(1), "file:///etc/chartgate/policies/care.cedar");
    }
}
