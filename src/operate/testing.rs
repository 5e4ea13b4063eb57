//! A store, a trail and a clock for the unit tests of these rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::entry::Entry;
use crate::audit::fixture::{configured, limits};
use crate::audit::log::{MasterKey, RealFiles, Truncation};
use crate::audit::show::{Filter, Show};
use crate::audit::trail::Audit;
use crate::clock::{ManualClock, SharedClock};
use crate::config;
use crate::request::Event;
use crate::secret::Secret;
use crate::store::{MemoryStore, Store};

/// What rooms stand on.
pub(crate) struct Ground {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) audit: Audit,
    pub(crate) config: config::Audit,
    _home: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let master = Secret::new(vec![7; 32]);
        let store = Store::open(Box::new(MemoryStore::new()), &master, shared.clone())
            .await
            .unwrap();
        let config = config::Audit {
            directory: home.path().join("trail"),
            checkpoint_records: 1,
            ..configured(home.path())
        };
        let limits = limits();
        let opened = Audit::open(
            &config,
            &limits,
            Arc::new(RealFiles),
            shared,
            Truncation::Refuse,
        );
        let (audit, _) = opened.await.unwrap();
        Self {
            clock,
            store,
            audit,
            config,
            _home: home,
        }
    }

    pub(crate) fn shared_clock(&self) -> SharedClock {
        Arc::<ManualClock>::clone(&self.clock)
    }

    pub(crate) fn trail(&self) -> Vec<Entry> {
        let master = Arc::new(MasterKey::read(&self.config.master_key).unwrap());
        let end = self.audit.log().status().sequence;
        let mut show = Show::new(
            Arc::new(RealFiles),
            &self.config.directory,
            master,
            Filter::default(),
            end,
        );
        std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
    }

    /// The particulars of every `event` on the trail.
    pub(crate) fn recorded(&self, event: Event) -> Vec<BTreeMap<String, String>> {
        let entries = self.trail().into_iter();
        entries
            .filter(|entry| entry.event == Some(event))
            .map(|entry| entry.detail)
            .collect()
    }
}
