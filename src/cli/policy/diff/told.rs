//! The changes in words, and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::Difference;
use crate::policy::decide::Active;
use crate::policy::question::PrincipalKind;
use crate::policy::space::compare::{Change, Turn};
use crate::request::{Action, Role};

/// Most groups of circumstances that one line lists.
const MOST_WHEN: usize = 4;

/// Actions by the letters of policies/README.md.
const LETTERS: &[(Action, char)] = &[
    (Action::Search, 'S'),
    (Action::Read, 'R'),
    (Action::Create, 'C'),
    (Action::Update, 'U'),
    (Action::Delete, 'D'),
    (Action::Print, 'P'),
    (Action::Export, 'E'),
    (Action::Disclose, 'X'),
    (Action::Order, 'O'),
    (Action::Sign, 'G'),
    (Action::Administer, 'A'),
    (Action::Navigate, 'N'),
    (Action::Unmapped, '?'),
];

type Person = (PrincipalKind, BTreeSet<Role>);

impl Difference {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", named("old", &self.old), named("new", &self.new));
        if self.is_empty() {
            text.push_str("\nnothing changes\n");
        }
        let mut people: BTreeMap<Person, Vec<&Change>> = BTreeMap::new();
        for change in &self.policies.changes {
            let person = (change.cell.kind, change.cell.roles.clone());
            people.entry(person).or_default().push(change);
        }
        for (person, changes) in &people {
            let _ = write!(text, "\n{}\n{}", who(person), matrix(changes));
            for (what, cells) in lines(changes) {
                let cells: Vec<String> = cells
                    .iter()
                    .map(|(section, actions)| format!("{} {section}", actions.join(" ")))
                    .collect();
                let _ = writeln!(text, "  {} {}{}", what.sign, cells.join(", "), what.says());
            }
        }
        if !self.routes.is_empty() {
            text.push_str("\nEMR profiles\n");
        }
        for (file, change) in &self.routes {
            let place = format!("{}: route `{}`", file.display(), change.route);
            let _ = match (&change.before, &change.after) {
                (Some(before), Some(after)) if before != after => {
                    writeln!(text, "  ~ {place} means {after} (before: {before})")
                }
                (Some(before), Some(_)) => {
                    writeln!(
                        text,
                        "  ~ {place} takes other requests, or stands elsewhere; it means {before}"
                    )
                }
                (None, Some(after)) => writeln!(text, "  + {place} means {after}"),
                (Some(before), None) => writeln!(text, "  - {place} is gone; it meant {before}"),
                (None, None) => Ok(()),
            };
        }
        if !self.grants.is_empty() {
            text.push_str("\nroles.toml\n");
        }
        for line in &self.grants {
            let _ = writeln!(text, "  {line}");
        }
        let (more, less, other) = self.counts();
        let _ = writeln!(
            text,
            "\nof {} cells {more} permit more, {less} permit less, {other} oblige to something else",
            self.policies.cells
        );
        for name in &self.policies.unvaried {
            let _ = writeln!(
                text,
                "not varied: {name}; policies read it, and what changes by it alone is not shown"
            );
        }
        text
    }

    fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Turn) -> bool| {
            let changes = self.policies.changes.iter();
            let cells: BTreeSet<_> = changes
                .filter(|change| wanted(&change.turn))
                .map(|change| &change.cell)
                .collect();
            cells.len()
        };
        (
            count(|turn| matches!(turn, Turn::Permitted(_))),
            count(|turn| matches!(turn, Turn::Refused)),
            count(|turn| matches!(turn, Turn::Obliged { .. })),
        )
    }

    pub(super) fn as_json(&self) -> Value {
        let changes = self.policies.changes.iter().map(|change| {
            let cell = &change.cell;
            let (turn, before, after) = match &change.turn {
                Turn::Permitted(with) => ("permitted", None, Some(with)),
                Turn::Refused => ("refused", None, None),
                Turn::Obliged { from, to } => ("obliged", Some(from), Some(to)),
            };
            json!({
                "roles": cell.roles,
                "kind": kind(cell.kind),
                "section": cell.section,
                "action": cell.action.name(),
                "change": turn,
                "obligations_before": before,
                "obligations": after,
                "when": change.when,
                "policies": change.policies,
            })
        });
        let routes = self.routes.iter().map(|(file, change)| {
            json!({
                "file": file,
                "route": change.route,
                "before": change.before,
                "after": change.after,
                "takes_others": change.takes_others,
            })
        });
        let side = |active: &Active| {
            let bundle = active.bundle();
            json!({
                "name": bundle.name(),
                "version": bundle.version(),
                "sha256": bundle.digest(),
            })
        };
        json!({
            "old": side(&self.old),
            "new": side(&self.new),
            "cells": self.policies.cells,
            "changes": changes.collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "grants": self.grants,
            "not_varied": self.policies.unvaried,
        })
    }
}

fn named(side: &str, active: &Active) -> String {
    let bundle = active.bundle();
    format!(
        "{side}  {} {}  sha256 {}",
        bundle.name(),
        bundle.version(),
        bundle.digest()
    )
}

fn kind(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Service => "service",
    }
}

fn who((kind, roles): &Person) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    let names = if names.is_empty() {
        "without a role".to_owned()
    } else {
        names.join(", ")
    };
    match kind {
        PrincipalKind::User => format!("{names} (a person)"),
        PrincipalKind::Service => format!("{names} (a program)"),
    }
}

/// Section × action, with what becomes of each cell.
fn matrix(changes: &[&Change]) -> String {
    let mut rows: BTreeMap<&str, BTreeMap<Action, char>> = BTreeMap::new();
    for change in changes {
        let sign = sign(&change.turn);
        let row = rows.entry(&change.cell.section).or_default();
        let mark = row.entry(change.cell.action).or_insert(sign);
        if *mark != sign {
            *mark = '*';
        }
    }
    let letters: Vec<String> = LETTERS
        .iter()
        .map(|(_, letter)| letter.to_string())
        .collect();
    let mut text = format!("  {:<16}{}\n", "", letters.join(" "));
    for (section, row) in rows {
        let marks: Vec<String> = LETTERS
            .iter()
            .map(|(action, _)| row.get(action).copied().unwrap_or('.').to_string())
            .collect();
        let _ = writeln!(text, "  {section:<16}{}", marks.join(" "));
    }
    text
}

const fn sign(turn: &Turn) -> char {
    match turn {
        Turn::Permitted(_) => '+',
        Turn::Refused => '-',
        Turn::Obliged { .. } => '~',
    }
}

/// What a line says of its cells.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct What<'c> {
    sign: char,
    turn: &'c Turn,
    when: &'c [String],
    policies: &'c BTreeSet<String>,
}

impl What<'_> {
    fn says(&self) -> String {
        let mut text = String::new();
        let listed = |of: &[String]| {
            if of.is_empty() {
                "nothing".to_owned()
            } else {
                of.join(" ")
            }
        };
        match self.turn {
            Turn::Permitted(with) if with.is_empty() => {}
            Turn::Permitted(with) => {
                let _ = write!(text, " with {}", with.join(" "));
            }
            Turn::Refused => {}
            Turn::Obliged { from, to } => {
                let _ = write!(text, " with {} (before: {})", listed(to), listed(from));
            }
        }
        let always = self.when.iter().any(String::is_empty);
        if !always {
            let shown: Vec<&str> = self
                .when
                .iter()
                .take(MOST_WHEN)
                .map(String::as_str)
                .collect();
            let _ = write!(text, "\n      when {}", shown.join("\n      or   "));
            let more = self.when.len().saturating_sub(MOST_WHEN);
            if more > 0 {
                let _ = write!(
                    text,
                    "\n      or in {more} more kinds of situations (--json has all)"
                );
            }
        }
        if !self.policies.is_empty() {
            let ids: Vec<&str> = self.policies.iter().map(String::as_str).collect();
            let _ = write!(text, "\n      by {}", ids.join(", "));
        }
        text
    }
}

/// The changes, those that say the same put together: by section, the actions.
fn lines<'c>(changes: &[&'c Change]) -> BTreeMap<What<'c>, BTreeMap<&'c str, Vec<&'static str>>> {
    let mut lines: BTreeMap<What<'c>, BTreeMap<&str, Vec<&'static str>>> = BTreeMap::new();
    for change in changes {
        let what = What {
            sign: sign(&change.turn),
            turn: &change.turn,
            when: &change.when,
            policies: &change.policies,
        };
        let cells = lines.entry(what).or_default();
        let actions = cells.entry(&change.cell.section).or_default();
        actions.push(change.cell.action.name());
    }
    lines
}
