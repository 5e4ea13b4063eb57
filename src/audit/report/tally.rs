//! How many accesses on which day, and at which hour of the day: what the charts of a report are drawn from.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit};

use crate::audit::query::answer::Answer;

/// Most bars of days; a longer period is drawn by month.
const MOST_DAYS: i32 = 62;
/// Most bars of months: ten years and two months, beyond any retention that is usual.
const MOST_MONTHS: usize = 122;

/// Requests that were admitted and that were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) admitted: u64,
    pub(super) refused: u64,
}

impl Count {
    pub(super) const fn sum(self) -> u64 {
        self.admitted.saturating_add(self.refused)
    }

    const fn and(self, other: Self) -> Self {
        Self {
            admitted: self.admitted.saturating_add(other.admitted),
            refused: self.refused.saturating_add(other.refused),
        }
    }
}

/// Counts of requests by day and by hour, UTC. Events are none.
#[derive(Debug)]
pub(super) struct Tally {
    days: BTreeMap<Date, Count>,
    hours: [Count; 24],
}

impl Tally {
    pub(super) const fn new() -> Self {
        Self {
            days: BTreeMap::new(),
            hours: [Count {
                admitted: 0,
                refused: 0,
            }; 24],
        }
    }

    pub(super) fn count(&mut self, answer: &Answer) {
        let one = match answer.decision.as_str() {
            "allow" => Count {
                admitted: 1,
                refused: 0,
            },
            "deny" => Count {
                admitted: 0,
                refused: 1,
            },
            _ => return,
        };
        let time = answer.time.to_zoned(TimeZone::UTC);
        let day = self.days.entry(time.date()).or_default();
        *day = day.and(one);
        let hour = usize::from(time.hour().unsigned_abs());
        if let Some(hour) = self.hours.get_mut(hour) {
            *hour = hour.and(one);
        }
    }

    /// By day from the first to the last, days without any included; by month where these are too many. The word says
    /// which.
    pub(super) fn by_day(&self) -> (&'static str, Vec<(String, Count)>) {
        let Some((first, last)) = self.days.keys().next().zip(self.days.keys().next_back()) else {
            return ("day", Vec::new());
        };
        let span = first.until((Unit::Day, *last));
        let days = span.map_or(i32::MAX, |span| span.get_days());
        if days < MOST_DAYS {
            let all = first.series(1.day()).take_while(|day| day <= last);
            let count = |day: Date| self.days.get(&day).copied().unwrap_or_default();
            return (
                "day",
                all.map(|day| (day.to_string(), count(day))).collect(),
            );
        }
        let mut months: BTreeMap<Date, Count> = BTreeMap::new();
        for (day, count) in &self.days {
            let month = months.entry(day.first_of_month()).or_default();
            *month = month.and(*count);
        }
        let all = first.first_of_month().series(1.month());
        let all = all.take_while(|month| month <= last).take(MOST_MONTHS);
        let count = |month: Date| months.get(&month).copied().unwrap_or_default();
        let named = |month: Date| (month.strftime("%Y-%m").to_string(), count(month));
        ("month", all.map(named).collect())
    }

    /// By hour of the day.
    pub(super) fn by_hour(&self) -> Vec<(String, Count)> {
        let hours = self.hours.iter().enumerate();
        hours
            .map(|(hour, count)| (format!("{hour:02}"), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(times: &[&str]) -> Tally {
        let mut tally = Tally::new();
        for time in times {
            tally.count(&Answer {
                time: time.parse().unwrap(),
                decision: "allow".to_owned(),
                ..Answer::default()
            });
        }
        tally
    }

    #[test]
    fn days_between_stand_there_and_long_periods_are_drawn_by_month() {
        assert!(tally(&[]).by_day().1.is_empty());
        let (unit, days) = tally(&["2026-03-30T23:59:59Z", "2026-04-02T00:00:00Z"]).by_day();
        let names: Vec<&str> = days.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unit, "day");
        assert_eq!(
            names,
            ["2026-03-30", "2026-03-31", "2026-04-01", "2026-04-02"]
        );
        assert_eq!(
            days.iter().map(|(_, c)| c.sum()).collect::<Vec<_>>(),
            [1, 0, 0, 1]
        );
        let (unit, months) = tally(&["2026-01-31T12:00:00Z", "2026-04-01T12:00:00Z"]).by_day();
        assert_eq!(unit, "day", "{months:?}");
        let (unit, months) = tally(&["2025-12-31T12:00:00Z", "2026-03-31T12:00:00Z"]).by_day();
        let names: Vec<&str> = months.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (unit, names),
            ("month", vec!["2025-12", "2026-01", "2026-02", "2026-03"])
        );
    }

    #[test]
    fn hours_are_those_of_the_day() {
        let hours = tally(&["2026-03-30T23:59:59Z", "2026-04-02T23:00:00Z"]).by_hour();
        assert_eq!(hours.len(), 24);
        assert_eq!(
            hours[23],
            (
                "23".to_owned(),
                Count {
                    admitted: 2,
                    refused: 0
                }
            )
        );
    }
}
