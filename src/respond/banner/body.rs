//! A page that streams through, with what is put at its top.
//!
//! *Never*: a changed byte of the page beside the notice itself; a page held back, or more of it in memory than
//! [`MEMORY`].
//! *On failure*: the page passes as it is, or breaks off where it is [obliged](Duty::Obliged) to carry it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use lol_html::html_content::ContentType;
use lol_html::{HtmlRewriter, MemorySettings, Settings};

use super::{Count, Duty, Markup};
use crate::request::{AnswerBody, BodyError};

/// The most that the search for the page's body may keep in memory.
pub(super) const MEMORY: usize = 256 * 1024;
/// The page is looked through in pieces of this size, so that one large piece does not exhaust [`MEMORY`].
const PIECE: usize = 16 * 1024;

/// What became of the notice on one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands at the top of the page.
    Shown,
    /// The page has no body tag; it stands at the end.
    Appended,
    /// The page passed without it.
    Passed,
}

impl Fate {
    pub(super) fn count(self, count: Count) {
        let word = match self {
            Self::Shown => "shown",
            Self::Appended => "appended",
            Self::Passed => "passed",
        };
        count(word);
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
pub(super) struct Noticed {
    page: AnswerBody,
    work: Work,
    out: Rc<Cell<BytesMut>>,
    found: Rc<Cell<Option<Fate>>>,
    trailers: Option<Frame<Bytes>>,
    count: Count,
    duty: Duty,
}

impl Noticed {
    pub(super) fn new(page: AnswerBody, markup: Markup, count: Count) -> Self {
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
