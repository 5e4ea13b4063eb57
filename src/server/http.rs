//! Serves HTTP/1.1 or HTTP/2 on one connection, as the TLS handshake agreed.
//!
//! *Never*: a guess of the protocol from the first bytes (a silent client would never time out), a request past the
//! connection's limits.
//! *On failure*: what hyper itself refuses never reaches the service; it is counted by cause.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ::http::header::{self, HeaderValue};
use ::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};

use super::pace::{Pace, Paced};
use super::tls::Alpn;
use super::wire::{Flag, Flaw};
use crate::config;
use crate::request::AnswerBody;

/// How long a drain waits for the first request of a connection that was just accepted.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Spawns HTTP/2 streams on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The protocol settings of a worker.
#[derive(Debug, Clone)]
pub struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Local>,
    idle: Duration,
    patience: Duration,
    requests: u64,
}

impl Protocols {
    /// The settings that the configuration gives.
    #[must_use]
    pub fn new(server: &config::Server) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(server.header_timeout)
            .max_headers(server.max_headers)
            .max_header_size(server.max_header_bytes)
            // Also the most of an answer that is held for a slow client.
            .max_buf_size(server.max_header_bytes.max(64 * 1024));
        let mut http2 = http2::Builder::new(Local);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .max_header_list_size(u32::try_from(server.max_header_bytes).unwrap_or(u32::MAX))
            // SECURITY: rapid reset (CVE-2023-44487) and its variants.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(100)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(128 * 1024)
            .keep_alive_interval(server.header_timeout)
            .keep_alive_timeout(server.handshake_timeout);
        Self {
            http1,
            http2,
            idle: server.header_timeout,
            patience: server.body_timeout,
            requests: server.requests_per_connection,
        }
    }
}

/// One connection: what its requests share.
struct Connection<H> {
    handler: H,
    alpn: Alpn,
    flag: Flag,
    pace: Rc<Pace>,
    served: Cell<u64>,
    most: u64,
    retire: Notify,
    draining: watch::Receiver<bool>,
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After the requests that are in flight.
    Gracefully,
    /// At once: its client holds it without using it.
    Now,
}

/// Serves one connection until it ends, is retired, or is drained.
pub async fn serve<S, H, F>(
    stream: S,
    alpn: Alpn,
    protocols: &Protocols,
    flag: Flag,
    draining: watch::Receiver<bool>,
    handler: H,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>, Option<Flaw>) -> F + 'static,
    F: Future<Output = Response<AnswerBody>> + 'static,
{
    let connection = Rc::new(Connection {
        handler,
        alpn,
        flag,
        pace: Pace::new(),
        served: Cell::new(0),
        most: protocols.requests,
        retire: Notify::new(),
        draining,
    });
    let io = TokioIo::new(stream);
    let ended = match alpn {
        Alpn::Http1 => connection.serve_http1(io, protocols).await,
        Alpn::Http2 => connection.serve_http2(io, protocols).await,
    };
    if let Err(error) = ended {
        let cause = cause_of(&error);
        tracing::debug!(cause, %error, "connection ended");
        metrics::counter!("chartgate_http_errors_total", "cause" => cause).increment(1);
    }
}

impl<H, F> Connection<H>
where
    H: Fn(Request<Incoming>, Option<Flaw>) -> F + 'static,
    F: Future<Output = Response<AnswerBody>> + 'static,
{
    async fn serve_http1<S>(self: Rc<Self>, io: TokioIo<S>, with: &Protocols) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let this = Rc::clone(&self);
        let service = service_fn(move |request| Rc::clone(&this).answer(request));
        let mut served = pin!(with.http1.serve_connection(io, service).with_upgrades());
        tokio::select! {
            ended = served.as_mut() => return ended,
            () = self.drained() => {}
        }
        // The client of a connection that was only just accepted has its first request on the way; once that is
        // answered, the connection is closed like any other.
        if self.served.get() == 0 {
            tokio::select! {
                ended = served.as_mut() => return ended,
                () = tokio::time::sleep(FIRST_REQUEST) => {}
            }
        }
        served.as_mut().graceful_shutdown();
        served.await
    }

    async fn serve_http2<S>(self: Rc<Self>, io: TokioIo<S>, with: &Protocols) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let this = Rc::clone(&self);
        let service = service_fn(move |request| Rc::clone(&this).answer(request));
        let mut served = pin!(with.http2.serve_connection(io, service));
        let first = tokio::select! {
            ended = served.as_mut() => return ended,
            () = self.drained() => End::Gracefully,
            () = self.retire.notified() => End::Gracefully,
            end = self.supervise(with, End::Gracefully) => end,
        };
        if first == End::Now {
            return Ok(());
        }
        served.as_mut().graceful_shutdown();
        tokio::select! {
            ended = served => ended,
            _ = self.supervise(with, End::Now) => Ok(()),
        }
    }

    /// Waits until the connection has been idle, or its client stalled, for too long.
    async fn supervise(&self, with: &Protocols, when_idle: End) -> End {
        let shortest = with.idle.min(with.patience);
        let step = shortest
            .checked_div(4)
            .unwrap_or(shortest)
            .max(Duration::from_millis(5));
        loop {
            tokio::time::sleep(step).await;
            if self.pace.is_stalled(with.patience) {
                metrics::counter!("chartgate_http_errors_total", "cause" => "stalled_reader")
                    .increment(1);
                return End::Now;
            }
            if self.pace.is_idle(with.idle) {
                return when_idle;
            }
        }
    }

    async fn drained(&self) {
        // A dropped sender is a server that is gone: the same thing.
        let _ = self.draining.clone().wait_for(|draining| *draining).await;
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Paced>, Infallible> {
        let stride = match self.alpn {
            Alpn::Http1 => None,
            Alpn::Http2 => Some(self.pace.begin()),
        };
        let served = self.served.get().saturating_add(1);
        self.served.set(served);
        let flaw = self.flag.raised();
        let mut response = (self.handler)(request, flaw).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.flag.release();
        } else {
            let last = served >= self.most || flaw.is_some() || *self.draining.borrow();
            self.end_after(last, response.headers_mut());
        }
        Ok(response.map(|body| Paced::new(body, stride)))
    }

    /// States in the protocol's own way that this is the connection's last answer, if it is.
    fn end_after(&self, last: bool, headers: &mut ::http::HeaderMap) {
        let asked = headers
            .remove(header::CONNECTION)
            .is_some_and(|value| value == "close");
        if !last && !asked {
            return;
        }
        match self.alpn {
            Alpn::Http1 => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Alpn::Http2 => self.retire.notify_one(),
        }
    }
}

fn cause_of(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        "too_large"
    } else if error.is_parse() {
        "parse"
    } else if error.is_timeout() {
        "timeout"
    } else if error.is_incomplete_message() {
        "incomplete"
    } else if error.is_body_write_aborted() {
        "aborted"
    } else if error.is_canceled() || error.is_closed() || error.is_shutdown() {
        "closed"
    } else if error.is_user() {
        "answer"
    } else {
        "io"
    }
}
