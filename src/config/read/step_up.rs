//! `phishing_resistant_acr` and `phishing_resistant_amr` of `[identity.issuer.mfa]`.

use crate::config::section::Section;
use crate::config::source::says;
use crate::config::step_up::PhishingResistant;

/// Most `acr` values and `amr` sets.
const MOST: usize = 32;

/// What proves a phishing-resistant factor; both lists are empty where nothing is said.
pub(super) fn phishing_resistant(section: &mut Section<'_>) -> PhishingResistant {
    let evidence = PhishingResistant {
        acr: section.or("phishing_resistant_acr", Vec::new()),
        amr: section.or("phishing_resistant_amr", Vec::new()),
    };
    let spelled = |value: &String| {
        !value.is_empty()
            && value
                .bytes()
                .all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
    };
    if evidence.acr.len() > MOST || !evidence.acr.iter().all(spelled) {
        // They are sent in `acr_values`, which are separated by spaces, and in a quoted string (RFC 9470 §3).
        let message = "not every `acr` value can be asked for";
        let remedy = "name at most 32 values of visible ASCII characters, without spaces, quotes and backslashes";
        section.error("phishing_resistant_acr", says(message, remedy));
    }
    if evidence.amr.len() > MOST || evidence.amr.iter().any(Vec::is_empty) {
        // SECURITY: an empty set holds for everybody, so a password would pass for a passkey.
        let message = "a set of `amr` values is empty, or there are too many";
        let remedy = "name at most 32 sets such as [\"hwk\"] or [\"swk\", \"user\"]";
        section.error("phishing_resistant_amr", says(message, remedy));
    }
    evidence
}
