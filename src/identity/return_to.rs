//! Where a sign-in comes back to: a path on this host, or the start page.

use super::routes;
use crate::request::Target;

/// A path and query on the host that the browser is on; never another site, and of the gateway's own
/// paths only those that change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// The longest target that is remembered.
    const MAX_BYTES: usize = 4096;

    /// The start page.
    #[must_use]
    pub fn start() -> Self {
        Self("/".to_owned())
    }

    /// Reads where to return to; anything but a plain path on this host is the start page.
    ///
    /// SECURITY: this value becomes a `Location`. A browser reads `//host`, `/\host` and `/<tab>/host` as another
    /// site, so only what parses as a request target, with no empty first segment, is taken.
    #[must_use]
    pub fn parse(asked: &str) -> Self {
        let taken = (asked.len() <= Self::MAX_BYTES && !asked.starts_with("//"))
            .then(|| Target::parse_str(asked).ok())
            .flatten()
            // SECURITY: a return to sign-out or sign-in would act in the user's name, or turn in a circle.
            .filter(|target| !routes::is_own(target) || routes::may_return_to(target));
        taken.map_or_else(Self::start, |target| Self(target.as_str().to_owned()))
    }

    /// The value for `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Payloads after the lists that broke oauth2-proxy and `mod_auth_openidc`.
    const OPEN_REDIRECTS: &[&str] = &[
        "//evil.example",
        "///evil.example",
        "////evil.example/..",
        "//evil.example:443/x",
        "//user@evil.example",
        "//evil.example?a",
        "//evil.example#a",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/\\/evil.example",
        "//\\evil.example",
        "/\\\\evil.example",
        "\\evil.example",
        "/%5cevil.example",
        "/%5Cevil.example",
        "/%5c%5cevil.example",
        "%5c%5cevil.example",
        "https:evil.example",
        "https:/evil.example",
        "https://evil.example",
        "https:///evil.example",
        "HTTPS://evil.example",
        "http://evil.example",
        "hTTp:evil.example",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "ftp://evil.example",
        "evil.example",
        "www.evil.example/x",
        "@evil.example",
        ".evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "/%0d%0aLocation:%20//evil.example",
        "/\r\nSet-Cookie: x=y",
        "/%0a/evil.example",
        "/%00/evil.example",
        "/\u{0}/evil.example",
        "/./\\evil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/../evil.example",
        "/%2e%2e//evil.example",
        "/%2e//evil.example",
        "/..;//evil.example",
        "/a/../..//evil.example",
        "/\u{3002}evil.example",
        "/\u{2215}/evil.example",
        "/\u{ff0f}/evil.example",
        "/\u{a0}/evil.example",
        "\u{feff}//evil.example",
        "/#//evil.example",
        "?//evil.example",
        "#//evil.example",
        "//%65vil.example",
        "//[::1]/",
        "//127.0.0.1",
        "//0x7f000001",
        "",
        "*",
        "/%ff",
        "/%",
        "/<script>",
        "/.chartgate/logout",
        "/.chartgate/login?return_to=/",
        "/%2echartgate/logout",
        "/.chartgate",
        "/.chartgate/",
        "/.chartgate/break-glass/x",
        "/%2echartgate/break-glass",
    ];

    #[test]
    fn cve_2021_21291_and_others_open_redirects_lead_to_the_start_page() {
        for payload in OPEN_REDIRECTS {
            assert_eq!(ReturnTo::parse(payload).as_str(), "/", "{payload:?}");
        }
        let long = format!("/{}", "a".repeat(ReturnTo::MAX_BYTES));
        assert_eq!(ReturnTo::parse(&long).as_str(), "/");
    }

    /// teleport#4559: an expired deep link ended elsewhere.
    #[test]
    fn teleport_4559_deep_links_are_kept() {
        for path in [
            "/",
            "/chart/4?tab=notes&from=//x",
            "/interface/main.php?set_pid=4",
            "/a//b",
            "/dicom/studies/1%2F2",
            "/p;v=1",
            "/.chartgatex",
            "/J%C3%BCrgen",
            "/.chartgate/break-glass?offer=abc",
        ] {
            assert_eq!(ReturnTo::parse(path).as_str(), path);
        }
    }

    proptest! {
        /// Whatever is asked for, a browser that follows the redirect stays on this host.
        #[test]
        fn the_browser_stays_on_this_host(asked in "[/\\\\.%:@a-f0-9 \t;?#&=]{0,24}|\\PC{0,16}") {
            let base = url::Url::parse("https://emr.example:8443/.chartgate/callback").unwrap();
            let joined = base.join(ReturnTo::parse(&asked).as_str()).unwrap();
            prop_assert_eq!(joined.origin(), base.origin());
            prop_assert!(!joined.path().starts_with("/.chartgate/"));
        }
    }
}
