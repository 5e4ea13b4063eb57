//! Certificates that have expired or soon will, and CA files that hold none.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::config::chain::{self, Leaf};
use crate::config::problem::Severity;
use crate::config::sink::SinkTarget;
use crate::config::source::{Document, says};

/// Expiry nearer than this is a warning.
const SOON: Duration = Duration::from_hours(30 * 24);

/// Checks each certificate that the configuration names; that keys match and hosts are covered is known already.
pub(super) fn check(document: &Document<'_>, config: &Config, now: Timestamp) {
    for (index, certificate) in config.certificates.iter().enumerate() {
        validity(
            document,
            &format!("certificate[{index}].chain"),
            &certificate.chain,
            now,
        );
    }
    for (index, emr) in config.emrs.iter().enumerate() {
        if let Some(client) = &emr.backend.client_certificate {
            let key = format!("emr[{index}].backend.client_certificate.chain");
            validity(document, &key, &client.chain, now);
        }
        if let Some(ca) = &emr.backend.ca {
            validity(document, &format!("emr[{index}].backend.ca"), ca, now);
        }
    }
    for (index, issuer) in config.identity.issuers.iter().enumerate() {
        if let Some(ca) = &issuer.ca {
            validity(document, &format!("identity.issuer[{index}].ca"), ca, now);
        }
        if let Some(client) = issuer.client_auth.certificate() {
            let key = format!("identity.issuer[{index}].client_certificate_file");
            validity(document, &key, &client.chain, now);
        }
    }
    sinks(document, config, now);
}

fn sinks(document: &Document<'_>, config: &Config, now: Timestamp) {
    for (index, sink) in config.audit.sinks.iter().enumerate() {
        let (ca, certificate) = match &sink.target {
            SinkTarget::Syslog(server) => (&server.ca, &server.certificate),
            SinkTarget::Otlp(receiver) | SinkTarget::Https(receiver) => {
                (&receiver.ca, &receiver.certificate)
            }
        };
        if let Some(ca) = ca {
            validity(document, &format!("audit.sink[{index}].ca"), ca, now);
        }
        if let Some(pair) = certificate {
            let key = format!("audit.sink[{index}].certificate");
            validity(document, &key, &pair.chain, now);
        }
    }
}

fn validity(document: &Document<'_>, key: &str, path: &Path, now: Timestamp) {
    let leaf = match chain::leaf(path) {
        Ok(leaf) => leaf,
        Err(error) => {
            document.at(
                Severity::Error,
                key,
                says(error.to_string(), "name a PEM file with certificates"),
            );
            return;
        }
    };
    if let Some((severity, message)) = judge(&leaf, now) {
        let message = format!("the certificate in `{}` {message}", path.display());
        let remedy = "replace the file with a renewed certificate and its key; `chartgate certificates reload` makes a running gateway read them";
        document.at(severity, key, says(message, remedy));
    }
}

fn judge(leaf: &Leaf, now: Timestamp) -> Option<(Severity, String)> {
    if now > leaf.not_after {
        return Some((Severity::Error, format!("expired on {}", leaf.not_after)));
    }
    if now < leaf.not_before {
        return Some((
            Severity::Error,
            format!("is not valid before {}", leaf.not_before),
        ));
    }
    let soon = now.saturating_add(SOON).unwrap_or(Timestamp::MAX);
    let days = leaf
        .not_after
        .duration_since(now)
        .as_hours()
        .checked_div(24)
        .unwrap_or_default();
    (soon > leaf.not_after).then(|| {
        (
            Severity::Warning,
            format!("expires in {days} days, on {}", leaf.not_after),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::Fixture;

    #[test]
    fn certificates_are_judged_by_their_dates() {
        let fixture = Fixture::new();
        let leaf = chain::leaf(&fixture.path("certs/server.pem")).unwrap();
        let at = |from: Timestamp, days: i64| {
            from.checked_add(jiff::SignedDuration::from_hours(days.saturating_mul(24)))
                .unwrap()
        };
        let judged = |now| judge(&leaf, now);
        assert_eq!(judged(at(leaf.not_before, 1)), None);
        assert_eq!(judged(at(leaf.not_after, -31)), None);
        let (severity, message) = judged(at(leaf.not_after, -29)).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(message.starts_with("expires in 29 days"), "{message}");
        assert_eq!(judged(at(leaf.not_after, 1)).unwrap().0, Severity::Error);
        assert_eq!(judged(at(leaf.not_before, -1)).unwrap().0, Severity::Error);
    }
}
