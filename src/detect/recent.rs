//! A map that keeps what was used last, up to a limit.

use std::collections::BTreeMap;

/// Keys with values; beyond the limit the key that was not touched for longest is forgotten.
#[derive(Debug, Clone)]
pub(super) struct Recent<K, V> {
    limit: usize,
    values: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            values: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// The value under `key`, made if there is none. What had to be forgotten for it is returned beside it.
    pub(super) fn touch(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, Option<V>) {
        self.next = self.next.saturating_add(1);
        let (next, limit) = (self.next, self.limit);
        let forgotten = if !self.values.contains_key(key) && self.values.len() >= limit {
            self.forget_oldest()
        } else {
            None
        };
        let (touched, value) = self
            .values
            .entry(key.clone())
            .or_insert_with(|| (next, make()));
        self.order.remove(touched);
        *touched = next;
        self.order.insert(next, key.clone());
        (value, forgotten)
    }

    /// The value under `key`, which counts as no use of it.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (touched, value) = self.values.remove(key)?;
        self.order.remove(&touched);
        Some(value)
    }

    /// Forgets the key that was not touched for longest.
    pub(super) fn forget_oldest(&mut self) -> Option<V> {
        let (_, oldest) = self.order.pop_first()?;
        self.values.remove(&oldest).map(|(_, value)| value)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Keys and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, (_, value))| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_used_last_is_kept() {
        let mut recent = Recent::new(2);
        *recent.touch(&"a", || 0).0 = 1;
        *recent.touch(&"b", || 0).0 = 2;
        assert_eq!(*recent.touch(&"a", || 0).0, 1);
        let (_, forgotten) = recent.touch(&"c", || 3);
        assert_eq!(forgotten, Some(2));
        assert_eq!(recent.peek(&"b"), None);
        assert_eq!(recent.remove(&"a"), Some(1));
        assert_eq!(recent.len(), 1);
    }

    proptest! {
        #[test]
        fn the_limit_holds(limit in 1_usize..5, keys in prop::collection::vec(0_u8..9, 0..60)) {
            let mut recent = Recent::new(limit);
            for key in keys {
                recent.touch(&key, || ());
                prop_assert!(recent.len() <= limit && recent.peek(&key).is_some());
                prop_assert_eq!(recent.order.len(), recent.len());
            }
        }
    }
}
