//! Whose signature a policy bundle needs: signed notes over the bundle's digest, in `bundle.sig`.
//!
//! A signature is a line of a signed note (C2SP `signed-note`, Ed25519), so a bundle can have several. What is signed is
//! a text of three lines that names the bundle, its version and its SHA-256.
//!
//! *Never*: a signature that is there and does not fit, even where none is required.
//! *On failure*: [`TrustError`], which says why and what to do.

use std::collections::BTreeSet;

use crate::audit::log::{NoteError, SigningKey, VerifierKey};
use crate::config;
use crate::policy::bundle::Bundle;

/// The first line of what is signed. No key can have this name, because names have no spaces.
const KIND: &str = "chartgate policy bundle";
/// How a signature line begins.
const SIGNATURE: &str = "\u{2014} ";

/// Whose signatures count, and how many a bundle needs.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<VerifierKey>,
    /// How many signatures are required; 0 where a bundle may be unsigned.
    needed: usize,
}

/// Why a bundle is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A trusted key cannot be read.
    #[error(
        "`{text}` in [policy] trusted_keys is no verifier key ({reason}); write the line that `chartgate policy keygen` printed"
    )]
    Key {
        /// What is written.
        text: String,
        /// What is wrong with it.
        reason: NoteError,
    },
    /// A key is there twice.
    #[error(
        "the key `{0}` is twice in [policy] trusted_keys; each key counts once, so remove one of them"
    )]
    Twice(String),
    /// It has no signature.
    #[error(
        "the bundle is not signed: it has no bundle.sig; sign it with `chartgate policy sign --key FILE`"
    )]
    Unsigned,
    /// What is signed is another bundle.
    #[error(
        "bundle.sig belongs to another bundle, or the bundle was changed after it was signed (its sha256 is {sha256}); review it and sign it again"
    )]
    Altered {
        /// The digest of the bundle as it is.
        sha256: String,
    },
    /// A signature is forged or damaged.
    #[error("bundle.sig cannot be relied on: {0}; sign the bundle again")]
    Note(#[from] NoteError),
    /// Too few of the trusted keys signed it.
    #[error(
        "the bundle is signed by {}, and {needed} of the keys in [policy] trusted_keys have to sign it",
        named(signers)
    )]
    TooFew {
        /// The trusted keys that signed it.
        signers: Vec<String>,
        /// How many are needed.
        needed: usize,
    },
}

fn named(signers: &[String]) -> String {
    if signers.is_empty() {
        "no trusted key".to_owned()
    } else {
        signers.join(", ")
    }
}

impl Trust {
    /// What the configuration says.
    ///
    /// # Errors
    /// [`TrustError::Key`] and [`TrustError::Twice`].
    pub fn of(policy: &config::Policy) -> Result<Self, TrustError> {
        let mut keys = Vec::new();
        let mut seen = BTreeSet::new();
        for text in &policy.trusted_keys {
            let key: VerifierKey = text.parse().map_err(|reason| TrustError::Key {
                text: text.clone(),
                reason,
            })?;
            // SECURITY: one key under two names must not make two signatures.
            let public = text.rsplit('+').next().unwrap_or_default().trim_end();
            if !seen.insert(public.to_owned()) {
                return Err(TrustError::Twice(key.name().to_owned()));
            }
            keys.push(key);
        }
        Ok(Self {
            keys,
            needed: policy.required_signatures,
        })
    }

    /// The trusted keys that signed `bundle`, by name.
    ///
    /// # Errors
    /// [`TrustError`]; the bundle must not be used.
    pub fn examine(&self, bundle: &Bundle) -> Result<Vec<String>, TrustError> {
        if self.keys.is_empty() {
            return Ok(Vec::new());
        }
        let Some(note) = bundle.signature() else {
            return match self.needed {
                0 => Ok(Vec::new()),
                _some => Err(TrustError::Unsigned),
            };
        };
        let statement = statement(bundle);
        let mut signers = Vec::new();
        for key in &self.keys {
            match key.open(note) {
                Ok(text) if text == statement => signers.push(key.name().to_owned()),
                Ok(_other) => {
                    return Err(TrustError::Altered {
                        sha256: bundle.digest().to_owned(),
                    });
                }
                Err(NoteError::OtherKey(_)) => {}
                Err(error @ (NoteError::Malformed(_) | NoteError::BadSignature(_))) => {
                    return Err(error.into());
                }
            }
        }
        if signers.len() < self.needed {
            return Err(TrustError::TooFew {
                signers,
                needed: self.needed,
            });
        }
        Ok(signers)
    }
}

/// What is signed.
fn statement(bundle: &Bundle) -> String {
    format!("{KIND}\n{}", particulars(bundle))
}

fn particulars(bundle: &Bundle) -> String {
    let version: Vec<_> = bundle.version().split_whitespace().collect();
    format!(
        "{} {}\nsha256 {}\n",
        bundle.name(),
        version.join(" "),
        bundle.digest()
    )
}

/// The text of `bundle.sig` with the signature of `key`: beside those of others, if they signed the same.
#[must_use]
pub fn signed(bundle: &Bundle, key: &SigningKey) -> String {
    let note = key.sign_statement(KIND, &particulars(bundle));
    let statement = statement(bundle);
    let others = bundle
        .signature()
        .and_then(|before| before.strip_prefix(&statement)?.strip_prefix('\n'));
    let mine = format!("{SIGNATURE}{} ", key.verifier().name());
    let mut all = note;
    let lines = others.into_iter().flat_map(str::lines);
    for line in lines.filter(|line| line.starts_with(SIGNATURE) && !line.starts_with(&mine)) {
        all.push_str(line);
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn bundle(place: &Path) -> Bundle {
        Bundle::load(place).unwrap()
    }

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for name in ["bundle.toml", "schema.cedarschema", "roles.toml"] {
            fs::copy(shipped.join(name), place.path().join(name)).unwrap();
        }
        place
    }

    fn trust(keys: &[&SigningKey], needed: usize) -> Trust {
        let keys = keys.iter().map(|key| key.verifier().to_string());
        of(keys.collect(), needed).unwrap()
    }

    fn of(trusted_keys: Vec<String>, needed: usize) -> Result<Trust, TrustError> {
        Trust::of(&config::Policy {
            directory: "policies".into(),
            watch_interval: Duration::ZERO,
            review_interval: Duration::ZERO,
            trusted_keys,
            required_signatures: needed,
        })
    }

    fn sign(place: &Path, key: &SigningKey) {
        fs::write(place.join("bundle.sig"), signed(&bundle(place), key)).unwrap();
    }

    #[test]
    fn what_is_unsigned_altered_or_signed_by_a_stranger_is_not_trusted() {
        let place = place();
        let [anna, ben, eve] = ["hospital.example/anna", "hospital.example/ben", "eve"]
            .map(|name| SigningKey::generate(name).unwrap());
        let examine = |trust: &Trust| trust.examine(&bundle(place.path()));
        let digest = bundle(place.path()).digest().to_owned();
        assert_eq!(examine(&trust(&[&anna], 1)), Err(TrustError::Unsigned));
        assert_eq!(
            examine(&trust(&[&anna], 0)),
            Ok(Vec::new()),
            "none is required"
        );
        assert_eq!(examine(&Trust::default()), Ok(Vec::new()));

        sign(place.path(), &eve);
        let too_few = |signers: &[&str], needed| {
            let signers = signers.iter().map(|name| (*name).to_owned()).collect();
            Err(TrustError::TooFew { signers, needed })
        };
        assert_eq!(examine(&trust(&[&anna, &ben], 1)), too_few(&[], 1));
        sign(place.path(), &anna);
        sign(place.path(), &anna);
        assert_eq!(
            bundle(place.path()).digest(),
            digest,
            "signatures are no part of the digest"
        );
        let anna_only = Ok(vec!["hospital.example/anna".to_owned()]);
        assert_eq!(examine(&trust(&[&anna, &ben], 1)), anna_only);
        assert_eq!(
            examine(&trust(&[&anna, &ben], 2)),
            too_few(&["hospital.example/anna"], 2),
            "one key that signs twice is one"
        );
        sign(place.path(), &ben);
        assert_eq!(
            examine(&trust(&[&anna, &ben], 2)).map(|all| all.len()),
            Ok(2)
        );

        let manifest = place.path().join("bundle.toml");
        let before = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, format!("{before}# changed\n")).unwrap();
        for needed in [0, 1] {
            assert!(matches!(
                examine(&trust(&[&anna], needed)),
                Err(TrustError::Altered { .. })
            ));
        }
        fs::write(&manifest, before).unwrap();
        let note = fs::read_to_string(place.path().join("bundle.sig")).unwrap();
        let line = note.lines().find(|line| line.contains("/anna")).unwrap();
        let mut forged = line.as_bytes().to_vec();
        let near_the_end = forged.iter_mut().nth_back(9).unwrap();
        *near_the_end = if *near_the_end == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        fs::write(place.path().join("bundle.sig"), note.replace(line, &forged)).unwrap();
        assert!(matches!(
            examine(&trust(&[&anna], 0)),
            Err(TrustError::Note(NoteError::BadSignature(_)))
        ));
        fs::write(place.path().join("bundle.sig"), "nonsense").unwrap();
        assert!(matches!(
            examine(&trust(&[&anna], 0)),
            Err(TrustError::Note(NoteError::Malformed(_)))
        ));
        // Signing again starts over where what is there is about something else.
        sign(place.path(), &anna);
        assert_eq!(examine(&trust(&[&anna], 1)), anna_only);
    }

    #[test]
    fn a_key_that_cannot_be_read_or_is_there_twice_is_named() {
        let anna = SigningKey::generate("anna").unwrap();
        let text = anna.verifier().to_string();
        assert!(matches!(
            of(vec!["anna".to_owned()], 1),
            Err(TrustError::Key { .. })
        ));
        let twice = of(vec![text.clone(), text], 1);
        assert_eq!(twice.map(drop), Err(TrustError::Twice("anna".to_owned())));
    }
}
