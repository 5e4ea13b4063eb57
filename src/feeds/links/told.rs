//! What ADT messages told about identities: merged, linked, taken apart again, and who has several identifiers.
//!
//! *Never*: an older message over a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::feeds::hl7::Message;
use crate::feeds::numbering::Numbering;
use crate::store::digest_of;

/// Most pairs of identifiers.
const MOST: usize = 1_000_000;

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

/// What the newest message about a pair said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tie {
    pub(super) as_of: Timestamp,
    pub(super) standing: Standing,
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
    /// The shelves on which something changed.
    pub(super) shelves: BTreeSet<u8>,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    ties: BTreeMap<Pair, Tie>,
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
        Self {
            ties: kept.into_iter().collect(),
        }
    }

    /// Those that are one patient.
    pub(super) fn linked(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let ties = self.ties.iter();
        ties.filter(|(_, tie)| tie.standing != Standing::Apart)
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
            let mut known = numbering.known(person.identifiers).into_iter();
            let Some(first) = known.next() else { continue };
            let others: Vec<_> = known.collect();
            for alias in &others {
                ties.extend(pair(&first, alias).map(|pair| (pair, Standing::Aliases)));
            }
            if merges {
                for prior in numbering.known(person.merged) {
                    ties.extend(pair(&first, &prior).map(|pair| (pair, Standing::Merged)));
                }
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
        let known = self.ties.get(&pair);
        match (known, tie.standing) {
            (Some(known), _) if known.as_of >= tie.as_of => return Ok(()),
            // Said again, or apart what never was one.
            (Some(known), standing) if known.standing == standing => return Ok(()),
            (
                Some(Tie {
                    standing: Standing::Merged,
                    ..
                }),
                Standing::Aliases,
            )
            | (None, Standing::Apart) => return Ok(()),
            (None, _) if self.ties.len() >= MOST => {
                return Err("there are more than 1,000,000 pairs of identifiers");
            }
            (None | Some(_), _) => {}
        }
        news.shelves.insert(shelf_of(&pair));
        match tie.standing {
            Standing::Merged => news.merged.push((pair.clone(), trigger.to_owned())),
            Standing::Aliases => news.aliases = news.aliases.saturating_add(1),
            Standing::Apart => news.parted.push(pair.clone()),
        }
        self.ties.insert(pair, tie);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::links::Links;
    use crate::feeds::hl7::messages;

    fn numbering() -> Numbering {
        Numbering {
            authorities: [("HOSP", "mrn"), ("LAB", "lab")]
                .map(|(name, system)| (name.to_owned(), system.to_owned()))
                .into(),
            system: "mrn".to_owned(),
        }
    }

    fn text(trigger: &str, at: &str, rest: &str) -> String {
        format!("MSH|^~\\&|a|b|c|d|{at}||ADT^{trigger}|1|P|2.5\r{rest}\r")
    }

    fn tell(told: &mut Told, text: &str) -> News {
        let mut news = News::default();
        for message in messages(text) {
            told.take(&message, &numbering(), &TimeZone::UTC, &mut news)
                .unwrap();
        }
        news
    }

    #[test]
    fn merges_links_and_aliases_are_followed_and_taken_back() {
        let mut told = Told::default();
        let merge = text(
            "A40",
            "20261101",
            "PID|1||9^^^HOSP\rMRG|4^^^HOSP~x^^^ELSEWHERE\rPID|2||8^^^HOSP\rMRG|3^^^HOSP",
        );
        let news = tell(&mut told, &merge);
        assert_eq!((news.merged.len(), news.merged[0].1.as_str()), (2, "A40"));
        assert_eq!(tell(&mut told, &merge), News::default(), "said again");
        let admitted = text(
            "A01",
            "20261102",
            "PID|1||9^^^HOSP~77^^^LAB~p^^^ELSEWHERE\rPV1|1|I|3-WEST",
        );
        assert_eq!(tell(&mut told, &admitted).aliases, 1);
        let also = |told: &Told, of: &str| Links::of(told.linked()).also(of);
        assert_eq!(also(&told, "mrn|4"), ["lab|77", "mrn|9"]);

        let link = text("A24", "20261103", "PID|1||9^^^HOSP\rPID|2||5^^^HOSP");
        assert_eq!(tell(&mut told, &link).merged.len(), 1);
        assert_eq!(also(&told, "mrn|5"), ["lab|77", "mrn|4", "mrn|9"]);
        let unlink = text(
            "A37",
            "20261104",
            "PID|1||5^^^HOSP\rPID|2||9^^^HOSP~4^^^HOSP",
        );
        assert_eq!(tell(&mut told, &unlink).parted.len(), 1);
        assert_eq!(also(&told, "mrn|5"), Vec::<String>::new());
        assert_eq!(
            tell(&mut told, &link),
            News::default(),
            "older than what is known"
        );

        let shelves = told.on(&(0..=u8::MAX).collect());
        let kept: Vec<(Pair, Tie)> = shelves
            .into_values()
            .flatten()
            .map(|(pair, tie)| (pair.clone(), *tie))
            .collect();
        assert_eq!(Told::of(kept).ties, told.ties);
    }

    #[test]
    fn what_says_nothing_about_identities_needs_no_time_and_what_does_needs_one() {
        let mut told = Told::default();
        assert_eq!(
            tell(&mut told, &text("A08", "", "PID|1||4^^^HOSP")),
            News::default()
        );
        let timeless = text("A40", "", "PID|1||9^^^HOSP\rMRG|secret^^^HOSP");
        let message = messages(&timeless).next().unwrap();
        let problem = told
            .take(&message, &numbering(), &TimeZone::UTC, &mut News::default())
            .unwrap_err();
        assert!(
            problem.contains("EVN-2") && !problem.contains("secret"),
            "{problem}"
        );
    }
}
