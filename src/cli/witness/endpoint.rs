//! The protocol of a witness over HTTPS (docs/witnesses.md): `POST` a note, `GET` the newest.
//!
//! *Never*: reads more than a note, or waits for a client longer than it has to.
//! *On failure*: an answer that says why; the client offers its newest note again.

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::audit::witnesses::{Holder, Taken};
use crate::secret::Secret;
use crate::server::tls;

/// A handshake, a head and a body each have to be there within this; an idle connection is closed after it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest note.
const LONGEST: usize = 16 * 1024;
/// Connections at once; what comes beyond waits in the kernel.
const MOST_CONNECTIONS: usize = 256;
/// Pause after a failed accept, so that exhausted file descriptors do not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers.
pub(super) struct Endpoint {
    pub(super) holder: Arc<Holder>,
    pub(super) token: Option<Secret<String>>,
    pub(super) tls: Arc<rustls::ServerConfig>,
}

impl Endpoint {
    /// Serves until `end`; requests in hand are finished, within [`PATIENCE`].
    pub(super) async fn serve(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let endpoint = Arc::new(self);
        let mut connections = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            while connections.try_join_next().is_some() {}
            tokio::select! {
                () = &mut end => break,
                _ = connections.join_next(), if connections.len() >= MOST_CONNECTIONS => {}
                accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(Arc::clone(&endpoint).converse(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, drained).await.is_err() {
            tracing::warn!("connections that did not end in time were closed");
        }
    }

    /// One connection, one request: a gateway sends one in ten seconds, and each over a connection of its own.
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let Some(secured) = tls::accept(&self.tls, stream, PATIENCE).await else {
            return;
        };
        let answer = |request| {
            let endpoint = Arc::clone(&self);
            async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .keep_alive(false)
            .max_buf_size(LONGEST)
            .serve_connection(TokioIo::new(secured.stream), service_fn(answer));
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.may(request.headers()) {
            let mut refused = text(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
            let scheme = HeaderValue::from_static("Bearer");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return refused;
        }
        match *request.method() {
            Method::GET => match self.holder.newest() {
                Some(note) => text(StatusCode::OK, note),
                None => text(StatusCode::NO_CONTENT, ""),
            },
            Method::POST => self.take(request.into_body()).await,
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST\n"),
        }
    }

    /// Whether the client says the token, where there is one.
    fn may(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let said = said.and_then(|said| said.strip_prefix(b"Bearer ".as_slice()));
        said.is_some_and(|said| {
            aws_lc_rs::constant_time::verify_slices_are_equal(said, token.expose().as_bytes())
                .is_ok()
        })
    }

    async fn take(&self, body: Incoming) -> Response<Full<Bytes>> {
        let read = Limited::new(body, LONGEST).collect();
        let body = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "no note is so long\n"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the note did not come\n"),
        };
        let Ok(note) = String::from_utf8(body.to_vec()) else {
            return text(StatusCode::BAD_REQUEST, "a note is UTF-8\n");
        };
        let holder = Arc::clone(&self.holder);
        let taken = tokio::task::spawn_blocking(move || holder.take(&note)).await;
        match taken {
            Ok(Ok(Taken::Held(line))) => text(StatusCode::OK, line),
            Ok(Ok(Taken::GoesBack(newest))) => {
                tracing::warn!("a note that goes back was offered: was the trail rolled back?");
                text(StatusCode::CONFLICT, newest)
            }
            Ok(Ok(Taken::Foreign(error))) => text(StatusCode::FORBIDDEN, format!("{error}\n")),
            Ok(Err(error)) => {
                tracing::error!(%error, "a note could not be held");
                text(StatusCode::SERVICE_UNAVAILABLE, "the note cannot be held\n")
            }
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the note cannot be held\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
