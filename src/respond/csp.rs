//! The EMR's `Content-Security-Policy`, where a page of it carries something of the gateway's.
//!
//! *Never*: a policy that becomes weaker for anything but what is named.

use std::fmt::Write as _;

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, HeaderMap};

/// Directives about one kind of thing.
#[derive(Clone, Copy)]
pub(super) struct Directives {
    /// Their names, the one that counts first.
    pub(super) names: &'static [&'static str],
    /// The one that is stated where only `default-src` is.
    pub(super) own: &'static str,
}

/// Changes each policy of the page; a page without one, or with one that is not text, stays as it is.
pub(super) fn amend(headers: &mut HeaderMap, change: impl Fn(&str) -> String) {
    let policies: Vec<String> = headers
        .get_all(CONTENT_SECURITY_POLICY)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    if policies.is_empty()
        || policies.len() != headers.get_all(CONTENT_SECURITY_POLICY).iter().count()
    {
        return;
    }
    let mut changed = Vec::new();
    for header in &policies {
        // A field may hold several policies, each of which counts.
        changed.push(header.split(',').map(&change).collect::<Vec<_>>().join(","));
    }
    if changed == policies {
        return;
    }
    let values: Option<Vec<HeaderValue>> = changed
        .iter()
        .map(|policy| HeaderValue::from_str(policy).ok())
        .collect();
    if let Some(values) = values {
        headers.remove(CONTENT_SECURITY_POLICY);
        for value in values {
            headers.append(CONTENT_SECURITY_POLICY, value);
        }
    }
}

/// The policy with `sources` in the first of the directives that it states, unless that `passes` already.
pub(super) fn with(
    policy: &str,
    about: Directives,
    sources: &str,
    passes: impl Fn(&[&str]) -> bool,
) -> String {
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    let found = about.names.iter().find_map(|name| {
        let at = directives
            .iter()
            .position(|directive| name_of(directive).eq_ignore_ascii_case(name))?;
        Some((at, *name))
    });
    let Some((at, name)) = found else {
        return policy.to_owned();
    };
    let stated: Vec<&str> = directives
        .get(at)
        .map(|directive| directive.split_ascii_whitespace().skip(1).collect())
        .unwrap_or_default();
    if passes(&stated) {
        return policy.to_owned();
    }
    let kept: Vec<&str> = stated
        .iter()
        .copied()
        .filter(|source| !source.eq_ignore_ascii_case("'none'"))
        .collect();
    // What is said of everything is not widened for everything: the directive for this one thing is stated.
    let own = if name == "default-src" {
        about.own
    } else {
        name
    };
    let mut directive = own.to_owned();
    for source in kept {
        let _ = write!(directive, " {source}");
    }
    let _ = write!(directive, " {sources}");
    let mut all: Vec<String> = directives.iter().map(|one| (*one).to_owned()).collect();
    match all.get_mut(at) {
        Some(place) if own == name => *place = directive,
        Some(_) | None => all.push(directive),
    }
    all.retain(|directive| !directive.is_empty());
    all.join("; ")
}

fn name_of(directive: &str) -> &str {
    directive
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default()
}
