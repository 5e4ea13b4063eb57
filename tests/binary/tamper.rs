//! Someone with the disk in hand alters the trail while the gateway is down.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::forge::{self, Ended};
use crate::harness::practice::{Practice, copy};
use crate::harness::process::chartgate;

/// The segments, oldest first.
fn segments(practice: &Practice) -> Vec<PathBuf> {
    segments_below(&practice.path("data/trail"))
}

fn segments_below(trail: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(trail.join("segments")).unwrap();
    let mut segments: Vec<PathBuf> = found.map(|file| file.unwrap().path()).collect();
    segments.sort();
    segments
}

/// Where each record of a segment lies, by its sequence number, as docs/audit.md has it.
fn records(segment: &[u8]) -> Vec<(u64, Range<usize>)> {
    let number = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(&segment[..8], b"CGSEGMNT");
    let mut at = 16 + number(12) + 32;
    let mut found = Vec::new();
    while at + 4 <= segment.len() && number(at) > 0 {
        let end = at + 4 + number(at);
        let sequence = u64::from_be_bytes(segment[at + 5..at + 13].try_into().unwrap());
        if segment[at + 4] == 1 {
            found.push((sequence, at..end));
        }
        at = end;
    }
    found
}

/// Opens and closes the gateway, with a few refused strangers in between.
pub(super) async fn a_day(practice: &Practice) {
    let serving = practice.serve().await;
    for path in ["/chart", "/patients/4/export.csv", "/admin/users"] {
        let page = practice.browser().get(&practice.people.url(path)).await;
        assert_eq!(page.status, 303);
    }
    assert_eq!(serving.process.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_found_and_its_record_named() {
    let practice = Practice::without_provider().await;
    a_day(&practice).await;
    a_day(&practice).await;
    let (code, found) = practice.verify().await;
    assert_eq!((code, &found["intact"]), (Some(0), &true.into()), "{found}");

    for segment in segments(&practice) {
        let whole = fs::read(&segment).unwrap();
        let records = records(&whole);
        assert!(records.len() >= 3, "start, refusals, stop");
        for (sequence, place) in [&records[0], &records[records.len() / 2]] {
            let mut bytes = whole.clone();
            bytes[place.start + 20] ^= 1;
            fs::write(&segment, bytes).unwrap();
            let (code, found) = practice.verify().await;
            assert_eq!(code, Some(1), "{found}");
            assert_eq!(found["first_bad"], *sequence, "{found}");
            let said = practice.audit(&["verify"]).await;
            assert!(
                said.out
                    .contains(&format!("the first record in doubt is {sequence}\n")),
                "{}",
                said.out
            );
            fs::write(&segment, &whole).unwrap();
        }
    }
    assert_eq!(practice.verify().await.0, Some(0), "put right again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_tail_is_proven_by_the_witness_and_serve_wants_an_operators_word() {
    let practice = Practice::without_provider().await;
    a_day(&practice).await;
    let (_, whole) = practice.verify().await;
    let last = whole["last"].as_u64().unwrap();
    let newest = segments(&practice).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let records = records(&bytes);
    let (missing, place) = &records[records.len() - 2];
    fs::write(&newest, &bytes[..place.start]).unwrap();

    let (code, found) = practice.verify().await;
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(found["first_bad"], *missing, "{found}");

    refused_and_accepted(&practice, *missing, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_rolled_back_to_an_older_copy_is_found() {
    let practice = Practice::without_provider().await;
    a_day(&practice).await;
    let (trail, older) = (practice.path("data/trail"), practice.path("older"));
    copy(&trail, &older);
    let (_, found) = practice.verify().await;
    let kept = found["last"].as_u64().unwrap();
    a_day(&practice).await;
    let (_, found) = practice.verify().await;
    let last = found["last"].as_u64().unwrap();

    fs::remove_dir_all(&trail).unwrap();
    copy(&older, &trail);
    let (code, found) = practice.verify().await;
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(found["first_bad"], kept + 1, "{found}");

    refused_and_accepted(&practice, kept + 1, last).await;
}

/// The records from `first` to `last` are gone: serving needs an operator's explicit word, and that is on record.
async fn refused_and_accepted(practice: &Practice, first: u64, last: u64) {
    let refused = practice.start(&[]).ended().await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(
        refused.err.contains("--accept-truncated-trail"),
        "{}",
        refused.err
    );
    // Reading offline is no way around it.
    assert_eq!(practice.audit(&["show"]).await.code, Some(1));

    let serving = practice.serve_with(&["--accept-truncated-trail"]).await;
    let trail = practice.trail().await;
    let recovered = trail
        .iter()
        .rfind(|entry| entry["event"] == "recovered")
        .expect("the loss is on record");
    let accepted = recovered["detail"]["loss_accepted"].as_str().unwrap();
    assert!(
        accepted.starts_with(&format!("{first} to {last} ")),
        "{accepted}"
    );
    assert_eq!(serving.process.stop().await.code, Some(0));
    let (code, found) = practice.verify().await;
    assert_eq!(code, Some(0), "{found}");
    assert!(
        found["notices"].to_string().contains(&last.to_string()),
        "the loss stays visible: {found}"
    );

    // From here on it needs no word.
    let serving = practice.serve().await;
    assert_eq!(serving.process.stop().await.code, Some(0));
}

/// A copy of a trail, its witness and its key, for somebody to lay hands on.
pub(super) struct Copied {
    dir: tempfile::TempDir,
}

/// What `audit verify` says of a copy: exit code, kind, first bad record.
pub(super) type Said = (Option<i32>, Option<String>, Option<u64>);

/// What the verifier in Python says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Python {
    /// There is no Python here.
    Missing,
    /// The first bad record, or that there is none.
    Says(Option<u64>),
}

impl Copied {
    pub(super) fn of(practice: &Practice) -> Self {
        let copied = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        copy(&practice.path("data/trail"), &copied.path("trail"));
        fs::copy(practice.path("witness/checkpoints"), copied.path("witness")).unwrap();
        fs::copy(practice.path("keys/signing.pub"), copied.path("key")).unwrap();
        copied
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn arguments(&self) -> [String; 3] {
        ["trail", "key", "witness"].map(|name| self.path(name).display().to_string())
    }

    pub(super) async fn verified(&self) -> Said {
        let [trail, key, witness] = self.arguments();
        let arguments = [
            "audit",
            "verify",
            "--json",
            "--dir",
            &trail,
            "--key",
            &key,
            "--witness",
            &witness,
        ];
        let ended = chartgate(&arguments).await;
        let found: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(found["intact"], ended.code == Some(0), "{found}");
        let kind = found["kind"].as_str().map(ToOwned::to_owned);
        (ended.code, kind, found["first_bad"].as_u64())
    }

    /// What the verifier in Python says: the first bad record, if any.
    #[expect(clippy::print_stdout, reason = "that it was skipped is said aloud")]
    pub(super) fn verified_by_python(&self) -> Python {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_trail.py");
        let run = Command::new("python3")
            .arg(program)
            .args(self.arguments())
            .output();
        let output = match run {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!(
                    "SKIPPED: no python3 here, so nothing was compared with tests/verify_trail.py"
                );
                return Python::Missing;
            }
            other => other.unwrap(),
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        match said.trim().split_once(' ') {
            Some(("intact", _)) => Python::Says(None),
            Some(("first_bad", first)) => Python::Says(Some(first.parse().unwrap())),
            Some(_) | None => panic!("{said} {error}"),
        }
    }

    pub(super) fn segments(&self) -> Vec<PathBuf> {
        segments_below(&self.path("trail"))
    }

    /// Alters the frames of the records of a segment.
    fn rearrange(&self, segment: usize, alter: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let path = &self.segments()[segment];
        let bytes = fs::read(path).unwrap();
        let ranges: Vec<Range<usize>> = records(&bytes).into_iter().map(|(_, at)| at).collect();
        let (first, last) = (ranges[0].start, ranges[ranges.len() - 1].end);
        let mut frames: Vec<Vec<u8>> = ranges.iter().map(|at| bytes[at.clone()].to_vec()).collect();
        alter(&mut frames);
        let altered = [&bytes[..first], &frames.concat(), &bytes[last..]].concat();
        fs::write(path, altered).unwrap();
    }

    /// The first record of a segment.
    fn first(&self, segment: usize) -> u64 {
        records(&fs::read(&self.segments()[segment]).unwrap())[0].0
    }
}

/// Each damage, found by the program and, from the same files, by a verifier that shares no code with it.
#[tokio::test(flavor = "multi_thread")]
async fn every_damage_has_its_kind_and_its_record_and_another_verifier_finds_the_same() {
    let practice = Practice::without_provider().await;
    a_day(&practice).await;
    let monday = Copied::of(&practice);
    a_day(&practice).await;
    a_day(&practice).await;

    let fresh = || Copied::of(&practice);
    let good = fresh();
    assert!(good.segments().len() >= 3);
    let second = good.first(1);
    let mut cases: Vec<(Copied, Option<&str>, Option<u64>)> = vec![(good, None, None)];
    let mut add = |copied: Copied, kind: &'static str, first_bad: u64| {
        cases.push((copied, Some(kind), Some(first_bad)));
    };

    let flipped = fresh();
    flipped.rearrange(1, |frames| frames[1][40] ^= 4);
    add(flipped, "flipped", second + 1);

    let dropped = fresh();
    dropped.rearrange(1, |frames| drop(frames.remove(2)));
    add(dropped, "dropped", second + 2);

    let inserted = fresh();
    inserted.rearrange(1, |frames| frames.insert(2, frames[1].clone()));
    add(inserted, "inserted", second + 2);

    let swapped = fresh();
    swapped.rearrange(1, |frames| frames.swap(1, 2));
    add(swapped, "swapped", second + 1);

    let truncated = fresh();
    let newest = truncated.segments().pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let (missing, place) = records(&bytes).pop().unwrap();
    fs::write(&newest, &bytes[..place.start]).unwrap();
    add(truncated, "truncated", missing);

    let replaced = fresh();
    let others = Practice::without_provider().await;
    a_day(&others).await;
    a_day(&others).await;
    let foreign = Copied::of(&others);
    let first_bad = replaced.first(1).min(foreign.first(1));
    fs::remove_file(&replaced.segments()[1]).unwrap();
    let file = foreign.segments()[1].clone();
    let folder = replaced.path("trail/segments");
    fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    add(replaced, "replaced", first_bad);

    let rolled_back = monday;
    fs::copy(
        practice.path("witness/checkpoints"),
        rolled_back.path("witness"),
    )
    .unwrap();
    add(rolled_back, "rolled-back", second);

    let wrong_key = fresh();
    fs::copy(foreign.path("key"), wrong_key.path("key")).unwrap();
    add(wrong_key, "wrong-key", 1);

    let mut compared = 0;
    for (copied, kind, first_bad) in &cases {
        let code = if kind.is_some() { Some(1) } else { Some(0) };
        let said = copied.verified().await;
        assert_eq!(said, (code, kind.map(ToOwned::to_owned), *first_bad));
        if let Python::Says(other) = copied.verified_by_python() {
            assert_eq!(other, *first_bad, "{kind:?}");
            compared += 1;
        }
    }
    assert!(compared == 0 || compared == cases.len());
}

/// A trail of an older format, with a newer one behind it, and the end that a killed gateway leaves.
#[test]
fn another_verifier_reads_the_older_format_too() {
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trail-format-1");
    let copied = Copied {
        dir: tempfile::tempdir().unwrap(),
    };
    copy(&PathBuf::from(old).join("trail"), &copied.path("trail"));
    fs::copy(format!("{old}/witness"), copied.path("witness")).unwrap();
    fs::copy(format!("{old}/signing.pub"), copied.path("key")).unwrap();
    if let Python::Says(said) = copied.verified_by_python() {
        assert_eq!(said, None);
        copied.rearrange(0, |frames| frames[5][50] ^= 1);
        assert_eq!(copied.verified_by_python(), Python::Says(Some(6)));
    }
}

/// Somebody without any key alters a record, computes everything anew, and declares lost whatever a witness knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_nobody_accepted_hides_nothing() {
    let practice = Practice::without_provider().await;
    for _ in 0..3 {
        a_day(&practice).await;
    }
    let (_, found) = practice.verify().await;
    let last = found["last"].as_u64().unwrap();
    // All of it, or as much as stands between the records that are kept and those that follow.
    let everything: fn(u64) -> u64 = |_| 1;
    let the_rest: fn(u64) -> u64 = |before| before + 1;
    for from in [everything, the_rest] {
        let forged = Copied::of(&practice);
        let paths = forged.segments();
        let mut ended = Ended::nothing();
        for (index, path) in paths.iter().enumerate() {
            let bytes = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            let places: Vec<Range<usize>> = records(&bytes).into_iter().map(|(_, at)| at).collect();
            let before = ended.sequence;
            let (name, made, next) = forge::segment(
                &bytes,
                &places,
                &ended,
                |header| {
                    if index + 1 == paths.len() {
                        header["first"] = (last + 1).into();
                        header["accepted_loss"] = serde_json::json!({
                            "from": from(before), "to": last, "place": "an operator's word",
                        });
                    }
                },
                |frames| {
                    if index == 0 {
                        frames[2][20] ^= 1;
                    }
                },
            );
            fs::write(path.with_file_name(name), made).unwrap();
            ended = next;
        }
        let (code, kind, first_bad) = forged.verified().await;
        assert_eq!(code, Some(1), "{kind:?} {first_bad:?}");
        assert!(first_bad.unwrap() <= 3, "{kind:?} {first_bad:?}");
        if let Python::Says(other) = forged.verified_by_python() {
            assert_eq!(other, first_bad, "{kind:?}");
        }
    }
}
