//! Where a back end is, and how a connection to it is opened: plain, or over verified TLS.
//!
//! *Never*: an unverified certificate; a back end whose name the certificate does not carry is unreachable.
//! *On failure*: [`EndpointError`] at load, [`ConnectError`] at run time.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{self, BackendProtocol};

/// Why a back end cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL names no host, or is neither `http` nor `https`.
    #[error("{url}: name the back end as http://host:port or https://host:port")]
    Url {
        /// The URL.
        url: url::Url,
    },
    /// A PEM file cannot be read.
    #[error("{file}: {source}; name a readable PEM file")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The system has no root certificates.
    #[error("no root certificates were found; name the back end's CA with `ca`")]
    NoRoots,
    /// Certificates that TLS cannot be set up with.
    #[error("{file}: {source}")]
    Tls {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        source: rustls::Error,
    },
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection, or no valid TLS.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection took longer than `connect_timeout`.
    #[error("no connection in time")]
    Timeout,
    /// The back end does not speak the configured HTTP version.
    #[error("the back end does not agree to HTTP/2")]
    Protocol,
    /// The HTTP connection could not be started.
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// A back end.
#[derive(Debug)]
pub struct Endpoint {
    settings: config::Backend,
    host: String,
    authority: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// Prepares to connect to a configured back end.
    ///
    /// # Errors
    /// [`EndpointError`] naming what is wrong.
    pub fn load(settings: &config::Backend) -> Result<Self, EndpointError> {
        let bad_url = || EndpointError::Url {
            url: settings.url.clone(),
        };
        let host = settings.url.host().ok_or_else(bad_url)?;
        let port = settings.url.port_or_known_default().ok_or_else(bad_url)?;
        let bare = match &host {
            url::Host::Domain(name) => (*name).to_owned(),
            url::Host::Ipv4(ip) => ip.to_string(),
            url::Host::Ipv6(ip) => ip.to_string(),
        };
        let tls = match settings.url.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(bare.clone())
                    .ok()
                    .ok_or_else(bad_url)?;
                Some((client_config(settings)?, name))
            }
            _ => return Err(bad_url()),
        };
        let authority = match settings.url.port() {
            None => host.to_string(),
            Some(port) => format!("{host}:{port}"),
        };
        Ok(Self {
            settings: settings.clone(),
            host: bare,
            authority,
            port,
            tls,
        })
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &config::Backend {
        &self.settings
    }

    /// Its own host and port, as in URLs.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectError`] when there is none within `connect_timeout`.
    pub async fn open(&self) -> Result<Socket, ConnectError> {
        tokio::time::timeout(self.settings.connect_timeout, self.connect())
            .await
            .unwrap_or(Err(ConnectError::Timeout))
    }

    async fn connect(&self) -> Result<Socket, ConnectError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let probe = socket2::TcpKeepalive::new().with_time(std::time::Duration::from_mins(1));
        socket2::SockRef::from(&stream).set_tcp_keepalive(&probe)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await?;
                let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                if self.settings.protocol == BackendProtocol::Http2 && !agreed {
                    return Err(ConnectError::Protocol);
                }
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Socket {
            stream,
            read: Arc::default(),
        })
    }
}

fn client_config(settings: &config::Backend) -> Result<Arc<ClientConfig>, EndpointError> {
    let roots = roots(settings)?;
    let file = settings.ca.clone().unwrap_or_default();
    let tls = |source| EndpointError::Tls { file, source };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(tls)?
        .with_root_certificates(roots);
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let unreadable = |file: &PathBuf| {
                let file = file.clone();
                move |source| EndpointError::Unreadable { file, source }
            };
            let chain = CertificateDer::pem_file_iter(&pair.chain)
                .map_err(unreadable(&pair.chain))?
                .collect::<Result<Vec<_>, _>>()
                .map_err(unreadable(&pair.chain))?;
            let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(unreadable(&pair.key))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| EndpointError::Tls {
                    file: pair.chain.clone(),
                    source,
                })?
        }
    };
    config.alpn_protocols = match settings.protocol {
        BackendProtocol::Http1 => vec![b"http/1.1".to_vec()],
        BackendProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn roots(settings: &config::Backend) -> Result<RootCertStore, EndpointError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = &settings.ca else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        return if roots.is_empty() {
            Err(EndpointError::NoRoots)
        } else {
            Ok(roots)
        };
    };
    let unreadable = |source| EndpointError::Unreadable {
        file: ca.clone(),
        source,
    };
    for certificate in CertificateDer::pem_file_iter(ca).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|source| EndpointError::Tls {
                file: ca.clone(),
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(EndpointError::NoRoots);
    }
    Ok(roots)
}

/// An open connection to a back end, which counts what it has received.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// The number of bytes received so far, as it grows.
    #[must_use]
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        let more = buf.filled().len().saturating_sub(before);
        this.read
            .fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
