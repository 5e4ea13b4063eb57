//! What the store answered: its body as it comes, or its document.
//!
//! *Never*: more of a document in memory than [`DOCUMENT`].

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Runtime;

use super::S3Error;
use super::error::remote;

/// A body must go on within this.
const PROGRESS: Duration = Duration::from_mins(1);
/// The most of a document (a listing, an error) that is read.
const DOCUMENT: usize = 4 * 1024 * 1024;

/// The answer's text where it is a success.
pub(super) fn expect(
    name: &str,
    response: &Response<()>,
    mut reader: Answer,
) -> Result<String, S3Error> {
    let mut text = String::new();
    let limit = DOCUMENT as u64;
    Read::by_ref(&mut reader)
        .take(limit)
        .read_to_string(&mut text)
        .map_err(remote)?;
    if response.status() == StatusCode::OK {
        return Ok(text);
    }
    let code = elements(&text, "Code")
        .next()
        .unwrap_or_default()
        .to_owned();
    Err(remote(format!("{name}: {} {code}", response.status())))
}

/// The contents of each `<name>` in a flat document.
pub(super) fn elements<'x>(text: &'x str, name: &str) -> impl Iterator<Item = &'x str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(begin.as_str())?;
        let (content, after) = after.split_once(end.as_str())?;
        rest = after;
        Some(content)
    })
}

/// The body of an answer, read as it comes.
pub(super) struct Answer {
    pub(super) runtime: Arc<Runtime>,
    pub(super) body: Incoming,
    pub(super) held: Bytes,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            let body = &mut self.body;
            let frame = self.runtime.block_on(async {
                let next = tokio::time::timeout(PROGRESS, body.frame()).await;
                next.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))
            })?;
            match frame {
                None => return Ok(0),
                Some(frame) => {
                    let frame = frame.map_err(io::Error::other)?;
                    self.held = frame.into_data().unwrap_or_default();
                }
            }
        }
        let count = self.held.len().min(buffer.len());
        let to = buffer.get_mut(..count).unwrap_or_default();
        self.held.copy_to_slice(to);
        Ok(count)
    }
}
