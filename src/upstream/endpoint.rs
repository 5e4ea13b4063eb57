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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::emr;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::server::WebPkiClientVerifier;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            Self(CertifiedIssuer::self_signed(params, key).unwrap())
        }

        fn issue(&self, directory: &Path, file: &str, name: &str) -> config::Certificate {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap();
            let pair = config::Certificate {
                chain: directory.join(format!("{file}.pem")),
                key: directory.join(format!("{file}.key")),
            };
            std::fs::write(&pair.chain, certificate.pem()).unwrap();
            std::fs::write(&pair.key, key.serialize_pem()).unwrap();
            pair
        }
    }

    /// A back end at `localhost` that demands a client certificate of its authority.
    async fn back_end(pair: &config::Certificate, authority: &Authority) -> u16 {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let chain = CertificateDer::pem_file_iter(&pair.chain)
            .unwrap()
            .map(Result::unwrap);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                chain.collect(),
                PrivateKeyDer::from_pem_file(&pair.key).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    stream.write_all(b"hello").await.unwrap();
                    let _ = stream.shutdown().await;
                }
            }
        });
        port
    }

    async fn says(backend: &config::Backend) -> Option<String> {
        let mut socket = Endpoint::load(backend).unwrap().open().await.ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await.ok()?;
        assert_eq!(socket.received().load(Ordering::Relaxed), 5);
        Some(text)
    }

    #[tokio::test]
    async fn both_sides_of_a_tls_back_end_are_verified() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Authority::new(), Authority::new());
        let file = |name: &str, authority: &Authority| {
            let file = directory.path().join(name);
            std::fs::write(&file, authority.0.pem()).unwrap();
            Some(file)
        };
        let server = ours.issue(directory.path(), "server", "localhost");
        let client = ours.issue(directory.path(), "client", "gateway");
        let stranger = theirs.issue(directory.path(), "stranger", "gateway");
        let port = back_end(&server, &ours).await;
        let mut backend = emr(&format!("https://localhost:{port}")).backend;
        backend.ca = file("ours.pem", &ours);
        backend.client_certificate = Some(client);
        assert_eq!(says(&backend).await.as_deref(), Some("hello"));
        let mut other = backend.clone();
        other.ca = file("theirs.pem", &theirs);
        assert_eq!(says(&other).await, None, "a back end of another authority");
        let mut other = backend.clone();
        other.url = format!("https://127.0.0.1:{port}").parse().unwrap();
        assert_eq!(says(&other).await, None, "a back end of another name");
        let mut other = backend.clone();
        other.client_certificate = Some(stranger);
        assert_eq!(says(&other).await, None, "a gateway of another authority");
        let mut other = backend.clone();
        other.protocol = BackendProtocol::Http2;
        assert_eq!(says(&other).await, None, "another protocol");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut backend = emr("ftp://emr.example").backend;
        assert!(matches!(
            Endpoint::load(&backend),
            Err(EndpointError::Url { .. })
        ));
        backend.url = "https://emr.example".parse().unwrap();
        backend.ca = Some("/nowhere/ca.pem".into());
        let problem = Endpoint::load(&backend).unwrap_err().to_string();
        assert!(problem.contains("/nowhere/ca.pem"), "{problem}");
    }
}
