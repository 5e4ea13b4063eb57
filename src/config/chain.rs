//! What a certificate file says: names, expiry, and whether the key is its own.

use std::path::Path;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Certificate;

/// Why a certificate file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The file cannot be read, or is not PEM.
    #[error("`{file}` cannot be read as PEM: {source}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("`{0}` holds no certificate")]
    Empty(String),
    /// A certificate is not X.509.
    #[error("`{file}` holds a certificate that cannot be read: {reason}")]
    X509 {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key cannot be used.
    #[error("`{file}` holds a key that cannot be used: {source}")]
    Key {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The key is not the certificate's.
    #[error("the key in `{key}` does not belong to the certificate in `{chain}`")]
    Mismatch {
        /// The chain's file.
        chain: String,
        /// The key's file.
        key: String,
    },
}

/// The key that a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySize {
    /// `RSA`, `EC`, or `other`.
    pub kind: &'static str,
    /// Its size in bits.
    pub bits: usize,
}

/// The first certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    names: Vec<String>,
    /// The key that it is for.
    pub key: KeySize,
    /// Before this it does not count.
    pub not_before: Timestamp,
    /// After this it does not count.
    pub not_after: Timestamp,
}

impl Leaf {
    /// The DNS names it is for, lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is for this (lower-case) host; a wildcard stands for exactly one label.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => name == host,
        })
    }
}

/// Reads the leaf of a PEM chain.
///
/// # Errors
/// [`ChainError`] for a file that is no chain.
pub fn leaf(chain: &Path) -> Result<Leaf, ChainError> {
    parse_leaf(&certificates(chain)?, chain)
}

/// Reads a chain with its key, and makes sure that they belong together.
///
/// # Errors
/// [`ChainError`] says which of the two files is wrong and why.
pub fn matched(certificate: &Certificate) -> Result<Leaf, ChainError> {
    let chain = certificates(&certificate.chain)?;
    let leaf = parse_leaf(&chain, &certificate.chain)?;
    let file = certificate.key.display().to_string();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(|source| ChainError::Pem {
        file: file.clone(),
        source,
    })?;
    let key = any_supported_type(&key).map_err(|source| ChainError::Key {
        file: file.clone(),
        source,
    })?;
    CertifiedKey::new(chain, key)
        .keys_match()
        .ok()
        .ok_or_else(|| ChainError::Mismatch {
            chain: certificate.chain.display().to_string(),
            key: file,
        })?;
    Ok(leaf)
}

fn certificates(chain: &Path) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|source| ChainError::Pem {
            file: chain.display().to_string(),
            source,
        })
}

fn parse_leaf(chain: &[CertificateDer<'static>], path: &Path) -> Result<Leaf, ChainError> {
    let file = path.display().to_string();
    let unreadable = |reason: String| ChainError::X509 {
        file: file.clone(),
        reason,
    };
    let der = chain
        .first()
        .ok_or_else(|| ChainError::Empty(file.clone()))?;
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
    let alternative = certificate
        .subject_alternative_name()
        .map_err(|error| unreadable(error.to_string()))?;
    let names = alternative
        .iter()
        .flat_map(|names| names.value.general_names.iter());
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    });
    let time =
        |seconds| Timestamp::from_second(seconds).map_err(|error| unreadable(error.to_string()));
    let validity = certificate.validity();
    Ok(Leaf {
        names: names.collect(),
        key: key_size(&certificate),
        not_before: time(validity.not_before.timestamp())?,
        not_after: time(validity.not_after.timestamp())?,
    })
}

fn key_size(certificate: &X509Certificate<'_>) -> KeySize {
    let key = certificate.public_key();
    let parsed = key.parsed();
    let (kind, bits) = match &parsed {
        Ok(PublicKey::RSA(key)) => ("RSA", key.key_size()),
        Ok(PublicKey::EC(point)) => ("EC", point.key_size()),
        // Ed25519 and the like: the size of the key as it stands in the certificate.
        _ => ("other", key.subject_public_key.data.len().saturating_mul(8)),
    };
    KeySize { kind, bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf_for(names: &[&str]) -> Leaf {
        Leaf {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            key: KeySize {
                kind: "EC",
                bits: 256,
            },
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::MAX,
        }
    }

    #[test]
    fn a_wildcard_is_one_label() {
        let leaf = leaf_for(&["*.hospital.example", "lab.example"]);
        assert!(leaf.covers("emr.hospital.example"));
        assert!(leaf.covers("lab.example"));
        assert!(!leaf.covers("a.b.hospital.example"));
        assert!(!leaf.covers("hospital.example"));
        assert!(!leaf.covers("www.lab.example"));
    }

    #[test]
    fn a_chain_is_read_with_its_key_and_a_foreign_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let one =
            rcgen::generate_simple_self_signed(vec!["EMR.hospital.example".to_owned()]).unwrap();
        let two =
            rcgen::generate_simple_self_signed(vec!["emr.hospital.example".to_owned()]).unwrap();
        let chain = write("one.pem", one.cert.pem());
        let certificate = Certificate {
            chain: chain.clone(),
            key: write("one.key", one.signing_key.serialize_pem()),
        };
        let leaf = matched(&certificate).unwrap();
        assert_eq!(leaf.names(), ["emr.hospital.example"]);
        assert_eq!((leaf.key.kind, leaf.key.bits), ("EC", 256));
        assert!(leaf.not_before < leaf.not_after);

        let foreign = Certificate {
            chain,
            key: write("two.key", two.signing_key.serialize_pem()),
        };
        assert!(matches!(
            matched(&foreign),
            Err(ChainError::Mismatch { .. })
        ));
        let empty = Certificate {
            chain: write("empty.pem", String::new()),
            key: certificate.key,
        };
        assert!(matches!(matched(&empty), Err(ChainError::Empty(_))));
    }
}
