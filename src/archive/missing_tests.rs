//! What an archive is said to be that is not there, is empty, or lost segments that something in it tells of.

use std::fs;

use super::tests::Place;
use super::*;
use crate::audit::log::{RETIRED, RealFiles, ended, retire};
use crate::config::ArchiveTarget;
use crate::outbound::s3::loopback::locked::{Shared, store};

/// What somebody finds who has the archive and the public key alone.
async fn proven(place: &Place, with_key: bool) -> Result<Verified, ArchiveError> {
    let (target, key) = (place.target(), place.config.audit.signing_key.clone());
    let scratch = place.path("scratch");
    let work = move || {
        let key = SigningKey::read(&key).unwrap();
        let expected = Expected {
            known: None,
            key: with_key.then(|| key.verifier()),
        };
        within(&scratch, |scratch| verify(&target, expected, scratch))
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn brought_back(place: &Place, to: &str) -> Restored {
    let (to, target) = (place.path(to), place.target());
    let restored = tokio::task::spawn_blocking(move || restore(&target, &to));
    restored.await.unwrap().unwrap()
}

fn assert_named<P: AsRef<str>>(problems: &[String], parts: &[P]) {
    for part in parts.iter().map(AsRef::as_ref) {
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{part}: {problems:?}"
        );
    }
}

/// What is to be said where the first and the third of these segments are gone.
fn gone(names: &[String]) -> Vec<String> {
    let id = |name: &String| {
        let own = name.rsplit('/').next().unwrap();
        let (_, id) = own.strip_suffix(".cgseg").unwrap().split_once('-').unwrap();
        id.to_owned()
    };
    vec![
        "records 1 to".to_owned(),
        format!(
            "segment {} is missing: a checkpoint of record",
            id(&names[0])
        ),
        format!(
            "segment {} is missing: a checkpoint of record",
            id(&names[2])
        ),
    ]
}

/// An archive of four runs, a segment each.
async fn archived() -> Place {
    let place = Place::open().await.runs(&["1", "2", "3", "4"]).await;
    place.run().await;
    let found = proven(&place, true).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.segments, found.locking), (4, false));
    assert!(found.witnessed >= found.last, "{found:?}");
    place
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_an_error_and_an_empty_one_is_not_intact() {
    let place = Box::pin(archived()).await;
    let archive = place.path("archive");
    fs::rename(&archive, place.path("away")).unwrap();
    let absent = proven(&place, true).await.unwrap_err();
    assert!(matches!(absent, ArchiveError::Absent(_)), "{absent}");
    let refused = restore(&place.target(), &place.path("restored")).unwrap_err();
    assert!(matches!(refused, ArchiveError::Absent(_)), "{refused}");
    assert!(!place.path("restored").exists());
    // The gateway forgets nothing of what it should hold, and says aloud that it is gone.
    let absent = place.archives.verify().await.unwrap_err().to_string();
    assert!(absent.contains("is it mounted"), "{absent}");
    assert!(matches!(place.archives.standing(), Standing::Bad(_)));
    let alarms = place.events(Event::Alarm);
    assert_eq!(alarms[0]["rule"], "archive-altered");
    assert_eq!(place.archives.inner.shelf.all().await.unwrap().len(), 4);

    fs::create_dir(&archive).unwrap();
    let found = proven(&place, true).await.unwrap();
    assert_named(&found.problems, &["there is no segment"]);
    fs::remove_dir(&archive).unwrap();
    fs::rename(place.path("away"), &archive).unwrap();
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(matches!(place.archives.standing(), Standing::Fine(_)));
}

#[tokio::test]
async fn a_gateway_that_archived_nothing_yet_misses_nothing() {
    let place = Place::open().await;
    fs::create_dir(place.path("archive")).unwrap();
    let found = place.archives.verify().await.unwrap();
    assert_eq!((found.segments, found.problems.len()), (0, 0));
    assert!(place.events(Event::Alarm).is_empty());
}

#[tokio::test]
async fn the_first_and_the_last_segments_are_missed() {
    let place = Box::pin(archived()).await;
    let segments = place.segments("archive");
    // Of the very last it is told where a checkpoint of the segment behind it was archived, too.
    for gone in [&segments[0], &segments[2], &segments[3]] {
        fs::remove_file(gone).unwrap();
    }
    let names: Vec<String> = segments
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let parts = gone(&names);
    for with_key in [true, false] {
        let found = proven(&place, with_key).await.unwrap();
        assert_eq!(found.segments, 1);
        assert!(found.witnessed > found.last, "{found:?}");
        assert_named(&found.problems, &parts);
    }
    let restored = brought_back(&place, "restored").await;
    assert_eq!(restored.segments, 1);
    assert_named(&restored.problems, &parts);
}

#[tokio::test]
async fn what_retention_removed_is_not_missed_and_a_note_of_another_key_removes_nothing() {
    let place = Box::pin(archived()).await;
    let segments = place.segments("archive");
    let headers = place.archives.inner.holdings.headers().unwrap();
    let (first, _) = &ended(&headers, Timestamp::UNIX_EPOCH)[0];
    for (is_ours, missed) in [(false, true), (true, false)] {
        let key = if is_ours {
            SigningKey::read(&place.config.audit.signing_key).unwrap()
        } else {
            SigningKey::generate("gw/trail").unwrap()
        };
        let trail = tempfile::tempdir().unwrap();
        fs::create_dir(trail.path().join("segments")).unwrap();
        retire(&RealFiles, trail.path(), &key, std::slice::from_ref(first)).unwrap();
        let note = fs::read_to_string(trail.path().join(RETIRED)).unwrap();
        fs::create_dir_all(place.path("archive/retired")).unwrap();
        let path = place.path("archive/retired/00000000000000000001.note");
        fs::write(&path, note.trim_start_matches('\n')).unwrap();
        if missed {
            fs::remove_file(&segments[0]).unwrap();
        }
        let found = proven(&place, true).await.unwrap();
        let said = found.problems.join("\n");
        assert_eq!(said.contains("records 1 to"), missed, "{said}");
        assert_eq!(found.problems.is_empty(), !missed, "{said}");
    }
}

async fn in_a_bucket() -> (Place, Shared) {
    let (account, vault) = store("s3cret");
    let target = ArchiveTarget::S3(Box::new(account));
    let place = Place::open().await;
    let place = place
        .reopen(|config| config.audit.archive.as_mut().unwrap().target = target)
        .await;
    let place = place.runs(&["1", "2", "3"]).await;
    place.run().await;
    (place, vault)
}

#[tokio::test]
async fn a_bucket_is_held_to_the_same() {
    let (place, vault) = Box::pin(in_a_bucket()).await;
    let found = proven(&place, true).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.segments, found.locking), (4, true));
    let (whole, segments) = {
        let mut vault = vault.lock().unwrap();
        let whole = vault.objects.clone();
        let segments: Vec<String> = vault
            .objects
            .keys()
            .filter(|path| path.contains("/segments/"))
            .cloned()
            .collect();
        for gone in [&segments[0], &segments[2], &segments[3]] {
            vault.objects.remove(gone);
        }
        (whole, segments)
    };
    let parts = gone(&segments);
    let found = proven(&place, true).await.unwrap();
    assert_named(&found.problems, &parts);
    assert_named(&brought_back(&place, "restored").await.problems, &parts);
    vault.lock().unwrap().objects.clear();
    let found = proven(&place, true).await.unwrap();
    assert_named(&found.problems, &["there is no segment"]);
    vault.lock().unwrap().objects = whole;
    let restored = brought_back(&place, "again").await;
    assert_eq!((restored.segments, restored.problems.len()), (4, 0));
}
