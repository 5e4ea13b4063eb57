//! Which browser a request says that it comes from: `User-Agent`, and `Sec-CH-UA` where it is sent.
//!
//! It is what the client says. Whoever wants to can say anything; this helps those who did not know that their browser
//! is old.
//!
//! *Never*: a guess. What does not say plainly what it is, is unknown. More than `LONGEST` bytes are not read.

use std::fmt;

use http::{HeaderMap, header};

use crate::config::client::BrowserVersion as Version;

/// The longest header that is looked at.
const LONGEST: usize = 1024;
const HINT: &str = "sec-ch-ua";

/// Which browser, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Chrome, and browsers made from Chromium that do not call themselves Edge.
    Chrome,
    /// Edge, made from Chromium.
    Edge,
    /// Firefox.
    Firefox,
    /// Safari.
    Safari,
    /// Internet Explorer; not made any more.
    InternetExplorer,
    /// Edge up to version 18; not made any more.
    EdgeLegacy,
    /// Opera up to version 12; not made any more.
    OperaPresto,
    /// The browser of Android up to version 4; not made any more.
    AndroidBrowser,
}

impl Family {
    /// A stable word for it, in metrics and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Chrome => "chrome",
            Self::Edge => "edge",
            Self::Firefox => "firefox",
            Self::Safari => "safari",
            Self::InternetExplorer => "internet-explorer",
            Self::EdgeLegacy => "edge-legacy",
            Self::OperaPresto => "opera-presto",
            Self::AndroidBrowser => "android-browser",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chrome => "Chrome",
            Self::Edge => "Edge",
            Self::Firefox => "Firefox",
            Self::Safari => "Safari",
            Self::InternetExplorer => "Internet Explorer",
            Self::EdgeLegacy => "Edge Legacy",
            Self::OperaPresto => "Opera",
            Self::AndroidBrowser => "Android Browser",
        }
    }
}

/// A browser with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Browser {
    /// Which.
    pub family: Family,
    /// The version.
    pub version: Version,
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.name(), self.version)
    }
}

/// The browser that a request says it comes from.
#[must_use]
pub fn stated(headers: &HeaderMap) -> Option<Browser> {
    let agent = sole(headers, header::USER_AGENT.as_str()).and_then(of_agent);
    let hint = sole(headers, HINT).and_then(of_hint);
    match (agent, hint) {
        // Of two that differ the older one counts: neither is proof.
        (Some(agent), Some(hint)) if agent.family == hint.family => Some(Browser {
            family: agent.family,
            version: agent.version.min(hint.version),
        }),
        (Some(agent), _) => Some(agent),
        (None, hint) => hint,
    }
}

/// Whether the client calls itself `product`.
#[must_use]
pub fn is_product(headers: &HeaderMap, product: &str) -> bool {
    let Some(agent) = sole(headers, header::USER_AGENT.as_str()) else {
        return false;
    };
    let mut found = false;
    let readable = pieces(agent, |piece| match piece {
        Piece::Product(name, _) => found |= name == product,
        Piece::Remark(_) => {}
    });
    found && readable.is_some()
}

fn sole<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.len() <= LONGEST => value.to_str().ok(),
        (Some(_) | None, _) => None,
    }
}

/// A part of a `User-Agent` (RFC 9110 §10.1.5).
enum Piece<'a> {
    /// `name/version`.
    Product(&'a str, &'a str),
    /// One of the remarks in a comment, which `;` separates.
    Remark(&'a str),
}

/// Hands over every part in turn; nothing where the parentheses do not match.
fn pieces<'a>(agent: &'a str, mut take: impl FnMut(Piece<'a>)) -> Option<()> {
    let mut rest = agent.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('(') {
            let (comment, after) = inner.split_at_checked(closing(inner)?)?;
            for remark in comment.split(';') {
                take(Piece::Remark(remark.trim()));
            }
            rest = after.strip_prefix(')')?;
        } else {
            let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '(');
            let (product, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            let (name, version) = product.split_once('/').unwrap_or((product, ""));
            take(Piece::Product(name, version));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Some(())
}

/// Where the comment ends that `inner` begins in.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, byte) in inner.bytes().enumerate() {
        depth = match byte {
            b'(' => depth.checked_add(1)?,
            b')' => depth.checked_sub(1)?,
            _ => depth,
        };
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// What the parts of a `User-Agent` say, each in its oldest version.
#[derive(Default)]
struct Said {
    chrome: Claim,
    edge: Claim,
    edge_legacy: Claim,
    firefox: Claim,
    explorer: Claim,
    presto: Claim,
    version: Claim,
    safari: Claim,
    android: Claim,
}

/// Whether something is claimed, and of which version.
#[derive(Clone, Copy, Default)]
enum Claim {
    #[default]
    No,
    Unreadable,
    Of(Version),
}

impl Claim {
    fn add(&mut self, version: &str) {
        *self = match (*self, Version::parse(version)) {
            (Self::Unreadable, _) | (_, None) => Self::Unreadable,
            (Self::No, Some(version)) => Self::Of(version),
            (Self::Of(known), Some(version)) => Self::Of(known.min(version)),
        };
    }

    const fn is_made(self) -> bool {
        !matches!(self, Self::No)
    }
}

fn of_agent(agent: &str) -> Option<Browser> {
    let mut said = Said::default();
    pieces(agent, |piece| match piece {
        Piece::Product(name, version) => said.product(name, version),
        Piece::Remark(remark) => said.remark(remark),
    })?;
    said.browser()
}

impl Said {
    fn product(&mut self, name: &str, version: &str) {
        match name {
            "Chrome" | "HeadlessChrome" | "Chromium" | "CriOS" => self.chrome.add(version),
            "Edg" | "EdgA" | "EdgiOS" => self.edge.add(version),
            "Edge" => self.edge_legacy.add(version),
            "Firefox" | "FxiOS" => self.firefox.add(version),
            "Opera" => self.presto.add(version),
            "Version" => self.version.add(version),
            "Safari" => self.safari.add("0"),
            _other => {}
        }
    }

    fn remark(&mut self, remark: &str) {
        if let Some(version) = remark.strip_prefix("MSIE ") {
            self.explorer.add(version);
        } else if remark.starts_with("Trident/") && !self.explorer.is_made() {
            // The last one, which stopped calling itself MSIE.
            self.explorer.add("11");
        } else if remark.starts_with("Android") {
            self.android.add("0");
        }
    }

    /// Those that pass for others come first; Safari, which almost everyone passes for, last.
    fn browser(&self) -> Option<Browser> {
        let last = if self.android.is_made() {
            Family::AndroidBrowser
        } else {
            Family::Safari
        };
        let safari = if self.safari.is_made() {
            self.version
        } else {
            Claim::No
        };
        let claims = [
            (self.explorer, Family::InternetExplorer),
            (self.edge_legacy, Family::EdgeLegacy),
            (self.presto, Family::OperaPresto),
            (self.edge, Family::Edge),
            (self.firefox, Family::Firefox),
            (self.chrome, Family::Chrome),
            (safari, last),
        ];
        let (claim, family) = claims.into_iter().find(|(claim, _)| claim.is_made())?;
        match claim {
            Claim::Of(version) => Some(Browser { family, version }),
            Claim::No | Claim::Unreadable => None,
        }
    }
}

/// `Sec-CH-UA`: a list of `"brand";v="version"` (RFC 8941), some of which are invented to keep readers honest.
fn of_hint(hint: &str) -> Option<Browser> {
    let (mut chrome, mut edge) = (Claim::No, Claim::No);
    let mut rest = hint;
    loop {
        let (brand, after) = quoted(rest.trim_start())?;
        let after = after.trim_start().strip_prefix(";v=")?;
        let (version, after) = quoted(after)?;
        match brand {
            "Chromium" | "Google Chrome" => chrome.add(version),
            "Microsoft Edge" => edge.add(version),
            _other => {}
        }
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(',')?;
    }
    match (edge, chrome) {
        (Claim::Of(version), _) => Some((Family::Edge, version)),
        (Claim::No, Claim::Of(version)) => Some((Family::Chrome, version)),
        (Claim::No | Claim::Unreadable, _) => None,
    }
    .map(|(family, version)| Browser { family, version })
}

/// A quoted string, which no escape may hide the end of, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (inner, after) = text.strip_prefix('"')?.split_once('"')?;
    (!inner.contains('\\')).then_some((inner, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn of(agent: &str) -> Option<String> {
        let browser = stated(&headers(&[("user-agent", agent)]))?;
        Some(format!("{} {}", browser.family.word(), browser.version))
    }

    /// User agents as browsers send them.
    const REAL: &[(&str, &str)] = &[
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
            "chrome 124",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
            "edge 124",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
            "firefox 115",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.4 Safari/605.1.15",
            "safari 16.4",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1",
            "safari 17.4",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/124.0.6367.68 Mobile/15E148 Safari/604.1",
            "chrome 124",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/125.0 Mobile/15E148 Safari/605.1.15",
            "firefox 125",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/124.0.2478.50 Mobile/15E148 Safari/604.1",
            "edge 124",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 EdgA/124.0.0.0",
            "edge 124",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; SM-G960F; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/88.0.4324.93 Mobile Safari/537.36",
            "chrome 88",
        ),
        (
            "Mozilla/5.0 (Linux; U; Android 4.0.3; en-us) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
            "android-browser 4",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36 OPR/109.0.0.0",
            "chrome 123",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36",
            "chrome 156",
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "internet-explorer 11",
        ),
        (
            "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)",
            "internet-explorer 9",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763",
            "edge-legacy 18.17763",
        ),
        (
            "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18",
            "opera-presto 9.80",
        ),
    ];

    #[test]
    fn browsers_are_known_by_what_they_really_send() {
        for (agent, expected) in REAL {
            assert_eq!(of(agent).as_deref(), Some(*expected), "{agent}");
        }
    }

    #[test]
    fn what_is_no_browser_or_does_not_say_plainly_is_unknown() {
        for agent in [
            "",
            "curl/8.5.0",
            "python-requests/2.31.0",
            "Mozilla/5.0",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/W.X.Y.Z Safari/537.36",
            "Mozilla/5.0 (Chrome/124.0.0.0)",
            "Mozilla/5.0 (X11 Chrome/124.0",
            "Chrome/",
            "Chrome/124x",
            "Safari/605.1.15",
        ] {
            assert_eq!(of(agent), None, "{agent}");
        }
        let long = format!("Chrome/124.0 {}", "x".repeat(LONGEST));
        assert_eq!(of(&long), None);
        let two = headers(&[
            ("user-agent", "Chrome/124.0"),
            ("user-agent", "Chrome/99.0"),
        ]);
        assert_eq!(stated(&two), None);
    }

    #[test]
    fn of_two_statements_the_older_counts() {
        let hinted = |agent: &str, hint: &str| {
            stated(&headers(&[("user-agent", agent), ("sec-ch-ua", hint)]))
                .map(|browser| browser.to_string())
        };
        let hint = |version: &str| {
            format!(
                "\"Chromium\";v=\"{version}\", \"Google Chrome\";v=\"{version}\", \"Not-A.Brand\";v=\"99\""
            )
        };
        assert_eq!(
            hinted("Chrome/124.0.0.0", &hint("98")).unwrap(),
            "Chrome 98"
        );
        assert_eq!(
            hinted("Chrome/98.0.0.0", &hint("124")).unwrap(),
            "Chrome 98"
        );
        assert_eq!(hinted("Kiosk/1", &hint("124")).unwrap(), "Chrome 124");
        assert_eq!(hinted("Firefox/115.0", &hint("98")).unwrap(), "Firefox 115");
        let edge = "\"Microsoft Edge\";v=\"124\", \"Chromium\";v=\"123\"";
        assert_eq!(hinted("", edge).unwrap(), "Edge 124");
        for bad in [
            "\"Chromium\"",
            "Chromium;v=\"1\"",
            "\"Chro\\\"mium\";v=\"1\"",
            "\"Chromium\";v=\"1\",",
            "\"Chromium\";v=\"x\"",
        ] {
            assert_eq!(hinted("Kiosk/1", bad), None, "{bad}");
        }
        assert_eq!(of("Chrome/124.0 Chrome/80.0").as_deref(), Some("chrome 80"));
    }

    #[test]
    fn a_product_is_known_by_its_whole_name_outside_of_comments() {
        let is = |agent: &str| is_product(&headers(&[("user-agent", agent)]), "WardKiosk");
        assert!(is("WardKiosk/2.1 (embedded)") && is("Mozilla/5.0 (x) WardKiosk"));
        assert!(!is("WardKiosk2/1") && !is("Mozilla/5.0 (WardKiosk)") && !is("WardKiosk/1 ("));
        assert!(!is_product(&HeaderMap::new(), "WardKiosk"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_in_bounds(agent in "[ -~]{0,200}", hint in "[ -~]{0,100}|(\"[A-Za-z ]{0,9}\";v=\"[0-9.]{0,4}\",? ?){0,4}") {
            let _ = stated(&headers(&[("user-agent", &agent), ("sec-ch-ua", &hint)]));
            let _ = is_product(&headers(&[("user-agent", &agent)]), "X");
        }

        #[test]
        fn the_version_of_a_real_browser_is_read_whatever_it_is(major in 1u16..2000, minor in 0u16..100) {
            let version = Version { major, minor };
            for (agent, family) in [
                (format!("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.{minor}.0.0 Safari/537.36"), Family::Chrome),
                (format!("Mozilla/5.0 (X11; rv:{major}.{minor}) Gecko/20100101 Firefox/{major}.{minor}"), Family::Firefox),
                (format!("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{major}.{minor} Safari/605.1.15"), Family::Safari),
            ] {
                prop_assert_eq!(stated(&headers(&[("user-agent", &agent)])), Some(Browser { family, version }));
            }
        }

        #[test]
        fn more_words_never_make_a_browser_newer(at in 0usize..17, words in "( [A-Za-z]{1,8}/[0-9.]{1,6}){0,3}") {
            let (agent, _) = REAL[at];
            let before = stated(&headers(&[("user-agent", agent)])).unwrap();
            if let Some(after) = stated(&headers(&[("user-agent", &format!("{agent}{words}"))])) {
                prop_assert!(after.family != before.family || after.version <= before.version);
            }
        }
    }
}
