//! Segments of several years: what goes, what stays and why, on trails of a run each.

mod elsewhere;
mod holds;
mod links;
mod runs;
mod shred;

use runs::{FiveRuns, ask, configured, is_intact, open, open_with, recorded, retention, segments};

use super::*;
use crate::audit::answers::{Answers, Ask, Piece};
use crate::audit::log::{MasterKey, RealFiles, headers};
use crate::audit::{fixture, hold};
use crate::clock::SystemClock;
use crate::config;
use crate::store::Store;

#[tokio::test]
async fn only_what_is_old_goes_only_when_told_and_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    // Three runs, a segment each.
    for day in ["2024-02-29", "2024-03-01", "2028-01-01"] {
        let (audit, _) = open(&config, day).await;
        audit.log().shutdown().unwrap();
    }
    // The second run began on 1 March 2024, so the first segment is kept through that day of 2030.
    let (audit, answers) = open(&config, "2030-03-01").await;
    let listed = ask(&answers, retention(true)).await.unwrap();
    assert!(
        matches!(listed[..], [Piece::Age(_), Piece::Removed(0)]),
        "{listed:?}"
    );
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 4);
    drop((audit, answers));

    let (audit, answers) = open(&config, "2030-03-02").await;
    let listed = ask(&answers, retention(false)).await.unwrap();
    let [Piece::Age(age), Piece::Expired(expired)] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((age.segments, age.over), (5, 1));
    assert_eq!(expired.kept_through.to_string(), "2030-03-01");
    assert_eq!(segments(&config), 5, "listing removes nothing");
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 4);
    assert!(is_intact(&config));
    drop((audit, answers));

    let (audit, _) = open(&config, "2030-03-03").await;
    let retired = recorded(&config, Event::AuditRetired);
    assert_eq!(retired.len(), 1);
    let detail = &retired[0];
    assert_eq!(detail["operator"], "alice");
    assert!(
        detail["segments"].contains(&expired.segment.head.to_string()),
        "{detail:?}"
    );
    drop(audit);
}

#[tokio::test]
async fn without_its_witness_nothing_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = configured(dir.path());
    for day in ["2020-01-01", "2020-01-02"] {
        let (audit, _) = open(&config, day).await;
        audit.log().shutdown().unwrap();
    }
    config.witnesses = vec![config::witness::Witness::File(
        dir.path().join("no/such/place"),
    )];
    let (audit, answers) = open(&config, "2030-01-01").await;
    let refused = ask(&answers, retention(true)).await.unwrap_err();
    assert!(
        refused.to_string().contains("nothing was removed"),
        "{refused}"
    );
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 3);
    // That it did not take place is on record as well as that it was to.
    let retired = recorded(&config, Event::AuditRetired);
    let [begun, ended] = &retired[..] else {
        panic!("{retired:?}");
    };
    assert!(begun.contains_key("segments") && !ended.contains_key("segments"));
    assert_eq!(ended["removed"], "nothing");
    assert_eq!(
        (&ended["first"], &ended["last"]),
        (&begun["first"], &begun["last"])
    );
    assert!(
        ended["reason"].contains("did not take the checkpoint"),
        "{ended:?}"
    );
}

#[test]
fn what_goes_at_once_can_be_named_in_one_record() {
    let segment: Retired = serde_json::from_value(serde_json::json!({
        "number": u64::MAX,
        "segment": Uuid::from_u128(7),
        "first": 1,
        "last": u64::MAX,
        "head": crate::audit::log::Head::ZERO,
        "time": Timestamp::MAX,
    }))
    .unwrap();
    let all = vec![segment; AT_ONCE];
    assert!(named(&all).len() < 600_000, "of 1 MiB");
}
