//! One connection, and one small HTTP GET over it, as a check makes them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::config::Certificate;

/// A check waits this long for somebody else.
const PATIENCE: Duration = Duration::from_secs(10);
/// A discovery document is some kilobytes.
const LIMIT: usize = 256 * 1024;

/// A byte stream, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom to trust and what to show when connecting by TLS.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trust<'c> {
    /// A private CA instead of the system's roots.
    pub(super) ca: Option<&'c Path>,
    /// A client certificate.
    pub(super) client: Option<&'c Certificate>,
}

/// Connects to the URL's host, by TLS where it is https.
///
/// # Errors
/// For a person: what failed.
pub(super) async fn connect(url: &Url, trust: Trust<'_>) -> Result<Box<dyn Stream>, String> {
    match tokio::time::timeout(PATIENCE, connect_unhurried(url, trust)).await {
        Ok(connected) => connected,
        Err(_) => Err(format!(
            "no connection within {} seconds",
            PATIENCE.as_secs()
        )),
    }
}

async fn connect_unhurried(url: &Url, trust: Trust<'_>) -> Result<Box<dyn Stream>, String> {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let tcp = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| format!("no connection to {host}:{port}: {error}"))?;
    if url.scheme() != "https" {
        return Ok(Box::new(tcp));
    }
    let config = client_config(trust)?;
    let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await;
    let tls = tls.map_err(|error| format!("no TLS with {host}:{port}: {error}"))?;
    Ok(Box::new(tls))
}

fn client_config(trust: Trust<'_>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = trust.ca {
        for certificate in pem_certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", ca.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match trust.client {
        None => Ok(builder.with_no_client_auth()),
        Some(client) => {
            let key = PrivateKeyDer::from_pem_file(&client.key)
                .map_err(|error| format!("{}: {error}", client.key.display()))?;
            builder
                .with_client_auth_cert(pem_certificates(&client.chain)?, key)
                .map_err(|error| error.to_string())
        }
    }
}

fn pem_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Gets a small document.
///
/// # Errors
/// For a person: what failed.
pub(super) async fn get(url: &Url, trust: Trust<'_>) -> Result<Bytes, String> {
    let stream = connect(url, trust).await?;
    match tokio::time::timeout(PATIENCE, exchange(url, stream)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "`{url}` did not answer within {} seconds",
            PATIENCE.as_secs()
        )),
    }
}

async fn exchange(url: &Url, stream: Box<dyn Stream>) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| format!("`{url}` cannot be read: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let authority = url.authority();
    let request = Request::get(url.path())
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answering = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("`{url}` answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        Ok(body.map_err(|error| failed(&error))?.to_bytes())
    };
    // The connection moves bytes for the answer; once there is one, it is not needed any more.
    tokio::select! {
        answer = answering => answer,
        Err(error) = connection => Err(failed(&error)),
    }
}
