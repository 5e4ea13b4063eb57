//! Signals: what is in flight is finished, and certificates are replaced while connections live.

use std::fs;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::harness::Browser;
use crate::harness::practice::{Practice, entries, eventually};
use crate::harness::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let practice = Practice::open().await;
    let mut serving = practice.serve().await;
    let mut browser = practice
        .people
        .signed_in(practice.browser(), "dr.okafor")
        .await;
    let url = practice.people.url("/slow?ms=2500");
    let slow = tokio::spawn(async move { browser.get(&url).await });
    practice.reached("/slow?ms=2500").await;

    serving.process.signal(Signal::TERM);
    serving.process.line_after("draining").await;
    eventually("a refused connection", async || {
        TcpStream::connect(practice.address()).await.err()
    })
    .await;
    assert!(!slow.is_finished(), "refused while the slow one went on");
    let page = slow.await.unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.text(), "done\n");
    let ended = serving.process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let trail = practice.trail().await;
    let admission = trail
        .iter()
        .find(|entry| entry["phase"] == "admit" && entry["facts"]["path"] == "/slow")
        .unwrap();
    let outcome = trail
        .iter()
        .find(|entry| entry["of"] == admission["id"])
        .unwrap();
    assert_eq!(outcome["outcome"]["end"], "complete");
    assert!(!trail.iter().any(|entry| entry["event"] == "recovered"));
}

async fn lasting(browser: &Browser) -> SendRequest<Empty<Bytes>> {
    let stream = browser.connect("localhost").await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// The result of the next reload on the trail.
async fn reloaded(follower: &mut Process) -> String {
    loop {
        let line = follower.line().await.expect("the follower goes on");
        let entry = entries(&line).remove(0);
        if entry["event"] == "certificates_reloaded" {
            return entry["detail"]["result"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_served_after_sighup_and_old_connections_live_on() {
    let practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let ask = || {
        Request::get("/.chartgate/signed-out")
            .header("host", practice.people.url("").replace("https://", ""))
            .body(Empty::new())
            .unwrap()
    };
    let mut old = lasting(&practice.browser()).await;
    let answer = old.send_request(ask()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.unwrap();

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(practice.path("certs/server.pem"), made.cert.pem()).unwrap();
    fs::write(
        practice.path("certs/server.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let served = async || {
        let trusting = [
            practice.browser(),
            practice.browser_trusting("certs/server.pem"),
        ];
        for browser in trusting {
            if let Ok(stream) = browser.connect("localhost").await {
                let chain = stream.get_ref().1.peer_certificates().unwrap();
                return chain[0].as_ref().to_vec();
            }
        }
        panic!("neither certificate is served")
    };
    assert_ne!(
        served().await,
        made.cert.der().as_ref(),
        "files alone change nothing"
    );
    serving.process.signal(Signal::HUP);
    eventually("the new certificate", async || {
        (served().await == made.cert.der().as_ref()).then_some(())
    })
    .await;
    let answer = old.send_request(ask()).await.unwrap();
    assert_eq!(answer.status(), 200, "the old connection goes on");

    // What does not fit together changes nothing, and is on record too.
    let mut follower = Process::start(&practice.audit_arguments(&["show", "--follow", "--json"]));
    let good = reloaded(&mut follower).await;
    assert_eq!(good, "reloaded");
    fs::write(practice.path("certs/server.pem"), "no certificate").unwrap();
    serving.process.signal(Signal::HUP);
    let bad = reloaded(&mut follower).await;
    assert!(bad.contains("server.pem"), "{bad}");
    drop(follower);
    fs::write(practice.path("certs/server.pem"), made.cert.pem()).unwrap();
    assert_eq!(
        served().await,
        made.cert.der().as_ref(),
        "the last good one is served"
    );
    drop(old);
    assert_eq!(serving.process.stop().await.code, Some(0));
}
