//! What a replay came to, in words and as JSON. No name of a user or patient is in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::tally::{Count, Group, Key, Turn};
use crate::cli::policy::printable;
use crate::policy::decide::Active;

/// What is told.
pub(super) struct Told<'t> {
    pub(super) active: &'t Active,
    pub(super) since: Timestamp,
    pub(super) count: &'t Count<'t>,
    pub(super) notes: &'t [String],
    pub(super) top: usize,
}

/// What no replay can know.
const LIMITS: &[&str] = &[
    "users had the roles that were recorded: a change of roles.toml is not replayed",
    "whose chart a request was about is as recorded, also where a route is another now",
    "who is refused for the first time may go about it otherwise; requests that were never made are not on the trail",
];

const TURNS: &[(Turn, &str, &str)] = &[
    (Turn::Refused, "refused", "would be refused now"),
    (Turn::Admitted, "admitted", "would be let in now"),
    (
        Turn::Obliged,
        "obliged",
        "would be let in with other obligations",
    ),
];

impl Told<'_> {
    fn groups(&self, turn: Turn) -> Vec<(&Key, &Group)> {
        let mut groups: Vec<_> = self
            .count
            .groups
            .iter()
            .filter(|(key, _)| key.turn == turn)
            .collect();
        groups.sort_by(|(a, one), (b, other)| other.count.cmp(&one.count).then_with(|| a.cmp(b)));
        groups
    }

    /// Requests by a part of their group, the most first.
    fn by<'k>(
        &'k self,
        turn: Turn,
        part: impl Fn(&'k Key) -> Option<&'k str>,
    ) -> Vec<(&'k str, u64)> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, group) in self.groups(turn) {
            if let Some(name) = part(key) {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(group.count);
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        sums
    }

    pub(super) fn text(&self) -> String {
        let (count, bundle) = (self.count, self.active.bundle());
        let mut text = format!(
            "{} {}  sha256 {}\n{} decisions since {:.0} were made again",
            bundle.name(),
            bundle.version(),
            bundle.digest(),
            count.replayed,
            self.since
        );
        let _ = writeln!(
            text,
            "; {} of them are about another route now",
            count.mapped_otherwise
        );
        if count.failed > 0 {
            let _ = writeln!(
                text,
                "{} failed while they were evaluated, and refuse",
                count.failed
            );
        }
        for (turn, _, says) in TURNS {
            let total = count.totals.get(turn).copied().unwrap_or(0);
            let _ = writeln!(text, "\n{total} {says}");
            self.listed(*turn, &mut text);
        }
        if count.others > 0 {
            let _ = writeln!(
                text,
                "\n{} more are in groups that were not told apart",
                count.others
            );
        }
        text.push_str("\nnot replayed\n");
        for (gap, number) in &count.gaps {
            let _ = writeln!(text, "  {number} {}", gap.says());
        }
        if count.gaps.is_empty() {
            text.push_str("  nothing\n");
        }
        for (code, number) in &count.codes {
            let _ = writeln!(text, "    {number} {code}");
        }
        text.push_str("\nto bear in mind\n");
        for note in self
            .notes
            .iter()
            .map(String::as_str)
            .chain(LIMITS.iter().copied())
        {
            let _ = writeln!(text, "  {note}");
        }
        text
    }

    fn listed(&self, turn: Turn, text: &mut String) {
        let groups = self.groups(turn);
        for (what, part) in parts() {
            let sums = self.by(turn, part);
            if sums.is_empty() {
                continue;
            }
            let shown: Vec<String> = sums
                .iter()
                .take(self.top)
                .map(|(name, sum)| format!("{} {sum}", printable(name)))
                .collect();
            let more = sums.len().saturating_sub(self.top);
            let more = if more > 0 {
                format!(", {more} others")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  by {what}: {}{more}", shown.join(", "));
        }
        for (key, group) in groups.iter().take(self.top) {
            let _ = writeln!(text, "  {:>8}  {}", group.count, printable(&says(key)));
            let _ = writeln!(
                text,
                "            users {}; requests {}{}",
                group.users(),
                group.examples.join(", "),
                policies(group)
            );
        }
        let rest = groups.iter().skip(self.top);
        let (more, sum) = rest.fold((0_usize, 0_u64), |(more, sum), (_, group)| {
            (more.saturating_add(1), sum.saturating_add(group.count))
        });
        if more > 0 {
            let _ = writeln!(
                text,
                "  {sum:>8}  in {more} other groups (--top shows more)"
            );
        }
    }

    pub(super) fn as_json(&self) -> Value {
        let (count, bundle) = (self.count, self.active.bundle());
        let turns = TURNS.iter().map(|(turn, name, _)| {
            let groups = self.groups(*turn);
            let shown: Vec<Value> = groups
                .iter()
                .take(self.top)
                .map(|(key, group)| as_json(key, group))
                .collect();
            let sums = parts().into_iter().map(|(what, part)| {
                let sums = self.by(*turn, part).into_iter().take(self.top);
                (what.to_owned(), json!(sums.collect::<BTreeMap<_, _>>()))
            });
            let document = json!({
                "total": count.totals.get(turn).copied().unwrap_or(0),
                "by": sums.collect::<serde_json::Map<_, _>>(),
                "groups": shown,
                "other_groups": groups.len().saturating_sub(self.top),
            });
            ((*name).to_owned(), document)
        });
        let gaps = count
            .gaps
            .iter()
            .map(|(gap, number)| json!({ "why": gap.says(), "count": number }));
        json!({
            "bundle": { "name": bundle.name(), "version": bundle.version(), "sha256": bundle.digest() },
            "since": self.since,
            "replayed": count.replayed,
            "mapped_otherwise": count.mapped_otherwise,
            "failed": count.failed,
            "changes": turns.collect::<serde_json::Map<_, _>>(),
            "not_told_apart": count.others,
            "not_replayed": gaps.collect::<Vec<_>>(),
            "refused_before": count.codes,
            "notes": self.notes,
        })
    }
}

type Part = fn(&Key) -> Option<&str>;

/// What requests are summed by.
fn parts() -> [(&'static str, Part); 4] {
    [
        ("role", |key| {
            Some(if key.roles.is_empty() {
                "no role"
            } else {
                &key.roles
            })
        }),
        ("department", |key| key.department.as_deref()),
        ("section", |key| Some(&key.section)),
        ("route", |key| Some(&key.route)),
    ]
}

fn says(key: &Key) -> String {
    let roles = if key.roles.is_empty() {
        "no role"
    } else {
        &key.roles
    };
    let program = if key.program { " (a program)" } else { "" };
    let department = key
        .department
        .as_ref()
        .map_or_else(String::new, |name| format!(" of {name}"));
    let was = key
        .was
        .as_ref()
        .map_or_else(String::new, |route| format!(", before: {route}"));
    let obliged = if key.obligations.is_empty() {
        String::new()
    } else {
        format!(", with {}", key.obligations.join(" "))
    };
    format!(
        "{roles}{program}{department}: {} {} (route {} of {}{was}){obliged}",
        key.action.name(),
        key.section,
        key.route,
        key.emr
    )
}

fn policies(group: &Group) -> String {
    if group.policies.is_empty() {
        return "; no policy applies".to_owned();
    }
    let ids: Vec<&str> = group.policies.iter().map(String::as_str).collect();
    format!("; policies then and now: {}", ids.join(", "))
}

fn as_json(key: &Key, group: &Group) -> Value {
    json!({
        "count": group.count,
        "users": group.users(),
        "roles": key.roles,
        "kind": if key.program { "service" } else { "user" },
        "department": key.department,
        "emr": key.emr,
        "route": key.route,
        "route_before": key.was,
        "action": key.action.name(),
        "section": key.section,
        "obligations": key.obligations,
        "policies": group.policies,
        "examples": group.examples,
    })
}
