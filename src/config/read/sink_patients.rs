//! `patients` and `pseudonym_key` of `[[audit.sink]]`.

use super::identity::optional_secret;
use crate::config::section::Section;
use crate::config::sink::Patients;
use crate::config::source::says;

/// What the sink learns of patients.
pub(super) fn patients(section: &mut Section<'_>) -> Option<Patients> {
    let word = section.optional::<String>("patients");
    let has_key = section.optional::<String>("pseudonym_key").is_some();
    let key = optional_secret(section, "pseudonym_key");
    match word.as_deref().unwrap_or("clear") {
        "clear" | "omit" if has_key => {
            let message = "the key is for `patients = \"pseudonym\"`";
            section.error("pseudonym_key", says(message, "leave one of both out"));
            None
        }
        "clear" => Some(Patients::Clear),
        "omit" => Some(Patients::Omit),
        "pseudonym" if !has_key => {
            let message = "pseudonyms need a key";
            let remedy = "make one with `openssl rand -hex 32`, readable by the gateway alone, and write pseudonym_key = \"secrets/siem-pseudonym\"";
            section.error("patients", says(message, remedy));
            None
        }
        "pseudonym" => {
            let key = key?;
            if key.expose().chars().count() < Patients::SHORTEST {
                // SECURITY: identifiers are short numbers; a key that can be guessed opens all of them.
                let message = format!("the key has fewer than {} characters", Patients::SHORTEST);
                let remedy = "make one with `openssl rand -hex 32`";
                section.error("pseudonym_key", says(message, remedy));
                return None;
            }
            Some(Patients::Pseudonym(key))
        }
        other => {
            let message = format!("`{other}` is no value of `patients`");
            section.error("patients", says(message, "write clear, pseudonym, omit"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::fixture::{Fixture, TEMPLATE, sole};
    use crate::config::problem::Problems;
    use crate::config::sink::Patients;

    fn read(text: &str) -> Result<Patients, Problems> {
        let fixture = Fixture::new();
        fixture.write("secrets/key", "0123456789abcdef0123456789abcdef\n");
        fixture.write("secrets/short", "0123456789abcdef\n");
        let sink = format!(
            "[[audit.sink]]\nname = \"siem\"\nformat = \"ocsf\"\nsyslog = \"siem.example\"\n{text}\n\n[store]"
        );
        let reading = fixture.read(&TEMPLATE.replacen("[store]", &sink, 1));
        match reading.config {
            Some(mut config) => Ok(config.audit.sinks.remove(0).patients),
            None => Err(reading.problems),
        }
    }

    #[test]
    fn patients_are_told_unless_it_says_otherwise() {
        assert!(matches!(read(""), Ok(Patients::Clear)));
        assert!(matches!(read("patients = \"omit\""), Ok(Patients::Omit)));
        let text = "patients = \"pseudonym\"\npseudonym_key = \"secrets/key\"";
        let Ok(Patients::Pseudonym(key)) = read(text) else {
            panic!("a key")
        };
        assert_eq!(key.expose().len(), 32);
        assert!(!format!("{key:?}").contains("0123"));
    }

    #[test]
    fn a_pseudonym_needs_a_key_that_cannot_be_guessed() {
        for (text, key, message) in [
            ("patients = \"none\"", "patients", "no value"),
            ("patients = \"pseudonym\"", "patients", "need a key"),
            (
                "patients = \"pseudonym\"\npseudonym_key = \"secrets/short\"",
                "pseudonym_key",
                "fewer than 32",
            ),
            ("pseudonym_key = \"secrets/key\"", "pseudonym_key", "is for"),
        ] {
            let problems = read(text).unwrap_err();
            let problem = sole(&problems);
            assert_eq!(problem.key, format!("audit.sink[0].{key}"), "{text}");
            assert!(problem.message.contains(message), "{}", problem.message);
        }
    }
}
