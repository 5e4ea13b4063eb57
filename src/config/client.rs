//! `[client]`: what is asked of the browsers and the people in front of them.

use std::fmt;

/// `[client]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Minimum versions of browsers; nothing is asked of them without.
    pub browsers: Option<Browsers>,
    /// What everyone reads before they sign in.
    pub sign_in_banner: Option<SignInBanner>,
}

/// Minimum versions. `[client.browsers]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browsers {
    /// Chrome, and browsers made from Chromium.
    pub chrome: Option<BrowserVersion>,
    /// Edge.
    pub edge: Option<BrowserVersion>,
    /// Firefox.
    pub firefox: Option<BrowserVersion>,
    /// Safari.
    pub safari: Option<BrowserVersion>,
    /// What happens below. Default: the reader is warned.
    pub below: Reaction,
    /// What happens to what is no known browser. Default: nothing.
    pub unknown: Reaction,
    /// Product names of clients that are not judged.
    pub exempt: Vec<String>,
}

/// What happens to a browser that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Allow,
    /// The EMR's pages say so.
    Warn,
    /// It is refused (`CG-1020`).
    Refuse,
}

/// A browser's version, as far as minimums go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrowserVersion {
    /// The number before the point.
    pub major: u16,
    /// The number after it.
    pub minor: u16,
}

impl BrowserVersion {
    /// Reads `120`, `16.4` or `120.0.6099.71`; what follows the second number does not count.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|digits| {
            let fits =
                (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| fits)
        });
        Some(Self {
            major: numbers.next()??,
            minor: numbers.next().unwrap_or(Some(0))?,
        })
    }
}

impl fmt::Display for BrowserVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minor == 0 {
            self.major.fmt(f)
        } else {
            write!(f, "{}.{}", self.major, self.minor)
        }
    }
}

/// The notice before sign-in (NIST SP 800-53 AC-8). `[client.sign_in_banner]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInBanner {
    /// Its text; an empty line ends a paragraph.
    pub text: String,
    /// Who reads it.
    pub show_to: Readers,
}

/// Who reads the notice before sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Whoever signs in.
    Everyone,
    /// Who signs in with a browser that says that it is one; scripts that sign in pass by.
    Browsers,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        let read = |text: &str| BrowserVersion::parse(text).unwrap();
        assert!(read("9") < read("10") && read("16.4") < read("16.10"));
        assert_eq!(read("120.0.6099.71"), read("120"));
        assert_eq!(read("16.4").to_string(), "16.4");
        assert_eq!(read("120.0").to_string(), "120");
        for text in [
            "", "W.X.Y.Z", "16.", ".4", "-1", "+1", "123456", "1.x", "70000", " 1",
        ] {
            assert_eq!(BrowserVersion::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(major: u16, minor: u16) {
            let version = BrowserVersion { major, minor };
            prop_assert_eq!(BrowserVersion::parse(&version.to_string()), Some(version));
        }

        #[test]
        fn any_text_is_a_version_or_none(text in "\\PC{0,20}") {
            let _ = BrowserVersion::parse(&text);
        }
    }
}
