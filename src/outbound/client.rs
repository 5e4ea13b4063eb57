//! The HTTP client: one connection for each request, with a deadline.
//!
//! *Never*: plain HTTP to another machine; a connection reused; a redirect followed (a redirected request would carry
//! its secrets along).
//! *On failure*: [`HttpError`]; nothing is tried again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::HttpError;
use super::trust::trusting;
use crate::config::Certificate;

pub(super) const DEADLINE: Duration = Duration::from_secs(10);
pub(super) const MAX_ANSWER: usize = 1024 * 1024;
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
        let answer = self.answer(request).await?;
        if answer.status().is_server_error() {
            return Err(HttpError::Status(answer.status().as_u16()));
        }
        Ok(answer)
    }

    /// Sends a request, and gives its answer whatever that is.
    ///
    /// # Errors
    /// [`HttpError`], where there is none.
    pub async fn answer(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        tokio::time::timeout(DEADLINE, Box::pin(self.exchange(request, MAX_ANSWER)))
            .await
            .unwrap_or(Err(HttpError::Deadline))
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
