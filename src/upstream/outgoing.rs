//! The request body on its way to the EMR: counted, limited to the route's size, its trailers cleaned.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::refusal::Refusal;
use crate::request::hygiene::{Hygiene, forbidden_in_trailers};
use crate::request::{Body, BodyError};

/// How a request body is doing, shared with whoever waits for the answer.
#[derive(Debug)]
pub struct Flow {
    sent: Cell<u64>,
    moved: Cell<Instant>,
    failed: Cell<Option<Refusal>>,
}

impl Flow {
    /// A body of which nothing was sent yet.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            sent: Cell::new(0),
            moved: Cell::new(Instant::now()),
            failed: Cell::new(None),
        })
    }

    /// Bytes sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The request is sent now, or again.
    pub fn restart(&self) {
        self.moved.set(Instant::now());
    }

    /// When it last moved.
    #[must_use]
    pub const fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Why the client's side of it failed, if it did.
    #[must_use]
    pub const fn failed(&self) -> Option<Refusal> {
        self.failed.get()
    }
}

/// A request body, as hyper sends it.
#[derive(Debug)]
pub struct Outgoing {
    body: Body,
    limit: u64,
    hygiene: Rc<Hygiene>,
    flow: Rc<Flow>,
}

impl Outgoing {
    /// Sends `body`, up to `limit` bytes.
    #[must_use]
    pub const fn new(body: Body, limit: u64, hygiene: Rc<Hygiene>, flow: Rc<Flow>) -> Self {
        Self {
            body,
            limit,
            hygiene,
            flow,
        }
    }

    /// The same without its body, for a request that had none.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self {
            body: Body::empty(),
            limit: self.limit,
            hygiene: Rc::clone(&self.hygiene),
            flow: Rc::clone(&self.flow),
        }
    }

    fn count(&self, bytes: usize) -> Result<(), BodyError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let sent = self.flow.sent.get().saturating_add(bytes);
        if sent > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        self.flow.sent.set(sent);
        Ok(())
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.flow.moved.set(Instant::now());
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame.and_then(|frame| {
            if let Some(data) = frame.data_ref() {
                this.count(data.len())?;
            }
            Ok(clean_trailers(frame, |name| {
                this.hygiene.forbids(name.as_str())
            }))
        });
        if let Err(error) = &frame {
            this.flow.failed.set(Some(error.refusal()));
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Removes from trailers what could not stand in the head either.
pub(super) fn clean_trailers(
    frame: Frame<Bytes>,
    also: impl Fn(&HeaderName) -> bool,
) -> Frame<Bytes> {
    match frame.into_trailers() {
        Err(data) => data,
        Ok(mut trailers) => {
            let bad = |name: &&HeaderName| forbidden_in_trailers(name) || also(name);
            let names: Vec<HeaderName> = trailers.keys().filter(bad).cloned().collect();
            remove_all(&mut trailers, names);
            Frame::trailers(trailers)
        }
    }
}

fn remove_all(headers: &mut HeaderMap, names: Vec<HeaderName>) {
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    fn outgoing(frames: Vec<Frame<Bytes>>, limit: u64) -> (Outgoing, Rc<Flow>) {
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, BodyError>));
        let body = Body::streaming(StreamBody::new(frames));
        let flow = Flow::new();
        let hygiene = Rc::new(Hygiene::default());
        (Outgoing::new(body, limit, hygiene, Rc::clone(&flow)), flow)
    }

    #[tokio::test]
    async fn one_byte_over_the_routes_limit_ends_it() {
        let data = || Frame::data(Bytes::from_static(b"1234"));
        let (body, flow) = outgoing(vec![data(), data()], 8);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 8);
        assert_eq!((flow.sent(), flow.failed()), (8, None));
        let (body, flow) = outgoing(vec![data(), data()], 7);
        assert!(body.collect().await.is_err());
        assert_eq!(
            (flow.sent(), flow.failed()),
            (4, Some(Refusal::BodyTooLarge))
        );
    }

    #[tokio::test]
    async fn trailers_pass_without_what_a_head_may_not_hold() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-checksum",
            "x-forwarded-user",
            "content-length",
            "x_remote_user",
        ] {
            trailers.insert(name, "1".parse().unwrap());
        }
        let (body, _) = outgoing(vec![Frame::trailers(trailers)], 8);
        let collected = body.collect().await.unwrap();
        let left: Vec<_> = collected.trailers().unwrap().keys().collect();
        assert_eq!(left, ["x-checksum"]);
    }
}
