//! The report of an assessment: what failed first, then the rest, then every rule with its checks and with what a
//! gateway cannot fulfil of it.
//!
//! The JSON form is stable: `docs/posture.md` describes it, and a changed meaning is a new [`FORMAT`].

use std::fmt::Write;

use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use super::assessments::Summary;
use super::checks::{self, Area, Check, Level, Verdict};
use super::controls::{Control, Framework, Rest};
use super::facts::Facts;

/// The version of the JSON form.
pub const FORMAT: u32 = 1;

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Chartgate that assessed.
    pub version: &'static str,
    /// When.
    pub assessed: Timestamp,
    /// The gateway's name on records.
    pub node: String,
    /// Its configuration file.
    pub configuration: String,
    /// `running`, or why nothing was learnt from it.
    pub gateway: String,
    /// Counts.
    pub summary: Summary,
    /// Every check, by area.
    pub checks: Vec<Answer>,
    /// Every rule.
    pub controls: Vec<Coverage>,
}

/// The answer of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The check.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// How much it matters.
    pub level: Level,
    /// What it asks.
    pub asks: &'static str,
    /// `pass`, `warn`, `fail`, `unknown` or `not_applicable`.
    pub verdict: &'static str,
    /// What was seen; why nothing was.
    pub evidence: String,
    /// What to do, where something is.
    pub remedy: Option<String>,
    /// The rules that it is evidence for.
    pub controls: &'static [&'static str],
}

/// What there is to say of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Its citation.
    pub id: &'static str,
    /// Where it stands.
    pub framework: Framework,
    /// What it is called.
    pub title: &'static str,
    /// What the checks come to.
    pub standing: Standing,
    /// The checks.
    pub checks: Vec<&'static str>,
    /// What a gateway cannot fulfil of it, and who must.
    pub not_fulfilled: Option<Rest>,
}

/// What the checks of a rule come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// None failed, and one at least passed.
    Evidence,
    /// One failed.
    Failing,
    /// Nothing could be learnt.
    Unknown,
    /// No check: a gateway cannot fulfil it.
    Elsewhere,
}

impl Standing {
    const fn title(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Failing => "FAILING",
            Self::Unknown => "not known",
            Self::Elsewhere => "not by a gateway",
        }
    }
}

impl Answer {
    fn of(check: &Check, facts: &Facts) -> Self {
        let verdict = (check.judge)(facts);
        let word = verdict.word();
        let (evidence, remedy) = match verdict {
            Verdict::Pass { evidence } => (evidence, None),
            Verdict::Warn { evidence, remedy } | Verdict::Fail { evidence, remedy } => {
                (evidence, Some(remedy))
            }
            Verdict::NotApplicable { why } | Verdict::Unknown { why } => (why, None),
        };
        Self {
            id: check.id,
            area: check.area,
            level: check.level,
            asks: check.asks,
            verdict: word,
            evidence: printable(&evidence),
            remedy: remedy.map(|remedy| printable(&remedy)),
            controls: check.controls,
        }
    }

    /// The word on a terminal and a page.
    fn mark(&self) -> &'static str {
        match self.verdict {
            "fail" => "FAILED",
            "warn" => "LOOK",
            "unknown" => "unknown",
            "not_applicable" => "n/a",
            _ => "ok",
        }
    }
}

/// SECURITY: what came from files and from the wire cannot move the cursor or forge a line.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The order of findings: what failed before what calls for somebody, before what is not known.
const ORDER: &[&str] = &["fail", "warn", "unknown", "pass", "not_applicable"];

impl Report {
    /// Makes every check.
    #[must_use]
    pub fn of(facts: &Facts, configuration: &str) -> Self {
        let answers: Vec<Answer> = checks::all()
            .map(|check| Answer::of(check, facts))
            .collect();
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            assessed: facts.now,
            node: printable(&facts.config.audit.node),
            configuration: printable(configuration),
            gateway: match &facts.running {
                Ok(_) => "running".to_owned(),
                Err(why) => printable(why),
            },
            summary: summed(&answers),
            controls: Control::all()
                .map(|control| covered(control, &answers))
                .collect(),
            checks: answers,
        }
    }

    fn with(&self, verdict: &str) -> Vec<&Answer> {
        let mut found: Vec<&Answer> = self
            .checks
            .iter()
            .filter(|answer| answer.verdict == verdict)
            .collect();
        found.sort_by_key(|answer| std::cmp::Reverse(answer.level));
        found
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Security posture of {}, {:.0}, {} ({})\n",
            self.node,
            self.assessed,
            self.configuration,
            if self.gateway == "running" {
                "gateway running"
            } else {
                &self.gateway
            }
        )?;
        for verdict in ORDER {
            let found = self.with(verdict);
            for answer in &found {
                let level = match answer.verdict {
                    "fail" | "warn" => answer.level.name(),
                    _ => "",
                };
                let Answer { id, evidence, .. } = answer;
                writeln!(out, "{:<8} {level:<8} {id:<22} {evidence}", answer.mark())?;
                if let Some(remedy) = &answer.remedy {
                    writeln!(out, "{:<40}do: {remedy}", "")?;
                    writeln!(out, "{:<40}for: {}", "", answer.controls.join(", "))?;
                }
            }
            if !found.is_empty() {
                writeln!(out)?;
            }
        }
        writeln!(out, "Not fulfilled by a gateway:")?;
        for control in &self.controls {
            if let Some(rest) = control.not_fulfilled {
                let part = if control.checks.is_empty() {
                    ""
                } else {
                    "in part: "
                };
                writeln!(
                    out,
                    "  {:<30} {}: {part}{} ({})",
                    control.id, control.title, rest.what, rest.who
                )?;
            }
        }
        writeln!(out, "\n{}", self.summary)
    }

    /// A page to read, print and keep; it asks nobody for anything.
    ///
    /// # Errors
    /// Where the page cannot be rendered.
    pub fn html(&self) -> Result<String, askama::Error> {
        let findings = ORDER
            .iter()
            .flat_map(|verdict| self.with(verdict))
            .collect();
        let groups = Framework::ALL
            .iter()
            .map(|framework| Group {
                title: framework.title(),
                controls: self
                    .controls
                    .iter()
                    .filter(|control| control.framework == *framework)
                    .collect(),
            })
            .collect();
        Page {
            report: self,
            at: format!("{:.0}", self.assessed),
            findings,
            groups,
        }
        .render()
    }
}

#[derive(Template)]
#[template(path = "posture.html")]
struct Page<'r> {
    report: &'r Report,
    at: String,
    findings: Vec<&'r Answer>,
    groups: Vec<Group<'r>>,
}

#[derive(Debug)]
struct Group<'r> {
    title: &'static str,
    controls: Vec<&'r Coverage>,
}

fn summed(answers: &[Answer]) -> Summary {
    let count = |verdict: &str| {
        let found = answers.iter().filter(|answer| answer.verdict == verdict);
        found.count()
    };
    let failing = answers.iter().filter(|answer| answer.verdict == "fail");
    Summary {
        checks: answers.len(),
        passed: count("pass"),
        failed: count("fail"),
        warned: count("warn"),
        unknown: count("unknown"),
        not_applicable: count("not_applicable"),
        failing: failing.map(|answer| answer.id.to_owned()).collect(),
    }
}

fn covered(control: &Control, answers: &[Answer]) -> Coverage {
    let of: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.controls.contains(&control.id))
        .collect();
    let any = |verdicts: &[&str]| of.iter().any(|answer| verdicts.contains(&answer.verdict));
    let standing = if of.is_empty() {
        Standing::Elsewhere
    } else if any(&["fail"]) {
        Standing::Failing
    } else if any(&["pass", "warn"]) {
        Standing::Evidence
    } else {
        Standing::Unknown
    };
    Coverage {
        id: control.id,
        framework: control.framework,
        title: control.title,
        standing,
        checks: of.iter().map(|answer| answer.id).collect(),
        not_fulfilled: control.rest,
    }
}

/// Every check and every rule, as `docs/posture.md` lists them.
#[must_use]
pub fn catalogue() -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = write_catalogue(&mut text);
    text
}

fn write_catalogue(out: &mut String) -> std::fmt::Result {
    for area in Area::ALL {
        writeln!(out, "### {}\n", area.title())?;
        writeln!(out, "| check | level | asks | for |\n|---|---|---|---|")?;
        for check in checks::all().filter(|check| check.area == *area) {
            let Check { id, asks, .. } = check;
            let (level, rules) = (check.level.name(), check.controls.join("; "));
            writeln!(out, "| `{id}` | {level} | {asks} | {rules} |")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "### What a gateway cannot fulfil\n")?;
    writeln!(
        out,
        "| rule | | what is left | who must |\n|---|---|---|---|"
    )?;
    for control in Control::all() {
        if let Some(rest) = control.rest {
            let mut checks = checks::all();
            let part = if checks.any(|check| check.controls.contains(&control.id)) {
                "in part"
            } else {
                "not at all"
            };
            writeln!(
                out,
                "| {}, {} | {part} | {} | {} |",
                control.id, control.title, rest.what, rest.who
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::checks::fixture::sound;
    use super::*;

    #[test]
    fn the_json_form_does_not_change() {
        let mut facts = sound();
        facts.config.server.hsts_max_age = std::time::Duration::ZERO;
        let report = Report::of(&facts, "chartgate.toml");
        let json = serde_json::to_value(&report).unwrap();
        let keys = |value: &serde_json::Value| {
            let keys = value.as_object().unwrap().keys().cloned();
            keys.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            keys(&json),
            "format version assessed node configuration gateway summary checks controls"
        );
        assert_eq!(json["format"], 1);
        assert_eq!(json["gateway"], "running");
        let hsts = json["checks"].as_array().unwrap();
        let hsts = hsts.iter().find(|check| check["id"] == "hsts").unwrap();
        assert_eq!(
            *hsts,
            serde_json::json!({
                "id": "hsts",
                "area": "transport",
                "level": "medium",
                "asks": "Are browsers told to use HTTPS only, for half a year at least?",
                "verdict": "fail",
                "evidence": "Strict-Transport-Security is not sent",
                "remedy": "set `server.hsts_max_age` to 365d once every host of the domain is served by HTTPS",
                "controls": ["45 CFR 164.312(e)(2)(ii)", "GDPR Art. 32(1)(a)"],
            })
        );
        assert_eq!(
            json["summary"],
            serde_json::json!({
                "checks": report.checks.len(),
                "passed": report.checks.len() - 1,
                "failed": 1,
                "warned": 0,
                "unknown": 0,
                "not_applicable": 0,
                "failing": ["hsts"],
            })
        );
        let controls = json["controls"].as_array().unwrap();
        let of = |id: &str| controls.iter().find(|control| control["id"] == id).unwrap();
        assert_eq!(
            *of("45 CFR 164.310(a)(1)"),
            serde_json::json!({
                "id": "45 CFR 164.310(a)(1)",
                "framework": "hipaa",
                "title": "Facility access controls",
                "standing": "elsewhere",
                "checks": [],
                "not_fulfilled": {
                    "what": "doors, locks and visitors of the places where systems stand",
                    "who": "facility management",
                },
            })
        );
        assert_eq!(of("45 CFR 164.312(e)(2)(ii)")["standing"], "failing");
        assert_eq!(of("45 CFR 164.312(b)")["standing"], "evidence");
        assert!(of("45 CFR 164.312(b)")["not_fulfilled"].is_null());
    }

    #[test]
    fn failures_come_first_with_what_to_do() {
        let mut facts = sound();
        facts.config.server.hsts_max_age = std::time::Duration::ZERO;
        let text = Report::of(&facts, "chartgate.toml").text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("FAILED   medium   hsts"), "{text}");
        assert!(lines[3].contains("do: set `server.hsts_max_age`"), "{text}");
        assert!(text.contains("45 CFR 164.308(b)(1)"), "{text}");
        assert!(text.contains("1 failed"), "{text}");
    }

    #[test]
    fn the_page_escapes_and_asks_nobody_for_anything() {
        let mut facts = sound();
        let hostile = "<script>alert('x')</script>\u{1b}[2J & \"more\"";
        facts.plan = Err(hostile.to_owned());
        facts.config.audit.node = hostile.to_owned();
        let page = Report::of(&facts, hostile).html().unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&#60;script&#62;"), "{page}");
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            // Evidence may name an address; no attribute and no style may.
            let used = page.match_indices(outside).any(|(at, _)| {
                let before = page.get(..at).unwrap_or_default();
                before.ends_with('"') || outside.starts_with(['s', '@', 'u'])
            });
            assert!(!used, "the page uses {outside}");
        }
        assert!(page.contains("<html lang=\"en\">") && page.contains("scope=\"col\""));
        assert!(page.contains("45 CFR 164.310(d)(1)"), "{page}");
        let text = Report::of(&facts, hostile).text();
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_documentation_lists_every_check_and_every_rule() {
        let docs = include_str!("../../docs/posture.md");
        assert!(
            docs.contains(catalogue().trim_end()),
            "put what `chartgate posture --list` prints into docs/posture.md"
        );
    }
}
