//! The connections of one worker to one back end.
//!
//! *Owns*: idle connections (last in, first out) and the breaker; no other worker touches them.
//! *Never*: a connection with an unread answer or an unsent request body back in the pool: the next user's request
//! would meet the last one's bytes.
//! *On failure*: [`PoolError`].

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::breaker::{Breaker, Paused};
use super::endpoint::{ConnectError, Endpoint};
use super::outgoing::Outgoing;
use crate::clock::SharedClock;
use crate::config::BackendProtocol;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// As many requests are under way as `max_connections` allows.
    #[error("all connections are in use")]
    Busy,
    /// The breaker is open.
    #[error("connecting is paused")]
    Paused {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The back end cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Spawns HTTP/2 tasks on the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The connections of this worker to one back end.
#[derive(Debug)]
pub struct Pool {
    endpoint: Arc<Endpoint>,
    clock: SharedClock,
    idle: RefCell<Vec<Idle>>,
    multiplexed: RefCell<Option<http2::SendRequest<Outgoing>>>,
    opening: tokio::sync::Mutex<()>,
    permits: Arc<Semaphore>,
    breaker: RefCell<Breaker>,
    sweeping: Cell<Sweeping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweeping {
    No,
    Yes,
}

#[derive(Debug)]
struct Idle {
    held: Held,
    since: Instant,
}

/// An HTTP/1.1 connection: one request at a time.
#[derive(Debug)]
struct Held {
    sender: http1::SendRequest<Outgoing>,
    received: Arc<AtomicU64>,
}

/// A connection for one request.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    connection: Connection,
    origin: Origin,
    fate: Fate,
    _permit: OwnedSemaphorePermit,
}

/// What becomes of a connection after its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Close,
}

#[derive(Debug)]
enum Connection {
    Own(Held),
    Shared(http2::SendRequest<Outgoing>),
}

/// Whether a connection has served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Opened for this request.
    New,
    /// Kept alive: the back end may have closed it in the meantime.
    Reused,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, clock: SharedClock) -> Rc<Self> {
        let settings = endpoint.settings();
        let most = settings.max_connections.max(1);
        let breaker = Breaker::new(settings.breaker_failures, settings.breaker_pause);
        Rc::new(Self {
            endpoint,
            clock,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            opening: tokio::sync::Mutex::default(),
            permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            breaker: RefCell::new(breaker),
            sweeping: Cell::new(Sweeping::No),
        })
    }

    /// The back end.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// A connection that is ready for a request: the one used last, or a new one.
    ///
    /// # Errors
    /// [`PoolError`] when there is none in time.
    pub async fn lease(self: &Rc<Self>) -> Result<Lease, PoolError> {
        let patience = self.endpoint.settings().connect_timeout;
        let permit = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(patience, permit).await else {
            return Err(PoolError::Busy);
        };
        let (connection, origin) = match self.endpoint.settings().protocol {
            BackendProtocol::Http1 => match self.pop() {
                Some(held) => (Connection::Own(held), Origin::Reused),
                // Boxed: rare, and the request's future would keep room for it.
                None => (
                    Connection::Own(Box::pin(self.open_http1()).await?),
                    Origin::New,
                ),
            },
            BackendProtocol::Http2 => {
                let (sender, origin) = match self.multiplexed() {
                    Some(sender) => (sender, Origin::Reused),
                    None => Box::pin(self.share_http2()).await?,
                };
                (Connection::Shared(sender), origin)
            }
        };
        Ok(Lease {
            pool: Rc::clone(self),
            connection,
            origin,
            fate: Fate::Keep,
            _permit: permit,
        })
    }

    fn pop(&self) -> Option<Held> {
        let mut idle = self.idle.borrow_mut();
        let oldest = self.endpoint.settings().idle_timeout;
        while let Some(Idle { held, since }) = idle.pop() {
            if held.sender.is_ready() && since.elapsed() < oldest {
                return Some(held);
            }
        }
        None
    }

    /// Closes every idle connection: one of them was found dead, and the others are no younger.
    pub fn discard_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    fn push(self: &Rc<Self>, held: Held) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.endpoint.settings().max_idle {
            idle.push(Idle {
                held,
                since: Instant::now(),
            });
        }
        drop(idle);
        if self.sweeping.replace(Sweeping::Yes) == Sweeping::No {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    async fn connect(&self) -> Result<super::endpoint::Socket, PoolError> {
        let now = self.clock.monotonic();
        if let Err(Paused { retry_after }) = self.breaker.borrow_mut().attempt(now) {
            return Err(PoolError::Paused { retry_after });
        }
        match self.endpoint.open().await {
            Ok(socket) => {
                self.breaker.borrow_mut().succeeded();
                Ok(socket)
            }
            Err(error) => {
                let now = self.clock.monotonic();
                self.breaker.borrow_mut().failed(now);
                metrics::counter!("chartgate_upstream_connect_failures_total").increment(1);
                Err(error.into())
            }
        }
    }

    async fn open_http1(&self) -> Result<Held, PoolError> {
        let socket = self.connect().await?;
        let received = socket.received();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(128 * 1024)
            .max_headers(200)
            .max_header_size(64 * 1024)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(ConnectError::from)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "back end connection ended");
            }
        });
        Ok(Held { sender, received })
    }

    async fn share_http2(&self) -> Result<(http2::SendRequest<Outgoing>, Origin), PoolError> {
        // One connects; who waited finds its connection.
        let _turn = self.opening.lock().await;
        if let Some(sender) = self.multiplexed() {
            return Ok((sender, Origin::Reused));
        }
        let socket = self.connect().await?;
        let (sender, connection) = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(self.endpoint.settings().connect_timeout)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(ConnectError::from)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "back end connection ended");
            }
        });
        self.multiplexed.replace(Some(sender.clone()));
        Ok((sender, Origin::New))
    }

    fn multiplexed(&self) -> Option<http2::SendRequest<Outgoing>> {
        let current = self.multiplexed.borrow();
        current
            .as_ref()
            .filter(|sender| !sender.is_closed())
            .cloned()
    }
}

/// Closes connections that have been idle too long, until none is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let Some(step) = pool
            .upgrade()
            .map(|pool| pool.endpoint.settings().idle_timeout)
        else {
            return;
        };
        tokio::time::sleep(step.max(Duration::from_millis(10))).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.borrow_mut();
        idle.retain(|idle| !idle.held.sender.is_closed() && idle.since.elapsed() < step);
        if idle.is_empty() {
            pool.sweeping.set(Sweeping::No);
            return;
        }
    }
}

impl Lease {
    /// Whether the connection has served before.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// hyper's; with the request itself when nothing of it was sent.
    pub async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match &mut self.connection {
            Connection::Own(held) => held.sender.try_send_request(request).await,
            Connection::Shared(sender) => sender.try_send_request(request).await,
        }
    }

    /// How many bytes the back end has sent on this connection; for HTTP/2, where they belong to many, `None`.
    #[must_use]
    pub fn received(&self) -> Option<u64> {
        match &self.connection {
            Connection::Own(held) => Some(held.received.load(Ordering::Relaxed)),
            Connection::Shared(_) => None,
        }
    }

    /// Has the connection closed after this exchange: the back end may have read it in another way.
    pub const fn retire(&mut self) {
        self.fate = Fate::Close;
    }

    /// Gives the connection back, once its exchange is over on both sides.
    pub fn give_back(self) {
        let Self {
            pool,
            connection,
            fate,
            ..
        } = self;
        let mut held = match connection {
            Connection::Own(held) if fate == Fate::Keep => held,
            Connection::Own(_) | Connection::Shared(_) => return,
        };
        if held.sender.is_ready() {
            pool.push(held);
        } else if !held.sender.is_closed() {
            // The answer is complete, the request body is not: either it ends soon, or the connection is closed.
            let patience = pool.endpoint.settings().idle_timeout;
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = tokio::time::timeout(patience, held.sender.ready()).await {
                    pool.push(held);
                }
            });
        }
    }
}
