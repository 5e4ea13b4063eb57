//! Whether identity provider and EMRs can be reached, and are what the configuration says.

use serde::Deserialize;

use super::abilities;
use super::fetch::{self, Trust};
use crate::config::problem::Severity;
use crate::config::source::{Document, says};
use crate::config::{Config, Issuer};
use crate::segmentation::{self, Finding, Outcome};

/// The part of a discovery document that sign-in depends on.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
}

/// Connects to everybody whom the gateway will need.
pub(super) async fn check(document: &Document<'_>, config: &Config) {
    bypass(document, config).await;
    super::sinks::check(document, &config.audit.sinks).await;
    for (index, issuer) in config.identity.issuers.iter().enumerate() {
        let name = format!("identity.issuer[{index}]");
        let trust = Trust {
            ca: issuer.ca.as_deref(),
            client: issuer.client_auth.certificate(),
        };
        match fetch::get(&issuer.discovery(), trust).await {
            Ok(body) => {
                discovery(document, &name, issuer, &body);
                abilities::check(document, &name, &config.identity.issuers, issuer, &body);
            }
            Err(reason) => {
                let message = format!("the identity provider cannot be used: {reason}");
                let remedy = "check `url` and `ca`, and that this machine may reach the provider; `--offline` leaves this out";
                document.at(
                    Severity::Error,
                    &format!("{name}.url"),
                    says(message, remedy),
                );
            }
        }
    }
    for (index, emr) in config.emrs.iter().enumerate() {
        let backend = &emr.backend;
        let trust = Trust {
            ca: backend.ca.as_deref(),
            client: backend.client_certificate.as_ref(),
        };
        if let Err(reason) = fetch::connect(&backend.url, trust).await {
            let message = format!("the EMR `{}` cannot be reached: {reason}", emr.name);
            let remedy = "check `url` and `ca`, and that the EMR runs and this machine may reach it; `--offline` leaves this out";
            document.at(
                Severity::Error,
                &format!("emr[{index}].backend.url"),
                says(message, remedy),
            );
        }
    }
}

/// A way around the gateway.
async fn bypass(document: &Document<'_>, config: &Config) {
    let findings = segmentation::probe(&config.segmentation.probes).await;
    for (index, finding) in findings.into_iter().enumerate() {
        let key = format!("segmentation.probe[{index}].name");
        let Finding { name, emr, .. } = finding;
        match finding.outcome {
            Outcome::Closed(_) => {}
            Outcome::Reachable(address) => {
                let message = format!("the EMR `{emr}` answers at {address}, around the gateway");
                let remedy = "let only the gateway through to it; docs/segmentation.md shows how";
                document.at(Severity::Error, &key, says(message, remedy));
            }
            Outcome::Unknown(why) => {
                let message = format!("the probe `{name}` could not be made: {why}");
                let remedy =
                    "name an address that is known here, and a source address of this machine";
                document.at(Severity::Warning, &key, says(message, remedy));
            }
        }
    }
}

fn discovery(document: &Document<'_>, name: &str, issuer: &Issuer, body: &[u8]) {
    let found: Discovery = match serde_json::from_slice(body) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("the provider's discovery document cannot be read: {error}");
            document.at(
                Severity::Error,
                &format!("{name}.url"),
                says(message, "check that `url` is the issuer's"),
            );
            return;
        }
    };
    if found.issuer.trim_end_matches('/') != issuer.url.as_str().trim_end_matches('/') {
        let message = format!(
            "the provider calls itself `{}`, not `{}`",
            found.issuer, issuer.url
        );
        let remedy = format!(
            "write `url = \"{}\"`, exactly as in its tokens",
            found.issuer
        );
        document.at(
            Severity::Error,
            &format!("{name}.url"),
            says(message, remedy),
        );
    }
    let endpoints = [
        ("authorization_endpoint", &found.authorization_endpoint),
        ("token_endpoint", &found.token_endpoint),
        ("jwks_uri", &found.jwks_uri),
    ];
    for (endpoint, value) in endpoints {
        if value.is_none() {
            let message = format!("the provider names no `{endpoint}`");
            let remedy = "it must offer the authorization code flow of OpenID Connect";
            document.at(
                Severity::Error,
                &format!("{name}.url"),
                says(message, remedy),
            );
        }
    }
    let offered = &found.id_token_signing_alg_values_supported;
    if !offered.is_empty()
        && !offered
            .iter()
            .any(|algorithm| issuer.algorithms.contains(algorithm))
    {
        let message = format!(
            "the provider signs with {}, none of which is accepted",
            offered.join(", ")
        );
        let remedy = "add one of them to `algorithms` (never `none` or HS*), or change the client at the provider";
        document.at(
            Severity::Error,
            &format!("{name}.algorithms"),
            says(message, remedy),
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE};
    use crate::config::problem::Problems;

    /// A provider that answers one request with `body`.
    async fn provider(body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}/realms/staff");
        let answer = body.replace("ISSUER", &issuer);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let head = String::from_utf8_lossy(&request[..read]).into_owned();
            assert!(
                head.starts_with("GET /realms/staff/.well-known/openid-configuration HTTP/1.1\r\n"),
                "{head}"
            );
            let length = answer.len();
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
            stream.write_all(response.as_bytes()).await.unwrap();
        });
        issuer
    }

    async fn checked(issuer: &str, emr: &str) -> Problems {
        let fixture = Fixture::new();
        let text = TEMPLATE
            .replace("https://login.hospital.example/realms/staff", issuer)
            .replace("http://127.0.0.1:8080", emr);
        let reading = fixture.read(&text);
        let document = Document::parse(&reading.source).unwrap();
        check(&document, &reading.config.unwrap()).await;
        document.into_problems()
    }

    const GOOD: &str = r#"{"issuer":"ISSUER","authorization_endpoint":"a","token_endpoint":"t","jwks_uri":"j",
        "id_token_signing_alg_values_supported":["RS256"]}"#;

    #[tokio::test]
    async fn who_answers_as_configured_is_fine() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let emr = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = format!("http://{}", listener.local_addr().unwrap());
        let problems = checked(&provider(GOOD).await, &open).await;
        assert!(problems.is_empty(), "{problems}");
        let problems = checked(&provider(GOOD).await, &emr).await;
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.key, "emr[0].backend.url");
        assert!(
            problem.message.contains("no connection to 127.0.0.1:"),
            "{problem:?}"
        );
    }

    #[tokio::test]
    async fn an_emr_that_answers_around_the_gateway_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let beside = listener.local_addr().unwrap();
        let probe = format!(
            "[[segmentation.probe]]\nname = \"beside\"\nemr = \"emr\"\naddress = \"{beside}\"\n\n[admin]\n"
        );
        let fixture = Fixture::new();
        let reading = fixture.replaced("[admin]\n", &probe);
        let document = Document::parse(&reading.source).unwrap();
        bypass(&document, &reading.config.unwrap()).await;
        let problems = document.into_problems();
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.severity, Severity::Error);
        assert!(
            problem.message.contains("around the gateway"),
            "{problem:?}"
        );
        assert!(
            problem.remedy.contains("docs/segmentation.md"),
            "{problem:?}"
        );
    }

    #[tokio::test]
    async fn a_provider_that_does_not_fit_is_described() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let emr = format!("http://{}", listener.local_addr().unwrap());
        let body = r#"{"issuer":"https://other.example","authorization_endpoint":"a","token_endpoint":"t",
            "id_token_signing_alg_values_supported":["HS256"]}"#;
        let problems = checked(&provider(body).await, &emr).await.to_string();
        assert!(
            problems.contains("calls itself `https://other.example`"),
            "{problems}"
        );
        assert!(
            problems.contains("write `url = \"https://other.example\"`"),
            "{problems}"
        );
        assert!(problems.contains("names no `jwks_uri`"), "{problems}");
        assert!(problems.contains("signs with HS256"), "{problems}");
        let problems = checked(&provider("<html>").await, &emr).await.to_string();
        assert!(
            problems.contains("discovery document cannot be read"),
            "{problems}"
        );
    }
}
