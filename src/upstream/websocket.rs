//! Web sockets: the handshake is judged, the frames pass.
//!
//! *Never*: a byte of the new protocol before the EMR has proven that it speaks it (premature upgrades have been
//! smuggling, RUSTSEC-2026-0033); a socket that outlives its session.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Lease;
use super::streams::{Ended, LiveStream, StreamHandle};
use crate::audit::outcome::{End, OutcomeGuard};
use crate::config::{self, BackendProtocol};
use crate::identity::identify::SessionEnd;
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::hygiene::tokens;

/// Both sides must have switched within this after the EMR agreed.
const SWITCH: Duration = Duration::from_secs(10);
/// Bytes that are copied at once, per direction.
const BUFFER: usize = 16 * 1024;

/// A client's valid request for a WebSocket.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
    client: OnUpgrade,
}

/// What lives as long as the socket.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) guard: OutcomeGuard,
    pub(super) stream: StreamHandle,
    pub(super) lease: Lease,
    pub(super) session: SessionEnd,
}

impl Handshake {
    /// Takes the client's side of an upgrade, if it asks for one.
    pub(super) fn begin(
        limited: &mut Limited,
        backend: &config::Backend,
    ) -> Result<Option<Self>, Refusal> {
        let parts = limited.received().parts();
        if parts.upgrade_to.is_none() {
            return Ok(None);
        }
        let allowed = limited.authorized().mapped().traits().websocket
            && backend.protocol == BackendProtocol::Http1;
        let accept = accept_for(&parts.headers).filter(|_| allowed);
        let client = limited.received_mut().take_upgrade();
        match (accept, client) {
            (Some(accept), Some(client)) => Ok(Some(Self { accept, client })),
            (None | Some(_), _) => Err(Refusal::UpgradeRefused),
        }
    }

    /// Whether the EMR's answer proves that it read this very handshake.
    pub(super) fn is_answered_by<B>(&self, response: &Response<B>) -> bool {
        let headers = response.headers();
        response.status() == StatusCode::SWITCHING_PROTOCOLS
            && tokens(headers, &header::CONNECTION).any(|token| token == "upgrade")
            && tokens(headers, &header::UPGRADE).eq(["websocket"])
            && only(headers, &header::SEC_WEBSOCKET_ACCEPT) == Some(self.accept.as_str())
    }
}

/// RFC 6455 §4.2: the answer that the request's key asks for; `None` for an invalid handshake.
fn accept_for(headers: &HeaderMap) -> Option<String> {
    let key = only(headers, &header::SEC_WEBSOCKET_KEY)?;
    let version = only(headers, &header::SEC_WEBSOCKET_VERSION)?;
    let decoded = STANDARD.decode(key).ok()?;
    (decoded.len() == 16 && version == "13").then(|| {
        let mut hash =
            aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(key.as_bytes());
        hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        STANDARD.encode(hash.finish())
    })
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Copies between the two sides until one closes, or the stream is to end. Runs on the worker's own thread.
pub(super) fn bridge(handshake: Handshake, back_end: OnUpgrade, bridge: Bridge) {
    tokio::task::spawn_local(async move {
        let Bridge {
            mut guard,
            mut stream,
            lease,
            session,
        } = bridge;
        let live = Arc::clone(stream.stream());
        let end = tokio::select! {
            biased;
            () = session.over() => End::Cut,
            end = copy(handshake.client, back_end, &live, &mut stream) => end,
        };
        guard.received(live.bytes_in());
        guard.sent(live.bytes_out());
        guard.finish(end);
        drop(lease);
    });
}

async fn copy(
    client: OnUpgrade,
    back_end: OnUpgrade,
    live: &Arc<LiveStream>,
    stream: &mut StreamHandle,
) -> End {
    let both = async { tokio::try_join!(client, back_end) };
    let (client, back_end) = match tokio::time::timeout(SWITCH, both).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no switch");
            return End::Abandoned;
        }
        Err(_) => return End::Abandoned,
    };
    let mut client = Counted {
        io: TokioIo::new(client),
        live: Arc::clone(live),
    };
    let hung_up = Rc::new(Cell::new(false));
    let mut back_end = Ending {
        io: TokioIo::new(back_end),
        hung_up: Rc::clone(&hung_up),
    };
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut back_end, BUFFER, BUFFER);
    tokio::select! {
        biased;
        ended = stream.ended() => match ended {
            Ended::Cut | Ended::Expired => End::Cut,
        },
        copied = copied => match copied {
            Ok(_) => End::Complete,
            // RFC 6455 §7.1.1: the server closes first; how the client's side ends after that says nothing.
            Err(_) if hung_up.get() => End::Complete,
            Err(error) => {
                tracing::debug!(%error, "socket broke");
                End::Abandoned
            }
        },
    }
}

/// The client's side, counting what passes.
struct Counted<S> {
    io: S,
    live: Arc<LiveStream>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let more = buf.filled().len().saturating_sub(before);
        this.live.received(u64::try_from(more).unwrap_or(u64::MAX));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, bytes))?;
        this.live.sent(u64::try_from(written).unwrap_or(u64::MAX));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// The EMR's side, remembering that it has closed.
struct Ending<S> {
    io: S,
    hung_up: Rc<Cell<bool>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Ending<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            this.hung_up.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ending<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(key: &str, version: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_KEY, key.parse().unwrap());
        headers.insert(header::SEC_WEBSOCKET_VERSION, version.parse().unwrap());
        headers
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        let headers = handshake("dGhlIHNhbXBsZSBub25jZQ==", "13");
        assert_eq!(
            accept_for(&headers).as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }

    #[test]
    fn invalid_handshakes_have_none() {
        assert_eq!(
            accept_for(&handshake("dGhlIHNhbXBsZSBub25jZQ==", "8")),
            None
        );
        assert_eq!(accept_for(&handshake("c2hvcnQ=", "13")), None);
        assert_eq!(accept_for(&handshake("not base64", "13")), None);
        let mut twice = handshake("dGhlIHNhbXBsZSBub25jZQ==", "13");
        twice.append(
            header::SEC_WEBSOCKET_KEY,
            "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap(),
        );
        assert_eq!(accept_for(&twice), None);
    }
}
