//! Numbers in place of people.
//!
//! *Never*: two numbers for one person of whom one record says the stable id and the name, and another the name alone; one
//! number for two people of one name whose stable ids are known.

use std::collections::BTreeMap;

use crate::audit::query::answer::Answer;

/// The numbers that people have in one report.
#[derive(Debug)]
pub(super) struct Numbers {
    ids: BTreeMap<String, usize>,
    names: BTreeMap<String, Known>,
    last: usize,
}

/// The number of a name, and whether a stable id was seen with it.
#[derive(Debug, Clone, Copy)]
struct Known {
    number: usize,
    by_id: bool,
}

impl Numbers {
    pub(super) const fn new() -> Self {
        Self {
            ids: BTreeMap::new(),
            names: BTreeMap::new(),
            last: 0,
        }
    }

    /// What stands in place of the name of whoever acted.
    pub(super) fn of(&mut self, answer: &Answer) -> String {
        format!(
            "staff member {}",
            self.number(&answer.user_id, &answer.user)
        )
    }

    fn number(&mut self, id: &str, name: &str) -> usize {
        let by_id = !id.is_empty();
        let named = self.names.get(name).copied();
        // A name that has a number, and no stable id of its own yet, is this person's.
        let same = named.filter(|known| !by_id || !known.by_id);
        let known = self.ids.get(id).copied();
        let number = known.or(same.map(|known| known.number));
        let number = number.unwrap_or_else(|| {
            self.last = self.last.saturating_add(1);
            self.last
        });
        if by_id {
            self.ids.insert(id.to_owned(), number);
        }
        if named.is_none() || (same.is_some() && by_id) {
            self.names.insert(name.to_owned(), Known { number, by_id });
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_one_number_by_id_and_by_name() {
        let mut numbers = Numbers::new();
        assert_eq!(numbers.number("", "lind"), 1);
        assert_eq!(numbers.number("main|7", "lind"), 1);
        assert_eq!(numbers.number("main|7", "lind-moss"), 1);
        assert_eq!(numbers.number("", "lind-moss"), 1);
        // Somebody else of the same name.
        assert_eq!(numbers.number("lab|7", "lind"), 2);
        assert_eq!(numbers.number("lab|7", "lind"), 2);
        assert_eq!(numbers.number("", "lind"), 1);
        assert_eq!(numbers.number("", "okafor"), 3);
    }
}
