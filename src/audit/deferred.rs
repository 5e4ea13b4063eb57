//! Events that nobody waits for and that the trail did not take: kept until it takes records again.
//!
//! *Owns*: the queue, bounded in number and bytes.
//! *Never*: waits, or lets a later event overtake an earlier one.
//! *On failure*: where there is no more room the event is dropped and counted, and the count goes on record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Entry;
use super::events;
use super::log::{Log, Payload, Priority};
use super::trail::{Audit, payload};
use crate::request::{Event, Facts};

/// Events kept at most: a clinic's sessions of an hour.
const MOST: usize = 4096;
/// The same in bytes.
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
struct Kept {
    priority: Priority,
    payload: Payload,
}

#[derive(Debug, Default)]
struct Inner {
    kept: VecDeque<Kept>,
    bytes: usize,
    /// By the event's name.
    dropped: BTreeMap<&'static str, u64>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Deferred {
    most: usize,
    most_bytes: usize,
    inner: Mutex<Inner>,
    /// Whether there is anything to be put on record: asked with each record.
    waiting: AtomicBool,
}

impl Default for Deferred {
    fn default() -> Self {
        Self::new(MOST, MOST_BYTES)
    }
}

impl Deferred {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            most,
            most_bytes,
            inner: Mutex::default(),
            waiting: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event behind those that wait already.
    fn keep(&self, event: Event, payload: Payload) {
        let mut inner = self.lock();
        self.waiting.store(true, Ordering::Release);
        let bytes = inner.bytes.saturating_add(payload.bytes().len());
        if inner.kept.len() >= self.most || bytes > self.most_bytes {
            let count = inner.dropped.entry(events::name(event)).or_default();
            *count = count.saturating_add(1);
            return;
        }
        let priority = events::traits(event).priority;
        inner.bytes = bytes;
        inner.kept.push_back(Kept { priority, payload });
    }

    /// Hands the log what waits, in order, for as long as it takes any; `told` makes the record of what was dropped.
    fn flush(&self, log: &Log, told: impl FnOnce(&BTreeMap<&'static str, u64>) -> Option<Payload>) {
        if !self.waiting.load(Ordering::Acquire) {
            return;
        }
        let mut inner = self.lock();
        while let Some(next) = inner.kept.pop_front() {
            let Ok([slot]) = log.reserve::<1>(next.priority) else {
                inner.kept.push_front(next);
                return;
            };
            inner.bytes = inner.bytes.saturating_sub(next.payload.bytes().len());
            slot.append_unwaited(next.payload);
        }
        if !inner.dropped.is_empty() {
            let Ok([slot]) = log.reserve::<1>(Priority::Care) else {
                return;
            };
            if let Some(payload) = told(&inner.dropped) {
                slot.append_unwaited(payload);
            }
            inner.dropped.clear();
        }
        self.waiting.store(false, Ordering::Release);
    }
}

impl Audit {
    /// Puts an event on record without waiting. Where the trail takes no records just now (it is busy, or its disk
    /// fails or hangs), the event is kept, and written when it does.
    pub fn event_unwaited(
        &self,
        event: Event,
        facts: Option<Facts>,
        detail: BTreeMap<String, String>,
    ) {
        let entry = Entry::event(&self.shared.node, self.now(), event, facts, detail);
        match payload(&entry) {
            Ok(payload) => self.shared.deferred.keep(event, payload),
            Err(error) => {
                tracing::error!(%error, entry = %entry.id, "a record could not be written");
            }
        }
        self.flush_deferred();
    }

    /// Hands over what [`Self::event_unwaited`] kept.
    pub(super) fn flush_deferred(&self) {
        self.shared.deferred.flush(&self.log, |dropped| {
            let count = dropped
                .values()
                .fold(0, |sum: u64, n| sum.saturating_add(*n));
            let named = dropped.iter().map(|(name, n)| format!("{name} {n}"));
            let named: Vec<String> = named.collect();
            tracing::error!(count, events = named.join(", "), "events were not recorded");
            let detail = BTreeMap::from([
                ("what".to_owned(), "events dropped".to_owned()),
                ("dropped".to_owned(), count.to_string()),
                ("events".to_owned(), named.join(", ")),
            ]);
            let event = Event::AuditRestored;
            let entry = Entry::event(&self.shared.node, self.now(), event, None, detail);
            payload(&entry).ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::fixture;
    use crate::audit::log::fault::{FaultyFiles, Injection};
    use crate::audit::log::{MasterKey, Truncation};
    use crate::audit::show::{Filter, Show};
    use crate::clock::SystemClock;
    use crate::config;

    async fn open(config: &config::Audit, files: &FaultyFiles) -> Audit {
        let limits = fixture::limits();
        let opened = Audit::open(
            config,
            &limits,
            Arc::new(files.clone()),
            SystemClock::shared(),
            Truncation::Refuse,
        );
        opened.await.unwrap().0
    }

    fn ended(audit: &Audit, number: u32) {
        let detail = BTreeMap::from([("session".to_owned(), number.to_string())]);
        audit.event_unwaited(Event::SessionEnded, None, detail);
    }

    /// Waits until the trail takes records again.
    async fn until_it_goes_on(audit: &Audit) {
        while audit
            .event(Event::AuditRead, None, BTreeMap::new())
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    }

    fn entries(config: &config::Audit, files: &FaultyFiles) -> Vec<Entry> {
        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let files = Arc::new(files.clone());
        let all = Filter::default();
        let mut show = Show::new(files, &config.directory, master, all, u64::MAX);
        std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
    }

    #[tokio::test]
    async fn what_ends_while_the_trail_fails_is_on_record_when_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let config = fixture::configured(dir.path());
        for injection in [Injection::Broken, Injection::ReadOnly] {
            let files = FaultyFiles::new();
            let audit = open(&config, &files).await;
            files.begin(injection);
            let failed = audit.event(Event::AuditRead, None, BTreeMap::new()).await;
            assert!(failed.is_err());
            assert!(audit.log().reserve::<1>(Priority::Care).is_err());
            for number in 0..5 {
                ended(&audit, number);
            }
            files.repair();
            until_it_goes_on(&audit).await;
            ended(&audit, 5);
            audit.log().shutdown().unwrap();
            let sessions: Vec<String> = entries(&config, &files)
                .into_iter()
                .filter(|entry| entry.event == Some(Event::SessionEnded))
                .map(|entry| entry.detail["session"].clone())
                .collect();
            assert_eq!(sessions, ["0", "1", "2", "3", "4", "5"], "{injection:?}");
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_counted_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let config = fixture::configured(dir.path());
        let files = FaultyFiles::new();
        let audit = open(&config, &files).await;
        // Every slot is taken: the trail is busy.
        let mut slots = Vec::new();
        while let Ok([slot]) = audit.log().reserve::<1>(Priority::Care) {
            slots.push(slot);
        }
        let more = u32::try_from(MOST).unwrap() + 7;
        for number in 0..more {
            ended(&audit, number);
        }
        drop(slots);
        audit.flush_sums().await.unwrap();
        audit.log().shutdown().unwrap();
        let entries = entries(&config, &files);
        let of = |event: Event| {
            entries
                .iter()
                .filter(move |entry| entry.event == Some(event))
        };
        assert_eq!(of(Event::SessionEnded).count(), MOST);
        let told = &of(Event::AuditRestored).next().unwrap().detail;
        assert_eq!(told["dropped"], "7");
        assert_eq!(told["events"], "session-ended 7");
        assert_eq!(of(Event::AuditRestored).count(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let deferred = Deferred::new(3, 100);
        let payload = |bytes: usize| Payload::new(vec![0; bytes]).unwrap();
        deferred.keep(Event::SessionEnded, payload(90));
        deferred.keep(Event::SessionEnded, payload(20));
        deferred.keep(Event::RolesChanged, payload(5));
        deferred.keep(Event::ScreenLocked, payload(5));
        deferred.keep(Event::ScreenLocked, payload(0));
        let inner = deferred.lock();
        assert_eq!((inner.kept.len(), inner.bytes), (3, 100));
        let dropped = BTreeMap::from([("session-ended", 1), ("screen-locked", 1)]);
        assert_eq!(inner.dropped, dropped);
    }
}
