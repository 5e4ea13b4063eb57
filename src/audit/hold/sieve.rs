//! Which segments have records that are held.
//!
//! A request is one thing in two records: who asked stands in its admission, whom it turned out to be about may stand in
//! its outcome only, and a segment may end between the two. Where the two together match, both are held.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::Hold;
use crate::audit::entry::{Entry, Phase};
use crate::audit::show::Filter;

/// Most requests without an end that are remembered: more than can be in flight at once.
const MOST_OPEN: usize = 65_536;

/// Goes through records in order and finds what is held.
#[derive(Debug)]
pub struct Sieve {
    holds: Vec<(u64, Filter)>,
    open: HashMap<Uuid, Open>,
    held: BTreeSet<(usize, u64)>,
    news: Vec<(usize, u64)>,
    earlier: Vec<(Timestamp, u64)>,
    uncertain: Option<usize>,
}

/// A request whose outcome has not come yet, and the holds that its admission may fall under.
#[derive(Debug)]
struct Open {
    segment: usize,
    /// Places in the list of holds: who asked, and when, is as these say.
    holds: Vec<usize>,
    /// Numbers of the holds that the admission alone falls under.
    held: Vec<u64>,
}

/// What a sieve found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Segments, as the caller counts them, with the number of a hold on something in them.
    pub segments: BTreeSet<(usize, u64)>,
    /// When requests were admitted, before the first record, whose outcomes are held by these.
    pub earlier: Vec<(Timestamp, u64)>,
    /// The first segment with a request whose outcome has not come and that may turn out to be held.
    pub uncertain: Option<usize>,
}

/// What was found since it was last asked for.
#[derive(Debug, Default)]
pub struct News {
    /// Segments, with the number of a hold on something in them.
    pub found: Vec<(usize, u64)>,
    /// Times of earlier admissions, with the hold on them.
    pub earlier: Vec<(Timestamp, u64)>,
}

impl Sieve {
    /// A sieve for these holds.
    #[must_use]
    pub fn new<'h>(holds: impl IntoIterator<Item = &'h Hold>) -> Self {
        Self {
            holds: holds
                .into_iter()
                .map(|hold| (hold.id, hold.filter()))
                .collect(),
            open: HashMap::new(),
            held: BTreeSet::new(),
            news: Vec::new(),
            earlier: Vec::new(),
            uncertain: None,
        }
    }

    /// What was found since this was last asked: segments with the number of a hold on something in them, and times of
    /// earlier admissions as in [`Held::earlier`].
    pub fn news(&mut self) -> News {
        News {
            found: std::mem::take(&mut self.news),
            earlier: std::mem::take(&mut self.earlier),
        }
    }

    fn hold(&mut self, segment: usize, hold: u64) {
        if self.held.insert((segment, hold)) {
            self.news.push((segment, hold));
        }
    }

    /// Looks at the next record, which is in this segment.
    pub fn see(&mut self, segment: usize, entry: &Entry) {
        if self.holds.is_empty() {
            return;
        }
        match (entry.phase, entry.of) {
            (Phase::Admit, _) => self.admission(segment, entry),
            (Phase::Outcome, Some(of)) => self.outcome(segment, of, entry),
            (Phase::Outcome, None) | (Phase::Refuse | Phase::Event, _) => {
                let matching = self
                    .holds
                    .iter()
                    .filter(|(_, filter)| filter.matches(entry));
                for id in matching.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.hold(segment, id);
                }
            }
        }
    }

    fn admission(&mut self, segment: usize, entry: &Entry) {
        let (mut holds, mut found) = (Vec::new(), Vec::new());
        for (index, (id, filter)) in self.holds.iter().enumerate() {
            if !filter.selects(entry) {
                continue;
            }
            holds.push(index);
            if filter.concerns(entry) {
                found.push(*id);
            }
        }
        for id in &found {
            self.hold(segment, *id);
        }
        if self.open.len() < MOST_OPEN {
            let held = found;
            let open = Open {
                segment,
                holds,
                held,
            };
            self.open.insert(entry.id, open);
        } else {
            let first = self.uncertain.unwrap_or(segment);
            self.uncertain = Some(first.min(segment));
        }
    }

    fn outcome(&mut self, segment: usize, of: Uuid, entry: &Entry) {
        if let Some(open) = self.open.remove(&of) {
            for index in open.holds {
                let Some((id, filter)) = self.holds.get(index) else {
                    continue;
                };
                let (id, concerns) = (*id, filter.concerns(entry));
                if concerns || open.held.contains(&id) {
                    self.hold(open.segment, id);
                    self.hold(segment, id);
                }
            }
            return;
        }
        // Its admission was before the first record. Who asked is not known here: it is kept rather than lost.
        let concerned =
            |(_, filter): &&(u64, Filter)| filter.patient.is_some() && filter.concerns(entry);
        let concerned = self.holds.iter().filter(concerned).map(|(id, _)| *id);
        for id in concerned.collect::<Vec<_>>() {
            self.hold(segment, id);
            self.earlier.extend(made(of).map(|time| (time, id)));
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Held {
        let undecided = self.open.values().filter(|open| {
            let is_undecided = |index: &usize| {
                let hold = self.holds.get(*index);
                hold.is_some_and(|(id, _)| !open.held.contains(id))
            };
            open.holds.iter().any(is_undecided)
        });
        let first = undecided.map(|open| open.segment).min();
        Held {
            segments: self.held,
            earlier: self.earlier,
            uncertain: first.into_iter().chain(self.uncertain).min(),
        }
    }
}

/// When an entry of this id was made.
fn made(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::*;
    use crate::audit::fixture;
    use crate::audit::outcome::{End, Outcome};
    use crate::request::Event;

    fn hold(id: u64, patient: Option<&str>, user: Option<&str>) -> Hold {
        Hold {
            id,
            matter: "m".to_owned(),
            scope: Scope {
                patient: patient.map(str::to_owned),
                user: user.map(str::to_owned),
                ..Scope::default()
            },
            reason: "r".to_owned(),
            by: "alice".to_owned(),
            at: fixture::time(),
            released: None,
            aliases: BTreeSet::new(),
        }
    }

    fn outcome(of: &Entry, patients: &[&str]) -> Entry {
        let mut outcome: Outcome = fixture::done(crate::request::Action::Read, &[])
            .end
            .unwrap()
            .outcome;
        outcome.end = End::Complete;
        outcome.patients = patients.iter().map(|id| fixture::patient(id)).collect();
        Entry::outcome(&"gw1".into(), fixture::time(), of.id, outcome)
    }

    fn sieved(holds: &[Hold], entries: &[(usize, &Entry)]) -> Held {
        let mut sieve = Sieve::new(holds);
        for (segment, entry) in entries {
            sieve.see(*segment, entry);
        }
        sieve.finish()
    }

    #[test]
    fn admission_and_outcome_are_held_together_wherever_they_lie() {
        let mine = fixture::admission(&["4"]);
        let other = fixture::admission(&["5"]);
        let (mine_ended, other_ended) = (outcome(&mine, &[]), outcome(&other, &[]));
        let held = sieved(
            &[hold(1, Some("4"), None)],
            &[(0, &other), (1, &mine), (2, &other_ended), (3, &mine_ended)],
        );
        assert_eq!(held.segments, BTreeSet::from([(1, 1), (3, 1)]));
        assert_eq!(held.uncertain, None);
        // Whom it was about is known at the end only.
        let selected = outcome(&other, &["4"]);
        let held = sieved(
            &[hold(1, Some("4"), None)],
            &[(0, &other), (1, &mine_ended), (2, &selected)],
        );
        assert_eq!(held.segments, BTreeSet::from([(0, 1), (2, 1)]));
    }

    #[test]
    fn user_and_patient_of_one_hold_may_stand_in_two_records() {
        let asked = fixture::admission(&[]);
        let ended = outcome(&asked, &["4"]);
        let entries = [(0, &asked), (1, &ended)];
        let held = sieved(&[hold(1, Some("4"), Some("dr.okafor"))], &entries);
        assert_eq!(held.segments, BTreeSet::from([(0, 1), (1, 1)]));
        let other = [hold(1, Some("4"), Some("dr.weber"))];
        assert_eq!(sieved(&other, &entries), Held::default());
        // The outcome alone does not say who asked.
        let held = sieved(&other, &[(1, &ended)]);
        assert_eq!(held.segments, BTreeSet::from([(1, 1)]));
    }

    #[test]
    fn what_is_not_decided_yet_is_named() {
        let asked = fixture::admission(&["5"]);
        let held = sieved(&[hold(1, Some("4"), None)], &[(3, &asked)]);
        assert_eq!((held.segments.len(), held.uncertain), (0, Some(3)));
        // Of a user it is known at once.
        let held = sieved(&[hold(1, None, Some("dr.weber"))], &[(3, &asked)]);
        assert_eq!(held, Held::default());
        let ended = outcome(&asked, &["4"]);
        let held = sieved(&[hold(1, Some("4"), None)], &[(0, &ended)]);
        let (time, id) = held.earlier[0];
        assert_eq!(id, 1);
        assert!(time.duration_since(Timestamp::UNIX_EPOCH).as_secs() > 0);
    }

    #[test]
    fn events_and_a_hold_on_everything() {
        let event = fixture::event(Event::Login, None, &[("user", "dr.okafor")]).entry;
        let held = sieved(
            &[hold(1, None, None), hold(2, None, Some("dr.okafor"))],
            &[(0, &event)],
        );
        assert_eq!(held.segments, BTreeSet::from([(0, 1), (0, 2)]));
        assert_eq!(sieved(&[], &[(0, &event)]), Held::default());
    }
}
