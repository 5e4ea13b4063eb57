//! Backups of a gateway that serves, by the command line, and a gateway that starts on a restored store.

use std::fs;

use crate::harness::practice::{Practice, witnessed};
use crate::harness::process::{Ended, chartgate};

async fn backup(practice: &Practice, command: &[&str]) -> Ended {
    let config = practice.path("chartgate.toml");
    let line = [
        &["backup"],
        command,
        &["--config", config.to_str().unwrap()],
    ]
    .concat();
    chartgate(&line).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_verified_drilled_and_restored() {
    let practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let page = practice.browser().get(&practice.people.url("/chart")).await;
    assert_eq!(page.status, 303);
    witnessed(&practice.path("")).await;

    let made = backup(&practice, &["run"]).await;
    assert_eq!(made.code, Some(0), "{}{}", made.out, made.err);
    let listed = backup(&practice, &["list"]).await;
    assert_eq!(listed.out.lines().count(), 1, "{}", listed.out);
    let drilled = backup(&practice, &["drill"]).await;
    assert_eq!(drilled.code, Some(0), "{}{}", drilled.out, drilled.err);
    assert!(
        drilled.out.contains("RPO ") && drilled.out.contains("RTO "),
        "{}",
        drilled.out
    );
    let intact = backup(&practice, &["verify"]).await;
    assert_eq!(intact.code, Some(0), "{}{}", intact.out, intact.err);
    let config = practice.path("chartgate.toml");
    let status = chartgate(&["status", "--config", config.to_str().unwrap()]).await;
    assert!(status.out.contains("drilled 0 min ago"), "{}", status.out);
    let refused = chartgate(&[
        "keys",
        "rotate",
        "store",
        "--config",
        config.to_str().unwrap(),
    ])
    .await;
    assert!(refused.err.contains("stop it, rotate"), "{}", refused.err);
    assert_eq!(serving.process.stop().await.code, Some(0));

    prove_and_restore(&practice).await;
    let path = |name: &str| practice.path(name).to_str().unwrap().to_owned();
    let serving = practice.serve().await;
    assert_eq!(serving.process.stop().await.code, Some(0));
    let trail = practice.trail().await;
    let events: Vec<&str> = trail
        .iter()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    for event in [
        "backup_made",
        "backup_drilled",
        "backup_verified",
        "restored",
    ] {
        assert!(events.contains(&event), "{event}: {events:?}");
    }
    assert!(!fs::exists(path("data/store.redb.restored")).unwrap());
}

/// Without the gateway: finds a flipped byte, and puts the restored store in the place of the one that there was.
async fn prove_and_restore(practice: &Practice) {
    let intact = backup(practice, &["verify"]).await;
    assert_eq!(intact.code, Some(0), "{}{}", intact.out, intact.err);
    assert!(
        intact.out.contains("compared with the gateway's memory"),
        "{}",
        intact.out
    );
    let object = fs::read_dir(practice.path("backups/objects"))
        .unwrap()
        .next()
        .unwrap();
    let object = object.unwrap().path();
    let whole = fs::read(&object).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(&object, altered).unwrap();
    let found = backup(practice, &["verify"]).await;
    assert_eq!(found.code, Some(1), "{}", found.out);
    fs::write(&object, whole).unwrap();
    let path = |name: &str| practice.path(name).to_str().unwrap().to_owned();
    let restored = chartgate(&[
        "backup",
        "restore",
        "--to",
        &path("restored"),
        "--target",
        &path("backups"),
        "--key",
        &path("keys/backup.key"),
        "--signed-by",
        &path("keys/signing.pub"),
    ])
    .await;
    assert_eq!(restored.code, Some(0), "{}{}", restored.out, restored.err);

    for name in ["store.redb", "store.redb.restored"] {
        fs::copy(
            path(&format!("restored/{name}")),
            path(&format!("data/{name}")),
        )
        .unwrap();
    }
}
