//! The vendor's test pages, left open to everybody as such pages are: echo, upload, download, slow, error.

use std::time::Duration;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Deserialize;
use serde_json::{Value, json};

/// The largest upload.
const LARGEST_UPLOAD: u64 = 1 << 30;
/// The largest download.
const LARGEST_DOWNLOAD: u64 = 1 << 34;
/// The longest that the slow page takes.
const LONGEST_DELAY: Duration = Duration::from_mins(2);
/// What a download consists of, over and over.
const PATTERN: &[u8; 16] = b"0123456789abcdef";
/// Patterns in one piece of a download.
const PATTERNS_PER_PIECE: usize = 1024;

fn fields(headers: &HeaderMap) -> Vec<Value> {
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

/// Repeats the request line, the headers and the body.
pub(super) async fn echo(
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    Json(json!({
        "method": method.as_str(),
        "target": uri.to_string(),
        "version": format!("{version:?}"),
        "headers": fields(&headers),
        "body": String::from_utf8_lossy(&body),
    }))
}

/// Reads a body without keeping it and answers how long it was and its digest.
pub(super) async fn upload(request: Request) -> Response {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut body = request.into_body();
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut length = 0_u64;
    let mut trailers = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "an upload to the sample EMR broke off");
                return StatusCode::BAD_REQUEST.into_response();
            }
        };
        if let Some(data) = frame.data_ref() {
            digest.update(data);
            length = length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        if let Some(received) = frame.trailers_ref() {
            trailers = fields(received);
        }
        if length > LARGEST_UPLOAD {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
    }
    Json(json!({
        "length": length,
        "sha256": hex::encode(digest.finish()),
        "content_type": content_type,
        "trailers": trailers,
    }))
    .into_response()
}

/// How a download says where it ends.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Framing {
    /// Chunked, with a trailer that holds the digest.
    Chunked,
    /// With a `Content-Length`.
    #[default]
    Length,
}

/// What a download asks for.
#[derive(Deserialize)]
pub(super) struct Download {
    bytes: u64,
    #[serde(default)]
    framing: Framing,
}

/// Where a download stands.
struct Progress {
    left: u64,
    piece: Bytes,
    digest: Option<aws_lc_rs::digest::Context>,
}

impl Progress {
    /// The next piece, then the trailer if there is one.
    fn frame(&mut self) -> Option<Frame<Bytes>> {
        if self.left == 0 {
            let digest = hex::encode(self.digest.take()?.finish());
            let mut trailers = HeaderMap::new();
            trailers.insert(
                HeaderName::from_static("x-content-sha256"),
                HeaderValue::try_from(digest).ok()?,
            );
            return Some(Frame::trailers(trailers));
        }
        let size = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(self.piece.len());
        let piece = self.piece.slice(..size);
        self.left = self
            .left
            .saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
        if let Some(digest) = &mut self.digest {
            digest.update(&piece);
        }
        Some(Frame::data(piece))
    }
}

/// Streams as many bytes as asked for, made up on the way.
pub(super) async fn download(Query(download): Query<Download>) -> Response {
    if download.bytes > LARGEST_DOWNLOAD {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let progress = Progress {
        left: download.bytes,
        piece: Bytes::from(PATTERN.repeat(PATTERNS_PER_PIECE)),
        digest: match download.framing {
            Framing::Chunked => Some(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256)),
            Framing::Length => None,
        },
    };
    let frames = stream::unfold(progress, |mut progress| async move {
        let frame = progress.frame()?;
        Some((Ok::<_, std::convert::Infallible>(frame), progress))
    });
    let mut response = Body::new(StreamBody::new(frames)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    match download.framing {
        Framing::Chunked => {
            headers.insert(
                header::TRAILER,
                HeaderValue::from_static("x-content-sha256"),
            );
        }
        Framing::Length => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(download.bytes));
        }
    }
    response
}

/// How many milliseconds the slow page takes.
#[derive(Deserialize)]
pub(super) struct Delay {
    #[serde(default)]
    ms: u64,
}

/// Answers late.
pub(super) async fn slow(Query(delay): Query<Delay>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(delay.ms).min(LONGEST_DELAY)).await;
    "done\n"
}

/// Fails as old software fails: with its insides on the page.
pub(super) async fn error() -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        include_str!("../assets/stack_trace.html"),
    )
        .into_response()
}
