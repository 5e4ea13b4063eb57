//! A room's state: in memory for whoever asks, in the store for the next start; and which of its alarms were given.
//!
//! *On failure*: [`StoreError`]; memory has what is, the store what was, so that nothing is tried again and again meanwhile.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{NEVER, Store, StoreError, Table};

/// The state in memory, and which alarms have been given.
#[derive(Debug)]
pub struct Remembered<T> {
    key: &'static str,
    state: Mutex<T>,
    loud: Mutex<BTreeSet<&'static str>>,
}

impl<T: Clone + Serialize + Sync> Remembered<T> {
    /// A state that is kept under this key in the table of upkeep.
    #[must_use]
    pub const fn new(key: &'static str, state: T) -> Self {
        Self {
            key,
            state: Mutex::new(state),
            loud: Mutex::new(BTreeSet::new()),
        }
    }

    /// The state as it is.
    #[must_use]
    pub fn state(&self) -> T {
        lock(&self.state).clone()
    }

    /// Keeps another one.
    ///
    /// # Errors
    /// [`StoreError`]; the next start will not know it.
    pub async fn keep(&self, store: &Store, state: T) -> Result<(), StoreError> {
        *lock(&self.state) = state.clone();
        store.keep(Table::Upkeep, self.key, &state, NEVER).await
    }

    /// Whether this alarm is news.
    #[must_use]
    pub fn loud(&self, rule: &'static str) -> bool {
        lock(&self.loud).insert(rule)
    }

    /// The reason of an alarm is gone.
    pub fn quiet(&self, rule: &'static str) {
        lock(&self.loud).remove(rule);
    }
}

/// What the store keeps under a key in the table of upkeep. What a later version wrote and this one cannot read is not
/// known.
///
/// # Errors
/// [`StoreError`] where it does not answer.
pub async fn read<T: DeserializeOwned>(store: &Store, key: &str) -> Result<Option<T>, StoreError> {
    let entry = store.get(Table::Upkeep, key).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::secret::Secret;
    use crate::store::memory::{Fault, MemoryStore};

    #[tokio::test]
    async fn a_state_is_kept_and_an_alarm_is_news_once() {
        let home = MemoryStore::new();
        let master = Secret::new(vec![7; 32]);
        let opened = Store::open(Box::new(home.clone()), &master, SystemClock::shared());
        let store = opened.await.unwrap();
        let room = Remembered::new("room", 1_u32);
        room.keep(&store, 2).await.unwrap();
        assert_eq!(read::<u32>(&store, "room").await.unwrap(), Some(2));
        assert_eq!(read::<String>(&store, "room").await.unwrap(), None);
        home.fail(Fault::Everything);
        assert!(room.keep(&store, 3).await.is_err());
        home.fail(Fault::None);
        assert_eq!(room.state(), 3);
        assert_eq!(read::<u32>(&store, "room").await.unwrap(), Some(2));
        assert!(room.loud("late") && !room.loud("late"));
        room.quiet("late");
        assert!(room.loud("late"));
    }
}
