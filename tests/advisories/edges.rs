//! What nobody expected to be asked: errors on the way to a decision, and requests before the handshake is over.

use std::sync::Arc;

use chartgate::audit::entry::Phase;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::browser::tls_client;
use crate::harness::{House, without_limits};

// A policy that could not be evaluated, for an address that could not be read, was left out of the decision.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_47070_an_error_on_the_way_to_a_decision_refuses_on_record() {
    let house = House::open_with(|config| {
        without_limits(config);
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut billing = house.at_work("billing.shah").await;
    billing
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let cookies = billing.cookie_field(&house.authority());
    let before = house.reached().len();
    for value in [
        "",
        ",",
        ",,,",
        "unknown",
        "_hidden",
        "10.0.0.1:x",
        "999.1.1.1",
        "::::",
        "[",
        "\u{e9}",
        "127.0.0.1, ",
        "-1",
        "0x7f000001",
        "2130706433",
        "'",
        "10.0.0.0/8",
        "10.0.0.1 10.0.0.2",
    ] {
        for (fields, code) in [(cookies.as_str(), "CG-3001"), ("", "CG-2001")] {
            let fields = format!("{fields}X-Forwarded-For: {value}\r\n");
            let answer = house.raw(b"GET /chart/notes HTTP/1.1", &fields).await;
            let answer = answer.unwrap();
            assert_eq!(answer.refusal(), Some(code), "{value:?}");
            let id = answer.header("x-request-id").unwrap();
            let recorded = house.trail().into_iter().rev().find(|entry| {
                entry.phase == Phase::Refuse
                    && entry.facts.as_ref().is_some_and(|f| f.request == id)
            });
            assert!(recorded.is_some() || code == "CG-2001", "{value:?}");
        }
    }
    assert_eq!(house.reached().len(), before);

    // The policy that fails permits nothing, and what it would have forbidden is not permitted either.
    let house = House::open_with(|config| {
        without_limits(config);
        let failing = r#"@id("failing") @doc("Fails when it is asked.")
            forbid (principal, action == Action::"Read", resource == Section::"notes")
            when { context.lockdown - 1 + (-9223372036854775807) - 1 > 0 };"#;
        let file = config.policy.directory.join("failing.cedar");
        std::fs::write(file, failing).unwrap();
    })
    .await;
    let mut doctor = house.at_work("dr.okafor").await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    let before = house.reached().len();
    let page = doctor.get(&house.url("/chart/notes")).await;
    assert_eq!(
        (page.status.as_u16(), page.refusal()),
        (403, Some("CG-3002"))
    );
    assert_eq!(house.reached().len(), before);
    let id = page.header("x-request-id").unwrap();
    let refused = house.trail().into_iter().find(|entry| {
        entry.phase == Phase::Refuse && entry.facts.as_ref().is_some_and(|f| f.request == id)
    });
    let decision = refused.unwrap().facts.unwrap().decision.unwrap();
    assert_eq!(decision.errors, ["failing"]);
}

// A request in the first bytes of a resumed handshake, which anyone can send again, escaped the rules.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_39321_no_request_is_taken_before_the_handshake_is_over() {
    let house = House::open_unlimited().await;
    let mut tls = tls_client(&house.clinic.facts().ca_cert);
    tls.enable_early_data = true;
    let connector = TlsConnector::from(Arc::new(tls));
    let host = house.authority();
    let request =
        format!("GET /.chartgate/nowhere HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut resumed = 0;
    for _ in 0..4 {
        let stream = TcpStream::connect(house.clinic.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut early = true;
        let connecting = connector.connect_with(name, stream, |connection| {
            // Whoever may send early data here has a place to write it to.
            early = connection.early_data().is_some();
        });
        let mut stream = connecting.await.unwrap();
        assert!(!early, "the ticket promises to take early data");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("CG-1014"));
        let (_, connection) = stream.get_ref();
        assert!(!connection.is_early_data_accepted());
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            resumed += 1;
        }
    }
    assert!(resumed > 0, "no session was resumed: nothing was tested");
}
