//! A certificate for the EMR's host, from a CA that exists for this one certificate only.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::place::Place;
use crate::cli::console::Failure;

/// The longest that browsers accept for a server's certificate.
const DAYS: i64 = 397;

/// Writes `certs/ca.pem`, `certs/server.pem` and its key, unless one of them exists.
pub(super) fn write(place: &mut Place<'_, '_>, host: &str, now: Timestamp) -> Result<(), Failure> {
    for name in ["certs/server.pem", "certs/server.key"] {
        if place.has(name)? {
            return Ok(());
        }
    }
    let made = make(&host.to_ascii_lowercase(), now).map_err(Failure::of)?;
    place.private("certs/server.key", &made.key)?;
    place.file("certs/server.pem", &made.chain)?;
    place.file("certs/ca.pem", &made.ca)
}

struct Made {
    ca: String,
    chain: String,
    key: String,
}

/// SECURITY: the CA's key is not kept. Who trusts `ca.pem` trusts this one certificate, and nobody can issue another.
fn make(host: &str, now: Timestamp) -> Result<Made, rcgen::Error> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(
        DnType::CommonName,
        format!("Chartgate development CA for {host}"),
    );
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_from(&mut ca, now);
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut leaf = CertificateParams::new(vec![host.to_owned()])?;
    leaf.distinguished_name.push(DnType::CommonName, host);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    valid_from(&mut leaf, now);
    let leaf_key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&leaf_key, &issuer)?;
    Ok(Made {
        chain: format!("{}{}", certificate.pem(), ca_certificate.pem()),
        ca: ca_certificate.pem(),
        key: leaf_key.serialize_pem(),
    })
}

/// From yesterday, for clocks that are behind.
fn valid_from(params: &mut CertificateParams, now: Timestamp) {
    let day = |days: i64| {
        let date = now
            .to_zoned(TimeZone::UTC)
            .date()
            .saturating_add(Span::new().days(days));
        let month = u8::try_from(date.month()).unwrap_or(1);
        date_time_ymd(
            date.year().into(),
            month,
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    params.not_before = day(-1);
    params.not_after = day(DAYS.saturating_sub(1));
}
