//! Writing, reading, following and closing while nothing goes wrong.

use std::sync::Arc;

use proptest::prelude::*;

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

#[test]
fn what_is_written_is_read_over_segments_and_openings() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let mut expected = Vec::new();
    for run in 0..3 {
        let (log, recovered) = kit.open(&files).unwrap();
        assert_eq!(recovered.last_seq, expected.len() as u64);
        assert_eq!(recovered.cut, None);
        for index in 0..40 {
            let text = text(run * 100 + index, 100);
            let position = put(&log, &text).unwrap();
            expected.push(text);
            assert_eq!(position.sequence, expected.len() as u64);
        }
        log.shutdown().unwrap();
        assert!(matches!(put(&log, "late"), Err(LogError::Closed)));
    }
    assert!(segments(&files).len() >= 6);
    assert_eq!(kit.read_all(&files), expected);
    let report = kit.verify(&files);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(
        (report.records, report.last, report.vouched, report.end),
        (120, 120, 120, LogEnd::Sealed)
    );
    // The newest of both holders is there; earlier ones may have been overtaken.
    assert!(report.checkpoints >= 2, "{report:?}");
    assert_eq!(report.newest_witnessed, Some(120));
}

#[test]
fn no_two_segments_share_a_key_or_an_id() {
    let kit = Kit::new();
    let files = kit.written(60, 200);
    let mut ids = std::collections::BTreeSet::new();
    let mut keys = std::collections::BTreeSet::new();
    let paths = segments(&files);
    for path in &paths {
        let header = parse_segment(&files.content(path).unwrap()).unwrap().header;
        ids.insert(header.segment);
        keys.insert(header.wrapped_key);
    }
    assert!(paths.len() > 3);
    assert_eq!((ids.len(), keys.len()), (paths.len(), paths.len()));
}

#[test]
fn nothing_of_a_payload_is_on_the_disk() {
    let kit = Kit::new();
    let files = kit.written(10, 64);
    let needle = text(7, 64);
    for path in files.paths() {
        let bytes = files.content(&path).unwrap();
        assert!(
            !bytes
                .windows(20)
                .any(|window| needle.as_bytes()[44..].eq(window)),
            "{path:?}"
        );
    }
}

#[test]
fn a_range_is_read_without_the_rest() {
    let kit = Kit::new();
    let files = kit.written(100, 150);
    for (from, to) in [(1, 1), (37, 61), (99, 200), (100, 100), (101, 101), (0, 3)] {
        let mut reader = kit.reader(&files, Sequences { from, to });
        let mut read = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            read.push(record.sequence);
        }
        let expected: Vec<u64> = (from.max(1)..=to.min(100)).collect();
        assert_eq!(read, expected, "{from}..={to}");
    }
}

#[test]
fn a_reader_follows_the_writer_over_rotations_and_openings() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let mut reader = kit.reader(&files, Sequences::ALL);
    let mut next = 1;
    for _ in 0..3 {
        let (log, _) = kit.open(&files).unwrap();
        assert_eq!(reader.next_record().unwrap(), None);
        for _ in 0..30 {
            put(&log, &text(next, 150)).unwrap();
            let record = reader.next_record().unwrap().unwrap();
            assert_eq!(record.sequence, next as u64);
            assert_eq!(record.payload, text(next, 150).as_bytes());
            assert_eq!(reader.next_record().unwrap(), None);
            next += 1;
        }
        // An opening without a record leaves an empty segment, which the reader passes.
        log.shutdown().unwrap();
        kit.open(&files).unwrap().0.shutdown().unwrap();
    }
    assert!(kit.verify(&files).is_intact());
}

#[test]
fn a_reader_beside_a_writer_sees_every_record_once() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 1..=500 {
                put(&log, &text(index, 120)).unwrap();
            }
        });
        let mut reader = kit.reader(&files, Sequences::ALL);
        let mut seen = 0;
        while seen < 500 {
            match reader.next_record().unwrap() {
                Some(record) => {
                    seen += 1;
                    assert_eq!(record.sequence, seen);
                }
                None => std::thread::yield_now(),
            }
        }
    });
}

#[test]
fn many_writers_share_batches() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let log = log.for_worker();
            scope.spawn(move || {
                for index in 0..100 {
                    let [admit, outcome] = log.reserve::<2>(Priority::Care).unwrap();
                    admit
                        .append(payload(&format!("{writer} {index} admit")))
                        .wait()
                        .unwrap();
                    outcome.append_unwaited(payload(&format!("{writer} {index} outcome")));
                }
            });
        }
    });
    log.shutdown().unwrap();
    let read = kit.read_all(&files);
    assert_eq!(read.len(), 1600);
    for writer in 0..8 {
        let own: Vec<_> = read
            .iter()
            .filter(|text| text.starts_with(&format!("{writer} ")))
            .collect();
        assert_eq!(own.len(), 200);
        assert!(own.iter().step_by(2).all(|text| text.ends_with("admit")));
    }
    let status = log.status();
    assert_eq!((status.records, status.slots, status.bytes), (1600, 0, 0));
    assert_eq!(status.health, Health::Closed);
}

#[test]
fn tasks_of_one_worker_are_all_woken() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, async {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let log = log.clone();
                tokio::task::spawn_local(async move {
                    for index in 0..20 {
                        let [slot] = log.reserve::<1>(Priority::Routine).unwrap();
                        slot.append(payload(&format!("{task} {index}")))
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            task.await.unwrap();
            done += 1;
        }
        done
    });
    assert_eq!(done, 64);
    assert_eq!(log.status().records, 1280);
}

#[test]
fn a_task_that_does_not_look_does_not_hold_up_its_neighbours() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        // These register their waker and are never polled again while the last is awaited.
        let mut deaf = Vec::new();
        for index in 0..20 {
            let [slot] = log.reserve::<1>(Priority::Routine).unwrap();
            let mut appending = Box::pin(slot.append(payload(&format!("deaf {index}"))));
            std::future::poll_fn(|context| {
                let _pending = appending.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
            deaf.push(appending);
        }
        let [slot] = log.reserve::<1>(Priority::Routine).unwrap();
        slot.append(payload("heard")).await.unwrap();
        drop(deaf);
    });
}

#[test]
fn one_process_owns_the_trail() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _) = kit.open(&files).unwrap();
    let refused = kit.open(&files).unwrap_err();
    assert!(matches!(refused, LogError::Locked { .. }), "{refused}");
    drop(log);
    kit.open(&files).unwrap();
}

#[test]
fn the_real_file_system_does_as_the_simulated_one() {
    let kit = Kit::new();
    let root = tempfile::tempdir().unwrap();
    let (mut options, _heard) = kit.options(&FaultyFiles::new());
    let directory = root.path().join("trail");
    let witness = root.path().join("witness");
    let real: Arc<dyn Files> = Arc::new(RealFiles);
    options.directory.clone_from(&directory);
    options.witnesses = vec![Box::new(FileWitness::new(
        &witness,
        Arc::clone(&real),
        kit.verifier.clone(),
    ))];
    let (log, _) = Log::open(options, Arc::clone(&real), Arc::new(Still)).unwrap();
    let (second, _heard) = kit.options(&FaultyFiles::new());
    let second = LogOptions {
        directory: directory.clone(),
        ..second
    };
    let refused = Log::open(second, Arc::clone(&real), Arc::new(Still)).unwrap_err();
    assert!(matches!(refused, LogError::Locked { .. }), "{refused}");
    for index in 0..50 {
        put(&log, &text(index, 200)).unwrap();
    }
    log.shutdown().unwrap();
    let notes = std::fs::read_to_string(&witness).unwrap();
    let report = verify(
        &RealFiles,
        &directory,
        &kit.verifier,
        &[("witness", &notes)],
        Some(&kit.master),
    )
    .unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.records, report.end), (50, LogEnd::Sealed));
    assert_eq!(report.newest_witnessed, Some(50));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let files = FaultyFiles::new();
    for spoil in [
        |limits: &mut Limits| limits.segment_bytes = 10,
        |limits: &mut Limits| limits.allocate_bytes = 0,
        |limits: &mut Limits| limits.checkpoint_records = 0,
        |limits: &mut Limits| limits.care_slots = limits.slots,
        |limits: &mut Limits| limits.bytes = 10,
    ] {
        let mut kit = Kit::new();
        spoil(&mut kit.limits);
        assert!(matches!(kit.open(&files), Err(LogError::Option { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_payloads_come_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..30)) {
        let kit = Kit::new();
        let files = FaultyFiles::new();
        let (log, _) = kit.open(&files).unwrap();
        for bytes in &payloads {
            let [slot] = log.reserve::<1>(Priority::Routine).unwrap();
            slot.append_unwaited(Payload::new(bytes.clone()).unwrap());
        }
        log.shutdown().unwrap();
        let mut reader = kit.reader(&files, Sequences::ALL);
        let mut read = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            read.push(record.payload);
        }
        prop_assert_eq!(read, payloads);
        prop_assert!(kit.verify(&files).is_intact());
    }

    #[test]
    fn any_bytes_parse(bytes: Vec<u8>) {
        let _total = parse_segment(&bytes);
    }
}

#[test]
fn a_new_segment_is_told_what_is_open_once_the_run_is_settled() {
    let kit = Kit::new();
    let files = FaultyFiles::new();
    let (log, _, heard) = kit.open_heard(&files).unwrap();
    let [a, b] = [1, 2].map(uuid::Uuid::from_u128);
    let say = |mark: Mark| {
        let [slot] = log.reserve::<1>(Priority::Care).unwrap();
        let payload = payload(&text(0, 3000)).marked(mark);
        slot.append(payload).wait().unwrap();
    };
    for mark in [
        Mark::Opens(a),
        Mark::Neither,
        Mark::Settles,
        Mark::Opens(b),
        Mark::Neither,
        Mark::Closes(a),
        Mark::Neither,
        Mark::Neither,
    ] {
        say(mark);
    }
    log.shutdown().unwrap();
    drop(log);
    let told: Vec<_> = heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Carried(open) => Some(open.into_iter().collect::<Vec<_>>()),
            Heard::Degraded(_) | Heard::Failed | Heard::Recovered(_) | Heard::Restored(..) => None,
        })
        .collect();
    assert_eq!(told, [vec![a, b], vec![b]]);
}
