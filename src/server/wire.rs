//! Watches the bytes of an HTTP/1 connection for what the parser behind it forgives or repairs silently.
//!
//! hyper accepts line ends without CR, resolves `Content-Length` against `Transfer-Encoding` by dropping one of
//! them, and cuts a `#fragment` off the target. Each is a request with two readings, and by the time the service
//! is called the second one is gone; so the bytes are looked at as they arrive.
//!
//! *Never*: a byte changed or withheld. The watch only raises a [`Flag`]; whoever serves the connection refuses
//! every request on it from then on and closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::refusal::Refusal;

/// A reading that the parser would hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A line that ends without CR, a folded line, or a chunk that is framed loosely.
    Framing,
    /// A length stated twice: both `Content-Length` and `Transfer-Encoding`, or one of them repeated.
    Length,
    /// A request line with a fragment, or with bytes that are not printable ASCII.
    Target,
}

impl Flaw {
    /// What the client is told.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Framing | Self::Length => Refusal::ConflictingLength,
            Self::Target => Refusal::AmbiguousTarget,
        }
    }
}

/// The first flaw seen on a connection, shared between its bytes and its requests.
#[derive(Debug, Clone, Default)]
pub struct Flag(Arc<AtomicU8>);

const RELEASED: u8 = 255;

impl Flag {
    /// The flaw, if one was seen.
    #[must_use]
    pub fn raised(&self) -> Option<Flaw> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Flaw::Framing),
            2 => Some(Flaw::Length),
            3 => Some(Flaw::Target),
            _ => None,
        }
    }

    /// The connection is no longer HTTP (it was upgraded): stop watching.
    pub fn release(&self) {
        self.0.store(RELEASED, Ordering::Relaxed);
    }

    fn raise(&self, flaw: Flaw) {
        let code = match flaw {
            Flaw::Framing => 1,
            Flaw::Length => 2,
            Flaw::Target => 3,
        };
        // The first flaw is the one that is told.
        let _ = self
            .0
            .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Follows the framing of the requests on one connection.
#[derive(Debug)]
pub struct Watch {
    flag: Flag,
    state: State,
    line: Vec<u8>,
    longest_line: usize,
    head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequestLine,
    Fields,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// Nothing more to learn: a flaw was seen, or the connection is no longer HTTP.
    Done,
}

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    length: Option<u64>,
    lengths: u8,
    codings: u8,
}

impl Watch {
    /// Watches a new connection whose heads are refused by the parser beyond `longest_line` bytes.
    #[must_use]
    pub fn new(flag: Flag, longest_line: usize) -> Self {
        Self {
            flag,
            state: State::RequestLine,
            line: Vec::new(),
            longest_line,
            head: Head::default(),
        }
    }

    /// Whether the client is, as far as it was read, not at the end of a request.
    #[must_use]
    pub fn is_amid_a_request(&self) -> bool {
        match self.state {
            State::RequestLine => !self.line.is_empty(),
            // Where a request ends is not known any more.
            State::Done => self.flag.raised().is_some(),
            State::Fields
            | State::Sized(_)
            | State::ChunkSize
            | State::ChunkData(_)
            | State::ChunkEnd
            | State::Trailers => true,
        }
    }

    /// Looks at bytes that were just received.
    pub fn see(&mut self, mut bytes: &[u8]) {
        if self.flag.is_settled() {
            self.state = State::Done;
        }
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Done => return,
                State::Sized(left) => self.skip(bytes, left, State::Sized, State::RequestLine),
                State::ChunkData(left) => self.skip(bytes, left, State::ChunkData, State::ChunkEnd),
                State::RequestLine
                | State::Fields
                | State::ChunkSize
                | State::ChunkEnd
                | State::Trailers => self.see_line(bytes),
            };
        }
    }

    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        unfinished: fn(u64) -> State,
        finished: State,
    ) -> &'b [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        self.state = if left == 0 {
            finished
        } else {
            unfinished(left)
        };
        bytes.get(here..).unwrap_or_default()
    }

    fn see_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.line.len().saturating_add(bytes.len()) > self.longest_line {
                // In a head, the parser's own limit answers first; between chunks, nothing else would notice.
                self.line = Vec::new();
                self.raise(Flaw::Framing);
            } else {
                self.line.extend_from_slice(bytes);
            }
            return &[];
        };
        let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        if self.line.is_empty() {
            self.judge(line);
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.judge(&whole);
            whole.clear();
            self.line = whole;
        }
        rest.get(1..).unwrap_or_default()
    }

    /// Judges one line without its LF.
    fn judge(&mut self, line: &[u8]) {
        let Some(line) = line.strip_suffix(b"\r") else {
            return self.raise(Flaw::Framing);
        };
        match self.state {
            State::RequestLine => self.judge_request_line(line),
            State::Fields if line.is_empty() => self.end_of_head(),
            State::Fields => self.judge_field(line),
            State::ChunkSize => self.judge_chunk_size(line),
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => self.raise(Flaw::Framing),
            State::Trailers if line.is_empty() => self.state = State::RequestLine,
            State::Trailers | State::Sized(_) | State::ChunkData(_) | State::Done => {}
        }
    }

    fn judge_request_line(&mut self, line: &[u8]) {
        // RFC 9112 §2.2: an empty line before the request line is ignored.
        if line.is_empty() {
            return;
        }
        // SECURITY: a fragment would be cut off silently, and raw bytes are read differently by every back end.
        if line
            .iter()
            .any(|b| !(b.is_ascii_graphic() || *b == b' ') || *b == b'#')
        {
            return self.raise(Flaw::Target);
        }
        self.head = Head::default();
        self.state = State::Fields;
    }

    fn judge_field(&mut self, line: &[u8]) {
        let mut halves = line.splitn(2, |b| *b == b':');
        let name = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default().trim_ascii();
        if name.first().is_none_or(u8::is_ascii_whitespace) {
            return self.raise(Flaw::Framing);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.head.lengths = self.head.lengths.saturating_add(1);
            self.head.length = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse().ok());
            if self.head.length.is_none() {
                self.raise(Flaw::Length);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.head.codings = self.head.codings.saturating_add(1);
            // SECURITY: any other coding, and any other spelling of this one, has been a smuggling vector.
            if !value.eq_ignore_ascii_case(b"chunked") {
                self.raise(Flaw::Length);
            }
        }
    }

    fn end_of_head(&mut self) {
        let Head {
            length,
            lengths,
            codings,
        } = self.head;
        if lengths.saturating_add(codings) > 1 {
            return self.raise(Flaw::Length);
        }
        self.state = match length {
            _ if codings == 1 => State::ChunkSize,
            None | Some(0) => State::RequestLine,
            Some(n) => State::Sized(n),
        };
    }

    fn judge_chunk_size(&mut self, line: &[u8]) {
        let digits = line.split(|b| *b == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits)
            .ok()
            .map(str::trim_end)
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        match size {
            None => self.raise(Flaw::Framing),
            Some(0) => self.state = State::Trailers,
            Some(n) => self.state = State::ChunkData(n),
        }
    }

    fn raise(&mut self, flaw: Flaw) {
        self.flag.raise(flaw);
        self.state = State::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(parts: &[&[u8]]) -> (Option<Flaw>, State) {
        let flag = Flag::default();
        let mut watch = Watch::new(flag.clone(), 1024);
        for part in parts {
            watch.see(part);
        }
        (flag.raised(), watch.state)
    }

    #[test]
    fn flaws_that_the_parser_hides_are_seen() {
        for (wire, flaw) in [
            (&b"GET / HTTP/1.1\nHost: a\n\n"[..], Flaw::Framing),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Flaw::Framing),
            (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Flaw::Framing),
            (b"GET /#x HTTP/1.1\r\n", Flaw::Target),
            (b"GET /\xc3\xbc HTTP/1.1\r\n", Flaw::Target),
            (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 3\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Length),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", Flaw::Framing),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", Flaw::Framing),
        ] {
            assert_eq!(seen(&[wire]).0, Some(flaw), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn framing_is_followed_over_bodies_into_the_next_head() {
        let first: &[&[u8]] = &[
            b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nGET /\nno#head\x00\xff",
            b"POST /b HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\nB;x=\"y\"\r\nGET /\nno#h\xff\r\n0\r\nX-Sum: 1\r\n\r\n",
        ];
        for wire in first {
            assert_eq!(
                seen(&[wire]),
                (None, State::RequestLine),
                "{}",
                wire.escape_ascii()
            );
            assert_eq!(seen(&[wire, b"GET / HTTP/1.1\n"]).0, Some(Flaw::Framing));
        }
    }

    #[test]
    fn it_knows_where_a_request_ends() {
        let (flag, whole) = (
            Flag::default(),
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        );
        for cut in 0..=whole.len() {
            let mut watch = Watch::new(flag.clone(), 1024);
            watch.see(&whole[..cut]);
            let ends = cut == 0 || cut == whole.len();
            assert_eq!(watch.is_amid_a_request(), !ends, "{cut}");
        }
        let mut watch = Watch::new(flag.clone(), 1024);
        watch.see(b"GET /\n");
        assert!(watch.is_amid_a_request(), "whatever this was");
    }

    #[test]
    fn an_upgraded_connection_is_left_alone() {
        let flag = Flag::default();
        let mut watch = Watch::new(flag.clone(), 1024);
        flag.release();
        watch.see(b"\x81\x05hello\n");
        assert_eq!(flag.raised(), None);
        assert!(!watch.is_amid_a_request());
    }

    #[test]
    fn memory_for_a_line_is_bounded() {
        let flag = Flag::default();
        let mut watch = Watch::new(flag.clone(), 64);
        for _ in 0..100 {
            watch.see(b"aaaaaaaaaaaaaaaa");
        }
        assert!(watch.line.capacity() <= 128);
        assert_eq!(flag.raised(), Some(Flaw::Framing));
    }

    proptest! {
        /// Where reads end does not change what is seen.
        #[test]
        fn reads_may_end_anywhere(cuts in proptest::collection::vec(1usize..9, 0..80), flawed in any::<bool>()) {
            let end = if flawed { "GET /2 HTTP/1.1\nX: y\r\n\r\n" } else { "GET /2 HTTP/1.1\r\nX: y\r\n\r\n" };
            let wire = format!(
                "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\ncPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb\nc\r\n0\r\n\r\n{end}"
            );
            let mut parts = Vec::new();
            let mut rest = wire.as_bytes();
            for cut in cuts {
                let (part, next) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = next;
            }
            parts.push(rest);
            prop_assert_eq!(seen(&parts).0, flawed.then_some(Flaw::Framing));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = seen(&[&bytes]);
        }
    }
}
