//! Reads rules from the text of a Sigma file: the subset that `docs/detection.md` describes.

use std::path::Path;
use std::time::Duration;

use super::condition::Condition;
use super::fields::{Holds, holds};
use super::matcher::{Selection, Wrong};
use super::rule::{Counting, Detection, Level, Response};
use super::yaml::{self, Kind, Node};
use crate::config::unit::parse_duration;
use crate::policy::problem::Problem;

/// Most records or values that a rule may count to.
pub(super) const MOST_COUNTED: usize = 1_000;
/// Longest window: what a restart can read again.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_hours(24 * 7);
/// How long an alarm of a rule that looks at single records is not repeated, if the rule does not say.
const SUPPRESS: Duration = Duration::from_mins(15);

/// A rule whose references to others are still names.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) level: Level,
    pub(super) response: Option<Response>,
    pub(super) suppress: Duration,
    pub(super) line: usize,
    pub(super) logic: DraftLogic,
}

#[derive(Debug, Clone)]
pub(super) enum DraftLogic {
    Detection(Detection),
    Correlation(DraftCorrelation),
}

#[derive(Debug, Clone)]
pub(super) struct DraftCorrelation {
    pub(super) counting: Counting,
    pub(super) field: Option<String>,
    /// Names or ids, with their lines.
    pub(super) rules: Vec<(String, usize)>,
    pub(super) group_by: Vec<String>,
    pub(super) timespan: Duration,
    /// Whether the rules it refers to alarm themselves too.
    pub(super) generate: Generate,
}

/// Whether rules that others refer to alarm themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generate {
    Themselves,
    OnlyTogether,
}

/// What Sigma allows beside what is used here.
const INFORMATION: &[&str] = &[
    "author",
    "date",
    "modified",
    "references",
    "status",
    "tags",
    "falsepositives",
    "fields",
    "license",
    "taxonomy",
];

/// What a rule may have.
const USED: [&str; 9] = [
    "title",
    "id",
    "name",
    "description",
    "logsource",
    "detection",
    "correlation",
    "level",
    "chartgate",
];

/// Reads the rules of a file.
pub(super) fn rules(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Draft> {
    let documents = match yaml::read(text) {
        Ok(documents) => documents,
        Err(error) => {
            problems.push(Problem {
                file: file.to_owned(),
                line: Some(error.line),
                message: error.message,
                remedy: "Correct it; docs/detection.md shows the form of a rule.".to_owned(),
            });
            return Vec::new();
        }
    };
    let mut drafts = Vec::new();
    for document in documents.iter().filter(|node| node.kind != Kind::Null) {
        let mut wrong = Vec::new();
        let found = rule(document, &mut wrong);
        let sound = wrong.is_empty();
        problems.extend(wrong.into_iter().map(|wrong| Problem {
            file: file.to_owned(),
            line: Some(wrong.line),
            message: wrong.message,
            remedy: wrong.remedy,
        }));
        drafts.extend(found.filter(|_| sound));
    }
    drafts
}

fn say(wrong: &mut Vec<Wrong>, line: usize, message: impl Into<String>, remedy: &str) {
    wrong.push(Wrong {
        line,
        message: message.into(),
        remedy: remedy.to_owned(),
    });
}

fn rule(document: &Node, wrong: &mut Vec<Wrong>) -> Option<Draft> {
    let Some(entries) = document.entries() else {
        say(
            wrong,
            document.line,
            "a rule is a map",
            "Write `title:`, `name:`, `detection:` and `level:`.",
        );
        return None;
    };
    keys(entries, wrong);
    let text = |key: &str| document.at(key).and_then(Node::text).map(str::to_owned);
    let name = text("name").filter(|name| is_name(name));
    if name.is_none() {
        let remedy = "Add `name: my_rule`: lower case letters, digits, `_` and `-`, at most 64.";
        say(
            wrong,
            document.line,
            "the rule has no usable `name`",
            remedy,
        );
    }
    let title = text("title").filter(|title| title.len() <= 200);
    if title.is_none() {
        say(
            wrong,
            document.line,
            "the rule has no `title`, or one of more than 200 bytes",
            "Add what a person should read, like `title: Many charts by one user`.",
        );
    }
    let level = text("level").and_then(|level| Level::named(&level));
    if level.is_none() {
        let line = document.at("level").map_or(document.line, |node| node.line);
        say(
            wrong,
            line,
            "the rule has no usable `level`",
            "Write informational, low, medium, high or critical.",
        );
    }
    log_source(document, wrong);
    let logic = match (document.at("detection"), document.at("correlation")) {
        (Some(node), None) => detection(node, wrong).map(DraftLogic::Detection),
        (None, Some(node)) => correlation(node, wrong).map(DraftLogic::Correlation),
        (Some(_), Some(_)) | (None, None) => {
            say(
                wrong,
                document.line,
                "a rule has either a `detection` or a `correlation`",
                "Put each into a document of its own, separated by `---`.",
            );
            None
        }
    };
    let (response, suppress) = own(document, wrong);
    let logic = logic?;
    let default = match &logic {
        DraftLogic::Detection(_) => SUPPRESS,
        DraftLogic::Correlation(correlation) => correlation.timespan,
    };
    Some(Draft {
        name: name?,
        id: text("id"),
        title: title?,
        description: text("description").unwrap_or_default(),
        level: level?,
        response,
        suppress: suppress.unwrap_or(default),
        line: document.line,
        logic,
    })
}

/// What nobody reads is a mistake.
fn keys(entries: &[(Node, Node)], wrong: &mut Vec<Wrong>) {
    for (key, _) in entries {
        let name = key.text().unwrap_or_default();
        if !USED.contains(&name) && !INFORMATION.contains(&name) {
            let remedy =
                "Remove it, or correct its spelling; docs/detection.md lists what a rule may have.";
            say(
                wrong,
                key.line,
                format!("`{name}` is not known in a rule"),
                remedy,
            );
        }
    }
}

fn log_source(document: &Node, wrong: &mut Vec<Wrong>) {
    if let Some(product) = document.at("logsource").and_then(|node| node.at("product"))
        && product.text() != Some("chartgate")
    {
        say(
            wrong,
            product.line,
            "the rule is for another product's log",
            "Write `logsource: {product: chartgate, service: trail}`.",
        );
    }
}

/// The part of a rule that is Chartgate's own.
fn own(document: &Node, wrong: &mut Vec<Wrong>) -> (Option<Response>, Option<Duration>) {
    let (mut response, mut suppress) = (None, None);
    let Some(node) = document.at("chartgate") else {
        return (response, suppress);
    };
    for (key, value) in node.entries().unwrap_or_default() {
        match key.text().unwrap_or_default() {
            "response" => {
                let written = value.text().unwrap_or_default();
                response = Response::ALL
                    .iter()
                    .find(|known| known.name() == written)
                    .copied();
                if response.is_none() {
                    say(
                        wrong,
                        value.line,
                        format!("`{written}` is no response"),
                        "Write end_session or lock_user.",
                    );
                }
            }
            "suppress" => suppress = window(value, "suppress", wrong),
            other => say(
                wrong,
                key.line,
                format!("`chartgate.{other}` is not known"),
                "Known are response and suppress.",
            ),
        }
    }
    (response, suppress)
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

fn detection(node: &Node, wrong: &mut Vec<Wrong>) -> Option<Detection> {
    let mut selections = Vec::new();
    let mut condition = None;
    for (key, value) in node.entries().unwrap_or_default() {
        match key.text() {
            Some("condition") => condition = value.text().map(|text| (text, value.line)),
            Some(name) => selections.push((name.to_owned(), Selection::read(value, wrong))),
            None => say(
                wrong,
                key.line,
                "a selection has a name",
                "Write `sel: {..}`.",
            ),
        }
    }
    let Some((text, line)) = condition else {
        say(
            wrong,
            node.line,
            "the detection has no `condition`",
            "Add `condition: sel`.",
        );
        return None;
    };
    let names: Vec<&str> = selections.iter().map(|(name, _)| name.as_str()).collect();
    let condition = match Condition::read(text, &names) {
        Ok(condition) => condition,
        Err(problem) => {
            say(
                wrong,
                line,
                format!("the condition cannot be read: {problem}"),
                "Combine names of selections with and, or, not, `1 of sel*` and `all of them`.",
            );
            return None;
        }
    };
    let mut spoken = Vec::new();
    condition.selections(&mut spoken);
    for (position, name) in names.iter().enumerate() {
        if !spoken.contains(&position) {
            say(
                wrong,
                line,
                format!("the condition does not speak of `{name}`"),
                "Use the selection, or remove it.",
            );
        }
    }
    Some(Detection {
        selections,
        condition,
    })
}

fn window(node: &Node, key: &str, wrong: &mut Vec<Wrong>) -> Option<Duration> {
    let read = node.text().and_then(|text| parse_duration(text).ok());
    let fits = read.filter(|span| !span.is_zero() && *span <= LONGEST_WINDOW);
    if fits.is_none() {
        say(
            wrong,
            node.line,
            format!("`{key}` is no duration of at most seven days"),
            "Write it like 10m, 1h or 24h.",
        );
    }
    fits
}

fn correlation(node: &Node, wrong: &mut Vec<Wrong>) -> Option<DraftCorrelation> {
    for (key, _) in node.entries().unwrap_or_default() {
        let name = key.text().unwrap_or_default();
        if ![
            "type",
            "rules",
            "group-by",
            "timespan",
            "condition",
            "generate",
        ]
        .contains(&name)
        {
            say(
                wrong,
                key.line,
                format!("`correlation.{name}` is not known"),
                "Known are type, rules, group-by, timespan, condition and generate.",
            );
        }
    }
    let list = |key: &str| -> Vec<(String, usize)> {
        let items = node.at(key).map(Node::items).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| item.text().map(|text| (text.to_owned(), item.line)))
            .collect()
    };
    let rules = list("rules");
    if rules.is_empty() || rules.len() > 16 {
        say(
            wrong,
            node.line,
            "a correlation refers to at least one rule and at most 16",
            "Add `rules: [name_of_a_rule]`.",
        );
    }
    let group_by = list("group-by");
    if group_by.is_empty() || group_by.len() > 4 {
        say(
            wrong,
            node.line,
            "a correlation is grouped by at least one field and at most four",
            "Add `group-by: [user]`.",
        );
    }
    for (field, line) in &group_by {
        if holds(field).is_none() {
            say(
                wrong,
                *line,
                format!("the field `{field}` does not exist"),
                "Use a field of docs/detection.md.",
            );
        }
    }
    let timespan = if let Some(span) = node.at("timespan") {
        window(span, "timespan", wrong)
    } else {
        say(
            wrong,
            node.line,
            "the correlation has no `timespan`",
            "Add `timespan: 10m`.",
        );
        None
    };
    let (counting, field) = counting(node, rules.len(), wrong)?;
    let generate = match node.at("generate").map(|node| &node.kind) {
        Some(Kind::Truth(true)) => Generate::Themselves,
        _ => Generate::OnlyTogether,
    };
    Some(DraftCorrelation {
        counting,
        field,
        rules,
        group_by: group_by.into_iter().map(|(field, _)| field).collect(),
        timespan: timespan?,
        generate,
    })
}

fn counting(
    node: &Node,
    rules: usize,
    wrong: &mut Vec<Wrong>,
) -> Option<(Counting, Option<String>)> {
    let kind = node.at("type").and_then(Node::text).unwrap_or_default();
    let counts = matches!(kind, "event_count" | "value_count");
    let ordered = matches!(kind, "temporal" | "temporal_ordered");
    if !counts && !ordered {
        say(
            wrong,
            node.line,
            format!("`{kind}` is no type of correlation"),
            "Write event_count, value_count, temporal or temporal_ordered.",
        );
        return None;
    }
    if ordered {
        if rules < 2 {
            say(
                wrong,
                node.line,
                "what happens together are at least two rules",
                "Name two or more in `rules`.",
            );
        }
        return Some((
            if kind == "temporal" {
                Counting::Together
            } else {
                Counting::InOrder
            },
            None,
        ));
    }
    let condition = node.at("condition");
    let number = |key: &str| match condition
        .and_then(|node| node.at(key))
        .map(|node| &node.kind)
    {
        Some(Kind::Number(number)) => usize::try_from(*number).ok(),
        _ => None,
    };
    let least = number("gte").or_else(|| number("gt").map(|above| above.saturating_add(1)));
    let line = condition.map_or(node.line, |node| node.line);
    let Some(least) = least.filter(|least| (1..=MOST_COUNTED).contains(least)) else {
        say(
            wrong,
            line,
            "the correlation does not say how many",
            "Add `condition: {gte: 10}` (gt or gte, at most 1000).",
        );
        return None;
    };
    let field = condition
        .and_then(|node| node.at("field"))
        .and_then(Node::text);
    if kind == "event_count" {
        return Some((Counting::Events(least), None));
    }
    match field.and_then(|field| holds(field).map(|holds| (field, holds))) {
        Some((field, Holds::Text | Holds::Texts | Holds::Number)) => {
            Some((Counting::Values(least), Some(field.to_owned())))
        }
        Some((_, Holds::Truth)) | None => {
            say(
                wrong,
                line,
                "value_count needs a field whose values it counts",
                "Add `condition: {gte: 40, field: patient}`.",
            );
            None
        }
    }
}
