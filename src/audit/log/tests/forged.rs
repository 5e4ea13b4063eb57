//! What someone without any key can write, who computes chain and tree anew: a loss that nobody accepted among it.

use std::sync::Arc;

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::format::Format;
use crate::audit::log::segment_key::{SEGMENT_KEYS, key_file};
use crate::audit::log::tree::{Tree, leaf_hash};
use crate::audit::log::*;

/// A segment with its chain, tree and seal computed anew, and how it ends.
fn rebuilt(
    bytes: &[u8],
    alter: impl FnOnce(&mut Header, &mut [Vec<u8>]),
) -> (Vec<u8>, Header, Previous) {
    let mut header = parse_segment(bytes).unwrap().header;
    let mut parts: Vec<Vec<u8>> = frames(bytes)
        .into_iter()
        .map(|range| bytes[range.start..range.end - 32].to_vec())
        .filter(|frame| frame[4] == 1)
        .collect();
    alter(&mut header, &mut parts);
    let json = serde_json::to_vec(&header).unwrap();
    let mut out = bytes[..12].to_vec();
    out.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    out.extend(json);
    let mut tree = Tree::default();
    tree.push(leaf_hash(&out, &mut Vec::new()));
    let mut head = Format::Two.start(header.previous.head, &out).head;
    out.extend(head.as_bytes());
    let mut last = header.first - 1;
    for mut frame in parts {
        last += 1;
        frame[5..13].copy_from_slice(&last.to_be_bytes());
        tree.push(leaf_hash(&frame, &mut Vec::new()));
        head = Format::Two.chain(head, &frame);
        out.extend(frame);
        out.extend(head.as_bytes());
    }
    let seal = Seal {
        records: last + 1 - header.first,
        last,
        closed: header.created,
        tree: Some(tree.head()),
    };
    let body = serde_json::to_vec(&seal).unwrap();
    let mut frame = u32::try_from(body.len() + 41)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    frame.push(3);
    frame.extend(last.to_be_bytes());
    frame.extend(body);
    head = Format::Two.chain(head, &frame);
    out.extend(frame);
    out.extend(head.as_bytes());
    let ended = Previous {
        segment: header.segment,
        sequence: last,
        head,
        tree: Some(tree.head()),
    };
    (out, header, ended)
}

/// A copy without its first `kept` segments' followers but one, which declares the loss of what is between.
fn declaring(
    files: &FaultyFiles,
    kept: usize,
    edit: impl Fn(&mut [Vec<u8>]),
    from: impl Fn(u64) -> u64,
) -> FaultyFiles {
    let copy = files.copy();
    let paths = segments(files);
    let mut previous = Previous::default();
    for (index, path) in paths.iter().enumerate() {
        let bytes = files.content(path).unwrap();
        copy.delete(path);
        if index > kept {
            continue;
        }
        let (made, header, ended) = rebuilt(&bytes, |header, frames| {
            header.previous = previous.clone();
            header.first = previous.sequence + 1;
            if index == 0 {
                edit(frames);
            }
            if index == kept {
                header.first = 41;
                header.accepted_loss = Some(AcceptedLoss {
                    from: from(previous.sequence),
                    to: 40,
                    place: "an operator's word".to_owned(),
                });
            }
        });
        let path = dir().join("segments").join(header.file_name());
        copy.replace(&path, &made);
        previous = ended;
    }
    copy
}

fn unedited(_: &mut [Vec<u8>]) {}

fn edited(frames: &mut [Vec<u8>]) {
    frames[4][20] ^= 1;
}

#[test]
fn a_loss_that_anyone_could_have_declared_explains_nothing() {
    let kit = Kit::new();
    let files = kit.written(40, 200);
    assert!(segments(&files).len() >= 3);
    // All of it rewritten, all of it declared lost.
    let forged = declaring(&files, 2, edited, |_| 1);
    let report = kit.verify(&forged);
    let found = &report.problems;
    assert!(found.iter().any(|p| p.fault == Fault::Loss), "{report:?}");
    assert!(report.first_bad().unwrap() <= 5, "{report:?}");
    assert!(matches!(kit.open(&forged), Err(LogError::Damaged { .. })));
    // A loss that fits where it stands, after records that were rewritten.
    let forged = declaring(&files, 2, edited, |last| last + 1);
    let report = kit.verify(&forged);
    assert!(report.first_bad().unwrap() <= 5, "{report:?}");
    assert!(matches!(kit.open(&forged), Err(LogError::Damaged { .. })));
    // After records that were not: only what is lost is in doubt. Without checkpoints it is shown as what it is.
    let forged = declaring(&files, 2, unedited, |last| last + 1);
    let kept = parse_segment(&files.content(&segments(&files)[2]).unwrap())
        .unwrap()
        .header
        .first;
    let report = kit.verify(&forged);
    assert!(!report.is_intact(), "{report:?}");
    assert!(report.first_bad().unwrap() <= kept, "{report:?}");
    forged.delete(&dir().join("checkpoints"));
    let report = kit.verify_plain(&forged);
    let unsigned = |notice: &Notice| matches!(notice, Notice::AcceptedLoss { signed: false, .. });
    assert!(
        report.is_intact() && report.notices.iter().any(unsigned),
        "{report:?}"
    );
    assert_eq!(report.vouched, 0);
    // Nor does the gateway go on behind it where no witness says anything.
    forged.delete(witness_path());
    let refused = kit.open(&forged).unwrap_err();
    assert!(
        refused.to_string().contains("master key did not make it"),
        "{refused}"
    );
}

#[test]
fn a_log_goes_on_behind_an_accepted_loss_before_a_witness_took_a_checkpoint_of_it() {
    let mut kit = Kit::new();
    kit.limits.checkpoint_records = 1_000_000;
    let files = kit.written(40, 80);
    for later in &segments(&files)[1..] {
        files.delete(later);
    }
    let (mut options, _heard) = kit.options(&files);
    options.truncation = Truncation::Accept;
    let (log, _) = Log::open(options, Arc::new(files.clone()), Arc::new(Still)).unwrap();
    put(&log, "after").unwrap();
    let crashed = files.copy();
    drop(log);
    // Whether anything signed vouches for that already depends on how far the notary was.
    let (log, recovered) = kit.open(&crashed).unwrap();
    assert_eq!((recovered.last_seq, recovered.accepted_loss), (41, None));
    log.shutdown().unwrap();
    let report = kit.verify(&crashed);
    assert!(report.is_intact(), "{report:?}");
}

#[test]
fn a_replaced_segment_is_told_from_an_older_state() {
    let kit = Kit::new();
    let run = |files: &FaultyFiles, count| {
        let (log, _) = kit.open(files).unwrap();
        for index in 0..count {
            put(&log, &text(index, 80)).unwrap();
        }
        log.shutdown().unwrap();
    };
    let files = FaultyFiles::new();
    run(&files, 10);
    let other = files.copy();
    run(&files, 10);
    run(&files, 10);
    run(&other, 12);
    let at = |files: &FaultyFiles, number| {
        let mut paths = segments(files).into_iter();
        paths.find(|path| {
            let header = parse_segment(&files.content(path).unwrap()).unwrap().header;
            header.number == number
        })
    };
    let (gone, foreign) = (at(&files, 2).unwrap(), at(&other, 2).unwrap());
    files.delete(&gone);
    files.replace(&foreign, &other.content(&foreign).unwrap());
    let header = parse_segment(&files.content(&foreign).unwrap())
        .unwrap()
        .header;
    let own = dir()
        .join(SEGMENT_KEYS)
        .join(key_file(header.first, header.segment));
    files.replace(&own, &other.content(&own).unwrap());
    let report = kit.verify(&files);
    // From where the last checkpoint before it vouches, or from where its neighbour does not follow.
    assert!(
        [Some(11), Some(21)].contains(&report.first_bad()),
        "{report:?}"
    );
    assert_eq!(report.damage(), Some(Damage::Replaced), "{report:?}");
}

#[test]
fn what_checkpoints_of_one_place_show_is_one_line() {
    let kit = Kit::new();
    let files = kit.written(40, 80);
    // In the last segment, whose end a witness holds however late it heard of the others.
    let path = segments(&files).last().unwrap().clone();
    let mut first = 0;
    let copy = super::altered::altered(&files, &path, |bytes| {
        first = parse_segment(bytes).unwrap().header.first;
        let frame = frames(bytes)[2].clone();
        bytes[frame.start + 20] ^= 1;
    });
    let report = kit.verify(&copy);
    assert_eq!(report.first_bad(), Some(first + 2), "{report:?}");
    let of_witness: Vec<_> = report
        .problems
        .iter()
        .filter(|p| p.place == "witness")
        .collect();
    let [one] = of_witness[..] else {
        panic!("{report:?}");
    };
    assert!(one.checkpoints.unwrap().count >= 1, "{report:?}");
}
