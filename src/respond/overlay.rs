//! The script of the screen lock on the EMR's own pages, and what has to be said so that the browser runs it.
//!
//! *Never*: an inline script; a policy of the EMR that becomes weaker for anything but this one script and its questions.
//! *On failure*: the page passes without it. The lock holds all the same: the server forwards nothing.

use http::header::{CONTENT_SECURITY_POLICY, HeaderMap};

use super::csp::{self, Directives};
use crate::identity::routes::{ACTIVE, OwnRoute, SCREEN};
use crate::request::Cover;

/// Directives for scripts, the one that counts first (CSP Level 3 §6.8.3).
const SCRIPTS: Directives = Directives {
    names: &["script-src-elem", "script-src", "default-src"],
    own: "script-src",
};
/// The same for what scripts ask for.
const QUESTIONS: Directives = Directives {
    names: &["connect-src", "default-src"],
    own: "connect-src",
};

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
    let origin = format!("https://{authority}");
    let script = format!("{origin}{}", OwnRoute::LockScript.path());
    let questions = format!("{origin}{SCREEN} {origin}{ACTIVE}");
    csp::amend(headers, |policy| {
        let policy = csp::with(policy, SCRIPTS, &script, lets_own_pass);
        csp::with(&policy, QUESTIONS, &questions, lets_own_pass)
    });
}

/// Whether a directive with these sources lets own addresses pass already.
fn lets_own_pass(stated: &[&str]) -> bool {
    let passes = |source: &&str| {
        ["'self'", "*", "https:"]
            .iter()
            .any(|open| source.eq_ignore_ascii_case(open))
    };
    stated.iter().any(passes)
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
