//! Whether archived segments continue one another.

use std::collections::HashMap;

use uuid::Uuid;

use crate::audit::log::{Head, Outline};

/// The segments of an archive, one after the other.
#[derive(Debug, Default)]
pub(super) struct Chain {
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
                    "{missing} segments behind number {} are missing",
                    before.number
                ));
            }
            let continues = previous.segment == before.segment
                && previous.sequence == before.last
                && previous.head == before.head;
            (!continues).then(|| "it does not continue the segment before it".to_owned())
        });
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

    /// The last record.
    pub(super) fn last(&self) -> Option<u64> {
        self.newest.as_ref().map(|link| link.last)
    }

    /// Where a segment ends, if it is one of these.
    pub(super) fn end_of(&self, segment: &Uuid) -> Option<(u64, Head)> {
        self.ends.get(segment).copied()
    }
}
