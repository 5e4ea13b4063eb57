//! Knows how the streams of an HTTP/2 connection are doing: whether it idles, and whether a client asks for an answer
//! and does not read it.
//!
//! Over HTTP/2 a stalled reader closes its flow-control window, so no write on the socket ever blocks; the only sign
//! is that a body that handed out data is not asked for more. And hyper closes no idle HTTP/2 connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::request::{AnswerBody, BodyError};

/// The streams of a connection.
#[derive(Debug)]
pub struct Pace(RefCell<Streams>);

#[derive(Debug)]
struct Streams {
    next: u64,
    open: HashMap<u64, Stream>,
    idle_since: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    /// The gateway works on it.
    Ours,
    /// The client was handed data and has not asked for more.
    Theirs(Instant),
}

/// A stream, from its request to the end of its answer.
#[derive(Debug)]
pub struct Stride {
    pace: Rc<Pace>,
    id: u64,
}

impl Pace {
    /// A connection without streams.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self(RefCell::new(Streams {
            next: 0,
            open: HashMap::new(),
            idle_since: Instant::now(),
        })))
    }

    /// A request has arrived.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Stride {
        let mut streams = self.0.borrow_mut();
        let id = streams.next;
        streams.next = id.wrapping_add(1);
        streams.open.insert(id, Stream::Ours);
        Stride {
            pace: Rc::clone(self),
            id,
        }
    }

    /// Whether some answer has waited for its client longer than `patience`.
    #[must_use]
    pub fn is_stalled(&self, patience: Duration) -> bool {
        self.0.borrow().open.values().any(|stream| match stream {
            Stream::Ours => false,
            Stream::Theirs(since) => since.elapsed() > patience,
        })
    }

    /// Whether there has been no stream for longer than `patience`.
    #[must_use]
    pub fn is_idle(&self, patience: Duration) -> bool {
        let streams = self.0.borrow();
        streams.open.is_empty() && streams.idle_since.elapsed() > patience
    }
}

impl Stride {
    fn is(&self, stream: Stream) {
        self.pace.0.borrow_mut().open.insert(self.id, stream);
    }
}

impl Drop for Stride {
    fn drop(&mut self) {
        let mut streams = self.pace.0.borrow_mut();
        streams.open.remove(&self.id);
        if streams.open.is_empty() {
            streams.idle_since = Instant::now();
        }
    }
}

/// An answer's body whose client is watched.
#[derive(Debug)]
pub struct Paced {
    body: AnswerBody,
    stride: Option<Stride>,
}

impl Paced {
    /// A body of an HTTP/2 `stride`, or one that nobody watches (HTTP/1: the socket's own write limit does it).
    #[must_use]
    pub const fn new(body: AnswerBody, stride: Option<Stride>) -> Self {
        Self { body, stride }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Some(stride) = &this.stride {
            stride.is(match &frame {
                Poll::Ready(Some(Ok(_))) => Stream::Theirs(Instant::now()),
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => Stream::Ours,
            });
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_client_stalls_from_the_data_it_was_handed_to_its_next_wish() {
        let pace = Pace::new();
        let mut body = Paced::new(Bytes::from_static(b"chart").into(), Some(pace.begin()));
        assert!(!pace.is_stalled(Duration::ZERO));
        body.frame().await.unwrap().unwrap();
        assert!(!pace.is_stalled(Duration::MAX));
        while !pace.is_stalled(Duration::ZERO) {
            tokio::task::yield_now().await;
        }
        assert!(body.frame().await.is_none());
        assert!(!pace.is_stalled(Duration::ZERO) && !pace.is_idle(Duration::ZERO));
        drop(body);
        while !pace.is_idle(Duration::ZERO) {
            tokio::task::yield_now().await;
        }
    }
}
