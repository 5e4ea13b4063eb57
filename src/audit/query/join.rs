//! Joins an admission with its outcome while the trail goes by.
//!
//! *Owns*: what is held back. Answers come in the order of the trail; a request that is still open when
//! `WINDOW` later ones have gone by, or lists of `LISTED` patients (a live stream, a long download) is set aside and comes when it ends.
//! Memory is bounded by that window and by what can be in flight at once.
//! *Never*: an answer lost or given twice.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::entry::{Entry, Phase};
use crate::audit::filter::Filter;
use crate::audit::outcome::Outcome;
use crate::request::PatientRef;

/// How many answers wait for one whose outcome has not come.
const WINDOW: usize = 4096;
/// How many patients of lists they may name in all.
const LISTED: usize = 500_000;

/// How an admitted request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The outcome's sequence number.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The outcome.
    pub outcome: Outcome,
}

/// A record with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its sequence number.
    pub seq: u64,
    /// The admission, refusal or event.
    pub entry: Entry,
    /// Of an admission: its outcome. `None` where it has not come yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Ended>,
}

impl Joined {
    /// The patients concerned, each once, in order. Those who only appeared in a list come last, and say so
    /// ([`PatientSource::Appeared`](crate::request::facts::PatientSource::Appeared)).
    #[must_use]
    pub fn patients(&self) -> Vec<&PatientRef> {
        let mut seen = HashSet::new();
        let later = self.end.iter().flat_map(|end| named(&end.outcome));
        let all = self.entry.patients().chain(later);
        all.filter(|patient| seen.insert((&patient.system, &patient.id)))
            .collect()
    }

    /// How many patients its list named.
    pub(crate) fn listed(&self) -> usize {
        self.end
            .as_ref()
            .map_or(0, |end| end.outcome.appeared.len())
    }
}

/// Whom an outcome names beyond its admission.
fn named(outcome: &Outcome) -> impl Iterator<Item = &PatientRef> {
    outcome.patients.iter().chain(&outcome.appeared)
}

#[derive(Debug)]
struct Held {
    joined: Joined,
    open: bool,
}

/// The join.
#[derive(Debug)]
pub struct Join {
    filter: Filter,
    window: BTreeMap<u64, Held>,
    listed: usize,
    late: BTreeMap<u64, Joined>,
    /// Where each open admission waits.
    open: HashMap<Uuid, u64>,
    ready: VecDeque<Joined>,
}

impl Join {
    /// A join that keeps what matches.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            window: BTreeMap::new(),
            listed: 0,
            late: BTreeMap::new(),
            open: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Whether no admission waits for its outcome.
    #[must_use]
    pub fn awaits_nothing(&self) -> bool {
        self.open.is_empty()
    }

    /// The next record of the trail.
    pub fn push(&mut self, seq: u64, entry: Entry) {
        match entry.phase {
            Phase::Admit => {
                if self.filter.selects(&entry) {
                    self.open.insert(entry.id, seq);
                    self.hold(seq, entry, true);
                }
            }
            Phase::Outcome => self.settle(seq, entry),
            Phase::Refuse | Phase::Event => {
                if self.filter.matches(&entry) {
                    self.hold(seq, entry, false);
                }
            }
        }
        self.advance();
    }

    fn hold(&mut self, seq: u64, entry: Entry, open: bool) {
        let joined = Joined {
            seq,
            entry,
            end: None,
        };
        self.window.insert(seq, Held { joined, open });
    }

    /// Puts an outcome where it belongs. One whose admission was not asked for belongs nowhere.
    fn settle(&mut self, seq: u64, entry: Entry) {
        let Some(at) = entry.of.and_then(|of| self.open.remove(&of)) else {
            return;
        };
        let Some(outcome) = entry.outcome else {
            return;
        };
        let end = Some(Ended {
            seq,
            time: entry.time,
            outcome,
        });
        if let Some(mut joined) = self.late.remove(&at) {
            joined.end = end;
            if self.wants(&joined) {
                self.ready.push_back(joined);
            }
        } else if let Some(held) = self.window.get_mut(&at) {
            held.joined.end = end;
            held.open = false;
            self.listed = self.listed.saturating_add(held.joined.listed());
        }
    }

    fn wants(&self, joined: &Joined) -> bool {
        let outcome = joined.end.as_ref().map(|end| &end.outcome);
        self.filter.wants(&joined.entry, outcome)
    }

    /// Gives out what nothing stands before any more.
    fn advance(&mut self) {
        while let Some(first) = self.window.first_entry() {
            let open = first.get().open;
            if open && self.window.len() <= WINDOW && self.listed <= LISTED {
                return;
            }
            let Some((seq, held)) = self.window.pop_first() else {
                return;
            };
            self.listed = self.listed.saturating_sub(held.joined.listed());
            if held.open {
                self.late.insert(seq, held.joined);
            } else if self.wants(&held.joined) {
                self.ready.push_back(held.joined);
            }
        }
    }

    /// There are no more records: what is open stays without an outcome.
    pub fn end(&mut self) {
        self.open.clear();
        let late = std::mem::take(&mut self.late).into_values();
        let window = std::mem::take(&mut self.window).into_values();
        let left = late.chain(window.map(|held| held.joined));
        let left: Vec<Joined> = left.filter(|joined| self.wants(joined)).collect();
        self.ready.extend(left);
    }

    /// The next answer that is complete.
    pub fn next_ready(&mut self) -> Option<Joined> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests;
