//! Segments that are shredded: they are proven as ever, and nothing opens them, nor any copy of them.

use std::path::PathBuf;

use uuid::Uuid;

use super::harness::*;
use crate::audit::log::fault::{FaultyFiles, Injection, Survival};
use crate::audit::log::header::{Draft, Parsed};
use crate::audit::log::segment::Segment;
use crate::audit::log::segment_key::{Found, find};
use crate::audit::log::walk::read_header;
use crate::audit::log::*;

const LATER: &str = "2032-03-02T10:00:00Z";

fn later() -> jiff::Timestamp {
    LATER.parse().unwrap()
}

fn signer(kit: &Kit, files: &FaultyFiles) -> SigningKey {
    kit.options(files).0.signer
}

fn key_paths(files: &FaultyFiles) -> Vec<PathBuf> {
    let mut paths = files.paths();
    paths.retain(|path| path.starts_with(dir().join(SEGMENT_KEYS)));
    paths
}

/// What may be shredded in 2032.
fn old(files: &FaultyFiles) -> Vec<Retired> {
    let mut old = retirable(&headers(files, dir()).unwrap(), 6, later());
    for segment in &mut old {
        segment.fate = Fate::Shredded;
    }
    old
}

/// A log of 2026 with `count` records that goes on in 2032 with three, and what of it may be shredded then.
fn aged(kit: &Kit, count: usize) -> (FaultyFiles, Vec<Retired>) {
    let files = kit.written(count, 200);
    let (log, _) = kit.open_at(&files, LATER).unwrap();
    for index in count + 1..=count + 3 {
        put(&log, &text(index, 200)).unwrap();
    }
    log.shutdown().unwrap();
    let old = old(&files);
    assert!(old.len() >= 2, "{old:?}");
    (files, old)
}

/// What can be read, and what was passed over.
fn read(kit: &Kit, files: &FaultyFiles) -> Result<(Vec<u64>, Vec<Retired>), LogError> {
    let mut reader = kit.reader(files, Sequences::ALL);
    let mut read = Vec::new();
    while let Some(record) = reader.next_record()? {
        assert_eq!(
            record.payload,
            text(usize::try_from(record.sequence).unwrap(), 200).as_bytes()
        );
        read.push(record.sequence);
    }
    Ok((read, reader.take_shredded()))
}

fn without_keys(files: &FaultyFiles) -> FaultyFiles {
    let copy = files.copy();
    for path in key_paths(&copy) {
        copy.delete(&path);
    }
    copy
}

#[test]
fn a_copy_made_before_the_shredding_opens_no_more_with_every_key_there_is() {
    let kit = Kit::new();
    let (files, old) = aged(&kit, 60);
    let archive = without_keys(&files);
    let before = kit.verify(&files);
    assert!(before.is_intact(), "{before:?}");
    assert_eq!(read(&kit, &files).unwrap().0.len(), 63);

    shred(&files, dir(), &signer(&kit, &files), &old).unwrap();
    let last = old.last().unwrap().last;
    let (left, passed) = read(&kit, &files).unwrap();
    assert_eq!(left, (last + 1..=63).collect::<Vec<u64>>());
    assert_eq!(passed, old);
    assert_eq!(segments(&files), segments(&archive), "the files stay");

    // The copy, with everything that is left in the trail.
    for path in files.paths() {
        if archive.content(&path).is_none() {
            archive.replace(&path, &files.content(&path).unwrap());
        }
    }
    let notes = files.content(&dir().join(RETIRED)).unwrap();
    archive.replace(&dir().join(RETIRED), &notes);
    let (left, passed) = read(&kit, &archive).unwrap();
    assert_eq!((left.first(), passed.len()), (Some(&(last + 1)), old.len()));
    // Each segment with each key that is left, and with none.
    let parsed = |path: &PathBuf| -> Parsed {
        read_header(&*archive.open(path, Access::Read).unwrap()).unwrap()
    };
    let paths = segments(&archive);
    for path in &paths[..old.len()] {
        let closed = parsed(path);
        for other in &paths {
            let header = parsed(other).header;
            let found = find(&archive, dir(), &header, &kit.master).unwrap();
            if let Found::Key(key) = found {
                let opened = closed
                    .header
                    .data_key(closed.start, &kit.master, Some(&key));
                assert!(opened.is_err());
            }
        }
        let opened = closed.header.data_key(closed.start, &kit.master, None);
        assert!(opened.is_err());
    }
}

#[test]
fn what_is_shredded_is_proven_with_the_public_key_and_with_the_master_key() {
    let kit = Kit::new();
    let (files, old) = aged(&kit, 60);
    let before = kit.verify(&files);
    shred(&files, dir(), &signer(&kit, &files), &old).unwrap();
    let notice = Notice::Shredded {
        from: 1,
        to: old.len() as u64,
        first: 1,
        last: old.last().unwrap().last,
    };
    for report in [kit.verify(&files), kit.verify_plain(&files)] {
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(
            (report.records, report.last, report.head),
            (before.records, before.last, before.head)
        );
        assert!(report.notices.contains(&notice), "{report:?}");
    }
    // A record is proven to exist, and what it says is proven to nobody.
    let subject = Subject {
        files: &files,
        directory: dir(),
        master: &kit.master,
        key: &kit.verifier,
        witnessed: &[],
    };
    let wanted = std::collections::BTreeSet::from([2]);
    let proof = prove(&subject, &wanted, Content::Sealed).unwrap();
    assert_eq!(proof.check(&kit.verifier).unwrap().len(), 1);
    let opened = prove(&subject, &wanted, Content::Opened);
    assert!(
        matches!(opened, Err(ProveError::Log(LogError::Shredded(_)))),
        "{opened:?}"
    );
    // Altering it is found as ever.
    let path = &segments(&files)[0];
    let whole = files.content(path).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let copy = files.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        copy.replace(path, &bytes);
        assert!(!kit.verify(&copy).is_intact(), "byte {at}");
    }

    let (log, recovered) = kit.open_at(&files, LATER).unwrap();
    assert_eq!(recovered.last_seq, 63);
    put(&log, &text(64, 200)).unwrap();
    log.shutdown().unwrap();
    assert!(kit.verify(&files).is_intact());
    // Later the files go, too.
    retire(&files, dir(), &signer(&kit, &files), &old).unwrap();
    let report = kit.verify(&files);
    assert!(report.is_intact(), "{report:?}");
    assert!(kit.open_at(&files, LATER).is_ok());
}

#[test]
fn a_key_that_is_missing_or_anothers_without_a_note_is_an_error() {
    let kit = Kit::new();
    let (files, old) = aged(&kit, 60);
    let keys = key_paths(&files);
    assert_eq!(keys.len(), segments(&files).len());
    let gone = files.copy();
    gone.delete(&keys[1]);
    let refused = kit.open(&gone).unwrap_err();
    assert!(matches!(refused, LogError::SegmentKey { .. }), "{refused}");
    let said = refused.to_string();
    assert!(
        said.contains("is missing") && said.contains("backup"),
        "{said}"
    );
    assert!(matches!(
        read(&kit, &gone),
        Err(LogError::SegmentKey { .. })
    ));
    let report = kit.verify(&gone);
    assert_eq!(report.first_bad(), Some(old[1].first), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::Unaccounted));
    assert!(
        kit.verify_plain(&gone).is_intact(),
        "public keys open nothing"
    );

    let swapped = files.copy();
    swapped.replace(&keys[1], &files.content(&keys[0]).unwrap());
    assert!(matches!(
        read(&kit, &swapped),
        Err(LogError::SegmentKey { .. })
    ));
    assert_eq!(kit.verify(&swapped).first_bad(), Some(old[1].first));

    // A note that the trail's key did not sign explains nothing.
    let forged = files.copy();
    let stranger = SigningKey::generate("hospital.example/gw-1").unwrap();
    shred(&forged, dir(), &stranger, &old[..1]).unwrap();
    assert!(matches!(
        kit.open(&forged),
        Err(LogError::SegmentKey { .. })
    ));
    assert!(!kit.verify(&forged).is_intact());
    assert!(!kit.verify_plain(&forged).is_intact());
}

#[test]
fn who_shreds_too_early_or_something_else_than_is_there_is_found_with_the_public_key() {
    let kit = Kit::new();
    let (files, old) = aged(&kit, 60);
    let alter = |alter: fn(&mut Retired)| {
        let copy = files.copy();
        let mut segment = old[0].clone();
        alter(&mut segment);
        shred(&copy, dir(), &signer(&kit, &copy), &[segment]).unwrap();
        kit.verify_plain(&copy)
    };
    assert!(alter(|_| {}).is_intact());
    for wrong in [
        alter(|note| note.time = "2031-06-01T00:00:00Z".parse().unwrap()),
        alter(|note| note.time = "2044-01-01T00:00:00Z".parse().unwrap()),
        alter(|note| note.last += 1),
        alter(|note| note.head = Head::ZERO),
    ] {
        assert!(
            matches!(wrong.problems[0].fault, Fault::Retired(_)),
            "{wrong:?}"
        );
    }
}

/// Every operation of a shredding, crashed before and after: each segment is as it was or shredded, and asking again
/// finishes it.
#[test]
fn a_crash_while_segments_are_shredded_leaves_what_asking_again_finishes() {
    let kit = Kit::new();
    let (whole, old) = aged(&kit, 30);
    let dry = whole.copy();
    shred(&dry, dir(), &signer(&kit, &dry), &old).unwrap();
    let operations = dry.operations();
    assert!(operations > 8, "{operations}");
    let (mut halves, mut wiped) = (0, 0);
    for at in 1..=operations {
        for injection in [
            Injection::CrashBefore,
            Injection::CrashAfter,
            Injection::Fail,
        ] {
            let files = whole.copy();
            files.plan(at, injection);
            let first = shred(&files, dir(), &signer(&kit, &files), &old);
            for survival in [
                Survival::All,
                Survival::Nothing,
                Survival::Prefix,
                Survival::Sectors { odd: false },
                Survival::Sectors { odd: true },
            ] {
                let disk = files.after_crash(survival);
                let case = format!("{at} {injection:?} {survival:?}");
                let (left, passed) = read(&kit, &disk).unwrap_or_else(|e| panic!("{case}: {e}"));
                let of_passed: u64 = passed.iter().map(|note| note.last + 1 - note.first).sum();
                assert_eq!(left.len() as u64 + of_passed, 33, "{case}");
                halves += usize::from((1..old.len()).contains(&passed.len()));
                if first.is_ok() {
                    assert_eq!(passed.len(), old.len(), "{case}");
                }
                let zeroed = |path: &PathBuf| {
                    let content = disk.content(path).unwrap();
                    !content.is_empty() && content.iter().all(|byte| *byte == 0)
                };
                wiped += key_paths(&disk).iter().filter(|path| zeroed(path)).count();
                assert!(kit.verify(&disk).is_intact(), "{case}");
                let (log, _) = kit.open_at(&disk, LATER).unwrap();
                log.shutdown().unwrap();
                shred(&disk, dir(), &signer(&kit, &disk), &old).unwrap();
                let notes = disk.content(&dir().join(RETIRED)).unwrap();
                let notes = String::from_utf8(notes).unwrap();
                assert_eq!(notes.matches("\nshredded\n").count(), old.len(), "{case}");
                let (left, passed) = read(&kit, &disk).unwrap();
                assert_eq!(
                    (left.len() as u64, passed.len()),
                    (33 - old.last().unwrap().last, old.len())
                );
                for segment in &old {
                    let name = key_file(segment.first, segment.segment);
                    let path = dir().join(SEGMENT_KEYS).join(name);
                    assert_eq!(disk.content(&path), None, "{case}");
                }
                assert!(kit.verify(&disk).is_intact(), "{case}");
            }
        }
    }
    assert!(halves > 0, "some are shredded and some not");
    assert!(wiped > 0, "a key is overwritten before its name goes");
}

#[test]
fn a_removal_destroys_the_keys_first() {
    let kit = Kit::new();
    let (files, mut old) = aged(&kit, 30);
    for segment in &mut old {
        segment.fate = Fate::Removed;
    }
    let copy = files.copy();
    retire(&files, dir(), &signer(&kit, &files), &old).unwrap();
    assert_eq!(key_paths(&files).len(), segments(&files).len());
    // Interrupted between the two: a segment without a key, of which a note speaks.
    for operation in 1..=files.operations() - copy.operations() {
        let disk = copy.copy();
        disk.plan(operation, Injection::CrashBefore);
        let _interrupted = retire(&disk, dir(), &signer(&kit, &disk), &old);
        let disk = disk.after_crash(Survival::All);
        assert!(kit.verify(&disk).is_intact(), "{operation}");
        assert!(read(&kit, &disk).is_ok(), "{operation}");
        assert!(kit.open_at(&disk, LATER).is_ok(), "{operation}");
    }
}

/// A segment of format 2 as earlier builds wrote it: without a key of its own.
fn keyless(kit: &Kit, files: &FaultyFiles) {
    let created = "2026-02-01T10:00:00Z".parse().unwrap();
    let draft = Draft {
        segment: Uuid::from_u128(7),
        number: 1,
        node: "gw-1",
        first: 1,
        created,
        opened: Opened::Start,
        previous: Previous::default(),
        cut: None,
        accepted_loss: None,
    };
    let made = Segment::create_under(files, dir(), draft, (&kit.master, None), 4096);
    let mut segment = made.unwrap();
    for index in 1..=10 {
        segment.push(text(index, 200).as_bytes()).unwrap();
    }
    segment.seal(created).unwrap();
}

#[test]
fn segments_without_a_key_of_their_own_go_on_to_be_read_beside_those_that_have_one() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    keyless(&kit, &files);
    let (log, _) = kit.open(&files).unwrap();
    for index in 11..=40 {
        put(&log, &text(index, 200)).unwrap();
    }
    log.shutdown().unwrap();
    let (log, _) = kit.open_at(&files, LATER).unwrap();
    put(&log, &text(41, 200)).unwrap();
    log.shutdown().unwrap();
    let known = headers(&files, dir()).unwrap();
    assert_eq!(known[0].segment_key, None);
    assert!(known[1..].iter().all(|header| header.segment_key.is_some()));
    assert_eq!(key_paths(&files).len(), known.len() - 1);
    assert_eq!(read(&kit, &files).unwrap().0.len(), 41);
    assert!(kit.verify(&files).is_intact());

    // Shredding has nothing to destroy of the first; of the others it has.
    let old = old(&files);
    shred(&files, dir(), &signer(&kit, &files), &old).unwrap();
    let (left, passed) = read(&kit, &files).unwrap();
    let last = old.last().unwrap().last;
    assert_eq!(left, (1..=10).chain(last + 1..=41).collect::<Vec<u64>>());
    assert_eq!(passed, old[1..]);
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn keys_are_sealed_and_open_after_the_master_key_was_rotated() {
    let kit = Kit::new();
    let files = kit.written(20, 200);
    for path in key_paths(&files) {
        let text = String::from_utf8(files.content(&path).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "chartgate-segment-key-v1");
        assert_eq!(lines[2], kit.master.id().to_string());
    }
    let keys = tempfile::tempdir().unwrap();
    let path = keys.path().join("master.key");
    kit.master.write(&path).unwrap();
    let rotated = MasterKey::read(&path).unwrap().succeeded(later()).unwrap();
    let mut reader = Reader::new(
        Arc::new(files.clone()),
        dir(),
        Arc::new(rotated),
        Sequences::ALL,
    );
    let mut count = 0;
    while reader.next_record().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 20);
    let other = MasterKey::generate().unwrap();
    let known = headers(&files, dir()).unwrap();
    assert!(find(&files, dir(), &known[0], &other).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// Whatever is shredded, in whatever order, the rest is read and all of it is proven.
    #[test]
    fn whatever_is_shredded_the_rest_is_read(picked in proptest::collection::vec(proptest::bool::ANY, 8)) {
        let kit = Kit::new();
        let (files, old) = aged(&kit, 60);
        let mut expected: Vec<u64> = (1..=63).collect();
        for (segment, _) in old.iter().zip(picked).filter(|(_, picked)| *picked) {
            shred(&files, dir(), &signer(&kit, &files), std::slice::from_ref(segment)).unwrap();
            expected.retain(|seq| !(segment.first..=segment.last).contains(seq));
        }
        proptest::prop_assert_eq!(read(&kit, &files).unwrap().0, expected);
        let report = kit.verify(&files);
        proptest::prop_assert!(report.is_intact(), "{:?}", report);
        proptest::prop_assert!(kit.open_at(&files, LATER).is_ok());
    }
}

/// Whatever operation fails while segments are made, each that is there has its key, and no pile of others is left.
#[test]
fn a_disk_that_fails_leaves_no_segment_without_its_key_and_no_pile_of_keys() {
    let kit = Kit::new();
    let dry = kit.written(12, 900);
    for at in 1..=dry.operations() {
        let files = FaultyFiles::new();
        files.plan(at, Injection::Fail);
        if let Ok((log, _)) = kit.open(&files) {
            for index in 0..12 {
                let _refused_or_not = put(&log, &text(index, 900));
            }
            let _closed = log.shutdown();
        }
        // A run may take fewer operations than the one that was counted.
        files.repair();
        let (log, _) = kit.open(&files).unwrap();
        put(&log, "after").unwrap();
        log.shutdown().unwrap();
        let known = headers(&files, dir()).unwrap();
        for header in &known {
            let found = find(&files, dir(), header, &kit.master);
            assert!(matches!(found, Ok(Found::Key(_))), "{at}: {found:?}");
        }
        let left = key_paths(&files).len() - known.len();
        assert!(left <= 1, "{at}: {left} keys of no segment");
    }
}
