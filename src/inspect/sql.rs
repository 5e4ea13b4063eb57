//! Second looks at what matched as SQL: whether the quote before it ends a text of the EMR's.

use regex::bytes::Match;

/// Whether the match begins with a quote that closes a text which the EMR opened.
///
/// The EMR puts a value between quotes, so the first quote of its kind in it closes the text, the second opens one,
/// and so on: an odd one breaks out. `'ok' and 'fine'` does not. A backslash before it makes counting void.
pub(super) fn breaks_out(value: &[u8], found: &Match<'_>) -> bool {
    let Some(quote) = found.as_bytes().first().copied() else {
        return false;
    };
    let Some(before) = value.get(..found.start()) else {
        return true;
    };
    if !matches!(quote, b'\'' | b'"' | b'`') {
        return true;
    }
    if memchr::memchr(b'\\', before).is_some() {
        return true;
    }
    memchr::memchr_iter(quote, before).count().is_multiple_of(2)
}
