//! A bucket of an S3-compatible store: the few requests that backups, archives and witnesses need.
//!
//! It works on a thread that may block, and has a small runtime of its own for each bucket.
//! *Never*: a request without signature, or a body whose hash is not part of it.
//! *On failure*: [`S3Error::Remote`] with the store's status and code; nothing is retried here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::sigv4::{self, Signed, Signer};
use crate::clock::SharedClock;
use crate::config::S3Target;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::format_push_string,
    reason = "the sizes of these tests are small"
)]
pub(crate) mod loopback;
pub mod versions;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The file to be sent.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No such object.
    #[error("{0} is missing at the target")]
    Missing(String),
    /// The store, or the way to it.
    #[error("the object store: {0}")]
    Remote(String),
}

const CONNECT: Duration = Duration::from_secs(10);
/// From the request to the head of its answer; an upload is part of it.
const ANSWER: Duration = Duration::from_mins(30);
/// A body must go on within this.
const PROGRESS: Duration = Duration::from_mins(1);
/// The most of a document (a listing, an error) that is read.
const DOCUMENT: usize = 4 * 1024 * 1024;
/// The most pages of a listing, of a thousand names each.
const PAGES: usize = 10_000;
/// Names on a page.
const PAGE: u32 = 1000;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const IN_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A bucket.
pub struct Bucket {
    account: S3Target,
    tls: Arc<rustls::ClientConfig>,
    clock: SharedClock,
    runtime: Arc<Runtime>,
    /// [`ANSWER`], unless small objects are all that it is for.
    answer: Duration,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

fn remote(error: impl std::fmt::Display) -> S3Error {
    S3Error::Remote(error.to_string())
}

impl Bucket {
    /// Makes ready; nothing is sent yet.
    ///
    /// # Errors
    /// [`S3Error::Remote`] where the CA file cannot be used.
    pub fn new(account: &S3Target, clock: SharedClock) -> Result<Self, S3Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(remote)?;
        Ok(Self {
            tls: Arc::new(trust(account.ca.as_deref())?),
            account: account.clone(),
            clock,
            runtime: Arc::new(runtime),
            answer: ANSWER,
        })
    }

    /// Gives the store no longer than this for an answer: for small objects.
    #[must_use]
    pub const fn answering_within(mut self, patience: Duration) -> Self {
        self.answer = patience;
        self
    }

    /// Its address, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let S3Target {
            endpoint,
            bucket,
            prefix,
            ..
        } = &self.account;
        format!(
            "{}/{bucket}/{prefix}",
            endpoint.as_str().trim_end_matches('/')
        )
    }

    /// How long the object is, if it is there.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn size_of(&self, name: &str) -> Result<Option<u64>, S3Error> {
        let Some(head) = self.head(name)? else {
            return Ok(None);
        };
        let length = head.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Some(length.ok_or_else(|| remote("a length is missing"))?))
    }

    /// The headers of the object, if it is there.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn head(&self, name: &str) -> Result<Option<HeaderMap>, S3Error> {
        let (response, _) = self.send(Call::about(Method::HEAD, &self.path(name)))?;
        match response.status() {
            StatusCode::OK => Ok(Some(response.into_parts().0.headers)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(remote(format!("HEAD {name}: {other}"))),
        }
    }

    /// Stores an object under a name. `headers` are sent and signed with it: names in lower case, such as
    /// `x-amz-object-lock-mode`.
    ///
    /// # Errors
    /// [`S3Error`]; what the store kept of it then is the store's to say.
    pub fn put(
        &self,
        name: &str,
        object: Upload,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), S3Error> {
        self.put_to(name, "", object, headers)
    }

    /// Sets what belongs to an object, such as its legal hold: `query` names what, `legal-hold=`.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn put_to(
        &self,
        name: &str,
        query: &str,
        object: Upload,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), S3Error> {
        let path = self.path(name);
        let (response, reader) = self.send(Call {
            query,
            headers,
            upload: Some(object),
            ..Call::about(Method::PUT, &path)
        })?;
        expect(name, &response, reader).map(drop)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`S3Error::Missing`] where there is none.
    pub fn read(&self, name: &str) -> Result<Box<dyn Read>, S3Error> {
        self.read_from(name, "")
    }

    /// Reads what belongs to an object, such as its legal hold.
    ///
    /// # Errors
    /// [`S3Error::Missing`] where there is none.
    pub fn read_from(&self, name: &str, query: &str) -> Result<Box<dyn Read>, S3Error> {
        let path = self.path(name);
        let (response, reader) = self.send(Call {
            query,
            ..Call::about(Method::GET, &path)
        })?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(S3Error::Missing(name.to_owned()));
        }
        if response.status() == StatusCode::OK {
            return Ok(Box::new(reader));
        }
        expect(name, &response, reader).map(|_| Box::new(io::empty()) as Box<dyn Read>)
    }

    /// The names in a folder, in the store's order (by bytes).
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, S3Error> {
        let mut names = Vec::new();
        let mut token = None;
        for _ in 0..PAGES {
            let page = self.page(folder, token.as_deref(), PAGE)?;
            names.extend(page.names);
            token = page.next;
            if token.is_none() {
                return Ok(names);
            }
        }
        Err(remote("the listing does not end"))
    }

    /// The first name in a folder.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn first(&self, folder: &str) -> Result<Option<String>, S3Error> {
        Ok(self.page(folder, None, 1)?.names.into_iter().next())
    }

    fn page(&self, folder: &str, token: Option<&str>, most: u32) -> Result<Page, S3Error> {
        let prefix = &self.account.prefix;
        let start = format!("{prefix}{folder}/");
        let mut query = String::new();
        if let Some(token) = token {
            query.push_str("continuation-token=");
            query.extend(utf8_percent_encode(token, UNRESERVED));
            query.push('&');
        }
        query.push_str("list-type=2&max-keys=");
        query.push_str(&most.to_string());
        query.push_str("&prefix=");
        query.extend(utf8_percent_encode(&start, UNRESERVED));
        let path = format!("/{}", self.account.bucket);
        let (response, reader) = self.send(Call {
            query: &query,
            ..Call::about(Method::GET, &path)
        })?;
        let text = expect(folder, &response, reader)?;
        // Names at a target are hexadecimal digits and the like: nothing in them is escaped in XML.
        let keys = elements(&text, "Key");
        let names = keys.filter_map(|key| key.strip_prefix(prefix.as_str()).map(str::to_owned));
        Ok(Page {
            names: names.collect(),
            next: elements(&text, "NextContinuationToken")
                .next()
                .map(str::to_owned),
        })
    }

    fn path(&self, name: &str) -> String {
        let S3Target { bucket, prefix, .. } = &self.account;
        let plain = format!("/{bucket}/{prefix}{name}");
        utf8_percent_encode(&plain, IN_PATH).to_string()
    }

    fn send(&self, call: Call<'_>) -> Result<(Response<()>, Answer), S3Error> {
        let Call {
            method,
            path,
            query,
            headers: extra,
            upload,
        } = call;
        let payload = match &upload {
            Some(upload) => upload.sha256.clone(),
            None => sigv4::sha256(b""),
        };
        let stamp = self.clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.account.endpoint.authority().to_owned();
        let mut headers = vec![("host", host)];
        if upload.is_some() {
            let raw = hex::decode(&payload).map_err(remote)?;
            headers.push(("x-amz-checksum-sha256", BASE64.encode(raw)));
        }
        headers.push(("x-amz-content-sha256", payload.clone()));
        headers.push(("x-amz-date", stamp.clone()));
        headers.extend(extra);
        headers.sort_by_key(|(name, _)| *name);
        let authorization = sigv4::authorization(
            &Signer {
                access_key_id: &self.account.access_key_id,
                secret_access_key: &self.account.secret_access_key,
                region: &self.account.region,
                service: "s3",
            },
            &Signed {
                method: method.as_str(),
                path,
                query,
                headers: &headers,
                payload: &payload,
                stamp: &stamp,
            },
        );
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let body = match upload {
            Some(upload) => upload.boxed(),
            None => Empty::new().map_err(|never| match never {}).boxed(),
        };
        let request = request.header("authorization", authorization).body(body);
        self.exchange(request.map_err(remote)?)
    }

    fn exchange(
        &self,
        request: Request<BoxBody<Bytes, io::Error>>,
    ) -> Result<(Response<()>, Answer), S3Error> {
        let response = self.runtime.block_on(async {
            let stream = tokio::time::timeout(CONNECT, self.connect()).await;
            let stream = stream.map_err(|_elapsed| remote("no connection in time"))??;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(remote)?;
            tokio::spawn(connection);
            let answered = tokio::time::timeout(self.answer, sender.send_request(request)).await;
            answered
                .map_err(|_elapsed| remote("no answer in time"))?
                .map_err(remote)
        })?;
        let (head, body) = response.into_parts();
        let reader = Answer {
            runtime: Arc::clone(&self.runtime),
            body,
            held: Bytes::new(),
        };
        Ok((Response::from_parts(head, ()), reader))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, S3Error> {
        let endpoint = &self.account.endpoint;
        let host = endpoint.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = endpoint.port_or_known_default().unwrap_or_default();
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(remote)?;
        if endpoint.scheme() != "https" {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(host).map_err(remote)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        Ok(Box::new(
            connector.connect(name, tcp).await.map_err(remote)?,
        ))
    }
}

fn trust(ca: Option<&Path>) -> Result<rustls::ClientConfig, S3Error> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in CertificateDer::pem_file_iter(ca).map_err(remote)? {
            roots.add(certificate.map_err(remote)?).map_err(remote)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(remote)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The answer's text where it is a success.
fn expect(name: &str, response: &Response<()>, mut reader: Answer) -> Result<String, S3Error> {
    let mut text = String::new();
    let limit = DOCUMENT as u64;
    Read::by_ref(&mut reader)
        .take(limit)
        .read_to_string(&mut text)
        .map_err(remote)?;
    if response.status() == StatusCode::OK {
        return Ok(text);
    }
    let code = elements(&text, "Code")
        .next()
        .unwrap_or_default()
        .to_owned();
    Err(remote(format!("{name}: {} {code}", response.status())))
}

/// The contents of each `<name>` in a flat document.
fn elements<'x>(text: &'x str, name: &str) -> impl Iterator<Item = &'x str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(begin.as_str())?;
        let (content, after) = after.split_once(end.as_str())?;
        rest = after;
        Some(content)
    })
}

/// The body of an answer, read as it comes.
struct Answer {
    runtime: Arc<Runtime>,
    body: Incoming,
    held: Bytes,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            let body = &mut self.body;
            let frame = self.runtime.block_on(async {
                let next = tokio::time::timeout(PROGRESS, body.frame()).await;
                next.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))
            })?;
            match frame {
                None => return Ok(0),
                Some(frame) => {
                    let frame = frame.map_err(io::Error::other)?;
                    self.held = frame.into_data().unwrap_or_default();
                }
            }
        }
        let count = self.held.len().min(buffer.len());
        let to = buffer.get_mut(..count).unwrap_or_default();
        self.held.copy_to_slice(to);
        Ok(count)
    }
}

/// A request.
struct Call<'c> {
    method: Method,
    path: &'c str,
    query: &'c str,
    /// Beside those that every request has.
    headers: Vec<(&'static str, String)>,
    upload: Option<Upload>,
}

impl<'c> Call<'c> {
    const fn about(method: Method, path: &'c str) -> Self {
        Self {
            method,
            path,
            query: "",
            headers: Vec::new(),
            upload: None,
        }
    }
}

/// A part of a listing.
struct Page {
    names: Vec<String>,
    next: Option<String>,
}

/// An object on its way. Reading it blocks, on a runtime that does nothing else.
pub struct Upload {
    from: Box<dyn Read + Send + Sync>,
    left: u64,
    sha256: String,
}

impl Upload {
    /// A file of this length and SHA-256 (hex).
    ///
    /// # Errors
    /// [`S3Error::File`].
    pub fn file(path: &Path, size: u64, sha256: String) -> Result<Self, S3Error> {
        let opened = File::open(path).map_err(|source| S3Error::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            from: Box::new(opened),
            left: size,
            sha256,
        })
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            left: bytes.len() as u64,
            sha256: sigv4::sha256(&bytes),
            from: Box::new(io::Cursor::new(bytes)),
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = Vec::new();
        let limit = self.left.min(256 * 1024);
        let read = Read::by_ref(&mut self.from)
            .take(limit)
            .read_to_end(&mut piece);
        Poll::Ready(Some(match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(Frame::data(Bytes::from(piece)))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
