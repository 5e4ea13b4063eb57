//! What the trail says of holds, beside what the store remembers: one that was restored from an older backup forgot some.
//!
//! A hold is the same where number, matter and scope are: older versions gave a number out again after such a restore.

use std::collections::BTreeMap;

use super::{Book, HoldError, Holds, KEY, Scope};
use crate::audit::entry::Entry;
use crate::request::Event;
use crate::store::{NEVER, Table};

/// The holds that were set and not released, as records say it; they are looked at in order.
#[derive(Debug, Default)]
pub struct Recorded {
    in_force: BTreeMap<u64, Vec<Named>>,
}

/// A hold as it is named on record.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    matter: String,
    /// Nothing where it cannot be read: nobody knows such a hold.
    scope: Option<Scope>,
}

impl Recorded {
    /// Looks at the next record.
    pub fn see(&mut self, entry: &Entry) {
        let Some(id) = number(&entry.detail) else {
            return;
        };
        let named = Named {
            matter: entry.detail.get("matter").cloned().unwrap_or_default(),
            scope: scope(&entry.detail),
        };
        if entry.event == Some(Event::LegalHoldSet) {
            self.in_force.entry(id).or_default().push(named);
        } else if entry.event == Some(Event::LegalHoldReleased)
            && let Some(of_it) = self.in_force.get_mut(&id)
        {
            of_it.retain(|set| *set != named);
        }
    }

    /// The first hold that the book does not know: its number and its matter.
    #[must_use]
    pub fn forgotten(&self, book: &Book) -> Option<(u64, &str)> {
        let all = self
            .in_force
            .iter()
            .flat_map(|(id, named)| named.iter().map(move |named| (*id, named)));
        let mut unknown = all.filter(|(id, named)| {
            let scope = named.scope.as_ref();
            scope.is_none_or(|scope| !book.knows(*id, &named.matter, scope))
        });
        unknown
            .next()
            .map(|(id, named)| (id, named.matter.as_str()))
    }
}

/// The number of the hold that a record is about.
#[must_use]
pub fn number(detail: &BTreeMap<String, String>) -> Option<u64> {
    detail.get("hold")?.parse().ok()
}

fn scope(detail: &BTreeMap<String, String>) -> Option<Scope> {
    let time = |name: &str| detail.get(name).map(|text| text.parse()).transpose();
    Some(Scope {
        patient: detail.get("patient").cloned(),
        user: detail.get("held_user").cloned(),
        since: time("since").ok()?,
        until: time("until").ok()?,
    })
}

impl Book {
    /// Whether a hold that is on record as set and not released is known: one of the same matter and scope is in force.
    ///
    /// One that was released counts only where it was set later: who set it saw that this one was forgotten, for it is
    /// not in the book, and somebody else released what took its place.
    #[must_use]
    pub fn knows(&self, id: u64, matter: &str, scope: &Scope) -> bool {
        let mut alike = self
            .holds
            .iter()
            .filter(|hold| hold.matter == matter && hold.scope == *scope);
        alike.any(|hold| hold.released.is_none() || hold.id > id)
    }
}

impl Holds {
    /// Numbers up to this one are on record: none of them is given out again.
    ///
    /// # Errors
    /// [`HoldError`].
    pub async fn given_out(&self, newest: u64) -> Result<(), HoldError> {
        let _alone = self.settle().await;
        let entry = self.store.get(Table::Upkeep, KEY).await?;
        let book = entry.map(|entry| serde_json::from_slice::<Book>(entry.value.expose()));
        let mut book = book.transpose()?.unwrap_or_default();
        if book.count < newest {
            book.count = newest;
            self.store.keep(Table::Upkeep, KEY, &book, NEVER).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture;

    fn record(event: Event, id: &str, matter: &str, more: &[(&str, &str)]) -> Entry {
        let detail = [&[("hold", id), ("matter", matter)][..], more].concat();
        fixture::event(event, None, &detail).entry
    }

    fn book(holds: &serde_json::Value) -> Book {
        serde_json::from_value(serde_json::json!({ "count": 9, "holds": holds })).unwrap()
    }

    fn hold(id: u64, scope: &serde_json::Value, released: bool) -> serde_json::Value {
        let time = "2026-11-25T00:00:00Z";
        let mut hold = serde_json::json!({
            "id": id, "matter": "m", "scope": scope, "reason": "r", "by": "alice", "at": time,
        });
        if released {
            hold["released"] = serde_json::json!({ "by": "bob", "at": time, "reason": "r" });
        }
        hold
    }

    fn recorded(entries: &[Entry]) -> Recorded {
        let mut recorded = Recorded::default();
        for entry in entries {
            recorded.see(entry);
        }
        recorded
    }

    #[test]
    fn a_hold_is_known_by_matter_and_scope_not_by_its_matter_alone() {
        let patient = serde_json::json!({ "patient": "4" });
        let user = serde_json::json!({ "user": "x", "since": "2026-01-01T00:00:00Z" });
        let set = [
            record(Event::LegalHoldSet, "1", "m", &[("patient", "4")]),
            record(
                Event::LegalHoldSet,
                "2",
                "m",
                &[("held_user", "x"), ("since", "2026-01-01T00:00:00Z")],
            ),
        ];
        let recorded = recorded(&set);
        let only_first = serde_json::json!([hold(1, &patient, false)]);
        assert_eq!(recorded.forgotten(&book(&only_first)), Some((2, "m")));
        let both = serde_json::json!([hold(1, &patient, false), hold(2, &user, false)]);
        assert_eq!(recorded.forgotten(&book(&both)), None);
        // A released one knows nothing, unless it was set in place of the one that was forgotten.
        let released = serde_json::json!([hold(1, &patient, false), hold(2, &user, true)]);
        assert_eq!(recorded.forgotten(&book(&released)), Some((2, "m")));
        let in_its_place = serde_json::json!([hold(1, &patient, false), hold(3, &user, true)]);
        assert_eq!(recorded.forgotten(&book(&in_its_place)), None);
    }

    #[test]
    fn a_number_that_was_given_out_again_hides_nothing() {
        let first = record(Event::LegalHoldSet, "1", "m", &[("patient", "4")]);
        let again = record(Event::LegalHoldSet, "1", "n", &[("patient", "5")]);
        let released = record(Event::LegalHoldReleased, "1", "n", &[("patient", "5")]);
        let all = recorded(&[first, again, released]);
        let none = serde_json::json!([]);
        assert_eq!(all.forgotten(&book(&none)), Some((1, "m")));
        let released = record(Event::LegalHoldReleased, "1", "m", &[("patient", "4")]);
        let mut all = all;
        all.see(&released);
        assert_eq!(all.forgotten(&book(&none)), None);
        // What cannot be read is nothing that anybody knows.
        let torn = record(Event::LegalHoldSet, "7", "m", &[("since", "yesterday")]);
        assert_eq!(recorded(&[torn]).forgotten(&book(&none)), Some((7, "m")));
    }
}
