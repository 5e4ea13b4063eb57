//! The script of the screen lock on the EMR's own pages, and what has to be said so that the browser runs it.
//!
//! *Never*: an inline script; a policy of the EMR that becomes weaker for anything but this one script and its questions.
//! *On failure*: the page passes without it. The lock holds all the same: the server forwards nothing.

use std::fmt::Write as _;

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, HeaderMap};

use crate::identity::routes::{ACTIVE, OwnRoute, SCREEN};
use crate::request::Cover;

/// Directives for scripts, the one that counts first (CSP Level 3 §6.8.3).
const SCRIPTS: [&str; 3] = ["script-src-elem", "script-src", "default-src"];
/// The same for what scripts ask for.
const QUESTIONS: [&str; 2] = ["connect-src", "default-src"];

/// The element that loads the script; `headers` are those of the page, with what [`admit`] added.
pub(super) fn markup(cover: &Cover, headers: &HeaderMap) -> String {
    let nonce = nonce(headers).map_or_else(String::new, |nonce| format!(" nonce=\"{nonce}\""));
    format!(
        "<script src=\"{}\" data-session=\"{}\" data-user=\"{}\"{nonce} defer></script>",
        OwnRoute::LockScript.path(),
        cover.session(),
        cover.user()
    )
}

/// Lets the page's policies run the script and its questions, where they do not yet.
///
/// Own addresses are added to the directive that counts, and only there. A policy with `'strict-dynamic'` heeds no
/// addresses: there the script carries a nonce of the policy.
pub(super) fn admit(headers: &mut HeaderMap, authority: &str) {
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
    let origin = format!("https://{authority}");
    let script = format!("{origin}{}", OwnRoute::LockScript.path());
    let questions = format!("{origin}{SCREEN} {origin}{ACTIVE}");
    let mut changed = Vec::new();
    for header in &policies {
        // A field may hold several policies, each of which counts.
        let each = header.split(',').map(|policy| {
            let policy = with(policy, &SCRIPTS, &script);
            with(&policy, &QUESTIONS, &questions)
        });
        changed.push(each.collect::<Vec<_>>().join(","));
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

/// The policy with `sources` in the first of `names` that it states, unless that lets them pass already.
fn with(policy: &str, names: &[&str], sources: &str) -> String {
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    let found = names.iter().find_map(|name| {
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
    let passes = |source: &&str| {
        ["'self'", "*", "https:"]
            .iter()
            .any(|open| source.eq_ignore_ascii_case(open))
    };
    if stated.iter().any(passes) {
        return policy.to_owned();
    }
    let kept: Vec<&str> = stated
        .iter()
        .copied()
        .filter(|source| !source.eq_ignore_ascii_case("'none'"))
        .collect();
    // What is said of everything is not widened for everything: the directive for this one thing is stated.
    let own = match (name, names.first()) {
        ("default-src", Some(&"connect-src")) => "connect-src",
        ("default-src", Some(_)) => "script-src",
        (own, _) => own,
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

/// A nonce that scripts of the page may run with, where addresses alone are not heeded.
fn nonce(headers: &HeaderMap) -> Option<String> {
    let mut sources = headers
        .get_all(CONTENT_SECURITY_POLICY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|policy| policy.to_ascii_lowercase().contains("'strict-dynamic'"))
        .flat_map(|policy| policy.split([' ', ';', ',']));
    sources.find_map(|source| {
        let nonce = source.trim().strip_prefix("'nonce-")?.strip_suffix('\'')?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b);
        nonce.bytes().all(fits).then(|| nonce.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCRIPT: &str = "https://emr.example/.chartgate/lock.js";

    fn admitted(policies: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for policy in policies {
            headers.append(CONTENT_SECURITY_POLICY, policy.parse().unwrap());
        }
        admit(&mut headers, "emr.example");
        let values = headers.get_all(CONTENT_SECURITY_POLICY).iter();
        values.map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_policy_that_lets_own_scripts_run_stays_as_it_is() {
        for policy in [
            "default-src 'self'; base-uri 'none'",
            "script-src *; connect-src https:",
            "frame-ancestors 'self'",
            "script-src 'unsafe-inline' 'self'; connect-src 'self'; default-src 'none'",
        ] {
            assert_eq!(admitted(&[policy]), [policy]);
        }
        assert!(admitted(&[]).is_empty());
    }

    #[test]
    fn a_stricter_policy_gets_this_script_and_its_questions_and_nothing_else() {
        let [one] = &admitted(&["script-src 'unsafe-inline' https://cdn.example"])[..] else {
            panic!("one policy");
        };
        assert_eq!(
            *one,
            format!("script-src 'unsafe-inline' https://cdn.example {SCRIPT}")
        );
        let [one] = &admitted(&["default-src 'none'; img-src *"])[..] else {
            panic!("one policy");
        };
        assert_eq!(
            *one,
            format!(
                "default-src 'none'; img-src *; script-src {SCRIPT}; connect-src https://emr.example/.chartgate/session https://emr.example/.chartgate/active"
            )
        );
        let two = admitted(&[
            "script-src-elem 'none', default-src 'self'",
            "connect-src a.example",
        ]);
        assert_eq!(
            two[0],
            format!("script-src-elem {SCRIPT}, default-src 'self'")
        );
        assert!(two[1].starts_with("connect-src a.example https://emr.example/.chartgate/session"));
    }

    #[test]
    fn where_addresses_are_not_heeded_the_script_carries_the_page_s_nonce() {
        let cover = Cover::of("s", "u");
        let mut headers = HeaderMap::new();
        assert!(!markup(&cover, &headers).contains("nonce"));
        let policy = "script-src 'nonce-YWJj' 'strict-dynamic'";
        headers.append(CONTENT_SECURITY_POLICY, policy.parse().unwrap());
        assert!(markup(&cover, &headers).contains(" nonce=\"YWJj\" "));
        let odd = "script-src 'nonce-\"><b>' 'strict-dynamic'";
        headers.insert(CONTENT_SECURITY_POLICY, odd.parse().unwrap());
        assert!(!markup(&cover, &headers).contains("nonce"));
    }

    proptest! {
        /// Whatever a policy says, every directive of it is still there, with every source but `'none'`.
        #[test]
        fn nothing_is_taken_out_of_a_policy(
            directives in prop::collection::vec((prop::sample::select(vec![
                "default-src", "script-src", "connect-src", "img-src", "frame-ancestors", "Script-Src-Elem",
            ]), prop::collection::vec(prop::sample::select(vec![
                "'self'", "'none'", "https://a.example", "'unsafe-inline'", "data:",
            ]), 0..3)), 1..5),
        ) {
            let text = |(name, sources): &(&str, Vec<&str>)| format!("{name} {}", sources.join(" "));
            let policy = directives.iter().map(text).collect::<Vec<_>>().join("; ");
            let [changed] = &admitted(&[&policy])[..] else { panic!("one policy") };
            for (name, sources) in &directives {
                let kept = changed.split(';').map(str::trim).any(|directive| {
                    let words: Vec<&str> = directive.split_ascii_whitespace().collect();
                    words.first().is_some_and(|first| first.eq_ignore_ascii_case(name))
                        && sources.iter().filter(|s| **s != "'none'").all(|source| words.contains(source))
                });
                prop_assert!(kept, "{policy} -> {changed}");
            }
        }
    }
}
