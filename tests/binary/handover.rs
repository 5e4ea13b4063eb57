//! A restart with sockets that systemd holds: nobody is refused, whoever comes in between waits.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::practice::{Practice, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_drops_no_request() {
    let practice = Practice::without_provider().await;
    let socket = TcpListener::bind(practice.address()).unwrap();
    let (answered, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut serving = practice.serve_with_socket(&socket).await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut browser = practice.browser();
            let url = practice.people.url("/.chartgate/signed-out");
            let (answered, over) = (answered.clone(), over.clone());
            // Each request has a connection of its own; one that is not answered panics.
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(browser.get(&url).await.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = async |count| {
        let before = answered.load(Ordering::Relaxed);
        eventually("answers", async || {
            (answered.load(Ordering::Relaxed) >= before + count).then_some(())
        })
        .await;
    };
    for _ in 0..3 {
        more(20).await;
        assert_eq!(serving.stop().await.code, Some(0));
        serving = practice.serve_with_socket(&socket).await;
    }
    more(20).await;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("every request was answered");
    }
    assert_eq!(serving.stop().await.code, Some(0));
    let starts = practice.trail().await;
    let starts = starts.iter().filter(|entry| entry["event"] == "started");
    assert!(starts.count() >= 4, "each run is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_configured_keeps_the_gateway_from_starting() {
    let practice = Practice::without_provider().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = practice.path("chartgate.toml");
    let arguments = ["serve", "--config", config.to_str().unwrap()];
    let process = crate::harness::process::Process::start_with_socket(&socket, &arguments);
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.err.contains("no `listen` names"), "{}", ended.err);
}
