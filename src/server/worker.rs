//! What one worker does: accept, secure, serve; and in the end wait for what it still serves.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::connections::{Connections, Full, Slot};
use super::guarded::Guarded;
use super::http::{self, Protocols};
use super::tls::{self, Alpn};
use super::wire::{Flag, Flaw, Watch};
use super::workers::{Purpose, Setup, tune};
use super::{Service, redirect};
use crate::request::PeerAddr;
use crate::request::received::Connection;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    setup: Setup,
    connections: Arc<Connections>,
    draining: watch::Receiver<bool>,
    https_port: u16,
}

impl Shared {
    pub(super) const fn new(
        setup: Setup,
        connections: Arc<Connections>,
        draining: watch::Receiver<bool>,
        https_port: u16,
    ) -> Self {
        Self {
            setup,
            connections,
            draining,
            https_port,
        }
    }
}

/// One worker.
pub(super) struct Worker<S> {
    shared: Arc<Shared>,
    protocols: Protocols,
    service: Rc<S>,
}

impl<S: Service> Worker<S> {
    pub(super) fn new(shared: Arc<Shared>, service: Rc<S>) -> Rc<Self> {
        Rc::new(Self {
            protocols: Protocols::new(&shared.setup.server),
            shared,
            service,
        })
    }

    /// Serves until drained.
    pub(super) async fn run(self: Rc<Self>, listeners: Vec<(Purpose, TcpListener)>) {
        let (alive, mut closed) = mpsc::channel(1);
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|(purpose, listener)| {
                let this = Rc::clone(&self);
                tokio::task::spawn_local(this.accept(purpose, listener, alive.clone()))
            })
            .collect();
        drop(alive);
        let mut draining = self.shared.draining.clone();
        let _ = draining.wait_for(|draining| *draining).await;
        for accept in accepting {
            accept.abort();
        }
        self.service.drain();
        // `recv` answers `None` once the last socket has dropped its sender.
        let patience = self.shared.setup.server.drain_timeout;
        if tokio::time::timeout(patience, closed.recv()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain");
        }
    }

    async fn accept(
        self: Rc<Self>,
        purpose: Purpose,
        listener: TcpListener,
        alive: mpsc::Sender<()>,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, addr)) => self.take(purpose, stream, addr, &alive),
                Err(error) => {
                    // Out of descriptors or memory: what is open may end and make room.
                    tracing::warn!(%error, "cannot accept");
                    refused("accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn take(
        self: &Rc<Self>,
        purpose: Purpose,
        stream: TcpStream,
        addr: SocketAddr,
        alive: &mpsc::Sender<()>,
    ) {
        let peer = PeerAddr::new(addr);
        let slot = match self.shared.connections.admit(peer, alive) {
            Ok(slot) => slot,
            Err(Full::Total) => return refused("total"),
            Err(Full::Address) => return refused("address"),
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "socket settings");
        }
        let this = Rc::clone(self);
        match purpose {
            Purpose::Gateway => {
                tokio::task::spawn_local(this.serve_https(stream, peer, slot));
            }
            Purpose::Redirect => {
                tokio::task::spawn_local(this.serve_redirect(stream, slot));
            }
        }
    }

    async fn serve_https(self: Rc<Self>, stream: TcpStream, peer: PeerAddr, slot: Slot) {
        let Setup { server, tls, .. } = &self.shared.setup;
        let Some(secured) = tls::accept(tls, stream, server.handshake_timeout).await else {
            return drop(slot);
        };
        let connection = Connection {
            peer,
            sni: secured.sni,
            tls: secured.description,
            certificate: secured.certificate,
        };
        let flag = Flag::default();
        let watch = match secured.alpn {
            Alpn::Http1 => Some(Watch::new(flag.clone(), server.max_header_bytes)),
            Alpn::Http2 => None,
        };
        let stream = Guarded::new(secured.stream, slot, server.body_timeout, watch);
        let this = Rc::clone(&self);
        let handler = move |request: Request<Incoming>, flaw: Option<Flaw>| {
            let reception = &this.shared.setup.reception;
            let received = reception.receive(request, &connection, flaw);
            Rc::clone(&this.service).serve(received)
        };
        let draining = self.shared.draining.clone();
        http::serve(
            stream,
            secured.alpn,
            &self.protocols,
            flag,
            draining,
            handler,
        )
        .await;
    }

    async fn serve_redirect(self: Rc<Self>, stream: TcpStream, slot: Slot) {
        let server = &self.shared.setup.server;
        let flag = Flag::default();
        let watch = Watch::new(flag.clone(), server.max_header_bytes);
        let stream = Guarded::new(stream, slot, server.body_timeout, Some(watch));
        let this = Rc::clone(&self);
        let handler = move |request: Request<Incoming>, _: Option<Flaw>| {
            let knows = &*this.shared.setup.reception.knows;
            std::future::ready(redirect::answer(&request, this.shared.https_port, knows))
        };
        let draining = self.shared.draining.clone();
        http::serve(
            stream,
            Alpn::Http1,
            &self.protocols,
            flag,
            draining,
            handler,
        )
        .await;
    }
}

fn refused(cause: &'static str) {
    metrics::counter!("chartgate_connections_refused_total", "cause" => cause).increment(1);
}
