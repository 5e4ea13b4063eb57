//! A receiver of alarms: checks their signature, and hands over a line for each.
//!
//! *Never*: takes an alarm whose signature does not fit.

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::listen;
use crate::clock::SharedClock;
use crate::notify::signature;

/// Where alarms are sent to.
pub const PATH: &str = "/alarms";
/// The oldest signature that is accepted, in seconds.
const TOLERANCE: u64 = 300;
/// Alarms that wait to be taken. Beyond this the sender is told to try again later.
const WAITING: usize = 256;

/// A receiver of alarms.
#[derive(Debug)]
pub struct Sink {
    secret: String,
    clock: SharedClock,
    alarms: mpsc::Sender<Value>,
}

impl Sink {
    /// A receiver that knows the secret, and what it received.
    #[must_use]
    pub fn new(secret: String, clock: SharedClock) -> (Self, mpsc::Receiver<Value>) {
        let (alarms, received) = mpsc::channel(WAITING);
        let sink = Self {
            secret,
            clock,
            alarms,
        };
        (sink, received)
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// Where it listens for others than this machine.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (closing, _) = watch::channel(false);
        let router = Router::new()
            .route(PATH, post(take))
            .with_state(std::sync::Arc::new(self));
        listen::serve(router, listener, shutdown, closing).await
    }
}

async fn take(
    State(sink): State<std::sync::Arc<Sink>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let signed = headers
        .get(signature::HEADER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let now = sink.clock.now().as_second();
    if signature::verify(&sink.secret, signed, &body, now, TOLERANCE).is_err() {
        return StatusCode::FORBIDDEN;
    }
    let Ok(alarm) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    match sink.alarms.try_send(alarm) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// An alarm as a line for a terminal.
#[must_use]
pub fn line(alarm: &Value) -> String {
    let text = |name: &str| {
        let value = alarm.get(name).map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        });
        value.unwrap_or_default()
    };
    let level = text("level").to_uppercase();
    let mut line = format!("ALARM {level}: {} (rule {}", text("title"), text("rule"));
    for name in ["user", "patient", "client", "case", "response"] {
        let value = text(name);
        if !value.is_empty() {
            line.extend([", ", name, " ", &value]);
        }
    }
    line.extend([", record ", &text("seq"), ")"]);
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
