//! Whether archived segments continue one another, and whether all are there that checkpoints among them are of.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::audit::log::{Head, Header, Outline, Retired};
use crate::counted::counted;

/// The segments of an archive, one after the other.
#[derive(Debug, Default)]
pub(super) struct Chain {
    first: Option<Header>,
    newest: Option<Link>,
    ends: HashMap<Uuid, (u64, Head)>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    segment: Uuid,
    last: u64,
    head: Head,
}

impl Chain {
    /// Goes on with the next segment; says what is wrong between it and the one before.
    pub(super) fn go_on(&mut self, found: &Outline) -> Option<String> {
        let header = &found.header;
        let previous = &header.previous;
        let problem = self.newest.as_ref().and_then(|before| {
            let missing = header
                .number
                .saturating_sub(before.number)
                .saturating_sub(1);
            if missing > 0 {
                return Some(format!(
                    "the archive lacks {} behind number {}",
                    counted(missing, "segment"),
                    before.number
                ));
            }
            let continues = previous.segment == before.segment
                && previous.sequence == before.last
                && previous.head == before.head;
            (!continues).then(|| "it does not continue the segment before it".to_owned())
        });
        if self.first.is_none() {
            self.first = Some(header.clone());
        }
        let last = header.first.saturating_add(found.records).saturating_sub(1);
        self.ends.insert(header.segment, (last, found.head));
        self.newest = Some(Link {
            number: header.number,
            segment: header.segment,
            last,
            head: found.head,
        });
        problem
    }

    /// The first record.
    pub(super) fn first(&self) -> Option<u64> {
        self.first.as_ref().map(|header| header.first)
    }

    /// The last record.
    pub(super) fn last(&self) -> Option<u64> {
        self.newest.as_ref().map(|link| link.last)
    }

    /// Where a segment ends, if it is one of these.
    pub(super) fn end_of(&self, segment: &Uuid) -> Option<(u64, Head)> {
        self.ends.get(segment).copied()
    }

    /// What is missing before the first segment. `removed` are the notes that say what retention took from the trail.
    pub(super) fn beginning(&self, removed: &[Retired]) -> Option<String> {
        let header = self.first.as_ref().filter(|header| header.number > 1)?;
        if removed.iter().any(|note| note.precedes(header)) {
            return None;
        }
        Some(format!(
            "records 1 to {} are missing before {}, and no note of a removal says that their retention was over",
            header.previous.sequence,
            header.file_name()
        ))
    }

    /// Checkpoints of segments that are not there, a line for each segment: of what `removed` says is over, of `damaged`
    /// segments, which were named already, and of the segment that the newest checkpoint is of, which may have been
    /// written still, nothing is said.
    pub(super) fn gaps(
        &self,
        places: &Places,
        removed: &[Retired],
        damaged: &Damaged,
    ) -> Vec<String> {
        let writing = places.newest().map(|(_, segment)| segment);
        let removed: HashSet<Uuid> = removed.iter().map(|note| note.segment).collect();
        let is_known = |segment: &Uuid| {
            self.ends.contains_key(segment)
                || removed.contains(segment)
                || damaged.0.contains(segment)
                || writing == Some(*segment)
        };
        let missing = places.0.iter().filter(|(segment, _)| !is_known(segment));
        missing
            .map(|(segment, last)| {
                format!(
                    "segment {segment} is missing: a checkpoint of record {last} in it is there"
                )
            })
            .collect()
    }
}

/// The newest record of each segment that a checkpoint is of, by the names of their objects.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Uuid, u64>);

impl Places {
    /// Those of checkpoints with these names. Whoever reads the notes proves that each has its own name.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n String>) -> Self {
        let mut places = Self::default();
        for (sequence, segment) in names.into_iter().filter_map(|name| place_of(name)) {
            let newest = places.0.entry(segment).or_default();
            *newest = sequence.max(*newest);
        }
        places
    }

    /// The newest of all.
    pub(super) fn newest(&self) -> Option<(u64, Uuid)> {
        let all = self
            .0
            .iter()
            .map(|(segment, sequence)| (*sequence, *segment));
        all.max()
    }
}

/// The record and the segment that a checkpoint is of, by the name of its object.
pub(super) fn place_of(name: &str) -> Option<(u64, Uuid)> {
    let name = name.rsplit('/').next()?.strip_suffix(".note")?;
    let (sequence, segment) = name.split_once('-')?;
    Some((sequence.parse().ok()?, segment.parse().ok()?))
}

/// Segments that are there and not whole.
#[derive(Debug, Default)]
pub(super) struct Damaged(HashSet<Uuid>);

impl Damaged {
    /// What lies under this name is not the whole segment.
    pub(super) fn add(&mut self, name: &str) {
        let own = name.rsplit('/').next();
        let id = own.and_then(|own| own.strip_suffix(".cgseg")?.split_once('-'));
        self.0
            .extend(id.and_then(|(_, id)| id.parse::<Uuid>().ok()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_of_the_newest_checkpoint_may_still_have_been_written() {
        let name = |sequence: u64, segment: u128| {
            let segment = Uuid::from_u128(segment);
            format!("checkpoints/{sequence:020}-{segment}.note")
        };
        let names = [
            name(9, 1),
            name(5, 1),
            name(20, 2),
            name(31, 3),
            name(30, 3),
        ];
        let places = Places::of(&names);
        assert_eq!(places.newest(), Some((31, Uuid::from_u128(3))));
        let gaps = Chain::default().gaps(&places, &[], &Damaged::default());
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert!(gaps[0].contains("a checkpoint of record 9"), "{gaps:?}");
        let mut damaged = Damaged::default();
        let id = Uuid::from_u128(1);
        damaged.add(&format!("segments/{:020}-{id}.cgseg", 1));
        let gaps = Chain::default().gaps(&places, &[], &damaged);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
    }

    #[test]
    fn other_names_are_no_places() {
        for name in [
            "checkpoints/x",
            "checkpoints/../../etc/passwd.note",
            "checkpoints/1-2.note",
        ] {
            assert_eq!(place_of(name), None, "{name}");
        }
    }
}
