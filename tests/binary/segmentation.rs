//! Whether an EMR answers around a gateway that serves, by the command line.

use std::fs;
use std::net::SocketAddr;

use crate::harness::practice::Practice;
use crate::harness::process::chartgate;

#[tokio::test(flavor = "multi_thread")]
async fn an_emr_that_answers_around_the_gateway_is_an_alarm() {
    let practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let config = practice.path("chartgate.toml");
    let probe = [
        "segmentation",
        "probe",
        "--config",
        config.to_str().unwrap(),
    ];
    let closed = chartgate(&probe).await;
    assert_eq!(closed.code, Some(0), "{}{}", closed.out, closed.err);
    let text = fs::read_to_string(&config).unwrap();
    let beside = text
        .split("[[segmentation.probe]]")
        .nth(1)
        .unwrap()
        .split("address = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let beside: SocketAddr = beside.parse().unwrap();
    let listener = tokio::net::TcpListener::bind(beside).await.unwrap();
    for _ in 0..2 {
        let open = chartgate(&probe).await;
        assert_eq!(open.code, Some(1), "{}", open.out);
        assert!(
            open.out.contains(&format!("REACHABLE at {beside}")),
            "{}",
            open.out
        );
    }
    drop(listener);
    let status = chartgate(&["status", "--config", config.to_str().unwrap()]).await;
    assert!(status.out.contains("around the gateway"), "{}", status.out);
    assert_eq!(serving.process.stop().await.code, Some(0));
    let trail = practice.trail().await;
    let alarms = trail
        .iter()
        .filter(|entry| entry["detail"]["rule"] == "emr-bypass");
    assert_eq!(alarms.count(), 1, "once until it is closed again");
}
