//! The client against servers that answer too much, break off or take no certificate.

use std::sync::Arc;

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::MAX_ANSWER;
use super::trust::shown;
use super::*;
use crate::config::Certificate;

/// Answers one connection with `answer` and returns what it was asked.
async fn once(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let n = stream.read(&mut asked).await.unwrap();
        asked.truncate(n);
        // The client may hang up on an answer that is too long.
        drop(stream.write_all(&answer).await);
        drop(stream.shutdown().await);
        String::from_utf8(asked).unwrap()
    });
    (base, served)
}

fn client() -> HttpClient {
    HttpClient::new(None).unwrap()
}

async fn fetch(answer: impl Into<Vec<u8>>) -> Result<Vec<u8>, HttpError> {
    let (base, _served) = once(answer.into()).await;
    client()
        .fetch(&format!("{base}/x?y").parse().unwrap())
        .await
}

#[tokio::test]
async fn an_answer_is_read_whole() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (base, served) = once(answer.into()).await;
    let url = format!("{base}/x?y").parse().unwrap();
    assert_eq!(client().fetch(&url).await.unwrap(), b"{}");
    let asked = served.await.unwrap().to_lowercase();
    assert!(asked.starts_with("get /x?y http/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nhost: 127.0.0.1:"));
}

#[tokio::test]
async fn redirects_and_errors_are_not_followed() {
    let to = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(fetch(to).await, Err(HttpError::Status(302))));
    let error = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(fetch(error).await, Err(HttpError::Status(503))));
}

#[tokio::test]
async fn long_and_broken_answers_are_errors() {
    let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    long.resize(long.len() + MAX_ANSWER + 1, b'x');
    assert!(matches!(fetch(long).await, Err(HttpError::Answer(_))));
    assert!(matches!(
        fetch("SSH-2.0-x\r\n").await,
        Err(HttpError::Protocol(_))
    ));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
    assert!(matches!(fetch(cut).await, Err(HttpError::Answer(_))));
}

/// A server that takes certificates of one authority only, and what a client of another is told.
#[tokio::test]
async fn a_certificate_that_is_not_taken_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in ["localhost", "client"] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (
            home.path().join(format!("{name}.pem")),
            home.path().join(format!("{name}.key")),
        );
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        files.push(Certificate { chain, key });
    }
    let (server, client) = (&files[0], &files[1]);
    let mut roots = RootCertStore::empty();
    roots
        .add(private_roots(&server.chain).unwrap().remove(0))
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let (chain, key) = shown(server).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let url = url.parse().unwrap();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(acceptor.accept(stream).await);
        }
    });
    let refused = |client: HttpClient| {
        let url: &url::Url = &url;
        async move { client.fetch(url).await.unwrap_err().to_string() }
    };
    let shows = HttpClient::with_certificate(Some(&server.chain), Some(client)).unwrap();
    let said = refused(shows).await;
    assert!(said.contains("client.pem"), "{said}");
    let shows_none = HttpClient::new(Some(&server.chain)).unwrap();
    let said = refused(shows_none).await;
    assert!(!said.contains(".pem") && said.contains(": "), "{said}");
}

#[tokio::test]
async fn nothing_is_sent_in_clear_to_another_machine() {
    for url in [
        "http://issuer.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1.evil.example/",
    ] {
        let sent = client().fetch(&url.parse().unwrap()).await;
        assert!(matches!(sent, Err(HttpError::Plain(_))), "{url}");
    }
    let other = client().fetch(&"ftp://127.0.0.1/".parse().unwrap()).await;
    assert!(matches!(other, Err(HttpError::Address(_))));
}

#[test]
fn a_missing_or_empty_ca_file_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("ca.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [empty, home.path().join("missing.pem")] {
        assert!(matches!(
            HttpClient::new(Some(&path)),
            Err(HttpError::Ca { .. })
        ));
    }
}
