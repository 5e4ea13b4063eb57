//! The request target in canonical form: the only spelling that policy, record and EMR see.
//!
//! *Never*: cleaning. A target that has more than one reading is refused, not repaired; the bytes that were
//! decided on are the bytes that are forwarded.
//! *On failure*: [`TargetError`], answered as `CG-1001`.

use std::fmt;

use http::Uri;
use percent_encoding::percent_decode;

/// A request target with exactly one reading.
///
/// `Debug` hides the query, which may name patients.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    raw: String,
    path_len: usize,
    segments: Vec<String>,
    ambiguities: Vec<Ambiguity>,
}

/// A form that some back ends read differently; allowed only where a profile's route says so.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Ambiguity {
    /// `%2F` inside a segment.
    EncodedSlash,
    /// `;` (path parameters of servlet containers), plain or encoded.
    Semicolon,
    /// An empty segment (`//`).
    EmptySegment,
    /// `%25` that leaves another percent escape after decoding.
    DoubleEncoding,
    /// A percent sign in the query that starts no escape.
    LoosePercent,
}

/// Why a target has no single reading under any profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not in origin form (`/path?query`).
    #[error("the target is not a path")]
    NotOriginForm,
    /// A byte outside printable ASCII, or a character that RFC 3986 does not allow there.
    #[error("the target holds a byte that must be percent-encoded")]
    ForbiddenByte,
    /// A percent escape without two hexadecimal digits.
    #[error("the target holds a broken percent escape")]
    BrokenEscape,
    /// A `.` or `..` segment, in any spelling.
    #[error("the target holds a dot segment")]
    DotSegment,
    /// A backslash or control character, in any spelling.
    #[error("the target holds a backslash or control character")]
    ControlCharacter,
    /// Escapes that do not decode to UTF-8.
    #[error("the target does not decode to UTF-8")]
    NotUtf8,
    /// Longer than [`Target::MAX_BYTES`].
    #[error("the target is too long")]
    TooLong,
}

impl Target {
    /// The longest target that is read, in bytes (RFC 9112 §3 asks for at least 8000).
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Reads the target of a request in origin form.
    ///
    /// # Errors
    /// [`TargetError`] when the target has no single reading under any profile.
    pub fn parse(uri: &Uri) -> Result<Self, TargetError> {
        let raw = uri
            .path_and_query()
            .ok_or(TargetError::NotOriginForm)?
            .as_str();
        Self::parse_str(raw)
    }

    /// Reads a target as it stands in a request line.
    ///
    /// # Errors
    /// [`TargetError`] when the target has no single reading under any profile.
    pub fn parse_str(raw: &str) -> Result<Self, TargetError> {
        if raw.len() > Self::MAX_BYTES {
            return Err(TargetError::TooLong);
        }
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let inner = path.strip_prefix('/').ok_or(TargetError::NotOriginForm)?;
        let mut ambiguities = Vec::new();
        let mut segments = Vec::new();
        let mut rest = inner.split('/').peekable();
        while let Some(segment) = rest.next() {
            // A trailing slash leaves one empty segment at the end, which is not an ambiguity.
            if segment.is_empty() && rest.peek().is_some() {
                ambiguities.push(Ambiguity::EmptySegment);
            }
            segments.push(decode_segment(segment, &mut ambiguities)?);
        }
        check_query(query, &mut ambiguities)?;
        ambiguities.sort_unstable();
        ambiguities.dedup();
        Ok(Self {
            path_len: path.len(),
            raw: raw.to_owned(),
            segments,
            ambiguities,
        })
    }

    /// Path and query exactly as they are forwarded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The path exactly as it is forwarded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.raw
            .split_at_checked(self.path_len)
            .map_or("", |(path, _)| path)
    }

    /// The query exactly as it is forwarded, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.raw
            .split_at_checked(self.path_len)
            .and_then(|(_, rest)| rest.strip_prefix('?'))
    }

    /// The decoded path segments. `/` is one empty segment; a trailing slash adds one.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.segments.iter().map(String::as_str)
    }

    /// The decoded fields of the query, in order (`application/x-www-form-urlencoded`).
    pub fn fields(&self) -> impl Iterator<Item = (String, String)> {
        form_urlencoded::parse(self.query().unwrap_or("").as_bytes()).into_owned()
    }

    /// The forms in it that need a profile's permission.
    #[must_use]
    pub fn ambiguities(&self) -> &[Ambiguity] {
        &self.ambiguities
    }

    /// Whether every ambiguous form in it is among `allowed`.
    #[must_use]
    pub fn is_plain_for(&self, allowed: &[Ambiguity]) -> bool {
        self.ambiguities.iter().all(|form| allowed.contains(form))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.path()).finish()
    }
}

fn decode_segment(segment: &str, found: &mut Vec<Ambiguity>) -> Result<String, TargetError> {
    check_escapes(segment)
        .then_some(())
        .ok_or(TargetError::BrokenEscape)?;
    if !segment.bytes().all(is_path_byte) {
        return Err(if segment.contains('\\') {
            TargetError::ControlCharacter
        } else {
            TargetError::ForbiddenByte
        });
    }
    let decoded = percent_decode(segment.as_bytes())
        .decode_utf8()
        .ok()
        .ok_or(TargetError::NotUtf8)?
        .into_owned();
    // SECURITY: `..;` and `..%3b` are dot segments to servlet containers.
    let before_parameters = decoded.split(';').next().unwrap_or("");
    if matches!(before_parameters.trim(), "." | "..") {
        return Err(TargetError::DotSegment);
    }
    for c in decoded.chars() {
        match c {
            '\\' => return Err(TargetError::ControlCharacter),
            c if c.is_control() => return Err(TargetError::ControlCharacter),
            '/' => found.push(Ambiguity::EncodedSlash),
            ';' => found.push(Ambiguity::Semicolon),
            _ => {}
        }
    }
    // SECURITY: an encoded slash may hide a dot segment from us that the back end sees.
    if decoded.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(TargetError::DotSegment);
    }
    if holds_escape(&decoded) {
        found.push(Ambiguity::DoubleEncoding);
        // SECURITY: even where double encoding is allowed, what it hides may not be a dot segment or control.
        let twice = percent_decode(decoded.as_bytes())
            .decode_utf8_lossy()
            .into_owned();
        if twice.contains("..") || twice.contains('\\') || twice.chars().any(char::is_control) {
            return Err(TargetError::DotSegment);
        }
    }
    Ok(decoded)
}

fn check_query(query: &str, found: &mut Vec<Ambiguity>) -> Result<(), TargetError> {
    if !query.bytes().all(is_query_byte) {
        return Err(TargetError::ForbiddenByte);
    }
    if !check_escapes(query) {
        found.push(Ambiguity::LoosePercent);
    }
    let decoded: Vec<u8> = percent_decode(query.as_bytes()).collect();
    if decoded.contains(&0) {
        return Err(TargetError::ControlCharacter);
    }
    Ok(())
}

/// Printable ASCII without the characters that end a path or that RFC 3986 keeps out of it.
const fn is_path_byte(b: u8) -> bool {
    b.is_ascii_graphic()
        && !matches!(
            b,
            b'\\' | b'#' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// Printable ASCII without what ends a query, what some back ends take for a slash, and what no request line can carry.
const fn is_query_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>')
}

fn check_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(starts_with_hex_pair)
}

fn holds_escape(decoded: &str) -> bool {
    decoded.split('%').skip(1).any(starts_with_hex_pair)
}

fn starts_with_hex_pair(after_percent: &str) -> bool {
    let mut bytes = after_percent.bytes();
    let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
    hex() && hex()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str) -> Result<Target, TargetError> {
        Target::parse_str(raw)
    }

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        for raw in [
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/./a",
            "/a/..;/b",
            "/a/..%3bx/b",
            "/a/%2e%2e%2fb",
            "/a/..",
            "/a/%252e%252e/b",
            "/.. /x",
        ] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn control_characters_backslashes_and_raw_bytes_are_refused() {
        for raw in [
            "/a%00",
            "/a\\b",
            "/a%5cb",
            "/a%0d%0ab",
            "/a?x=%00",
            "/\u{fc}",
            "/a%ff",
            "/a%",
            "/a%2",
            "/a%zz",
            "a/b",
            "*",
            "/a#b",
            "/a%7f",
            "/<x>",
        ] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }

    /// Found by the fuzz target `target`: it was accepted, and then there was no request line to forward it in.
    #[test]
    fn what_no_request_line_can_carry_is_refused() {
        for raw in ["/a?x=<", "/a?x=>", "/a?\"", "/a%2fb;c?x=<%23&y=+%23&y=+"] {
            assert_eq!(parse(raw), Err(TargetError::ForbiddenByte), "{raw}");
        }
        for byte in b' '..=b'~' {
            let raw = format!("/a?x={}", char::from(byte));
            let is_carried = raw.parse::<Uri>().is_ok();
            assert!(is_carried || parse(&raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn forms_that_a_profile_may_allow_are_named() {
        let forms = |raw| parse(raw).unwrap().ambiguities().to_vec();
        assert_eq!(forms("/a%2Fb"), [Ambiguity::EncodedSlash]);
        assert_eq!(forms("/a;jsessionid=1"), [Ambiguity::Semicolon]);
        assert_eq!(forms("/a//b"), [Ambiguity::EmptySegment]);
        assert_eq!(forms("/a%2541"), [Ambiguity::DoubleEncoding]);
        assert_eq!(forms("/a?x=100%"), [Ambiguity::LoosePercent]);
        assert!(forms("/a/b/").is_empty());
    }

    #[test]
    fn segments_are_decoded_once() {
        let target = parse("/patients/J%C3%BCrgen%20X/?q=a+b").unwrap();
        assert_eq!(
            target.segments().collect::<Vec<_>>(),
            ["patients", "Jürgen X", ""]
        );
        assert_eq!(target.fields().next().unwrap(), ("q".into(), "a b".into()));
        assert_eq!(
            format!("{target:?}"),
            "Target(\"/patients/J%C3%BCrgen%20X/\")"
        );
    }

    proptest! {
        /// The target that policy saw equals the target that is forwarded: byte for byte, and read again the same.
        #[test]
        fn what_was_parsed_is_what_is_forwarded(raw in "/[ -~]{0,60}") {
            if let Ok(target) = parse(&raw) {
                prop_assert_eq!(target.as_str(), raw.as_str());
                prop_assert_eq!(parse(target.as_str()).unwrap(), target.clone());
                let uri: Uri = raw.parse().unwrap();
                prop_assert_eq!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), Some(raw.as_str()));
                for segment in target.segments() {
                    prop_assert!(segment != ".." && segment != "." && !segment.contains('\\'));
                    prop_assert!(!segment.contains('/') || target.ambiguities().contains(&Ambiguity::EncodedSlash));
                }
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(raw) = std::str::from_utf8(&bytes) {
                let _ = parse(raw);
            }
        }
    }
}
