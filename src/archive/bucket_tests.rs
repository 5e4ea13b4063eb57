//! The same archive in a bucket with Object Lock, on loopback.

use std::fs;

use super::tests::{Place, hold};
use super::*;
use crate::audit::hold::Ask as HoldAsk;
use crate::config::{ArchiveLock, ArchiveTarget, S3Target};
use crate::outbound::s3::loopback::locked::{Shared, Vault, store};

async fn with_bucket() -> (Place, Shared, S3Target) {
    let (account, vault) = store("s3cret");
    let target = ArchiveTarget::S3(Box::new(account.clone()));
    let place = Place::open().await;
    let place = place
        .reopen(|config| config.audit.archive.as_mut().unwrap().target = target)
        .await;
    (place, vault, account)
}

/// The paths of archived segments, oldest first.
fn segments(vault: &Vault) -> Vec<String> {
    let paths = vault.objects.keys();
    paths
        .filter(|path| path.starts_with("/saved/gateway-1/segments/"))
        .cloned()
        .collect()
}

#[tokio::test]
async fn everything_is_locked_in_compliance_mode_and_comes_back() {
    let (place, vault, _) = with_bucket().await;
    let place = place.runs(&["1", "2", "3", "4"]).await;
    let ran = place.run().await;
    assert_eq!((ran.segments, ran.total), (5, 5));
    {
        let vault = vault.lock().unwrap();
        let all = vault.objects.values().flatten();
        for stored in all {
            assert_eq!(
                (stored.mode.as_str(), stored.until.as_str()),
                ("COMPLIANCE", "2032-11-26T00:00:00Z")
            );
        }
        let whole = |versions: &Vec<_>| versions.len() == 1;
        assert!(vault.objects.values().all(whole), "nothing twice");
    }
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.segments, found.locked), (5, 5));

    // Whoever may write can cover an object or hide it, not change it.
    let paths = segments(&vault.lock().unwrap());
    vault.lock().unwrap().cover(&paths[0], b"nothing", false);
    vault.lock().unwrap().cover(&paths[1], b"", true);
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    let (to, target) = (place.path("restored"), place.target());
    let restored = tokio::task::spawn_blocking(move || restore(&target, &to));
    let restored = restored.await.unwrap().unwrap();
    assert_eq!(restored.problems, Vec::<String>::new());
    assert_eq!(restored.segments, 5);
    assert!(place.is_intact(&place.path("restored")));
}

#[tokio::test]
async fn what_a_run_stored_and_did_not_remember_is_not_stored_again() {
    let (place, vault, _) = with_bucket().await;
    let place = place.runs(&["1", "2"]).await;
    // The store takes the object, and the gateway dies before it reads it back.
    vault.lock().unwrap().refused = Some("GET /saved/gateway-1/segments".to_owned());
    let failed = place.archives.run("alice").await.unwrap_err().to_string();
    assert!(
        failed.contains("503") && failed.contains("SlowDown"),
        "{failed}"
    );
    assert!(matches!(place.archives.standing(), Standing::Look(_)));
    let failed = place.archives.state().failed.unwrap().reason;
    assert!(failed.contains("503"), "{failed}");
    vault.lock().unwrap().refused = None;
    let ran = place.run().await;
    assert_eq!((ran.segments, ran.total), (3, 3));
    let vault = vault.lock().unwrap();
    assert!(vault.objects.values().all(|versions| versions.len() == 1));
}

#[tokio::test]
async fn a_store_that_does_not_lock_is_not_believed() {
    let (place, vault, _) = with_bucket().await;
    vault.lock().unwrap().forgetful = true;
    let place = place.runs(&["1"]).await;
    let failed = place.archives.run("alice").await.unwrap_err().to_string();
    assert!(failed.contains("made with Object Lock"), "{failed}");
    // The first one that is not locked is the last one that is sent.
    assert_eq!(vault.lock().unwrap().objects.len(), 1);
    assert_eq!(place.archives.state().segments, 0);
}

#[tokio::test]
async fn a_wrong_secret_is_told() {
    let (place, _, mut account) = with_bucket().await;
    account.secret_access_key = "another".to_owned().into();
    let target = ArchiveTarget::S3(Box::new(account));
    let place = place
        .reopen(|config| config.audit.archive.as_mut().unwrap().target = target)
        .await;
    let refused = place.archives.run("alice").await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
}

#[tokio::test]
async fn legal_holds_are_told_to_the_store_and_taken_back() {
    let (place, vault, _) = with_bucket().await;
    let place = place.runs(&["4", "5"]).await;
    place.run().await;
    let held = |vault: &Shared| -> Vec<String> {
        let vault = vault.lock().unwrap();
        let holds = segments(&vault);
        let holds = holds.iter().map(|path| vault.objects[path][0].hold.clone());
        holds.collect()
    };
    assert_eq!(held(&vault), ["", "", ""]);
    place.hold("alice", hold("4")).await;
    assert_eq!(place.run().await.holds, 1);
    // The first segment is that of the start; the second tells of patient 4.
    assert_eq!(held(&vault), ["", "ON", ""]);
    // Whatever is archived later is looked at, too.
    let place = place.runs(&["6", "4"]).await;
    let ran = place.run().await;
    assert_eq!(
        (ran.segments, held(&vault).last().unwrap().as_str()),
        (2, "ON")
    );
    let all = place.archives.answer("alice", Ask::List).await.unwrap();
    assert_eq!(all[1]["holds"], serde_json::json!([1]));
    let found = place.archives.verify().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(found.held >= 2, "{found:?}");

    let release = HoldAsk::Release {
        id: 1,
        reason: "settled".to_owned(),
    };
    place.hold("bob", release).await;
    place.run().await;
    assert!(
        !held(&vault).contains(&"ON".to_owned()),
        "{:?}",
        held(&vault)
    );
    assert_eq!(held(&vault)[1], "OFF");
}

#[tokio::test]
async fn locks_are_prolonged_where_the_trail_is_kept_longer() {
    let (place, vault, _) = with_bucket().await;
    let place = place.runs(&["1"]).await;
    place.run().await;
    let place = place
        .reopen(|config| {
            config.audit.archive.as_mut().unwrap().lock = ArchiveLock::Years(10);
        })
        .await;
    let ran = place.run().await;
    assert_eq!(ran.locks, 2);
    {
        let vault = vault.lock().unwrap();
        for path in segments(&vault) {
            assert_eq!(vault.objects[&path][0].until, "2036-11-26T00:00:00Z");
        }
    }
    assert_eq!(place.run().await.locks, 0);
    // Shorter ones are left alone: nobody can shorten them.
    let place = place
        .reopen(|config| {
            config.audit.archive.as_mut().unwrap().lock = ArchiveLock::Retention;
        })
        .await;
    assert_eq!(place.run().await.locks, 0);
}

#[tokio::test]
async fn an_archive_elsewhere_begins_anew() {
    let (place, _, _) = with_bucket().await;
    let place = place.runs(&["1"]).await;
    assert_eq!(place.run().await.total, 2);
    let directory = ArchiveTarget::Directory(place.path("moved"));
    let place = place
        .reopen(|config| config.audit.archive.as_mut().unwrap().target = directory)
        .await;
    assert_eq!(place.run().await.total, 3);
    assert_eq!(
        fs::read_dir(place.path("moved/segments")).unwrap().count(),
        3
    );
}
