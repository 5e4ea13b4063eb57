//! `[identity.second_factor]`

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::second_factor::{Enrolment, FactorMethod, SecondFactor};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::{Fault, HostName, Value, one_of};

/// The longest name that authenticators show, in bytes (WebAuthn §6.4.1: 64 are kept).
const LONGEST_NAME: usize = 64;

/// `[identity.second_factor]`, below `[identity]`.
pub(super) fn second_factor(identity: &mut Section<'_>) -> Option<SecondFactor> {
    let mut section = identity.optional_table("second_factor")?;
    let (minutes, hours) = (Duration::from_mins, Duration::from_hours);
    let issuers: Vec<String> = section.required("issuers", "issuers = [\"hospital\"]")?;
    if issuers.is_empty() {
        let remedy =
            "name the issuers whose users have no other second factor, or remove the section";
        section.error("issuers", says("no issuer is named", remedy));
    }
    let mut methods = section.or("methods", vec![FactorMethod::Passkey, FactorMethod::Totp]);
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() {
        let remedy = "write `methods = [\"passkey\", \"totp\"]`";
        section.error("methods", says("nothing can be enrolled", remedy));
    }
    let rp_name: String = section.or("rp_name", "EMR".to_owned());
    // `:` would split the label that authenticator apps read.
    if rp_name.len() > LONGEST_NAME
        || rp_name.contains(':')
        || rp_name.chars().any(char::is_control)
    {
        let message = format!(
            "the name has more than {LONGEST_NAME} bytes, a colon or an invisible character"
        );
        let remedy = "use a short name that people know, like \"Riverside Clinic\"";
        section.error("rp_name", says(message, remedy));
    }
    let rp_id = section
        .optional::<HostName>("rp_id")
        .map(|HostName(name)| name);
    let enrolment = section.or("enrolment", Enrolment::Invited);
    if enrolment == Enrolment::FirstSignIn {
        // SECURITY: one stolen password is then enough for every account that has not enrolled yet.
        let message = "whoever has a password can enrol an authenticator of their own for it";
        let remedy = "use `enrolment = \"invited\"` and `chartgate factor invite`; go back to it once everybody has enrolled";
        section.warn("enrolment", says(message, remedy));
    }
    let settings = SecondFactor {
        issuers,
        methods,
        rp_name,
        rp_id,
        enrolment,
        invitation: section.within("invitation", hours(72), minutes(10)..=hours(30 * 24)),
        max_failures: count(section.within("max_failures", 5, 1..=20)),
        lockout: section.within("lockout", minutes(15), minutes(1)..=hours(24)),
        max_authenticators: section.within("max_authenticators", 10, 1..=20),
    };
    section.done();
    Some(settings)
}

fn count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Value for FactorMethod {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [("passkey", Self::Passkey), ("totp", Self::Totp)];
        one_of(value, faults, &words)
    }
}

impl Value for Enrolment {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [
            ("invited", Self::Invited),
            ("first-sign-in", Self::FirstSignIn),
        ];
        one_of(value, faults, &words)
    }
}
