//! The feed as a room: taken over, on record, kept, and wrong.

use std::path::Path;

use jiff::tz::TimeZone;

use super::*;
use crate::operate::testing::Ground as House;

fn settings(dir: &Path) -> PatientLinks {
    PatientLinks {
        system: "mrn".to_owned(),
        file: Some(dir.join("links.csv")),
        adt: Some(LinkMessages {
            directory: dir.join("adt"),
            authorities: [("HOSP".to_owned(), "mrn".to_owned())].into(),
            time_zone: TimeZone::UTC,
        }),
        refresh: std::time::Duration::from_mins(1),
    }
}

async fn open(house: &House, dir: &Path) -> (LinkFeed, Known) {
    let known = Known::default();
    let ground = Ground {
        settings: settings(dir),
        known: known.clone(),
        audit: house.audit.clone(),
        store: house.store.clone(),
    };
    (LinkFeed::open(ground).await.unwrap(), known)
}

fn merge(trigger: &str, at: &str, rest: &str) -> String {
    format!("MSH|^~\\&|a|b|c|d|{at}||ADT^{trigger}|1|P|2.5\r{rest}\r")
}

#[tokio::test]
async fn links_are_on_record_in_force_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::new().await;
    std::fs::create_dir(dir.path().join("adt")).unwrap();
    std::fs::write(dir.path().join("links.csv"), "patient,same_as\n4,lab|77\n").unwrap();
    let message = merge("A40", "20261101", "PID|1||9^^^HOSP\rMRG|4^^^HOSP");
    std::fs::write(dir.path().join("adt/1"), message).unwrap();
    let (feed, known) = open(&house, dir.path()).await;
    assert_eq!(known.now().also("mrn|4"), ["lab|77", "mrn|9"]);
    assert_eq!(feed.condition().await.patients, 1);
    let [file, adt] = &house.recorded(Event::IdentifiersLinked)[..] else {
        panic!("{:?}", house.recorded(Event::IdentifiersLinked));
    };
    assert_eq!((&*file["feed"], &*file["added"]), ("file", "1"));
    assert_eq!(
        (&*adt["patient"], &*adt["same_as"], &*adt["trigger"]),
        ("mrn|4", "mrn|9", "A40")
    );

    // The message is gone, and so is the line: a merge was said once, a file says everything each time.
    std::fs::remove_file(dir.path().join("adt/1")).unwrap();
    std::fs::write(dir.path().join("links.csv"), "patient,same_as\n").unwrap();
    let (_, known) = open(&house, dir.path()).await;
    assert_eq!(known.now().also("mrn|4"), ["mrn|9"]);
    assert_eq!(
        house.recorded(Event::IdentifiersLinked).len(),
        2,
        "nothing new"
    );
    let resting = at_rest(&settings(dir.path()), &house.store).await.unwrap();
    assert_eq!(*resting.now(), *known.now());
    assert_eq!((resting.gap(), known.gap()), (None, None));

    let apart = merge("A37", "20261102", "PID|1||4^^^HOSP\rPID|2||9^^^HOSP");
    std::fs::write(dir.path().join("adt/2"), apart).unwrap();
    let (_, known) = open(&house, dir.path()).await;
    assert_eq!(known.now().also("mrn|4"), Vec::<String>::new());
    let [parted] = &house.recorded(Event::IdentifiersUnlinked)[..] else {
        panic!("one");
    };
    assert_eq!(parted["same_as"], "mrn|9");
}

#[tokio::test]
async fn what_is_wrong_is_an_alarm_once_and_what_was_known_counts_on() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::new().await;
    std::fs::create_dir(dir.path().join("adt")).unwrap();
    std::fs::write(dir.path().join("links.csv"), "patient,same_as\n4,9\n").unwrap();
    let (feed, known) = open(&house, dir.path()).await;
    std::fs::write(
        dir.path().join("links.csv"),
        "patient,same_as\n4,9,secret\n",
    )
    .unwrap();
    for _ in 0..2 {
        feed.look().await.unwrap();
    }
    assert_eq!(known.now().also("mrn|4"), ["mrn|9"]);
    let [alarm] = &house.recorded(Event::Alarm)[..] else {
        panic!("{:?}", house.recorded(Event::Alarm));
    };
    assert_eq!(alarm["rule"], "patient-links");
    assert!(alarm["title"].contains("line 2") && !alarm["title"].contains("secret"));
    assert_eq!(feed.condition().await.problems.len(), 1);
    let gap = known.gap().unwrap();
    assert!(gap.contains("line 2") && !gap.contains("secret"), "{gap}");
    let resting = at_rest(&settings(dir.path()), &house.store).await.unwrap();
    assert!(resting.gap().is_some());

    // Nobody has hundreds of identifiers: such a class is not believed, the others are.
    let chain: Vec<String> = (0..100).map(|n| format!("{n},{}\n", n + 1)).collect();
    let chain = chain.concat();
    std::fs::write(
        dir.path().join("links.csv"),
        format!("patient,same_as\n{chain}x,y\n"),
    )
    .unwrap();
    feed.look().await.unwrap();
    assert_eq!(known.gap(), None);
    assert!(known.now().doubts("mrn|4") && !known.now().doubts("mrn|x"));
    assert_eq!(known.now().also("mrn|x"), ["mrn|y"]);
    assert_eq!(known.now().also("mrn|4"), Vec::<String>::new());
    let condition = feed.condition().await;
    assert!(
        condition.problems[0].contains("more than 64"),
        "{condition:?}"
    );
}

#[tokio::test]
async fn what_could_not_be_kept_is_recorded_and_kept_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::new().await;
    std::fs::create_dir(dir.path().join("adt")).unwrap();
    std::fs::write(dir.path().join("links.csv"), "patient,same_as\n").unwrap();
    let (feed, known) = open(&house, dir.path()).await;
    let message = merge("A40", "20261101", "PID|1||9^^^HOSP\rMRG|4^^^HOSP");
    std::fs::write(dir.path().join("adt/1"), message).unwrap();
    house.audit.log().shutdown().unwrap();
    assert!(feed.look().await.is_err());
    assert_eq!(
        known.now().patients(),
        0,
        "nothing is in force that is not on record"
    );
    let resting = at_rest(&settings(dir.path()), &house.store).await.unwrap();
    assert_eq!(resting.now().patients(), 0);
    let waiting = resting.gap().unwrap();
    assert!(waiting.contains("start it"), "{waiting}");
    assert!(known.gap().is_some(), "what is not in force may be more");
}
