//! The answer's body on its way to the client: what it delivers, and how it ends, is the outcome on record.
//!
//! *Never*: two outcomes, or none. Whatever happens to the body, the guard inside it is finished or dropped.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::outgoing::{Flow, clean_trailers};
use super::pool::Lease;
use super::streams::{Ended, LiveStream, StreamHandle};
use crate::audit::outcome::{End, OutcomeGuard};
use crate::emr::listeners::{Listeners, Listening};
use crate::identity::identify::SessionEnd;
use crate::request::BodyError;

/// A body whose end is the end of an admitted request.
pub struct RecordedBody {
    source: Source,
    exchange: Option<Exchange>,
    watch: Watch,
    listening: Listening,
    session: SessionEnd,
    // Made when the back end is silent for the first time: most answers are there at once.
    over: Option<LocalBoxFuture<'static, ()>>,
}

enum Source {
    BackEnd(Incoming),
    #[cfg(test)]
    Fixed(http_body_util::Full<Bytes>),
}

/// What ends an answer that does not end by itself.
enum Watch {
    /// Nothing from the back end for too long.
    Stall {
        patience: Duration,
        timer: Option<Pin<Box<Sleep>>>,
        since: Option<Instant>,
    },
    /// The end of its session or permission.
    Live {
        stream: std::sync::Arc<LiveStream>,
        ended: LocalBoxFuture<'static, Ended>,
    },
}

/// An exchange that is not over.
pub(super) struct Exchange {
    pub(super) guard: OutcomeGuard,
    pub(super) flow: Rc<Flow>,
    pub(super) lease: Option<Lease>,
}

impl Exchange {
    pub(super) fn finish(self, end: End) {
        let Self {
            mut guard,
            flow,
            lease,
        } = self;
        guard.received(flow.sent());
        guard.finish(end);
        if let (End::Complete, Some(lease)) = (end, lease) {
            lease.give_back();
        }
    }
}

impl std::fmt::Debug for RecordedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedBody").finish_non_exhaustive()
    }
}

impl RecordedBody {
    /// The body of an ordinary answer; the back end must keep sending within `patience`.
    pub(super) const fn new(body: Incoming, exchange: Exchange, patience: Duration) -> Self {
        Self {
            source: Source::BackEnd(body),
            exchange: Some(exchange),
            watch: Watch::Stall {
                patience,
                timer: None,
                since: None,
            },
            listening: Listening::none(),
            session: SessionEnd::none(),
            over: None,
        }
    }

    /// The body of an answer that may stay open, on a route that allows it, until its stream is cut.
    pub(super) fn live(body: Incoming, exchange: Exchange, mut handle: StreamHandle) -> Self {
        Self {
            source: Source::BackEnd(body),
            exchange: Some(exchange),
            watch: Watch::Live {
                stream: std::sync::Arc::clone(handle.stream()),
                ended: Box::pin(async move { handle.ended().await }),
            },
            listening: Listening::none(),
            session: SessionEnd::none(),
            over: None,
        }
    }

    /// A body for unit tests of the way back.
    #[cfg(test)]
    pub(super) fn fixed(body: Bytes, guard: OutcomeGuard) -> Self {
        Self {
            source: Source::Fixed(body.into()),
            exchange: Some(Exchange {
                guard,
                flow: Flow::new(),
                lease: None,
            }),
            watch: Watch::Stall {
                patience: Duration::from_secs(1),
                timer: None,
                since: None,
            },
            listening: Listening::none(),
            session: SessionEnd::none(),
            over: None,
        }
    }

    /// The same body, which ends with `session` at the latest.
    pub(super) fn until(mut self, session: SessionEnd) -> Self {
        self.session = session;
        self
    }

    /// The guard, while the outcome is open.
    pub(super) fn guard(&mut self) -> Option<&mut OutcomeGuard> {
        self.exchange.as_mut().map(|exchange| &mut exchange.guard)
    }

    /// These listen to the body as it passes.
    pub(super) fn listen(&mut self, listeners: Listeners) {
        self.listening = listeners.begin();
    }

    /// Gives up the body; what is known so far is the outcome.
    pub(super) fn end(mut self, end: End) {
        self.finish(end);
    }

    fn finish(&mut self, end: End) {
        if let Some(mut exchange) = self.exchange.take() {
            if let Some(appeared) = self.listening.appeared(end) {
                exchange.guard.appeared(appeared);
            }
            exchange.finish(end);
        }
    }

    /// Its session has ended.
    fn cut(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.finish(End::Cut);
        Poll::Ready(Some(Err(BodyError::Timeout)))
    }

    /// Every byte was there. What the answer teaches is known before its end is passed on.
    fn complete(&mut self) {
        self.listening.learn();
        self.finish(End::Complete);
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::BackEnd(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
            #[cfg(test)]
            Source::Fixed(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
        }
    }

    /// Whether the answer has to end although the back end is silent, and how.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match &mut self.watch {
            Watch::Live { ended, .. } => {
                let _: Ended = ready!(ended.as_mut().poll(cx));
                Poll::Ready(End::Cut)
            }
            Watch::Stall {
                patience,
                timer,
                since,
            } => {
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(*patience)));
                if since.is_none() {
                    let now = Instant::now();
                    *since = Some(now);
                    timer
                        .as_mut()
                        .reset(now.checked_add(*patience).unwrap_or(now));
                }
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(End::UpstreamFailed)
            }
        }
    }

    fn arrived(&mut self, data: &[u8]) {
        self.listening.hear(data);
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        match &mut self.watch {
            Watch::Stall { since, .. } => *since = None,
            Watch::Live { stream, .. } => stream.sent(bytes),
        }
        if let Some(guard) = self.guard() {
            guard.sent(bytes);
        }
    }
}

impl Body for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // A cut counts before data: what never pauses must end too.
        if this.session.is_over() {
            return this.cut();
        }
        if matches!(this.watch, Watch::Live { .. })
            && let Poll::Ready(end) = this.poll_watch(cx)
        {
            this.finish(end);
            return Poll::Ready(Some(Err(BodyError::Timeout)));
        }
        match this.poll_source(cx) {
            Poll::Pending => {
                let session = &this.session;
                let over = this
                    .over
                    .get_or_insert_with(|| Box::pin(session.clone().over()));
                if over.as_mut().poll(cx).is_ready() {
                    return this.cut();
                }
                let end = ready!(this.poll_watch(cx));
                this.finish(end);
                Poll::Ready(Some(Err(BodyError::Timeout)))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "answer broke off");
                this.finish(End::UpstreamFailed);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.arrived(data);
                }
                // The server asks for no more once the stated length is reached.
                if this.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(clean_trailers(frame, |_| false))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::BackEnd(body) => body.is_end_stream(),
            #[cfg(test)]
            Source::Fixed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::BackEnd(body) => body.size_hint(),
            #[cfg(test)]
            Source::Fixed(body) => body.size_hint(),
        }
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        // A body without bytes (HEAD, 204, 304) is never asked for any.
        let end = if self.is_end_stream() {
            End::Complete
        } else {
            End::Abandoned
        };
        self.finish(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{Outcomes, guard};
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn the_last_byte_completes_and_a_client_that_leaves_abandons() {
        let outcomes = Outcomes::default();
        let mut body = RecordedBody::fixed(Bytes::from_static(b"chart"), guard(&outcomes));
        body.frame().await.unwrap().unwrap();
        assert_eq!(
            outcomes.only().end,
            End::Complete,
            "at the last byte, not at the drop"
        );
        assert_eq!(outcomes.only().bytes_out, 5);
        drop(body);
        assert_eq!(outcomes.count(), 1);

        let outcomes = Outcomes::default();
        drop(RecordedBody::fixed(
            Bytes::from_static(b"chart"),
            guard(&outcomes),
        ));
        assert_eq!(outcomes.only().end, End::Abandoned);

        let outcomes = Outcomes::default();
        drop(RecordedBody::fixed(Bytes::new(), guard(&outcomes)));
        assert_eq!(outcomes.only().end, End::Complete);
    }
}
