//! A receiver of our own: mutual TLS, frames read back, and all the ways in which it can fail.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::config::Certificate;
use crate::config::syslog::SyslogServer;

/// A CA, a receiver for `localhost`, and a client that it knows.
struct Place {
    home: TempDir,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Place {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for authority in ["ca", "stranger"] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, authority);
            let issuer =
                CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            std::fs::write(home.path().join(format!("{authority}.pem")), issuer.pem()).unwrap();
            for name in ["localhost", "client"] {
                let key = KeyPair::generate().unwrap();
                let leaf = CertificateParams::new([name.to_owned()])
                    .unwrap()
                    .signed_by(&key, &issuer)
                    .unwrap();
                let file = |end: &str| home.path().join(format!("{authority}-{name}.{end}"));
                std::fs::write(file("pem"), leaf.pem()).unwrap();
                std::fs::write(file("key"), key.serialize_pem()).unwrap();
            }
        }
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(home.path().join("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let chain = CertificateDer::from_pem_file(home.path().join("ca-localhost.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(home.path().join("ca-localhost.key")).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![chain], key)
            .unwrap();
        Self {
            home,
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn client(&self, host: &str, ca: &str, shows: Option<&str>) -> SyslogClient {
        let port = self.listener.local_addr().unwrap().port();
        let certificate = shows.map(|name| Certificate {
            chain: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        });
        let address = format!("{host}:{port}");
        let server = SyslogServer::at(&address, Some(self.file(ca)), certificate).unwrap();
        SyslogClient::new(&server).unwrap()
    }

    fn known(&self) -> SyslogClient {
        self.client("localhost", "ca.pem", Some("ca-client"))
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(stream).await
    }
}

/// Reads one frame.
async fn frame(stream: &mut TlsStream<TcpStream>) -> String {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).await.unwrap();
    String::from_utf8(message).unwrap()
}

fn lines(texts: &[&str]) -> Vec<String> {
    let origin = Origin::new("gw1", "chartgate", 7);
    let line = |text: &&str| {
        origin
            .message(Severity::Notice, Timestamp::UNIX_EPOCH, "test", text)
            .unwrap()
    };
    texts.iter().map(line).collect()
}

#[tokio::test]
async fn messages_arrive_in_their_frames_over_one_connection_until_it_ends() {
    let place = Place::new().await;
    let mut client = place.known();
    let sent = lines(&["eins", "zwei: Zürich\nsecond line", ""]);
    let (link, accepted) = tokio::join!(client.ready(), place.accept());
    assert_eq!(link.unwrap(), Link::New);
    let mut peer = accepted.unwrap();
    client.send(&sent).await.unwrap();
    for message in &sent {
        assert_eq!(frame(&mut peer).await, *message);
    }
    assert_eq!(client.ready().await.unwrap(), Link::Kept);
    client.send(&sent[..1]).await.unwrap();
    assert_eq!(frame(&mut peer).await, sent[0]);
    let (closed, end) = tokio::join!(client.close(), async {
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        drop(peer);
        rest
    });
    closed.unwrap();
    assert!(end.is_empty());
}

#[tokio::test]
async fn who_closed_is_connected_to_again_before_anything_is_written() {
    let place = Place::new().await;
    let mut client = place.known();
    let (link, accepted) = tokio::join!(client.ready(), place.accept());
    assert_eq!(link.unwrap(), Link::New);
    // Half of the connection: what it still says can be read, and so its end is seen.
    let mut peer = accepted.unwrap();
    peer.shutdown().await.unwrap();
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let (link, accepted) = tokio::join!(client.ready(), place.accept());
    assert_eq!(link.unwrap(), Link::New);
    client.send(&lines(&["again"])).await.unwrap();
    let mut peer = accepted.unwrap();
    assert!(frame(&mut peer).await.ends_with(" - again"));
}

#[tokio::test]
async fn a_receiver_is_who_its_certificate_says() {
    let place = Place::new().await;
    for (host, ca) in [("127.0.0.1", "ca.pem"), ("localhost", "stranger.pem")] {
        let mut client = place.client(host, ca, Some("ca-client"));
        let (link, _) = tokio::join!(client.ready(), place.accept());
        assert!(matches!(link, Err(SyslogError::Handshake(_))), "{link:?}");
        assert!(matches!(
            client.send(&lines(&["secret"])).await,
            Err(SyslogError::Closed)
        ));
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_know_us_is_noticed_before_anything_is_sent() {
    let place = Place::new().await;
    let mut said = Vec::new();
    for shows in [Some("stranger-client"), None] {
        let mut client = place.client("localhost", "ca.pem", shows);
        let (link, accepted) = tokio::join!(client.ready(), place.accept());
        assert!(accepted.is_err());
        said.push(link.unwrap_err().to_string());
    }
    assert!(said[0].contains("stranger-client.pem"), "{said:?}");
    assert!(said[1].contains("want of a client certificate"), "{said:?}");
}

#[tokio::test]
async fn who_stops_reading_is_given_up() {
    let place = Place::new().await;
    let mut client = place.known();
    let (link, accepted) = tokio::join!(client.ready(), place.accept());
    link.unwrap();
    let _stalled = accepted.unwrap();
    client.patience = std::time::Duration::from_millis(100);
    let long = lines(&["x".repeat(MAX_MESSAGE - 200).as_str()]);
    let error = loop {
        if let Err(error) = client.send(&long).await {
            break error;
        }
    };
    assert!(matches!(error, SyslogError::Deadline(_)), "{error}");
    assert!(!client.is_connected());
}

#[tokio::test]
async fn nobody_there_is_an_error_and_so_is_a_missing_file() {
    let place = Place::new().await;
    let mut client = place.known();
    let missing = SyslogServer::at("localhost", Some(place.file("none.pem")), None).unwrap();
    assert!(matches!(
        SyslogClient::new(&missing),
        Err(SyslogError::Trust(_))
    ));
    drop(place);
    assert!(matches!(
        client.deliver(&lines(&["x"])).await,
        Err(SyslogError::Connect(_))
    ));
}

#[test]
fn what_is_too_long_is_never_cut() {
    let origin = Origin::of_node("gw1");
    let text = "x".repeat(MAX_MESSAGE);
    let long = origin.message(Severity::Notice, Timestamp::UNIX_EPOCH, "id", &text);
    assert!(matches!(long, Err(SyslogError::TooLong(_))));
}

#[test]
fn the_header_is_as_the_standards_have_it() {
    let origin = Origin::new("gw1.hospital.example", "chartgate", 4242);
    let time: Timestamp = "2026-03-02T07:15:27.123Z".parse().unwrap();
    let line = origin
        .message(Severity::Notice, time, "IHE+RFC-3881", "<AuditMessage/>")
        .unwrap();
    assert_eq!(
        line,
        "<85>1 2026-03-02T07:15:27.123000Z gw1.hospital.example chartgate 4242 IHE+RFC-3881 - <AuditMessage/>"
    );
    assert_eq!(framed("<85>1 Zürich"), b"13 <85>1 Z\xc3\xbcrich");
}

proptest! {
    /// Whatever the names are, a reader of RFC 5424 finds seven fields and the text.
    #[test]
    fn a_message_is_read_back(host in ".{0,300}", app in ".{0,80}", id in ".{0,60}", text in "(?s).{0,200}") {
        let origin = Origin::new(&host, &app, 1);
        let line = origin.message(Severity::Warning, Timestamp::UNIX_EPOCH, &id, &text).unwrap();
        let fields: Vec<&str> = line.splitn(8, ' ').collect();
        prop_assert_eq!(fields.len(), 8);
        prop_assert_eq!(fields[0], "<84>1");
        prop_assert_eq!(fields[1], "1970-01-01T00:00:00.000000Z");
        for (field, most) in [(fields[2], 255), (fields[3], 48), (fields[4], 128), (fields[5], 32)] {
            prop_assert!((1..=most).contains(&field.len()));
            prop_assert!(field.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        prop_assert_eq!(fields[6], "-");
        prop_assert_eq!(fields[7], text.as_str());
        let frame = framed(&line);
        let (length, rest) = std::str::from_utf8(&frame).unwrap().split_once(' ').unwrap();
        prop_assert_eq!(length.parse::<usize>().unwrap(), rest.len());
    }
}
