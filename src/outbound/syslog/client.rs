//! One connection to one receiver, made again when it is asked for.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::HttpError;
use super::super::trust::trusting;
use super::{MAX_MESSAGE, framed};
use crate::config::syslog::SyslogServer;

/// The longest that connecting, or one message, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// With TLS 1.3 a receiver refuses a client's certificate only after the client is done: so long it may take to say so.
const SETTLE: Duration = Duration::from_millis(300);
/// A peer that does not acknowledge what was sent is gone after this; one that is silent is asked as often.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Most bytes that are read past to see whether a receiver closed: the protocol has it say nothing.
const MOST_CHATTER: usize = 16 * 1024;

/// Why messages did not leave.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The CA or the certificate to show.
    #[error(transparent)]
    Trust(#[from] HttpError),
    /// No host.
    #[error("`{0}` is no name that a certificate can be for")]
    Address(String),
    /// No connection.
    #[error("the receiver cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// No TLS, or not with whom it should be.
    #[error("the receiver is not trusted, or speaks no TLS: {0}")]
    Handshake(#[source] io::Error),
    /// It ended the connection right after the handshake.
    #[error("the receiver ended the connection at once, perhaps for {shown}: {reason}")]
    Refused {
        /// What was shown.
        shown: String,
        /// What it said.
        reason: String,
    },
    /// It took too long.
    #[error("the receiver did not take what was sent within {} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// It closed.
    #[error("the receiver closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// A message that no frame takes.
    #[error("a message of {0} bytes is longer than {MAX_MESSAGE}")]
    TooLong(usize),
}

/// The connection that messages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The one of before: nothing is known to be lost.
    Kept,
    /// A new one: what was written to the one before may not have arrived.
    New,
}

/// A sender to one receiver.
pub struct SyslogClient {
    server: SyslogServer,
    name: ServerName<'static>,
    tls: TlsConnector,
    stream: Option<TlsStream<TcpStream>>,
    /// [`PATIENCE`]; less in tests.
    pub(super) patience: Duration,
}

impl std::fmt::Debug for SyslogClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SyslogClient({})", self.server)
    }
}

impl SyslogClient {
    /// A client without a connection.
    ///
    /// # Errors
    /// [`SyslogError`], where files or the host's name are not in order.
    pub fn new(server: &SyslogServer) -> Result<Self, SyslogError> {
        let config = trusting(server.ca.as_deref(), server.certificate.as_ref())?;
        let name = ServerName::try_from(server.host.clone())
            .ok()
            .ok_or_else(|| SyslogError::Address(server.host.clone()))?;
        Ok(Self {
            server: server.clone(),
            name,
            tls: TlsConnector::from(Arc::new(config)),
            stream: None,
            patience: PATIENCE,
        })
    }

    /// Sees that there is a connection. Ask before each batch: a receiver that closed is noticed here, not by writing.
    ///
    /// # Errors
    /// [`SyslogError`], where none can be made.
    pub async fn ready(&mut self) -> Result<Link, SyslogError> {
        if self.is_connected() {
            return Ok(Link::Kept);
        }
        self.stream = None;
        let made = tokio::time::timeout(self.patience, Box::pin(self.connect())).await;
        self.stream = Some(made.unwrap_or(Err(SyslogError::Deadline(self.patience)))?);
        Ok(Link::New)
    }

    /// Whether there is a connection, as far as the receiver has said.
    pub fn is_connected(&mut self) -> bool {
        self.stream.as_mut().is_some_and(is_open)
    }

    /// Writes messages in their order, over the connection that [`ready`](Self::ready) made.
    ///
    /// That they were written says that this machine's kernel took them, not that the receiver did.
    ///
    /// # Errors
    /// [`SyslogError`]: the connection is closed then. What part of the messages arrived is not known.
    pub async fn send(&mut self, messages: &[String]) -> Result<(), SyslogError> {
        if let Some(long) = messages.iter().find(|message| message.len() > MAX_MESSAGE) {
            return Err(SyslogError::TooLong(long.len()));
        }
        // Whoever drops this future half-way through a frame drops the connection with it.
        let mut stream = self.stream.take().ok_or(SyslogError::Closed)?;
        for message in messages {
            let frame = framed(message);
            let written = tokio::time::timeout(self.patience, stream.write_all(&frame)).await;
            written
                .map_err(|_elapsed| SyslogError::Deadline(self.patience))?
                .map_err(SyslogError::Broken)?;
        }
        tokio::time::timeout(self.patience, stream.flush())
            .await
            .map_err(|_elapsed| SyslogError::Deadline(self.patience))?
            .map_err(SyslogError::Broken)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// [`ready`](Self::ready) and [`send`](Self::send), for who keeps nothing that would have to be sent again.
    ///
    /// # Errors
    /// [`SyslogError`].
    pub async fn deliver(&mut self, messages: &[String]) -> Result<(), SyslogError> {
        self.ready().await?;
        self.send(messages).await
    }

    /// Closes, and waits for the receiver to close too: it has read everything by then, or says that it broke.
    ///
    /// # Errors
    /// [`SyslogError`], where that cannot be said. There is no connection afterwards either way.
    pub async fn close(&mut self) -> Result<(), SyslogError> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        let closing = async {
            stream.shutdown().await?;
            let mut chatter = Vec::new();
            let most = u64::try_from(MOST_CHATTER).unwrap_or(u64::MAX);
            (&mut stream).take(most).read_to_end(&mut chatter).await
        };
        match tokio::time::timeout(self.patience, closing).await {
            // Many receivers close without saying so in TLS; all that was sent before has arrived all the same.
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(Err(error)) => Err(SyslogError::Broken(error)),
            Err(_elapsed) => Err(SyslogError::Deadline(self.patience)),
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, SyslogError> {
        let stream = TcpStream::connect((self.server.host.as_str(), self.server.port))
            .await
            .map_err(SyslogError::Connect)?;
        watch(&stream).map_err(SyslogError::Connect)?;
        let mut stream = self
            .tls
            .connect(self.name.clone(), stream)
            .await
            .map_err(SyslogError::Handshake)?;
        let mut chatter = [0; 256];
        match tokio::time::timeout(SETTLE, stream.read(&mut chatter)).await {
            Ok(Ok(0)) => Err(self.refused("it said nothing".to_owned())),
            Ok(Err(error)) => Err(self.refused(error.to_string())),
            Ok(Ok(_)) | Err(_) => Ok(stream),
        }
    }

    fn refused(&self, reason: String) -> SyslogError {
        let shown = |path: &Path| format!("the client certificate {}", path.display());
        let none = || "want of a client certificate".to_owned();
        let certificate = self.server.certificate.as_ref();
        SyslogError::Refused {
            shown: certificate.map_or_else(none, |pair| shown(&pair.chain)),
            reason,
        }
    }
}

/// Lets the kernel find out about a peer that is gone.
fn watch(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(UNACKNOWLEDGED)
            .with_interval(UNACKNOWLEDGED),
    )
}

/// Whether the receiver still listens, as far as it said: a half-closed connection takes no more.
fn is_open(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut chatter = [0; 256];
    for _ in 0..MOST_CHATTER / 256 {
        let mut buffer = ReadBuf::new(&mut chatter);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *stream).poll_read(&mut context, &mut buffer) {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(Ok(()) | Err(_)) => return false,
        }
    }
    // Who talks so much is no syslog receiver.
    false
}
