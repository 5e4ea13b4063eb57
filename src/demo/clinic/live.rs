//! Tells browsers of changes: a long-poll and a WebSocket.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{
        Query, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{emr::Emr, signed_in::SignedIn};

/// The longest that a poll waits for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// The largest WebSocket message.
const LARGEST_MESSAGE: usize = 64 * 1024;

/// What a poll asks: for changes since which version, and for how many milliseconds to wait.
#[derive(Deserialize)]
pub(super) struct Poll {
    #[serde(default)]
    since: u64,
    wait: Option<u64>,
}

/// The version now, and whether it is newer than what the poll knew.
#[derive(Serialize)]
pub(super) struct News {
    version: u64,
    changed: bool,
}

/// Answers when the records have changed, the wait is over, or the server stops.
pub(super) async fn poll(
    State(emr): State<Arc<Emr>>,
    _signed: SignedIn,
    Query(poll): Query<Poll>,
) -> Json<News> {
    let wait = poll
        .wait
        .map_or(LONGEST_WAIT, Duration::from_millis)
        .min(LONGEST_WAIT);
    let mut versions = emr.version();
    let mut closing = emr.closing().subscribe();
    tokio::select! {
        _ = versions.wait_for(|version| *version > poll.since) => {}
        _ = closing.wait_for(|closing| *closing) => {}
        () = tokio::time::sleep(wait) => {}
    }
    let version = *versions.borrow();
    Json(News {
        version,
        changed: version > poll.since,
    })
}

/// Opens the notification channel.
pub(super) async fn notifications(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(LARGEST_MESSAGE)
        .max_frame_size(LARGEST_MESSAGE)
        .on_upgrade(move |socket| converse(socket, emr, signed.session.name))
}

/// Greets, then repeats every text message until either side closes.
async fn converse(mut socket: WebSocket, emr: Arc<Emr>, user: String) {
    let version = *emr.version().borrow();
    let hello = json!({ "type": "hello", "user": user, "version": version });
    if socket.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    let mut closing = emr.closing().subscribe();
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            _ = closing.wait_for(|closing| *closing) => None,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) => return,
            None => break,
        }
    }
    if let Err(error) = socket.send(Message::Close(None)).await {
        tracing::debug!(%error, "a notification channel was already closed");
    }
}
