//! The report of a review: rows for a table, words for a terminal, a page to sign.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use askama::Template;
use jiff::Timestamp;

use super::effective::{Effective, effective};
use crate::cli::policy::printable;
use crate::operate::permissions::{Usage, Use};
use crate::policy::decide::Active;
use crate::request::Role;

/// One permission of one role or user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Whether a role's or a user's.
    pub(super) of: &'static str,
    /// The role, or the user's name.
    pub(super) name: String,
    /// The user's id; empty for a role.
    pub(super) id: String,
    /// The roles that it comes from.
    pub(super) roles: String,
    /// What may be done.
    pub(super) may: Effective,
    /// When it was last used within the time looked at.
    pub(super) used: Option<Use>,
}

impl Row {
    fn last(&self) -> String {
        self.used.map_or_else(String::new, |used| day(used.last))
    }

    fn count(&self) -> u64 {
        self.used.map_or(0, |used| used.count)
    }
}

/// A role or user with their rows.
#[derive(Debug)]
pub(super) struct Group<'r> {
    title: String,
    about: String,
    rows: Vec<&'r Row>,
}

impl Group<'_> {
    fn unused(&self) -> usize {
        self.rows.iter().filter(|row| row.used.is_none()).count()
    }
}

/// The whole review.
#[derive(Debug)]
pub(super) struct Report {
    title: String,
    digest: String,
    at: Timestamp,
    since: Timestamp,
    /// Whether the trail was left alone, so that nothing is known of use.
    blind: bool,
    pub(super) rows: Vec<Row>,
    about: BTreeMap<(&'static str, String), String>,
    remarks: Vec<String>,
}

#[derive(Template)]
#[template(path = "review.html")]
struct Page<'r> {
    report: &'r Report,
    groups: Vec<Group<'r>>,
    since: String,
    at: String,
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

impl Report {
    pub(super) fn of(
        active: &Active,
        usage: &Usage,
        since: Timestamp,
        now: Timestamp,
        blind: bool,
    ) -> Self {
        let bundle = active.bundle();
        let mut rows = Vec::new();
        let mut about = BTreeMap::new();
        for role in bundle.vocabulary().roles() {
            let roles = BTreeSet::from([Role::new(role)]);
            let holders = usage
                .users
                .values()
                .filter(|seen| seen.roles.contains(role));
            let grants = bundle.roles().grants().iter();
            let claims: Vec<_> = grants
                .filter(|grant| grant.role.as_str() == role)
                .map(|grant| grant.claim.as_str())
                .collect();
            let granted = if claims.is_empty() {
                "granted by nothing".to_owned()
            } else {
                format!("granted to {}", claims.join(", "))
            };
            let seen = if blind {
                String::new()
            } else {
                format!("; {} users seen", holders.count())
            };
            about.insert(("role", role.clone()), format!("{granted}{seen}"));
            rows.extend(effective(active, &roles).into_iter().map(|may| {
                Row {
                    of: "role",
                    name: role.clone(),
                    id: String::new(),
                    roles: role.clone(),
                    used: usage
                        .by_role
                        .get(&(role.clone(), (may.action, may.section.clone())))
                        .copied(),
                    may,
                }
            }));
        }
        let mut known: BTreeMap<&BTreeSet<String>, Vec<Effective>> = BTreeMap::new();
        for (id, seen) in &usage.users {
            let may = known.entry(&seen.roles).or_insert_with(|| {
                effective(
                    active,
                    &seen.roles.iter().map(|role| Role::new(role)).collect(),
                )
            });
            let roles: Vec<_> = seen.roles.iter().map(String::as_str).collect();
            let held = if roles.is_empty() {
                "no role".to_owned()
            } else {
                roles.join(", ")
            };
            let last = day(seen.last);
            about.insert(("user", id.clone()), format!("{held}; last seen {last}"));
            rows.extend(may.iter().map(|may| {
                Row {
                    of: "user",
                    name: seen.name.clone(),
                    id: id.clone(),
                    roles: roles.join(" "),
                    used: usage
                        .by_user
                        .get(&(id.clone(), (may.action, may.section.clone())))
                        .copied(),
                    may: may.clone(),
                }
            }));
        }
        Self {
            title: format!("{} {}", bundle.name(), bundle.version()),
            digest: bundle.digest().to_owned(),
            at: now,
            since,
            blind,
            rows,
            about,
            remarks: remarks(active, usage, now, blind),
        }
    }

    /// Names the accounts that were last used before then. `ever` is all use that is on the trail.
    pub(super) fn dormant(&mut self, ever: &Usage, before: Timestamp) {
        let mut asleep: Vec<_> = ever
            .users
            .iter()
            .filter(|(_, seen)| seen.last < before)
            .collect();
        asleep.sort_by_key(|(_, seen)| seen.last);
        let remarks = asleep.into_iter().map(|(id, seen)| {
            let roles: Vec<_> = seen.roles.iter().map(String::as_str).collect();
            format!(
                "user {} ({id}) was last seen {}, with {}: dormant; ask whether the account is still needed",
                seen.name,
                day(seen.last),
                if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") }
            )
        });
        self.remarks.extend(remarks);
    }

    fn groups(&self) -> Vec<Group<'_>> {
        self.about
            .iter()
            .map(|((of, key), about)| {
                let rows: Vec<_> = self
                    .rows
                    .iter()
                    .filter(|row| {
                        row.of == *of && (if *of == "role" { &row.name } else { &row.id }) == key
                    })
                    .collect();
                let name = rows.first().map_or(key, |row| &row.name);
                let title = if name == key {
                    format!("{of} {name}")
                } else {
                    format!("{of} {name} ({key})")
                };
                Group {
                    title,
                    about: about.clone(),
                    rows,
                }
            })
            .collect()
    }

    /// One row for each permission (RFC 4180).
    pub(super) fn csv(&self) -> String {
        let mut csv =
            "of,name,id,roles,section,action,condition,obligations,policies,last_used,uses\r\n"
                .to_owned();
        for row in &self.rows {
            let cells = [
                row.of,
                &row.name,
                &row.id,
                &row.roles,
                &row.may.section,
                row.may.action.name(),
                &row.may.condition,
                &row.may.obligations.join(" "),
                &row.may.policies.join(" "),
                &row.last(),
                &row.count().to_string(),
            ]
            .map(cell);
            csv.push_str(&cells.join(","));
            csv.push_str("\r\n");
        }
        csv
    }

    /// The page to sign.
    pub(super) fn html(&self) -> Result<String, askama::Error> {
        Page {
            report: self,
            groups: self.groups(),
            since: day(self.since),
            at: day(self.at),
        }
        .render()
    }

    /// The review for a terminal: by section, with what was never used.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}  sha256 {}\n", self.title, self.digest);
        for group in self.groups() {
            let _ = writeln!(
                text,
                "\n{}: {}",
                printable(&group.title),
                printable(&group.about)
            );
            let mut sections: BTreeMap<&str, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
            let mut unused = Vec::new();
            for row in &group.rows {
                let when = [row.may.condition.clone(), row.may.obligations.join(" ")]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(", ");
                let section = sections.entry(&row.may.section).or_default();
                section.entry(when).or_default().push(row.may.action.name());
                if row.used.is_none() {
                    unused.push(format!("{} {}", row.may.action.name(), row.may.section));
                }
            }
            for (section, conditions) in &sections {
                let parts: Vec<_> = conditions
                    .iter()
                    .map(|(when, actions)| {
                        let when = if when.is_empty() {
                            String::new()
                        } else {
                            format!(" ({when})")
                        };
                        format!("{}{when}", actions.join(" "))
                    })
                    .collect();
                let _ = writeln!(text, "  {section:<15} {}", parts.join("; "));
            }
            if !self.blind && !unused.is_empty() {
                let (count, all) = (unused.len(), group.rows.len());
                let since = day(self.since);
                let _ = writeln!(
                    text,
                    "  not used since {since}: {count} of {all}: {}",
                    unused.join(", ")
                );
            }
        }
        text.push_str("\nto look at:\n");
        for remark in &self.remarks {
            let _ = writeln!(text, "  {}", printable(remark));
        }
        if self.remarks.is_empty() {
            text.push_str("  nothing stands out\n");
        }
        text
    }
}

/// What stands out: grants that expired or gave nobody anything, roles in use that nothing grants.
fn remarks(active: &Active, usage: &Usage, now: Timestamp, blind: bool) -> Vec<String> {
    let bundle = active.bundle();
    let mut remarks = Vec::new();
    for grant in bundle.roles().grants() {
        let place = format!("roles.toml:{}", grant.line);
        let grants = format!("the grant of \"{}\" to \"{}\"", grant.role, grant.claim);
        if let Some(expired) = grant.expires.filter(|expires| *expires <= now) {
            remarks.push(format!(
                "{place}: {grants} expired {}; remove it",
                day(expired)
            ));
        } else if !blind
            && !usage
                .users
                .values()
                .any(|seen| seen.roles.contains(grant.role.as_str()))
        {
            remarks.push(format!(
                "{place}: {grants} gave nobody the role in this time"
            ));
        }
    }
    let granted = |role: &str| {
        let mut grants = bundle.roles().grants().iter();
        grants.any(|grant| grant.role.as_str() == role && grant.expires.is_none_or(|end| now < end))
    };
    for (id, seen) in &usage.users {
        let lost: Vec<_> = seen
            .roles
            .iter()
            .filter(|role| !granted(role.as_str()))
            .map(String::as_str)
            .collect();
        if !lost.is_empty() {
            let (name, lost) = (&seen.name, lost.join(", "));
            remarks.push(format!(
                "user {name} ({id}) had roles that nothing grants any more: {lost}"
            ));
        }
    }
    remarks
}

/// SECURITY: a spreadsheet runs what begins like a formula; such a cell gets an apostrophe in front.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::permissions::Seen;
    use crate::policy::bundle::Bundle;
    use crate::request::Action;

    fn report(usage: &Usage) -> Report {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let active = Active::new(Bundle::load(directory.as_ref()).unwrap());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        Report::of(
            &active,
            usage,
            at("2026-08-01T00:00:00Z"),
            at("2026-11-01T00:00:00Z"),
            false,
        )
    }

    fn seen(name: &str, role: &str) -> (String, Seen) {
        let seen = Seen {
            name: name.to_owned(),
            roles: BTreeSet::from([role.to_owned()]),
            last: "2026-10-01T00:00:00Z".parse().unwrap(),
        };
        (format!("main|{name}"), seen)
    }

    #[test]
    fn a_review_says_what_is_permitted_used_unused_and_expired() {
        let permission = (Action::Read, "notes".to_owned());
        let used = Use {
            last: "2026-09-30T00:00:00Z".parse().unwrap(),
            count: 3,
        };
        let usage = Usage {
            users: BTreeMap::from([seen("=nurse", "nurse"), seen("<b>odd</b>", "dietician")]),
            by_user: BTreeMap::from([(("main|=nurse".to_owned(), permission.clone()), used)]),
            by_role: BTreeMap::from([(("nurse".to_owned(), permission), used)]),
        };
        let mut report = report(&usage);
        report.dormant(&usage, "2026-10-02T00:00:00Z".parse().unwrap());
        let csv = report.csv();
        for line in [
            "role,nurse,,nurse,notes,Read,in their care or care relation unknown or by break-glass or without a patient,,nurse-chart,2026-09-30,3\r\n",
            "user,'=nurse,main|=nurse,nurse,notes,Read,in their care or care relation unknown or by break-glass or without a patient,,nurse-chart,2026-09-30,3\r\n",
            "role,him,,him,export,Export,,stepup=300s,him-export,,0\r\n",
            "role,interface-engine,,interface-engine,results,Create,programs only,,interface-messages,,0\r\n",
        ] {
            assert!(csv.contains(line), "{line}\n{csv}");
        }
        assert!(!csv.contains("role,billing,,billing,notes"));
        let text = report.text();
        for part in [
            "role nurse: granted to emr-nurses; 1 users seen\n",
            "the grant of \"vendor\" to \"emr-vendors\" expired 2026-01-01; remove it",
            "the grant of \"billing\" to \"emr-billing\" gave nobody the role",
            "user <b>odd</b> (main|<b>odd</b>) had roles that nothing grants any more: dietician",
            "user =nurse (main|=nurse) was last seen 2026-10-01, with nurse: dormant",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let html = report.html().unwrap();
        assert!(html.contains("&#60;b&#62;odd") && !html.contains("<b>odd"));
        assert!(html.contains("<html lang=\"en\">") && !html.contains("http"));
    }
}
