//! The text forms of Ed25519 keys in signed notes, which are those of Go's `sumdb/note`: `<name>+<hash>+<base64>` and
//! `PRIVATE+KEY+<name>+<hash>+<base64>`. A byte before the key says what it signs.
//!
//! *Never*: shows a private key; it leaves this file only into its own key file.

use std::path::Path;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

use super::cosign::ALGORITHM_COSIGNATURE;
use super::crypt::{self, CryptError};
use super::keys::{KeyError, read_private, write_private, write_public};
use super::note::{ALGORITHM_ED25519, NoteError};

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// A public key under its name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    algorithm: u8,
    pub(super) name: String,
    /// By which signature lines tell keys of one name apart.
    pub(super) hash: [u8; 4],
    pub(super) key: [u8; 32],
}

impl PublicKey {
    fn new(name: String, algorithm: u8, key: [u8; 32]) -> Self {
        let digest = crypt::sha256(&[name.as_bytes(), b"\n", &[algorithm], &key]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self {
            algorithm,
            name,
            hash: [a, b, c, d],
            key,
        }
    }

    pub(super) fn parse(text: &str, algorithm: u8) -> Result<Self, NoteError> {
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Malformed("a verifier key is name+hash+base64"));
        };
        let name = checked_name(name)
            .ok()
            .ok_or(NoteError::Malformed("the verifier key's name"))?;
        let key = BASE64.decode(key).unwrap_or_default();
        let key = match key.split_first() {
            Some((kind, key)) if *kind == algorithm => key,
            Some(_) | None => {
                return Err(NoteError::Malformed(
                    "the verifier key is of another kind than the one that is needed",
                ));
            }
        };
        let key = <[u8; 32]>::try_from(key)
            .ok()
            .ok_or(NoteError::Malformed("the verifier key has a wrong length"))?;
        let parsed = Self::new(name, algorithm, key);
        if hex::encode(parsed.hash) == hash {
            Ok(parsed)
        } else {
            Err(NoteError::Malformed(
                "the verifier key's hash does not fit its key",
            ))
        }
    }

    /// Reads the key from a `.pub` file.
    pub(super) fn read(path: &Path, algorithm: u8) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, algorithm)
            .ok()
            .ok_or_else(|| KeyError::Malformed {
                path: path.to_owned(),
                expected: expected(algorithm, &text),
            })
    }

    pub(super) fn text(&self) -> String {
        let mut key = vec![self.algorithm];
        key.extend_from_slice(&self.key);
        format!(
            "{}+{}+{}",
            self.name,
            hex::encode(self.hash),
            BASE64.encode(key)
        )
    }
}

/// What a file should hold that holds `text`.
fn expected(algorithm: u8, text: &str) -> &'static str {
    let is = |algorithm| PublicKey::parse(text, algorithm).is_ok();
    match algorithm {
        ALGORITHM_ED25519 if is(ALGORITHM_COSIGNATURE) => "trail's verifier key (but a witness's)",
        ALGORITHM_COSIGNATURE if is(ALGORITHM_ED25519) => "witness's verifier key (but a trail's)",
        _ => "verifier key (name+hash+base64)",
    }
}

/// A key that signs.
pub(super) struct SecretKey {
    pub(super) pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SecretKey {
    pub(super) fn generate(name: &str, algorithm: u8) -> Result<Self, KeyError> {
        let mut seed = crypt::random::<32>().map_err(|source| KeyError::Crypt {
            what: "generating the signing key",
            source,
        })?;
        let made = Self::from_seed(name, algorithm, &seed);
        seed.zeroize();
        made
    }

    fn from_seed(name: &str, algorithm: u8, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let name = checked_name(name)?;
        let failed = || KeyError::Crypt {
            what: "loading the signing key",
            source: CryptError,
        };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .ok()
            .ok_or_else(failed)?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .ok()
            .ok_or_else(failed)?;
        Ok(Self {
            pair,
            public: PublicKey::new(name, algorithm, public),
        })
    }

    pub(super) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Writes the private key to a new file that only the owner can read, and the public key to a second one that
    /// everyone may.
    pub(super) fn write(&self, private: &Path, public: &Path) -> Result<(), KeyError> {
        let failed = || KeyError::Crypt {
            what: "saving the signing key",
            source: CryptError,
        };
        let seed = self.pair.seed().ok().ok_or_else(failed)?;
        let seed = seed.as_be_bytes().ok().ok_or_else(failed)?;
        let mut key = Zeroizing::new(vec![self.public.algorithm]);
        key.extend_from_slice(seed.as_ref());
        let mut text = Zeroizing::new(format!(
            "{PRIVATE_PREFIX}{}+{}+",
            self.public.name,
            hex::encode(self.public.hash)
        ));
        BASE64.encode_string(key.as_slice(), &mut text);
        text.push('\n');
        write_private(private, text.as_bytes())?;
        write_public(public, format!("{}\n", self.public.text()).as_bytes())
    }

    /// Reads the private key from its file.
    pub(super) fn read(path: &Path, algorithm: u8) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let malformed = || KeyError::Malformed {
            path: path.to_owned(),
            expected: "PRIVATE+KEY",
        };
        let mut parts = text
            .trim_end()
            .strip_prefix(PRIVATE_PREFIX)
            .ok_or_else(malformed)?
            .splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let key = Zeroizing::new(BASE64.decode(key).unwrap_or_default());
        let seed = match key.split_first() {
            Some((kind, seed)) if *kind == algorithm => seed,
            Some(_) | None => return Err(malformed()),
        };
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok().ok_or_else(malformed)?);
        let parsed = Self::from_seed(name, algorithm, &seed)?;
        if hex::encode(parsed.public.hash) != hash {
            return Err(malformed());
        }
        Ok(parsed)
    }
}

fn checked_name(name: &str) -> Result<String, KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > 255 || name.contains(bad) {
        return Err(KeyError::Name(name.to_owned()));
    }
    Ok(name.to_owned())
}
