//! The accounting of disclosures that a patient may ask for: what of their chart went to whom, when and what for.
//!
//! Columns are those of 45 CFR 164.528(b)(2) and 170.210(d): date and time, patient, user, recipient with address,
//! description, purpose. [`disclosed`] decides what is one.
//!
//! *Owns*: at most [`MOST`] rows. *Never*: a disclosure left out because it is not known whether it left.
//! *On failure*: [`TooLong`]; a part of an accounting is never taken for the whole.

use std::collections::BTreeMap;

use askama::Template;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{MOST, Staff, TooLong};
use crate::audit::csv;
use crate::audit::disclosed::{Basis, Disclosed, Left, Way, disclosed};
use crate::audit::query::answer::{Answer, instant};
use crate::audit::query::join::Joined;
use crate::audit::show::{Filter, printable};

/// Calendar years that an accounting reaches back where nothing else is asked for (164.528(a)(1)).
const YEARS: i32 = 6;

/// The columns of CSV, in order. Later versions add columns at the end and rename none.
pub const COLUMNS: &[&str] = &[
    "date",
    "time",
    "patient",
    "patient_system",
    "recipient",
    "address",
    "what",
    "purpose",
    "purpose_codes",
    "basis",
    "way",
    "left",
    "by",
    "request",
];

/// Which disclosures are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that 164.528 asks for.
    Accountable,
    /// Those for treatment, payment and operations, too, and files and paper that may not have gone outside.
    All,
}

/// One disclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The day, UTC.
    pub date: Date,
    /// The time; empty where only the day is known.
    pub time: String,
    /// The patient.
    pub patient: String,
    /// The system that numbers them, where it is known.
    pub patient_system: String,
    /// Who received it; empty where nobody said.
    pub recipient: String,
    /// Their address; empty where nobody said.
    pub address: String,
    /// What was handed over.
    pub what: String,
    /// What for, in words.
    pub purpose: String,
    /// What for, in codes.
    pub purpose_codes: String,
    /// What it is before the law.
    pub basis: Basis,
    /// How it went out.
    pub way: Way,
    /// Whether it left.
    pub left: Left,
    /// Who did it.
    pub by: String,
    /// The request id.
    pub request: String,
    seq: u64,
}

impl Row {
    fn of(found: &Disclosed<'_>, answer: &Answer, by: String, staff: Staff) -> Self {
        let time = found.time.map(|time| time.to_zoned(TimeZone::UTC));
        Self {
            date: found.date,
            time: time.map_or_else(String::new, |time| time.strftime("%H:%M:%SZ").to_string()),
            patient: answer.patients.join(", "),
            patient_system: answer.patient_systems.join(", "),
            recipient: found.recipient.unwrap_or_default().to_owned(),
            address: found.address.unwrap_or_default().to_owned(),
            what: found.what.clone().into_owned(),
            purpose: found.purpose_text(),
            purpose_codes: found.purposes.join(", "),
            basis: found.basis,
            way: found.way,
            left: found.left,
            by,
            request: match staff {
                Staff::Named => answer.request.clone(),
                Staff::Numbered => String::new(),
            },
            seq: answer.seq,
        }
    }

    /// Whether it left, in a word.
    #[must_use]
    pub const fn left_word(&self) -> &'static str {
        match self.left {
            Left::Whole => "yes",
            Left::Perhaps => "not known",
            // Rows of what did not leave are not made.
            Left::Nothing => "no",
        }
    }

    /// Who received it, or that nobody said.
    #[must_use]
    pub fn recipient_text(&self) -> &str {
        known(&self.recipient)
    }

    /// Their address, or that nobody said.
    #[must_use]
    pub fn address_text(&self) -> &str {
        known(&self.address)
    }

    /// The texts of [`COLUMNS`].
    #[must_use]
    pub fn fields(&self) -> [String; 14] {
        [
            self.date.to_string(),
            self.time.clone(),
            self.patient.clone(),
            self.patient_system.clone(),
            self.recipient.clone(),
            self.address.clone(),
            self.what.clone(),
            self.purpose.clone(),
            self.purpose_codes.clone(),
            self.basis.word().to_owned(),
            self.way.word().to_owned(),
            self.left_word().to_owned(),
            self.by.clone(),
            self.request.clone(),
        ]
    }
}

/// An accounting of disclosures.
#[derive(Debug)]
pub struct Accounting {
    patient: String,
    scope: Scope,
    staff: Staff,
    since: Date,
    until: Date,
    made: Timestamp,
    rows: Vec<Row>,
    numbers: BTreeMap<String, usize>,
}

impl Accounting {
    /// An empty accounting for a patient, by days of the disclosures: from six calendar years ago until today, unless
    /// a period is named.
    #[must_use]
    pub fn new(
        patient: &str,
        (scope, staff): (Scope, Staff),
        (since, until): (Option<Timestamp>, Option<Timestamp>),
        made: Timestamp,
    ) -> Self {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let years_ago = || day(made).saturating_sub(YEARS.years());
        Self {
            patient: patient.to_owned(),
            scope,
            staff,
            since: since.map_or_else(years_ago, day),
            until: day(until.unwrap_or(made)),
            made,
            rows: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The report as it stands on record.
    #[must_use]
    pub fn name(&self) -> String {
        match self.scope {
            Scope::Accountable => format!("disclosures {}", self.patient),
            Scope::All => format!("disclosures {} --all", self.patient),
        }
    }

    /// The records that it is about. What left on paper is put on record later than it left, never before: a period is
    /// open to its end.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let since = self.since.to_datetime(Time::midnight());
        let since = since.to_zoned(TimeZone::UTC).ok();
        Filter {
            patient: Some(self.patient.clone()),
            since: since.map(|since| since.timestamp()),
            ..Filter::default()
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn push(&mut self, joined: &Joined) -> Result<(), TooLong> {
        let Some(found) = disclosed(joined) else {
            return Ok(());
        };
        let is_wanted = match (self.scope, found.basis) {
            (Scope::All, _) | (Scope::Accountable, Basis::Accountable) => true,
            (Scope::Accountable, Basis::Ordinary | Basis::Copy) => false,
        };
        let is_within = (self.since..=self.until).contains(&found.date);
        if !is_wanted || !is_within || found.left == Left::Nothing {
            return Ok(());
        }
        if self.rows.len() >= MOST {
            return Err(TooLong);
        }
        let answer = Answer::of(joined);
        let by = self.who(&answer);
        let row = Row::of(&found, &answer, by, self.staff);
        self.rows.push(row);
        Ok(())
    }

    /// Everything was seen: rows stand by the day of the disclosure.
    pub fn end(&mut self) {
        self.rows.sort_by_key(|row| (row.date, row.seq));
    }

    fn who(&mut self, answer: &Answer) -> String {
        match self.staff {
            Staff::Named => answer.user.clone(),
            Staff::Numbered if answer.user.is_empty() => String::new(),
            Staff::Numbered => {
                let next = self.numbers.len().saturating_add(1);
                let key = if answer.user_id.is_empty() {
                    &answer.user
                } else {
                    &answer.user_id
                };
                let number = *self.numbers.entry(key.clone()).or_insert(next);
                format!("staff member {number}")
            }
        }
    }

    /// The rows, by the day of the disclosure.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn title(&self) -> String {
        format!("Accounting of disclosures of patient {}", self.patient)
    }

    fn period(&self) -> String {
        format!("from {} through {}", self.since, self.until)
    }

    const fn says(&self) -> &'static str {
        match self.scope {
            Scope::Accountable => {
                "Listed are disclosures for other purposes than treatment, payment and health care operations (45 CFR 164.528)."
            }
            Scope::All => {
                "Listed are all disclosures, those for treatment, payment and health care operations among them, and every file and paper copy that was made (45 CFR 170.210(d))."
            }
        }
    }

    /// As plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let count = match self.rows.len() {
            0 => "None is on record.".to_owned(),
            1 => "1 disclosure".to_owned(),
            many => format!("{many} disclosures"),
        };
        let mut lines = vec![
            self.title(),
            format!("{}; made {}", self.period(), instant(self.made)),
            self.says().to_owned(),
            count,
        ];
        for row in &self.rows {
            lines.push(String::new());
            lines.push(format!("{} {}", row.date, row.time));
            for (name, text) in [
                ("to", row.recipient_text()),
                ("address", row.address_text()),
                ("what", known(&row.what)),
                ("purpose", known(&row.purpose)),
                ("way", row.way.word()),
                ("left", row.left_word()),
                ("by", known(&row.by)),
                ("request", known(&row.request)),
            ] {
                lines.push(format!("  {name:<8} {text}"));
            }
        }
        let mut out = String::new();
        for line in lines {
            out.push_str(printable(&line).trim_end());
            out.push('\n');
        }
        out
    }

    /// As comma-separated values.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut out = csv::line(COLUMNS);
        for row in &self.rows {
            out.push_str(&csv::line(row.fields()));
        }
        out
    }

    /// As one page that needs nothing else.
    ///
    /// # Errors
    /// [`askama::Error`], where the template cannot be rendered.
    pub fn html(&self) -> Result<String, askama::Error> {
        Page {
            title: self.title(),
            period: self.period(),
            made: instant(self.made),
            says: self.says(),
            rows: &self.rows,
        }
        .render()
    }
}

/// A text, or that nobody said it.
fn known(text: &str) -> &str {
    if text.is_empty() {
        "not on record"
    } else {
        text
    }
}

#[derive(Template)]
#[template(path = "audit_disclosures.html")]
struct Page<'r> {
    title: String,
    period: String,
    made: String,
    says: &'static str,
    rows: &'r [Row],
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::csv::tests::parse;
    use crate::audit::fixture as sample;
    use crate::audit::outcome::End;
    use crate::request::{Action, Disclosure, Event};

    fn sent(purpose: &str) -> Joined {
        let mut joined = sample::done(Action::Disclose, &["4"]);
        let facts = joined.entry.facts.as_mut().unwrap();
        let mapping = Arc::make_mut(facts.mapping.as_mut().unwrap());
        mapping.disclosure = Some(Box::new(Disclosure {
            recipient: Some("<b>County Court</b>".to_owned()),
            address: Some("1 Main Street".to_owned()),
            description: Some("Whole chart".to_owned()),
            purpose: Some(purpose.to_owned()),
        }));
        joined
    }

    fn on_paper(date: &str) -> Joined {
        let detail = [
            ("operator", "alice"),
            ("patient", "4"),
            ("to", "Dr. Bell"),
            ("address", "2 Side Street"),
            ("what", "discharge letter"),
            ("purpose", "HLEGAL"),
            ("date", date),
        ];
        sample::event(Event::DisclosureRecorded, None, &detail)
    }

    fn of(scope: Scope, staff: Staff) -> Accounting {
        let made = sample::time();
        let mut accounting = Accounting::new("4", (scope, staff), (None, None), made);
        for joined in [
            sent("HLEGAL"),
            sent("TREAT"),
            sample::done(Action::Export, &["4"]),
            sample::done(Action::Read, &["4"]),
            sample::ended(Action::Disclose, &["4"], End::Complete, Some(500)),
            sample::ended(Action::Disclose, &["4"], End::Unknown, None),
            sample::refused("CG-3001", &["4"]),
            on_paper("2020-03-02"),
            on_paper("2020-03-01"),
        ] {
            accounting.push(&joined).unwrap();
        }
        accounting.end();
        accounting
    }

    #[test]
    fn six_calendar_years_of_what_must_be_accounted_for_are_listed_by_day() {
        let accounting = of(Scope::Accountable, Staff::Named);
        let rows: Vec<String> = accounting
            .rows()
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} {}",
                    row.date,
                    row.recipient,
                    row.way.word(),
                    row.left_word()
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                "2020-03-02 Dr. Bell recorded yes",
                "2026-03-02 <b>County Court</b> disclosed yes",
                "2026-03-02  disclosed not known",
            ]
        );
        let filter = accounting.filter();
        assert_eq!(filter.since.unwrap().to_string(), "2020-03-02T00:00:00Z");
        assert_eq!(filter.until, None);
    }

    #[test]
    fn all_lists_treatment_payment_operations_and_copies() {
        let accounting = of(Scope::All, Staff::Named);
        let bases: Vec<&str> = accounting
            .rows()
            .iter()
            .map(|row| row.basis.word())
            .collect();
        assert_eq!(
            bases,
            ["accountable", "accountable", "tpo", "copy", "accountable"]
        );
        assert_eq!(accounting.name(), "disclosures 4 --all");
    }

    #[test]
    fn every_form_has_what_the_law_asks_for() {
        let accounting = of(Scope::Accountable, Staff::Named);
        let text = accounting.text();
        for part in [
            "Accounting of disclosures of patient 4",
            "from 2020-03-02 through 2026-03-02",
            "3 disclosures",
            "2026-03-02 07:15:27Z",
            "to       Dr. Bell",
            "address  2 Side Street",
            "what     discharge letter",
            "purpose  a legal matter",
            "not on record",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let rows = parse(&accounting.csv());
        assert_eq!(rows[0], COLUMNS);
        assert!(
            rows.iter().all(|row| row.len() == COLUMNS.len()),
            "{rows:?}"
        );
        assert_eq!(
            rows[2][4..8],
            [
                "<b>County Court</b>",
                "1 Main Street",
                "Whole chart",
                "a legal matter"
            ]
        );
        let page = accounting.html().unwrap();
        assert!(!page.contains("<b>") && !page.contains("<script"), "{page}");
        for part in [
            "lang=\"en\"",
            "<caption>",
            "scope=\"col\"",
            "@media print",
            "Dr. Bell",
            "not on record",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn staff_can_be_left_out() {
        let accounting = of(Scope::All, Staff::Numbered);
        for form in [
            accounting.text(),
            accounting.csv(),
            accounting.html().unwrap(),
        ] {
            for hidden in ["okafor", "alice", "01K-request"] {
                assert!(!form.contains(hidden), "{hidden}\n{form}");
            }
            assert!(form.contains("staff member 1"), "{form}");
        }
    }

    #[test]
    fn a_named_period_is_by_the_day_of_the_disclosure() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let period = (at("2026-02-01T00:00:00Z"), at("2026-02-28T23:59:59Z"));
        let mut accounting = Accounting::new(
            "4",
            (Scope::Accountable, Staff::Named),
            period,
            sample::time(),
        );
        accounting.push(&on_paper("2026-02-28")).unwrap();
        accounting.push(&on_paper("2026-03-01")).unwrap();
        accounting.push(&on_paper("2026-01-31")).unwrap();
        assert_eq!(accounting.rows().len(), 1);
    }
}
