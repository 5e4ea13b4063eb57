//! Client certificates (mTLS), tokens that are bound to them (RFC 8705), and revocation lists.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::*;
use crate::config::api::{CertificateClient, CertificateName, ClientCertificates};
use crate::request::principal::CredentialKind;

const NO: Refusal = Refusal::TokenRefused;
const NOT_HERE: Refusal = Refusal::CredentialNotAccepted;

struct Ca {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(2090, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(
        &self,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Option<Arc<ClientCertificate>> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2028, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Hospital");
        params.distinguished_name.push(DnType::CommonName, "mirth");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientCertificate::presented(&[certificate.der().clone()]).map(Arc::new)
    }

    fn list(&self, at: &Path, serials: &[u64], until: i32) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(until, 6, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(at, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }
}

struct Mtls {
    rig: Rig,
    ca: Ca,
    dir: tempfile::TempDir,
}

fn client(client: &str, names: CertificateName) -> CertificateClient {
    CertificateClient {
        client: client.to_owned(),
        names,
        roles: vec!["reader".to_owned()],
        account: None,
    }
}

async fn mtls(names: CertificateName, change: impl FnOnce(&mut config::Identity)) -> Mtls {
    let ca = Ca::new("Clients CA");
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, crl) = (dir.path().join("ca.pem"), dir.path().join("ca.crl"));
    std::fs::write(&ca_file, ca.certificate.pem()).unwrap();
    ca.list(&crl, &[66], 2027);
    let rig = Rig::start_with(|config| {
        config.client_certificates = Some(ClientCertificates {
            name: "certificates".to_owned(),
            ca: ca_file,
            crl: vec![crl],
            reach: Some(Reach {
                hosts: vec![HOST.to_owned()],
                paths: vec!["/fhir".to_owned()],
            }),
            clients: vec![client("mirth", names)],
        });
        change(config);
    })
    .await;
    Mtls { rig, ca, dir }
}

fn by_subject() -> CertificateName {
    CertificateName::Subject("O=Hospital, CN=mirth".to_owned())
}

#[tokio::test]
async fn a_mapped_certificate_is_a_client() {
    let rigged = mtls(by_subject(), |_| {}).await;
    let certificate = rigged.ca.issue(7, |_| {});
    let identified = rigged
        .rig
        .call(Call::new().over(certificate.clone()))
        .await
        .unwrap();
    let service = service(identified);
    assert_eq!(service.id(), "certificates|mirth");
    assert_eq!(service.credential.kind, CredentialKind::Certificate);
    let thumbprint = hex::encode(certificate.as_ref().unwrap().thumbprint());
    assert_eq!(service.credential.fingerprint, thumbprint);
    assert!(!rigged.rig.identity.client_issuers().unwrap().is_empty());
    let cookie = format!("{SESSION_COOKIE}={}", "A".repeat(43));
    let call = || Call::new().over(certificate.clone());
    for (what, call, refusal) in [
        ("another path", call().at("/chart/4"), NOT_HERE),
        (
            "a page of the gateway",
            call().at("/.chartgate/break-glass"),
            NOT_HERE,
        ),
        ("a WebSocket", call().upgrading(), NOT_HERE),
        ("beside a session", call().with("cookie", &cookie), NOT_HERE),
        (
            "beside a session elsewhere",
            call().with("cookie", &cookie).at("/x"),
            Refusal::SessionUnknown,
        ),
    ] {
        assert_eq!(rigged.rig.call(call).await.err(), Some(refusal), "{what}");
    }
    // A good certificate of nobody in particular is that of a person with a browser.
    let other = rigged.ca.issue(8, |params| {
        params.distinguished_name.push(DnType::CommonName, "dr.lee");
    });
    let outcome = rigged.rig.call(Call::new().over(other)).await.err();
    assert_eq!(outcome, Some(Refusal::LoginRequired));
}

#[tokio::test]
async fn a_client_is_told_by_san_subject_or_fingerprint() {
    let uri = "spiffe://hospital/mirth";
    let changed = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![
            SanType::URI(uri.try_into().unwrap()),
            SanType::DnsName("Engine.hospital.example".try_into().unwrap()),
        ];
    };
    for (names, fits) in [
        (CertificateName::Uri(uri.to_owned()), true),
        (
            CertificateName::Uri("spiffe://hospital/mirt".to_owned()),
            false,
        ),
        (
            CertificateName::Dns("engine.hospital.example".to_owned()),
            true,
        ),
        (CertificateName::Dns("hospital.example".to_owned()), false),
        (by_subject(), true),
        (CertificateName::Subject("CN=mirth".to_owned()), false),
        (CertificateName::Fingerprint([7; 32]), false),
    ] {
        let rigged = mtls(names.clone(), |_| {}).await;
        let certificate = rigged.ca.issue(7, changed);
        let outcome = rigged.rig.call(Call::new().over(certificate)).await;
        assert_eq!(outcome.is_ok(), fits, "{names:?}");
    }
    // A common name that looks like two attributes is no subject.
    let rigged = mtls(
        CertificateName::Subject("CN=x, O=Hospital".to_owned()),
        |_| {},
    )
    .await;
    let forged = rigged.ca.issue(9, |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "x, O=Hospital");
    });
    let outcome = rigged.rig.call(Call::new().over(forged)).await.err();
    assert_eq!(outcome, Some(Refusal::LoginRequired));
}

#[tokio::test]
async fn a_certificate_that_is_not_good_ends_the_request_whatever_else_it_carries() {
    let rigged = mtls(by_subject(), |_| {}).await;
    let stranger = Ca::new("Clients CA");
    let cookie = format!("{SESSION_COOKIE}={}", "A".repeat(43));
    let token = rigged.rig.token(|_| {});
    for (what, certificate) in [
        ("another CA of the same name", stranger.issue(7, |_| {})),
        (
            "expired",
            rigged
                .ca
                .issue(7, |params| params.not_after = date_time_ymd(2026, 12, 1)),
        ),
        (
            "not yet valid",
            rigged
                .ca
                .issue(7, |params| params.not_before = date_time_ymd(2027, 12, 1)),
        ),
        ("revoked", rigged.ca.issue(66, |_| {})),
        (
            "for servers",
            rigged.ca.issue(7, |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
    ] {
        let over = |call: Call| call.over(certificate.clone());
        for call in [
            over(Call::new()),
            over(Call::new().with("cookie", &cookie)),
            over(Call::bearer(&token)),
            over(Call::new().at("/elsewhere")),
            over(Call::new().at("/.chartgate/break-glass")),
            over(Call::new().of_host("other.example")),
        ] {
            assert_eq!(rigged.rig.call(call).await.err(), Some(NO), "{what}");
        }
    }
}

#[tokio::test]
async fn a_revocation_list_that_is_read_again_ends_an_open_connection_s_certificate() {
    let rigged = mtls(by_subject(), |_| {}).await;
    let certificate = rigged.ca.issue(7, |_| {});
    let call = || rigged.rig.call(Call::new().over(certificate.clone()));
    assert!(call().await.is_ok());
    let crl = rigged.dir.path().join("ca.crl");
    rigged.ca.list(&crl, &[66, 7], 2027);
    rigged.rig.identity.reload_client_certificates().unwrap();
    assert_eq!(call().await.err(), Some(NO));
    rigged.ca.list(&crl, &[66], 2027);
    rigged.rig.identity.reload_client_certificates().unwrap();
    assert!(call().await.is_ok());
    // A file that cannot be read changes nothing, and says so.
    std::fs::write(
        &crl,
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    )
    .unwrap();
    assert!(rigged.rig.identity.reload_client_certificates().is_err());
    assert!(call().await.is_ok());
    // A list that nobody renews is none: the clock stands in January 2027, the list ends in June.
    rigged.rig.clock.advance(Duration::from_hours(24 * 180));
    assert_eq!(call().await.err(), Some(NO));
    // And so is one of another CA.
    Ca::new("Clients CA").list(&crl, &[], 2030);
    let reloaded = rigged.rig.identity.reload_client_certificates();
    assert!(reloaded.is_ok(), "{reloaded:?}");
    assert_eq!(call().await.err(), Some(NO));
}

#[tokio::test]
async fn rfc_8705_a_bound_token_works_only_with_its_certificate() {
    let rigged = mtls(CertificateName::Fingerprint([0; 32]), |_| {}).await;
    let (own, other) = (rigged.ca.issue(7, |_| {}), rigged.ca.issue(8, |_| {}));
    let thumbprint = URL_SAFE_NO_PAD.encode(own.as_ref().unwrap().thumbprint());
    let bound = rigged
        .rig
        .token(|claims| claims["cnf"] = json!({ "x5t#S256": thumbprint }));
    let free = rigged.rig.token(|_| {});
    let rig = &rigged.rig;
    let service = rig
        .call(Call::bearer(&bound).over(own.clone()))
        .await
        .map(service)
        .unwrap();
    assert!(service.credential.bound);
    assert_eq!(
        rig.call(Call::bearer(&bound).over(other.clone()))
            .await
            .err(),
        Some(NO)
    );
    assert_eq!(rig.call(Call::bearer(&bound)).await.err(), Some(NO));
    assert!(rig.call(Call::bearer(&free)).await.is_ok());
    assert!(
        rig.call(Call::bearer(&free).over(own.clone()))
            .await
            .is_ok()
    );
    for cnf in [
        json!({ "x5t#S256": thumbprint, "jkt": "x" }),
        json!({ "x5t#S256": format!("{thumbprint}=") }),
        json!({ "x5t": thumbprint }),
        json!({ "x5t#S256": 1 }),
    ] {
        let token = rig.token(|claims| claims["cnf"] = cnf.clone());
        let outcome = rig.call(Call::bearer(&token).over(own.clone())).await.err();
        assert_eq!(outcome, Some(NO), "{cnf}");
    }
    // Introspected tokens are bound the same way.
    rig.endpoint.say(
        "opaque-bound",
        json!({
            "active": true, "aud": AUDIENCE, "client_id": "lab", "exp": rig.now() + 300,
            "scope": "system/*.read", "cnf": { "x5t#S256": thumbprint },
        }),
    );
    assert!(
        rig.call(Call::bearer("opaque-bound").over(own))
            .await
            .is_ok()
    );
    assert_eq!(
        rig.call(Call::bearer("opaque-bound").over(other))
            .await
            .err(),
        Some(NO)
    );
}

#[tokio::test]
async fn where_binding_is_demanded_a_free_token_is_none() {
    let rigged = mtls(by_subject(), |config| config.api[0].require_bound = true).await;
    let own = rigged.ca.issue(7, |_| {});
    let free = rigged.rig.token(|_| {});
    let outcome = rigged
        .rig
        .call(Call::bearer(&free).over(own.clone()))
        .await
        .err();
    assert_eq!(outcome, Some(NO));
    let thumbprint = URL_SAFE_NO_PAD.encode(own.as_ref().unwrap().thumbprint());
    let bound = rigged
        .rig
        .token(|claims| claims["cnf"] = json!({ "x5t#S256": thumbprint }));
    let service = rigged
        .rig
        .call(Call::bearer(&bound).over(own))
        .await
        .map(service)
        .unwrap();
    assert_eq!(
        service.credential.kind,
        CredentialKind::Jwt,
        "the token acts, not the certificate"
    );
}
