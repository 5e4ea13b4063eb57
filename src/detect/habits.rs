//! What a single record cannot say: the hour, a user's last patient, the networks a user is known to come from.
//!
//! *Owns*: the memory of users, bounded: the users that were seen last, a few networks of each.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

use super::fields::{Fields, Value};
use super::recent::Recent;
use crate::config::alarm::Detection;

/// Most users that are remembered.
const MOST_USERS: usize = 20_000;
/// Most networks of a user; the one not used for longest is forgotten.
const MOST_NETWORKS: usize = 8;
/// Farthest that neighbouring patient ids are apart.
const NEIGHBOURS: u64 = 2;

/// The networks that a user is known to come from, the one used last at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Whose.
    pub(super) user: String,
    /// Which.
    pub(super) networks: Vec<String>,
}

/// Adds what follows from time and from earlier records.
#[derive(Debug)]
pub(super) struct Habits {
    config: Detection,
    last_patient: Recent<String, (String, u64)>,
    known: Recent<String, Known>,
    changed: BTreeSet<String>,
}

impl Habits {
    pub(super) const fn new(config: Detection) -> Self {
        Self {
            config,
            last_patient: Recent::new(MOST_USERS),
            known: Recent::new(MOST_USERS),
            changed: BTreeSet::new(),
        }
    }

    /// Adds fields to those of a record. What is set already stays: examples may say it themselves.
    pub(super) fn add(&mut self, at: Timestamp, fields: &mut Fields) {
        let local = at.to_zoned(self.config.time_zone.clone());
        let time = local.time();
        add(fields, "hour", Value::Number(time.hour().into()));
        add(
            fields,
            "weekday",
            Value::Text(day(local.weekday()).to_owned()),
        );
        let off = !self.config.working_hours.contain(time);
        add(fields, "off_hours", Value::Truth(off));
        let user = fields.first("user_id").or_else(|| fields.first("user"));
        let Some(user) = user.map(str::to_owned) else {
            return;
        };
        let step = self.step(&user, fields);
        add(fields, "seq_step", Value::Truth(step));
        let new = self.network(&user, fields);
        add(fields, "new_network", Value::Truth(new));
    }

    /// Whether the user goes from one patient to a neighbour of it.
    fn step(&mut self, user: &String, fields: &Fields) -> bool {
        let poll = fields.find("poll") == Some(&Value::Truth(true));
        if fields.first("phase") != Some("admit") || poll {
            return false;
        }
        let patients = fields.all("patient");
        let [patient] = patients.as_slice() else {
            return false;
        };
        let Some((prefix, number)) = numbered(patient) else {
            return false;
        };
        let now = (prefix.to_owned(), number);
        let (last, _) = self.last_patient.touch(user, || now.clone());
        let step = last.0 == now.0 && (1..=NEIGHBOURS).contains(&last.1.abs_diff(now.1));
        *last = now;
        step
    }

    /// Whether the user comes from a network not seen before, after having been seen in another.
    fn network(&mut self, user: &String, fields: &Fields) -> bool {
        let Some(network) = fields.first("network") else {
            return false;
        };
        let phase = fields.first("phase");
        let known = self.known.peek(user);
        let seen = known.is_some_and(|known| known.networks.iter().any(|seen| seen == network));
        let new = !seen && known.is_some();
        // SECURITY: a refused attempt teaches nothing; else the second try from there would look familiar.
        if phase != Some("refuse") {
            let make = || Known {
                user: user.clone(),
                networks: Vec::new(),
            };
            let (known, _) = self.known.touch(user, make);
            if known.networks.last().is_none_or(|last| last != network) {
                known.networks.retain(|seen| seen != network);
                known.networks.push(network.to_owned());
                if known.networks.len() > MOST_NETWORKS {
                    known.networks.remove(0);
                }
                self.changed.insert(user.clone());
            }
        }
        new
    }

    /// What was learnt since this was asked last, to be kept.
    pub(super) fn learnt(&mut self) -> Vec<Known> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .iter()
            .filter_map(|user| self.known.peek(user).cloned())
            .collect()
    }

    /// Remembers what was known before a restart.
    pub(super) fn remember(&mut self, known: Known) {
        let user = known.user.clone();
        *self.known.touch(&user, Known::default).0 = known;
    }
}

fn add(fields: &mut Fields, name: &'static str, value: Value) {
    if fields.find(name).is_none() {
        fields.set(name, value);
    }
}

const fn day(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

/// The number at the end of an identifier, and what stands before it.
fn numbered(id: &str) -> Option<(&str, u64)> {
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (prefix, number) = id.split_at_checked(id.len().checked_sub(digits)?)?;
    Some((prefix, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn habits() -> Habits {
        Habits::new(Detection {
            time_zone: TimeZone::fixed(jiff::tz::offset(2)),
            ..Detection::default()
        })
    }

    fn seen(habits: &mut Habits, time: &str, pairs: &[(&'static str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(*name, Value::Text((*value).to_owned()));
        }
        habits.add(time.parse().unwrap(), &mut fields);
        fields
    }

    const NOON: &str = "2026-03-02T10:00:00Z";

    #[test]
    fn hours_are_those_of_the_configured_time_zone() {
        let fields = seen(&mut habits(), "2026-03-01T22:30:00Z", &[]);
        assert_eq!(fields.find("hour"), Some(&Value::Number(0)));
        assert_eq!(fields.first("weekday"), Some("mon"));
        assert_eq!(fields.find("off_hours"), Some(&Value::Truth(true)));
        let fields = seen(&mut habits(), NOON, &[]);
        assert_eq!(fields.find("off_hours"), Some(&Value::Truth(false)));
    }

    #[test]
    fn steps_go_to_neighbours_of_the_same_kind() {
        let mut habits = habits();
        let mut step = |patient: &str, phase: &str| {
            let fields = seen(
                &mut habits,
                NOON,
                &[("user", "a"), ("phase", phase), ("patient", patient)],
            );
            fields.find("seq_step") == Some(&Value::Truth(true))
        };
        assert!(!step("MRN0007", "admit"));
        assert!(step("MRN0008", "admit"));
        assert!(!step("MRN0008", "admit"), "the same patient");
        assert!(!step("MRN0009", "outcome"));
        assert!(step("MRN0006", "admit"), "two back");
        assert!(!step("MRN0009", "admit"), "three on");
        assert!(!step("X0010", "admit"));
        assert!(!step("none", "admit"));
        assert!(!step("99999999999999999999999", "admit"));
    }

    #[test]
    fn a_network_is_new_only_for_someone_who_is_known() {
        let mut habits = habits();
        let mut new = |network: &str, phase: &str| {
            let pairs = [("user", "a"), ("phase", phase), ("network", network)];
            let fields = seen(&mut habits, NOON, &pairs);
            fields.find("new_network") == Some(&Value::Truth(true))
        };
        assert!(!new("10.0.0.0/24", "event"));
        assert!(new("192.0.2.0/24", "refuse"));
        assert!(new("192.0.2.0/24", "event"), "the refusal taught nothing");
        assert!(!new("192.0.2.0/24", "event"));
        for n in 0..20 {
            assert!(new(&format!("10.9.{n}.0/24"), "event"));
        }
        assert!(new("10.0.0.0/24", "event"), "forgotten in the meantime");
        let learnt = habits.learnt();
        assert_eq!(learnt.len(), 1);
        assert_eq!(learnt[0].networks.len(), MOST_NETWORKS);
        assert!(habits.learnt().is_empty());
        let mut after = self::habits();
        after.remember(learnt[0].clone());
        let pairs = [
            ("user", "a"),
            ("phase", "event"),
            ("network", "10.9.19.0/24"),
        ];
        let fields = seen(&mut after, NOON, &pairs);
        assert_eq!(fields.find("new_network"), Some(&Value::Truth(false)));
    }
}
