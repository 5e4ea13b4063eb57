//! The accounting of disclosures that a patient may ask for: what of their chart went to whom, when and what for.
//!
//! Columns are those of 45 CFR 164.528(b)(2) and 170.210(d): date and time, patient, user, recipient with address,
//! description, purpose. [`disclosed`] decides what is one.
//!
//! *Owns*: at most [`MOST`] rows. *Never*: a disclosure left out because it is not known whether it left.
//! *On failure*: [`TooLong`]; a part of an accounting is never taken for the whole.

mod forms;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

pub use self::row::{COLUMNS, Row};
use super::foot::Foot;
use super::people::Numbers;
use super::{MOST, Staff, TooLong};
use crate::audit::answers::Asked;
use crate::audit::disclosed::{Basis, Left, Way, disclosed};
use crate::audit::query::answer::Answer;
use crate::audit::query::join::Joined;
use crate::audit::show::Filter;
use crate::request::Event;

/// Calendar years that an accounting reaches back where nothing else is asked for (164.528(a)(1)).
const YEARS: i32 = 6;

/// Which disclosures are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that 164.528 asks for.
    Accountable,
    /// Those for treatment, payment and operations, too, and files and paper that may not have gone outside.
    All,
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
    also: Vec<String>,
    rows: Vec<Row>,
    /// Records that an operator took back, by their ids.
    withdrawn: BTreeSet<String>,
    /// How many of the rows those were.
    left_out: usize,
    numbers: Numbers,
    foot: Option<Foot>,
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
            also: Vec::new(),
            rows: Vec::new(),
            withdrawn: BTreeSet::new(),
            left_out: 0,
            numbers: Numbers::new(),
            foot: None,
        }
    }

    /// Further identifiers of the patient.
    pub fn also_known_as(&mut self, also: Vec<String>) {
        self.also = also;
    }

    /// Which trail answered, up to which record.
    pub fn answered(&mut self, asked: &Asked) {
        self.foot = Some(Foot::of(asked, self.staff));
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
        if joined.entry.event == Some(Event::DisclosureWithdrawn) {
            self.withdrawn
                .extend(joined.entry.detail.get("disclosure").cloned());
            return within(self.withdrawn.len());
        }
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
        let answer = Answer::of(joined);
        let by = self.who(&answer);
        let row = Row::of(&found, &answer, by, self.staff);
        self.rows.push(row);
        within(self.rows.len())
    }

    /// Everything was seen: rows stand by the day of the disclosure, without what was withdrawn, which always comes after
    /// what it takes back.
    pub fn end(&mut self) {
        let (before, withdrawn) = (self.rows.len(), &self.withdrawn);
        // INVARIANT: only what an operator put on record can be taken back; what passed the gateway happened.
        let stands = |row: &Row| row.way != Way::Recorded || !withdrawn.contains(&row.id);
        self.rows.retain(stands);
        self.left_out = before.saturating_sub(self.rows.len());
        let also = self.also.iter().map(String::as_str);
        let sought: Vec<&str> = std::iter::once(self.patient.as_str()).chain(also).collect();
        for row in &mut self.rows {
            row.name_only(&sought);
        }
        self.rows.sort_by_key(|row| (row.date, row.seq));
    }

    fn who(&mut self, answer: &Answer) -> String {
        match self.staff {
            Staff::Named => answer.user.clone(),
            Staff::Numbered if answer.user.is_empty() => String::new(),
            Staff::Numbered => self.numbers.of(answer),
        }
    }

    /// The rows, by the day of the disclosure.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

const fn within(rows: usize) -> Result<(), TooLong> {
    if rows > MOST { Err(TooLong) } else { Ok(()) }
}
