//! Serves an axum router over HTTP/1.1 on loopback until told to stop.
//!
//! *Never*: listens on an address that other machines can reach.
//! *On failure*: a connection that breaks is closed and counted for nothing; accept errors pause briefly.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// How long a connection may wait between requests or for the rest of a request head.
const HEAD_DEADLINE: Duration = Duration::from_secs(75);
/// How long open requests may take to finish once the server is told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Connections beyond this wait in the kernel's backlog.
const MOST_CONNECTIONS: usize = 4096;
/// Pause after a failed accept, so that exhausted file descriptors do not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of a listener that only this machine can reach.
pub(super) fn loopback_address(listener: &TcpListener) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    // SECURITY: the demonstration has published passwords; nobody else may reach it.
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the demonstration listens on loopback only, not on {address}"),
        ))
    }
}

/// Serves `router` until `shutdown` resolves, then sets `closing` and drains.
pub(super) async fn serve(
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    closing: watch::Sender<bool>,
) -> io::Result<()> {
    loopback_address(&listener)?;
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            () = &mut shutdown => break,
            _ = connections.join_next(), if connections.len() >= MOST_CONNECTIONS => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(converse(stream, router.clone(), closing.subscribe()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the demonstration could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    closing.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
        tracing::warn!("the demonstration closed connections that did not finish in time");
    }
    Ok(())
}

/// Serves one connection; a stop lets the request in hand finish.
async fn converse(stream: TcpStream, router: Router, mut closing: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a demonstration connection keeps Nagle's algorithm");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let told = async { closing.wait_for(|closing| *closing).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = told => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a demonstration connection broke");
    }
}
