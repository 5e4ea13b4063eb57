//! The TLS side of a client's connection: TLS 1.2 and 1.3 with AEAD suites and forward secrecy only.
//!
//! *Never*: early data (a replayed request would be decided and recorded as if it were new), renegotiation, a
//! certificate for a name that was not asked for.
//! *On failure*: the connection is closed with an alert and counted by cause; no request existed yet.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{DistinguishedName, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;
use super::possession::Possession;
use crate::request::ClientCertificate;

/// The application protocol that the client and the gateway agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1, also when the client offers no protocol.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The crypto provider, with the post-quantum hybrid preferred. The only one that the gateway uses.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // Stated here, so that no change of a default can reorder it.
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    Arc::new(provider)
}

/// The TLS configuration of the gateway's HTTPS listeners.
///
/// With `client_issuers`, the names of CAs, clients are asked for a certificate and may have none.
///
/// # Errors
/// When the provider cannot do the protocol versions.
pub fn server_config(
    certificates: Arc<Certificates>,
    client_issuers: Option<Vec<DistinguishedName>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match client_issuers {
        Some(issuers) => builder.with_client_cert_verifier(Possession::new(issuers)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // SECURITY: 0-RTT can be replayed (CVE-2024-39321).
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A finished handshake.
#[derive(Debug)]
pub struct Secured<S> {
    /// The stream.
    pub stream: TlsStream<S>,
    /// The protocol to speak.
    pub alpn: Alpn,
    /// The server name that the client asked for.
    pub sni: Option<String>,
    /// Version and suite, for the record.
    pub description: Option<String>,
    /// The certificate whose key the client holds.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// Performs the handshake within `patience`; a failure is counted.
pub async fn accept<S>(
    config: &Arc<ServerConfig>,
    stream: S,
    patience: Duration,
) -> Option<Secured<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let stream = match tokio::time::timeout(patience, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            failed(cause_of(&error));
            return None;
        }
        Err(_elapsed) => {
            failed("timeout");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let alpn = match session.alpn_protocol() {
        Some(b"h2") => Alpn::Http2,
        Some(_) | None => Alpn::Http1,
    };
    let description = session
        .protocol_version()
        .and_then(|version| version.as_str())
        .zip(session.negotiated_cipher_suite())
        .map(|(version, suite)| format!("{version} {:?}", suite.suite()));
    let sni = session.server_name().map(str::to_owned);
    let certificate = session
        .peer_certificates()
        .and_then(ClientCertificate::presented)
        .map(Arc::new);
    Some(Secured {
        stream,
        alpn,
        sni,
        description,
        certificate,
    })
}

fn failed(cause: &'static str) {
    metrics::counter!("chartgate_tls_failures_total", "cause" => cause).increment(1);
}

fn cause_of(error: &io::Error) -> &'static str {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "foreign enums; what is not named here is counted as `other`"
    )]
    match tls {
        Some(rustls::Error::PeerIncompatible(_)) => "incompatible",
        Some(rustls::Error::AlertReceived(_)) => "alert",
        Some(rustls::Error::NoApplicationProtocol) => "alpn",
        Some(rustls::Error::General(_)) => "unknown_name",
        Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerMisbehaved(_)) => "malformed",
        Some(_) => "other",
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "closed",
            _ => "io",
        },
    }
}
