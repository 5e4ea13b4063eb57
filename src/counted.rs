//! How many there are of something, in words: `1 segment`, `2 segments`.

use std::fmt;

/// A number and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a, N> {
    number: N,
    /// One of them; the plural ends in `s`.
    one: &'a str,
}

/// So many of something whose plural ends in `s`.
#[must_use]
pub const fn counted<N>(number: N, one: &str) -> Counted<'_, N> {
    Counted { number, one }
}

impl<N: fmt::Display> fmt::Display for Counted<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.to_string();
        let ending = if number == "1" { "" } else { "s" };
        write!(f, "{number} {}{ending}", self.one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_everything_else_is_many() {
        assert_eq!(counted(1_u64, "segment").to_string(), "1 segment");
        assert_eq!(counted(0_usize, "segment").to_string(), "0 segments");
        assert_eq!(counted(11_u64, "segment").to_string(), "11 segments");
    }
}
