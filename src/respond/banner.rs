//! Notices on the EMR's own pages, put in while the page streams through.
//!
//! *Never*: a changed byte of the page beside the notice itself; a page held back, or more of it in memory than
//! [`MEMORY`].
//! *On failure*: the page passes as it is and is counted as such. Showing a notice is worth less than showing the chart.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use lol_html::html_content::ContentType;
use lol_html::{HtmlRewriter, MemorySettings, Settings};

use super::notices;
use crate::request::received::Audience;
use crate::request::{AnswerBody, BodyError, Notice};
use crate::upstream::page::is_readable;

/// The most that the search for the page's body may keep in memory.
const MEMORY: usize = 256 * 1024;
/// The page is looked through in pieces of this size, so that one large piece does not exhaust [`MEMORY`].
const PIECE: usize = 16 * 1024;

/// What a changed page can no longer say of itself.
const OF_THE_WHOLE: &[&str] = &[
    "accept-ranges",
    "content-digest",
    "content-length",
    "content-md5",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
];

/// Counts what became of one page, by a word.
pub(super) type Count = fn(&'static str);

/// What became of the notice on one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stands at the top of the page.
    Shown,
    /// The page has no body tag; it stands at the end.
    Appended,
    /// The page passed without it.
    Passed,
}

impl Fate {
    fn count(self, count: Count) {
        let word = match self {
            Self::Shown => "shown",
            Self::Appended => "appended",
            Self::Passed => "passed",
        };
        count(word);
    }
}

/// What of `told` is put on an answer to `audience`, as markup; nothing, if nothing is.
pub(super) fn markup(audience: Audience, told: &[Notice]) -> Option<String> {
    let told: Vec<&Notice> = told
        .iter()
        .filter(|notice| concerns(audience, notice))
        .collect();
    (!told.is_empty()).then(|| notices::html(&told))
}

/// Puts `told` on the answer, where it is a page that a person looks at.
#[cfg(test)]
fn noticed(
    response: Response<AnswerBody>,
    audience: Audience,
    told: &[Notice],
) -> Response<AnswerBody> {
    match markup(audience, told) {
        Some(markup) if crate::upstream::page::is_page(response.status(), response.headers()) => {
            let duty = Duty::Told;
            put(response, Markup { html: markup, duty }, |_| {})
        }
        Some(_) | None => response,
    }
}

/// Whether a page goes on without what was to stand on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It does: it is told something, no more.
    Told,
    /// It breaks off: a permit obliges it.
    Obliged,
}

/// What is put on a page.
pub(super) struct Markup {
    pub(super) html: String,
    pub(super) duty: Duty,
}

/// Puts `markup` at the top of a page, and says by `count` what became of it.
pub(super) fn put(
    response: Response<AnswerBody>,
    markup: Markup,
    count: Count,
) -> Response<AnswerBody> {
    if !is_readable(response.headers()) {
        tracing::warn!(
            "a page is compressed or of another character set; it passes without its notice"
        );
        Fate::Passed.count(count);
        return response;
    }
    let (mut parts, body) = response.into_parts();
    for name in OF_THE_WHOLE {
        parts.headers.remove(*name);
    }
    // A notice is true for now; a page from the cache would show it afterwards, or not show it now.
    parts
        .headers
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = if body.is_end_stream() {
        body
    } else {
        AnswerBody::streaming(Noticed::new(body, markup, count))
    };
    Response::from_parts(parts, body)
}

/// A frame of a page tells what concerns its own content; the rest stands once, on the page around it.
const fn concerns(audience: Audience, notice: &Notice) -> bool {
    match (audience, notice) {
        (Audience::Navigation, _)
        | (Audience::Subresource, Notice::BreakGlass { .. } | Notice::ReadOnly) => true,
        (
            Audience::Subresource,
            Notice::Lockdown { .. }
            | Notice::TrainingDue { .. }
            | Notice::TrainingLapsed { .. }
            | Notice::SignedIn { .. }
            | Notice::SharedWorkstation { .. }
            | Notice::OldBrowser { .. }
            | Notice::UnknownBrowser { .. },
        )
        | (Audience::Program, _) => false,
    }
}

type Sink = Box<dyn FnMut(&[u8])>;

/// How far the search for the page's body has come.
enum Work {
    /// Nothing has arrived yet.
    Waiting(String),
    /// The tag has not been found.
    Searching(Box<HtmlRewriter<'static, Sink>>),
    /// What comes goes on as it is.
    Passing,
}

/// A page on its way to the browser, with its notice.
struct Noticed {
    page: AnswerBody,
    work: Work,
    out: Rc<Cell<BytesMut>>,
    found: Rc<Cell<Option<Fate>>>,
    trailers: Option<Frame<Bytes>>,
    count: Count,
    duty: Duty,
}

impl Noticed {
    fn new(page: AnswerBody, markup: Markup, count: Count) -> Self {
        Self {
            page,
            count,
            duty: markup.duty,
            work: Work::Waiting(markup.html),
            out: Rc::default(),
            found: Rc::default(),
            trailers: None,
        }
    }

    /// Takes what arrived and leaves in `out` what can go on.
    fn feed(&mut self, data: &Bytes) -> Result<(), BodyError> {
        if let Work::Waiting(notice) = &mut self.work {
            // A byte order mark of UTF-16 counts for more than what the head says.
            self.work = if data.starts_with(b"\xfe\xff") || data.starts_with(b"\xff\xfe") {
                self.pass()?;
                Work::Passing
            } else {
                let notice = std::mem::take(notice);
                Work::Searching(Box::new(rewriter(notice, &self.out, &self.found)))
            };
        }
        for piece in data.chunks(PIECE) {
            match &mut self.work {
                Work::Searching(rewriter) => {
                    let written = rewriter.write(piece);
                    self.after(written)?;
                }
                Work::Waiting(_) | Work::Passing => append(&self.out, piece),
            }
        }
        Ok(())
    }

    /// Lets the page go on without it, where it may.
    fn pass(&self) -> Result<(), BodyError> {
        self.found.set(Some(Fate::Passed));
        match self.duty {
            Duty::Told => Ok(()),
            Duty::Obliged => Err(BodyError::Transport(
                "a page cannot carry the watermark that its permit obliges".into(),
            )),
        }
    }

    /// Looks at what the search came to. Once the notice stands, the rest of the page need not be read.
    fn after(
        &mut self,
        written: Result<(), lol_html::errors::RewritingError>,
    ) -> Result<(), BodyError> {
        match written {
            Ok(()) if self.found.get().is_some() => self.end(),
            Ok(()) => Ok(()),
            Err(error @ lol_html::errors::RewritingError::MemoryLimitExceeded(_)) => {
                // It has handed on everything that it held, as it was.
                tracing::warn!(%error, "a page passes without its notice");
                self.pass()?;
                self.work = Work::Passing;
                Ok(())
            }
            // SECURITY: bytes of the page may be lost in it. A chart that breaks off is better than one with a hole.
            Err(error) => Err(BodyError::Transport(Box::new(error))),
        }
    }

    /// Ends the search; what it still holds goes on.
    fn end(&mut self) -> Result<(), BodyError> {
        match std::mem::replace(&mut self.work, Work::Passing) {
            Work::Searching(rewriter) => {
                let ended = rewriter.end();
                if ended.is_ok() && self.found.get().is_none() {
                    self.found.set(Some(Fate::Appended));
                }
                self.after_end(ended)
            }
            Work::Waiting(_) | Work::Passing => Ok(()),
        }
    }

    fn after_end(
        &mut self,
        ended: Result<(), lol_html::errors::RewritingError>,
    ) -> Result<(), BodyError> {
        match ended {
            Ok(()) => Ok(()),
            Err(error) => self.after(Err(error)),
        }
    }

    fn taken(&self) -> Option<Frame<Bytes>> {
        let out = self.out.take().freeze();
        (!out.is_empty()).then(|| Frame::data(out))
    }
}

impl Drop for Noticed {
    fn drop(&mut self) {
        if let Some(result) = self.found.get() {
            result.count(self.count);
        }
    }
}

fn append(out: &Cell<BytesMut>, bytes: &[u8]) {
    let mut held = out.take();
    held.extend_from_slice(bytes);
    out.set(held);
}

/// Puts `notice` behind the first body tag, or at the end of a page that has neither body tag nor frames.
fn rewriter(
    notice: String,
    out: &Rc<Cell<BytesMut>>,
    found: &Rc<Cell<Option<Fate>>>,
) -> HtmlRewriter<'static, Sink> {
    let memory = MemorySettings::new()
        .with_preallocated_parsing_buffer_size(1024)
        .with_max_allowed_memory_usage(MEMORY)
        .with_graceful_bail_out_on_memory_limit_exceeded(true);
    let (at_body, at_frames, at_end) = (Rc::clone(found), Rc::clone(found), Rc::clone(found));
    let late = notice.clone();
    let settings = Settings::new()
        .with_memory_settings(memory)
        .with_strict(false)
        .append_element_content_handler(lol_html::element!("body", move |body| {
            if at_body.get().is_none() {
                body.prepend(&notice, ContentType::Html);
                at_body.set(Some(Fate::Shown));
            }
            Ok(())
        }))
        .append_element_content_handler(lol_html::element!("frameset", move |_| {
            // Nothing but frames is shown of such a page; each of them gets its own notice.
            if at_frames.get().is_none() {
                at_frames.set(Some(Fate::Passed));
            }
            Ok(())
        }))
        .append_document_content_handler(lol_html::end!(move |end| {
            if at_end.get().is_none() {
                end.append(&late, ContentType::Html);
            }
            Ok(())
        }));
    let out = Rc::clone(out);
    HtmlRewriter::new(settings, Box::new(move |bytes: &[u8]| append(&out, bytes)))
}

impl Body for Noticed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = this.taken() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            let Some(frame) = ready!(Pin::new(&mut this.page).poll_frame(cx)) else {
                this.end()?;
                return Poll::Ready(this.taken().map(Ok));
            };
            match frame?.into_data() {
                Ok(data) => this.feed(&data)?,
                Err(trailers) => {
                    this.end()?;
                    this.trailers = Some(trailers);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // What is held back becomes known only by asking.
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http::header::HeaderMap;
    use http_body_util::{BodyExt, Full, StreamBody};
    use proptest::prelude::*;

    fn notice() -> Vec<Notice> {
        vec![Notice::BreakGlass {
            reach: crate::request::Reach::Patient {
                system: "urn:mrn".to_owned(),
                number: "7".to_owned(),
            },
            until: "2026-11-22T14:05:00Z".parse().unwrap(),
        }]
    }

    fn marker() -> String {
        notices::html(&notice().iter().collect::<Vec<_>>())
    }

    fn answer(kind: &str, chunks: Vec<Vec<u8>>) -> Response<AnswerBody> {
        let chunks = chunks
            .into_iter()
            .map(|chunk| Ok::<_, BodyError>(Frame::data(Bytes::from(chunk))));
        let body = StreamBody::new(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
        Response::builder()
            .header("content-type", kind)
            .header("content-length", "1")
            .header("etag", "\"1\"")
            .body(AnswerBody::streaming(body))
            .unwrap()
    }

    fn read(response: Response<AnswerBody>) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec()
        })
    }

    fn shown(page: &[u8]) -> Vec<u8> {
        read(noticed(
            answer("text/html; charset=utf-8", vec![page.to_vec()]),
            Audience::Navigation,
            &notice(),
        ))
    }

    #[test]
    fn the_notice_stands_first_in_the_body() {
        let page =
            b"<!doctype html><html><head><title>a</title></head><BODY class=x>chart</body></html>";
        let text = String::from_utf8(shown(page)).unwrap();
        let (before, after) = text.split_once(&marker()).unwrap();
        assert!(before.ends_with("<BODY class=x>"), "{before}");
        assert_eq!(after, "chart</body></html>");
    }

    #[test]
    fn a_page_without_a_body_tag_gets_it_at_the_end_and_frames_are_left_alone() {
        let text = String::from_utf8(shown(b"<p>chart")).unwrap();
        assert_eq!(text, format!("<p>chart{}", marker()));
        let frames: &[u8] = b"<html><frameset cols=1><frame src=a></frameset></html>";
        assert_eq!(shown(frames), frames);
    }

    #[test]
    fn only_pages_that_a_person_looks_at_are_touched() {
        let page = b"<body>x".to_vec();
        let untouched = |kind: &str, audience, told: &[Notice]| {
            let response = noticed(answer(kind, vec![page.clone()]), audience, told);
            assert_eq!(response.headers()["content-length"], "1", "{kind}");
            assert_eq!(read(response), page, "{kind}");
        };
        for kind in [
            "text/plain",
            "application/json",
            "text/html; charset=utf-16",
            "text/html; charset=iso-2022-jp",
            "text/htmlx",
        ] {
            untouched(kind, Audience::Navigation, &notice());
        }
        untouched("text/html", Audience::Program, &notice());
        untouched("text/html", Audience::Navigation, &[]);
        untouched(
            "text/html",
            Audience::Subresource,
            &[Notice::Lockdown { level: 1 }],
        );
        let framed = noticed(
            answer("text/html", vec![page]),
            Audience::Subresource,
            &notice(),
        );
        for name in OF_THE_WHOLE {
            assert!(!framed.headers().contains_key(*name), "{name}");
        }
        assert_eq!(framed.headers()["cache-control"], "no-store");
        assert!(read(framed).len() > 7);
    }

    #[test]
    fn compressed_pages_partial_ones_and_downloads_pass() {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-disposition", "attachment; filename=a.html"),
        ] {
            let mut response = answer("text/html", vec![b"<body>".to_vec()]);
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
            assert_eq!(
                read(noticed(response, Audience::Navigation, &notice())),
                b"<body>"
            );
        }
        let mut response = answer("text/html", vec![b"<body>".to_vec()]);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        assert_eq!(
            read(noticed(response, Audience::Navigation, &notice())),
            b"<body>"
        );
        let wide = b"\xff\xfe<\0b\0o\0d\0y\0>\0";
        assert_eq!(shown(wide), wide);
    }

    #[test]
    fn a_tag_that_never_ends_makes_the_page_pass_whole() {
        let mut page = b"<html><body title=\"".to_vec();
        page.resize(MEMORY * 3, b'a');
        page.extend_from_slice(b"\">chart");
        assert_eq!(shown(&page), page);
    }

    #[test]
    fn a_page_that_has_to_carry_it_breaks_off_where_it_cannot() {
        let wide = b"\xff\xfe<\0b\0".to_vec();
        let mut endless = b"<html><body title=\"".to_vec();
        endless.resize(MEMORY * 3, b'a');
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for (page, whole) in [(wide, false), (endless, false), (b"<p>x".to_vec(), true)] {
            let html = "N".to_owned();
            let duty = Duty::Obliged;
            let response = put(
                answer("text/html", vec![page]),
                Markup { html, duty },
                |_| {},
            );
            let read = runtime.block_on(response.into_body().collect());
            assert_eq!(read.is_ok(), whole);
        }
    }

    #[test]
    fn trailers_come_after_the_page() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let frames = [
            Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"<p>"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = AnswerBody::streaming(StreamBody::new(futures_util::stream::iter(frames)));
        let markup = Markup {
            html: "N".to_owned(),
            duty: Duty::Told,
        };
        let page = Noticed::new(body, markup, |_| {});
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let read = runtime.block_on(page.collect()).unwrap();
        assert_eq!(read.trailers().unwrap()["x-sum"], "1");
        assert_eq!(read.to_bytes(), "<p>N");
    }

    #[test]
    fn an_empty_page_stays_empty() {
        let response = Response::builder()
            .header("content-type", "text/html")
            .body(AnswerBody::streaming(
                Full::new(Bytes::new()).map_err(|never| match never {}),
            ))
            .unwrap();
        assert!(read(noticed(response, Audience::Navigation, &notice())).is_empty());
    }

    /// Pieces of pages, the wrong ones among them.
    fn page() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            5 => prop::sample::select(vec![
                "<html>", "<head>", "</head>", "<body>", "<BoDy a=b>", "<body", ">", "<", "</body>", "<!--", "-->",
                "<script>", "</script>", "<textarea>", "<title>", "</title>", "<frameset>", "<svg>", "<select>", "<xmp>",
                "<template>", "<p title='", "'", "\"", "&amp;", "<![CDATA[", "]]>", "<plaintext>", "é", "\u{feff}",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Wherever the network cuts a page, its bytes are the same, and the notice is at the same place once at most.
        #[test]
        fn a_page_is_whole_however_it_is_cut(
            page in page(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len().saturating_add(1))).collect();
            at.push(0);
            at.push(page.len());
            at.sort_unstable();
            let chunks = at.windows(2).map(|pair| page[pair[0]..pair[1]].to_vec()).collect();
            let cut = read(noticed(answer("text/html", chunks), Audience::Navigation, &notice()));
            let marker = marker().into_bytes();
            let found = cut.windows(marker.len()).position(|window| window == marker);
            let mut without = cut.clone();
            if let Some(found) = found {
                without.drain(found..found.saturating_add(marker.len()));
            }
            prop_assert_eq!(&without, &page);
            if !page.starts_with(b"\xfe\xff") && !page.starts_with(b"\xff\xfe") {
                prop_assert_eq!(cut, shown(&page));
            }
        }
    }
}
