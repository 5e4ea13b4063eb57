//! Backups of a small gateway's data, made, altered, and brought back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::audit::log::{RealFiles, Truncation};
use crate::clock::ManualClock;
use crate::config::BackupTarget;
use crate::config::fixture::{Fixture, TEMPLATE};
use crate::store::{Durability, Table};

/// A gateway's data without a gateway.
pub(super) struct Place {
    fixture: Fixture,
    config: Config,
    audit: Audit,
    store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) backups: Backups,
}

const SOURCE: &str = "[[backup.source]]\nname = \"dump\"\ncommand = [\"echo\", \"rows\"]\n\n\
    [[backup.source]]\nname = \"files\"\ndirectory = \"emr\"\n\n[admin]\n";

impl Place {
    pub(super) async fn open() -> Self {
        let fixture = Fixture::with_policies();
        for key in ["master", "store", "backup"] {
            let path = fixture.path(&format!("keys/{key}.key"));
            fs::remove_file(&path).unwrap();
            let made = MasterKey::generate().unwrap();
            made.write(&path).unwrap();
            made.write_recovery(&path.with_extension("recovery"))
                .unwrap();
        }
        let signing = fixture.path("keys/signing.key");
        fs::remove_file(&signing).unwrap();
        let made = SigningKey::generate("gw/trail").unwrap();
        made.write(&signing, &fixture.path("keys/signing.pub"))
            .unwrap();
        fixture.write("emr/letters/one.txt", "Dear Ms Canary");
        let text = TEMPLATE.replace("\n[admin]\n", &format!("\n{SOURCE}"));
        fixture.write("chartgate.toml", &text);
        let reading = fixture.read(&text);
        let mut config = reading.config.unwrap();
        config.audit.reserve_bytes = 0;
        config.audit.segment_bytes = 1 << 20;
        let clock = Arc::new(ManualClock::new("2026-11-25T09:00:00Z".parse().unwrap()));
        let (audit, store) = open_parts(&config, &clock).await;
        let backups = room(&config, &store, &audit, &clock).await;
        Self {
            fixture,
            config,
            audit,
            store,
            clock,
            backups,
        }
    }

    pub(super) async fn happen(&self, times: usize) {
        for _ in 0..times {
            self.audit
                .event(Event::PageShown, None, BTreeMap::new())
                .await
                .unwrap();
        }
    }

    fn target(&self) -> PathBuf {
        self.fixture.path("backups")
    }

    fn vault(&self) -> Vault {
        let backup = self.config.backup.as_ref().unwrap();
        Vault::of(&self.config, backup, self.clock.clone()).unwrap()
    }

    fn verified(&self) -> Verified {
        let vault = self.vault();
        let expected = self.backups.state().link_at(&vault.target.describe());
        verify(&vault, None, expected.as_ref()).unwrap()
    }

    /// The same with another target.
    pub(super) async fn with_target(mut self, target: BackupTarget) -> Self {
        self.config.backup.as_mut().unwrap().target = target;
        self.backups = room(&self.config, &self.store, &self.audit, &self.clock).await;
        self
    }

    /// Closes the trail, so that its last checkpoint is with the witness, and opens it again.
    pub(super) async fn reopen(self) -> Self {
        let Self {
            fixture,
            config,
            audit,
            store,
            clock,
            backups,
        } = self;
        drop((backups, store));
        audit.log().shutdown().unwrap();
        drop(audit);
        let (audit, store) = open_parts(&config, &clock).await;
        let backups = room(&config, &store, &audit, &clock).await;
        Self {
            fixture,
            config,
            audit,
            store,
            clock,
            backups,
        }
    }
}

async fn open_parts(config: &Config, clock: &Arc<ManualClock>) -> (Audit, Store) {
    let opened = Audit::open(
        &config.audit,
        &config.limits,
        Arc::new(RealFiles),
        clock.clone(),
        Truncation::Refuse,
    );
    let (audit, _) = opened.await.unwrap();
    let key = MasterKey::read(&config.store.key).unwrap();
    let store = Store::embedded(&config.store.path, &key.derive_input(), clock.clone()).await;
    (audit, store.unwrap())
}

async fn room(config: &Config, store: &Store, audit: &Audit, clock: &Arc<ManualClock>) -> Backups {
    let master = Arc::new(MasterKey::read(&config.audit.master_key).unwrap());
    let opened = Backups::open(config, store.clone(), audit.clone(), master, clock.clone());
    opened.await.unwrap().unwrap()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_was_saved_comes_back_and_is_proven() {
    let place = Place::open().await;
    place.happen(20).await;
    let place = place.reopen().await;
    let put = |table, key| {
        place
            .store
            .put(table, key, b"v", Timestamp::MAX, Durability::Immediate)
    };
    put(Table::Sessions, "s").await.unwrap();
    put(Table::Grants, "g").await.unwrap();
    let first = place.backups.run("alice").await.unwrap();
    assert_eq!(first.problems, Vec::<String>::new());
    place.clock.advance(Duration::from_secs(90));
    let drilled = place.backups.drill("alice", None).await.unwrap();
    assert_eq!(drilled.problems, Vec::<String>::new());
    assert_eq!(
        (drilled.rpo_seconds, drilled.backup.as_str()),
        (90, first.id.as_str())
    );
    assert!(
        drilled.records > 20 && drilled.witnessed.is_some() && drilled.values > 0,
        "{drilled:?}"
    );
    assert!(matches!(place.backups.standing(), Standing::Fine(_)));

    let second = place.backups.run("alice").await.unwrap();
    assert!(
        second.stored < second.bytes,
        "what was there is not stored again: {second:?}"
    );
    let found = place.verified();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(
        (found.backups, found.compared, found.unreferenced),
        (2, true, 0)
    );

    let to = place.fixture.path("restored");
    let vault = place.vault();
    let kept = vault.backup(None).unwrap();
    restore(&vault, &kept.manifest, &to).unwrap();
    assert_eq!(
        fs::read_to_string(to.join("sources/dump/output")).unwrap(),
        "rows\n"
    );
    assert_eq!(
        fs::read_to_string(to.join("sources/files/letters/one.txt")).unwrap(),
        "Dear Ms Canary"
    );
    assert_eq!(
        fs::read(to.join("config/chartgate.toml")).unwrap(),
        fs::read(place.fixture.path("chartgate.toml")).unwrap()
    );
    assert!(to.join("policies/care.cedar").is_file() && to.join("keys/master.recovery").is_file());
    assert!(
        restore(&vault, &kept.manifest, &to).is_err(),
        "nothing is overwritten"
    );
    no_private_key_is_in(&place, &to);
    every_segment_has_its_key(&place, &to);
    let remembered = a_restored_store_is_settled(&place, &to).await;
    // It remembers the backup before its own, and the newer one is not held against the target.
    let remembered = remembered.link_at(&vault.target.describe()).unwrap();
    assert_eq!(remembered.id, first.id);
    let found = verify(&vault, None, Some(&remembered)).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

fn every_segment_has_its_key(place: &Place, to: &Path) {
    use crate::audit::log::{Reader, SEGMENT_KEYS, Sequences};
    let trail = to.join("trail");
    let names = |folder: &str| {
        let mut names: Vec<String> = files_below(&trail.join(folder))
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(SEGMENT_KEYS), names("segments"));
    let master = Arc::new(MasterKey::read(&place.config.audit.master_key).unwrap());
    let mut reader = Reader::new(Arc::new(RealFiles), &trail, master, Sequences::ALL);
    assert!(reader.next_record().unwrap().is_some());
}

#[tokio::test]
async fn a_segment_whose_key_is_missing_is_named() {
    use crate::audit::log::SEGMENT_KEYS;
    let place = Place::open().await;
    let end = place.audit.log().status().sequence;
    let problems = || collect::trail(&place.config, end).unwrap().1;
    assert_eq!(problems(), Vec::<String>::new());
    let keys = files_below(&place.config.audit.directory.join(SEGMENT_KEYS));
    fs::remove_file(&keys[0]).unwrap();
    let said = problems();
    assert!(
        said.len() == 1 && said[0].contains("own key") && said[0].ends_with("is missing"),
        "{said:?}"
    );
}

fn no_private_key_is_in(place: &Place, to: &Path) {
    for key in ["master", "store", "backup", "signing"] {
        let text = fs::read_to_string(place.fixture.path(&format!("keys/{key}.key"))).unwrap();
        // The last line; of the signing key what follows PRIVATE+KEY+name+hash+.
        let line = text.trim().lines().last().unwrap();
        let secret = if key == "signing" {
            line.splitn(5, '+').last().unwrap()
        } else {
            line
        };
        assert!(secret.len() >= 44, "{key}");
        for file in files_below(to) {
            let bytes = fs::read(&file).unwrap();
            let held = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!held, "{} holds {key}.key", file.display());
        }
    }
}

/// It ends every session, and says so once.
async fn a_restored_store_is_settled(place: &Place, to: &Path) -> State {
    let path = to.join("store.redb");
    let key = MasterKey::read(&place.config.store.key).unwrap();
    let restored = Store::embedded(&path, &key.derive_input(), place.clock.clone())
        .await
        .unwrap();
    assert!(restored.get(Table::Sessions, "s").await.unwrap().is_none());
    assert!(restored.get(Table::Grants, "g").await.unwrap().is_some());
    let before = restored.epoch();
    settle(&restored, &path, &place.audit).await.unwrap();
    assert_eq!(restored.epoch(), before.saturating_add(1));
    settle(&restored, &path, &place.audit).await.unwrap();
    assert_eq!(restored.epoch(), before.saturating_add(1), "once");
    State::of(&restored).await.unwrap()
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_found() {
    let place = Place::open().await;
    place.happen(3).await;
    place.backups.run("alice").await.unwrap();
    place.happen(3).await;
    place.backups.run("alice").await.unwrap();
    let stored = files_below(&place.target());
    assert!(stored.len() > 10);
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let strategy = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0_u8..8,
    );
    runner
        .run(&strategy, |(which, at, bit)| {
            let path = which.get(&stored);
            let whole = fs::read(path).unwrap();
            let mut altered = whole.clone();
            altered[at.index(whole.len())] ^= 1 << bit;
            fs::write(path, altered).unwrap();
            let found = place.verified();
            fs::write(path, whole).unwrap();
            prop_assert!(!found.problems.is_empty(), "{}", path.display());
            Ok(())
        })
        .unwrap();
    assert_eq!(place.verified().problems, Vec::<String>::new());
    for path in &stored {
        let whole = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(
            !place.verified().problems.is_empty(),
            "{} is missing",
            path.display()
        );
        fs::write(path, whole).unwrap();
    }
}

#[tokio::test]
async fn a_target_that_was_rolled_back_is_found_and_does_not_stop_the_next_backup() {
    let place = Place::open().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        place.clock.advance(Duration::from_secs(1));
        made.push(place.backups.run("alice").await.unwrap().id);
    }
    let newest = place.target().join("manifests").join(&made[2]);
    let note = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    let found = place.verified().problems.join("\n");
    assert!(found.contains("rolled back"), "{found}");
    let found = place.backups.verify("alice", None).await.unwrap();
    assert!(!found.problems.is_empty());
    place.clock.advance(Duration::from_secs(1));
    let next = place.backups.run("alice").await.unwrap();
    assert!(
        next.problems
            .iter()
            .any(|problem| problem.contains("is gone")),
        "{next:?}"
    );
    assert!(matches!(place.backups.standing(), Standing::Look(_)));
    // Put back, it does not fit any more: there are two third backups.
    fs::write(&newest, note).unwrap();
    assert!(
        place
            .verified()
            .problems
            .join("\n")
            .contains("missing or doubled")
    );
    let middle = place.target().join("manifests").join(&made[1]);
    fs::remove_file(middle).unwrap();
    assert!(
        place
            .verified()
            .problems
            .join("\n")
            .contains("backup 2 is missing")
    );
}

#[tokio::test]
async fn a_source_that_fails_is_an_alarm_and_the_rest_is_saved() {
    let mut place = Place::open().await;
    let backup = place.config.backup.as_mut().unwrap();
    backup.sources[0].content = crate::config::BackupContent::Command {
        command: vec!["false".to_owned()],
        timeout: Duration::from_mins(1),
    };
    place.backups = room(&place.config, &place.store, &place.audit, &place.clock).await;
    let made = place.backups.run("alice").await.unwrap();
    assert!(made.problems[0].contains("failed"), "{made:?}");
    let kept = place.vault().backup(None).unwrap();
    let saved = |path: &str| kept.manifest.files.iter().any(|file| file.path == path);
    assert!(saved("sources/files/letters/one.txt") && saved("store.redb"));
    assert!(!saved("sources/dump/output"));

    // A target that cannot be written leaves no backup, and is on record as well.
    let blocked = place.fixture.path("blocked");
    fs::write(&blocked, "a file").unwrap();
    place.config.backup.as_mut().unwrap().target = BackupTarget::Directory(blocked);
    place.backups = room(&place.config, &place.store, &place.audit, &place.clock).await;
    assert!(place.backups.run("alice").await.is_err());
    assert!(place.backups.state().failed.is_some());
    let alarms = alarms(&place);
    assert_eq!(alarms, ["backup-failed", "backup-failed"]);
}

/// The rules of the alarms on the trail.
fn alarms(place: &Place) -> Vec<String> {
    use crate::audit::show::{Filter, Show};
    let master = Arc::new(MasterKey::read(&place.config.audit.master_key).unwrap());
    let end = place.audit.log().status().sequence;
    let directory = &place.config.audit.directory;
    let mut show = Show::new(
        Arc::new(RealFiles),
        directory,
        master,
        Filter::default(),
        end,
    );
    let entries = std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry));
    entries
        .filter(|entry| entry.event == Some(Event::Alarm))
        .map(|entry| entry.detail["rule"].clone())
        .collect()
}

#[tokio::test]
async fn a_backup_is_made_when_it_is_due_and_missed_when_it_is_not() {
    let place = Place::open().await;
    place.backups.look().await;
    assert!(place.backups.state().newest.is_none());
    place.clock.advance(Duration::from_mins(10));
    place.backups.look().await;
    let first = place.backups.state().newest.unwrap();
    place.backups.look().await;
    assert_eq!(place.backups.state().newest.unwrap().id, first.id);
    place.clock.advance(Duration::from_hours(24));
    place.backups.look().await;
    assert_ne!(place.backups.state().newest.unwrap().id, first.id);
    assert!(alarms(&place).is_empty());
    let key = place.config.backup.as_ref().unwrap().key.clone();
    fs::remove_file(key).unwrap();
    for _ in 0..3 {
        place.clock.advance(Duration::from_hours(20));
        place.backups.look().await;
    }
    assert!(matches!(place.backups.standing(), Standing::Bad(_)));
    assert_eq!(alarms(&place), ["backup-failed", "backup-old"]);
}
