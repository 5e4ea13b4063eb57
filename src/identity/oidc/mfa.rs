//! Whether a sign-in was multi-factor, or phishing-resistant, by what this issuer calls so.

use crate::config::{MfaEvidence, MfaRequire};

/// Judges what the provider stated, whatever it had been asked for: providers downgrade silently.
#[must_use]
pub fn is_proven(evidence: &MfaEvidence, acr: Option<&str>, amr: &[String]) -> bool {
    holds((&evidence.acr, &evidence.amr), evidence.require, acr, amr)
}

/// The same of a phishing-resistant factor.
#[must_use]
pub fn is_phishing_resistant(evidence: &MfaEvidence, acr: Option<&str>, amr: &[String]) -> bool {
    let named = &evidence.phishing_resistant;
    holds((&named.acr, &named.amr), evidence.require, acr, amr)
}

fn holds(
    (classes, sets): (&[String], &[Vec<String>]),
    require: MfaRequire,
    acr: Option<&str>,
    amr: &[String],
) -> bool {
    let class_holds = (!classes.is_empty())
        .then(|| acr.is_some_and(|acr| classes.iter().any(|wanted| wanted == acr)));
    let methods_hold = (!sets.is_empty()).then(|| {
        sets.iter()
            // An empty set would hold for everyone.
            .any(|set| !set.is_empty() && set.iter().all(|method| amr.contains(method)))
    });
    let mut configured = [class_holds, methods_hold].into_iter().flatten().peekable();
    // SECURITY: nothing configured proves nothing.
    if configured.peek().is_none() {
        return false;
    }
    match require {
        MfaRequire::Any => configured.any(|holds| holds),
        MfaRequire::All => configured.all(|holds| holds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::step_up::PhishingResistant;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn proven(
        classes: &[&str],
        sets: &[&[&str]],
        require: MfaRequire,
        acr: Option<&str>,
        amr: &[&str],
    ) -> bool {
        let evidence = MfaEvidence {
            acr: list(classes),
            amr: sets.iter().map(|set| list(set)).collect(),
            require,
            phishing_resistant: PhishingResistant::default(),
        };
        let resistant = MfaEvidence {
            acr: Vec::new(),
            amr: Vec::new(),
            require,
            phishing_resistant: PhishingResistant {
                acr: evidence.acr.clone(),
                amr: evidence.amr.clone(),
            },
        };
        // The one is judged as the other is, and neither by the lists of the other.
        let proven = is_proven(&evidence, acr, &list(amr));
        assert_eq!(is_phishing_resistant(&resistant, acr, &list(amr)), proven);
        assert!(!is_phishing_resistant(&evidence, acr, &list(amr)));
        proven
    }

    #[test]
    fn evidence_is_judged_by_what_the_issuer_calls_so() {
        use MfaRequire::{All, Any};
        let both: &[&[&str]] = &[&["mfa"], &["pwd", "otp"]];
        // By acr alone, as providers that send no amr.
        assert!(proven(&["loa-5"], &[], All, Some("loa-5"), &[]));
        assert!(!proven(&["loa-5"], &[], Any, Some("loa-1"), &["mfa"]));
        assert!(!proven(&["loa-5"], &[], Any, None, &[]));
        // By amr alone, as providers that send no acr.
        assert!(proven(&[], both, Any, None, &["pwd", "otp", "x"]));
        assert!(proven(&[], both, All, None, &["mfa"]));
        assert!(!proven(&[], both, Any, Some("mfa"), &["pwd"]));
        assert!(!proven(&[], both, Any, None, &["otp"]));
        // Both configured.
        assert!(proven(&["m"], both, Any, Some("m"), &[]));
        assert!(proven(&["m"], both, Any, Some("x"), &["mfa"]));
        assert!(!proven(&["m"], both, All, Some("m"), &["pwd"]));
        assert!(!proven(&["m"], both, All, Some("x"), &["mfa"]));
        assert!(proven(&["m"], both, All, Some("m"), &["mfa"]));
    }

    #[test]
    fn nothing_configured_proves_nothing() {
        for require in [MfaRequire::Any, MfaRequire::All] {
            assert!(!proven(&[], &[], require, Some("mfa"), &["mfa"]));
            assert!(!proven(&[], &[&[]], require, None, &["mfa"]));
            assert!(!proven(&[], &[&[]], require, None, &[]));
        }
    }

    #[test]
    fn spelling_counts() {
        assert!(!proven(&["M"], &[], MfaRequire::Any, Some("m"), &[]));
        assert!(!proven(&["m"], &[], MfaRequire::Any, Some("m "), &[]));
    }
}
