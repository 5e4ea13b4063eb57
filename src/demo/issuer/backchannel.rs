//! Back-channel logout: tells every client of a session that it has ended.
//!
//! *Never*: connects to anything but loopback, or waits longer than a few seconds.
//! *On failure*: logs which client was not told; the logout itself goes on.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::{
    IssuerError,
    provider::{Provider, SsoSession},
};
use crate::demo::random;

/// How long a client may take to take note.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a logout token is good, in seconds.
const LIFETIME: i64 = 120;
/// The event that a logout token announces.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Why a client could not be told.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the address is not one to which a logout can be sent")]
    Address,
    #[error("no connection")]
    Connect(#[from] io::Error),
    #[error("the exchange broke off")]
    Http(#[from] hyper::Error),
    #[error("the request could not be built")]
    Request(#[from] http::Error),
    #[error("no answer within {DEADLINE:?}")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("the token could not be made")]
    Token(#[from] IssuerError),
    #[error("the client answered {0}")]
    Refused(StatusCode),
}

/// Tells the clients of these sessions, and returns when each has answered or had its time.
pub(super) async fn announce(
    provider: &Arc<Provider>,
    ended: impl IntoIterator<Item = SsoSession>,
) {
    // Tasks of their own, so that a browser that goes away does not keep a client from being told.
    let mut deliveries = JoinSet::new();
    for session in ended {
        for id in &session.clients {
            let (provider, session, id) = (Arc::clone(provider), session.clone(), id.clone());
            deliveries.spawn(async move {
                if let Err(error) = tell(&provider, &session, &id).await {
                    tracing::warn!(
                        client = id,
                        error = &error as &dyn std::error::Error,
                        "a client was not told of a logout"
                    );
                }
            });
        }
    }
    let joined = tokio::spawn(async move { while deliveries.join_next().await.is_some() {} });
    if let Err(error) = joined.await {
        tracing::error!(%error, "telling clients of a logout was cut short");
    }
}

async fn tell(provider: &Provider, session: &SsoSession, id: &str) -> Result<(), DeliveryError> {
    let Some(uri) = provider
        .client(id)
        .and_then(|client| client.backchannel_logout_uri())
    else {
        return Ok(());
    };
    let uri: Uri = uri.parse().ok().ok_or(DeliveryError::Address)?;
    let token = logout_token(provider, session, id)?;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", &token)
        .finish();
    let status = tokio::time::timeout(DEADLINE, post(provider, &uri, body)).await??;
    if status.is_success() {
        Ok(())
    } else {
        Err(DeliveryError::Refused(status))
    }
}

fn logout_token(
    provider: &Provider,
    session: &SsoSession,
    client: &str,
) -> Result<String, IssuerError> {
    let now = provider.now().as_second();
    let claims = json!({
        "iss": provider.options.issuer_url,
        "sub": provider.user(&session.user).map(crate::demo::users::DemoUser::subject),
        "aud": client,
        "iat": now,
        "exp": now.saturating_add(LIFETIME),
        "jti": random::token()?,
        "sid": session.sid,
        "events": { EVENT: {} },
    });
    provider.keys().current().sign("logout+jwt", &claims)
}

async fn post(provider: &Provider, uri: &Uri, body: String) -> Result<StatusCode, DeliveryError> {
    let host = uri
        .host()
        .ok_or(DeliveryError::Address)?
        .trim_matches(['[', ']']);
    match uri.scheme_str() {
        Some("http") => {
            let stream = connect(host, uri.port_u16().unwrap_or(80)).await?;
            exchange(stream, uri, body).await
        }
        Some("https") => {
            let mut config = provider
                .options
                .tls
                .as_deref()
                .cloned()
                .ok_or(DeliveryError::Address)?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let name = ServerName::try_from(host.to_owned())
                .ok()
                .ok_or(DeliveryError::Address)?;
            let stream = connect(host, uri.port_u16().unwrap_or(443)).await?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await?;
            exchange(stream, uri, body).await
        }
        Some(_) | None => Err(DeliveryError::Address),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, DeliveryError> {
    let address = tokio::net::lookup_host((host, port))
        .await?
        // SECURITY: a demonstration must not become a way to reach other machines.
        .find(|address| address.ip().is_loopback())
        .ok_or(DeliveryError::Address)?;
    Ok(TcpStream::connect(address).await?)
}

async fn exchange<S>(stream: S, uri: &Uri, body: String) -> Result<StatusCode, DeliveryError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::post(target)
        .header(
            header::HOST,
            uri.authority().map_or("", |authority| authority.as_str()),
        )
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body)))?;
    let answer: Result<hyper::Response<Incoming>, hyper::Error> =
        sender.send_request(request).await;
    driver.abort();
    Ok(answer?.status())
}
