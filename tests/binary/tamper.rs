//! Someone with the disk in hand alters the trail while the gateway is down.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use crate::harness::practice::{Practice, copy};

/// The segments, oldest first.
fn segments(practice: &Practice) -> Vec<PathBuf> {
    let found = fs::read_dir(practice.path("data/trail/segments")).unwrap();
    let mut segments: Vec<PathBuf> = found.map(|file| file.unwrap().path()).collect();
    segments.sort();
    segments
}

/// Where each record of a segment lies, by its sequence number, as docs/audit-format.md has it.
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
async fn a_day(practice: &Practice) {
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
