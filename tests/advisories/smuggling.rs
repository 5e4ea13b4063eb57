//! Where a request ends: bytes of one that were read as another, and records that were written by a client.

use chartgate::audit::entry::{Entry, Phase};

use crate::harness::{House, Wire};

// A body that nobody had read, a premature upgrade, or an HTTP/1.0 chunked body was read as the next request.
#[tokio::test(flavor = "multi_thread")]
async fn rustsec_2026_0033_rustsec_2026_0034_and_rustsec_2025_0037_a_body_is_never_a_request() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let cookies = browser.cookie_field(&house.authority());
    let host = house.authority();
    let inner = format!("GET /echo?smuggled HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n");
    let length = inner.len();
    let chunked = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    let origin = format!("Origin: https://{host}\r\n");
    // Each is refused with its body unread, or forwarded with its body as a body.
    for head in [
        format!("POST /echo HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: {length}\r\n\r\n"),
        format!(
            "POST /no/such/page HTTP/1.1\r\nHost: {host}\r\n{cookies}{origin}Content-Length: {length}\r\n\r\n"
        ),
        format!("POST /echo HTTP/1.1\r\nHost: {host}\r\n{cookies}Content-Length: {length}\r\n\r\n"),
        format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n{cookies}Content-Length: {length}\r\n\r\n"),
        format!(
            "DELETE /echo HTTP/1.1\r\nHost: {host}\r\n{cookies}{origin}Content-Length: {length}\r\n\r\n"
        ),
        format!(
            "GET /.chartgate/login HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        ),
        format!(
            "GET /echo HTTP/1.1\r\nHost: {host}\r\n{cookies}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n"
        ),
        format!(
            "GET /ws/notifications HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}\r\n\r\n"
        ),
    ] {
        for body in [&inner, &chunked] {
            let framing = format!("Content-Length: {length}");
            let head = if body == &chunked {
                head.replace(&framing, "Transfer-Encoding: chunked")
            } else {
                head.clone()
            };
            let mut wire = Wire::open(&house).await;
            wire.send(format!("{head}{body}").as_bytes()).await;
            let first = wire.answer().await.unwrap();
            // A second request of the same connection is its own, or is not answered at all.
            wire.send(
                format!(
                    "GET /.chartgate/nowhere HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                )
                .as_bytes(),
            )
            .await;
            if let Some(second) = wire.answer().await {
                assert_eq!(second.refusal(), Some("CG-1014"), "{head} {}", first.head);
                assert_eq!(wire.answer().await.map(|a| a.head), None);
            }
        }
    }
    let crossed = house
        .reached()
        .into_iter()
        .find(|line| line.contains("smuggled"));
    assert_eq!(crossed, None);
}

// HTTP/1.0 with chunks, two lengths and loose line ends had two readings.
#[tokio::test(flavor = "multi_thread")]
async fn rustsec_2025_0037_two_lengths_are_one_refusal_and_the_end_of_the_connection() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let cookies = browser.cookie_field(&house.authority());
    let host = house.authority();
    let before = house.reached().len();
    for (line, fields) in [
        ("POST /echo HTTP/1.0", "Transfer-Encoding: chunked\r\n"),
        (
            "POST /echo HTTP/1.1",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "POST /echo HTTP/1.1",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
        ),
        ("POST /echo HTTP/1.1", "Content-Length: 5, 5\r\n"),
        ("POST /echo HTTP/1.1", "Content-Length: +5\r\n"),
        (
            "POST /echo HTTP/1.1",
            "Transfer-Encoding: gzip, chunked\r\n",
        ),
        ("POST /echo HTTP/1.1", "Transfer-Encoding:\r\n chunked\r\n"),
        (
            "POST /echo HTTP/1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        ),
        ("POST /echo HTTP/1.1", "Transfer-Encoding: xchunked\r\n"),
        ("POST /echo HTTP/1.1", "Transfer-Encoding : chunked\r\n"),
        ("POST /echo HTTP/1.1", "Content-Length: 5\nX: y\r\n"),
    ] {
        let bytes = format!(
            "{line}\r\nHost: {host}\r\nOrigin: https://{host}\r\n{cookies}{fields}\r\n0\r\n\r\nGET /echo?smuggled HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n"
        );
        let mut wire = Wire::open(&house).await;
        wire.send(bytes.as_bytes()).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{fields}");
        assert!(
            matches!(answer.refusal(), Some("CG-1006") | None),
            "{fields}"
        );
        assert_eq!(wire.answer().await.map(|a| a.head), None, "{fields}");
    }
    assert_eq!(house.reached().len(), before);
}

/// What is on record, without the outcomes of earlier requests, which may be a moment away.
fn settled(house: &House) -> Vec<Entry> {
    let mut entries = house.trail();
    entries.retain(|entry| entry.phase != Phase::Outcome);
    entries
}

// A path or user agent with line ends and quotes wrote records of its own.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_25294_no_client_writes_a_record() {
    let house = House::open_unlimited().await;
    let browser = house.signed_in("dr.okafor").await;
    let cookies = browser.cookie_field(&house.authority());
    for (target, agent) in [
        ("/forged%0d%0a%7b%22v%22:1%7d", "x"),
        ("/forged%0a", "x"),
        ("/forged%00", "x"),
        ("/forged%1b%5b2J", "x"),
        ("/forged\"},{\"v\":1", "x"),
        ("/forged%22%7d,%7b%22phase%22:%22admit%22", "x"),
        ("/forged'$(id)`id`", "x"),
        ("/forged\u{1b}[2J", "x"),
        ("/forged\0", "x"),
        ("/forged\u{202e}", "x"),
        ("/forged", "\",\"phase\":\"admit\",\"x\":\""),
        ("/forged", "\u{1b}[31mred"),
        ("/forged", "a\0b"),
        ("/forged", "a\r\n {\"v\":1}"),
        ("/forged", "\u{202e}\u{2028}"),
    ] {
        let before = settled(&house).len();
        let line = format!("GET {target} HTTP/1.1");
        let fields = format!("{cookies}User-Agent: {agent}\r\n");
        let answer = house.raw(line.as_bytes(), &fields).await.unwrap();
        // Every entry is read and parsed again here; a forged one would not be ours.
        // What the gateway notes of its own meanwhile has nothing of this request.
        let written: Vec<_> = settled(&house)
            .split_off(before)
            .into_iter()
            .filter(|entry| entry.event.is_none() || format!("{entry:?}").contains("forged"))
            .collect();
        assert!(answer.is_refusal(), "{target:?} {agent:?}");
        assert_eq!(
            written.len(),
            usize::from(answer.refusal().is_some()),
            "{target:?} {agent:?}"
        );
        for entry in written {
            let facts = entry.facts.unwrap();
            assert_eq!(Some(facts.request.as_str()), answer.header("x-request-id"));
            assert!(
                facts.path.bytes().all(|b| b.is_ascii_graphic()),
                "{}",
                facts.path
            );
        }
    }
}
