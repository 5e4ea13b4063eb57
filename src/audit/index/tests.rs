//! What becomes of the index when the disk, the machine, or somebody else has a hand in it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::keep::{Kept, Work};
use super::testing::{House, admission, agree, answers, at, dir, event, records_agree, shown};
use super::*;
use crate::audit::filter::Filter;
use crate::audit::log::fault::{FaultyFiles, Injection, Survival};
use crate::audit::log::{Access, LockGuard, LogFile};
use crate::audit::outcome::End;
use crate::audit::query::{Look, Query};
use crate::audit::show::{Show, ShowError};
use crate::request::Event;
use crate::request::facts::Action;

/// A hundred requests, five for each of twenty patients; some end much later.
fn practice() -> House {
    practice_of(100)
}

fn practice_of(requests: usize) -> House {
    let mut house = House::new();
    for n in 0..requests {
        let patient = format!("{}", n % 20);
        house.put(&admission("dr.okafor", &[&patient], Action::Read, 1));
        if n % 7 != 0 {
            let last = house.open.len() - 1;
            house.end(last, End::Complete, &[]);
        }
    }
    house.put(&event(Event::BreakGlass, &[("patient", "3")], 2));
    while !house.open.is_empty() {
        house.end(0, End::Abandoned, &["77"]);
    }
    house
}

fn patient(id: &str) -> Filter {
    Filter {
        patient: Some(id.to_owned()),
        ..Filter::default()
    }
}

fn questions() -> Vec<Filter> {
    let user = Filter {
        user: Some("dr.okafor".to_owned()),
        ..patient("4")
    };
    vec![patient("3"), patient("77"), user]
}

#[test]
fn catalogs_stand_above_segments_and_are_used() {
    let house = practice();
    assert!(house.segments() > 20, "{}", house.segments());
    house.indexed();
    assert_eq!(house.index_files(".cgidx").len(), house.segments() - 1);
    assert!(!house.index_files(".cgcat").is_empty());
    let index = house.index();
    let (found, unindexed) = agree(&index, &patient("3"), house.last());
    assert_eq!((found.len(), unindexed), (6, 0));
    let (found, _) = agree(&index, &patient("77"), house.last());
    assert_eq!(found.len(), 15, "their outcomes name them, segments later");
}

#[test]
fn nothing_of_a_record_stands_in_clear() {
    let house = practice();
    house.indexed();
    for path in house.index_files("") {
        let bytes = house.files.content(&path).unwrap();
        for word in ["okafor", "urn:example", "10.20", "Read", "notes"] {
            let found = bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes());
            assert!(!found, "{word} in {}", path.display());
        }
    }
}

#[test]
fn a_damaged_missing_or_foreign_file_is_made_again_and_hides_nothing() {
    let house = practice();
    house.indexed();
    let segments = house.index_files(".cgidx");
    let catalogs = house.index_files(".cgcat");
    let mut cases: Vec<(&Path, Option<Vec<u8>>)> = Vec::new();
    for path in segments.iter().step_by(5).chain(&catalogs) {
        let whole = house.files.content(path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 12 + 1) {
            let mut altered = whole.clone();
            altered[at] ^= 0x40;
            cases.push((path, Some(altered)));
        }
        cases.push((path, Some(whole[..whole.len() / 2].to_vec())));
        cases.push((path, Some(Vec::new())));
        cases.push((path, None));
    }
    // That of another segment, under this one's name.
    let other = house.files.content(&segments[1]).unwrap();
    cases.push((&segments[0], Some(other)));
    for (path, content) in cases {
        let files = house.files.copy();
        match &content {
            Some(bytes) => files.replace(path, bytes),
            None => files.delete(path),
        }
        let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
        let is_segment = path.to_string_lossy().ends_with(".cgidx");
        let everybody = Filter {
            user: Some("dr.okafor".to_owned()),
            ..Filter::default()
        };
        let asked = questions().into_iter().chain([everybody]);
        let read: usize = asked.map(|q| agree(&index, &q, house.last()).1).sum();
        if is_segment {
            assert!(read <= 1, "it is read through once: {read}");
            let now = files.content(path);
            assert!(now.is_some() && (read == 0 || now != content), "made again");
        } else {
            assert_eq!(read, 0);
        }
    }
}

#[test]
fn without_its_key_the_index_is_made_again() {
    let house = practice();
    house.indexed();
    let key = dir().join("index/key");
    for content in [None, Some(b"{}".to_vec())] {
        let files = house.files.copy();
        files.delete(&key);
        if let Some(bytes) = &content {
            files.replace(&key, bytes);
        }
        let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
        let (_, unindexed) = agree(&index, &patient("3"), house.last());
        assert!(unindexed > 20, "{unindexed}");
        let (_, unindexed) = agree(&index, &patient("3"), house.last());
        assert_eq!(unindexed, 0);
        assert!(files.content(&key).is_some());
    }
}

#[test]
fn a_disk_that_takes_no_index_answers_all_the_same() {
    let house = practice();
    let files = house.files.copy();
    files.plan(1, Injection::Full);
    let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
    for filter in questions() {
        let (_, unindexed) = agree(&index, &filter, house.last());
        assert!(unindexed > 0);
    }
    files.repair();
    agree(&index, &patient("3"), house.last());
    assert_eq!(agree(&index, &patient("3"), house.last()).1, 0);
}

#[test]
fn a_crash_at_every_operation_of_the_indexer_loses_nothing() {
    let house = practice_of(60);
    let status = house.log().status();
    let work = |files: &FaultyFiles| {
        let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
        let mut kept = Kept::default();
        while let Ok(Work::Done) = index.work(&mut kept, &status) {}
    };
    let whole = house.files.copy();
    work(&whole);
    let segments = |files: &FaultyFiles| {
        let mut paths = files.paths();
        paths.retain(|path| path.starts_with(dir().join("segments")));
        let read = |path: &PathBuf| files.content(path).unwrap();
        paths.iter().map(read).collect::<Vec<_>>()
    };
    let before = segments(&house.files);
    let survivals = [
        Survival::All,
        Survival::Nothing,
        Survival::Prefix,
        Survival::Sectors { odd: true },
    ];
    for (round, at) in (1..=whole.operations()).enumerate() {
        for injection in [Injection::CrashBefore, Injection::CrashAfter] {
            let files = house.files.copy();
            files.plan(at, injection);
            work(&files);
            assert!(files.has_crashed(), "operation {at}");
            let files = files.after_crash(survivals[round % survivals.len()]);
            let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
            agree(&index, &questions()[round % 3], house.last());
            work(&files);
            agree(&index, &patient("3"), house.last());
            assert_eq!(segments(&files), before);
            assert!(
                !files
                    .paths()
                    .iter()
                    .any(|path| path.to_string_lossy().ends_with(".new"))
            );
        }
    }
}

/// What a question ends with that must not come to its end.
fn failure_of(mut query: Query) -> ShowError {
    loop {
        match query.look() {
            Ok(Look::End) => panic!("it was passed over"),
            Ok(Look::Answer(_) | Look::Nothing) => {}
            Err(error) => return error,
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_met_by_every_question() {
    let mut house = House::new();
    house.put(&admission("dr.okafor", &["4"], Action::Read, 1));
    let bad = house.put_bytes(br#"{"v":2,"phase":"imagined"}"#.to_vec());
    for n in 0..40 {
        house.put(&admission("dr.okafor", &["5"], Action::Read, n));
    }
    let index = house.indexed();
    for filter in [patient("4"), patient("nobody"), patient("5")] {
        let error = failure_of(Query::new(&index, filter, house.last()));
        assert!(
            matches!(error, ShowError::Entry { sequence, .. } if sequence == bad),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_segment_answers_up_to_the_damage_and_then_says_so() {
    let house = practice();
    let segment = house.index().segments().unwrap()[2].clone();
    let path = dir().join("segments").join(segment.name());
    let mut bytes = house.files.content(&path).unwrap();
    let middle = bytes.len() * 2 / 3;
    bytes[middle] ^= 1;
    // Before it is indexed, and after: the record that is damaged does not open.
    for first in ["damage", "index"] {
        let files = house.files.copy();
        let index = Index::new(Arc::new(files.clone()), dir(), Arc::clone(&house.master));
        if first == "index" {
            agree(&index, &patient("3"), house.last());
        }
        files.replace(&path, &bytes);
        let everybody = Filter {
            user: Some("dr.okafor".to_owned()),
            ..Filter::default()
        };
        let drain = |mut query: Query| {
            let mut found = Vec::new();
            loop {
                match query.look() {
                    Ok(Look::End) => return (found, None),
                    Ok(Look::Nothing) => {}
                    Ok(Look::Answer(joined)) => found.push(joined.seq),
                    Err(error) => return (found, Some(error.to_string())),
                }
            }
        };
        let (planned, error) = drain(Query::new(&index, everybody.clone(), house.last()));
        assert!(
            error
                .as_ref()
                .is_some_and(|error| error.contains(segment.name())),
            "{first} {error:?}"
        );
        let (scanned, _) = drain(Query::scanned(&index, everybody, house.last()).unwrap());
        assert!(
            !planned.is_empty() && planned.starts_with(&scanned),
            "{planned:?} {scanned:?}"
        );
    }
}

#[test]
fn damage_where_an_outcome_may_be_is_said_by_a_question_that_ends_before_it() {
    let mut house = House::new();
    house.put(&admission("dr.okafor", &["3"], Action::Read, 0));
    for minute in 60..160 {
        house.put(&event(Event::BreakGlass, &[("patient", "9")], minute));
    }
    house.end(0, End::Complete, &[]);
    let index = house.index();
    let early = Filter {
        until: Some(at(30)),
        ..patient("3")
    };
    agree(&index, &early, house.last());
    let segments = index.segments().unwrap();
    let last_closed = &segments[segments.len() - 2];
    let path = dir().join("segments").join(last_closed.name());
    let mut bytes = house.files.content(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // No index of it is left, so that it has to be read through.
    let files = house.files.copy();
    files.replace(&path, &bytes);
    for index_file in house.index_files("") {
        files.delete(&index_file);
    }
    let index = Index::new(Arc::new(files), dir(), Arc::clone(&house.master));
    let error = failure_of(Query::new(&index, early.clone(), house.last())).to_string();
    assert!(error.contains(last_closed.name()), "{error}");

    // As well where a limit ends the answer first.
    let mut limited = Query::new(&index, early, house.last());
    while !matches!(limited.look().unwrap(), Look::Answer(_)) {}
    let error = limited.end().unwrap_err().to_string();
    assert!(error.contains(last_closed.name()), "{error}");
}

#[test]
fn what_is_removed_takes_its_index_along() {
    use crate::audit::log::{headers, retirable, retire};
    let house = practice();
    let index = house.indexed();
    let known = headers(&house.files, dir()).unwrap();
    let mut old = retirable(&known, 0, at(10_000_000));
    old.truncate(3);
    retire(&house.files, dir(), &house.signer, &old).unwrap();
    index.forget_removed().unwrap();
    assert_eq!(house.index_files(".cgidx").len(), house.segments() - 1);
    let named = |path: &PathBuf| path.to_string_lossy().contains("1-00000000");
    assert!(
        !house.index_files(".cgcat").iter().any(named),
        "its catalog named them"
    );
    for filter in questions() {
        assert_eq!(agree(&index, &filter, house.last()).1, 0);
    }
}

#[test]
fn what_is_shredded_is_in_no_index_and_questions_pass_over_it() {
    use crate::audit::log::{Fate, headers, retirable, shred};
    let house = practice();
    let index = house.indexed();
    let known = headers(&house.files, dir()).unwrap();
    let mut old = retirable(&known, 0, at(10_000_000));
    old.truncate(3);
    for segment in &mut old {
        segment.fate = Fate::Shredded;
    }
    let part = house.index_files(".cgidx")[0].clone();
    let bytes = house.files.content(&part).unwrap();
    shred(&house.files, dir(), &house.signer, &old).unwrap();
    index.forget_shredded().unwrap();
    assert_eq!(house.index_files(".cgidx").len(), house.segments() - 4);
    let named = |path: &PathBuf| path.to_string_lossy().contains("1-00000000");
    assert!(!house.index_files(".cgcat").iter().any(named));
    let said = |index: &Index| {
        let mut query = Query::new(index, questions().remove(0), house.last());
        while !matches!(query.look().unwrap(), Look::End) {}
        query.take_shredded()
    };
    assert_eq!(said(&index), old);
    // Also for a process that starts later, and where a part was left behind, or comes from a copy.
    house.files.replace(&part, &bytes);
    let fresh = house.indexed();
    assert!(!house.index_files(".cgidx").contains(&part));
    assert_eq!(said(&fresh), old);
    for index in [&index, &fresh] {
        for filter in questions() {
            assert_eq!(agree(index, &filter, house.last()).1, 0);
        }
    }
    let mut all = fresh.reindex(None).unwrap().unwrap();
    while all.step().unwrap().is_some() {}
    assert_eq!(all.progress().done, house.segments() - 4);
    let mut one = fresh.reindex(Some("1")).unwrap().unwrap();
    assert!(matches!(one.step(), Err(LogError::Shredded(_))));
}

#[test]
fn the_index_of_a_segment_opens_with_the_segments_own_key_only() {
    use super::catalog::{self, Catalog, Group};
    use super::part::{Stored, about};
    use super::store::name_of;
    use super::view::View;
    use crate::audit::log::DerivedKey;
    let house = practice();
    let index = house.indexed();
    let segment = index.segments().unwrap()[0].clone();
    let name = name_of(&segment);
    let about = about(segment.header(), segment.closed().unwrap());
    let open = |key: &DerivedKey| Stored::open(index.source(&name).unwrap(), key, about).is_ok();
    assert!(open(&index.sheet_key(&segment).unwrap()));
    assert!(!open(&index.keys().unwrap().key));
    let other = index.segments().unwrap()[1].clone();
    assert!(!open(&index.sheet_key(&other).unwrap()));
    // A catalog with that of the first of its segments.
    let view = View::new(index.segments().unwrap());
    let group = Group { tier: 1, group: 0 };
    let about = catalog::about(group, view.members(group).unwrap().into_iter());
    let open = |key: &DerivedKey| {
        let source = index.source(&group.file_name()).unwrap();
        Catalog::open(source, key, about, group).is_ok()
    };
    assert!(open(&index.sheet_key(&segment).unwrap()));
    assert!(!open(&index.keys().unwrap().key));
}

#[test]
fn reindexing_makes_everything_anew_or_one_segment() {
    let house = practice();
    let index = house.indexed();
    let before = house
        .index_files("")
        .into_iter()
        .map(|path| (house.files.content(&path), path));
    let before: Vec<_> = before.collect();
    let mut all = index.reindex(None).unwrap().unwrap();
    while all.step().unwrap().is_some() {}
    assert_eq!(all.progress().done, house.segments() - 1);
    assert!(all.progress().failed.is_empty());
    for (content, path) in before {
        let same = house.files.content(&path) == content;
        assert_eq!(same, path.ends_with("key"), "{}", path.display());
    }
    let segment = index.segments().unwrap()[1].clone();
    let header = segment.header();
    for name in [
        header.number.to_string(),
        header.segment.to_string(),
        segment.name().to_owned(),
    ] {
        let mut one = index.reindex(Some(&name)).unwrap().unwrap();
        while one.step().unwrap().is_some() {}
        assert_eq!(one.progress().done, 1);
    }
    assert!(index.reindex(Some("nothing")).unwrap().is_none());
    agree(&index, &patient("3"), house.last());
}

/// Counts the files that are opened for reading.
#[derive(Debug)]
struct Counted(FaultyFiles, AtomicUsize);

impl Files for Counted {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.create(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.open(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }
    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.create_dir(directory)
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_dir(directory)
    }
    fn free_space(&self, directory: &Path) -> io::Result<u64> {
        self.0.free_space(directory)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.0.lock(path)
    }
}

#[test]
fn a_question_opens_what_its_answer_needs_however_long_the_trail_is() {
    let mut house = House::new();
    let mut opened = Vec::new();
    let mut read = Vec::new();
    let asked = admission("dr.okafor", &["4711"], Action::Read, 1);
    for segments in [100, 400] {
        if segments == 100 {
            house.put(&asked);
        }
        let mut n = 0;
        while house.segments() < segments {
            for _ in 0..20 {
                n += 1;
                house.put(&admission("nurse.li", &[&format!("p{n}")], Action::Read, 1));
                house.end(0, End::Complete, &[]);
            }
        }
        house.indexed();
        let counted = Arc::new(Counted(house.files.clone(), AtomicUsize::new(0)));
        let index = house.index_over(counted.clone());
        // Headers, catalogs, and the part in memory are taken up once.
        answers(Query::new(&index, patient("nobody"), house.last()));
        let before = counted.1.load(Ordering::Relaxed);
        let (found, unindexed) = answers(Query::new(&index, patient("4711"), house.last()));
        assert_eq!((found.len(), unindexed), (1, 0));
        opened.push(counted.1.load(Ordering::Relaxed) - before);
        // Single records, by patient and by id: the admission and its outcome.
        let by_id = Filter {
            request: Some(asked.id.to_string()),
            ..Filter::default()
        };
        for filter in [patient("4711"), by_id] {
            let before = counted.1.load(Ordering::Relaxed);
            let found = shown(Show::through(&index, filter, house.last()));
            assert_eq!(found.len(), 2, "{found:?}");
            read.push(counted.1.load(Ordering::Relaxed) - before);
        }
    }
    assert!(opened[1] <= opened[0] + 10 && opened[1] < 60, "{opened:?}");
    assert!(
        read[2] <= read[0] + 10 && read[3] <= read[1] + 10,
        "{read:?}"
    );
    assert!(read.iter().all(|files| *files < 60), "{read:?}");
}

#[test]
fn a_reading_goes_on_behind_what_the_index_gave() {
    let mut house = practice();
    let index = house.indexed();
    let mut show = Show::through(&index, patient("3"), house.last());
    let before = std::iter::from_fn(|| show.next_match().unwrap()).count();
    let late = admission("nurse.li", &["3"], Action::Read, 3);
    for entry in [admission("nurse.li", &["4"], Action::Read, 3), late.clone()] {
        house.put(&entry);
    }
    house.end(1, End::Complete, &[]);
    assert!(
        show.next_match().unwrap().is_none(),
        "not durable for it yet"
    );
    show.extend(house.last());
    let more: Vec<_> = std::iter::from_fn(|| show.next_match().unwrap()).collect();
    assert_eq!(more.len(), 2, "{more:?}");
    assert_eq!(more[0].entry.id, late.id);
    assert_eq!(more[1].entry.of, Some(late.id));
    let whole = records_agree(&index, &patient("3"), house.last());
    assert_eq!(whole.len(), before + 2);
}
