//! Seals each value under its table, key, epoch and expiry, so that none can be read, moved or prolonged on disk.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use jiff::Timestamp;

use super::{Entry, NEVER, StoreError, Table, backend::Cell};
use crate::secret::Secret;

/// The version of the sealed form: `version | epoch | nonce | ciphertext and tag`.
const VERSION: u8 = 1;
const INFO: &[u8] = b"chartgate store v1";

/// The key that seals values, and those before it that still open.
pub(super) struct Sealer {
    newest: LessSafeKey,
    older: Vec<LessSafeKey>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

impl Sealer {
    /// Derives a key from each master key (HKDF-SHA256); the first one seals.
    pub(super) fn new(masters: &[Secret<Vec<u8>>]) -> Result<Self, StoreError> {
        let keys: Result<Vec<_>, _> = masters.iter().map(Self::derive).collect();
        let mut keys = keys?.into_iter();
        let newest = keys
            .next()
            .ok_or_else(|| StoreError::Unavailable("the store has no key".to_owned()))?;
        Ok(Self {
            newest,
            older: keys.collect(),
        })
    }

    fn derive(master: &Secret<Vec<u8>>) -> Result<LessSafeKey, StoreError> {
        let failed = |what: &str| StoreError::Unavailable(format!("the store key: {what}"));
        if master.expose().len() < 32 {
            return Err(failed("the master key is shorter than 256 bits"));
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(master.expose());
        let key = prk
            .expand(&[INFO], &AES_256_GCM)
            .map(UnboundKey::from)
            .ok()
            .ok_or_else(|| failed("it cannot be derived"))?;
        Ok(LessSafeKey::new(key))
    }

    pub(super) fn seal(
        &self,
        table: Table,
        key: &str,
        epoch: u64,
        value: &[u8],
        expires: Timestamp,
    ) -> Result<Cell, StoreError> {
        let failed = || StoreError::Unavailable("a value cannot be sealed".to_owned());
        let expires = expires.min(NEVER).as_millisecond();
        // Random nonces are safe for 2^32 values under one key (NIST SP 800-38D §8.3): a hundred years at one a second.
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).ok().ok_or_else(failed)?;
        let mut body = value.to_vec();
        self.newest
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding(table, key, epoch, expires)),
                &mut body,
            )
            .ok()
            .ok_or_else(failed)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&epoch.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Ok(Cell { expires, sealed })
    }

    pub(super) fn open(
        &self,
        table: Table,
        key: &str,
        cell: &Cell,
    ) -> Result<(u64, Entry), StoreError> {
        self.try_open(table, key, cell).ok_or(StoreError::Sealed {
            table: table.name(),
        })
    }

    fn try_open(&self, table: Table, key: &str, cell: &Cell) -> Option<(u64, Entry)> {
        let (version, rest) = cell.sealed.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let epoch = u64::from_be_bytes(*epoch);
        let bound = binding(table, key, epoch, cell.expires);
        let opened = |sealer: &LessSafeKey| {
            let mut body = body.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = sealer.open_in_place(nonce, Aad::from(&bound), &mut body);
            let length = opened.ok()?.len();
            body.truncate(length);
            Some(body)
        };
        let body = std::iter::once(&self.newest)
            .chain(&self.older)
            .find_map(opened)?;
        let expires = Timestamp::from_millisecond(cell.expires).ok()?;
        let value = Secret::new(body);
        Some((epoch, Entry { value, expires }))
    }
}

/// What a value is sealed under. Each part has its length before it.
///
/// SECURITY: without the lengths, two different splits of the same bytes would be the same binding (CVE-2023-35941).
fn binding(table: Table, key: &str, epoch: u64, expires: i64) -> Vec<u8> {
    let mut bound = Vec::new();
    for part in [
        table.name().as_bytes(),
        key.as_bytes(),
        &epoch.to_be_bytes(),
        &expires.to_be_bytes(),
    ] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        bound.extend_from_slice(&length.to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealer() -> Sealer {
        Sealer::new(&[Secret::new(vec![7; 32])]).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn a_value_opens_only_in_its_own_place() {
        let sealer = sealer();
        let cell = sealer
            .seal(Table::Sessions, "ab", 3, b"value", at(1_000))
            .unwrap();
        let open = |table, key: &str, cell: &Cell| sealer.try_open(table, key, cell);
        let (epoch, entry) = open(Table::Sessions, "ab", &cell).unwrap();
        assert_eq!((epoch, entry.value.expose().as_slice()), (3, &b"value"[..]));
        assert!(open(Table::Logins, "ab", &cell).is_none());
        assert!(open(Table::Sessions, "abc", &cell).is_none());
        let prolonged = Cell {
            expires: 2_000,
            ..cell.clone()
        };
        assert!(open(Table::Sessions, "ab", &prolonged).is_none());
        let other = Sealer::new(&[Secret::new(vec![8; 32])]).unwrap();
        assert!(other.try_open(Table::Sessions, "ab", &cell).is_none());
    }

    #[test]
    fn a_short_master_key_is_refused() {
        assert!(Sealer::new(&[Secret::new(vec![7; 31])]).is_err());
        assert!(Sealer::new(&[]).is_err());
    }

    #[test]
    fn a_key_that_was_rotated_still_opens_and_seals_no_more() {
        let key = |byte| Secret::new(vec![byte; 32]);
        let cell = sealer().seal(Table::Meta, "k", 1, b"value", at(9)).unwrap();
        let rotated = Sealer::new(&[key(8), key(7)]).unwrap();
        assert!(rotated.try_open(Table::Meta, "k", &cell).is_some());
        let cell = rotated.seal(Table::Meta, "k", 1, b"value", at(9)).unwrap();
        assert!(sealer().try_open(Table::Meta, "k", &cell).is_none());
    }

    /// CVE-2023-35941: a MAC that is the same for different field splits.
    #[test]
    fn cve_2023_35941_no_two_splits_share_a_binding() {
        let sealer = sealer();
        let cell = sealer
            .seal(Table::Meta, "sessionsx", 0, b"", at(1))
            .unwrap();
        assert!(sealer.try_open(Table::Sessions, "x", &cell).is_none());
        assert_ne!(
            binding(Table::Meta, "ab", 0, 0),
            binding(Table::Meta, "a", 0, 0)
        );
    }

    proptest! {
        #[test]
        fn no_altered_byte_opens(value in proptest::collection::vec(any::<u8>(), 0..40), at_byte: proptest::sample::Index, bit in 0_u8..8) {
            let sealer = sealer();
            let mut cell = sealer.seal(Table::Sessions, "k", 1, &value, at(5)).unwrap();
            let index = at_byte.index(cell.sealed.len());
            cell.sealed[index] ^= 1 << bit;
            prop_assert!(sealer.try_open(Table::Sessions, "k", &cell).is_none());
        }

        #[test]
        fn any_bytes_are_opened_or_refused(sealed in proptest::collection::vec(any::<u8>(), 0..80), expires: i64) {
            let cell = Cell { expires, sealed };
            prop_assert!(sealer().try_open(Table::Meta, "k", &cell).is_none());
        }
    }
}
