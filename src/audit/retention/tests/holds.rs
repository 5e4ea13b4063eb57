//! What is under legal hold stays, with all behind it, whatever became of the store.

use super::runs::hold;
use super::*;
use crate::audit::hold::Holds;
use crate::store::{NEVER, Table};

#[tokio::test]
async fn nothing_from_the_first_held_segment_on_goes() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    ask(&answers, hold("5")).await.unwrap();
    ask(&answers, hold("4")).await.unwrap();
    let listed = ask(&answers, retention(false)).await;
    let [_, Piece::Expired(first), Piece::Kept(kept)] = &listed.unwrap()[..] else {
        panic!("one goes, one stays");
    };
    assert_eq!(
        (first.segment.number, kept.segment.number, kept.behind),
        (1, 2, 1)
    );
    let stop = Stop {
        hold: 2,
        matter: "2026-CV-14".to_owned(),
    };
    assert_eq!(kept.why, Why::Held(vec![stop]));
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    let release = hold::Ask::Release {
        id: 2,
        reason: "settled".to_owned(),
    };
    let mut bob = answers.begin("bob", Ask::Hold(release)).await.unwrap();
    assert!(matches!(
        bob.step().unwrap().as_deref(),
        Some([Piece::Hold(_)])
    ));
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(2)));
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

#[tokio::test]
async fn a_hold_that_the_store_forgot_is_found_on_record() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    ask(&answers, hold("4")).await.unwrap();
    audit.log().shutdown().unwrap();
    drop((audit, answers));
    // As after a restore from an older backup.
    let (audit, answers) = open(&runs.config, "2031-06-02").await;
    let refused = ask(&answers, retention(true)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("hold 1 (matter 2026-CV-14)"), "{refused}");
    assert_eq!(segments(&runs.config), 7);
    ask(&answers, hold("4")).await.unwrap();
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    audit.log().shutdown().unwrap();
}

#[tokio::test]
async fn a_hold_whose_matter_is_known_by_another_one_is_missed_and_its_number_not_given_out_again()
{
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    ask(&answers, hold("4")).await.unwrap();
    let backup = Holds::new(runs.store.clone()).book().await.unwrap();
    let of_user = || {
        Ask::Hold(hold::Ask::Add {
            matter: "2026-CV-14".to_owned(),
            scope: hold::Scope {
                user: Some("dr.weber".to_owned()),
                ..hold::Scope::default()
            },
            reason: "letter of the court".to_owned(),
        })
    };
    ask(&answers, of_user()).await.unwrap();
    audit.log().shutdown().unwrap();
    drop((audit, answers));

    let restored = fixture::store(SystemClock::shared()).await;
    restored
        .keep(Table::Upkeep, "legal-holds", &backup, NEVER)
        .await
        .unwrap();
    let (audit, answers) = open_with(&runs.config, "2031-06-02", restored).await;
    let apply = retention(true);
    let refused = ask(&answers, apply.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("hold 2 (matter 2026-CV-14)"), "{refused}");
    let set = ask(&answers, of_user()).await.unwrap();
    let [Piece::Hold(again)] = &set[..] else {
        panic!("{set:?}");
    };
    assert_eq!(again.id, 3, "2 is on record");
    let removed = ask(&answers, apply.clone()).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    // What took its place, and all else, was released by somebody else: nothing is left that was forgotten.
    for id in [3, 1] {
        let reason = "settled".to_owned();
        let release = Ask::Hold(hold::Ask::Release { id, reason });
        let mut bob = answers.begin("bob", release).await.unwrap();
        assert!(bob.step().unwrap().is_some());
    }
    let removed = ask(&answers, apply).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(2)));
    audit.log().shutdown().unwrap();
}

#[tokio::test]
async fn a_hold_that_is_set_meanwhile_stops_a_removal_and_no_store_means_none() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    let begun = answers.begin("alice", retention(true)).await;
    let mut removal = begun.unwrap();
    while removal.step().unwrap().is_some() {}
    ask(&answers, hold("4")).await.unwrap();
    let refused = answers.finish(removal).await.unwrap_err().to_string();
    assert!(refused.contains("changed in the meantime"), "{refused}");
    assert_eq!(segments(&runs.config), 6);

    let master = Arc::new(MasterKey::read(&runs.config.master_key).unwrap());
    let holdings = Holdings::new(&runs.config, Arc::new(RealFiles), master);
    let blind = Answers::new(audit.clone(), holdings, SystemClock::shared());
    let refused = ask(&blind, retention(false)).await;
    assert!(refused.unwrap_err().to_string().contains("is not open"));
    audit.log().shutdown().unwrap();
}
