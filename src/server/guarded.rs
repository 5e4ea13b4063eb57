//! A client's socket with what must live and die with it: its place, a limit on stalled writes, and the watch over
//! its bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connections::Slot;
use super::linger::Linger;
use super::wire::Watch;

/// A stream whose writes must make progress.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    watch: Option<Watch>,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    waiting: Waiting,
    linger: Option<Linger>,
    _slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    No,
    ForPeer,
}

impl<S> Guarded<S> {
    /// Guards `stream`: a write that the peer does not take within `patience` fails.
    pub const fn new(stream: S, slot: Slot, patience: Duration, watch: Option<Watch>) -> Self {
        Self {
            stream,
            watch,
            patience,
            stalled: None,
            waiting: Waiting::No,
            linger: None,
            _slot: slot,
        }
    }

    /// Passes on the outcome of a write, or fails it when the peer has not read for too long.
    // SECURITY: a client that asks for a large document and does not read it (slow read) would hold a connection to
    // the EMR for ever.
    fn within_patience<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = Waiting::No;
            return written;
        }
        let patience = self.patience;
        let sleep = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if self.waiting == Waiting::No {
            self.waiting = Waiting::ForPeer;
            sleep.as_mut().reset(deadline(patience));
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn deadline(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or(now)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(watch) = &mut this.watch {
            watch.see(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.within_patience(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.within_patience(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.within_patience(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(linger) = &mut this.linger {
            return linger.poll(&mut this.stream, cx);
        }
        let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
        ready!(this.within_patience(closed, cx))?;
        if !this.watch.as_ref().is_some_and(Watch::is_amid_a_request) {
            return Poll::Ready(Ok(()));
        }
        let linger = this.linger.insert(Linger::new());
        linger.poll(&mut this.stream, cx)
    }
}
