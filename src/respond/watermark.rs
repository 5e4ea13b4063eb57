//! The watermark on the EMR's own pages: who opened it, when, and under which request.
//!
//! A line in the page, of plain elements and presentational attributes, stands whatever the EMR's policies forbid, on
//! the screen and on paper. Over the page lies the same text again and again, by a style sheet in the page; the page's
//! policy is made to let that one style sheet pass, by its hash. Where it does not (a policy in a `meta` element), the
//! pattern stays hidden and the line alone marks the page.
//!
//! *Never*: a script; a policy of the EMR that becomes weaker for anything but this one style sheet.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderMap;
use jiff::tz::TimeZone;

use super::csp::{self, Directives};
use super::notices::escaped;
use crate::request::Watermark;

/// How often the text stands in the pattern.
const TIMES: usize = 60;

/// What lays the pattern over the page. Whatever the page's own style sheets say of any element, this counts.
const STYLE: &str = "[data-chartgate=watermark]{all:initial!important;display:flex!important;flex-wrap:wrap!important;align-content:space-around!important;justify-content:space-around!important;gap:3em 4em!important;position:fixed!important;inset:-30%!important;overflow:hidden!important;transform:rotate(-24deg)!important;z-index:2147483646!important;pointer-events:none!important;opacity:.3!important;color:#777!important;font:600 14px/1.5 sans-serif!important;-webkit-print-color-adjust:exact!important;print-color-adjust:exact!important;user-select:none!important}[data-chartgate=watermark] b{all:unset!important;white-space:nowrap!important}";

/// Directives for style sheets, the one that counts first (CSP Level 3 §6.8.3).
const STYLES: Directives = Directives {
    names: &["style-src-elem", "style-src", "default-src"],
    own: "style-src",
};

/// The markup of a watermark.
pub(super) fn markup(watermark: &Watermark) -> String {
    let at = watermark.at.to_zoned(TimeZone::system());
    let at = at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    let text = escaped(&format!(
        "{} · {at} · {}",
        watermark.user, watermark.request
    ));
    let mut html = format!(
        "<table role=\"presentation\" data-chartgate=\"watermark-line\" width=\"100%\" cellpadding=\"4\" bgcolor=\"#eeeeee\"><tr><td><font color=\"#333333\" size=\"2\">Shown to {text}</font></td></tr></table><style>{STYLE}</style><div data-chartgate=\"watermark\" aria-hidden=\"true\" hidden>"
    );
    for _ in 0..TIMES {
        let _ = write!(html, "<b>{text}</b>");
    }
    html.push_str("</div>");
    html
}

/// Lets the page's policies apply the style sheet, where they do not yet.
pub(super) fn admit(headers: &mut HeaderMap) {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let source = format!("'sha256-{hash}'");
    csp::amend(headers, |policy| {
        csp::with(policy, STYLES, &source, lets_inline_pass)
    });
}

/// Whether a directive with these sources lets every style sheet in the page pass. A hash beside `'unsafe-inline'` would
/// take that back, and the page's own style sheets with it.
fn lets_inline_pass(stated: &[&str]) -> bool {
    let is = |start: &str| {
        stated
            .iter()
            .any(|source| source.to_ascii_lowercase().starts_with(start))
    };
    is("'unsafe-inline'") && !is("'nonce-") && !is("'sha")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_SECURITY_POLICY;

    fn admitted(policy: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_SECURITY_POLICY, policy.parse().unwrap());
        admit(&mut headers);
        headers[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_text_cannot_become_markup_and_stands_in_line_and_pattern() {
        let html = markup(&Watermark {
            user: "<b>\u{d6}kafor & \"Co\"".to_owned(),
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
            request: "0190-1".to_owned(),
        });
        let text = "&lt;b&gt;&#214;kafor &amp; &quot;Co&quot; &#183; 2026-11-22 ";
        assert_eq!(html.matches(text).count(), TIMES + 1, "{html}");
        assert!(html.is_ascii() && html.contains(" &#183; 0190-1</b>"));
        assert!(!html.contains("<script") && !html.contains("style=\""));
        assert!(html.len() < 8 * 1024, "{}", html.len());
    }

    #[test]
    fn policies_let_this_style_sheet_pass_and_no_other() {
        for open in [
            "style-src 'unsafe-inline'",
            "script-src 'self'",
            "default-src 'unsafe-inline' *",
        ] {
            assert_eq!(admitted(open), open);
        }
        let hash = "'sha256-";
        for (policy, start) in [
            ("style-src 'self'", "style-src 'self' 'sha256-"),
            ("style-src 'none'", "style-src 'sha256-"),
            (
                "style-src 'nonce-a' 'unsafe-inline'",
                "style-src 'nonce-a' 'unsafe-inline' 'sha256-",
            ),
            (
                "default-src 'self'; img-src *",
                "default-src 'self'; img-src *; style-src 'self' 'sha256-",
            ),
            (
                "style-src-elem 'none'; style-src 'unsafe-inline'",
                "style-src-elem 'sha256-",
            ),
        ] {
            let amended = admitted(policy);
            assert!(amended.starts_with(start), "{policy} -> {amended}");
            assert_eq!(amended.matches(hash).count(), 1, "{amended}");
        }
    }
}
