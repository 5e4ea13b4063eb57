//! Heads with one reading, and heads with two.

use super::*;
use crate::clock::SystemClock;
use crate::request::PeerAddr;
use http_body_util::{Empty, Full};

fn reception() -> Reception {
    Reception {
        clock: SystemClock::shared(),
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        hygiene: Hygiene::new(&[HeaderName::from_static("emr-user")]),
        knows: Arc::new(|host| host == "emr.example"),
        edition: Arc::new(|| 7.into()),
        body_timeout: Duration::from_secs(1),
    }
}

fn connection(sni: Option<&str>) -> Connection {
    Connection {
        peer: PeerAddr::new("192.0.2.1:1".parse().unwrap()),
        sni: sni.map(str::to_owned),
        tls: None,
        certificate: None,
    }
}

fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(Empty::new()).unwrap()
}

fn outcome(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Received, Refusal> {
    reception()
        .receive(request(method, uri, fields), &connection(None), None)
        .map_err(|refused| refused.refusal())
}

const HOST: (&str, &str) = ("host", "emr.example");

#[test]
fn a_plain_request_is_received_clean() {
    let received = outcome(
        "GET",
        "/chart?pid=4",
        &[
            ("Host", "EMR.example.:8443"),
            ("X-Forwarded-User", "root"),
            ("Connection", "close"),
            ("EMR-User", "root"),
            ("Accept", "*/*"),
        ],
    )
    .unwrap();
    let parts = received.parts();
    assert_eq!(parts.host, "emr.example");
    assert_eq!(parts.authority, "emr.example:8443");
    assert_eq!(parts.target.as_str(), "/chart?pid=4");
    assert_eq!(parts.headers.len(), 1);
    assert_eq!(received.facts().generation, 7);
}

#[test]
fn the_host_is_said_once_and_one_way() {
    assert_eq!(
        outcome("GET", "/", &[]).unwrap_err(),
        Refusal::MalformedHost
    );
    assert_eq!(
        outcome("GET", "/", &[HOST, HOST]).unwrap_err(),
        Refusal::MalformedHost
    );
    assert_eq!(
        outcome("GET", "https://other.example/", &[HOST]).unwrap_err(),
        Refusal::MalformedHost
    );
    assert_eq!(
        outcome("GET", "https://emr.example@other.example/", &[HOST]).unwrap_err(),
        Refusal::MalformedHost
    );
    assert_eq!(
        outcome("GET", "https://emr.example/", &[]).unwrap_err(),
        Refusal::MalformedHost
    );
    let absolute = outcome("GET", "https://emr.example:443/a?b", &[HOST]).unwrap();
    assert_eq!(absolute.parts().target.as_str(), "/a?b");
    assert_eq!(
        outcome("GET", "/", &[("host", "other.example")]).unwrap_err(),
        Refusal::UnknownHost
    );
}

#[test]
fn http2_authority_stands_for_the_host() {
    let mut over_h2 = request("GET", "https://emr.example/a", &[]);
    *over_h2.version_mut() = Version::HTTP_2;
    let received = reception()
        .receive(over_h2, &connection(None), None)
        .unwrap();
    assert_eq!(received.parts().target.as_str(), "/a");
    let mut differing = request("GET", "https://emr.example/a", &[("host", "b.example")]);
    *differing.version_mut() = Version::HTTP_2;
    let refused = reception()
        .receive(differing, &connection(None), None)
        .unwrap_err();
    assert_eq!(refused.refusal(), Refusal::MalformedHost);
}

#[test]
fn sni_and_host_must_agree() {
    let receive = |sni| {
        reception()
            .receive(request("GET", "/", &[HOST]), &connection(Some(sni)), None)
            .map_err(|refused| refused.refusal())
    };
    assert!(receive("EMR.example").is_ok());
    assert_eq!(receive("other.example").unwrap_err(), Refusal::Misdirected);
}

#[test]
fn methods_expectations_and_overrides_are_refused() {
    for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
        let uri = if method == "CONNECT" {
            "emr.example:443"
        } else {
            "/"
        };
        assert_eq!(
            outcome(method, uri, &[HOST]).unwrap_err(),
            Refusal::MethodRefused
        );
    }
    assert_eq!(
        outcome("POST", "/", &[HOST, ("expect", "200-ok")]).unwrap_err(),
        Refusal::ExpectationRefused
    );
    for pair in [
        [("content-type", "a/b"), ("content-type", "c/d")],
        [("origin", "https://a"), ("origin", "https://b")],
        [("x-http-method-override", "DELETE"), ("a", "b")],
    ] {
        assert_eq!(
            outcome("POST", "/", &[HOST, pair[0], pair[1]]).unwrap_err(),
            Refusal::AmbiguousField
        );
    }
}

#[test]
fn lengths_are_judged_again() {
    for fields in [
        [("content-length", "1"), ("content-length", "1")],
        [("content-length", "1"), ("transfer-encoding", "chunked")],
        [("content-length", "+1"), ("a", "b")],
        [("transfer-encoding", "gzip, chunked"), ("a", "b")],
    ] {
        assert_eq!(
            outcome("POST", "/", &[HOST, fields[0], fields[1]]).unwrap_err(),
            Refusal::ConflictingLength
        );
    }
    let mut old = request("POST", "/", &[HOST, ("transfer-encoding", "chunked")]);
    *old.version_mut() = Version::HTTP_10;
    let refused = reception()
        .receive(old, &connection(None), None)
        .unwrap_err();
    assert_eq!(refused.refusal(), Refusal::ConflictingLength);
}

#[test]
fn a_flaw_in_the_bytes_refuses_whatever_the_head_says() {
    let refused = reception()
        .receive(
            request("GET", "/", &[HOST]),
            &connection(None),
            Some(Flaw::Length),
        )
        .unwrap_err();
    assert_eq!(refused.refusal(), Refusal::ConflictingLength);
    assert_eq!(refused.facts().method, "GET");
}

#[test]
fn an_unreadable_request_tells_nothing_it_should_not() {
    let refused = reception()
        .receive(
            request("GET", "/a%00?pid=4", &[("host", "evil.example")]),
            &connection(None),
            None,
        )
        .unwrap_err();
    assert_eq!(refused.facts().path, "/a%00");
    assert_eq!(refused.manner().authority, "");
    assert_eq!(refused.manner().return_to, "/");
}

#[test]
fn only_a_whole_websocket_handshake_is_an_upgrade() {
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
    let received = outcome("GET", "/ws", &[HOST, upgrade[0], upgrade[1]]).unwrap();
    assert_eq!(received.parts().upgrade_to.as_deref(), Some("websocket"));
    let posted = outcome("POST", "/ws", &[HOST, upgrade[0], upgrade[1]]).unwrap();
    assert_eq!(posted.parts().upgrade_to, None);
    let with_body = Request::builder()
        .uri("/ws")
        .header(HOST.0, HOST.1)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Full::new(Bytes::from_static(b"GET /admin HTTP/1.1")))
        .unwrap();
    let received = reception()
        .receive(with_body, &connection(None), None)
        .unwrap();
    assert_eq!(received.parts().upgrade_to, None);
}
