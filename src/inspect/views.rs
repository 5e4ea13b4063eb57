//! A value as back ends may come to see it: as it is, decoded once more, with comments and full-width letters folded.
//!
//! Each view is at most as long as the value, and there are at most five. A value that none of this changes has one.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::rules::Rule;

/// One reading of a value.
#[derive(Debug)]
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it is, or decoded once more.
    Text,
    /// With character references of HTML resolved, as in an attribute.
    Attribute,
}

impl View<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the rule is about this reading. Text with `&#60;` is text when it is shown; only a scheme in an
    /// attribute is read with its references resolved.
    pub(super) fn shows(&self, rule: &Rule) -> bool {
        self.kind == Kind::Text || rule.in_attributes
    }
}

/// The readings of a value.
pub(super) struct Views<'a>(std::iter::Flatten<std::array::IntoIter<Option<View<'a>>, 5>>);

impl<'a> Views<'a> {
    pub(super) fn of(value: &'a [u8]) -> Self {
        let text = |bytes: Cow<'a, [u8]>| View {
            bytes,
            kind: Kind::Text,
        };
        let again = decoded(value);
        let folded = fold(value).map(Cow::Owned);
        let again_folded = again.as_deref().and_then(fold).map(Cow::Owned);
        let attribute = resolved(again.as_deref().unwrap_or(value)).map(|bytes| View {
            bytes: Cow::Owned(bytes),
            kind: Kind::Attribute,
        });
        Self(
            [
                Some(text(Cow::Borrowed(value))),
                folded.map(text),
                again.map(Cow::Owned).map(text),
                again_folded.map(text),
                attribute,
            ]
            .into_iter()
            .flatten(),
        )
    }
}

impl<'a> Iterator for Views<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Decoded once more, where that changes something. What it leaves is looked for by the rules themselves.
fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', value)?;
    let decoded: Vec<u8> = percent_decode(value).collect();
    (decoded != value).then_some(decoded)
}

/// Comments of SQL become spaces (the content of `/*! */` counts), full-width letters and signs become ASCII.
fn fold(value: &[u8]) -> Option<Vec<u8>> {
    let commented = memchr::memmem::find(value, b"/*").is_some();
    let is_wide = memchr::memchr(0xef, value).is_some();
    if !commented && !is_wide {
        return None;
    }
    let mut folded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        if let Some(inside) = rest.strip_prefix(b"/*".as_slice()) {
            folded.push(b' ');
            rest = if let Some(counts) = inside.strip_prefix(b"!") {
                let digits = counts.iter().take_while(|b| b.is_ascii_digit()).count();
                counts.get(digits..).unwrap_or_default()
            } else if let Some(end) = memchr::memmem::find(inside, b"*/") {
                inside.get(end.saturating_add(2)..).unwrap_or_default()
            } else {
                // An open comment swallows what the EMR appends; its mark stays for the rules.
                folded.extend_from_slice(b"/*");
                inside
            };
        } else if let Some(after) = rest.strip_prefix(b"*/".as_slice()) {
            folded.push(b' ');
            rest = after;
        } else if let Some((ascii, after)) = narrow(rest) {
            folded.push(ascii);
            rest = after;
        } else {
            folded.push(*first);
            rest = after;
        }
    }
    (folded != value).then_some(folded)
}

/// U+FF01 to U+FF5E are `!` to `~`, full width: some back ends and databases take them for these.
fn narrow(text: &[u8]) -> Option<(u8, &[u8])> {
    let (ascii, after) = match text {
        [0xef, 0xbc, low @ 0x81..=0xbf, after @ ..] => (low.checked_sub(0x60)?, after),
        [0xef, 0xbd, low @ 0x80..=0x9e, after @ ..] => (low.checked_sub(0x20)?, after),
        _ => return None,
    };
    Some((ascii, after))
}

/// The longest character reference that is resolved.
const MOST_REFERENCE: usize = 12;

/// Character references of HTML resolved, control characters left out, as an attribute with an address is read.
fn resolved(value: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'&', value)?;
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        if let Some((byte, behind)) = reference(rest) {
            out.push(byte);
            rest = behind;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    (out != value).then_some(out)
}

fn reference(text: &[u8]) -> Option<(u8, &[u8])> {
    let inside = text.strip_prefix(b"&")?;
    let known: [(&[u8], u8); 4] = [
        (b"colon;", b':'),
        (b"Tab;", b'\t'),
        (b"NewLine;", b'\n'),
        (b"lpar;", b'('),
    ];
    for (name, byte) in known {
        if let Some(after) = inside.strip_prefix(name) {
            return Some((byte, after));
        }
    }
    let number = inside.strip_prefix(b"#")?;
    let (digits, radix) = match number.split_first() {
        Some((b'x' | b'X', hex)) => (hex, 16),
        Some(_) | None => (number, 10),
    };
    let length = digits
        .iter()
        .take(MOST_REFERENCE)
        .take_while(|b| char::from(**b).is_digit(radix))
        .count();
    let (figures, after) = digits.split_at_checked(length)?;
    let code = u32::from_str_radix(std::str::from_utf8(figures).ok()?, radix).ok()?;
    let byte = u8::try_from(code).ok().filter(u8::is_ascii)?;
    Some((byte, after.strip_prefix(b";").unwrap_or(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold(text.as_bytes()).map_or_else(
            || text.to_owned(),
            |bytes| String::from_utf8(bytes).unwrap(),
        )
    }

    #[test]
    fn comments_and_full_width_letters_fold() {
        assert_eq!(folded("un/**/ion/*x*/select"), "un ion select");
        assert_eq!(folded("/*!50000union*/ select"), " union  select");
        assert_eq!(folded("a'/*"), "a' /*");
        assert_eq!(
            folded("\u{ff07} \u{ff2f}\u{ff32} \u{ff11}\u{ff1d}\u{ff11}"),
            "' OR 1=1"
        );
        assert_eq!(folded("\u{ff5e}\u{ff41}"), "~a");
        assert_eq!(fold("плечо 1/2".as_bytes()), None);
    }

    #[test]
    fn references_resolve_as_in_an_attribute() {
        let text =
            |value: &str| resolved(value.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(
            text("&#106;ava&#x73;cript&colon;x").unwrap(),
            "javascript:x"
        );
        assert_eq!(text("a & b &amp; &#; &#x; &#99999999;"), None);
    }

    #[test]
    fn a_plain_value_has_one_reading() {
        assert_eq!(Views::of(b"O'Brien").count(), 1);
        assert_eq!(Views::of(b"50%25").count(), 2);
        assert!(Views::of(b"%2f*/**/\xef\xbc\x87&#58;").count() <= 5);
    }
}
