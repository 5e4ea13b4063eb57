//! A key or a value of a JSON document, as far as it is kept.

use super::LONGEST;

/// What was read of it.
#[derive(Debug, Default)]
pub(super) struct Scalar {
    bytes: Vec<u8>,
    kept: bool,
    too_long: bool,
    /// The first half of a character that is written in two `\uXXXX`.
    high: Option<u16>,
}

impl Scalar {
    /// The next one; its text is dropped unless it is `kept`.
    pub(super) fn begin(&mut self, kept: bool) {
        self.bytes.clear();
        self.kept = kept;
        self.too_long = false;
        self.high = None;
    }

    pub(super) fn push_all(&mut self, run: &[u8]) {
        if !self.kept || run.is_empty() {
            return;
        }
        self.settle();
        if self.bytes.len().saturating_add(run.len()) > LONGEST {
            self.too_long = true;
        } else {
            self.bytes.extend_from_slice(run);
        }
    }

    /// One `\uXXXX`: a character, or half of one (RFC 8259 §7).
    pub(super) fn push_unit(&mut self, unit: u16) {
        match (self.high, unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.high = None;
                let pair = char::decode_utf16([high, unit]).next();
                self.push(pair.and_then(Result::ok));
            }
            (_, 0xd800..=0xdbff) => {
                self.settle();
                self.high = Some(unit);
            }
            (_, _) => self.push(char::from_u32(u32::from(unit))),
        }
    }

    fn push(&mut self, c: Option<char>) {
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.push_all(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// A half that stayed one.
    pub(super) fn settle(&mut self) {
        if self.high.take().is_some() {
            self.push(None);
        }
    }

    /// The text; none where it is too long, or none.
    pub(super) fn text(&self) -> Option<&str> {
        (!self.too_long)
            .then(|| std::str::from_utf8(&self.bytes).ok())
            .flatten()
    }
}
