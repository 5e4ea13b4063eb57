//! What every home of the store must do, run against each of them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::memory::Fault;
use super::*;
use crate::clock::{Clock, ManualClock};

struct Bench {
    store: Store,
    clock: Arc<ManualClock>,
    _home: tempfile::TempDir,
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(
        Timestamp::from_second(1_800_000_000).unwrap(),
    ))
}

fn master() -> Secret<Vec<u8>> {
    Secret::new(vec![1; 32])
}

async fn benches() -> Vec<Bench> {
    let mut benches = Vec::new();
    for kind in ["memory", "embedded"] {
        let clock = clock();
        let home = tempfile::tempdir().unwrap();
        let backend: Box<dyn Backend> = match kind {
            "memory" => Box::new(MemoryStore::new()),
            _ => Box::new(EmbeddedStore::open(&home.path().join("s")).unwrap()),
        };
        let store = Store::open(backend, &master(), Arc::<ManualClock>::clone(&clock))
            .await
            .unwrap();
        benches.push(Bench {
            store,
            clock,
            _home: home,
        });
    }
    benches
}

impl Bench {
    fn soon(&self) -> Timestamp {
        self.clock
            .now()
            .saturating_add(Duration::from_mins(1))
            .unwrap()
    }

    async fn put(&self, key: &str, value: &str) {
        let soon = self.soon();
        self.store
            .put(
                Table::Sessions,
                key,
                value.as_bytes(),
                soon,
                Durability::Immediate,
            )
            .await
            .unwrap();
    }

    async fn get(&self, key: &str) -> Option<String> {
        let entry = self.store.get(Table::Sessions, key).await.unwrap()?;
        Some(String::from_utf8(entry.value.expose().clone()).unwrap())
    }
}

#[tokio::test]
async fn what_was_put_is_read_and_what_was_deleted_is_not() {
    for b in benches().await {
        assert_eq!(b.get("k").await, None);
        b.put("k", "one").await;
        b.put("k", "two").await;
        assert_eq!(b.get("k").await.as_deref(), Some("two"));
        assert!(b.store.get(Table::Logins, "k").await.unwrap().is_none());
        b.store.delete(Table::Sessions, "k").await.unwrap();
        b.store.delete(Table::Sessions, "k").await.unwrap();
        assert_eq!(b.get("k").await, None);
    }
}

#[tokio::test]
async fn a_value_is_taken_once_by_one_of_many() {
    for b in benches().await {
        b.put("k", "one").await;
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let store = b.store.clone();
                tokio::spawn(async move { store.take(Table::Sessions, "k").await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for call in calls {
            taken += usize::from(call.await.unwrap().is_some());
        }
        assert_eq!(taken, 1);
        assert_eq!(b.get("k").await, None);
    }
}

#[tokio::test]
async fn of_concurrent_insertions_exactly_one_stores() {
    for b in benches().await {
        let soon = b.soon();
        let calls: Vec<_> = (0..8)
            .map(|n| {
                let store = b.store.clone();
                tokio::spawn(async move {
                    let durability = Durability::Immediate;
                    store
                        .insert_if_absent(Table::Revocations, "jti", &[n], soon, durability)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut stored = 0;
        for call in calls {
            stored += usize::from(call.await.unwrap() == Insertion::Stored);
        }
        assert_eq!(stored, 1);
    }
}

#[tokio::test]
async fn replacing_does_not_bring_back_what_was_deleted_or_expired() {
    for b in benches().await {
        let soon = b.soon();
        let replace = || {
            b.store
                .replace(Table::Sessions, "k", b"new", soon, Durability::Relaxed)
        };
        assert_eq!(replace().await.unwrap(), Replacement::Absent);
        b.put("k", "old").await;
        assert_eq!(replace().await.unwrap(), Replacement::Replaced);
        assert_eq!(b.get("k").await.as_deref(), Some("new"));
        b.clock.advance(Duration::from_mins(1));
        assert_eq!(replace().await.unwrap(), Replacement::Absent);
        b.store.delete(Table::Sessions, "k").await.unwrap();
        assert_eq!(replace().await.unwrap(), Replacement::Absent);
        assert_eq!(b.get("k").await, None);
    }
}

#[tokio::test]
async fn expired_values_are_never_returned_and_are_swept() {
    for b in benches().await {
        // More than one page, so that the sweep takes several steps.
        for n in 0..(Store::PAGE + 20) {
            let durability = Durability::Relaxed;
            let key = format!("{n:05}");
            b.store
                .put(Table::Logins, &key, b"x", b.soon(), durability)
                .await
                .unwrap();
        }
        b.clock.advance(Duration::from_secs(59));
        b.put("fresh", "x").await;
        assert_eq!(b.store.sweep().await.unwrap(), 0);
        b.clock.advance(Duration::from_secs(1));
        let gone = b.store.get(Table::Logins, "00000").await.unwrap();
        assert!(gone.is_none());
        assert!(
            b.store
                .take(Table::Logins, "00001")
                .await
                .unwrap()
                .is_none()
        );
        let page = b.store.scan(Table::Logins, None).await.unwrap();
        assert!(page.entries.is_empty());
        let soon = b.soon();
        let again = b
            .store
            .insert_if_absent(Table::Logins, "00002", b"y", soon, Durability::Immediate)
            .await
            .unwrap();
        assert_eq!(again, Insertion::Stored);
        let swept = b.store.sweep().await.unwrap();
        assert_eq!(swept, Store::PAGE as u64 + 18);
        assert_eq!(b.get("fresh").await.as_deref(), Some("x"));
    }
}

#[tokio::test]
async fn a_scan_sees_every_key_once_in_order() {
    for b in benches().await {
        let total = Store::PAGE * 2 + 3;
        for n in 0..total {
            let durability = Durability::Relaxed;
            let key = format!("{n:05}");
            b.store
                .put(Table::Sessions, &key, b"x", b.soon(), durability)
                .await
                .unwrap();
        }
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let page = b
                .store
                .scan(Table::Sessions, after.as_deref())
                .await
                .unwrap();
            assert!(page.entries.len() <= Store::PAGE);
            keys.extend(page.entries.into_iter().map(|(key, _)| key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> = (0..total).map(|n| format!("{n:05}")).collect();
        assert_eq!(keys, expected);
    }
}

#[tokio::test]
async fn a_new_epoch_ends_sessions_but_not_revocations() {
    for b in benches().await {
        b.put("k", "one").await;
        let durability = Durability::Immediate;
        b.store
            .put(Table::Revocations, "jti", b"x", b.soon(), durability)
            .await
            .unwrap();
        let before = b.store.epoch();
        assert_ne!(b.store.bump_epoch().await.unwrap(), before);
        assert_eq!(b.get("k").await, None);
        assert!(
            b.store
                .get(Table::Revocations, "jti")
                .await
                .unwrap()
                .is_some()
        );
        b.put("k", "two").await;
        assert_eq!(b.get("k").await.as_deref(), Some("two"));
    }
}

#[tokio::test]
async fn a_restored_backup_holds_no_session_after_the_epoch_is_bumped() {
    let home = MemoryStore::new();
    let master = master();
    let open = |home: &MemoryStore| Store::open(Box::new(home.clone()), &master, clock());
    let store = open(&home).await.unwrap();
    let expires = clock()
        .now()
        .saturating_add(Duration::from_hours(1))
        .unwrap();
    let durability = Durability::Immediate;
    store
        .put(Table::Sessions, "revoked", b"x", expires, durability)
        .await
        .unwrap();
    let backup = home.snapshot();
    store.delete(Table::Sessions, "revoked").await.unwrap();
    let restored = open(&backup).await.unwrap();
    let get = || restored.get(Table::Sessions, "revoked");
    assert!(get().await.unwrap().is_some());
    restored.bump_epoch().await.unwrap();
    assert!(get().await.unwrap().is_none());
    // And it stays that way when the process starts again.
    let again = open(&backup).await.unwrap();
    assert_eq!(again.epoch(), restored.epoch());
    assert!(
        again
            .get(Table::Sessions, "revoked")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn relaxed_writes_are_on_disk_after_a_sweep_and_values_are_not_in_clear() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    let clock = clock();
    let expires = clock.now().saturating_add(Duration::from_hours(1)).unwrap();
    let shared = || -> SharedClock { Arc::<ManualClock>::clone(&clock) };
    let canary = b"canary-5f1d7a90";
    {
        let store = Store::embedded(&path, &master(), shared()).await.unwrap();
        let durability = Durability::Relaxed;
        store
            .put(Table::Sessions, "k", canary, expires, durability)
            .await
            .unwrap();
        store.sweep().await.unwrap();
        let on_disk = std::fs::read(&path).unwrap();
        assert!(!on_disk.windows(canary.len()).any(|w| w == canary));
    }
    let store = Store::embedded(&path, &master(), shared()).await.unwrap();
    let entry = store.get(Table::Sessions, "k").await.unwrap().unwrap();
    assert_eq!(entry.value.expose().as_slice(), canary);
    drop(store);
    let other = Secret::new(vec![2; 32]);
    let wrong = Store::embedded(&path, &other, shared()).await;
    assert!(matches!(wrong, Err(StoreError::Sealed { .. })));
}

#[tokio::test]
async fn a_home_that_fails_is_unavailable_and_never_empty() {
    let home = MemoryStore::new();
    let store = Store::open(Box::new(home.clone()), &master(), clock())
        .await
        .unwrap();
    home.fail(Fault::Everything);
    let soon = clock()
        .now()
        .saturating_add(Duration::from_mins(1))
        .unwrap();
    let (table, durability) = (Table::Sessions, Durability::Immediate);
    let unavailable = [
        store.get(table, "k").await.err(),
        store.take(table, "k").await.err(),
        store.delete(table, "k").await.err(),
        store.scan(table, None).await.err(),
        store.put(table, "k", b"", soon, durability).await.err(),
        store
            .insert_if_absent(table, "k", b"", soon, durability)
            .await
            .err(),
        store.replace(table, "k", b"", soon, durability).await.err(),
        store.sweep().await.err(),
        store.bump_epoch().await.err(),
    ];
    for error in unavailable {
        assert!(matches!(error, Some(StoreError::Unavailable(_))));
    }
}

#[tokio::test]
async fn a_value_that_was_moved_does_not_open() {
    let home = MemoryStore::new();
    let store = Store::open(Box::new(home.clone()), &master(), clock())
        .await
        .unwrap();
    let soon = clock()
        .now()
        .saturating_add(Duration::from_mins(1))
        .unwrap();
    let durability = Durability::Immediate;
    store
        .put(Table::Sessions, "mine", b"x", soon, durability)
        .await
        .unwrap();
    let cell = home
        .get(Table::Sessions, "mine".to_owned())
        .await
        .unwrap()
        .unwrap();
    home.put(Table::Sessions, "yours".to_owned(), cell, durability)
        .await
        .unwrap();
    let moved = store.get(Table::Sessions, "yours").await;
    assert!(matches!(
        moved,
        Err(StoreError::Sealed { table: "sessions" })
    ));
    // A scan passes it over and still yields the rest.
    let page = store.scan(Table::Sessions, None).await.unwrap();
    assert_eq!(page.entries.len(), 1);
}
