//! Minimum versions of browsers.
//!
//! Judged once per page that a person opens, from headers alone. This is hygiene, not a control: a browser is what it
//! says it is.
//!
//! *Owns*: the counts since the start.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

use crate::config;
use crate::config::client::{BrowserVersion, Reaction};
use crate::request::Notice;
use crate::request::browser::{Browser, Family, is_product, stated};
use crate::telemetry::metrics as names;

/// What follows from the browser that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Accepted,
    /// Its reader is told.
    Warned(Notice),
    /// It goes no further.
    Refused(Notice),
}

/// The minimum versions in force.
#[derive(Debug)]
pub struct Browsers {
    settings: config::client::Browsers,
    accepted: Arc<str>,
    warned: AtomicU64,
    refused: AtomicU64,
}

impl Browsers {
    /// Judges by `settings`.
    #[must_use]
    pub fn new(settings: config::client::Browsers) -> Self {
        Self {
            accepted: accepted(&settings).into(),
            settings,
            warned: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The minimum versions in words.
    #[must_use]
    pub fn accepted(&self) -> &str {
        &self.accepted
    }

    /// What happens below.
    #[must_use]
    pub const fn below(&self) -> Reaction {
        self.settings.below
    }

    /// Pages that were opened with a warning, and those that were refused, since the start.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.warned), count(&self.refused))
    }

    pub(super) fn judge(&self, headers: &HeaderMap) -> Verdict {
        let browser = stated(headers);
        let word = browser.map_or("unknown", |browser| browser.family.word());
        let mut exempt = self.settings.exempt.iter();
        if exempt.any(|product| is_product(headers, product)) {
            metrics::counter!(names::BROWSERS, "browser" => word, "verdict" => "exempt")
                .increment(1);
            return Verdict::Accepted;
        }
        let (reaction, notice) = self.react(browser);
        let verdict = match reaction {
            Reaction::Allow => "accepted",
            Reaction::Warn => {
                self.warned.fetch_add(1, Ordering::Relaxed);
                "warned"
            }
            Reaction::Refuse => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                "refused"
            }
        };
        metrics::counter!(names::BROWSERS, "browser" => word, "verdict" => verdict).increment(1);
        match (reaction, notice) {
            (Reaction::Warn, Some(notice)) => Verdict::Warned(notice),
            (Reaction::Refuse, Some(notice)) => Verdict::Refused(notice),
            (Reaction::Allow | Reaction::Warn | Reaction::Refuse, _) => Verdict::Accepted,
        }
    }

    fn react(&self, browser: Option<Browser>) -> (Reaction, Option<Notice>) {
        let accepted = || Arc::clone(&self.accepted);
        match browser {
            None => (
                self.settings.unknown,
                Some(Notice::UnknownBrowser {
                    accepted: accepted(),
                }),
            ),
            Some(browser) if self.is_current(browser) => (Reaction::Allow, None),
            Some(browser) => (
                self.settings.below,
                Some(Notice::OldBrowser {
                    browser,
                    accepted: accepted(),
                }),
            ),
        }
    }

    fn is_current(&self, browser: Browser) -> bool {
        let minimum = match browser.family {
            Family::Chrome => self.settings.chrome,
            Family::Edge => self.settings.edge,
            Family::Firefox => self.settings.firefox,
            Family::Safari => self.settings.safari,
            // No version of them gets any repair.
            Family::InternetExplorer
            | Family::EdgeLegacy
            | Family::OperaPresto
            | Family::AndroidBrowser => return false,
        };
        minimum.is_none_or(|minimum| browser.version >= minimum)
    }
}

fn accepted(settings: &config::client::Browsers) -> String {
    let mut text = String::new();
    let named = [
        (Family::Chrome, settings.chrome),
        (Family::Edge, settings.edge),
        (Family::Firefox, settings.firefox),
        (Family::Safari, settings.safari),
    ];
    let written = |(family, minimum): (Family, Option<BrowserVersion>)| {
        minimum.map(|minimum| (family.name(), minimum))
    };
    for (name, minimum) in named.into_iter().filter_map(written) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name} {minimum}");
    }
    if text.is_empty() {
        text.push_str("any browser that is still made");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn settings() -> config::client::Browsers {
        let version = |text| BrowserVersion::parse(text);
        config::client::Browsers {
            chrome: version("120"),
            edge: None,
            firefox: version("115"),
            safari: version("16.4"),
            below: Reaction::Refuse,
            unknown: Reaction::Warn,
            exempt: vec!["WardKiosk".to_owned()],
        }
    }

    fn judge(browsers: &Browsers, agent: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_str(agent).unwrap());
        match browsers.judge(&headers) {
            Verdict::Accepted => "accepted",
            Verdict::Warned(_) => "warned",
            Verdict::Refused(_) => "refused",
        }
    }

    #[test]
    fn each_browser_is_judged_by_its_own_minimum() {
        let browsers = Browsers::new(settings());
        for (agent, verdict) in [
            ("Chrome/120.0 Safari/537.36", "accepted"),
            ("Chrome/119.0 Safari/537.36", "refused"),
            ("Chrome/80.0 Edg/80.0", "accepted"),
            ("Firefox/114.9", "refused"),
            ("Version/16.3 Safari/605.1", "refused"),
            ("Version/16.10 Safari/605.1", "accepted"),
            ("Chrome/200.0 Edge/18.0", "refused"),
            ("Mozilla/5.0 (Trident/7.0)", "refused"),
            ("curl/8", "warned"),
            ("WardKiosk/1 Chrome/60.0", "accepted"),
        ] {
            assert_eq!(judge(&browsers, agent), verdict, "{agent}");
        }
        assert_eq!(browsers.counts(), (1, 5));
        assert_eq!(browsers.accepted(), "Chrome 120, Firefox 115, Safari 16.4");
    }

    #[test]
    fn what_is_said_names_the_browser_and_what_would_do() {
        let browsers = Browsers::new(settings());
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("Firefox/78.0"));
        let Verdict::Refused(Notice::OldBrowser { browser, accepted }) = browsers.judge(&headers)
        else {
            panic!("an old browser is refused");
        };
        assert_eq!(browser.to_string(), "Firefox 78");
        assert!(accepted.contains("Firefox 115"));
    }

    proptest! {
        #[test]
        fn a_newer_version_is_never_judged_harder(one in 1u16..300, other in 1u16..300) {
            let browsers = Browsers::new(settings());
            let (low, high) = (one.min(other), one.max(other));
            let low = judge(&browsers, &format!("Chrome/{low}.0"));
            let high = judge(&browsers, &format!("Chrome/{high}.0"));
            prop_assert!(low == high || (low == "refused" && high == "accepted"));
        }
    }
}
