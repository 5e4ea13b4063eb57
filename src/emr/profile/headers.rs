//! `[headers]`: what browsers are told to do, and not to do, with the EMR's pages.
//!
//! Read once and kept as finished header values; [`crate::upstream`] puts them on answers.
//! *Never*: a default that could stop a page of an EMR from working. Whoever writes a content policy has tried it.

use http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, CONTENT_TYPE,
    LOCATION, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::parse::header_name;
use super::problem::Problems;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What no page of an EMR lends to a frame of another site, and no page needs without asking.
const PERMISSIONS: &str =
    "camera=(self), microphone=(self), geolocation=(self), payment=(), browsing-topics=()";

/// What an answer cannot do without.
const KEPT: &[HeaderName] = &[
    CONTENT_TYPE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    LOCATION,
    SET_COOKIE,
];

/// `[headers]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeaders {
    content_type_options: Option<Sniffing>,
    frames: Option<Frames>,
    content_security_policy: Option<String>,
    content_security_policy_report_only: Option<String>,
    permissions_policy: Option<String>,
    cross_origin_opener: Option<Opener>,
    cross_origin_resource: Option<Resource>,
    #[serde(default)]
    remove: Vec<String>,
}

/// Whether browsers may guess the type of what the EMR sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sniffing {
    /// They may not.
    #[default]
    Nosniff,
    /// Nothing is said: for an EMR that calls its scripts plain text.
    Leave,
}

/// Which pages may show the EMR's pages in a frame, where the EMR does not say itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frames {
    /// Pages of the same origin.
    #[default]
    SameOrigin,
    /// None.
    Deny,
    /// Nothing is said.
    Allow,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Opener {
    SameOrigin,
    SameOriginAllowPopups,
    Leave,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Resource {
    SameOrigin,
    SameSite,
    Leave,
}

/// The protections of an EMR's pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageHeaders {
    /// Whether types may be guessed.
    pub sniffing: Sniffing,
    /// Who may frame the pages.
    pub frames: Frames,
    /// Content policies. Browsers hold every one of several, so that they stand beside the EMR's own.
    pub policies: Vec<(HeaderName, HeaderValue)>,
    /// What is added where the EMR says nothing.
    pub defaults: Vec<(HeaderName, HeaderValue)>,
    /// What is removed beside what always is.
    pub removed: Vec<HeaderName>,
}

impl Default for PageHeaders {
    fn default() -> Self {
        let fixed = |name, value| (name, HeaderValue::from_static(value));
        Self {
            sniffing: Sniffing::default(),
            frames: Frames::default(),
            policies: Vec::new(),
            defaults: vec![
                fixed(PERMISSIONS_POLICY, PERMISSIONS),
                fixed(OPENER_POLICY, "same-origin-allow-popups"),
                fixed(RESOURCE_POLICY, "same-origin"),
            ],
            removed: Vec::new(),
        }
    }
}

/// Reads `[headers]`; what is not written has its default.
pub(super) fn headers(raw: RawHeaders, line: usize, problems: &mut Problems<'_>) -> PageHeaders {
    let own_frames = raw
        .content_security_policy
        .as_deref()
        .is_some_and(|policy| names_directive(policy.as_bytes(), b"frame-ancestors"));
    if own_frames && raw.frames.is_some() {
        problems.add(
            line,
            "`frames` and `frame-ancestors` in content_security_policy both say who may frame the pages",
            "keep one of them",
        );
    }
    let mut policies = Vec::new();
    for (name, text) in [
        (CONTENT_SECURITY_POLICY, raw.content_security_policy),
        (
            CONTENT_SECURITY_POLICY_REPORT_ONLY,
            raw.content_security_policy_report_only,
        ),
    ] {
        let value = text.and_then(|text| value(name.as_str(), &text, line, problems));
        policies.extend(value.map(|value| (name, value)));
    }
    let mut defaults = Vec::new();
    let permissions = raw.permissions_policy.as_deref().unwrap_or(PERMISSIONS);
    if permissions != "leave" {
        let value = value("permissions_policy", permissions, line, problems);
        defaults.extend(value.map(|value| (PERMISSIONS_POLICY, value)));
    }
    let opener = match raw
        .cross_origin_opener
        .unwrap_or(Opener::SameOriginAllowPopups)
    {
        Opener::SameOrigin => Some("same-origin"),
        Opener::SameOriginAllowPopups => Some("same-origin-allow-popups"),
        Opener::Leave => None,
    };
    let resource = match raw.cross_origin_resource.unwrap_or(Resource::SameOrigin) {
        Resource::SameOrigin => Some("same-origin"),
        Resource::SameSite => Some("same-site"),
        Resource::Leave => None,
    };
    defaults.extend(opener.map(|v| (OPENER_POLICY, HeaderValue::from_static(v))));
    defaults.extend(resource.map(|v| (RESOURCE_POLICY, HeaderValue::from_static(v))));
    PageHeaders {
        sniffing: raw.content_type_options.unwrap_or_default(),
        frames: if own_frames {
            Frames::Allow
        } else {
            raw.frames.unwrap_or_default()
        },
        policies,
        defaults,
        removed: removed(&raw.remove, line, problems),
    }
}

fn value(key: &str, text: &str, line: usize, problems: &mut Problems<'_>) -> Option<HeaderValue> {
    let text = text.trim();
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|_| !text.is_empty() && text.is_ascii());
    if value.is_none() {
        problems.add(
            line,
            format!("`{key}` is not the value of a header"),
            "write it on one line, in ASCII, as the browser is to read it",
        );
    }
    value
}

fn removed(names: &[String], line: usize, problems: &mut Problems<'_>) -> Vec<HeaderName> {
    let mut removed = Vec::new();
    for name in names {
        match header_name(name) {
            Some(name) if KEPT.contains(&name) => problems.add(
                line,
                format!("an answer without `{name}` would not work"),
                "take it out of `remove`",
            ),
            Some(name) => removed.push(name),
            None => problems.add(
                line,
                format!("`{name}` is not a header name"),
                "correct the name",
            ),
        }
    }
    removed
}

/// Whether a content policy holds a directive (CSP3 §2.2.1: separated by `;`, in any case).
#[must_use]
pub fn names_directive(policy: &[u8], directive: &[u8]) -> bool {
    policy.split(|b| matches!(b, b';' | b',')).any(|one| {
        let mut words = one
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(directive))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;

    fn read(section: &str) -> Result<PageHeaders, String> {
        let text = format!(
            "version = 1\nname = \"x\"\n{section}\n[[route]]\nid = \"r\"\nmethods = [\"GET\"]\npath = \"/\"\naction = \"Navigate\"\nsection = \"shell\"\n"
        );
        Profile::parse(&text, "x.toml")
            .map(|profile| profile.headers().clone())
            .map_err(|problems| problems[0].message.clone())
    }

    #[test]
    fn a_profile_that_says_nothing_has_the_defaults() {
        assert_eq!(read("").unwrap(), PageHeaders::default());
        assert_eq!(read("[headers]").unwrap(), PageHeaders::default());
    }

    #[test]
    fn what_is_written_is_kept_as_header_values() {
        let headers = read(
            "[headers]\ncontent_type_options = \"leave\"\nframes = \"deny\"\ncontent_security_policy = \"object-src 'none'\"\ncontent_security_policy_report_only = \"script-src 'self'\"\npermissions_policy = \"camera=()\"\ncross_origin_opener = \"leave\"\ncross_origin_resource = \"same-site\"\nremove = [\"X-Emr-Node\"]",
        )
        .unwrap();
        assert_eq!(headers.sniffing, Sniffing::Leave);
        assert_eq!(headers.frames, Frames::Deny);
        assert_eq!(headers.policies.len(), 2);
        let names: Vec<_> = headers
            .defaults
            .iter()
            .map(|(n, v)| (n.as_str(), v))
            .collect();
        assert_eq!(
            names,
            [
                ("permissions-policy", &HeaderValue::from_static("camera=()")),
                (
                    "cross-origin-resource-policy",
                    &HeaderValue::from_static("same-site")
                ),
            ]
        );
        assert_eq!(headers.removed, [HeaderName::from_static("x-emr-node")]);
        let silent = read("[headers]\npermissions_policy = \"leave\"").unwrap();
        assert_eq!(silent.defaults.len(), 2);
    }

    #[test]
    fn a_policy_that_names_the_frames_decides_about_them() {
        let headers = read(
            "[headers]\ncontent_security_policy = \"frame-ancestors 'self' https://portal.example\"",
        );
        assert_eq!(headers.unwrap().frames, Frames::Allow);
    }

    #[test]
    fn nonsense_is_a_problem() {
        for (section, about) in [
            ("frames = \"never\"", "unknown variant"),
            ("frame = \"deny\"", "unknown field"),
            (
                "frames = \"deny\"\ncontent_security_policy = \"FRAME-ancestors 'none'\"",
                "both say",
            ),
            ("content_security_policy = \"a\\nb\"", "not the value"),
            ("content_security_policy = \" \"", "not the value"),
            ("remove = [\"Content-Type\"]", "would not work"),
            ("remove = [\"a b\"]", "not a header name"),
        ] {
            let problem = read(&format!("[headers]\n{section}")).unwrap_err();
            assert!(problem.contains(about), "{section}: {problem}");
        }
    }

    #[test]
    fn directives_are_found_by_name_alone() {
        for policy in [
            "frame-ancestors 'self'",
            "default-src *; Frame-Ancestors *",
            "a b,  frame-ancestors",
        ] {
            assert!(names_directive(policy.as_bytes(), b"frame-ancestors"));
        }
        for policy in ["", "frame-src frame-ancestors", "x-frame-ancestors *"] {
            assert!(!names_directive(policy.as_bytes(), b"frame-ancestors"));
        }
    }
}
