//! Reads `calendars.toml`: every problem at once, with line and remedy.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::{Calendar, Calendars, Holidays, When};
use crate::policy::problem::{Findings, line_of};
use crate::policy::rule::is_name;
use crate::request::Role;

/// Most shifts and windows of a bundle.
const MOST: usize = 500;
/// Most holidays, and most exceptions of a shift.
const MOST_DAYS: usize = 2_000;
const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const A_DATE: &str = "Write a date alone, as in 2026-12-25.";
const REMEDY: &str = "Write `[[shift]]` with `name`, `from` and `to`, or `[[window]]` with `name`, `start` and `end`.";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCalendars {
    time_zone: Option<Spanned<String>>,
    #[serde(default)]
    holidays: Vec<Spanned<Datetime>>,
    #[serde(default)]
    shift: Vec<RawShift>,
    #[serde(default)]
    window: Vec<RawWindow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShift {
    name: Spanned<String>,
    days: Option<Vec<Spanned<String>>>,
    from: Spanned<String>,
    to: Spanned<String>,
    time_zone: Option<Spanned<String>>,
    first_day: Option<Spanned<Datetime>>,
    last_day: Option<Spanned<Datetime>>,
    holidays: Option<Spanned<String>>,
    #[serde(default)]
    except: Vec<Spanned<Datetime>>,
    #[serde(default)]
    roles: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    name: Spanned<String>,
    start: Spanned<Datetime>,
    end: Spanned<Datetime>,
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    #[serde(default)]
    users: Vec<Spanned<String>>,
}

impl Calendars {
    /// Reads `calendars.toml`. `known` are the schema's roles, if it could be read.
    pub(in crate::policy) fn read(
        file: &Path,
        text: &str,
        known: Option<&BTreeSet<String>>,
        findings: &mut Findings,
    ) -> Self {
        let raw = match toml::from_str::<RawCalendars>(text) {
            Ok(raw) => raw,
            Err(error) => {
                let line = error.span().map(|span| line_of(text, span.start));
                findings.push(file, line, error.message().trim_end(), REMEDY);
                return Self::default();
            }
        };
        if raw.shift.len().saturating_add(raw.window.len()) > MOST {
            let problem = format!("there are more than {MOST} shifts and windows");
            findings.push(file, None, problem, "Remove the windows that are over.");
            return Self::default();
        }
        let mut reader = Reader {
            file,
            text,
            known,
            findings,
        };
        let house = raw.time_zone.as_ref().and_then(|name| reader.zone(name));
        let holidays = reader.dates(&raw.holidays);
        let mut all = Vec::new();
        for shift in &raw.shift {
            all.extend(reader.shift(shift, house.as_ref()));
        }
        for window in &raw.window {
            all.extend(reader.window(window));
        }
        // A name that stands for a shift and for a window would open one when the other was meant.
        for window in &raw.window {
            let shift = raw
                .shift
                .iter()
                .find(|shift| shift.name.get_ref() == window.name.get_ref());
            if shift.is_some() {
                let message = format!("a shift is called \"{}\" too", window.name.get_ref());
                reader.wrong(&window.name, message, "Give the window a name of its own.");
            }
        }
        Self { all, holidays }
    }
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    known: Option<&'a BTreeSet<String>>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn wrong<T>(&mut self, at: &Spanned<T>, message: impl Into<String>, remedy: &str) {
        let line = line_of(self.text, at.span().start);
        self.findings.push(self.file, Some(line), message, remedy);
    }

    fn shift(&mut self, raw: &RawShift, house: Option<&TimeZone>) -> Option<Calendar> {
        let own = raw.time_zone.as_ref().map(|name| self.zone(name));
        let zone = match own {
            Some(own) => own,
            None if house.is_some() => house.cloned(),
            None => {
                let remedy = "Write `time_zone = \"Europe/Berlin\"` at the top of the file, or for this shift.";
                self.wrong(
                    &raw.name,
                    "nothing says in which time zone this shift is",
                    remedy,
                );
                None
            }
        };
        let (from, to) = (self.time(&raw.from), self.time(&raw.to));
        let (first_day, last_day) = (
            raw.first_day.as_ref().and_then(|day| self.date(day)),
            raw.last_day.as_ref().and_then(|day| self.date(day)),
        );
        if let (Some(first), Some(last), Some(written)) = (first_day, last_day, &raw.last_day)
            && last < first
        {
            self.wrong(written, "the last day is before the first", A_DATE);
        }
        let holidays = self.holidays(raw.holidays.as_ref());
        let (days, except) = (self.days(raw.days.as_deref()), self.dates(&raw.except));
        let (name, roles) = (self.name(&raw.name), self.roles(&raw.roles));
        Some(Calendar {
            name: name?.into(),
            when: When::Shift {
                days,
                from: from?,
                to: to?,
                zone: zone?,
                first_day,
                last_day,
                holidays,
                except,
            },
            roles,
            users: BTreeSet::new(),
        })
    }

    fn window(&mut self, raw: &RawWindow) -> Option<Calendar> {
        let (start, end) = (self.instant(&raw.start), self.instant(&raw.end));
        let (name, roles) = (self.name(&raw.name), self.roles(&raw.roles));
        let mut users = BTreeSet::new();
        for user in &raw.users {
            if !user.get_ref().contains('|') {
                let remedy =
                    "Write issuer and subject, as the trail names the user: \"partners|5f1c9a\".";
                self.wrong(user, "this names no user", remedy);
            }
            users.insert(user.get_ref().clone());
        }
        let (start, end) = (start?, end?);
        if end <= start {
            self.wrong(
                &raw.end,
                "the window ends before it begins",
                "Correct `start` or `end`.",
            );
        }
        Some(Calendar {
            name: name?.into(),
            when: When::Window { start, end },
            roles,
            users,
        })
    }

    fn name(&mut self, written: &Spanned<String>) -> Option<String> {
        let name = written.get_ref();
        if !is_name(name) {
            let remedy = "Use 1 to 64 lower-case letters, digits and hyphens.";
            self.wrong(
                written,
                format!("the name \"{name}\" cannot be used"),
                remedy,
            );
            return None;
        }
        Some(name.clone())
    }

    fn roles(&mut self, written: &[Spanned<String>]) -> BTreeSet<Role> {
        for role in written {
            if self
                .known
                .is_some_and(|known| !known.contains(role.get_ref()))
            {
                let message = format!("the role \"{}\" is not in the schema", role.get_ref());
                self.wrong(role, message, "Use a role that schema.cedarschema lists.");
            }
        }
        written
            .iter()
            .map(|role| Role::new(role.get_ref()))
            .collect()
    }

    fn zone(&mut self, written: &Spanned<String>) -> Option<TimeZone> {
        let read = TimeZone::get(written.get_ref()).ok();
        if read.is_none() {
            let message = format!(
                "\"{}\" is no time zone that is known here",
                written.get_ref()
            );
            self.wrong(
                written,
                message,
                "Write a name of the IANA list, as in \"Europe/Berlin\" or \"UTC\".",
            );
        }
        read
    }

    fn time(&mut self, written: &Spanned<String>) -> Option<Time> {
        let text = written.get_ref();
        let midnight = (text == "24:00").then_some(Time::MIN);
        let read = midnight.or_else(|| {
            let (hour, minute) = text.split_once(':')?;
            let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let (hour, minute) = (
                digits(hour).then_some(hour)?,
                digits(minute).then_some(minute)?,
            );
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        });
        if read.is_none() {
            self.wrong(
                written,
                format!("\"{text}\" is no time of the day"),
                "Write hours and minutes, as in \"06:30\".",
            );
        }
        read
    }

    fn days(&mut self, written: Option<&[Spanned<String>]>) -> Vec<Weekday> {
        let Some(written) = written else {
            return WEEK.iter().map(|(_, day)| *day).collect();
        };
        let mut days = Vec::new();
        for day in written {
            if let Some((_, known)) = WEEK.iter().find(|(name, _)| name == day.get_ref()) {
                days.push(*known);
            } else {
                let message = format!("\"{}\" is no day of the week", day.get_ref());
                self.wrong(day, message, "Use mon, tue, wed, thu, fri, sat and sun.");
            }
        }
        days
    }

    fn holidays(&mut self, written: Option<&Spanned<String>>) -> Holidays {
        match written.map(|word| word.get_ref().as_str()) {
            None | Some("off") => Holidays::Off,
            Some("as-usual") => Holidays::AsUsual,
            Some("only") => Holidays::Only,
            Some(_) => {
                let remedy = "Write \"off\" (the default), \"as-usual\" or \"only\".";
                if let Some(written) = written {
                    self.wrong(
                        written,
                        "`holidays` does not say what the shift does on them",
                        remedy,
                    );
                }
                Holidays::Off
            }
        }
    }

    fn dates(&mut self, written: &[Spanned<Datetime>]) -> BTreeSet<Date> {
        if let Some(one) = written.get(MOST_DAYS) {
            self.wrong(
                one,
                format!("there are more than {MOST_DAYS} days"),
                "Remove the days that are over.",
            );
            return BTreeSet::new();
        }
        let mut dates = BTreeSet::new();
        for day in written {
            dates.extend(self.date(day));
        }
        dates
    }

    fn date(&mut self, written: &Spanned<Datetime>) -> Option<Date> {
        let text = written.get_ref().to_string();
        let read = text.parse::<Date>().ok().filter(|_| text.len() == 10);
        if read.is_none() {
            self.wrong(written, "this is no date", A_DATE);
        }
        read
    }

    fn instant(&mut self, written: &Spanned<Datetime>) -> Option<Timestamp> {
        let read = written.get_ref().to_string().parse::<Timestamp>().ok();
        if read.is_none() {
            let remedy = "Write date, time and offset, as in 2026-12-01T22:00:00+01:00.";
            self.wrong(written, "this names no exact moment", remedy);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<Option<usize>> {
        let mut findings = Findings::default();
        let known = ["vendor".to_owned()].into();
        drop(Calendars::read(
            Path::new("calendars.toml"),
            text,
            Some(&known),
            &mut findings,
        ));
        let error = findings.into_error(Path::new("p"));
        error.problems().iter().map(|one| one.line).collect()
    }

    #[test]
    fn every_problem_is_found_with_its_line() {
        let text = "\
time_zone = \"Europe/Berlin\"
holidays = [2026-12-25T00:00:00]
[[shift]]
name = \"Day\"
days = [\"monday\"]
from = \"6:00\"
to = \"25:00\"
time_zone = \"Mars/Phobos\"
holidays = \"maybe\"
[[shift]]
name = \"day\"
from = \"06:00\"
to = \"24:00\"
first_day = 2026-12-02
last_day = 2026-12-01
roles = [\"vendro\"]
[[window]]
name = \"day\"
start = 2026-12-01T22:00:00
end = 2026-12-01T21:00:00Z
users = [\"someone\"]
";
        let found = lines(text);
        let expected = [2, 4, 5, 6, 7, 8, 9, 15, 16, 18, 19, 21].map(Some);
        assert_eq!(found, expected);
        assert_eq!(
            lines("[[shift]]\nname = \"a\"\nfrom = \"01:00\"\nto = \"02:00\"\n"),
            [Some(2)]
        );
        assert_eq!(
            lines("[[shift]]\nname = \"a\"\nform = \"01:00\"\n").len(),
            1
        );
        let backwards =
            "[[window]]\nname = \"a\"\nstart = 2026-12-01T22:00:00Z\nend = 2026-12-01T21:00:00Z\n";
        assert_eq!(lines(backwards), [Some(4)]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|\n|\\[\\[shift\\]\\]|name = |from = |\"|2026-12-25){0,40}") {
            lines(&text);
        }
    }
}
