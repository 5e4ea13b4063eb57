//! Client certificates: which ones are good, and which client they prove.
//!
//! *Owns*: the client CA and its revocation lists, read again while the gateway runs; verdicts of good certificates, for
//! a minute.
//! *Never*: a certificate that is judged once for the life of its connection: each request asks again.
//! *On failure*: files that cannot be read leave the last good ones in force; a revocation list that is out of date
//! refuses.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use moka::sync::Cache;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;

use super::{ApiError, Client};
use crate::clock::SharedClock;
use crate::config::api::{CertificateClient, CertificateName, ClientCertificates, Reach};
use crate::request::ClientCertificate;
use crate::request::principal::{Credential, CredentialKind};

const KIND: Option<CredentialKind> = Some(CredentialKind::Certificate);
/// Largest file of CAs, or revocation list.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How long a good certificate counts as good, unless the files change.
const VERDICT: Duration = Duration::from_mins(1);
const MAX_VERDICTS: u64 = 10_000;

/// The client CA, its revocation lists, and who is who.
#[derive(Debug)]
pub(super) struct Certificates {
    settings: ClientCertificates,
    clock: SharedClock,
    read: ArcSwap<Read>,
    good: Cache<[u8; 32], Arc<Good>>,
}

/// What the files hold.
struct Read {
    files: Vec<Vec<u8>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

/// A certificate that was good.
#[derive(Debug)]
struct Good {
    at: Duration,
    until: Timestamp,
    under: Arc<Read>,
    client: Option<usize>,
}

/// What a certificate says of its holder.
struct Leaf {
    uris: Vec<String>,
    dns: Vec<String>,
    subject: Option<String>,
    not_after: Timestamp,
}

impl Certificates {
    pub(super) fn load(settings: &ClientCertificates, clock: &SharedClock) -> Result<Self, String> {
        Ok(Self {
            read: ArcSwap::from_pointee(Read::of(settings)?),
            settings: settings.clone(),
            clock: Arc::clone(clock),
            good: Cache::new(MAX_VERDICTS),
        })
    }

    /// Where a certificate alone is accepted.
    pub(super) const fn reach(&self) -> Option<&Reach> {
        self.settings.reach.as_ref()
    }

    /// The names of the CAs.
    pub(super) fn issuers(&self) -> Vec<DistinguishedName> {
        self.read.load().verifier.root_hint_subjects().to_vec()
    }

    /// Reads the files again, and puts them in force where they changed.
    pub(super) fn reload(&self) -> Result<(), String> {
        let files = contents(&self.settings)?;
        if self.read.load().files == files {
            return Ok(());
        }
        let read = Read::from(files)?;
        self.read.store(Arc::new(read));
        self.good.invalidate_all();
        tracing::info!("the client CA and its revocation lists were read again");
        Ok(())
    }

    /// Looks at the files regularly; never ends.
    pub(super) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(problem) = self.reload() {
                tracing::error!(
                    problem,
                    "the client CA or a revocation list cannot be read; those read before stay in force"
                );
            }
        }
    }

    /// Judges a certificate; `None` is a good one that is no client's.
    pub(super) fn client(
        &self,
        presented: &ClientCertificate,
        now: Timestamp,
    ) -> Result<Option<Client>, ApiError> {
        let good = self.judge(presented, now).map_err(|error| {
            tracing::debug!(%error, certificate = ?presented, "a client certificate is not good");
            ApiError::Refused(KIND, why(&error))
        })?;
        let client = good.client.and_then(|at| self.settings.clients.get(at));
        Ok(client.map(|client| Client {
            issuer: self.settings.name.clone(),
            name: client.client.clone(),
            subject: None,
            account: client.account.clone(),
            role_values: client.roles.clone(),
            credential: Credential {
                kind: CredentialKind::Certificate,
                fingerprint: hex::encode(presented.thumbprint()),
                bound: true,
            },
            token_id: None,
            expires: good.until,
        }))
    }

    fn judge(&self, presented: &ClientCertificate, now: Timestamp) -> Result<Arc<Good>, Error> {
        let read = self.read.load_full();
        let at = self.clock.monotonic();
        if let Some(good) = self.good.get(presented.thumbprint())
            && Arc::ptr_eq(&good.under, &read)
            && at.saturating_sub(good.at) < VERDICT
            && now < good.until
        {
            return Ok(good);
        }
        let since = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(since);
        read.verifier
            .verify_client_cert(presented.leaf(), presented.intermediates(), now)?;
        let leaf = Leaf::read(presented.leaf())
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let good = Arc::new(Good {
            at,
            until: leaf.not_after,
            under: read,
            client: self
                .settings
                .clients
                .iter()
                .position(|client| leaf.is(client, presented)),
        });
        self.good.insert(*presented.thumbprint(), Arc::clone(&good));
        Ok(good)
    }
}

impl Read {
    fn of(settings: &ClientCertificates) -> Result<Self, String> {
        Self::from(contents(settings)?)
    }

    /// The first file is the CA's.
    fn from(files: Vec<Vec<u8>>) -> Result<Self, String> {
        let (ca, lists) = files.split_first().ok_or("no CA")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            let certificate = certificate.map_err(|error| format!("the client CA: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("the client CA: {error}"))?;
        }
        if roots.is_empty() {
            return Err("the client CA: the file holds no certificate".to_owned());
        }
        let mut crls = Vec::new();
        for list in lists {
            crls.extend(revocations(list)?);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !crls.is_empty() {
            // SECURITY: whole chain, unknown is revoked, and a list that nobody renews is none: all by default but
            // the last.
            builder = builder.with_crls(crls).enforce_revocation_expiration();
        }
        let verifier = builder
            .build()
            .map_err(|error| format!("the client CA or a revocation list: {error}"))?;
        Ok(Self { files, verifier })
    }
}

/// The revocation lists of a file, PEM or DER.
fn revocations(file: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let is_pem = file.windows(11).any(|part| part == b"-----BEGIN ");
    if !is_pem {
        return Ok(vec![CertificateRevocationListDer::from(file.to_vec())]);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(file)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a revocation list: {error}"))?;
    if lists.is_empty() {
        return Err("a revocation list: the file holds none".to_owned());
    }
    Ok(lists)
}

fn contents(settings: &ClientCertificates) -> Result<Vec<Vec<u8>>, String> {
    std::iter::once(&settings.ca)
        .chain(&settings.crl)
        .map(|path| bounded(path))
        .collect()
}

fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let said = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
    let file = std::fs::File::open(path).map_err(|error| said(&error))?;
    let mut bytes = Vec::new();
    let read = file
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|error| said(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(said(&"the file is too large"))
    }
}

impl Leaf {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (mut uris, mut dns) = (Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().ok()?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "a foreign enum; other names tell nobody apart here"
            )]
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
                _ => {}
            }
        }
        let not_after = certificate.validity().not_after.timestamp();
        Some(Self {
            uris,
            dns,
            subject: subject(certificate.subject()),
            not_after: Timestamp::from_second(not_after).unwrap_or(Timestamp::MAX),
        })
    }

    fn is(&self, client: &CertificateClient, presented: &ClientCertificate) -> bool {
        match &client.names {
            CertificateName::Uri(uri) => self.uris.contains(uri),
            CertificateName::Dns(name) => self.dns.contains(name),
            CertificateName::Subject(subject) => self.subject.as_ref() == Some(subject),
            CertificateName::Fingerprint(print) => print == presented.thumbprint(),
        }
    }
}

/// `CN=mirth, O=Hospital`, in the order of the certificate. `None` where that could be read in two ways.
///
/// SECURITY: a common name `mirth, O=Hospital` would pass for two attributes.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for rdn in name.iter() {
        let mut attributes = rdn.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else {
            return None;
        };
        let kind = x509_parser::objects::oid2abbrev(
            attribute.attr_type(),
            x509_parser::objects::oid_registry(),
        )
        .ok()?;
        let value = attribute.as_str().ok()?;
        let is_plain = |c: char| !c.is_control() && !",=+<>#;\\\"".contains(c);
        if value.trim() != value || !value.chars().all(is_plain) {
            return None;
        }
        parts.push(format!("{kind}={value}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "foreign enums; what is not named here is not told apart"
)]
fn why(error: &Error) -> &'static str {
    let Error::InvalidCertificate(error) = error else {
        return "the client certificate does not verify";
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the time of the client certificate has not come"
        }
        CertificateError::Revoked => "the client certificate is revoked",
        CertificateError::UnknownRevocationStatus => {
            "no revocation list covers the client certificate"
        }
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list is out of date"
        }
        CertificateError::UnknownIssuer => "the client certificate is of another CA",
        _ => "the client certificate does not verify",
    }
}
