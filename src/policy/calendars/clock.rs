//! What is in force now, worked out when a shift begins or ends, not for each request.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{Calendar, Calendars, Holidays, When};

/// The days, from today, whose shifts can matter until a turn is looked at again, a day from now at the latest.
const DAYS: std::ops::Range<i32> = -1..3;

/// What is in force for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    from: Timestamp,
    until: Timestamp,
    open: Vec<usize>,
}

impl Turn {
    /// The calendars in force, by their places in the file.
    pub(super) fn open(&self) -> &[usize] {
        &self.open
    }

    /// When something begins or ends next.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// Remembers the current turn.
#[derive(Debug, Default)]
pub struct ShiftClock {
    current: ArcSwapOption<Turn>,
}

impl ShiftClock {
    /// What of `calendars`, always the same ones, is in force at `now`.
    #[must_use]
    pub fn at(&self, calendars: &Calendars, now: Timestamp) -> Arc<Turn> {
        if let Some(turn) = &*self.current.load()
            && turn.holds_at(now)
        {
            return Arc::clone(turn);
        }
        let turn = Arc::new(calendars.turn(now));
        self.current.store(Some(Arc::clone(&turn)));
        turn
    }
}

impl Calendars {
    /// What is in force at `now`, and until when that stays so.
    #[must_use]
    pub fn turn(&self, now: Timestamp) -> Turn {
        let day = SignedDuration::from_hours(24);
        let mut until = now.checked_add(day).unwrap_or(Timestamp::MAX);
        let mut open = Vec::new();
        for (at, calendar) in self.all.iter().enumerate() {
            let mut is_open = false;
            for (start, end) in self.spans(calendar, now) {
                is_open |= start <= now && now < end;
                // INVARIANT: whatever begins or ends after now ends the turn, so that none outlasts a shift.
                for edge in [start, end] {
                    if edge > now {
                        until = until.min(edge);
                    }
                }
            }
            if is_open {
                open.push(at);
            }
        }
        Turn {
            from: now,
            until,
            open,
        }
    }

    /// When a calendar is in force around `now`.
    fn spans(&self, calendar: &Calendar, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let When::Shift { from, to, zone, .. } = &calendar.when else {
            let When::Window { start, end } = calendar.when else {
                return Vec::new();
            };
            return vec![(start, end)];
        };
        let today = now.to_zoned(zone.clone()).date();
        let instant = |date: Date, time| {
            let zoned = date.to_datetime(time).to_zoned(zone.clone());
            zoned.map(|zoned| zoned.timestamp()).ok()
        };
        DAYS.filter_map(|days| today.checked_add(days.days()).ok())
            .filter(|date| self.is_on(calendar, *date))
            .filter_map(|date| {
                let last = if to > from {
                    date
                } else {
                    date.tomorrow().ok()?
                };
                Some((instant(date, *from)?, instant(last, *to)?))
            })
            .collect()
    }

    /// Whether a shift begins on this day.
    fn is_on(&self, calendar: &Calendar, date: Date) -> bool {
        let When::Shift {
            days,
            first_day,
            last_day,
            holidays,
            except,
            ..
        } = &calendar.when
        else {
            return false;
        };
        let is_holiday = self.holidays.contains(&date);
        let is_day = days.contains(&date.weekday());
        let by_day = match holidays {
            Holidays::Off => is_day && !is_holiday,
            Holidays::AsUsual => is_day,
            Holidays::Only => is_holiday,
        };
        by_day
            && !except.contains(&date)
            && first_day.is_none_or(|first| first <= date)
            && last_day.is_none_or(|last| date <= last)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::problem::Findings;
    use crate::policy::tests::roles;

    const TEXT: &str = r#"
time_zone = "Europe/Berlin"
holidays = [2026-12-25]

[[shift]]
name = "day"
days = ["mon", "tue", "wed", "thu", "fri"]
from = "06:00"
to = "14:30"

[[shift]]
name = "night"
from = "21:00"
to = "06:00"
holidays = "as-usual"
except = [2026-11-23]

[[shift]]
name = "day"
from = "08:00"
to = "12:00"
holidays = "only"

[[window]]
name = "scanner"
start = 2026-11-23T09:00:00Z
end = 2026-11-23T11:00:00Z
roles = ["vendor"]
"#;

    fn calendars() -> Calendars {
        let mut findings = Findings::default();
        let read = Calendars::read(Path::new("calendars.toml"), TEXT, None, &mut findings);
        assert!(
            findings.is_empty(),
            "{}",
            findings.into_error(Path::new("p"))
        );
        read
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names(calendars: &Calendars, now: &str, held: &[&str]) -> (Vec<String>, String) {
        let turn = calendars.turn(at(now));
        let words = calendars.in_force(&turn, "main|1", &roles(held));
        let words = words.iter().map(ToString::to_string).collect();
        (words, turn.until().to_string())
    }

    #[test]
    fn a_shift_is_in_force_from_its_beginning_to_its_end_where_the_house_is() {
        let calendars = calendars();
        for (now, expected, until) in [
            // Monday: 06:00 in Berlin is 05:00 in Greenwich.
            (
                "2026-11-23T04:59:59Z",
                &["night"][..],
                "2026-11-23T05:00:00Z",
            ),
            ("2026-11-23T05:00:00Z", &["day"], "2026-11-23T09:00:00Z"),
            ("2026-11-23T13:29:59Z", &["day"], "2026-11-23T13:30:00Z"),
            // Tonight is an exception, tomorrow is not.
            ("2026-11-23T20:30:00Z", &[], "2026-11-24T05:00:00Z"),
            // Sunday: the night that began on Saturday.
            ("2026-11-22T04:00:00Z", &["night"], "2026-11-22T05:00:00Z"),
            // Christmas: a day shift of its own.
            ("2026-12-25T05:30:00Z", &[], "2026-12-25T07:00:00Z"),
            ("2026-12-25T07:30:00Z", &["day"], "2026-12-25T11:00:00Z"),
        ] {
            let (found, ends) = names(&calendars, now, &["nurse"]);
            assert_eq!(found, expected, "{now}");
            assert_eq!(ends, until, "{now}");
        }
    }

    #[test]
    fn a_window_is_for_whom_it_is_booked() {
        let calendars = calendars();
        let now = "2026-11-23T10:00:00Z";
        assert_eq!(names(&calendars, now, &["vendor"]).0, ["day", "scanner"]);
        assert_eq!(names(&calendars, now, &["nurse"]).0, ["day"]);
        let (after, _) = names(&calendars, "2026-11-23T11:00:00Z", &["vendor"]);
        assert_eq!(after, ["day"]);
    }

    #[test]
    fn a_remembered_turn_is_a_fresh_one_at_every_minute_of_a_year() {
        let calendars = calendars();
        let clock = ShiftClock::default();
        let mut now = at("2026-03-27T00:00:00Z");
        // Two changes of the clocks lie between.
        while now < at("2026-10-27T00:00:00Z") {
            let remembered = clock.at(&calendars, now);
            assert_eq!(remembered.open, calendars.turn(now).open, "{now}");
            assert!(now < remembered.until);
            now = now.checked_add(SignedDuration::from_mins(17)).unwrap();
        }
        let back = at("2026-04-01T00:00:00Z");
        assert_eq!(clock.at(&calendars, back).open, calendars.turn(back).open);
    }
}
