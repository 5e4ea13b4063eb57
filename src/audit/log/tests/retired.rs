//! Segments that are removed when their retention is over: the rest stands, and nothing else may be missing.

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

const LATER: &str = "2032-03-02T10:00:00Z";

fn later() -> jiff::Timestamp {
    LATER.parse().unwrap()
}

/// A log of 2026 that goes on in 2032, and what of it may be removed then.
fn aged(kit: &Kit) -> (FaultyFiles, Vec<Retired>) {
    let files = kit.written(60, 200);
    let (log, _) = kit.open_at(&files, LATER).unwrap();
    for index in 61..=63 {
        put(&log, &text(index, 200)).unwrap();
    }
    log.shutdown().unwrap();
    let retired = retirable(&headers(&files, dir()).unwrap(), 6, later());
    assert!(retired.len() >= 3, "{retired:?}");
    (files, retired)
}

fn signer(kit: &Kit, files: &FaultyFiles) -> SigningKey {
    kit.options(files).0.signer
}

#[test]
fn what_is_left_stands_and_the_removal_is_shown() {
    let kit = Kit::new();
    let (files, retired) = aged(&kit);
    let before = kit.verify(&files);
    assert!(before.is_intact(), "{before:?}");
    retire(&files, dir(), &signer(&kit, &files), &retired).unwrap();

    let last = retired.last().unwrap();
    assert_eq!(
        segments(&files).len() + retired.len(),
        usize::try_from(before.segments).unwrap()
    );
    let after = kit.verify(&files);
    assert!(after.is_intact(), "{after:?}");
    assert_eq!((after.last, after.head), (before.last, before.head));
    assert!(
        after.notices.contains(&Notice::Retired(last.clone())),
        "{after:?}"
    );
    let mut reader = kit.reader(&files, Sequences::ALL);
    assert_eq!(
        reader.next_record().unwrap().unwrap().sequence,
        last.last + 1
    );

    let (log, recovered) = kit.open_at(&files, LATER).unwrap();
    assert_eq!(recovered.last_seq, before.last);
    put(&log, "goes on").unwrap();
    log.shutdown().unwrap();
    assert!(kit.verify(&files).is_intact());
    let again = retirable(&headers(&files, dir()).unwrap(), 6, later());
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn an_interruption_between_any_two_removals_leaves_a_log_that_stands() {
    let kit = Kit::new();
    let (files, retired) = aged(&kit);
    let whole = files.copy();
    retire(&files, dir(), &signer(&kit, &files), &retired).unwrap();
    let notes = files.content(&dir().join(RETIRED)).unwrap();
    for gone in 0..=retired.len() {
        let copy = whole.copy();
        let note = copy.create(&dir().join(RETIRED)).unwrap();
        note.write_all_at(0, &notes).unwrap();
        for segment in &retired[..gone] {
            copy.remove(&dir().join("segments").join(segment.file_name()))
                .unwrap();
        }
        let report = kit.verify(&copy);
        assert!(report.is_intact(), "{gone}: {report:?}");
        // Doing it again finishes what was begun, and notes nothing twice.
        retire(&copy, dir(), &signer(&kit, &copy), &retired).unwrap();
        assert_eq!(copy.content(&dir().join(RETIRED)).unwrap(), notes);
        assert!(kit.verify(&copy).is_intact());
        assert!(kit.open_at(&copy, LATER).is_ok(), "{gone}");
    }
}

#[test]
fn nothing_may_be_missing_without_a_note() {
    let kit = Kit::new();
    let (files, retired) = aged(&kit);
    let unnoted = files.copy();
    let first = dir().join("segments").join(retired[0].file_name());
    unnoted.remove(&first).unwrap();
    assert!(kit.open(&unnoted).is_err());
    assert_eq!(kit.verify(&unnoted).first_bad(), Some(1));

    retire(&files, dir(), &signer(&kit, &files), &retired).unwrap();
    // One more segment than there are notes for.
    let more = files.copy();
    more.remove(&segments(&more)[0]).unwrap();
    assert!(kit.open(&more).is_err());
    assert!(!kit.verify(&more).is_intact());
    // A hole behind the beginning.
    let hole = files.copy();
    let left = segments(&hole);
    hole.remove(&left[left.len() - 1]).unwrap();
    assert!(!kit.verify(&hole).is_intact());
    // Notes that are gone, or were written by someone else.
    let gone = files.copy();
    gone.remove(&dir().join(RETIRED)).unwrap();
    assert!(kit.open(&gone).is_err());
    assert!(!kit.verify(&gone).is_intact());
}

#[test]
fn every_altered_byte_of_the_newest_note_is_noticed() {
    let kit = Kit::new();
    let (files, retired) = aged(&kit);
    retire(&files, dir(), &signer(&kit, &files), &retired[..1]).unwrap();
    let path = dir().join(RETIRED);
    let whole = files.content(&path).unwrap();
    for at in 1..whole.len() {
        let copy = files.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        copy.replace(&path, &bytes);
        assert!(!kit.verify(&copy).is_intact(), "byte {at}");
        assert!(kit.open_at(&copy, LATER).is_err(), "byte {at}");
    }
}

#[test]
fn who_removes_too_early_or_in_the_future_is_found() {
    let kit = Kit::new();
    let (files, _) = aged(&kit);
    let early = retirable(
        &headers(&files, dir()).unwrap(),
        5,
        "2031-06-01T00:00:00Z".parse().unwrap(),
    );
    let copy = files.copy();
    retire(&copy, dir(), &signer(&kit, &copy), &early).unwrap();
    let found = kit.verify(&copy);
    assert!(
        matches!(found.problems[0].fault, Fault::Retired(_)),
        "{found:?}"
    );

    let future = retirable(
        &headers(&files, dir()).unwrap(),
        6,
        "2044-01-01T00:00:00Z".parse().unwrap(),
    );
    retire(&files, dir(), &signer(&kit, &files), &future).unwrap();
    let found = kit.verify(&files);
    assert!(
        matches!(found.problems[0].fault, Fault::Retired(_)),
        "{found:?}"
    );
}

/// Whoever has the signing key dates removals, and checkpoints of the log itself, as they like.
#[test]
fn only_what_a_witness_holds_says_when_a_removal_was() {
    let kit = Kit::new();
    let files = kit.written(60, 200);
    let young = retirable(
        &headers(&files, dir()).unwrap(),
        6,
        "2033-01-01T00:00:00Z".parse().unwrap(),
    );
    assert!(young.len() >= 2, "{young:?}");
    let key = signer(&kit, &files);
    let own = dir().join("checkpoints");
    let mut newest = None;
    each_note(files.content(&own).unwrap().as_slice(), |note| {
        newest = Some(Checkpoint::open(note, key.verifier()).unwrap());
    })
    .unwrap();
    let mut newest = newest.unwrap();
    newest.time = "2033-01-01T00:00:01Z".parse().unwrap();
    files.replace(&own, newest.sign(&key).as_bytes());
    retire(&files, dir(), &key, &young).unwrap();
    let found = kit.verify(&files);
    assert_eq!(found.damage(), Some(Damage::Unaccounted), "{found:?}");
    // Without a witness nobody can tell; that is said.
    let found = kit.verify_plain(&files);
    assert!(found.is_intact(), "{found:?}");
    assert!(
        found.notices.contains(&Notice::RemovalUnwitnessed),
        "{found:?}"
    );
}
