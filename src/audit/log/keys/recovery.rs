//! The recovery wrap of the master key: sealed under a code that is on paper.
//!
//! *Owns*: the format of `master.recovery`. *Never*: keeps the code; it is returned once, at generation.
//! *On failure*: [`KeyError`]; a code that belongs to another key opens nothing.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::file::{read_limited, replace_private, write_private};
use super::{KEY_BYTES, KeyError, KeyId, MOST_KEYS, MasterKey};
use crate::audit::log::code::RecoveryCode;
use crate::audit::log::crypt;

/// One key.
const RECOVERY_HEADER: &str = "chartgate-master-recovery-v1";
/// Every key of the file, newest first.
const RING_RECOVERY_HEADER: &str = "chartgate-master-recovery-v2";
const RECOVERY_DOMAIN: &[u8] = b"chartgate/audit/master-recovery/v1\0";

impl MasterKey {
    /// Seals the key under a new recovery code, writes `master.recovery`, and returns the code,
    /// which nothing keeps: show it once and have it put on paper.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten.
    pub fn write_recovery(&self, path: &Path) -> Result<RecoveryCode, KeyError> {
        let code = RecoveryCode::generate()?;
        self.write_recovery_under(path, &code)?;
        Ok(code)
    }

    /// The same under a code that opens other keys too: one sheet of paper for all of them.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never overwritten.
    pub fn write_recovery_under(&self, path: &Path, code: &RecoveryCode) -> Result<(), KeyError> {
        write_private(path, self.recovery_text(code)?.as_bytes())
    }

    /// Puts a new recovery file in place of the one at `path`, all or nothing.
    ///
    /// # Errors
    /// [`KeyError::Io`]; the file is then what it was.
    pub fn replace_recovery(&self, path: &Path, code: &RecoveryCode) -> Result<(), KeyError> {
        replace_private(path, self.recovery_text(code)?.as_bytes())
    }

    fn recovery_text(&self, code: &RecoveryCode) -> Result<String, KeyError> {
        let failed = |source| KeyError::Crypt {
            what: "sealing the master key",
            source,
        };
        let salt = crypt::random::<16>().map_err(failed)?;
        let key = crypt::derive(&salt, code.expose(), RECOVERY_DOMAIN).map_err(failed)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(KEY_BYTES.saturating_mul(MOST_KEYS)));
        for key in self.all() {
            plain.extend_from_slice(key.key.expose());
        }
        let aad = recovery_aad(self.id);
        let sealed = crypt::seal(key.expose(), &aad, &plain).map_err(failed)?;
        let header = if self.older.is_empty() {
            RECOVERY_HEADER
        } else {
            RING_RECOVERY_HEADER
        };
        Ok(format!(
            "{header}\n{}\n{}\n{}\n",
            self.id,
            BASE64.encode(salt),
            BASE64.encode(sealed)
        ))
    }

    /// The name of the key that a recovery file brings back, without opening it.
    ///
    /// # Errors
    /// [`KeyError::Io`], [`KeyError::Malformed`].
    pub fn recovered_by(path: &Path) -> Result<String, KeyError> {
        let text = read_limited(path)?;
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(RECOVERY_HEADER | RING_RECOVERY_HEADER), Some(id)) => Ok(id.to_owned()),
            _ => Err(KeyError::Malformed {
                path: path.to_owned(),
                expected: RECOVERY_HEADER,
            }),
        }
    }

    /// Gets the master key back from its recovery file and the code on paper.
    ///
    /// # Errors
    /// [`KeyError::Crypt`] for a code that belongs to another key; [`KeyError::Malformed`].
    pub fn recover(path: &Path, code: &RecoveryCode) -> Result<Self, KeyError> {
        let text = read_limited(path)?;
        let malformed = || KeyError::Malformed {
            path: path.to_owned(),
            expected: RECOVERY_HEADER,
        };
        let mut lines = text.lines();
        let (Some(RECOVERY_HEADER | RING_RECOVERY_HEADER), Some(id), Some(salt), Some(sealed)) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed());
        };
        let mut id_bytes = [0; 8];
        hex::decode_to_slice(id, &mut id_bytes)
            .ok()
            .ok_or_else(malformed)?;
        let salt = BASE64.decode(salt).ok().ok_or_else(malformed)?;
        let sealed = BASE64.decode(sealed).ok().ok_or_else(malformed)?;
        let failed = |source| KeyError::Crypt {
            what: "opening the recovery file with this code",
            source,
        };
        let key = crypt::derive(&salt, code.expose(), RECOVERY_DOMAIN).map_err(failed)?;
        let aad = recovery_aad(KeyId(id_bytes));
        let plain = crypt::open(key.expose(), &aad, &sealed).map_err(failed)?;
        let (keys, rest) = plain.expose().as_chunks::<KEY_BYTES>();
        let keys = keys.iter().map(|bytes| Self::from_bytes(*bytes, None));
        let ring = Self::ring(keys.collect()).filter(|_| rest.is_empty());
        ring.ok_or_else(malformed)
    }
}

fn recovery_aad(id: KeyId) -> Vec<u8> {
    let mut aad = RECOVERY_DOMAIN.to_vec();
    aad.extend_from_slice(&id.0);
    aad
}
