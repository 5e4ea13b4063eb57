//! Joins an admission with its outcome for a stream: a request comes when it ended, everything else at once.
//!
//! The order is that of the record that completed each: the same on every run over the same trail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::audit::entry::Phase;
use crate::audit::query::join::{Ended, Joined};
use crate::audit::shipped::Position;
use crate::audit::show::Shown;

/// Most admissions that wait for their outcome. Beyond, the oldest is sent as one that is still open.
pub(super) const MOST_OPEN: usize = 2048;

/// The join.
#[derive(Debug)]
pub(super) struct Join {
    open: BTreeMap<u64, Joined>,
    of: HashMap<Uuid, u64>,
    /// Admissions before `next` that are awaited and not read again yet: what else stands there has been sent.
    resumed: BTreeSet<u64>,
    next: u64,
}

impl Join {
    /// A join that goes on from a position.
    pub(super) fn new(from: &Position) -> Self {
        Self {
            open: BTreeMap::new(),
            of: HashMap::new(),
            resumed: from.open.iter().copied().collect(),
            next: from.next,
        }
    }

    /// The next record of the trail; what it completes.
    pub(super) fn push(&mut self, shown: Shown) -> Option<Joined> {
        let Shown { seq, entry } = shown;
        let joined = Joined {
            seq,
            entry,
            end: None,
        };
        if seq < self.next {
            if self.resumed.remove(&seq) && joined.entry.phase == Phase::Admit {
                self.hold(joined);
            }
            return None;
        }
        // What was not there any more when it was read again does not come.
        self.resumed.clear();
        match joined.entry.phase {
            Phase::Admit => self.hold(joined),
            Phase::Outcome => self.settle(joined),
            Phase::Refuse | Phase::Event => Some(joined),
        }
    }

    fn hold(&mut self, joined: Joined) -> Option<Joined> {
        self.of.insert(joined.entry.id, joined.seq);
        self.open.insert(joined.seq, joined);
        if self.open.len() <= MOST_OPEN {
            return None;
        }
        let (_, oldest) = self.open.pop_first()?;
        self.of.remove(&oldest.entry.id);
        Some(oldest)
    }

    /// An outcome whose admission was sent already, or never asked for, completes nothing.
    fn settle(&mut self, ended: Joined) -> Option<Joined> {
        let seq = self.of.remove(&ended.entry.of?)?;
        let mut joined = self.open.remove(&seq)?;
        joined.end = Some(Ended {
            seq: ended.seq,
            time: ended.entry.time,
            outcome: ended.entry.outcome?,
        });
        Some(joined)
    }

    /// The admissions that wait.
    pub(super) fn open(&self) -> Vec<u64> {
        self.resumed
            .iter()
            .chain(self.open.keys())
            .copied()
            .collect()
    }

    /// The first record that has not been looked at, where `read` comes next from the trail.
    pub(super) fn next(&self, read: u64) -> u64 {
        self.next.max(read)
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::entry::Entry;
    use crate::audit::fixture as sample;
    use crate::audit::outcome::End;
    use crate::request::{Action, Event};

    /// A trail in which `kinds` says what comes: an event, an admission, or the end of an open one.
    fn trail(kinds: &[u8]) -> Vec<Shown> {
        let (mut entries, mut open): (Vec<Entry>, Vec<Uuid>) = (Vec::new(), Vec::new());
        let outcome = sample::ended(Action::Read, &[], End::Complete, Some(200))
            .end
            .unwrap()
            .outcome;
        for kind in kinds {
            match kind % 4 {
                0 => entries.push(sample::event(Event::Login, None, &[]).entry),
                1 | 2 => {
                    let entry = sample::admission(&["4"]);
                    open.push(entry.id);
                    entries.push(entry);
                }
                _ if open.is_empty() => {}
                _ => {
                    let of = open.remove(usize::from(*kind) % open.len());
                    entries.push(Entry::outcome(
                        &"gw1".into(),
                        sample::time(),
                        of,
                        outcome.clone(),
                    ));
                }
            }
        }
        let numbered = (1..).zip(entries);
        numbered.map(|(seq, entry)| Shown { seq, entry }).collect()
    }

    fn keys(joined: &Joined) -> (u64, Option<u64>) {
        (joined.seq, joined.end.as_ref().map(|end| end.seq))
    }

    proptest! {
        /// Wherever a stream stops and goes on, what came before and after is what comes without stopping.
        #[test]
        fn a_position_is_enough_to_go_on(kinds in prop::collection::vec(any::<u8>(), 0..80), stop in any::<prop::sample::Index>()) {
            let trail = trail(&kinds);
            let mut whole = Join::new(&Position { next: 1, ..Position::default() });
            let expected: Vec<_> = trail.iter().cloned().filter_map(|shown| whole.push(shown)).map(|j| keys(&j)).collect();
            let stop = stop.index(trail.len() + 1);
            let mut first = Join::new(&Position { next: 1, ..Position::default() });
            let mut got: Vec<_> = trail[..stop].iter().cloned().filter_map(|shown| first.push(shown)).map(|j| keys(&j)).collect();
            let position = Position { next: stop as u64 + 1, open: first.open(), ..Position::default() };
            let mut second = Join::new(&position);
            let rest = trail.iter().filter(|shown| shown.seq >= position.first()).cloned();
            got.extend(rest.filter_map(|shown| second.push(shown)).map(|j| keys(&j)));
            prop_assert_eq!(got, expected);
            prop_assert_eq!(whole.open(), second.open());
        }
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_is_left_out() {
        let mut join = Join::new(&Position::default());
        let mut sent = 0;
        for seq in 0..u64::try_from(MOST_OPEN + 10).unwrap() {
            let entry = sample::admission(&[]);
            sent += usize::from(join.push(Shown { seq, entry }).is_some());
        }
        assert_eq!((sent, join.open().len()), (10, MOST_OPEN));
        assert_eq!(join.of.len(), MOST_OPEN);
    }
}
