//! The way from the gateway to its provider, which can be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartgate::clock::SharedClock;
use chartgate::config::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::House;

/// Everything that the gateway itself asks the provider goes this way; browsers go their own.
pub(crate) struct Way {
    passed: Arc<AtomicUsize>,
    closed: watch::Sender<bool>,
}

impl Way {
    /// How many connections were made.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// From now on nothing passes, and what is open is cut.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}

impl House {
    /// A clinic whose gateway reaches the provider at an address of its own.
    pub(crate) async fn open_by_way(
        clock: SharedClock,
        change: impl FnOnce(&mut Config) + Send + 'static,
    ) -> (Self, Way) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = format!("http://{}", listener.local_addr().unwrap());
        let (told, learned) = std::sync::mpsc::channel();
        let house = Self::try_open(clock, move |config: &mut Config| {
            let issuer = &mut config.identity.issuers[0];
            told.send(issuer.url.port().unwrap()).unwrap();
            issuer.internal_url = Some(inner.parse().unwrap());
            change(config);
        });
        let house = house.await.unwrap_or_else(|error| panic!("{error}"));
        let port = learned.recv().unwrap();
        let way = Way {
            passed: Arc::default(),
            closed: watch::Sender::new(false),
        };
        let (count, mut closed) = (Arc::clone(&way.passed), way.closed.subscribe());
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                if *closed.borrow_and_update() {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let mut closed = closed.clone();
                tokio::spawn(async move {
                    let mut outside = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = closed.changed() => {}
                    }
                });
            }
        });
        (house, way)
    }
}
