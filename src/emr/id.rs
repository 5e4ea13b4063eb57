//! The form that patient identifiers have, so that one patient has one spelling.

use serde::Deserialize;

/// The form of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum IdForm {
    /// A whole number without sign or leading zeros.
    Integer,
    /// Decimal digits; leading zeros are part of the identifier.
    Digits,
    /// Hexadecimal digits, in groups separated by single hyphens or not.
    Hex,
    /// A UUID.
    Uuid,
    /// Numbers separated by single dots, as DICOM and HL7 number things.
    Uid,
    /// Letters, digits, `.`, `_` and `-`.
    Token,
}

/// The form and greatest length of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdPattern {
    form: IdForm,
    max_length: usize,
}

impl IdPattern {
    pub(super) const fn new(form: IdForm, max_length: usize) -> Self {
        Self { form, max_length }
    }

    /// The identifier in its one spelling, if `text` has the form.
    ///
    /// SECURITY: `04`, `+4` and `４` are patient 4 to many back ends; here they are no identifier at all, so that
    /// a rule about patient 4 cannot be passed by spelling the number differently.
    pub(super) fn read(self, text: &str) -> Option<String> {
        if text.is_empty() || text.len() > self.max_length {
            return None;
        }
        let all = |is: fn(&u8) -> bool| text.bytes().all(|b| is(&b));
        let fits = match self.form {
            IdForm::Integer => all(u8::is_ascii_digit) && (text == "0" || !text.starts_with('0')),
            IdForm::Digits => all(u8::is_ascii_digit),
            IdForm::Hex => text
                .split('-')
                .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_hexdigit())),
            IdForm::Uuid => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
            IdForm::Uid => text
                .split('.')
                .all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit())),
            IdForm::Token => all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')),
        };
        // Letters of hexadecimal digits name the same number in either case.
        fits.then(|| match self.form {
            IdForm::Hex | IdForm::Uuid => text.to_ascii_lowercase(),
            IdForm::Integer | IdForm::Digits | IdForm::Uid | IdForm::Token => text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: IdForm, text: &str) -> Option<String> {
        IdPattern::new(form, 64).read(text)
    }

    #[test]
    fn one_number_has_one_spelling() {
        for text in ["4", "0", "120"] {
            assert_eq!(read(IdForm::Integer, text).as_deref(), Some(text));
        }
        for text in [
            "", "04", "+4", "-4", " 4", "4 ", "4.0", "4e0", "\u{ff14}", "0x4", "4\0", "1,2",
        ] {
            assert_eq!(read(IdForm::Integer, text), None, "{text:?}");
        }
        assert_eq!(read(IdForm::Digits, "007").as_deref(), Some("007"));
    }

    #[test]
    fn other_forms() {
        let uuid = "0195F1A0-0000-7000-8000-00000000000A";
        assert_eq!(read(IdForm::Uuid, uuid), Some(uuid.to_lowercase()));
        assert_eq!(read(IdForm::Uuid, &uuid.replace('-', "")), None);
        assert_eq!(
            read(IdForm::Hex, "0123ABcd-ef").as_deref(),
            Some("0123abcd-ef")
        );
        assert_eq!(read(IdForm::Hex, "a--b"), None);
        assert_eq!(read(IdForm::Uid, "1.2.840").as_deref(), Some("1.2.840"));
        assert_eq!(read(IdForm::Uid, "1..2"), None);
        assert_eq!(
            read(IdForm::Token, "MRN_1-2.x").as_deref(),
            Some("MRN_1-2.x")
        );
        assert_eq!(read(IdForm::Token, "a/b"), None);
        assert_eq!(IdPattern::new(IdForm::Token, 3).read("abcd"), None);
    }
}
