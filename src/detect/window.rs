//! Sliding windows of correlations, one for each group, in bounded memory.
//!
//! A window needs to hold no more than the newest records that the rule counts to: older ones cannot make it hold.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::recent::Recent;
use super::rule::Counting;

/// Most groups that one rule remembers.
const MOST_GROUPS: usize = 10_000;
/// Most records that one rule remembers, over all groups.
const MOST_HITS: usize = 100_000;
/// Longest value that is remembered.
const LONGEST_VALUE: usize = 128;

/// A record that counted.
#[derive(Debug, Clone)]
struct Hit {
    at: Timestamp,
    value: Option<Box<str>>,
    record: Uuid,
}

/// The windows of one correlation.
#[derive(Debug)]
pub(super) struct Windows {
    counting: Counting,
    timespan: Duration,
    groups: Recent<String, Group>,
    held: usize,
}

#[derive(Debug)]
enum Group {
    /// The newest hits, oldest first.
    Counted(VecDeque<Hit>),
    /// For each rule: what is known of it.
    Steps(Vec<Option<Step>>),
}

/// A chain that has come this far.
#[derive(Debug, Clone)]
struct Step {
    began: Timestamp,
    records: Vec<Uuid>,
}

impl Windows {
    pub(super) const fn new(counting: Counting, timespan: Duration) -> Self {
        Self {
            counting,
            timespan,
            groups: Recent::new(MOST_GROUPS),
            held: 0,
        }
    }

    /// Adds a record that the rules at `steps` fit (positions in the correlation's list). Says which records made
    /// the correlation hold, if it holds now.
    pub(super) fn add(
        &mut self,
        group: &str,
        at: Timestamp,
        record: Uuid,
        steps: &[usize],
        values: &[String],
        rules: usize,
    ) -> Option<Vec<Uuid>> {
        let counting = self.counting;
        let timespan = self.timespan;
        let key = group.to_owned();
        let (window, forgotten) = self.groups.touch(&key, || match counting {
            Counting::Events(_) | Counting::Values(_) => Group::Counted(VecDeque::new()),
            Counting::Together | Counting::InOrder => Group::Steps(vec![None; rules]),
        });
        let before = window.size();
        let since = at.checked_sub(timespan).unwrap_or(Timestamp::MIN);
        let held = match (window, counting) {
            (Group::Counted(hits), Counting::Events(least)) => count(
                hits,
                since,
                least,
                Hit {
                    at,
                    value: None,
                    record,
                },
            ),
            (Group::Counted(hits), Counting::Values(least)) => {
                let mut held = None;
                for value in values {
                    let value = clipped(value);
                    hits.retain(|hit| hit.value.as_deref() != Some(value));
                    let value = Some(value.into());
                    held = count(hits, since, least, Hit { at, value, record });
                }
                held
            }
            (Group::Steps(known), Counting::Together) => together(known, since, at, record, steps),
            (Group::Steps(known), Counting::InOrder) => in_order(known, since, at, record, steps),
            (Group::Counted(_), Counting::Together | Counting::InOrder)
            | (Group::Steps(_), Counting::Events(_) | Counting::Values(_)) => None,
        };
        let after = self.groups.peek(&key).map_or(0, Group::size);
        self.held = self.held.saturating_add(after).saturating_sub(before);
        self.release(forgotten);
        while self.held > MOST_HITS && self.groups.len() > 1 {
            let forgotten = self.groups.forget_oldest();
            self.release(forgotten);
        }
        held
    }

    fn release(&mut self, forgotten: Option<Group>) {
        let freed = forgotten.map_or(0, |group| group.size());
        self.held = self.held.saturating_sub(freed);
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let counted: usize = self.groups.iter().map(|(_, group)| group.size()).sum();
        assert_eq!(counted, self.held);
        (self.groups.len(), self.held)
    }
}

impl Group {
    fn size(&self) -> usize {
        match self {
            Self::Counted(hits) => hits.len(),
            Self::Steps(steps) => steps.iter().flatten().map(|step| step.records.len()).sum(),
        }
    }
}

fn clipped(value: &str) -> &str {
    let end = value
        .char_indices()
        .map(|(at, c)| at.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= LONGEST_VALUE)
        .last();
    value.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn count(hits: &mut VecDeque<Hit>, since: Timestamp, least: usize, hit: Hit) -> Option<Vec<Uuid>> {
    hits.push_back(hit);
    // Records of several threads may be a moment out of order; what is too old is looked for everywhere.
    hits.retain(|hit| hit.at > since);
    while hits.len() > least {
        hits.pop_front();
    }
    (hits.len() >= least).then(|| {
        let mut records: Vec<Uuid> = hits.iter().map(|hit| hit.record).collect();
        records.dedup();
        records
    })
}

fn together(
    known: &mut [Option<Step>],
    since: Timestamp,
    at: Timestamp,
    record: Uuid,
    steps: &[usize],
) -> Option<Vec<Uuid>> {
    for step in steps {
        if let Some(slot) = known.get_mut(*step) {
            *slot = Some(Step {
                began: at,
                records: vec![record],
            });
        }
    }
    let recent = |slot: &Option<Step>| slot.as_ref().is_some_and(|step| step.began > since);
    known.iter().all(recent).then(|| {
        let mut records: Vec<Uuid> = known
            .iter()
            .flatten()
            .flat_map(|step| step.records.iter().copied())
            .collect();
        records.dedup();
        records
    })
}

fn in_order(
    known: &mut [Option<Step>],
    since: Timestamp,
    at: Timestamp,
    record: Uuid,
    steps: &[usize],
) -> Option<Vec<Uuid>> {
    let last = known.len().saturating_sub(1);
    let mut held = None;
    // From the last to the first, so that one record takes a chain one step further and not two.
    let mut steps = steps.to_vec();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    for step in steps {
        let reached = match step.checked_sub(1) {
            None => Some(Step {
                began: at,
                records: vec![record],
            }),
            Some(before) => known
                .get(before)
                .and_then(Option::as_ref)
                .filter(|chain| chain.began > since)
                .map(|chain| {
                    let mut records = chain.records.clone();
                    records.push(record);
                    Step {
                        began: chain.began,
                        records,
                    }
                }),
        };
        let Some(reached) = reached else { continue };
        if step == last {
            held = Some(reached.records);
        } else if let Some(slot) = known.get_mut(step) {
            *slot = Some(reached);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second.saturating_add(1_000_000)).unwrap()
    }

    fn windows(counting: Counting) -> Windows {
        Windows::new(counting, WINDOW)
    }

    fn event(windows: &mut Windows, second: i64) -> bool {
        windows
            .add(
                "g",
                at(second),
                Uuid::from_u128(second.unsigned_abs().into()),
                &[0],
                &[],
                1,
            )
            .is_some()
    }

    #[test]
    fn events_are_counted_in_a_sliding_window() {
        let mut counted = windows(Counting::Events(3));
        assert!(!event(&mut counted, 0));
        assert!(!event(&mut counted, 50));
        assert!(!event(&mut counted, 61), "the first one is too old");
        assert!(event(&mut counted, 62));
        assert!(!event(&mut counted, 200));
    }

    #[test]
    fn only_different_values_count() {
        let mut counted = windows(Counting::Values(2));
        let mut add = |second, value: &str| {
            counted.add("g", at(second), Uuid::nil(), &[0], &[value.to_owned()], 1)
        };
        assert!(add(0, "a").is_none());
        assert!(add(1, "a").is_none());
        assert!(add(50, "a").is_none());
        assert!(add(55, "b").is_some());
        assert!(add(112, "a").is_some());
        assert!(add(200, "b").is_none());
    }

    #[test]
    fn order_matters_where_it_should() {
        for (counting, backwards) in [(Counting::InOrder, false), (Counting::Together, true)] {
            let mut chain = windows(counting);
            let mut add = |second, step| {
                chain
                    .add("g", at(second), Uuid::nil(), &[step], &[], 2)
                    .is_some()
            };
            assert!(!add(0, 1));
            assert_eq!(add(1, 0), backwards);
            assert!(add(2, 1));
            assert!(!add(100, 1), "the beginning is too long ago");
        }
    }

    #[test]
    fn one_record_is_one_step() {
        let mut chain = windows(Counting::InOrder);
        let both = [0, 1];
        assert!(chain.add("g", at(0), Uuid::nil(), &both, &[], 2).is_none());
        assert!(chain.add("g", at(1), Uuid::nil(), &both, &[], 2).is_some());
    }

    #[test]
    fn groups_are_bounded_and_apart() {
        let mut counted = windows(Counting::Events(2));
        for n in 0..MOST_GROUPS + 500 {
            assert!(
                counted
                    .add(&n.to_string(), at(0), Uuid::nil(), &[0], &[], 1)
                    .is_none()
            );
        }
        assert_eq!(counted.held(), (MOST_GROUPS, MOST_GROUPS));
        let mut wide = windows(Counting::Values(1_000));
        for n in 0..200 {
            for value in 0..600 {
                wide.add(
                    &n.to_string(),
                    at(0),
                    Uuid::nil(),
                    &[0],
                    &[value.to_string()],
                    1,
                );
            }
        }
        assert!(wide.held().1 <= MOST_HITS);
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_its_definition(least in 1_usize..5, steps in prop::collection::vec((0_i64..40, 0_u8..4), 0..40)) {
            let mut counted = windows(Counting::Values(least));
            let (mut now, mut past) = (0_i64, Vec::new());
            for (later, value) in steps {
                now = later.saturating_add(now);
                past.push((now, value));
                let held = counted.add("g", at(now), Uuid::nil(), &[0], &[value.to_string()], 1).is_some();
                let different: std::collections::BTreeSet<u8> = past
                    .iter()
                    .filter(|(then, _)| *then > now.saturating_sub(60))
                    .map(|(_, value)| *value)
                    .collect();
                prop_assert_eq!(held, different.len() >= least);
            }
        }

        #[test]
        fn clipping_keeps_characters_whole(value in "\\PC{0,200}") {
            prop_assert!(clipped(&value).len() <= LONGEST_VALUE && value.starts_with(clipped(&value)));
        }
    }
}
