//! An object on its way to the store.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::S3Error;
use crate::outbound::sigv4;

/// An object on its way. Reading it blocks, on a runtime that does nothing else.
pub struct Upload {
    from: Box<dyn Read + Send + Sync>,
    left: u64,
    pub(super) sha256: String,
}

impl Upload {
    /// A file of this length and SHA-256 (hex).
    ///
    /// # Errors
    /// [`S3Error::File`].
    pub fn file(path: &Path, size: u64, sha256: String) -> Result<Self, S3Error> {
        let opened = File::open(path).map_err(|source| S3Error::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            from: Box::new(opened),
            left: size,
            sha256,
        })
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            left: bytes.len() as u64,
            sha256: sigv4::sha256(&bytes),
            from: Box::new(io::Cursor::new(bytes)),
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = Vec::new();
        let limit = self.left.min(256 * 1024);
        let read = Read::by_ref(&mut self.from)
            .take(limit)
            .read_to_end(&mut piece);
        Poll::Ready(Some(match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(Frame::data(Bytes::from(piece)))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
