//! A changed configuration is on record before the gateway that runs with it has started.

use serde_json::Value;

use crate::harness::practice::Practice;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_and_a_changed_secret_are_on_record_before_started() {
    let practice = Practice::open().await;
    practice.serve().await.process.stop().await;
    practice.serve().await.process.stop().await;
    let file = practice.path("chartgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replace("[audit]\n", "[audit]\nretention_years = 7\n");
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    let serving = practice.serve().await;
    let trail = practice.trail().await;
    let starts: Vec<&Value> = trail
        .iter()
        .filter(|entry| {
            ["configuration_changed", "started"]
                .iter()
                .any(|event| entry["event"] == *event)
        })
        .collect();
    let events: Vec<&str> = starts
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "configuration_changed",
            "started",
            "started",
            "configuration_changed",
            "started"
        ]
    );
    let first = &starts[0]["detail"];
    assert!(
        first["changed"]
            .as_str()
            .unwrap()
            .starts_with("nothing was remembered"),
        "{first}"
    );
    let second = &starts[3]["detail"];
    assert_eq!(second["changed"], "audit.retention_years added: 7");
    assert_eq!(second["before"], first["sha256"]);
    assert_ne!(second["sha256"], first["sha256"]);
    serving.process.stop().await;
}
