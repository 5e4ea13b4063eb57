//! Which kind of device a request says that it comes from, in a few fixed words.
//!
//! It is what the client says; see [`super::browser`]. *Never*: a text of the client's own.

use std::fmt;

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::browser::stated;

/// The longest header that is looked at.
const LONGEST: usize = 1024;
/// What does not say what it is.
const UNKNOWN: &str = "unknown";

/// What a `User-Agent` says of the system, and what people call it. The first that occurs counts.
const PLATFORMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// A browser on a kind of system, without versions, which updates change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The browser; `unknown` where it does not say.
    pub browser: String,
    /// The system; `unknown` where it does not say.
    pub platform: String,
}

impl Device {
    /// What a request says that it comes from.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let browser = stated(headers).map_or(UNKNOWN, |browser| browser.family.name());
        let agent = headers
            .get(header::USER_AGENT)
            .filter(|agent| agent.len() <= LONGEST)
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default();
        let platform = PLATFORMS
            .iter()
            .find(|(mark, _)| agent.contains(mark))
            .map_or(UNKNOWN, |(_, name)| name);
        Self {
            browser: browser.to_owned(),
            platform: platform.to_owned(),
        }
    }
}

impl Default for Device {
    fn default() -> Self {
        Self {
            browser: UNKNOWN.to_owned(),
            platform: UNKNOWN.to_owned(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.browser.as_str(), self.platform.as_str()) {
            (UNKNOWN, UNKNOWN) => f.write_str("unknown device"),
            (UNKNOWN, platform) => f.write_str(platform),
            (browser, UNKNOWN) => f.write_str(browser),
            (browser, platform) => write!(f, "{browser} on {platform}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, agent.parse().unwrap());
        Device::of(&headers).to_string()
    }

    #[test]
    fn devices_are_named_in_fixed_words() {
        for (agent, named) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
                "Firefox on Linux",
            ),
            ("curl/8.1", "unknown device"),
            ("<script>Windows", "Windows"),
        ] {
            assert_eq!(of(agent), named);
        }
        assert_eq!(Device::of(&HeaderMap::new()), Device::default());
    }

    #[test]
    fn an_update_changes_nothing() {
        let agent = |version: &str| {
            let mut headers = HeaderMap::new();
            let text = format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version} Safari/537.36"
            );
            headers.insert(header::USER_AGENT, text.parse().unwrap());
            Device::of(&headers)
        };
        assert_eq!(agent("124.0.0.0"), agent("125.0.1.2"));
    }
}
