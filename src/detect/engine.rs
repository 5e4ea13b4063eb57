//! Evaluates the rules on one record after the other.
//!
//! *Never*: looks at a clock; time is the records' own, so that the same records always fire the same alarms.
//! *Owns*: windows and what has fired, in bounded memory.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::fields::Fields;
use super::recent::Recent;
use super::rule::{Correlation, Counting, Logic, Rule};
use super::ruleset::RuleSet;
use super::window::Windows;

/// Most alarms whose repetition is held back.
const MOST_FIRED: usize = 10_000;
/// Most groups that one record counts in.
const MOST_GROUPS_AT_ONCE: usize = 16;
/// Most records that an alarm names.
const MOST_RECORDS: usize = 20;
/// Longest key of a group.
const LONGEST_KEY: usize = 512;

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Its position in the rule set.
    pub rule: usize,
    /// The records that made it fire, the newest ones.
    pub records: Vec<Uuid>,
    /// How many there were.
    pub count: usize,
}

/// The state of all rules.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<RuleSet>,
    windows: Vec<Option<Windows>>,
    fired: Recent<(usize, String), Timestamp>,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let windows = rules
            .rules()
            .iter()
            .map(|rule| match &rule.logic {
                Logic::Detection(_) => None,
                Logic::Correlation(correlation) => {
                    Some(Windows::new(correlation.counting, correlation.timespan))
                }
            })
            .collect();
        Self {
            rules,
            windows,
            fired: Recent::new(MOST_FIRED),
        }
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What has fired, by rule and group, to be remembered over a restart.
    pub(super) fn fired(&self) -> impl Iterator<Item = (&str, &str, Timestamp)> {
        self.fired.iter().filter_map(|((rule, key), at)| {
            let rule = self.rules.rules().get(*rule)?;
            Some((rule.name.as_str(), key.as_str(), *at))
        })
    }

    /// Remembers what had fired before a restart.
    pub(super) fn remember(&mut self, rule: &str, key: &str, at: Timestamp) {
        let found = self
            .rules
            .rules()
            .iter()
            .position(|known| known.name == rule);
        if let Some(position) = found {
            *self.fired.touch(&(position, key.to_owned()), || at).0 = at;
        }
    }

    /// Looks at a record.
    pub fn feed(&mut self, at: Timestamp, record: Uuid, fields: &Fields) -> Vec<Firing> {
        let rules = Arc::clone(&self.rules);
        let mut matched: Vec<bool> = Vec::with_capacity(rules.rules().len());
        let mut firings = Vec::new();
        for (position, rule) in rules.rules().iter().enumerate() {
            let held = match &rule.logic {
                Logic::Detection(detection) => {
                    let holds = |selection: usize| {
                        detection
                            .selections
                            .get(selection)
                            .is_some_and(|(_, selection)| selection.fits(fields))
                    };
                    if detection.condition.evaluate(&holds) {
                        vec![(actor(fields), vec![record])]
                    } else {
                        Vec::new()
                    }
                }
                Logic::Correlation(correlation) => {
                    let windows = self.windows.get_mut(position).and_then(Option::as_mut);
                    windows.map_or_else(Vec::new, |windows| {
                        correlate(correlation, windows, &matched, at, record, fields)
                    })
                }
            };
            matched.push(!held.is_empty());
            for (group, records) in held {
                if rule.alarms && self.may_fire(position, rule, at, group) {
                    firings.push(firing(position, &records));
                }
            }
        }
        firings
    }

    /// Whether the rule has not just fired for the same group.
    fn may_fire(&mut self, position: usize, rule: &Rule, at: Timestamp, group: String) -> bool {
        let key = (position, group);
        let quiet_since = at.checked_sub(rule.suppress).unwrap_or(Timestamp::MIN);
        if self
            .fired
            .peek(&key)
            .is_some_and(|last| *last > quiet_since)
        {
            return false;
        }
        *self.fired.touch(&key, || at).0 = at;
        true
    }
}

fn firing(rule: usize, records: &[Uuid]) -> Firing {
    let skipped = records.len().saturating_sub(MOST_RECORDS);
    Firing {
        rule,
        records: records.iter().skip(skipped).copied().collect(),
        count: records.len(),
    }
}

/// Whom an alarm about a single record is about.
fn actor(fields: &Fields) -> String {
    let who = fields.first("user_id").or_else(|| fields.first("user"));
    who.or_else(|| fields.first("client"))
        .map(clipped)
        .unwrap_or_default()
}

/// The groups in which the correlation holds now, with the records that made it.
fn correlate(
    correlation: &Correlation,
    windows: &mut Windows,
    matched: &[bool],
    at: Timestamp,
    record: Uuid,
    fields: &Fields,
) -> Vec<(String, Vec<Uuid>)> {
    let steps: Vec<usize> = correlation
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| matched.get(**rule) == Some(&true))
        .map(|(step, _)| step)
        .collect();
    if steps.is_empty() {
        return Vec::new();
    }
    let values: Vec<String> = match (correlation.counting, &correlation.field) {
        (Counting::Values(_), Some(field)) => fields
            .all(field)
            .into_iter()
            .map(std::borrow::Cow::into_owned)
            .collect(),
        (Counting::Values(_), None)
        | (Counting::Events(_) | Counting::Together | Counting::InOrder, _) => Vec::new(),
    };
    let rules = correlation.rules.len();
    let mut held = Vec::new();
    for group in groups(&correlation.group_by, fields) {
        if let Some(records) = windows.add(&group, at, record, &steps, &values, rules) {
            held.push((group, records));
        }
    }
    held
}

/// The groups a record belongs to: one, or one for each value of a field with several. None where a field is missing.
fn groups(group_by: &[String], fields: &Fields) -> Vec<String> {
    let mut keys = vec![String::new()];
    for field in group_by {
        let values = fields.all(field);
        keys = keys
            .iter()
            .flat_map(|key| {
                values
                    .iter()
                    .map(move |value| format!("{key}{value}\u{1f}"))
            })
            .take(MOST_GROUPS_AT_ONCE)
            .collect();
    }
    keys.iter().map(|key| clipped(key)).collect()
}

fn clipped(key: &str) -> String {
    key.chars().take(LONGEST_KEY).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fields::Value;
    use super::*;

    const RULES: &str = "\
title: Failed
name: failed
level: informational
detection: {sel: {phase: refuse}, condition: sel}
---
title: Many failed
name: many_failed
level: medium
correlation: {type: event_count, rules: [failed], group-by: [client], timespan: 10m, condition: {gte: 3}}
---
title: In
name: signed_in
level: informational
detection: {sel: {event: login}, condition: sel}
---
title: Failed, then in
name: then_in
level: critical
correlation: {type: temporal_ordered, rules: [many_failed, signed_in], group-by: [client], timespan: 30m}
---
title: Night
name: night
level: low
chartgate: {suppress: 5m}
detection: {sel: {hour|gte: 22}, condition: sel}
";

    fn engine() -> Engine {
        Engine::new(Arc::new(RuleSet::parse(RULES).unwrap()))
    }

    fn names(engine: &Engine, firings: &[Firing]) -> Vec<String> {
        let name = |firing: &Firing| engine.rules().rules()[firing.rule].name.clone();
        firings.iter().map(name).collect()
    }

    fn fields(pairs: &[(&'static str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(*name, Value::Text((*value).to_owned()));
        }
        fields
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute.saturating_mul(60)).unwrap()
    }

    fn feed(engine: &mut Engine, minute: i64, pairs: &[(&'static str, &str)]) -> Vec<String> {
        let id = Uuid::from_u128(u128::try_from(minute).unwrap());
        let firings = engine.feed(at(minute), id, &fields(pairs));
        names(engine, &firings)
    }

    #[test]
    fn correlations_build_on_each_other() {
        let mut engine = engine();
        let failed = [("phase", "refuse"), ("client", "10.0.0.1")];
        for minute in 0..4 {
            assert!(feed(&mut engine, minute, &failed).is_empty());
        }
        let other = [("event", "login"), ("client", "10.0.0.2")];
        assert!(feed(&mut engine, 5, &other).is_empty());
        let id = Uuid::from_u128(6);
        let same = fields(&[("event", "login"), ("client", "10.0.0.1")]);
        let firings = engine.feed(at(6), id, &same);
        assert_eq!(names(&engine, &firings), ["then_in"]);
        assert_eq!(firings[0].records.last(), Some(&id));
        let same = [("event", "login"), ("client", "10.0.0.1")];
        assert!(
            feed(&mut engine, 7, &same).is_empty(),
            "not again within the window"
        );
    }

    #[test]
    fn an_alarm_is_not_repeated_for_the_same_user() {
        let mut engine = engine();
        let night = |engine: &mut Engine, minute, user: &str| {
            let mut fields = fields(&[("user", user)]);
            fields.set("hour", Value::Number(23));
            !engine.feed(at(minute), Uuid::nil(), &fields).is_empty()
        };
        assert!(night(&mut engine, 0, "a"));
        assert!(!night(&mut engine, 4, "a"));
        assert!(night(&mut engine, 4, "b"));
        assert!(night(&mut engine, 5, "a"));
        let mut after_restart = self::engine();
        let fired: Vec<(String, String, Timestamp)> = engine
            .fired()
            .map(|(rule, key, at)| (rule.to_owned(), key.to_owned(), at))
            .collect();
        for (rule, key, at) in &fired {
            after_restart.remember(rule, key, *at);
        }
        assert!(!night(&mut after_restart, 6, "a"));
        assert!(night(&mut after_restart, 11, "a"));
    }

    #[test]
    fn a_record_without_the_group_counts_nowhere() {
        assert!(
            groups(
                &["user".to_owned(), "client".to_owned()],
                &fields(&[("user", "a")])
            )
            .is_empty()
        );
        let mut several = fields(&[("user", "a")]);
        let many = (0..50).map(|n| n.to_string()).collect();
        several.set("patient", Value::Texts(many));
        let keys = groups(&["user".to_owned(), "patient".to_owned()], &several);
        assert_eq!(keys.len(), MOST_GROUPS_AT_ONCE);
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn the_same_records_fire_the_same_alarms(
                steps in prop::collection::vec((0_i64..20, 0_u8..3, 0_u8..3), 0..60)
            ) {
                let (mut one, mut two) = (engine(), engine());
                let mut now = 0_i64;
                for (later, kind, client) in steps {
                    now = later.saturating_add(now);
                    let client = client.to_string();
                    let pairs = match kind {
                        0 => [("phase", "refuse"), ("client", client.as_str())],
                        1 => [("event", "login"), ("client", client.as_str())],
                        _ => [("event", "logout"), ("user", client.as_str())],
                    };
                    prop_assert_eq!(feed(&mut one, now, &pairs), feed(&mut two, now, &pairs));
                }
            }
        }
    }
}
