//! The HTTP client for everything that is no EMR (identity provider, webhooks): small answers, one deadline, no
//! redirects.
//!
//! *Never*: plain HTTP to another machine; a connection reused; a redirect followed (a redirected request would carry
//! its secrets along).

pub mod s3;
pub mod sigv4;
pub mod syslog;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::config::Certificate;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file of trusted certificates.
    #[error("the CA file {path}: {problem}")]
    Ca {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate to show.
    #[error("the client certificate {path}: {problem}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// The URL.
    #[error("`{0}` is no address to send a request to")]
    Address(String),
    /// Plain HTTP to another machine.
    #[error("plain HTTP is only spoken to this machine, not to `{0}`")]
    Plain(String),
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// A download took too long.
    #[error("no whole answer within {0} s")]
    Slow(u64),
    /// A download is too long, or broke off.
    #[error("the answer could not be read, or is longer than {most} bytes")]
    Download {
        /// Most bytes.
        most: usize,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection.
    #[error("the server cannot be reached: {0}")]
    Connect(#[source] std::io::Error),
    /// No HTTP.
    #[error("the server did not speak HTTP: {}", reasons(.0))]
    Protocol(#[source] hyper::Error),
    /// No answer to who showed a certificate: with TLS 1.3, a server that does not take it says so only now.
    #[error("the server ended the connection, perhaps for the client certificate {path}: {}", reasons(.source))]
    Certified {
        /// The file.
        path: String,
        /// How it ended.
        source: hyper::Error,
    },
    /// The body of the answer.
    #[error("the answer could not be read, or is longer than {MAX_ANSWER} bytes")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A status that is an error.
    #[error("the server answered with status {0}")]
    Status(u16),
}

/// An error with what is behind it: hyper's own text says that, not why.
fn reasons(error: &hyper::Error) -> String {
    let mut said = error.to_string();
    let mut behind = std::error::Error::source(error);
    while let Some(reason) = behind {
        said.push_str(": ");
        said.push_str(&reason.to_string());
        behind = reason.source();
    }
    said
}

const DEADLINE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1024 * 1024;
const REQUESTS_AT_ONCE: usize = 64;

/// An HTTP/1.1 client with its trust anchors.
#[derive(Clone)]
pub struct HttpClient {
    tls: TlsConnector,
    permits: Arc<Semaphore>,
    /// The file of the certificate that is shown.
    certificate: Option<Arc<Path>>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// A client that trusts the CA in the file, or the system's roots.
    ///
    /// # Errors
    /// [`HttpError`], where the file or TLS is not in order.
    pub fn new(ca: Option<&Path>) -> Result<Self, HttpError> {
        Self::with_certificate(ca, None)
    }

    /// A client that also shows a certificate to whoever asks for one.
    ///
    /// # Errors
    /// [`HttpError`], where a file or TLS is not in order.
    pub fn with_certificate(
        ca: Option<&Path>,
        certificate: Option<&Certificate>,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            tls: TlsConnector::from(Arc::new(trusting(ca, certificate)?)),
            permits: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            certificate: certificate.map(|pair| Arc::from(pair.chain.as_path())),
        })
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn fetch(&self, url: &url::Url) -> Result<Vec<u8>, HttpError> {
        let request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|source| HttpError::Address(source.to_string()))?;
        let answer = self.send(request).await?;
        if answer.status() != ::http::StatusCode::OK {
            return Err(HttpError::Status(answer.status().as_u16()));
        }
        Ok(answer.into_body())
    }

    /// Reads a document that may be long: `most` bytes within `deadline`.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn download(
        &self,
        request: Request<Vec<u8>>,
        most: usize,
        deadline: Duration,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let answer = tokio::time::timeout(deadline, Box::pin(self.exchange(request, most)))
            .await
            .unwrap_or(Err(HttpError::Slow(deadline.as_secs())))
            .map_err(|error| {
                if let HttpError::Answer(source) = error {
                    HttpError::Download { most, source }
                } else {
                    error
                }
            })?;
        if answer.status() != ::http::StatusCode::OK {
            return Err(HttpError::Status(answer.status().as_u16()));
        }
        Ok(answer)
    }

    /// Sends a request. A status of 500 or more is an error: the server is not able to answer.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let answer = tokio::time::timeout(DEADLINE, Box::pin(self.exchange(request, MAX_ANSWER)))
            .await
            .unwrap_or(Err(HttpError::Deadline))?;
        if answer.status().is_server_error() {
            return Err(HttpError::Status(answer.status().as_u16()));
        }
        Ok(answer)
    }

    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        most: usize,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        // The semaphore is never closed, and waiting for it counts against the deadline.
        let _permit = self
            .permits
            .acquire()
            .await
            .ok()
            .ok_or(HttpError::Deadline)?;
        let uri = request.uri().clone();
        let address = || HttpError::Address(uri.to_string());
        let host = uri.host().ok_or_else(address)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = |port| async move {
            let stream = TcpStream::connect((bare, port)).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        match uri.scheme_str() {
            Some("https") => {
                let port = uri.port_u16().unwrap_or(443);
                let name = ServerName::try_from(bare.to_owned())
                    .ok()
                    .ok_or_else(address)?;
                let stream = tcp(port).await.map_err(HttpError::Connect)?;
                let stream = self
                    .tls
                    .connect(name, stream)
                    .await
                    .map_err(HttpError::Connect)?;
                let sent = over(stream, request, most).await;
                sent.map_err(|error| self.suspecting(error))
            }
            // SECURITY: the client secret and the tokens would cross the network in clear.
            Some("http") if !is_this_machine(bare) => Err(HttpError::Plain(host.to_owned())),
            Some("http") => {
                let port = uri.port_u16().unwrap_or(80);
                over(tcp(port).await.map_err(HttpError::Connect)?, request, most).await
            }
            Some(_) | None => Err(address()),
        }
    }
}

impl HttpClient {
    /// Names the certificate that may be to blame.
    fn suspecting(&self, error: HttpError) -> HttpError {
        match (error, &self.certificate) {
            (HttpError::Protocol(source), Some(path)) if !source.is_parse() => {
                HttpError::Certified {
                    path: path.display().to_string(),
                    source,
                }
            }
            (error, _) => error,
        }
    }
}

/// Whether a host name can only mean the machine itself.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// The certificates of a private CA.
///
/// # Errors
/// [`HttpError::Ca`], where the file is unreadable or holds none.
pub fn private_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let failed = |problem: String| HttpError::Ca {
        path: path.display().to_string(),
        problem,
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| failed(source.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// TLS that trusts the CA in the file, or the system's roots, and shows a certificate to whoever asks for one.
fn trusting(
    ca: Option<&Path>,
    certificate: Option<&Certificate>,
) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in private_roots(path)? {
                roots.add(certificate).map_err(|source| HttpError::Ca {
                    path: path.display().to_string(),
                    problem: source.to_string(),
                })?;
            }
        }
        // A root of the system that does not parse is skipped; connections that need it fail.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpError::Tls)?
        .with_root_certificates(roots);
    match certificate {
        Some(pair) => {
            let (chain, key) = shown(pair)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(HttpError::Tls)
        }
        None => Ok(config.with_no_client_auth()),
    }
}

/// A certificate with its key, as it is shown.
fn shown(
    pair: &Certificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HttpError> {
    let failed = |path: &Path, source: rustls::pki_types::pem::Error| HttpError::Certificate {
        path: path.display().to_string(),
        problem: source.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&pair.chain)
        .and_then(Iterator::collect)
        .map_err(|source| failed(&pair.chain, source))?;
    let key =
        PrivateKeyDer::from_pem_file(&pair.key).map_err(|source| failed(&pair.key, source))?;
    Ok((chain, key))
}

async fn over<S>(
    stream: S,
    request: Request<Vec<u8>>,
    most: usize,
) -> Result<Response<Vec<u8>>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HttpError::Protocol)?;
    let connection = Abort(tokio::spawn(async move {
        // Its errors reach the request itself.
        drop(connection.await);
    }));
    let answer = sender
        .send_request(in_origin_form(request)?)
        .await
        .map_err(HttpError::Protocol)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, most)
        .collect()
        .await
        .map_err(HttpError::Answer)?;
    drop(connection);
    Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
}

/// Ends the connection with the request, however that ends.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn in_origin_form(request: Request<Vec<u8>>) -> Result<Request<Full<Bytes>>, HttpError> {
    let (mut parts, body) = request.into_parts();
    let address = || HttpError::Address(parts.uri.to_string());
    let authority = parts.uri.authority().ok_or_else(address)?.as_str();
    // User information in a URL is not for the Host field.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = ::http::HeaderValue::from_str(host)
        .ok()
        .ok_or_else(address)?;
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", ::http::uri::PathAndQuery::as_str);
    let uri: Uri = path.parse().ok().ok_or_else(address)?;
    parts.uri = uri;
    parts.headers.insert(header::HOST, host);
    parts.headers.insert(
        header::CONNECTION,
        ::http::HeaderValue::from_static("close"),
    );
    Ok(Request::from_parts(parts, Full::new(Bytes::from(body))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

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
}
