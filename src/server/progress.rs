//! A request body that must keep arriving: hyper has no timeout of its own for bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::request::BodyError;

/// A body that fails with [`BodyError::Timeout`] when nothing arrives for `patience` while someone waits for it.
#[derive(Debug)]
pub struct Progress<B> {
    body: B,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Armed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    Yes,
}

impl<B> Progress<B> {
    /// Watches over `body`.
    pub const fn new(body: B, patience: Duration) -> Self {
        Self {
            body,
            patience,
            timer: None,
            armed: Armed::No,
        }
    }
}

impl<B> Body for Progress<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // The body first: time that the reader let pass (back pressure) is not the sender's fault.
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.armed = Armed::No;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = this.patience;
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if this.armed == Armed::No {
            this.armed = Armed::Yes;
            let now = Instant::now();
            timer
                .as_mut()
                .reset(now.checked_add(patience).unwrap_or(now));
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Timeout)))
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
    use http_body_util::{BodyExt, StreamBody};

    fn body(frames: Vec<&'static [u8]>) -> Progress<impl Body<Data = Bytes, Error = BodyError>> {
        use futures_util::StreamExt;
        let frames = futures_util::stream::iter(frames)
            .map(|data| Ok(Frame::data(Bytes::from_static(data))))
            .chain(futures_util::stream::pending());
        Progress::new(StreamBody::new(frames), Duration::from_millis(5))
    }

    #[tokio::test]
    async fn a_body_that_stops_fails_after_what_arrived() {
        let mut body = body(vec![b"a", b"b"]);
        for expected in ["a", "b"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        let end = body.frame().await.unwrap();
        assert!(matches!(end, Err(BodyError::Timeout)));
    }
}
