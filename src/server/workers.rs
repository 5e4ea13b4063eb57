//! One thread per core, each with its own runtime, listeners and service; nothing is shared between requests of
//! different workers but what is read-only or owned elsewhere.
//!
//! *Owns*: listeners and threads.
//! *Never*: a worker that starts before every listener of every worker is bound.
//! *On failure*: [`ServeError`], naming the address and what to do.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::connections::Connections;
use super::inherited::Inherited;
use super::worker::{Shared, Worker};
use super::{Reception, Service};
use crate::config;

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be bound.
    #[error("cannot listen on {addr}: {source}; free the address, or configure another one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// What systemd passes cannot be used.
    #[error(
        "socket {index} that systemd passes is no listening TCP socket: {source}; write ListenStream= in the socket unit"
    )]
    Inherited {
        /// Its number among those passed.
        index: usize,
        /// What the operating system says.
        source: io::Error,
    },
    /// systemd passes more than is configured.
    #[error(
        "systemd passes a socket at {addr} that no `listen` names; add it to `server.listen` or `server.redirect_http`, or take it out of the socket unit"
    )]
    Unasked {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// A worker thread cannot be started.
    #[error("cannot start worker {worker}: {source}")]
    Start {
        /// Its number.
        worker: usize,
        /// What the operating system says.
        source: io::Error,
    },
    /// A worker ended by a defect.
    #[error("worker {worker} failed; see the log")]
    Failed {
        /// Its number.
        worker: usize,
    },
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// HTTPS.
    Gateway,
    /// Plain HTTP that only redirects.
    Redirect,
}

/// Every listener of every worker, bound and not yet accepting.
#[derive(Debug)]
pub struct Listeners {
    workers: Vec<Vec<(Purpose, std::net::TcpListener)>>,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
}

impl Listeners {
    /// Binds the addresses of `server` once per worker. Port 0 takes any free port, the same for all workers.
    /// Where a socket was inherited, the workers share it: it was bound, and listens on, without this process.
    ///
    /// # Errors
    /// [`ServeError::Bind`] with the first address that cannot be bound, [`ServeError::Unasked`] for a socket that was
    /// inherited and is not configured.
    pub fn bind(server: &config::Server, mut inherited: Inherited) -> Result<Self, ServeError> {
        let count = server.workers.max(1);
        let mut bound = Self {
            workers: (0..count).map(|_| Vec::new()).collect(),
            https: Vec::new(),
            http: Vec::new(),
        };
        let wanted = (server.listen.iter().map(|addr| (Purpose::Gateway, *addr)))
            .chain((server.redirect_http.iter()).map(|addr| (Purpose::Redirect, *addr)));
        let wanted: Vec<_> = wanted.collect();
        for (purpose, addr) in &wanted {
            // `[::]` serves IPv4 too, unless an IPv4 address of the same port is listed beside it.
            let beside = wanted
                .iter()
                .any(|(_, other)| other.is_ipv4() && other.port() == addr.port());
            let v6 = if beside { V6::Only } else { V6::Dual };
            let mut actual = *addr;
            let held = inherited.at(*addr);
            for worker in &mut bound.workers {
                let listener = held
                    .as_ref()
                    .map_or_else(|| listen(actual, v6), share)
                    .map_err(|source| ServeError::Bind {
                        addr: *addr,
                        source,
                    })?;
                actual = listener.local_addr().unwrap_or(actual);
                worker.push((*purpose, listener));
            }
            match purpose {
                Purpose::Gateway => bound.https.push(actual),
                Purpose::Redirect => bound.http.push(actual),
            }
        }
        inherited.done()?;
        Ok(bound)
    }

    /// The HTTPS addresses, with actual ports.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The redirecting plain HTTP addresses, with actual ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }
}

/// What all workers serve with.
#[derive(Debug)]
pub struct Setup {
    /// Limits and timeouts.
    pub server: config::Server,
    /// TLS of the HTTPS listeners.
    pub tls: Arc<ServerConfig>,
    /// How requests are received.
    pub reception: Reception,
}

/// Tells a running server to drain.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Stops accepting, finishes what is in flight, and ends; may be called more than once.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a thread per worker. `make` is called inside each of them, with the worker's number.
    ///
    /// # Errors
    /// [`ServeError::Start`] when a thread or its runtime cannot be made; workers already started are stopped.
    pub fn start<S, M>(listeners: Listeners, setup: Setup, make: M) -> Result<Self, ServeError>
    where
        S: Service,
        M: Fn(usize) -> Rc<S> + Send + Clone + 'static,
    {
        let server = &setup.server;
        let connections = Connections::new(
            server.max_connections,
            server.max_connections_per_address,
            server.trusted_proxies.clone(),
        );
        let (drain, draining) = watch::channel(false);
        let shared = Arc::new(Shared::new(
            setup,
            Arc::clone(&connections),
            draining,
            listeners.https.first().map_or(443, SocketAddr::port),
        ));
        let shutdown = Shutdown(Arc::new(drain));
        let mut threads = Vec::new();
        for (number, bound) in listeners.workers.into_iter().enumerate() {
            let (shared, make) = (Arc::clone(&shared), make.clone());
            let started = start_thread(number, bound, shared, make);
            match started {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    shutdown.drain();
                    return Err(ServeError::Start {
                        worker: number,
                        source,
                    });
                }
            }
        }
        Ok(Self {
            https: listeners.https,
            http: listeners.http,
            connections,
            shutdown,
            threads,
        })
    }

    /// The HTTPS addresses.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The redirecting plain HTTP addresses.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// The handle that drains it.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Waits until every worker has ended. Blocks the thread.
    ///
    /// # Errors
    /// [`ServeError::Failed`] when a worker ended by a defect.
    pub fn join(self) -> Result<(), ServeError> {
        let mut failed = None;
        for (worker, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() {
                failed = failed.or(Some(worker));
            }
        }
        failed.map_or(Ok(()), |worker| Err(ServeError::Failed { worker }))
    }
}

fn start_thread<S, M>(
    number: usize,
    bound: Vec<(Purpose, std::net::TcpListener)>,
    shared: Arc<Shared>,
    make: M,
) -> io::Result<JoinHandle<()>>
where
    S: Service,
    M: Fn(usize) -> Rc<S> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let listeners: io::Result<Vec<_>> = bound
                .into_iter()
                .map(|(purpose, listener)| Ok((purpose, TcpListener::from_std(listener)?)))
                .collect();
            match listeners {
                Ok(listeners) => Worker::new(shared, make(number)).run(listeners).await,
                Err(error) => tracing::error!(worker = number, %error, "listener lost"),
            }
        });
    };
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(run)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum V6 {
    Only,
    Dual,
}

fn listen(addr: SocketAddr, v6: V6) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6 == V6::Only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A worker's own handle of a socket that others listen on too.
fn share(listener: &std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    let own = listener.try_clone()?;
    own.set_nonblocking(true)?;
    Ok(own)
}

/// Settings of an accepted socket: no delay for small writes, and a probe for peers that vanished.
pub(super) fn tune(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probe = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&probe)
}
