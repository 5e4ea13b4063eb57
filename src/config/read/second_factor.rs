//! `[identity.second_factor]`

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::second_factor::{Enrolment, FactorMethod, SecondFactor};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::{Fault, HostName, Value, one_of};

/// The longest name that authenticators show, in bytes (`WebAuthn` §6.4.1: 64 are kept).
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::Config;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};
    use crate::config::problem::Severity;
    use crate::config::second_factor::{Enrolment, FactorMethod};

    const EVIDENCE: &str =
        "[identity.issuer.mfa]\namr = [[\"pwd\", \"otp\"], [\"pwd\", \"hwk\"], [\"mfa\"]]";

    fn with(section: &str) -> String {
        TEMPLATE.replacen("\n[[emr]]", &format!("\n{section}\n\n[[emr]]"), 1)
    }

    fn section(more: &str) -> String {
        with(&format!(
            "[identity.second_factor]\nissuers = [\"hospital\"]\n{more}"
        ))
    }

    fn load(fixture: &Fixture, text: &str) -> Config {
        fixture.write("chartgate.toml", text);
        Config::load(&fixture.path("chartgate.toml")).unwrap()
    }

    #[test]
    fn it_is_off_unless_it_is_written_and_its_defaults_are_strict() {
        let fixture = Fixture::new();
        assert!(load(&fixture, TEMPLATE).identity.second_factor.is_none());
        let own = load(&fixture, &section("")).identity.second_factor.unwrap();
        assert_eq!(own.enrolment, Enrolment::Invited);
        assert_eq!(own.methods, [FactorMethod::Passkey, FactorMethod::Totp]);
        assert_eq!((own.max_failures, own.max_authenticators), (5, 10));
        assert_eq!(own.lockout, Duration::from_mins(15));
        assert_eq!((own.rp_id, own.rp_name.as_str()), (None, "EMR"));
    }

    #[test]
    fn the_template_shows_the_defaults() {
        let fixture = Fixture::new();
        let mut within = false;
        let shown = TEMPLATE.lines().map(|line| {
            within = line == "# [identity.second_factor]" || (within && line.starts_with("# "));
            let is_setting = within && (line.contains(" = ") || line.contains('['));
            match line.strip_prefix("# ") {
                Some(setting) if is_setting && !setting.starts_with("rp_id") => setting,
                Some(_) | None => line,
            }
        });
        let shown = shown.collect::<Vec<_>>().join("\n");
        let shown = load(&fixture, &format!("{shown}\n")).identity.second_factor;
        assert!(shown.is_some());
        assert_eq!(shown, load(&fixture, &section("")).identity.second_factor);
    }

    #[test]
    fn only_an_issuer_with_an_own_factor_may_leave_its_evidence_out() {
        let fixture = Fixture::new();
        let without = |text: &str| {
            let (before, rest) = text.split_once(EVIDENCE).unwrap();
            let after = rest.split_once("require = \"any\"\n").unwrap().1;
            format!("{before}{after}")
        };
        let config = load(&fixture, &without(&section("")));
        let mfa = &config.identity.issuers[0].mfa;
        assert!(mfa.acr.is_empty() && mfa.amr.is_empty());
        let reading = fixture.read(&without(TEMPLATE));
        assert!(sole(&reading.problems).message.contains("mfa"));
    }

    #[test]
    fn nonsense_is_a_problem() {
        let fixture = Fixture::new();
        for (more, about) in [
            ("methods = []", "nothing can be enrolled"),
            ("methods = [\"sms\"]", "sms"),
            ("rp_name = \"a:b\"", "colon"),
            ("rp_id = \"other.example\"", "cannot be used on"),
            ("rp_id = \"ospital.example\"", "cannot be used on"),
            ("enrolment = \"open\"", "open"),
            ("max_failures = 0", "outside of 1 to 20"),
            ("lockout = \"1s\"", "outside of"),
            ("colour = 1", "not known"),
        ] {
            let reading = fixture.read(&section(more));
            let problem = sole(&reading.problems);
            assert!(problem.message.contains(about), "{more}: {problem:?}");
            assert_eq!(problem.severity, Severity::Error);
        }
        let reading = fixture.read(&section("enrolment = \"first-sign-in\""));
        assert_eq!(sole(&reading.problems).severity, Severity::Warning);
        let unknown = section("").replace("issuers = [\"hospital\"]", "issuers = [\"else\"]");
        let reading = fixture.read(&unknown);
        assert!(sole(&reading.problems).message.contains("no issuer called"));
        let two = |text: String| {
            let hosts = "hosts = [\"emr.hospital.example\"]";
            text.replacen(
                hosts,
                "hosts = [\"emr.hospital.example\", \"x.hospital.example\"]",
                1,
            )
        };
        let several = |text: String| {
            let reading = fixture.read(&two(text));
            let said = reading
                .problems
                .iter()
                .map(|problem| problem.message.clone());
            said.filter(|message| message.contains("passkey")).count()
        };
        assert_eq!(several(section("")), 1);
        assert_eq!(several(section("methods = [\"totp\"]")), 0);
        assert_eq!(several(section("rp_id = \"hospital.example\"")), 0);
    }
}
