//! A map that keeps a bounded number of entries and forgets the oldest first.

use std::collections::{HashMap, VecDeque};

/// A bounded map from an opaque token to `V`.
#[derive(Debug)]
pub(super) struct Recent<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
    most: usize,
}

impl<V> Recent<V> {
    /// An empty map that keeps at most `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// Stores a value, forgetting the oldest entries where there is no room.
    pub(super) fn insert(&mut self, token: String, value: V) {
        if self.entries.insert(token.clone(), value).is_none() {
            self.order.push_back(token);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    /// The value of this token.
    pub(super) fn find(&self, token: &str) -> Option<&V> {
        self.entries.get(token)
    }

    /// The value of this token, to be changed.
    pub(super) fn find_mut(&mut self, token: &str) -> Option<&mut V> {
        self.entries.get_mut(token)
    }

    /// Forgets this token.
    pub(super) fn remove(&mut self, token: &str) -> Option<V> {
        let removed = self.entries.remove(token)?;
        self.order.retain(|kept| kept != token);
        Some(removed)
    }

    /// All entries, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries
            .iter()
            .map(|(token, value)| (token.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_holds_more_than_it_may_and_always_the_newest(
            tokens in prop::collection::vec("[a-f]{1,2}", 1..60),
        ) {
            let mut recent = Recent::new(5);
            for (index, token) in tokens.iter().enumerate() {
                recent.insert(token.clone(), index);
                prop_assert!(recent.iter().count() <= 5);
                prop_assert_eq!(recent.find(token), Some(&index));
            }
        }
    }

    #[test]
    fn removed_entries_free_their_place() {
        let mut recent = Recent::new(2);
        recent.insert("a".to_owned(), 1);
        recent.insert("b".to_owned(), 2);
        assert_eq!(recent.remove("a"), Some(1));
        assert_eq!(recent.remove("a"), None);
        recent.insert("c".to_owned(), 3);
        assert_eq!(recent.find("b"), Some(&2));
        assert_eq!(recent.find("c"), Some(&3));
    }
}
