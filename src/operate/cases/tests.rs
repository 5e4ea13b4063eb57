use std::time::Duration;

use super::*;
use crate::operate::testing::Ground;

fn alarm(rule: &str, user: &str, level: Level, records: &[&str]) -> Opening {
    Opening {
        kind: Kind::Alarm,
        title: format!("{rule} fired"),
        level,
        rule: Some(rule.to_owned()),
        user: Some(user.to_owned()),
        patient: None,
        records: records.iter().map(|&id| id.to_owned()).collect(),
        by: format!("rule {rule}"),
    }
}

async fn load(ground: &Ground) -> Arc<Cases> {
    let (store, audit) = (ground.store.clone(), ground.audit.clone());
    Cases::load(store, audit, ground.shared_clock())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_same_rule_about_the_same_user_joins_for_a_day() {
    let ground = Ground::new().await;
    let cases = load(&ground).await;
    let first = alarm("probing", "main|7", Level::Medium, &["a", "b"]);
    assert_eq!(cases.open(first).await.unwrap(), Opened::New(1));
    ground.clock.advance(Duration::from_hours(23));
    let again = alarm("probing", "main|7", Level::High, &["b", "c"]);
    assert_eq!(cases.open(again).await.unwrap(), Opened::Joined(1));
    let other = alarm("probing", "main|8", Level::Low, &["d"]);
    assert_eq!(cases.open(other).await.unwrap(), Opened::New(2));

    let case = cases.show(1).await.unwrap();
    assert_eq!((case.level, case.occurrences), (Level::High, 2));
    assert_eq!(Vec::from_iter(case.records), ["a", "b", "c"]);
    let open = BTreeMap::from([(Level::High, 1), (Level::Low, 1)]);
    assert_eq!(cases.open_by_level(), open);

    ground.clock.advance(Duration::from_hours(24));
    let late = alarm("probing", "main|7", Level::Medium, &["e"]);
    assert_eq!(cases.open(late).await.unwrap(), Opened::New(3));
    let opened = ground.recorded(Event::CaseOpened);
    assert_eq!(opened.len(), 3, "{opened:?}");
    assert_eq!(opened[0]["rule"], "probing");
    assert_eq!(opened[0]["records"], "a b");
}

#[tokio::test]
async fn a_closed_case_stays_closed_and_is_on_record() {
    let ground = Ground::new().await;
    let cases = load(&ground).await;
    let opening = alarm("spray", "main|7", Level::Medium, &[]);
    let number = cases.open(opening.clone()).await.unwrap().number();
    let blank = cases.close(number, "alice", Outcome::Resolved, " ").await;
    assert!(matches!(blank, Err(CaseError::Text("note"))), "{blank:?}");
    let closed = cases.close(number, "alice", Outcome::FalseAlarm, "a drill");
    assert!(!closed.await.unwrap().is_open());
    let again = cases.close(number, "bob", Outcome::Confirmed, "no").await;
    assert!(matches!(again, Err(CaseError::Closed(1))), "{again:?}");
    let records = BTreeSet::from(["x".to_owned()]);
    let added = cases.add_records(number, &records).await;
    assert!(matches!(added, Err(CaseError::Closed(1))), "{added:?}");
    let unknown = cases.show(9).await;
    assert!(matches!(unknown, Err(CaseError::Unknown(9))), "{unknown:?}");

    let recorded = ground.recorded(Event::CaseClosed);
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["operator"], "alice");
    assert_eq!(recorded[0]["outcome"], "false-alarm");
    assert_eq!(
        cases.open(opening).await.unwrap(),
        Opened::New(2),
        "what was closed is not joined"
    );
}

#[tokio::test]
async fn cases_outlive_a_restart_with_their_numbers() {
    let ground = Ground::new().await;
    let cases = load(&ground).await;
    for user in ["main|1", "main|2", "main|3"] {
        let _number = cases
            .open(alarm("new-network", user, Level::Low, &["r"]))
            .await;
    }
    cases
        .close(2, "alice", Outcome::Resolved, "travels")
        .await
        .unwrap();
    cases
        .note(3, "rule new-network", "locked for 8 hours")
        .await
        .unwrap();
    let before = cases.show(3).await.unwrap();
    drop(cases);

    let cases = load(&ground).await;
    assert_eq!(cases.show(3).await.unwrap(), before);
    assert_eq!(before.notes[0].text, "locked for 8 hours");
    let numbers = |listed: Vec<Summary>| listed.iter().map(|case| case.number).collect::<Vec<_>>();
    assert_eq!(numbers(cases.list(Which::Open).await.unwrap()), [3, 1]);
    assert_eq!(numbers(cases.list(Which::All).await.unwrap()), [3, 2, 1]);
    let next = cases
        .open(alarm("new-network", "main|4", Level::Low, &[]))
        .await;
    assert_eq!(next.unwrap(), Opened::New(4));
}

#[tokio::test]
async fn a_case_names_a_bounded_number_of_records_and_counts_the_rest() {
    let ground = Ground::new().await;
    let cases = load(&ground).await;
    let number = cases
        .open(alarm("volume", "main|7", Level::Low, &["r"]))
        .await;
    let number = number.unwrap().number();
    let many = (0..MOST_RECORDS).map(|record| record.to_string()).collect();
    cases.add_records(number, &many).await.unwrap();
    let case = cases.show(number).await.unwrap();
    assert_eq!((case.records.len(), case.more_records), (MOST_RECORDS, 1));
    assert!(case.records.contains("r"));
    let long = Opening {
        title: "x".repeat(LONGEST + 1),
        ..alarm("volume", "main|7", Level::Low, &[])
    };
    let refused = cases.open(long).await;
    assert!(
        matches!(refused, Err(CaseError::Text("title"))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn operators_ask_in_words_that_last() {
    let ground = Ground::new().await;
    let cases = load(&ground).await;
    let ask = |json: &str| serde_json::from_str::<Ask>(json).unwrap();
    let open = r#"{"open":{"title":"Badge lost","level":"high","user":"nurse.lind","patient":null,"records":["q1"]}}"#;
    let opened = cases.answer("alice", ask(open)).await.unwrap();
    assert_eq!(opened[0]["kind"], "operator");
    assert_eq!(opened[0]["by"], "alice");
    let listed = cases
        .answer("alice", ask(r#"{"list":{"which":"open"}}"#))
        .await;
    assert_eq!(listed.unwrap()[0]["title"], "Badge lost");
    let close = r#"{"close":{"number":1,"outcome":"resolved","note":"found again"}}"#;
    let closed = cases.answer("alice", ask(close)).await.unwrap();
    assert_eq!(closed[0]["state"]["closed"]["outcome"], "resolved");
}
