//! Client certificates over real TLS.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate::config::api::{CertificateClient, CertificateName, ClientCertificates};
use chartgate::config::sessions::BindTo;
use chartgate::request::Event;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::harness::browser::tls_trusting;
use crate::harness::{Wire, echoed};

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Clients CA");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate with its key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// TLS of a client with this certificate.
fn tls_with(house: &House, own: Option<&(rcgen::Certificate, KeyPair)>) -> rustls::ClientConfig {
    let builder = tls_trusting(&house.clinic.facts().ca_cert);
    match own {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

/// One request over a connection with this certificate.
async fn over(
    house: &House,
    own: Option<&(rcgen::Certificate, KeyPair)>,
    target: &str,
    fields: &str,
) -> Answer {
    let mut wire = Wire::open_with(house, tls_with(house, own)).await;
    let host = house.authority();
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    wire.send(head.as_bytes()).await;
    wire.answer().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_and_bound_tokens_work_over_real_connections() {
    let ca = Ca::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clients-ca.pem");
    std::fs::write(&file, &ca.pem).unwrap();
    let house = clinic(None, move |config| {
        config.identity.client_certificates = Some(ClientCertificates {
            name: "certificates".to_owned(),
            ca: file,
            crl: Vec::new(),
            reach: Some(Reach {
                hosts: vec!["localhost".to_owned()],
                paths: vec!["/echo".to_owned()],
            }),
            clients: vec![CertificateClient {
                client: "lab-bridge".to_owned(),
                names: CertificateName::Dns("lab.hospital.example".to_owned()),
                roles: vec!["interface-engine".to_owned()],
                account: Some("interface".to_owned()),
            }],
        });
    })
    .await;
    let (lab, other) = (
        ca.issue("lab.hospital.example"),
        ca.issue("other.hospital.example"),
    );
    let stranger = Ca::new().issue("lab.hospital.example");
    let echo = over(&house, Some(&lab), "/echo", "").await.echo();
    assert_eq!(echoed(&echo, "x-remote-user"), ["interface"]);
    // A good certificate of no client signs in as a person does; so does who has none.
    for own in [Some(&other), None] {
        let answer = over(&house, own, "/echo", "").await;
        assert_eq!(answer.refusal(), Some("CG-2001"));
    }
    // A bad one is refused on record, and not taken for none.
    let answer = over(&house, Some(&stranger), "/echo", "").await;
    assert_eq!((answer.status, answer.refusal()), (401, Some("CG-2018")));
    assert!(
        house
            .refusals()
            .contains(&("CG-2018".to_owned(), "/echo".to_owned()))
    );
    let session = house
        .at_work("nurse.lind")
        .await
        .cookie_field(&house.authority());
    let answer = over(&house, Some(&stranger), "/echo", &session).await;
    assert_eq!(answer.refusal(), Some("CG-2018"));
    assert_eq!(
        over(&house, Some(&other), "/echo", &session).await.status,
        200
    );
    let answer = over(&house, Some(&lab), "/echo", &session).await;
    assert_eq!(
        answer.refusal(),
        Some("CG-2019"),
        "who acts must not be ambiguous"
    );
    // RFC 8705 §3.
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, other.0.der());
    let thumbprint = URL_SAFE_NO_PAD.encode(thumbprint);
    let bound = token(&house, |claims| {
        claims["cnf"] = json!({ "x5t#S256": thumbprint });
    });
    let bearer = bearer(&bound);
    assert_eq!(
        over(&house, Some(&other), "/echo", &bearer).await.status,
        200
    );
    for own in [Some(&lab), Some(&stranger), None] {
        let answer = over(&house, own, "/echo", &bearer).await;
        assert_eq!(answer.refusal(), Some("CG-2018"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_used_without_the_certificate_of_its_device() {
    let ca = Ca::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("devices-ca.pem");
    std::fs::write(&file, &ca.pem).unwrap();
    let house = clinic(None, move |config| {
        config.identity.sessions.binding.on = vec![BindTo::ClientCertificate];
        config.identity.client_certificates = Some(ClientCertificates {
            name: "certificates".to_owned(),
            ca: file,
            crl: Vec::new(),
            reach: None,
            clients: Vec::new(),
        });
    })
    .await;
    let (ward, other) = (ca.issue("ward-7.example"), ca.issue("ward-8.example"));
    let url = house.url("/echo");
    let browser = house.browser().presenting(tls_with(&house, Some(&ward)));
    let mut browser = house.at_work_in(browser, "nurse.lind").await;
    assert_eq!(browser.get(&url).await.status, 200);
    let mut carried = Vec::new();
    for own in [Some(&other), None] {
        let mut copy = browser.clone().presenting(tls_with(&house, own));
        let page = copy.get(&url).await;
        assert_eq!(page.refusal(), Some("CG-2027"), "{}", page.text());
        let to = page.header("location").unwrap();
        assert!(to.contains("step_up=1"), "{to}");
        copy.scripted = true;
        let page = copy.get(&url).await;
        assert_eq!(
            (page.status.as_u16(), page.refusal()),
            (401, Some("CG-2027"))
        );
        copy.scripted = false;
        carried.push(copy);
    }
    let refused: Vec<_> = house
        .trail()
        .into_iter()
        .filter(|entry| entry.refusal.as_deref() == Some("CG-2027"))
        .map(|entry| entry.facts.unwrap())
        .map(|facts| (facts.principal.unwrap().display().to_owned(), facts.path))
        .collect();
    let each = ("nurse.lind".to_owned(), "/echo".to_owned());
    assert_eq!(refused, vec![each; 4]);
    assert_eq!(browser.get(&url).await.status, 200, "it goes on at home");

    // Its user confirms at the other device, and goes on there.
    let mut there = carried.remove(0);
    let page = there.get(&url).await;
    let page = there.follow(page).await;
    let page = house.sign_in_from(&mut there, "nurse.lind", page).await;
    assert_eq!((page.status.as_u16(), page.url.path()), (200, "/echo"));
    let confirmed = house.particulars(Event::StepUp);
    assert_eq!(confirmed[0]["rebound"], "client-certificate");
    assert_eq!(browser.get(&url).await.refusal(), Some("CG-2013"));
    let mut back = there.clone().presenting(tls_with(&house, Some(&ward)));
    assert_eq!(back.get(&url).await.refusal(), Some("CG-2027"));
}
