//! The same backups in a bucket.

use super::tests::Place;
use crate::config::BackupTarget;
use crate::outbound::s3::loopback::store;

#[tokio::test]
async fn a_bucket_holds_what_a_directory_would_and_is_verified_like_one() {
    let (account, objects) = store("s3cret");
    let place = Place::open().await;
    place.happen(5).await;
    let place = place.reopen().await;
    let place = place
        .with_target(BackupTarget::S3(Box::new(account.clone())))
        .await;
    for _ in 0..2 {
        place.clock.advance(std::time::Duration::from_secs(1));
        let made = place.backups.run("alice").await.unwrap();
        assert_eq!(made.problems, Vec::<String>::new());
    }
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("/saved/gateway-1/")),
        "{names:?}"
    );
    let found = place.backups.verify("alice", None).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.backups, found.unreferenced), (2, 0));
    assert!(found.objects > 10, "{found:?}");
    let drilled = place.backups.drill("alice", None).await.unwrap();
    assert_eq!(drilled.problems, Vec::<String>::new());

    let first = names[0].clone();
    objects.lock().unwrap().get_mut(&first).unwrap()[60] ^= 1;
    let found = place.backups.verify("alice", None).await.unwrap();
    assert!(!found.problems.is_empty());
    objects.lock().unwrap().remove(&first);
    let found = place.backups.verify("alice", None).await.unwrap();
    assert!(
        found.problems.join("\n").contains("is missing"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_wrong_secret_is_told() {
    let (mut account, objects) = store("s3cret");
    account.secret_access_key = "another".to_owned().into();
    let place = Place::open()
        .await
        .with_target(BackupTarget::S3(Box::new(account)))
        .await;
    let refused = place.backups.run("alice").await.unwrap_err().to_string();
    assert!(
        refused.contains("403") && refused.contains("SignatureDoesNotMatch"),
        "{refused}"
    );
    assert!(objects.lock().unwrap().is_empty());
}
