//! What ADT messages told about identities: merged, linked, taken apart again, and who has several identifiers.
//!
//! *Never*: an older message over a newer one, in whatever order they come: a message that says what is known already
//! makes it as new as itself, and that two were taken apart is known before anything made them one. Of two messages of
//! the same time the one counts that takes apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::audit::links::MOST_OF_ONE;
use crate::feeds::hl7::Message;
use crate::feeds::numbering::Numbering;
use crate::store::digest_of;

/// Most pairs of identifiers.
const MOST: usize = 1_000_000;
/// Most pairs that are known to be apart: of more, those are forgotten that were taken apart first, for which no older
/// message is to be expected any more.
const MOST_APART: usize = 100_000;

/// Two identifiers, `system|identifier` each, in order.
pub(super) type Pair = (Arc<str>, Arc<str>);

/// How it stands between two identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// One was merged into the other, or they were linked.
    Merged,
    /// A message names one person by both.
    Aliases,
    /// They were taken apart.
    Apart,
}

impl Standing {
    /// Which of two messages of the same time counts.
    const fn rank(self) -> u8 {
        match self {
            Self::Aliases => 0,
            Self::Merged => 1,
            Self::Apart => 2,
        }
    }

    const fn is_one(self) -> bool {
        match self {
            Self::Merged | Self::Aliases => true,
            Self::Apart => false,
        }
    }
}

/// What the newest message about a pair said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tie {
    pub(super) as_of: Timestamp,
    pub(super) standing: Standing,
}

impl Tie {
    fn is_newer_than(self, known: Self) -> bool {
        let place = |tie: Self| (tie.as_of, tie.standing.rank());
        place(self) > place(known)
    }
}

/// What changed, for the record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Pairs that a merge or a link made one, with its trigger.
    pub(super) merged: Vec<(Pair, String)>,
    /// Pairs that were taken apart.
    pub(super) parted: Vec<Pair>,
    /// How many more aliases are known.
    pub(super) aliases: u64,
    /// The shelves on which something changed that is to be kept.
    pub(super) shelves: BTreeSet<u8>,
    /// Whether other identifiers are one patient than before.
    pub(super) changed: bool,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    ties: BTreeMap<Pair, Tie>,
    /// The pairs among them that are apart, by when that was said.
    apart: BTreeSet<(Timestamp, Pair)>,
}

/// The shelf on which a pair is kept.
pub(super) fn shelf_of(pair: &Pair) -> u8 {
    let [first, ..] = digest_of([pair.0.as_bytes(), pair.1.as_bytes()]);
    first
}

fn pair(one: &(String, String), other: &(String, String)) -> Option<Pair> {
    let name = |(system, id): &(String, String)| -> Arc<str> { format!("{system}|{id}").into() };
    let (one, other) = (name(one), name(other));
    match one.cmp(&other) {
        std::cmp::Ordering::Less => Some((one, other)),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some((other, one)),
    }
}

impl Told {
    /// What was kept.
    pub(super) fn of(kept: impl IntoIterator<Item = (Pair, Tie)>) -> Self {
        let ties: BTreeMap<Pair, Tie> = kept.into_iter().collect();
        let apart = ties.iter().filter(|(_, tie)| !tie.standing.is_one());
        Self {
            apart: apart.map(|(pair, tie)| (tie.as_of, pair.clone())).collect(),
            ties,
        }
    }

    /// Those that are one patient.
    pub(super) fn linked(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let ties = self.ties.iter();
        ties.filter(|(_, tie)| tie.standing.is_one())
            .map(|((one, other), _)| (one, other))
    }

    /// What belongs on these shelves; each pair is looked at once.
    pub(super) fn on(&self, shelves: &BTreeSet<u8>) -> BTreeMap<u8, Vec<(&Pair, &Tie)>> {
        let mut all: BTreeMap<u8, Vec<_>> = BTreeMap::new();
        for tie in &self.ties {
            let shelf = shelf_of(tie.0);
            if shelves.contains(&shelf) {
                all.entry(shelf).or_default().push(tie);
            }
        }
        all
    }

    /// Takes a message: HL7 v2.5 chapter 3. Those that say nothing about identities change nothing.
    ///
    /// # Errors
    /// What is wrong; nothing of what the message says.
    pub(super) fn take(
        &mut self,
        message: &Message<'_>,
        numbering: &Numbering,
        zone: &TimeZone,
        news: &mut News,
    ) -> Result<(), String> {
        let trigger = message.trigger();
        if trigger.is_empty() {
            return Ok(());
        }
        let merges = matches!(
            trigger,
            "A18" | "A30" | "A34" | "A36" | "A39" | "A40" | "A47"
        );
        let mut ties = Vec::new();
        let mut people = Vec::new();
        for person in message.people() {
            let known = numbering.known(person.identifiers);
            let merged = if merges {
                numbering.known(person.merged)
            } else {
                Vec::new()
            };
            // Before pairs are made: of two such people there would be as many as one number times the other.
            if known.len().saturating_add(merged.len()) > MOST_OF_ONE {
                return Err(format!(
                    "a message names one patient by more than {MOST_OF_ONE} identifiers"
                ));
            }
            let mut known = known.into_iter();
            let Some(first) = known.next() else { continue };
            let others: Vec<_> = known.collect();
            for alias in &others {
                ties.extend(pair(&first, alias).map(|pair| (pair, Standing::Aliases)));
            }
            for prior in merged {
                ties.extend(pair(&first, &prior).map(|pair| (pair, Standing::Merged)));
            }
            people.push((first, others));
        }
        if let ("A24" | "A37", [(one, ones), (other, others), ..]) = (trigger, people.as_slice()) {
            if trigger == "A24" {
                ties.extend(pair(one, other).map(|pair| (pair, Standing::Merged)));
            } else {
                let every = |first, more: &[_]| [std::slice::from_ref(first), more].concat();
                for one in every(one, ones) {
                    for other in every(other, others) {
                        ties.extend(pair(&one, &other).map(|pair| (pair, Standing::Apart)));
                    }
                }
            }
        }
        if ties.is_empty() {
            return Ok(());
        }
        let as_of = message
            .when(zone)
            .ok_or("a message says neither in EVN-2 nor in MSH-7 when it is of")?;
        for (pair, standing) in ties {
            self.tie(pair, Tie { as_of, standing }, trigger, news)?;
        }
        Ok(())
    }

    fn tie(
        &mut self,
        pair: Pair,
        tie: Tie,
        trigger: &str,
        news: &mut News,
    ) -> Result<(), &'static str> {
        let known = self.ties.get(&pair).copied();
        if known.is_some_and(|known| !tie.is_newer_than(known)) {
            return Ok(());
        }
        let before = known.map(|known| known.standing);
        let standing = match (before, tie.standing) {
            // That they are one is known, and by more than a message that only names both.
            (Some(Standing::Merged), Standing::Aliases) => Standing::Merged,
            (_, said) => said,
        };
        let was_one = before.is_some_and(Standing::is_one);
        if !standing.is_one() && !was_one && !self.makes_room(tie.as_of, &pair, news) {
            return Ok(());
        }
        if known.is_none() && self.ties.len() >= MOST {
            return Err("there are more than 1,000,000 pairs of identifiers");
        }
        match (before, standing) {
            (Some(before), standing) if before == standing => {}
            (_, Standing::Merged) => news.merged.push((pair.clone(), trigger.to_owned())),
            (_, Standing::Aliases) => news.aliases = news.aliases.saturating_add(1),
            (_, Standing::Apart) if was_one => news.parted.push(pair.clone()),
            (_, Standing::Apart) => {}
        }
        news.changed |= was_one != standing.is_one();
        // Every message names its patient: what only that says again is written once for each day.
        let only_named_again = tie.standing == Standing::Aliases && before == Some(standing);
        if !only_named_again || known.is_some_and(|known| day(known.as_of) != day(tie.as_of)) {
            news.shelves.insert(shelf_of(&pair));
        }
        let tie = Tie { standing, ..tie };
        self.put(pair, known, tie);
        Ok(())
    }

    fn put(&mut self, pair: Pair, known: Option<Tie>, tie: Tie) {
        if let Some(known) = known {
            self.apart.remove(&(known.as_of, pair.clone()));
        }
        if !tie.standing.is_one() {
            self.apart.insert((tie.as_of, pair.clone()));
        }
        self.ties.insert(pair, tie);
    }

    /// Makes room for one more pair that is apart; says whether there is any for one of this time.
    fn makes_room(&mut self, as_of: Timestamp, pair: &Pair, news: &mut News) -> bool {
        while self.apart.len() >= MOST_APART {
            let oldest = self.apart.first();
            if oldest.is_none_or(|(oldest, of)| *of != *pair && as_of <= *oldest) {
                return false;
            }
            if let Some((_, pair)) = self.apart.pop_first() {
                news.shelves.insert(shelf_of(&pair));
                self.ties.remove(&pair);
            }
        }
        true
    }
}

fn day(time: Timestamp) -> jiff::civil::Date {
    time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
