//! Verification from a time on.

use std::path::Path;

use super::altered::altered;
use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

/// Logs of three runs, each of ten records, at these times.
fn three_runs(kit: &Kit, times: [&str; 3]) -> FaultyFiles {
    let files = FaultyFiles::new();
    for time in times {
        let (log, _) = kit.open_at(&files, time).unwrap();
        for index in 0..10 {
            put(&log, &text(index, 80)).unwrap();
        }
        log.shutdown().unwrap();
    }
    files
}

fn since(kit: &Kit, files: &FaultyFiles, time: &str) -> VerifyReport {
    let scope = Scope::Since(time.parse().unwrap());
    let witness = String::from_utf8(files.content(witness_path()).unwrap()).unwrap();
    let witnessed = [("witness", witness.as_str())];
    verify_within(scope, files, dir(), &kit.verifier, &witnessed, None).unwrap()
}

#[test]
fn verification_from_a_time_on_leaves_out_what_is_before_and_nothing_else() {
    let kit = Kit::new();
    let days = [
        "2026-03-01T10:00:00Z",
        "2026-03-05T10:00:00Z",
        "2026-03-09T10:00:00Z",
    ];
    let files = three_runs(&kit, days);
    for (time, from, records) in [
        ("2026-03-01T00:00:00Z", 0, 30),
        ("2026-03-04T00:00:00Z", 0, 30),
        ("2026-03-06T00:00:00Z", 11, 20),
        ("2026-03-20T00:00:00Z", 21, 10),
    ] {
        let report = since(&kit, &files, time);
        assert!(report.is_intact(), "{report:?}");
        assert_eq!((report.from, report.records), (from, records), "{time}");
        assert_eq!((report.last, report.vouched), (30, 30), "{time}");
    }
    // An alteration before is not seen, one behind is; so is a cut tail.
    let paths = segments(&files);
    let flip = |path: &Path| {
        altered(&files, path, |bytes| {
            let frame = frames(bytes)[4].clone();
            bytes[frame.start + 30] ^= 1;
        })
    };
    assert!(since(&kit, &flip(&paths[0]), "2026-03-06T00:00:00Z").is_intact());
    let report = since(&kit, &flip(&paths[1]), "2026-03-06T00:00:00Z");
    assert_eq!(report.first_bad(), Some(15), "{report:?}");
    let cut = altered(&files, &paths[2], |bytes| {
        bytes.truncate(frames(bytes)[7].start);
    });
    let report = since(&kit, &cut, "2026-03-06T00:00:00Z");
    assert_eq!(report.first_bad(), Some(28), "{report:?}");
    // The checkpoint that it begins with is looked up: another segment in that place is found.
    let other = three_runs(&kit, days);
    let foreign = files.copy();
    for path in &paths[1..] {
        foreign.delete(path);
    }
    for path in &segments(&other)[1..] {
        foreign.replace(path, &other.content(path).unwrap());
    }
    assert!(!since(&kit, &foreign, "2026-03-06T00:00:00Z").is_intact());
}

#[test]
fn a_clock_that_was_wrong_for_a_while_leaves_nothing_out() {
    let kit = Kit::new();
    for middle in ["1970-01-01T00:00:00Z", "2031-01-01T00:00:00Z"] {
        let days = ["2026-03-01T10:00:00Z", middle, "2026-03-09T10:00:00Z"];
        let files = three_runs(&kit, days);
        let report = since(&kit, &files, "2026-03-05T00:00:00Z");
        assert!(report.is_intact(), "{report:?}");
        assert!(report.from <= 11, "{middle} {report:?}");
    }
}
