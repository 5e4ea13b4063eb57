//! Copies that someone altered: each alteration is found, and at the right record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::tree::{Tree, leaf_hash};
use crate::audit::log::*;

/// Which record each byte of a segment belongs to.
fn owner(bytes: &[u8], at: usize) -> u64 {
    let first = parse_segment(bytes).unwrap().header.first;
    let frames = frames(bytes);
    let before = frames.iter().filter(|frame| frame.end <= at).count() as u64;
    first + before
}

pub(super) fn altered(
    files: &FaultyFiles,
    path: &Path,
    alter: impl FnOnce(&mut Vec<u8>),
) -> FaultyFiles {
    let copy = files.copy();
    let mut bytes = copy.content(path).unwrap();
    alter(&mut bytes);
    copy.replace(path, &bytes);
    copy
}

#[test]
fn every_flipped_byte_is_found_where_it_is() {
    let mut kit = Kit::new();
    kit.limits.checkpoint_records = 1_000_000;
    let files = kit.written(16, 300);
    let paths = segments(&files);
    assert_eq!(paths.len(), 2);
    for path in &paths {
        let whole = files.content(path).unwrap();
        for at in 0..whole.len() {
            let copy = altered(&files, path, |bytes| bytes[at] ^= 0x10);
            let report = kit.verify_plain(&copy);
            assert_eq!(
                report.first_bad(),
                Some(owner(&whole, at)),
                "{path:?} byte {at}: {report:?}"
            );
            // Where the length of the last frame is greater than the file, its end may as well be cut off.
            let last = frames(&whole).pop().unwrap().start;
            if !(last..last + 4).contains(&at) {
                assert_eq!(
                    report.damage(),
                    Some(Damage::Flipped),
                    "byte {at}: {report:?}"
                );
            }
        }
    }
}

#[test]
fn flips_in_an_unsealed_log_are_told_from_a_tear() {
    let mut kit = Kit::new();
    kit.limits.checkpoint_records = 1_000_000;
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..12 {
        put(&log, &text(index, 90)).unwrap();
    }
    let files = files.copy();
    drop(log);
    let path = segments(&files)[0].clone();
    let whole = files.content(&path).unwrap();
    let frames = frames(&whole);
    let plain = kit.verify_plain(&files);
    assert!(plain.is_intact());
    assert_eq!(plain.end, LogEnd::Unsealed);
    for at in frames[0].start..frames[11].end {
        let copy = altered(&files, &path, |bytes| bytes[at] ^= 0x10);
        let report = kit.verify_plain(&copy);
        if at < frames[11].start {
            assert_eq!(report.first_bad(), Some(owner(&whole, at)), "byte {at}");
            assert!(
                matches!(kit.open(&copy), Err(LogError::Damaged { .. })),
                "byte {at}"
            );
        } else {
            // The last frame of a log without a checkpoint: this is what a crash leaves, too.
            assert!(report.is_intact());
            assert!(
                matches!(report.end, LogEnd::Torn { .. }),
                "byte {at}: {report:?}"
            );
        }
    }
}

/// Takes the frames of the first segment, lets `rearrange` move them, and verifies.
fn rearranged(rearrange: impl FnOnce(&mut Vec<Vec<u8>>)) -> VerifyReport {
    let kit = Kit::new();
    let files = kit.written(40, 80);
    let path = segments(&files)[0].clone();
    let copy = altered(&files, &path, |bytes| {
        let ranges = frames(bytes);
        let mut parts: Vec<Vec<u8>> = ranges
            .iter()
            .map(|range| bytes[range.clone()].to_vec())
            .collect();
        bytes.truncate(ranges[0].start);
        rearrange(&mut parts);
        bytes.extend(parts.concat());
    });
    kit.verify_plain(&copy)
}

#[test]
fn dropped_inserted_and_swapped_records_are_found() {
    let found = |report: VerifyReport| (report.first_bad().unwrap(), report.damage().unwrap());
    let report = rearranged(|frames| drop(frames.remove(6)));
    assert_eq!(found(report), (7, Damage::Dropped));
    let report = rearranged(|frames| drop(frames.drain(6..9)));
    assert_eq!(found(report), (7, Damage::Dropped));
    let report = rearranged(|frames| frames.swap(3, 9));
    assert_eq!(found(report), (4, Damage::Swapped));
    let report = rearranged(|frames| frames.swap(3, 4));
    assert_eq!(found(report), (4, Damage::Swapped));
    let report = rearranged(|frames| frames.insert(5, frames[4].clone()));
    assert_eq!(found(report), (6, Damage::Inserted));
    let report = rearranged(|frames| frames.insert(5, frames[8].clone()));
    assert_eq!(found(report), (6, Damage::Inserted));
    let report = rearranged(|frames| frames.insert(5, frames[1].clone()));
    assert_eq!(found(report), (6, Damage::Inserted));
    let report = rearranged(|frames| {
        // A record that somebody made up, where another stands already.
        let mut forged = frames[5].clone();
        forged[20..40].fill(0xaa);
        frames.insert(5, forged);
    });
    assert_eq!(found(report), (6, Damage::Inserted));
    let report = rearranged(|frames| frames.truncate(8));
    assert_eq!(found(report), (9, Damage::Truncated));
    let report = rearranged(|frames| {
        frames.truncate(9);
        frames[8].truncate(60);
    });
    assert_eq!(found(report), (9, Damage::Truncated));
}

#[test]
fn records_chained_anew_contradict_the_checkpoints() {
    // Someone without any key swaps records 7 and 8 and computes the (public) chain anew.
    let kit = Kit::new();
    let files = kit.written(20, 80);
    let paths = segments(&files);
    assert_eq!(
        paths.len(),
        1,
        "one segment, so that only checkpoints can tell"
    );
    let copy = altered(&files, &paths[0], |bytes| rechain_swapped(bytes, 6));
    let outline = parse_segment(&copy.content(&paths[0]).unwrap()).unwrap();
    assert_eq!(
        (outline.records, outline.flaw),
        (20, None),
        "whole in itself"
    );
    let plain = kit.verify_plain(&copy);
    // Checkpoints are kept as the thread comes to it; the one that confirms is at 5 or before.
    assert!(matches!(
        kit.open(&copy),
        Err(LogError::Diverged { witnessed: 20, .. })
    ));
    let first_bad = plain.first_bad().unwrap();
    assert!(plain.vouched < 7, "{plain:?}");
    assert!(first_bad <= 7, "{plain:?}");
    assert!(
        plain
            .problems
            .iter()
            .any(|problem| problem.fault == Fault::Contradicted)
    );
    assert_eq!(plain.damage(), Some(Damage::Replaced));
    let report = verify(&copy, dir(), &kit.verifier, &[], Some(&kit.master)).unwrap();
    assert!(
        report
            .problems
            .iter()
            .any(|p| p.fault == Fault::Forged && p.first_bad == 7),
        "{report:?}"
    );
}

fn rechain_swapped(bytes: &mut Vec<u8>, at: usize) {
    use aws_lc_rs::digest::{SHA256, digest};
    let sha = |parts: &[&[u8]]| digest(&SHA256, &parts.concat()).as_ref().to_vec();
    let mut ranges = frames(bytes);
    ranges.swap(at, at + 1);
    let first = ranges[0].start;
    let mut chain: Vec<u8> = bytes[first - 32..first].to_vec();
    let mut out = bytes[..first].to_vec();
    let mut tree = Tree::default();
    tree.push(leaf_hash(&bytes[..first - 32], &mut Vec::new()));
    for (index, range) in ranges.iter().enumerate() {
        let mut frame = bytes[range.start..range.end - 32].to_vec();
        let sequence = (index as u64 + 1).min(ranges.len() as u64 - 1);
        frame[5..13].copy_from_slice(&sequence.to_be_bytes());
        if frame[4] == 3 {
            let mut seal: Seal = serde_json::from_slice(&frame[13..]).unwrap();
            seal.tree = Some(tree.head());
            frame.truncate(13);
            frame.extend(serde_json::to_vec(&seal).unwrap());
        } else {
            tree.push(leaf_hash(&frame, &mut Vec::new()));
        }
        let leaf = sha(&[&[0], &frame]);
        chain = sha(&[b"chartgate/audit/frame/v2\0", &chain, &leaf]);
        out.extend(frame);
        out.extend(&chain);
    }
    *bytes = out;
}

#[test]
fn a_log_cut_at_any_record_is_found_by_the_witness() {
    let kit = Kit::new();
    let files = kit.written(40, 80);
    let witness = files.content(witness_path()).unwrap();
    let paths = segments(&files);
    for (index, path) in paths.iter().enumerate() {
        let whole = files.content(path).unwrap();
        for frame in frames(&whole) {
            let copy = altered(&files, path, |bytes| bytes.truncate(frame.start));
            for later in &paths[index + 1..] {
                copy.delete(later);
            }
            copy.delete(&dir().join("checkpoints"));
            assert!(
                kit.verify_plain(&copy).is_intact(),
                "the chain alone cannot tell"
            );
            let report = kit.verify(&copy);
            let first_bad = owner(&whole, frame.start);
            assert_eq!(report.first_bad(), Some(first_bad), "{report:?}");
            assert!(
                report
                    .problems
                    .iter()
                    .any(|problem| problem.fault == Fault::Truncated)
            );
            assert_eq!(report.damage(), Some(Damage::Truncated), "{report:?}");
            let refused = kit.open(&copy).unwrap_err();
            let named = matches!(
                refused,
                LogError::Ahead { witnessed: 40, recovered, .. } if recovered == first_bad - 1
            );
            assert!(named, "{refused}");
        }
    }
    assert!(!witness.is_empty());
}

#[test]
fn an_accepted_loss_goes_on_behind_it_and_is_on_record() {
    let kit = Kit::new();
    let files = kit.written(40, 80);
    let paths = segments(&files);
    for later in &paths[1..] {
        files.delete(later);
    }
    let (mut options, _heard) = kit.options(&files);
    options.truncation = Truncation::Accept;
    let (log, recovered) = Log::open(options, Arc::new(files.clone()), Arc::new(Still)).unwrap();
    let loss = recovered.accepted_loss.unwrap();
    assert_eq!((loss.from, loss.to), (recovered.last_seq + 1, 40));
    assert_eq!(put(&log, "after").unwrap().sequence, 41);
    log.shutdown().unwrap();
    let report = kit.verify(&files);
    assert!(report.is_intact(), "{report:?}");
    let on_record = Notice::AcceptedLoss {
        loss,
        segment: 2,
        signed: true,
    };
    assert!(report.notices.contains(&on_record), "{report:?}");
    let mut reader = kit.reader(&files, Sequences { from: 41, to: 41 });
    assert_eq!(reader.next_record().unwrap().unwrap().payload, b"after");
    // The next opening needs no word.
    let (_, recovered) = kit.open(&files).unwrap();
    assert_eq!((recovered.last_seq, recovered.accepted_loss), (41, None));
}

#[test]
fn a_rolled_back_log_that_was_continued_contradicts_the_witness() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..10 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    let snapshot = files.copy();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..10 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    // The snapshot, without a word of the witness, goes on and grows past it.
    let (log, _) = kit.open(&snapshot).unwrap();
    for index in 0..30 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    snapshot.replace(witness_path(), &files.content(witness_path()).unwrap());
    let refused = kit.open(&snapshot).unwrap_err();
    assert!(
        matches!(refused, LogError::Diverged { witnessed: 20, .. }),
        "{refused}"
    );
    let report = kit.verify(&snapshot);
    assert_eq!(report.first_bad(), Some(11), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::RolledBack), "{report:?}");
}

#[test]
fn an_older_copy_is_told_from_a_cut_tail() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..10 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    let older = files.copy();
    let (log, _) = kit.open(&files).unwrap();
    for index in 0..10 {
        put(&log, &text(index, 80)).unwrap();
    }
    log.shutdown().unwrap();
    older.replace(witness_path(), &files.content(witness_path()).unwrap());
    let report = kit.verify(&older);
    assert_eq!(report.first_bad(), Some(11), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::RolledBack), "{report:?}");
    // The same records with the checkpoints of today: the tail was cut off.
    let own = dir().join("checkpoints");
    older.replace(&own, &files.content(&own).unwrap());
    let report = kit.verify(&older);
    assert_eq!(report.first_bad(), Some(11), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::Truncated), "{report:?}");
}

#[test]
fn a_tree_that_does_not_fit_is_found() {
    // Whoever has the signing key states another tree in a checkpoint; the chain value is right.
    let kit = Kit::new();
    let files = kit.written(20, 80);
    let own = String::from_utf8(files.content(&dir().join("checkpoints")).unwrap()).unwrap();
    let key = kit.signer();
    let (text, _) = own.rsplit_once("\n\n\u{2014}").unwrap();
    let text = text.rsplit_once("\n\n").map_or(text, |(_, text)| text);
    let (text, stated) = text.rsplit_once("tree ").unwrap();
    let (size, root) = stated.split_once(' ').unwrap();
    let root = root.replacen(|_| true, if root.starts_with('A') { "B" } else { "A" }, 1);
    let sly = key.sign(&format!("{text}tree {size} {root}\n"));
    let report = verify(&files, dir(), &kit.verifier, &[("sly", &sly)], None).unwrap();
    assert!(
        matches!(&report.problems[..], [Problem { place, fault: Fault::Contradicted, .. }] if place == "sly"),
        "{report:?}"
    );
}

#[test]
fn a_missing_or_replaced_segment_is_found() {
    let kit = Kit::new();
    let files = kit.written(100, 150);
    let paths = segments(&files);
    assert!(paths.len() >= 4);
    let first = |path: &PathBuf| {
        parse_segment(&files.content(path).unwrap())
            .unwrap()
            .header
            .first
    };

    let missing = files.copy();
    missing.delete(&paths[1]);
    let report = kit.verify_plain(&missing);
    assert_eq!(report.first_bad(), Some(first(&paths[1])));
    assert_eq!(report.damage(), Some(Damage::Dropped));
    let cut = altered(&files, &paths[1], |bytes| {
        let last = frames(bytes).len() - 3;
        bytes.truncate(frames(bytes)[last].start);
    });
    let report = kit.verify_plain(&cut);
    assert_eq!(report.first_bad(), Some(first(&paths[2]) - 2), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::Truncated));
    let refused = kit.open(&missing).unwrap_err();
    assert!(
        matches!(refused, LogError::Missing { number: 2, .. }),
        "{refused}"
    );

    let missing = files.copy();
    missing.delete(&paths[0]);
    assert_eq!(kit.verify_plain(&missing).first_bad(), Some(1));
    assert!(matches!(
        kit.open(&missing),
        Err(LogError::Missing { number: 1, .. })
    ));

    // A segment of another log of the same gateway, with the same number and first record.
    let other = kit.written(100, 150);
    let foreign = &segments(&other)[1];
    assert_eq!(
        first(&paths[1]),
        parse_segment(&other.content(foreign).unwrap())
            .unwrap()
            .header
            .first
    );
    let replaced = files.copy();
    replaced.delete(&paths[1]);
    replaced.replace(foreign, &other.content(foreign).unwrap());
    let report = kit.verify_plain(&replaced);
    assert_eq!(report.first_bad(), Some(first(&paths[1])), "{report:?}");
    assert_eq!(report.damage(), Some(Damage::Replaced));
    assert!(matches!(kit.open(&replaced), Err(LogError::Damaged { .. })));
}

#[test]
fn a_damaged_middle_segment_keeps_the_log_closed() {
    let kit = Kit::new();
    let files = kit.written(60, 150);
    let paths = segments(&files);
    let copy = altered(&files, &paths[1], |bytes| bytes[40] ^= 1);
    let refused = kit.open(&copy).unwrap_err();
    let name = paths[1].file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        matches!(&refused, LogError::Damaged { segment, .. } if *segment == name),
        "{refused}"
    );
    let copy = altered(&files, &paths[1], |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(kit.open(&copy), Err(LogError::Damaged { .. })));
}

#[test]
fn other_keys_are_named() {
    let kit = Kit::new();
    let other = Kit::new();
    let files = kit.written(20, 80);
    let report = verify(&files, dir(), &other.verifier, &[], None).unwrap();
    assert_eq!(report.first_bad(), Some(1));
    assert_eq!(report.damage(), Some(Damage::WrongKey));
    assert!(matches!(
        report.problems[0].fault,
        Fault::Checkpoint(NoteError::OtherKey(_))
    ));
    let report = verify(&files, dir(), &kit.verifier, &[], Some(&other.master)).unwrap();
    assert_eq!(report.problems[0].fault, Fault::WrongMasterKey);
    assert_eq!(report.damage(), Some(Damage::WrongKey));
    let mut reader = other.reader(&files, Sequences::ALL);
    assert!(matches!(
        reader.next_record(),
        Err(LogError::WrongMasterKey { .. })
    ));
    assert!(matches!(
        other.open(&files),
        Err(LogError::ForeignCheckpoint { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_altered_segment_parses_and_never_gains(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let kit = Kit::new();
        let files = kit.written(10, 60);
        let path = &segments(&files)[0];
        let whole = files.content(path).unwrap();
        let mut bytes = whole.clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(outline) = parse_segment(&bytes) {
            prop_assert!(outline.records <= 10);
            prop_assert_eq!(outline.records == 10 && outline.seal.is_some(), bytes == whole);
        }
    }
}
