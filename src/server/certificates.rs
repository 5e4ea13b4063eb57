//! The certificates that the gateway shows, chosen by SNI and replaced without a restart.
//!
//! *Owns*: the loaded certificates (an `ArcSwap`; handshakes read it without a lock).
//! *Never*: a half-loaded set. A reload that finds any problem changes nothing.
//! *On failure*: [`CertificateError`], one for every problem, each naming the file and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::clock::SharedClock;
use crate::config;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("{file}: {source}; name a readable PEM file")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// A chain without a certificate.
    #[error("{file}: holds no certificate; put the leaf first, then the intermediates")]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The key is of a kind that cannot sign, or belongs to another certificate.
    #[error(
        "{key} does not belong to {chain}: {source}; configure the key that the certificate was issued for"
    )]
    Mismatch {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What went wrong.
        source: rustls::Error,
    },
    /// The leaf is not an X.509 certificate.
    #[error("{file}: the first certificate cannot be parsed: {reason}; have it issued again")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The leaf names no host.
    #[error(
        "{file}: has no DNS or IP name in subjectAltName; have it issued with the EMR's host names"
    )]
    Nameless {
        /// The file.
        file: PathBuf,
    },
    /// The leaf has expired, or its time has not come.
    #[error("{file}: is valid from {from} to {until} only; install a current certificate")]
    OutOfDate {
        /// The file.
        file: PathBuf,
        /// Start of validity.
        from: Timestamp,
        /// End of validity.
        until: Timestamp,
    },
}

/// The certificates of a gateway.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<config::Certificate>,
    clock: SharedClock,
    loaded: ArcSwap<Vec<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
    not_after: Timestamp,
    file: PathBuf,
}

/// When a certificate ends, for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The chain file.
    pub file: PathBuf,
    /// The end of its leaf's validity.
    pub not_after: Timestamp,
}

impl Certificates {
    /// Loads every certificate of the configuration.
    ///
    /// # Errors
    /// All problems of all files at once.
    pub fn load(
        files: &[config::Certificate],
        clock: SharedClock,
    ) -> Result<Arc<Self>, Vec<CertificateError>> {
        let loaded = load_all(files, clock.now())?;
        Ok(Arc::new(Self {
            files: files.to_vec(),
            clock,
            loaded: ArcSwap::from_pointee(loaded),
        }))
    }

    /// Reads the files again; new handshakes use what they hold now. Open connections go on.
    ///
    /// # Errors
    /// All problems of all files at once; the certificates in use stay.
    pub fn reload(&self) -> Result<(), Vec<CertificateError>> {
        let loaded = load_all(&self.files, self.clock.now())?;
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    /// When each certificate ends.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        self.loaded
            .load()
            .iter()
            .map(|loaded| Expiry {
                file: loaded.file.clone(),
                not_after: loaded.not_after,
            })
            .collect()
    }

    /// Whether some certificate is valid for `host`.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.find(Some(host)).is_some()
    }

    /// The certificate for a server name; the first one for clients that name none.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded.load();
        let found = match name {
            None => loaded.first(),
            Some(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                loaded
                    .iter()
                    .find(|loaded| loaded.names.iter().any(|pattern| matches(pattern, &name)))
            }
        };
        found.map(|loaded| Arc::clone(&loaded.key))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// RFC 6125 §6.4.3: a wildcard stands for exactly one label, the leftmost, alone.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == name,
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
    }
}

fn load_all(
    files: &[config::Certificate],
    now: Timestamp,
) -> Result<Vec<Loaded>, Vec<CertificateError>> {
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match load(file, now) {
            Ok(one) => loaded.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(problems)
    }
}

fn load(file: &config::Certificate, now: Timestamp) -> Result<Loaded, CertificateError> {
    let key = read_key(&file.chain, &file.key)?;
    let leaf = key
        .end_entity_cert()
        .ok()
        .ok_or_else(|| CertificateError::Empty {
            file: file.chain.clone(),
        })?;
    let malformed = |reason: String| CertificateError::Malformed {
        file: file.chain.clone(),
        reason,
    };
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|source| malformed(source.to_string()))?;
    let names = names_of(&leaf).map_err(malformed)?;
    if names.is_empty() {
        return Err(CertificateError::Nameless {
            file: file.chain.clone(),
        });
    }
    let second = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MIN)
    };
    let validity = leaf.validity();
    let (from, until) = (second(validity.not_before), second(validity.not_after));
    if now < from || now > until {
        return Err(CertificateError::OutOfDate {
            file: file.chain.clone(),
            from,
            until,
        });
    }
    Ok(Loaded {
        names,
        key: Arc::new(key),
        not_after: until,
        file: file.chain.clone(),
    })
}

/// Reads a PEM chain and its key, and checks that they belong together.
///
/// # Errors
/// [`CertificateError`] naming the file that is at fault.
pub(crate) fn read_key(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |source| CertificateError::Unreadable { file, source }
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .map_err(unreadable(chain))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable(chain))?;
    if certificates.is_empty() {
        return Err(CertificateError::Empty {
            file: chain.to_owned(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider()).map_err(
        |source| CertificateError::Mismatch {
            chain: chain.to_owned(),
            key: key.to_owned(),
            source,
        },
    )
}

fn names_of(leaf: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let extension = leaf
        .subject_alternative_name()
        .map_err(|source| source.to_string())?;
    let mut names = Vec::new();
    for name in extension.iter().flat_map(|san| &san.value.general_names) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum, of which only host names matter here"
        )]
        match name {
            GeneralName::DNSName(name) => {
                names.push(name.trim_end_matches('.').to_ascii_lowercase());
            }
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from);
                names.extend(v4.or(v6).ok().map(|ip| ip.to_string()));
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SystemClock};
    use std::fs;

    struct Made {
        directory: tempfile::TempDir,
    }

    impl Made {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
            }
        }

        fn write(&self, file: &str, names: &[&str]) -> config::Certificate {
            let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let chain = self.directory.path().join(format!("{file}.pem"));
            let key = self.directory.path().join(format!("{file}.key"));
            fs::write(&chain, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            config::Certificate { chain, key }
        }
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(matches("*.hospital.example", "emr.hospital.example"));
        assert!(!matches("*.hospital.example", "a.emr.hospital.example"));
        assert!(!matches("*.hospital.example", "hospital.example"));
        assert!(!matches("*.hospital.example", ".hospital.example"));
    }

    #[test]
    fn the_certificate_follows_the_name_and_the_first_is_the_default() {
        let made = Made::new();
        let files = [
            made.write("one", &["one.example", "127.0.0.1"]),
            made.write("two", &["*.Two.example"]),
        ];
        let certificates = Certificates::load(&files, SystemClock::shared()).unwrap();
        let leaf = |name| certificates.find(name).map(|key| key.cert[0].clone());
        assert_eq!(leaf(None), leaf(Some("ONE.example.")));
        assert!(leaf(Some("emr.two.example")).is_some());
        assert_ne!(leaf(Some("emr.two.example")), leaf(None));
        assert_eq!(leaf(Some("three.example")), None);
        assert!(certificates.covers("127.0.0.1"));
        assert_eq!(certificates.expiries().len(), 2);
    }

    #[test]
    fn a_reload_takes_new_files_and_keeps_the_old_ones_when_any_is_bad() {
        let made = Made::new();
        let files = [made.write("one", &["one.example"])];
        let certificates = Certificates::load(&files, SystemClock::shared()).unwrap();
        made.write("one", &["new.example"]);
        certificates.reload().unwrap();
        assert!(certificates.covers("new.example") && !certificates.covers("one.example"));
        fs::write(&files[0].chain, "no certificate").unwrap();
        assert!(certificates.reload().is_err());
        assert!(certificates.covers("new.example"));
    }

    #[test]
    fn every_problem_names_its_file() {
        let made = Made::new();
        let (good, other) = (
            made.write("good", &["a.example"]),
            made.write("other", &["b.example"]),
        );
        let swapped = config::Certificate {
            chain: good.chain.clone(),
            key: other.key.clone(),
        };
        let missing = config::Certificate {
            chain: made.directory.path().join("none.pem"),
            key: good.key.clone(),
        };
        let problems =
            Certificates::load(&[swapped, missing, good], SystemClock::shared()).unwrap_err();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2);
        assert!(
            texts[0].contains("other.key") && texts[0].contains("good.pem"),
            "{texts:?}"
        );
        assert!(texts[1].contains("none.pem"), "{texts:?}");
    }

    #[test]
    fn an_expired_certificate_does_not_load() {
        let made = Made::new();
        let files = [made.write("one", &["one.example"])];
        let clock = Arc::new(ManualClock::new("9999-01-01T00:00:00Z".parse().unwrap()));
        let problems = Certificates::load(&files, clock).unwrap_err();
        assert!(matches!(problems[..], [CertificateError::OutOfDate { .. }]));
    }
}
