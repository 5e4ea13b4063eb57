//! The Unix socket through which operators act on a running gateway.
//!
//! *Owns*: the socket's file. *Never*: believes who somebody says to be; the operating system says who it is.
//! *On failure*: the connection ends with a reply that says why; the gateway goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::line;
use super::protocol::{
    AdminError, AdminErrorKind, AdminRequest, Operator, REPLY_LIMIT, REQUEST_LIMIT, Reply,
    parse_request,
};
use crate::config::Admin;

/// Operators at once.
const CONNECTIONS: usize = 16;
/// A request line must arrive, and a reply line must be taken, within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Replies that may wait for a slow operator.
const QUEUE: usize = 64;

/// What the gateway answers to operators.
pub trait AdminApi: Send + Sync + Debug {
    /// Answers a request by sending values; the future is dropped when the operator hangs up.
    ///
    /// It MUST put on record who asked for what before it sends the first value.
    fn answer<'a>(
        &'a self,
        operator: &'a Operator,
        request: AdminRequest,
        replies: Replies,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}

/// Where an answer's values go.
#[derive(Debug)]
pub struct Replies {
    queue: mpsc::Sender<serde_json::Value>,
}

impl Replies {
    /// Sends a value; waits while the operator is slow.
    ///
    /// # Errors
    /// [`AdminErrorKind::Failed`], where the value cannot be written or the operator is gone.
    pub async fn send(&self, value: &(impl Serialize + Sync)) -> Result<(), AdminError> {
        let failed = |message: String| AdminError::new(AdminErrorKind::Failed, message);
        let value = serde_json::to_value(value)
            .map_err(|error| failed(format!("the value cannot be written: {error}")))?;
        let sent = self.queue.send(value).await;
        sent.map_err(|error| failed(format!("the operator has hung up: {error}")))
    }
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A running gateway answers there.
    #[error(
        "another gateway answers at `{0}`; stop it first, or give this one its own `admin.socket`"
    )]
    InUse(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("`{0}` exists and is not a socket; move it away, or change `admin.socket`")]
    NotASocket(PathBuf),
    /// The system's reason.
    #[error("the admin socket `{path}` cannot be opened: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The open socket.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    operators: Arc<BTreeMap<u32, String>>,
}

impl AdminSocket {
    /// Opens the socket; one that a gateway left behind is replaced, one that answers is not.
    ///
    /// # Errors
    /// [`SocketError`] says what is in the way.
    pub fn bind(admin: &Admin) -> Result<Self, SocketError> {
        let path = admin.socket.clone();
        let failed = |source| SocketError::Io {
            path: path.clone(),
            source,
        };
        clear(&path)?;
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // Only where operators other than root and the gateway's own user are named does the group get in.
        let own = rustix::process::geteuid().as_raw();
        let others = admin.operators.keys().any(|uid| *uid != 0 && *uid != own);
        let mode = if others { 0o660 } else { 0o600 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self {
            listener,
            path,
            operators: Arc::new(admin.operators.clone()),
        })
    }

    /// Answers operators until `end` is ready, then removes the socket.
    pub async fn serve(self, api: Arc<dyn AdminApi>, end: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let slot = Arc::clone(&slots).try_acquire_owned();
                    let operators = Arc::clone(&self.operators);
                    let api = Arc::clone(&api);
                    tokio::spawn(async move {
                        let busy = slot.as_ref().err().map(|_| {
                            AdminError::new(
                                AdminErrorKind::Busy,
                                "too many operators are connected; try again in a moment",
                            )
                        });
                        connection(stream, &operators, &*api, busy).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the admin socket could not be removed");
        }
    }
}

/// Removes a socket that nobody answers at.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

async fn connection(
    stream: UnixStream,
    operators: &BTreeMap<u32, String>,
    api: &dyn AdminApi,
    busy: Option<AdminError>,
) {
    let operator = who(&stream, operators);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let last = match (busy, operator) {
        (Some(error), _) | (None, Err(error)) => Reply::Error(error),
        (None, Ok(operator)) => match request(&mut read).await {
            Ok(request) => match answer(api, &operator, request, &mut read, &mut write).await {
                Some(reply) => reply,
                None => return,
            },
            Err(error) => Reply::Error(error),
        },
    };
    send(&mut write, &last).await;
}

/// The operator behind a connection.
fn who(stream: &UnixStream, operators: &BTreeMap<u32, String>) -> Result<Operator, AdminError> {
    let refused = |message| AdminError::new(AdminErrorKind::NotAnOperator, message);
    let credentials = stream
        .peer_cred()
        .map_err(|error| refused(format!("the system does not say who you are: {error}")))?;
    let uid = credentials.uid();
    if let Some(name) = operators.get(&uid) {
        return Ok(Operator::new(uid, name.clone()));
    }
    tracing::warn!(
        uid,
        "a user who is not an operator was refused at the admin socket"
    );
    Err(refused(format!(
        "user id {uid} is not an operator of this gateway; add `{uid} = \"your name\"` to [admin.operators] and restart it"
    )))
}

async fn request(read: &mut BufReader<OwnedReadHalf>) -> Result<AdminRequest, AdminError> {
    let bad = |message: String| AdminError::new(AdminErrorKind::BadRequest, message);
    match tokio::time::timeout(PATIENCE, line::read(read, REQUEST_LIMIT)).await {
        Ok(Ok(Some(line))) => parse_request(&line),
        Ok(Ok(None)) => Err(bad("no request came".to_owned())),
        Ok(Err(error)) => Err(bad(format!("the request cannot be read: {error}"))),
        Err(_) => Err(bad("no request came in time".to_owned())),
    }
}

/// Sends the values of an answer as they come; `None` where the operator hung up.
async fn answer(
    api: &dyn AdminApi,
    operator: &Operator,
    request: AdminRequest,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> Option<Reply> {
    let (queue, mut values) = mpsc::channel(QUEUE);
    let mut answering = api.answer(operator, request, Replies { queue });
    let mut hung_up = std::pin::pin!(line::read(read, REQUEST_LIMIT));
    let mut result = None;
    loop {
        // The answer ends when the future has ended and the queue, which it owns, is empty.
        tokio::select! {
            biased;
            value = values.recv() => match value {
                Some(value) => {
                    if !send(write, &Reply::Item(value)).await {
                        return None;
                    }
                }
                None => break,
            },
            ended = &mut answering, if result.is_none() => result = Some(ended),
            _ = &mut hung_up => return None,
        }
    }
    let result = match result {
        Some(result) => result,
        None => answering.await,
    };
    Some(result.map_or_else(Reply::Error, |()| Reply::End))
}

/// Whether the line was taken.
async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> bool {
    let Ok(mut line) = serde_json::to_vec(reply) else {
        return false;
    };
    line.push(b'\n');
    if line.len() > REPLY_LIMIT {
        tracing::error!(
            bytes = line.len(),
            "a reply to an operator is larger than a line may be"
        );
        return false;
    }
    matches!(
        tokio::time::timeout(PATIENCE, write.write_all(&line)).await,
        Ok(Ok(()))
    )
}
