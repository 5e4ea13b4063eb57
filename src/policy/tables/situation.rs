//! The newer circumstances of a table: shifts, wards, device, strength and age of the sign-in, information types.

use toml::Spanned;

use super::raw::RawTable;
use super::read::Reader;
use crate::request::Situation;
use crate::request::situation::{DeviceKind, Words, age_of, is_kind};

const STRENGTHS: &[&str] = &["none", "mfa", "phishing-resistant"];

impl Reader<'_, '_> {
    pub(super) fn situation(&mut self, raw: &RawTable) -> Situation {
        for shift in &raw.shifts {
            if !self.words.calendars.has(shift.get_ref()) {
                let message = format!("there is no shift \"{}\"", shift.get_ref());
                let remedy = "Use a shift or window of calendars.toml.";
                self.wrong(shift.span(), message, remedy);
            }
        }
        for code in &raw.information_types {
            if !is_kind(code.get_ref()) {
                let message = format!("\"{}\" is no kind of information", code.get_ref());
                let remedy =
                    "Use HL7 InformationSensitivityPolicy codes, as in [\"PSY\", \"VIP\"].";
                self.wrong(code.span(), message, remedy);
            }
        }
        let devices: Vec<_> = DeviceKind::ALL.iter().map(|one| one.word()).collect();
        let strength = self.one_of(raw.mfa_strength.as_ref(), STRENGTHS, |word| {
            STRENGTHS.contains(&word).then(|| word.to_owned())
        });
        if let (Some(written), Some(mfa)) = (&raw.mfa_strength, raw.mfa)
            && mfa == (written.get_ref() == "none")
        {
            let message = "`mfa` and `mfa_strength` say two things";
            self.wrong(written.span(), message, "Leave one of them out.");
        }
        let set = |words: &[Spanned<String>]| -> Words {
            words
                .iter()
                .map(|word| word.get_ref().as_str().into())
                .collect()
        };
        Situation {
            shifts: set(&raw.shifts),
            wards: raw.wards.iter().map(|ward| ward.as_str().into()).collect(),
            patient_ward: raw.patient_ward.as_deref().map(Into::into),
            device: self
                .one_of(raw.device.as_ref(), &devices, DeviceKind::by_word)
                .unwrap_or_default(),
            phishing_resistant: strength.as_deref() == Some("phishing-resistant"),
            auth_age: raw.auth_age.map(|age| age_of(age.into())),
            information_types: set(&raw.information_types),
        }
    }
}
