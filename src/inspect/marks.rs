//! Which bytes a value holds, told in one pass: most values can be no attack, and nothing more is done about them.

use super::Scope;

/// Letters and digits and what stands between them in names, numbers, dates and codes.
const PLAIN: u8 = 0;
/// What every attack that is looked for holds at least one of.
const SHARP: u8 = 1;
/// White space: keywords of SQL and arguments of commands stand apart.
const SPACE: u8 = 2;
/// `.`: two of them side by side are one directory up.
const DOT: u8 = 4;
/// `-`: two of them side by side are a comment in SQL.
const DASH: u8 = 8;
/// `:` behind a scheme.
const COLON: u8 = 16;
/// `/`, between directories.
const SLASH: u8 = 32;
/// Letters.
const LETTER: u8 = 64;
/// `@`: two of them side by side are a variable of a database.
const AT: u8 = 128;

const TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [SHARP; 256];
    let mut byte: u8 = 0;
    loop {
        let mark = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            // Letters beyond ASCII are plain; full-width forms (EF BC, EF BD) fold to ASCII, so their first byte is sharp.
            0x80..=0xee
            | 0xf0..=0xff
            | b'0'..=b'9'
            | b'_'
            | b','
            | b'+'
            | b'*'
            | b'?'
            | b'!'
            | b'~'
            | b'^' => PLAIN,
            b' ' | b'\t' => SPACE,
            b'.' => DOT,
            b'-' => DASH,
            b':' => COLON,
            b'/' => SLASH,
            b'@' => AT,
            _ => SHARP,
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "a byte is a position in a table of 256"
        )]
        {
            table[byte as usize] = mark;
        }
        if byte == u8::MAX {
            return table;
        }
        #[expect(
            clippy::arithmetic_side_effects,
            reason = "the loop ends at the greatest byte"
        )]
        {
            byte += 1;
        }
    }
}

/// Whether the value could be an attack at all.
pub(super) fn could_be(value: &[u8], scope: Scope) -> bool {
    if scope == Scope::Lookups {
        return memchr::memchr3(b'$', b'%', b'{', value).is_some();
    }
    let mut seen = PLAIN;
    let mut twice = PLAIN;
    let mut last = PLAIN;
    for byte in value {
        let mark = TABLE.get(usize::from(*byte)).copied().unwrap_or(SHARP);
        twice |= mark & last;
        last = mark;
        seen |= mark;
    }
    let has = |marks: u8| seen & marks == marks;
    has(SHARP)
        || has(SPACE | LETTER)
        || has(COLON | LETTER)
        || has(SLASH | LETTER)
        || twice & (DOT | DASH | AT) != PLAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_dates_and_codes_are_plain() {
        for value in [
            "",
            "4",
            "smith",
            "Müller",
            "2026-11-25",
            "10:30",
            "1/52",
            "+49-30-1234",
            "a.berg",
            "a.berg@example",
            "J45.9",
            "1.2.840.10008.1",
            "*",
            "渡辺",
        ] {
            assert!(!could_be(value.as_bytes(), Scope::All), "{value}");
        }
        for value in [
            "O'Brien",
            "a b",
            "javascript:x",
            "..",
            "1--",
            "etc/passwd",
            "\u{ff07}",
            "a\0",
            "a=b",
        ] {
            assert!(could_be(value.as_bytes(), Scope::All), "{value}");
        }
    }

    #[test]
    fn of_a_header_only_what_a_lookup_needs_counts() {
        let agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert!(!could_be(agent, Scope::Lookups));
        assert!(could_be(b"${jndi:ldap://x}", Scope::Lookups));
    }
}
