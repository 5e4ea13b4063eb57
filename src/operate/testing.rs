//! A store, a trail and a clock for the unit tests of these rooms.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::entry::Entry;
use crate::audit::log::{MasterKey, RealFiles, SigningKey, Truncation};
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
        let config = configured(home.path());
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

fn limits() -> config::Limits {
    let rate = config::Rate {
        requests: NonZeroU32::MIN,
        per: Duration::from_mins(1),
        burst: NonZeroU32::MIN,
    };
    config::Limits {
        address: rate,
        user: rate,
        actions: BTreeMap::new(),
        login_address: rate,
        login_account: rate,
        anonymous_records: rate,
        max_keys: 10,
    }
}

fn configured(home: &Path) -> config::Audit {
    let (master_key, signing_key) = (home.join("master.key"), home.join("signing.key"));
    MasterKey::generate().unwrap().write(&master_key).unwrap();
    SigningKey::generate("gw1")
        .unwrap()
        .write(&signing_key, &home.join("signing.pub"))
        .unwrap();
    config::Audit {
        directory: home.join("trail"),
        master_key,
        signing_key,
        witnesses: vec![home.join("witness")],
        node: "gw1".to_owned(),
        segment_bytes: 1 << 20,
        checkpoint_records: 1,
        checkpoint_interval: Duration::from_secs(10),
        reserve_bytes: 0,
        retention_years: 6,
    }
}
