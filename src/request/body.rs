//! The request body: a stream that nobody polls before admission, or the exact bytes that a profile parsed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use crate::refusal::Refusal;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection or its framing failed.
    #[error("the body could not be read: {0}")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More bytes than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// No data within the deadline.
    #[error("the body did not arrive in time")]
    Timeout,
}

impl From<hyper::Error> for BodyError {
    fn from(source: hyper::Error) -> Self {
        Self::Transport(Box::new(source))
    }
}

impl BodyError {
    /// What the client is told.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Transport(_) => Refusal::MalformedBody,
            Self::TooLarge { .. } => Refusal::BodyTooLarge,
            Self::Timeout => Refusal::BodyTimeout,
        }
    }
}

/// A request body.
pub enum Body {
    /// Nothing has read from it.
    // INVARIANT: only `emr::map` (bounded) and `upstream` (after admission) poll it.
    Streaming(UnsyncBoxBody<Bytes, BodyError>),
    /// Read, parsed and forwarded as exactly these bytes.
    Buffered(Option<Bytes>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Streaming(_) => "Streaming",
            Self::Buffered(_) => "Buffered",
        })
    }
}

impl Body {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Buffered(None)
    }

    /// A body that arrives from a client.
    pub fn streaming<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::Streaming(body.map_err(Into::into).boxed_unsync())
    }

    /// Reads it whole, up to `limit` bytes and within `deadline`; afterwards the body is those bytes.
    ///
    /// # Errors
    /// [`BodyError`] for a body that is too large, too slow or broken.
    pub async fn read(&mut self, limit: u64, deadline: Duration) -> Result<Bytes, BodyError> {
        let stream = match self {
            Self::Buffered(bytes) => return Ok(bytes.clone().unwrap_or_default()),
            Self::Streaming(stream) => stream,
        };
        let bytes = tokio::time::timeout(deadline, collect(stream, limit))
            .await
            .unwrap_or(Err(BodyError::Timeout))?;
        *self = Self::Buffered((!bytes.is_empty()).then(|| bytes.clone()));
        Ok(bytes)
    }
}

async fn collect(
    stream: &mut UnsyncBoxBody<Bytes, BodyError>,
    limit: u64,
) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { limit };
    if stream.size_hint().lower() > limit {
        return Err(too_large);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = stream.frame().await {
        // Trailers of a body that is read here are dropped: the profile parsed data, nothing else.
        if let Ok(data) = frame?.into_data() {
            let total = read.len().saturating_add(data.len());
            if u64::try_from(total).unwrap_or(u64::MAX) > limit {
                return Err(too_large);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Streaming(stream) => Pin::new(stream).poll_frame(cx),
            Self::Buffered(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streaming(stream) => stream.is_end_stream(),
            Self::Buffered(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming(stream) => stream.size_hint(),
            Self::Buffered(bytes) => SizeHint::with_exact(
                bytes
                    .as_ref()
                    .map_or(0, |b| u64::try_from(b.len()).unwrap_or(u64::MAX)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn body(bytes: &'static [u8]) -> Body {
        Body::streaming(Full::new(Bytes::from_static(bytes)))
    }

    impl From<std::convert::Infallible> for BodyError {
        fn from(never: std::convert::Infallible) -> Self {
            match never {}
        }
    }

    #[tokio::test]
    async fn what_was_read_is_what_is_forwarded() {
        let mut body = body(b"a=1&b=2");
        let read = body.read(7, Duration::from_secs(1)).await.unwrap();
        assert_eq!(read, "a=1&b=2");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a=1&b=2");
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_too_large() {
        let error = body(b"12345678").read(7, Duration::from_secs(1)).await;
        assert!(matches!(error, Err(BodyError::TooLarge { limit: 7 })));
    }

    #[tokio::test]
    async fn a_stalled_body_times_out() {
        let stalled = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, BodyError>,
        >());
        let error = Body::streaming(stalled)
            .read(7, Duration::from_millis(1))
            .await;
        assert!(matches!(error, Err(BodyError::Timeout)));
    }
}
