//! The trail of a small gateway, archived in a directory, altered, and brought back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::audit::answers::{Answers, Ask as Question, Piece};
use crate::audit::hold::{Ask as HoldAsk, Scope};
use crate::audit::log::{MasterKey, RealFiles, Truncation, verify as verify_log};
use crate::audit::show::{Filter, Show};
use crate::clock::{ManualClock, SystemClock};
use crate::config::ArchiveTarget;
use crate::config::fixture::{Fixture, TEMPLATE};

/// A trail without a gateway, and its archive.
pub(super) struct Place {
    fixture: Fixture,
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) audit: Audit,
    pub(super) archives: Archives,
}

impl Place {
    pub(super) async fn open() -> Self {
        let fixture = Fixture::with_policies();
        for key in ["master", "store"] {
            let path = fixture.path(&format!("keys/{key}.key"));
            fs::remove_file(&path).unwrap();
            MasterKey::generate().unwrap().write(&path).unwrap();
        }
        let signing = fixture.path("keys/signing.key");
        fs::remove_file(&signing).unwrap();
        let made = SigningKey::generate("gw/trail").unwrap();
        let public = fixture.path("keys/signing.pub");
        made.write(&signing, &public).unwrap();
        let archive = "\n[audit.archive]\ndirectory = \"archive\"\n\n[store]\n";
        let text = TEMPLATE.replacen("\n[store]\n", archive, 1);
        let mut config = fixture.read(&text).config.unwrap();
        config.audit.reserve_bytes = 0;
        config.audit.segment_bytes = 1 << 20;
        let clock = Arc::new(ManualClock::new("2026-11-25T09:00:00Z".parse().unwrap()));
        let store = crate::audit::fixture::store(SystemClock::shared()).await;
        let (audit, archives) = parts(&config, &store, &clock).await;
        Self {
            fixture,
            config,
            store,
            clock,
            audit,
            archives,
        }
    }

    /// The same with another configuration, and the trail in one more segment.
    pub(super) async fn reopen(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self {
            fixture,
            mut config,
            store,
            clock,
            audit,
            archives,
        } = self;
        drop(archives);
        audit.log().shutdown().unwrap();
        drop(audit);
        change(&mut config);
        let (audit, archives) = parts(&config, &store, &clock).await;
        Self {
            fixture,
            config,
            store,
            clock,
            audit,
            archives,
        }
    }

    /// So many more segments, with something about a patient in each.
    pub(super) async fn runs(self, patients: &[&str]) -> Self {
        let mut place = self;
        for patient in patients {
            let about = BTreeMap::from([("patient".to_owned(), (*patient).to_owned())]);
            let event = place.audit.event(Event::BreakGlass, None, about);
            event.await.unwrap();
            place.clock.advance(Duration::from_mins(10));
            place = place.reopen(|_| {}).await;
        }
        place
    }

    pub(super) async fn run(&self) -> Ran {
        let ran = self.archives.run("alice").await.unwrap();
        assert_eq!(ran.problems, Vec::<String>::new());
        ran
    }

    /// What operators ask of the trail.
    pub(super) async fn hold(&self, operator: &str, ask: HoldAsk) {
        let answers = Answers::new(self.audit.clone(), self.holdings(), self.clock.clone());
        let begun = answers.begin(operator, Question::Hold(ask)).await;
        let step = begun.unwrap().step().unwrap();
        assert!(matches!(step.as_deref(), Some([Piece::Hold(_)])));
    }

    fn holdings(&self) -> Holdings {
        holdings(&self.config, &self.store)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.fixture.path(name)
    }

    pub(super) fn segments(&self, below: &str) -> Vec<PathBuf> {
        files(&self.path(below).join("segments"))
    }

    pub(super) fn target(&self) -> Target {
        let archive = self.config.audit.archive.as_ref().unwrap();
        Target::open(&archive.target, self.clock.clone()).unwrap()
    }

    pub(super) fn events(&self, event: Event) -> Vec<BTreeMap<String, String>> {
        let master = MasterKey::read(&self.config.audit.master_key).unwrap();
        let (trail, all) = (&self.config.audit.directory, Filter::default());
        let end = self.audit.log().status().sequence;
        let mut show = Show::new(Arc::new(RealFiles), trail, Arc::new(master), all, end);
        let entries = std::iter::from_fn(|| show.next_match().unwrap());
        entries
            .filter(|shown| shown.entry.event == Some(event))
            .map(|shown| shown.entry.detail)
            .collect()
    }

    /// What `audit verify` says of a restored trail, with the public key and its own checkpoints as a witness's.
    pub(super) fn is_intact(&self, restored: &Path) -> bool {
        let key = SigningKey::read(&self.config.audit.signing_key).unwrap();
        let notes = fs::read_to_string(restored.join("checkpoints")).unwrap();
        let witness = [("archive", notes.as_str())];
        let report = verify_log(&RealFiles, restored, key.verifier(), &witness, None);
        let report = report.unwrap();
        assert!(report.newest_witnessed.is_some());
        report.is_intact()
    }
}

fn holdings(config: &Config, store: &Store) -> Holdings {
    let master = Arc::new(MasterKey::read(&config.audit.master_key).unwrap());
    Holdings::new(&config.audit, Arc::new(RealFiles), master).with_store(store.clone())
}

async fn parts(config: &Config, store: &Store, clock: &Arc<ManualClock>) -> (Audit, Archives) {
    let opened = Audit::open(
        &config.audit,
        &config.limits,
        Arc::new(RealFiles),
        clock.clone(),
        Truncation::Refuse,
    );
    let (audit, _) = opened.await.unwrap();
    let holdings = holdings(config, store);
    let opened = Archives::open(
        config,
        store.clone(),
        audit.clone(),
        holdings,
        clock.clone(),
    );
    (audit, opened.await.unwrap().unwrap())
}

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Makes an archived file writable again, as its owner can on a file system that does not forbid it.
fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
}

pub(super) fn hold(patient: &str) -> HoldAsk {
    HoldAsk::Add {
        matter: "2026-CV-14".to_owned(),
        scope: Scope {
            patient: Some(patient.to_owned()),
            ..Scope::default()
        },
        reason: "letter of the court".to_owned(),
    }
}

#[tokio::test]
async fn what_is_archived_comes_back_and_is_proven_with_the_public_key() {
    let place = Place::open().await.runs(&["1", "2", "3"]).await;
    let ran = place.run().await;
    assert_eq!((ran.segments, ran.total), (3, 3));
    assert!(ran.notes >= 3, "{ran:?}");
    for archived in place.segments("archive") {
        let own = place.config.audit.directory.join("segments");
        let own = own.join(archived.file_name().unwrap());
        assert_eq!(fs::read(&archived).unwrap(), fs::read(&own).unwrap());
        let mode = fs::metadata(&archived).unwrap().permissions().mode();
        assert_eq!(mode & 0o222, 0);
    }
    let events = place.events(Event::SegmentArchived);
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["operator"], "alice");
    assert_eq!(events[0]["locked_until"], "2032-11-26T00:00:00Z");
    assert!(matches!(place.archives.standing(), Standing::Fine(_)));

    let again = place.run().await;
    assert_eq!((again.segments, again.total), (0, 3));
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(
        (found.segments, found.compared, found.signed),
        (3, true, true)
    );

    let to = place.path("restored");
    let restored = restore(&place.target(), &to).unwrap();
    assert_eq!(restored.problems, Vec::<String>::new());
    assert_eq!((restored.segments, restored.last), (3, found.last));
    assert!(place.is_intact(&to));
    let refused = restore(&place.target(), &to).unwrap_err();
    assert!(refused.to_string().contains("is not empty"), "{refused}");
}

#[tokio::test]
async fn an_interrupted_run_is_taken_up_and_nothing_is_stored_twice() {
    let place = Place::open().await.runs(&["1", "2"]).await;
    // What a run left that ended in the middle of a file, and one that ended before it remembered what it had stored.
    fs::create_dir_all(place.path("archive/segments")).unwrap();
    let own = files(&place.config.audit.directory.join("segments"));
    let name = own[0].file_name().unwrap().to_str().unwrap();
    let partial = place
        .path("archive/segments")
        .join(format!(".partial-{name}"));
    fs::write(&partial, "CGSEG").unwrap();
    assert_eq!(place.run().await.segments, 2);
    assert!(!partial.exists());
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let before: Vec<u64> = place.segments("archive").iter().map(|p| inode(p)).collect();
    place.archives.inner.shelf.forget(2).await.unwrap();
    let ran = place.run().await;
    assert_eq!((ran.segments, ran.total), (1, 2));
    let after: Vec<u64> = place.segments("archive").iter().map(|p| inode(p)).collect();
    assert_eq!(before, after);
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_altered_or_taken_away_is_found_and_archived_again_where_it_can_be() {
    let place = Place::open().await.runs(&["1", "2", "3"]).await;
    place.run().await;
    let archived = place.segments("archive");
    fs::remove_file(&archived[1]).unwrap();
    alter(&archived[2], |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let found = place.archives.verify().await.unwrap();
    let said = found.problems.join("\n");
    assert!(said.contains("is missing in the archive"), "{said}");
    assert_eq!(found.lost, [2, 3].into());
    assert!(matches!(place.archives.standing(), Standing::Bad(_)));
    let alarms = place.events(Event::Alarm);
    assert_eq!(alarms[0]["rule"], "archive-altered");
    // The one is stored again; the other is evidence, and stays as it is.
    let ran = place.archives.run("alice").await.unwrap();
    assert_eq!((ran.segments, ran.total), (1, 2));
    // What to do is said: it is moved away, and the next run stores the segment again.
    let away = format!("move `{}` out of the archive", archived[2].display());
    assert!(ran.problems[0].contains(&away), "{ran:?}");
    assert!(archived[1].exists());
    fs::remove_file(&archived[2]).unwrap();
    assert_eq!(place.run().await.segments, 1);
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(matches!(place.archives.standing(), Standing::Fine(_)));
}

#[tokio::test]
async fn a_damaged_segment_does_not_keep_the_next_from_the_archive() {
    let place = Place::open().await.runs(&["1", "2", "3"]).await;
    let own = files(&place.config.audit.directory.join("segments"));
    let whole = fs::read(&own[1]).unwrap();
    let mut bytes = whole.clone();
    let behind_the_header = bytes.len() * 2 / 3;
    bytes[behind_the_header] ^= 1;
    fs::write(&own[1], bytes).unwrap();
    let ran = place.archives.run("alice").await.unwrap();
    assert_eq!((ran.segments, ran.problems.len()), (2, 1));
    place.archives.run("alice").await.unwrap();
    assert!(matches!(place.archives.standing(), Standing::Look(_)));
    let found = place.archives.verify().await.unwrap();
    let said = found.problems.join("\n");
    assert!(
        said.contains("the archive lacks 1 segment behind number 1"),
        "{said}"
    );
    let restored = restore(&place.target(), &place.path("restored")).unwrap();
    assert_eq!((restored.segments, restored.problems.len()), (2, 1));

    fs::write(&own[1], whole).unwrap();
    assert_eq!(place.run().await.segments, 1);
    assert!(
        matches!(place.archives.standing(), Standing::Bad(_)),
        "until it is verified"
    );
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    let alarms = place.events(Event::Alarm);
    let rules: Vec<&str> = alarms.iter().map(|alarm| alarm["rule"].as_str()).collect();
    assert_eq!(rules, ["archive-failed", "archive-altered"], "each once");
}

#[tokio::test]
async fn a_directory_of_another_trail_is_told_apart() {
    let place = Place::open().await.runs(&["1"]).await;
    place.run().await;
    let other = Place::open().await.runs(&["1"]).await;
    let ArchiveTarget::Directory(mine) = &place.config.audit.archive.as_ref().unwrap().target
    else {
        panic!("a directory");
    };
    let key = SigningKey::read(&other.config.audit.signing_key).unwrap();
    let expected = Expected {
        known: None,
        key: Some(key.verifier()),
    };
    let found = verify(&Target::Directory(mine.clone()), expected, mine).unwrap();
    assert!(!found.compared && found.segments == 1);
    assert!(!found.problems.is_empty(), "signed by another key");
}
