//! A signed request on a connection of its own.
//!
//! *Never*: a request without signature, or a body whose hash is not part of it.
//! *On failure*: [`S3Error::Remote`]; nothing is retried here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::answer::Answer;
use super::error::remote;
use super::{Bucket, S3Error, Upload};
use crate::outbound::sigv4::{self, Signed, Signer};

const CONNECT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A request.
pub(super) struct Call<'c> {
    pub(super) method: Method,
    pub(super) path: &'c str,
    pub(super) query: &'c str,
    /// Beside those that every request has.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) upload: Option<Upload>,
}

impl<'c> Call<'c> {
    pub(super) const fn about(method: Method, path: &'c str) -> Self {
        Self {
            method,
            path,
            query: "",
            headers: Vec::new(),
            upload: None,
        }
    }
}

impl Bucket {
    pub(super) fn send(&self, call: Call<'_>) -> Result<(Response<()>, Answer), S3Error> {
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

pub(super) fn trust(ca: Option<&Path>) -> Result<rustls::ClientConfig, S3Error> {
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
