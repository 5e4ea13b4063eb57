//! Reports for a person: who opened this chart, when and why; what a user did; what happened at all.
//!
//! *Owns*: at most [`MOST`] rows or groups. *Never*: names, addresses or sessions of staff where they are to be left
//! out; each person is then a number, the same in the whole report.
//! *On failure*: [`TooLong`]; a part of a report is never taken for the whole.

mod chart;
pub mod disclosures;
mod foot;
mod page;
mod people;
mod row;
mod tally;
mod text;
mod words;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answers::Asked;
use super::csv;
use super::entry::Phase;
use super::named::Named;
use super::query::answer::{Answer, instant};
use super::query::join::Joined;
use super::show::Filter;
use crate::request::{Action, Event};
use foot::Foot;
pub use page::html;
use people::Numbers;
pub use row::{COLUMNS, Row};
use tally::Tally;
pub use text::text;

/// Most rows, and most groups, of a report.
pub const MOST: usize = 100_000;

/// More than a report can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report would have more than {MOST} rows; narrow it down with --since and --until")]
pub struct TooLong;

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A patient: who opened this chart.
    Patient(String),
    /// A user: what they did.
    User(String),
    /// Everything, in numbers.
    Activity,
}

impl Subject {
    /// The subject as it stands on record.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Patient(id) => format!("patient {id}"),
            Self::User(id) => format!("user {id}"),
            Self::Activity => "activity".to_owned(),
        }
    }

    /// The records that it is about.
    #[must_use]
    pub fn filter(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Filter {
        let filter = Filter {
            since,
            until,
            ..Filter::default()
        };
        match self {
            Self::Patient(id) => Filter {
                patient: Some(id.clone()),
                ..filter
            },
            Self::User(id) => Filter {
                user: Some(id.clone()),
                ..filter
            },
            Self::Activity => filter,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Patient(id) => format!("Who opened the chart of patient {id}"),
            Self::User(id) => format!("What user {id} did"),
            Self::Activity => "Activity".to_owned(),
        }
    }

    /// What the groups of its summary are.
    const fn group(&self) -> &'static str {
        match self {
            Self::Patient(_) | Self::Activity => "person",
            Self::User(_) => "patient",
        }
    }
}

/// Whether staff are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staff {
    /// By name.
    Named,
    /// By a number and their roles.
    Numbered,
}

/// A line of the summary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The person or patient.
    pub name: String,
    /// Roles.
    pub roles: String,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Of the admitted, those under break-glass.
    pub broken_glass: u64,
    /// How often which action.
    pub actions: BTreeMap<String, u64>,
    /// The first of all.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

impl Group {
    /// The actions with their counts, on one line.
    #[must_use]
    pub fn actions_text(&self) -> String {
        let counted = self.actions.iter();
        let counted: Vec<String> = counted.map(|(name, n)| format!("{name} {n}")).collect();
        counted.join(", ")
    }
}

/// A report.
#[derive(Debug)]
pub struct Report {
    subject: Subject,
    staff: Staff,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    also: Vec<String>,
    made: Timestamp,
    rows: Vec<Row>,
    groups: BTreeMap<String, Group>,
    numbers: Numbers,
    foot: Option<Foot>,
    tally: Tally,
    /// Reasons for which glass was broken, by grant.
    reasons: BTreeMap<String, String>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub const fn new(subject: Subject, staff: Staff, filter: &Filter, made: Timestamp) -> Self {
        Self {
            subject,
            staff,
            since: filter.since,
            until: filter.until,
            also: Vec::new(),
            made,
            rows: Vec::new(),
            groups: BTreeMap::new(),
            numbers: Numbers::new(),
            foot: None,
            tally: Tally::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// Further identifiers of the patient whom the report is about; said before the records that it is made of.
    pub fn also_known_as(&mut self, also: &[String]) {
        if self.also != also {
            self.also = also.to_vec();
        }
    }

    /// Which trail answered, up to which record.
    pub fn answered(&mut self, asked: &Asked) {
        self.foot = Some(Foot::of(asked, self.staff));
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn push(&mut self, joined: &Joined) -> Result<(), TooLong> {
        if is_shell(joined) || self.is_untold(joined) {
            return Ok(());
        }
        let mut answer = Answer::of(joined);
        let known_as = self.note_list(&mut answer);
        self.learn_reason(joined, &answer);
        let who = self.who(&answer);
        self.count(&answer, &who);
        self.tally.count(&answer);
        if self.subject != Subject::Activity {
            let mut row = Row::of(&answer, who, self.staff);
            if let Some(known_as) = known_as {
                row.patients = format!("{}, as {known_as}", row.patients);
            }
            self.rows.push(row);
        }
        if self.rows.len() > MOST || self.groups.len() > MOST {
            return Err(TooLong);
        }
        Ok(())
    }

    /// Puts the reasons beside the accesses that they explain.
    pub fn end(&mut self) {
        for row in &mut self.rows {
            let reason = self.reasons.get(&row.grant);
            row.explain(reason);
        }
    }

    /// Whether it is nothing to tell a patient: that their records are under legal hold is between the hospital and who
    /// asked for it.
    fn is_untold(&self, joined: &Joined) -> bool {
        let is_hold = matches!(
            joined.entry.event,
            Some(Event::LegalHoldSet | Event::LegalHoldReleased)
        );
        let is_patients = matches!(self.subject, Subject::Patient(_));
        is_hold && is_patients && self.staff == Staff::Numbered
    }

    /// Says of a patient's row that they only appeared in a list: nobody opened the chart. Returns by which of their
    /// further identifiers they stood in it, where it was not the one that was asked for.
    fn note_list(&self, answer: &mut Answer) -> Option<String> {
        let Subject::Patient(patient) = &self.subject else {
            return None;
        };
        let known_as = |(id, system): (&String, &str)| {
            let named = Named::Numbered { system, id };
            let mut all = std::iter::once(patient).chain(&self.also);
            all.find(|sought| named.is(sought))
        };
        let systems = answer.patient_systems.iter().map(String::as_str);
        let mut charts = answer.patients.iter().zip(systems);
        if charts.any(|chart| known_as(chart).is_some()) {
            return None;
        }
        let systems = answer.appeared_systems.iter().map(|system| &**system);
        let listed = answer.appeared.iter().zip(systems).filter_map(known_as);
        // The identifier that was asked for, where both are in the list.
        let found = listed.min_by_key(|found| *found != patient)?;
        let further = (found != patient).then(|| found.clone());
        answer.action.push_str(" in a list");
        further
    }

    fn learn_reason(&mut self, joined: &Joined, answer: &Answer) {
        if joined.entry.event != Some(Event::BreakGlass) || self.reasons.len() >= MOST {
            return;
        }
        let detail = |keys: &[&str]| keys.iter().find_map(|key| answer.detail.get(*key));
        if let Some(grant) = detail(&["grant", "id"]) {
            let said: Vec<&str> = ["reason_code", "code", "reason", "reason_text", "text"]
                .iter()
                .filter_map(|key| answer.detail.get_key_value(*key))
                .filter(|(key, value)| self.staff == Staff::Named || row::is_nobodys(key, value))
                .map(|(_, value)| value.as_str())
                .collect();
            self.reasons.insert(grant.clone(), said.join(", "));
        }
    }

    /// The name under which the person stands in this report.
    fn who(&mut self, answer: &Answer) -> String {
        match self.staff {
            Staff::Named | Staff::Numbered if answer.user.is_empty() => nobody(answer).to_owned(),
            Staff::Named => answer.user.clone(),
            Staff::Numbered => self.numbers.of(answer),
        }
    }

    fn count(&mut self, answer: &Answer, who: &str) {
        let names = match self.subject {
            Subject::Patient(_) | Subject::Activity => vec![who.to_owned()],
            Subject::User(_) if answer.patients.is_empty() => {
                let listed = answer.listed().map(|_| "in lists only");
                vec![listed.unwrap_or("no patient").to_owned()]
            }
            Subject::User(_) => answer.patients.clone(),
        };
        for name in names {
            let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
                name,
                first: answer.time,
                last: answer.time,
                ..Group::default()
            });
            if self.subject.group() == "person" && !answer.roles.is_empty() {
                group.roles = answer.roles.join(", ");
            }
            group.first = group.first.min(answer.time);
            group.last = group.last.max(answer.time);
            let what = match answer.decision.as_str() {
                "allow" => {
                    group.admitted = group.admitted.saturating_add(1);
                    if !answer.grant.is_empty() {
                        group.broken_glass = group.broken_glass.saturating_add(1);
                    }
                    answer.action.clone()
                }
                "deny" => {
                    group.refused = group.refused.saturating_add(1);
                    format!("refused {}", answer.refusal)
                }
                _ => answer.event.to_owned(),
            };
            let count = group.actions.entry(what).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn period(&self) -> String {
        let since = self
            .since
            .map_or_else(|| "the beginning of the trail".to_owned(), instant);
        let until = self.until.unwrap_or(self.made);
        format!("from {since} to {}", instant(until))
    }

    fn first_and_last(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.groups.values().map(|group| group.first).min()?;
        let last = self.groups.values().map(|group| group.last).max()?;
        Some((first, last))
    }

    fn totals(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&Group) -> u64| {
            let add = |sum: u64, group: &Group| sum.saturating_add(of(group));
            self.groups.values().fold(0, add)
        };
        // What a patient's group counts twice, a request of two patients, stands once among the rows.
        if matches!(self.subject, Subject::User(_)) {
            let rows =
                |kind: &str| self.rows.iter().filter(|row| row.decision == kind).count() as u64;
            let broken = self.rows.iter().filter(|row| !row.grant.is_empty());
            return (rows("allow"), rows("deny"), broken.count() as u64);
        }
        (
            sum(|group| group.admitted),
            sum(|group| group.refused),
            sum(|group| group.broken_glass),
        )
    }

    /// How many rows its CSV has, without the heading.
    #[must_use]
    pub fn csv_rows(&self) -> usize {
        match self.subject {
            Subject::Activity => self.groups.len(),
            Subject::Patient(_) | Subject::User(_) => self.rows.len(),
        }
    }

    /// The rows as CSV; of an activity report, its groups.
    #[must_use]
    pub fn csv(&self) -> String {
        if self.subject == Subject::Activity {
            let mut out = csv::line([
                "person",
                "roles",
                "admitted",
                "refused",
                "break_glass",
                "first",
                "last",
                "what",
            ]);
            for group in self.groups.values() {
                out.push_str(&csv::line([
                    group.name.clone(),
                    group.roles.clone(),
                    group.admitted.to_string(),
                    group.refused.to_string(),
                    group.broken_glass.to_string(),
                    instant(group.first),
                    instant(group.last),
                    group.actions_text(),
                ]));
            }
            return out;
        }
        let mut out = csv::line(COLUMNS);
        for row in &self.rows {
            out.push_str(&csv::line(row.fields()));
        }
        out
    }
}

/// Who did what nobody is named for.
fn nobody(answer: &Answer) -> &'static str {
    let is_request = matches!(answer.event, "" | "refusals") || !answer.client.is_empty();
    if is_request || answer.detail.contains_key("client") {
        "not signed in"
    } else {
        "the gateway"
    }
}

/// Frames, scripts and the like: nothing about a patient.
fn is_shell(joined: &Joined) -> bool {
    let mapping = joined.entry.facts.as_ref().and_then(|f| f.mapping.as_ref());
    joined.entry.phase == Phase::Admit
        && mapping.is_some_and(|m| m.action == Action::Navigate)
        && joined.patients().is_empty()
}

#[cfg(test)]
mod tests;
