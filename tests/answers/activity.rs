//! The review of activity: shown, signed, on record, and due again.

use aws_lc_rs::digest;
use chartgate::request::Event;

use super::ask;
use crate::harness::House;
use crate::harness::process::chartgate;

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_activity_is_signed_off_for_what_was_shown() {
    let house = House::open().await;
    let mut doctor = house.at_work("dr.okafor").await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    let config = house.clinic.facts().config.display().to_string();
    let status = async || chartgate(&["status", "--config", &config]).await.out;
    let before = status().await;
    assert!(
        before.contains("activity-review") && before.contains("never signed off"),
        "{before}"
    );

    let command = [
        "report",
        "activity",
        "--since",
        "7d",
        "--format",
        "csv",
        "--sign-off",
    ];
    // Nobody answers the question: nothing is signed.
    let unsigned = chartgate(&[&command[..], &["--config", &config]].concat()).await;
    assert_eq!(unsigned.code, Some(1), "{}", unsigned.err);
    assert!(
        unsigned.err.contains("Type yes to sign"),
        "{}",
        unsigned.err
    );
    assert!(house.particulars(Event::ActivityReviewed).is_empty());

    let file = house.data_dir().join("activity.csv");
    let name = file.to_str().unwrap();
    let more = ["--yes", "--note", "nothing unusual", "--output", name];
    let shown = ask(&house, &[&command[..], &more].concat()).await;
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(
        shown.err.contains("signed off by demo-operator"),
        "{}",
        shown.err
    );
    let detail = &house.particulars(Event::ActivityReviewed)[0];
    assert_eq!(detail["operator"], "demo-operator");
    assert_eq!(detail["note"], "nothing unusual");
    let sum = digest::digest(&digest::SHA256, report.as_bytes());
    assert_eq!(detail["report_sha256"], hex::encode(sum));
    assert_eq!(
        detail["report_rows"],
        (report.lines().count() - 1).to_string()
    );
    // Who asks later for the same period gets the same report.
    let again_file = house.data_dir().join("again.csv");
    let again_name = again_file.to_str().unwrap();
    let again = [
        "report",
        "activity",
        "--format",
        "csv",
        "--since",
        &detail["since"],
        "--until",
        &detail["until"],
        "--output",
        again_name,
    ];
    ask(&house, &again).await;
    assert_eq!(std::fs::read_to_string(&again_file).unwrap(), report);
    let after = status().await;
    assert!(
        after.contains("signed off by demo-operator; next due"),
        "{after}"
    );
}
