//! A trail of format 1, as an earlier build left it: it is read, verified, recovered and disclosed as ever, and goes on
//! in format 2.

use std::collections::BTreeSet;
use std::path::Path;

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trail-format-1")
}

/// The trail, and the keys that go with it.
fn left() -> (Kit, FaultyFiles) {
    let files = FaultyFiles::new();
    let add = |from: &Path, to: &Path| files.replace(to, &std::fs::read(from).unwrap());
    let trail = fixture().join("trail");
    add(&trail.join("checkpoints"), &dir().join("checkpoints"));
    add(&fixture().join("witness"), witness_path());
    for entry in std::fs::read_dir(trail.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        add(&path, &dir().join("segments").join(name));
    }
    (Kit::with_keys_of(&fixture()), files)
}

fn payloads(count: usize) -> Vec<String> {
    (1..=count).map(|index| text(index, 250)).collect()
}

#[test]
fn it_is_read_and_verified() {
    let (kit, files) = left();
    assert_eq!(kit.read_all(&files), payloads(23));
    let report = kit.verify(&files);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.records, report.segments), (23, 3));
    assert_eq!((report.checkpoints, report.vouched), (14, 22));
    assert_eq!(report.end, LogEnd::Unsealed);
}

#[test]
fn every_flipped_byte_of_it_is_found() {
    let (kit, files) = left();
    let path = &segments(&files)[1];
    let whole = files.content(path).unwrap();
    let frames = frames(&whole);
    for at in 0..whole.len() {
        let copy = files.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        copy.replace(path, &bytes);
        let before = frames.iter().filter(|frame| frame.end <= at).count() as u64;
        let report = kit.verify_plain(&copy);
        assert_eq!(
            report.first_bad(),
            Some(13 + before),
            "byte {at}: {report:?}"
        );
    }
}

#[test]
fn it_goes_on_in_the_new_format() {
    let (kit, files) = left();
    let (log, recovered) = kit.open(&files).unwrap();
    assert_eq!((recovered.last_seq, recovered.cut), (23, None));
    for index in 24..=40 {
        assert_eq!(put(&log, &text(index, 250)).unwrap().sequence, index as u64);
    }
    log.shutdown().unwrap();
    assert_eq!(kit.read_all(&files), payloads(40));
    let report = kit.verify(&files);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.last, report.end), (40, LogEnd::Sealed));
    let versions: Vec<u8> = segments(&files)
        .iter()
        .map(|path| files.content(path).unwrap()[11])
        .collect();
    assert_eq!(versions[..4], [1, 1, 1, 2], "{versions:?}");
    let headers = headers(&files, dir()).unwrap();
    assert_eq!(headers[3].previous.tree, None);
    assert!(headers[4].previous.tree.is_some());

    let subject = Subject {
        files: &files,
        directory: dir(),
        master: &kit.master,
        key: &kit.verifier,
        witnessed: &[],
    };
    let new = prove(&subject, &BTreeSet::from([24, 40]), Content::Opened).unwrap();
    assert_eq!(new.check(&kit.verifier).unwrap().len(), 2);
    let old = prove(&subject, &BTreeSet::from([5]), Content::Opened);
    assert!(matches!(old, Err(ProveError::NoTree(5))), "{old:?}");
}

#[test]
fn a_run_of_frames_leads_from_the_old_format_into_the_new() {
    let (kit, files) = left();
    let (log, _) = kit.open(&files).unwrap();
    put(&log, &text(24, 250)).unwrap();
    log.shutdown().unwrap();
    let mut last = String::new();
    let own = files.content(&dir().join("checkpoints")).unwrap();
    each_note(own.as_slice(), |note| note.clone_into(&mut last)).unwrap();
    files.replace(&dir().join("checkpoints"), last.as_bytes());
    let wanted = BTreeSet::from([21]);
    let found = disclose(
        &files,
        dir(),
        &kit.master,
        &kit.verifier,
        &wanted,
        1_000_000,
    )
    .unwrap();
    let [run] = &found.runs[..] else {
        panic!("{:?}", found.runs);
    };
    assert_eq!(run.format, 1);
    let proven = check_run(run, &kit.verifier).unwrap();
    assert_eq!((proven[0].sequence, proven.len()), (21, 4));
    let opened = proven[0].open(found.records[0].key.expose()).unwrap();
    assert_eq!(opened, text(21, 250).as_bytes());
    // Runs did not state a version when there was one; another is not taken for it.
    let mut document = serde_json::to_value(run).unwrap();
    document.as_object_mut().unwrap().remove("format");
    let read: Run = serde_json::from_value(document).unwrap();
    assert_eq!(read, *run);
    for format in [2, 3] {
        let mut other = run.clone();
        other.format = format;
        assert!(check_run(&other, &kit.verifier).is_err());
    }
}

#[test]
fn a_torn_end_of_it_is_cut() {
    let (kit, files) = left();
    let path = segments(&files).pop().unwrap();
    let mut bytes = files.content(&path).unwrap();
    let last = frames(&bytes).pop().unwrap();
    bytes[last.end - 40..].fill(0);
    files.replace(&path, &bytes);
    assert!(kit.verify(&files).is_intact(), "no checkpoint has it");
    let (log, recovered) = kit.open(&files).unwrap();
    assert_eq!(recovered.last_seq, 22);
    assert!(recovered.cut.is_some());
    log.shutdown().unwrap();
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn verification_from_a_time_on_takes_either_format() {
    let (kit, files) = left();
    let (log, _) = kit.open_at(&files, "2026-03-09T10:00:00Z").unwrap();
    put(&log, "later").unwrap();
    log.shutdown().unwrap();
    let since = Scope::Since("2026-03-08T00:00:00Z".parse().unwrap());
    let report = verify_within(since, &files, dir(), &kit.verifier, &[], None).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.from, report.records), (17, 8));
}
