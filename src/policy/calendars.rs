//! `calendars.toml`: names for times, which policies see while they are in force: shifts that come again, and windows
//! that are booked once.
//!
//! *Never*: a shift by default. Where there is no `calendars.toml`, no name is in force.

mod clock;
mod read;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

pub use self::clock::{ShiftClock, Turn};
use crate::request::Role;
use crate::request::situation::Words;

/// What a shift does on a holiday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holidays {
    /// It is not in force.
    Off,
    /// It is as on any other day.
    AsUsual,
    /// It is in force on holidays only, whatever day of the week they are.
    Only,
}

/// When a name is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// On certain days, from one time of the day to another.
    Shift {
        /// On these days of the week.
        days: Vec<Weekday>,
        /// From this time on.
        from: Time,
        /// Until this time; on the next day, if it is not later than `from`.
        to: Time,
        /// Where.
        zone: TimeZone,
        /// From this day on.
        first_day: Option<Date>,
        /// Until this day.
        last_day: Option<Date>,
        /// On holidays.
        holidays: Holidays,
        /// Not on these days.
        except: BTreeSet<Date>,
    },
    /// Once.
    Window {
        /// From then on.
        start: Timestamp,
        /// Until then.
        end: Timestamp,
    },
}

/// A named time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Its name.
    pub name: Arc<str>,
    /// When it is in force.
    pub when: When,
    /// Only for those who have one of these roles; for everyone, if empty.
    pub roles: BTreeSet<Role>,
    /// Only for these users, by `issuer|subject`; for everyone, if empty.
    pub users: BTreeSet<String>,
}

impl Calendar {
    fn is_for(&self, user: &str, roles: &BTreeSet<Role>) -> bool {
        (self.roles.is_empty() || !self.roles.is_disjoint(roles))
            && (self.users.is_empty() || self.users.contains(user))
    }
}

/// The calendars of a bundle, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendars {
    all: Vec<Calendar>,
    holidays: BTreeSet<Date>,
}

impl Calendars {
    /// The calendars, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Calendar] {
        &self.all
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|one| *one.name == *name)
    }

    /// The names that are in force in `turn` for this user.
    #[must_use]
    pub fn in_force(&self, turn: &Turn, user: &str, roles: &BTreeSet<Role>) -> Words {
        let open = turn.open().iter().filter_map(|at| self.all.get(*at));
        open.filter(|one| one.is_for(user, roles))
            .map(|one| Arc::clone(&one.name))
            .collect()
    }
}
