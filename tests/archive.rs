//! The archive of a gateway that serves, and legal holds, by the command line: archived, verified, held, restored.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::practice::Practice;
use crate::harness::process::{Ended, chartgate};

/// A clinic whose trail is archived in a directory, with two segments that have ended.
async fn archiving() -> Practice {
    let practice = Practice::without_provider().await;
    let config = practice.path("chartgate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let archive = "\n[audit.archive]\ndirectory = \"archive\"\nevery = \"7d\"\n\n[store]\n";
    assert!(text.contains("\n[store]\n"));
    fs::write(&config, text.replacen("\n[store]\n", archive, 1)).unwrap();
    for _ in 0..2 {
        let serving = practice.serve().await;
        let page = practice.browser().get(&practice.people.url("/chart")).await;
        assert_eq!(page.status, 303);
        assert_eq!(serving.process.stop().await.code, Some(0));
    }
    practice
}

async fn fine(practice: &Practice, command: &[&str]) -> Ended {
    let ended = practice.audit(command).await;
    assert_eq!(
        ended.code,
        Some(0),
        "{command:?} {}{}",
        ended.out,
        ended.err
    );
    ended
}

fn document(ended: &Ended) -> Value {
    serde_json::from_str(ended.out.lines().next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_archived_held_verified_and_restored() {
    let practice = archiving().await;
    let serving = practice.serve().await;
    let ran = document(&fine(&practice, &["archive", "run", "--json"]).await);
    assert_eq!((&ran["segments"], &ran["total"]), (&2.into(), &2.into()));
    let again = fine(&practice, &["archive", "run"]).await;
    assert!(again.out.starts_with("0 segments"), "{}", again.out);
    let listed = fine(&practice, &["archive", "list"]).await;
    assert_eq!(listed.out.lines().count(), 2, "{}", listed.out);
    for entry in fs::read_dir(practice.path("archive/segments")).unwrap() {
        let entry = entry.unwrap();
        let own = practice.path("data/trail/segments").join(entry.file_name());
        assert_eq!(fs::read(entry.path()).unwrap(), fs::read(own).unwrap());
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o400
        );
    }
    let status = chartgate(&[
        "status",
        "--config",
        practice.path("chartgate.toml").to_str().unwrap(),
    ])
    .await;
    assert!(status.out.contains("2 segments"), "{}", status.out);

    let reason = ["--reason", "letter of the court"];
    let add = ["hold", "add", "--matter", "2026-CV-14", "--patient", "4"];
    let set = fine(&practice, &[&add[..], &reason[..]].concat()).await;
    assert!(
        set.out.starts_with("hold 1  2026-CV-14  patient 4"),
        "{}",
        set.out
    );
    let refused = practice.audit(&["hold", "release", "1", "--reason", "settled"]);
    let refused = refused.await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(refused.err.contains("another operator"), "{}", refused.err);
    let verified = document(&fine(&practice, &["archive", "verify", "--json"]).await);
    assert_eq!(verified["problems"], serde_json::json!([]));
    assert_eq!(
        (&verified["compared"], &verified["signed"]),
        (&true.into(), &true.into())
    );
    assert_eq!(serving.process.stop().await.code, Some(0));

    without_a_gateway(&practice).await;
    what_is_on_record(&practice).await;
}

#[expect(clippy::too_many_lines, reason = "one command after the other")]
async fn without_a_gateway(practice: &Practice) {
    let holds = document(&fine(practice, &["hold", "list", "--json"]).await);
    assert_eq!(
        (&holds["id"], &holds["scope"]["patient"]),
        (&1.into(), &"4".into())
    );
    let retention = fine(practice, &["retention"]).await;
    assert!(
        retention.out.contains("nothing is older"),
        "{}",
        retention.out
    );
    let verified = fine(practice, &["archive", "verify"]).await;
    assert!(
        verified.out.contains("what the gateway remembers"),
        "{}",
        verified.out
    );
    assert!(verified.out.ends_with("intact\n"), "{}", verified.out);

    let path = |name: &str| practice.path(name).to_str().unwrap().to_owned();
    let (archive, to, key) = (path("archive"), path("restored"), path("keys/signing.pub"));
    let command = [
        "audit",
        "archive",
        "restore",
        "--directory",
        &archive,
        "--to",
        &to,
    ];
    let restored = chartgate(&command).await;
    assert_eq!(restored.code, Some(0), "{}{}", restored.out, restored.err);
    assert!(
        restored.out.starts_with("restored 2 segments"),
        "{}",
        restored.out
    );
    let witness = path("restored/checkpoints");
    let line = [
        "audit",
        "verify",
        "--dir",
        &to,
        "--key",
        &key,
        "--witness",
        &witness,
    ];
    let proven = chartgate(&line).await;
    assert_eq!(proven.code, Some(0), "{}{}", proven.out, proven.err);

    // Released by somebody else, once there is somebody else.
    let config = practice.path("chartgate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let line = |text: &str| {
        let mut lines = text.lines().skip_while(|line| *line != "[admin.operators]");
        lines.nth(1).unwrap().to_owned()
    };
    let other = text.replacen(&line(&text), &format!("{uid} = \"bob\""), 1);
    fs::write(&config, other).unwrap();
    fine(practice, &["hold", "release", "1", "--reason", "settled"]).await;
    let none = fine(practice, &["hold", "list"]).await;
    assert!(
        none.err.contains("no record is under legal hold"),
        "{}",
        none.err
    );

    // One byte, as on a file system that lets its owner change what it keeps.
    let altered = fs::read_dir(practice.path("archive/segments")).unwrap();
    let altered = altered.last().unwrap().unwrap().path();
    let mut bytes = fs::read(&altered).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&altered).unwrap();
    fs::write(&altered, bytes).unwrap();
    let command = [
        "audit",
        "archive",
        "verify",
        "--directory",
        &archive,
        "--key",
        &key,
    ];
    let found = chartgate(&command).await;
    assert_eq!(found.code, Some(1), "{}", found.out);
    assert!(found.err.contains("PROBLEM segments/"), "{}", found.err);
}

async fn what_is_on_record(practice: &Practice) {
    let trail = practice.trail().await;
    let of = |event: &str| -> Vec<&Value> {
        trail
            .iter()
            .filter(|entry| entry["event"] == event)
            .collect()
    };
    assert_eq!(of("segment_archived").len(), 2);
    let (set, released) = (of("legal_hold_set"), of("legal_hold_released"));
    assert_eq!((set.len(), released.len()), (1, 1));
    assert_eq!(set[0]["detail"]["matter"], "2026-CV-14");
    assert_eq!(released[0]["detail"]["operator"], "bob");
    assert_ne!(released[0]["detail"]["set_by"], "bob");
}
