//! Codes that people copy by hand: enrolment codes and recovery codes.
//!
//! Each has 80 random bits. What is kept of them is a plain hash: nobody can try 2^80 codes, so a slow hash would
//! only cost at sign-in, and the hash itself is sealed like everything in the store.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};

use crate::identity::token::NoRandomness;
use crate::secret::Secret;
use crate::store::digest_of;

/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J',
    'K', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];
const CHARACTERS: usize = 16;
const GROUP: usize = 4;
/// The longest that is looked at.
const LONGEST: usize = 64;

/// A code, in its one form without separators.
#[derive(Debug, Clone)]
pub(in crate::identity) struct Code(Secret<String>);

/// What is kept of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::identity) struct Fingerprint(String);

/// What a code is good for; part of its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Good {
    /// Enrolling a first authenticator.
    Enrolment,
    /// Signing in once, without any.
    Recovery,
    /// One half of a sealed account, in the first envelope or the second.
    Envelope(Envelope),
}

/// Which envelope of a sealed account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Envelope {
    First,
    Second,
}

impl Code {
    /// A new code.
    pub(in crate::identity) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0_u8; CHARACTERS];
        aws_lc_rs::rand::fill(&mut bytes).ok().ok_or(NoRandomness)?;
        // 256 is a multiple of 32: each character is as likely as any other.
        let characters = bytes.iter().filter_map(|byte| {
            let index = usize::from(byte % 32);
            ALPHABET.get(index)
        });
        Ok(Self(Secret::new(characters.collect())))
    }

    /// Reads what a person typed: any case, with or without separators, and with the letters that look like digits.
    pub(in crate::identity) fn parse(typed: &str) -> Option<Self> {
        if typed.len() > LONGEST {
            return None;
        }
        let mut code = String::with_capacity(CHARACTERS);
        for character in typed.chars() {
            let plain = match character.to_ascii_uppercase() {
                '-' | ' ' | '\t' | '\r' | '\n' | '\u{2010}'..='\u{2014}' | '\u{a0}' => continue,
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            if !ALPHABET.contains(&plain) {
                return None;
            }
            code.push(plain);
        }
        (code.len() == CHARACTERS).then(|| Self(Secret::new(code)))
    }

    /// In groups, as people read it.
    pub(in crate::identity) fn show(&self) -> String {
        let mut shown = String::new();
        for (position, character) in self.0.expose().chars().enumerate() {
            if position > 0 && position.is_multiple_of(GROUP) {
                shown.push('-');
            }
            shown.push(character);
        }
        shown
    }

    /// The fingerprint of the code of `owner`.
    pub(in crate::identity) fn fingerprint(&self, good: Good, owner: &str) -> Fingerprint {
        let purpose = match good {
            Good::Enrolment => "chartgate enrolment code",
            Good::Recovery => "chartgate recovery code",
            Good::Envelope(Envelope::First) => "chartgate emergency account, first envelope",
            Good::Envelope(Envelope::Second) => "chartgate emergency account, second envelope",
        };
        let parts = [purpose, owner, self.0.expose()];
        Fingerprint(hex::encode(digest_of(parts.map(str::as_bytes))))
    }
}

impl Fingerprint {
    /// Whether both are of one code.
    pub(in crate::identity) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = Code::generate().unwrap();
        let shown = code.show();
        assert_eq!(shown.len(), 19);
        let own = code.fingerprint(Good::Recovery, "a|1");
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', " "),
            shown.replace('0', "o").replace('1', "l"),
            format!(" {}\n", shown.replace('-', "")),
        ] {
            let read = Code::parse(&typed).unwrap();
            assert!(read.fingerprint(Good::Recovery, "a|1").is(&own), "{typed}");
        }
        assert!(!code.fingerprint(Good::Recovery, "a|2").is(&own));
        assert!(!code.fingerprint(Good::Enrolment, "a|1").is(&own));
        assert_eq!(format!("{code:?}"), "Code([redacted])");
    }

    proptest! {
        #[test]
        fn another_code_is_another_code(at in 0_usize..16, with in 0_usize..32, junk in "\\PC{0,40}") {
            let code = Code::generate().unwrap();
            let mut characters: Vec<char> = code.0.expose().chars().collect();
            let before = characters[at];
            characters[at] = ALPHABET[with];
            let changed: String = characters.into_iter().collect();
            let own = code.fingerprint(Good::Recovery, "a");
            let read = Code::parse(&changed).unwrap().fingerprint(Good::Recovery, "a");
            prop_assert_eq!(read.is(&own), before == ALPHABET[with]);
            let read = Code::parse(&junk).map(|read| read.fingerprint(Good::Recovery, "a"));
            prop_assert!(!read.is_some_and(|read| read.is(&own)));
        }
    }
}
