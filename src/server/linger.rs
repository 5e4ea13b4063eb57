//! Lets a refusal arrive at a client that is still sending what was refused.
//!
//! A socket that is closed while bytes lie unread in it is reset (RFC 9112 §9.6), and the reset may destroy the
//! answer on its way: a clinician whose form was refused would see "connection reset" in place of the reason. So the
//! gateway's own side is closed first, and what still comes is read and thrown away for a while.
//!
//! *Never*: a byte kept, or a client that decides for how long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// How long it may go on in all.
const LONGEST: Duration = Duration::from_secs(30);

/// How much is read before other connections get their turn.
const READS_A_TURN: u8 = 16;

/// The rest of a connection whose own side is closed.
#[derive(Debug)]
pub(super) struct Linger {
    patience: Duration,
    silence: Pin<Box<Sleep>>,
    end: Instant,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self::within(SILENCE, LONGEST)
    }

    fn within(patience: Duration, longest: Duration) -> Self {
        let now = Instant::now();
        Self {
            patience,
            silence: Box::pin(tokio::time::sleep(patience)),
            end: now.checked_add(longest).unwrap_or(now),
        }
    }

    /// Reads and throws away until the client has closed its side too, says nothing, or had its time.
    pub(super) fn poll<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        let mut thrown_away = [0; 4096];
        for _ in 0..READS_A_TURN {
            let mut buf = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Pending => return self.silence.as_mut().poll(cx).map(Ok),
                // However it ended: there is nobody left to answer.
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.heard(),
            }
            if Instant::now() >= self.end {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn heard(&mut self) {
        let now = Instant::now();
        let silent = now.checked_add(self.patience).unwrap_or(now);
        self.silence.as_mut().reset(silent.min(self.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_hours(1);

    async fn lingered(mut ours: tokio::io::DuplexStream, silence: Duration, longest: Duration) {
        let mut linger = Linger::within(silence, longest);
        poll_fn(|cx| linger.poll(&mut ours, cx)).await.unwrap();
    }

    #[tokio::test]
    async fn it_ends_with_the_client() {
        let (mut client, ours) = tokio::io::duplex(64);
        let sent = tokio::spawn(async move { client.write_all(&vec![b'x'; 200_000]).await });
        lingered(ours, NEVER, NEVER).await;
        assert!(sent.await.unwrap().is_ok(), "all of it was taken");
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let (mut client, ours) = tokio::io::duplex(64);
        client.write_all(b"x").await.unwrap();
        lingered(ours, SOON, NEVER).await;
        assert!(client.write_all(b"x").await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_goes_on_for_ever_has_its_time() {
        let (mut client, ours) = tokio::io::duplex(64);
        let goes_on = tokio::spawn(async move { while client.write_all(b"x").await.is_ok() {} });
        lingered(ours, NEVER, SOON).await;
        goes_on.await.unwrap();
    }
}
