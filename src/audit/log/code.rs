//! The recovery code: 256 random bits that a person can write down and type again.
//!
//! Eight groups of seven characters of Crockford's base 32; the last 24 bits are a checksum, so
//! that a typing error is told from a code for another key.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::crypt;
use super::keys::KeyError;
use crate::secret::Secret;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECK_DOMAIN: &[u8] = b"chartgate/audit/recovery-code/v1\0";
const GROUP: usize = 7;
/// 32 bytes of code and 3 of checksum are exactly 56 characters.
const CODE_BYTES: usize = 35;
const CODE_CHARACTERS: usize = 56;

/// The operator's way back to the master key.
pub struct RecoveryCode(Secret<[u8; 32]>);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode([redacted])")
    }
}

impl RecoveryCode {
    /// A new random code.
    ///
    /// # Errors
    /// [`KeyError::Crypt`] where the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let bytes = crypt::random().map_err(|source| KeyError::Crypt {
            what: "generating the recovery code",
            source,
        })?;
        Ok(Self(Secret::new(bytes)))
    }

    /// The code as text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let check = checksum(self.0.expose());
        let mut text = Zeroizing::new(String::with_capacity(64));
        let mut bits: u16 = 0;
        let mut held = 0_u32;
        let mut written = 0_usize;
        for byte in self.0.expose().iter().chain(&check) {
            bits = (bits << 8) | u16::from(*byte);
            held = held.saturating_add(8);
            while held >= 5 {
                held = held.saturating_sub(5);
                let digit = usize::from((bits >> held) & 31);
                if written != 0 && written.is_multiple_of(GROUP) {
                    text.push('-');
                }
                text.extend(ALPHABET.get(digit).map(|c| char::from(*c)));
                written = written.saturating_add(1);
            }
        }
        text
    }

    /// Reads a code as a person types it: any case, spaces and dashes anywhere, `O` for `0`,
    /// `I` and `L` for `1`.
    ///
    /// # Errors
    /// [`KeyError::Code`] saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(CODE_BYTES));
        let mut bits: u16 = 0;
        let mut held = 0_u32;
        let mut read = 0_usize;
        for character in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let digit =
                digit(character).ok_or(KeyError::Code("it has a character that no code has"))?;
            bits = (bits << 5) | digit;
            held = held.saturating_add(5);
            read = read.saturating_add(1);
            if held >= 8 {
                held = held.saturating_sub(8);
                bytes.extend(u8::try_from((bits >> held) & 0xff));
            }
            if read > CODE_CHARACTERS {
                return Err(KeyError::Code(
                    "it is too long; a code has eight groups of seven",
                ));
            }
        }
        let Some((code, check)) = bytes.split_first_chunk::<32>() else {
            return Err(KeyError::Code(
                "it is too short; a code has eight groups of seven",
            ));
        };
        if read != CODE_CHARACTERS {
            return Err(KeyError::Code(
                "it is too short; a code has eight groups of seven",
            ));
        }
        if check != checksum(code) {
            return Err(KeyError::Code(
                "the checksum does not fit: a character was misread",
            ));
        }
        let mut copy = *code;
        let parsed = Self(Secret::new(copy));
        copy.zeroize();
        Ok(parsed)
    }

    pub(super) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

fn checksum(code: &[u8; 32]) -> [u8; 3] {
    let digest = crypt::sha256(&[CHECK_DOMAIN, code]);
    let [a, b, c, ..] = *digest.as_bytes();
    [a, b, c]
}

fn digit(character: char) -> Option<u16> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = ALPHABET.iter().position(|c| char::from(*c) == upper)?;
    u16::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eight_groups_of_seven() {
        let text = RecoveryCode(Secret::new([0xa5; 32])).reveal();
        let groups: Vec<_> = text.split('-').collect();
        assert_eq!(groups.len(), 8);
        assert!(
            groups.iter().all(|group| group.len() == GROUP),
            "{groups:?}"
        );
    }

    proptest::proptest! {
        #[test]
        fn every_code_reads_back(bytes: [u8; 32]) {
            let text = RecoveryCode(Secret::new(bytes)).reveal();
            let read = RecoveryCode::parse(&text).unwrap();
            proptest::prop_assert_eq!(read.expose(), &bytes);
        }

        #[test]
        fn every_misread_character_is_noticed(bytes: [u8; 32], at in 0_usize..56, to in 0_usize..32) {
            let text = RecoveryCode(Secret::new(bytes)).reveal().replace('-', "");
            let mut typed = text.clone().into_bytes();
            typed[at] = ALPHABET[to];
            let typed = String::from_utf8(typed).unwrap();
            proptest::prop_assume!(typed != text);
            proptest::prop_assert!(RecoveryCode::parse(&typed).is_err());
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _total = RecoveryCode::parse(&text);
        }
    }
}
