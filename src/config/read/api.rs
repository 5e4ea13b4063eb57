//! `[[identity.api]]` and `[identity.client_certificates]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::identity::secret;
use super::issuer::check_algorithms;
use super::{all, file, optional_file};
use crate::config::Issuer;
use crate::config::api::{
    Api, ApiClaims, ApiKind, CertificateClient, CertificateName, ClientCertificates,
    IntrospectionApi, JwtApi, Reach,
};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::unit::Size;
use crate::config::value::{ClaimPointer, HostName, ShortName, TokenKind};

const DEFAULT_ALGORITHMS: [&str; 3] = ["ES256", "RS256", "PS256"];

/// `[[identity.api]]`
pub(super) fn apis(identity: &mut Section<'_>, issuers: &[Issuer]) -> Option<Vec<Api>> {
    all(identity
        .tables("api")
        .into_iter()
        .map(|section| api(section, issuers)))
}

fn api(mut section: Section<'_>, issuers: &[Issuer]) -> Option<Api> {
    let name = section.required("name", "name = \"interfaces\"");
    let kind: Option<TokenKind> = section.required("kind", "kind = \"jwt\"");
    let audience: Option<String> =
        section.required("audience", "audience = \"https://emr.hospital.example\"");
    let mut ca = optional_file(&mut section, "ca");
    // Which keys there are depends on it: without it, each would be called unknown.
    let kind = match kind? {
        TokenKind::Jwt => jwt(&mut section, issuers, &mut ca).map(ApiKind::Jwt),
        TokenKind::Introspection => introspection(&mut section).map(ApiKind::Introspection),
    };
    let reach = reach(&mut section);
    let scopes: Option<BTreeMap<String, String>> = section.map("scopes");
    if scopes.as_ref().is_none_or(BTreeMap::is_empty) {
        let message = "no scope gives anything, so that no client would have a role";
        let remedy = "add `[identity.api.scopes]` with `\"system/*.read\" = \"interface-engine\"`, \
                      and grant that value in roles.toml";
        section.error("scopes", says(message, remedy));
    }
    let clients: Vec<String> = section.or("clients", Vec::new());
    let accounts = section.map("accounts").unwrap_or_default();
    let claims = claims(section.table("claims"));
    let require_bound = section.or("require_bound", false);
    let size = section.within("max_token_bytes", Size(8 << 10), Size(512)..=Size(16 << 10));
    section.done();
    let ShortName(name) = name?;
    Some(Api {
        name,
        kind: kind?,
        audience: audience?,
        ca,
        reach: reach?,
        scopes: scopes?,
        clients: clients.into_iter().collect(),
        accounts,
        claims,
        require_bound,
        max_token_bytes: usize::try_from(size.0).unwrap_or(usize::MAX),
    })
}

fn jwt(section: &mut Section<'_>, issuers: &[Issuer], ca: &mut Option<PathBuf>) -> Option<JwtApi> {
    let example = "issuer = \"https://login.hospital.example/realms/systems\"";
    let written: Option<String> = section.required("issuer", example);
    let issuer = written.and_then(|written| {
        // The name of a provider at which users sign in stands for its address, and its CA.
        if let Some(known) = issuers.iter().find(|known| known.name == written) {
            if ca.is_none() {
                ca.clone_from(&known.ca);
            }
            return Some(known.url.clone());
        }
        address(section, "issuer", &written)
    });
    let written: Option<String> = section.optional("jwks");
    let jwks = written.and_then(|written| address(section, "jwks", &written));
    let algorithms = section.or("algorithms", DEFAULT_ALGORITHMS.map(str::to_owned).to_vec());
    check_algorithms(section, &algorithms);
    let accept_plain_typ = section.or("accept_plain_typ", false);
    let hour = Duration::from_hours(1);
    let max_age = section.within(
        "max_age",
        hour,
        Duration::from_mins(1)..=Duration::from_hours(24),
    );
    Some(JwtApi {
        issuer: issuer?,
        jwks,
        algorithms,
        accept_plain_typ,
        max_age,
    })
}

fn introspection(section: &mut Section<'_>) -> Option<IntrospectionApi> {
    let example = "endpoint = \"https://login.hospital.example/oauth2/introspect\"";
    let written: Option<String> = section.required("endpoint", example);
    let endpoint = written.and_then(|written| address(section, "endpoint", &written));
    let written: Option<String> = section.optional("issuer");
    let issuer = written.and_then(|written| address(section, "issuer", &written));
    let client_id = section.required("client_id", "client_id = \"chartgate\"");
    let client_secret = secret(section, "client_secret_file");
    let seconds = Duration::from_secs;
    let cache_ttl = section.within("cache_ttl", seconds(10), Duration::ZERO..=seconds(30));
    let cache_entries = section.within("cache_entries", 10_000_u64, 1..=1_000_000);
    let timeout = section.within(
        "timeout",
        seconds(3),
        Duration::from_millis(100)..=seconds(10),
    );
    Some(IntrospectionApi {
        endpoint: endpoint?,
        issuer,
        client_id: client_id?,
        client_secret: client_secret?,
        cache_ttl,
        cache_entries,
        timeout,
    })
}

/// An address of the authorization server.
fn address(section: &Section<'_>, key: &str, written: &str) -> Option<url::Url> {
    let refused = |message: String| {
        let remedy = "write its https URL; http is accepted on loopback only";
        section.error(key, says(message, remedy));
        None
    };
    let Ok(url) = url::Url::parse(written) else {
        return refused(format!(
            "`{written}` is neither a URL nor a configured issuer"
        ));
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            refused("the URL carries a user name or password".to_owned())
        }
        "https" if url.has_host() => Some(url),
        // SECURITY: over plain HTTP anyone on the way hands out keys, or reads tokens.
        "http" if super::emr::is_loopback(&url) => Some(url),
        "http" => refused(format!("`{url}` would be reached without encryption")),
        _ => refused(format!("`{url}` is no https URL")),
    }
}

fn reach(section: &mut Section<'_>) -> Option<Reach> {
    let hosts: Option<Vec<HostName>> =
        section.required("hosts", "hosts = [\"emr.hospital.example\"]");
    let hosts = hosts?;
    if hosts.is_empty() {
        let said = says("it is accepted nowhere", "name at least one host of an EMR");
        section.error("hosts", said);
    }
    let paths: Vec<String> = section.or("paths", Vec::new());
    for (index, path) in paths.iter().enumerate() {
        if !path.starts_with('/') || path.contains(['?', '#', '*']) {
            let message = format!("`{path}` is not a path");
            let remedy = "write a path such as `/fhir`; what lies below it is meant as well";
            section.error(&format!("paths[{index}]"), says(message, remedy));
        }
    }
    Some(Reach {
        hosts: hosts.into_iter().map(|HostName(host)| host).collect(),
        paths,
    })
}

fn claims(mut section: Section<'_>) -> ApiClaims {
    let mut pointer = |key, default: &str| {
        let ClaimPointer(pointer) = section.or(key, ClaimPointer(default.to_owned()));
        pointer
    };
    let claims = ApiClaims {
        client: pointer("client", "/client_id"),
        scope: pointer("scope", "/scope"),
        id: pointer("id", "/jti"),
    };
    section.done();
    claims
}

/// `[identity.client_certificates]`
pub(super) fn client_certificates(
    identity: &mut Section<'_>,
) -> Result<Option<ClientCertificates>, Unreadable> {
    let Some(section) = identity.optional_table("client_certificates") else {
        return Ok(None);
    };
    certificates(section).map(Some).ok_or(Unreadable)
}

/// What is wrong has been noted.
#[derive(Debug)]
pub(super) struct Unreadable;

fn certificates(mut section: Section<'_>) -> Option<ClientCertificates> {
    let ShortName(name) = section.or("name", ShortName("certificates".to_owned()));
    let ca = file(&mut section, "ca", "ca = \"certs/clients-ca.pem\"");
    let written: Vec<String> = section.or("crl", Vec::new());
    let crl: Vec<PathBuf> = written
        .iter()
        .map(|path| section.document().source().resolve(path))
        .collect();
    for (index, path) in crl.iter().enumerate() {
        drop(super::existing(
            &section,
            &format!("crl[{index}]"),
            path.clone(),
        ));
    }
    let sections = section.tables("client");
    let alone = !sections.is_empty();
    let reach = if alone { reach(&mut section) } else { None };
    let clients = all(sections.into_iter().map(client));
    section.done();
    Some(ClientCertificates {
        name,
        ca: ca?,
        crl,
        reach: if alone { Some(reach?) } else { None },
        clients: clients?,
    })
}

/// `[[identity.client_certificates.client]]`
fn client(mut section: Section<'_>) -> Option<CertificateClient> {
    let client: Option<String> = section.required("client", "client = \"mirth\"");
    let mut names = Vec::new();
    if let Some(uri) = section.optional("san_uri") {
        names.push(CertificateName::Uri(uri));
    }
    if let Some(HostName(name)) = section.optional("san_dns") {
        names.push(CertificateName::Dns(name));
    }
    if let Some(subject) = section.optional("subject") {
        names.push(CertificateName::Subject(subject));
    }
    let written: Option<String> = section.optional("sha256");
    if let Some(written) = written {
        let plain: String = written.chars().filter(|c| *c != ':').collect();
        let bytes = hex::decode(plain).ok();
        let Some(fingerprint) = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) else {
            let message = format!("`{written}` is no SHA-256 fingerprint");
            let remedy = "write what `openssl x509 -noout -fingerprint -sha256` shows";
            section.error("sha256", says(message, remedy));
            return None;
        };
        names.push(CertificateName::Fingerprint(fingerprint));
    }
    let roles: Option<Vec<String>> = section.required("roles", "roles = [\"interface-engine\"]");
    let account = section.optional("account");
    if names.len() != 1 {
        let message = "one thing has to tell which certificate is meant";
        let remedy = "write one of `san_uri`, `san_dns`, `subject` and `sha256`";
        section.error("client", says(message, remedy));
    }
    section.done();
    let mut names = names.into_iter();
    Some(CertificateClient {
        client: client?,
        names: names.next().filter(|_| names.next().is_none())?,
        roles: roles?,
        account,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};
    use crate::config::load::Reading;

    const JWT: &str = r#"
[[identity.api]]
name = "interfaces"
kind = "jwt"
issuer = "https://login.hospital.example/realms/systems"
audience = "https://emr.hospital.example"
hosts = ["emr.hospital.example"]
[identity.api.scopes]
"system/*.read" = "interface-engine"
"#;
    const INTROSPECTION: &str = r#"
[[identity.api]]
name = "asked"
kind = "introspection"
endpoint = "https://login.hospital.example/introspect"
client_id = "chartgate"
client_secret_file = "secrets/client_secret"
audience = "https://emr.hospital.example"
hosts = ["EMR.hospital.example"]
paths = ["/fhir"]
[identity.api.scopes]
read = "reader"
"#;
    const CERTIFICATES: &str = r#"
[identity.client_certificates]
ca = "certs/server.pem"
hosts = ["emr.hospital.example"]
[[identity.client_certificates.client]]
client = "mirth"
san_dns = "mirth.hospital.example"
roles = ["interface-engine"]
"#;

    fn read(more: &str) -> Reading {
        Fixture::new().read(&format!("{TEMPLATE}\n{more}"))
    }

    fn config(more: &str) -> Config {
        let fixture = Fixture::new();
        fixture.write("chartgate.toml", &format!("{TEMPLATE}\n{more}"));
        Config::load(&fixture.path("chartgate.toml")).unwrap()
    }

    /// The one error of `text`, after a replacement.
    fn error(text: &str, from: &str, to: &str, message: &str) {
        assert!(text.contains(from), "{from}");
        let reading = read(&text.replacen(from, to, 1));
        let problem = sole(&reading.problems);
        assert!(problem.message.contains(message), "{to}: {problem:?}");
    }

    #[test]
    fn apis_and_certificates_are_read_with_their_defaults() {
        let config = config(&[JWT, INTROSPECTION, CERTIFICATES].concat());
        let [jwt, asked] = config.identity.api.as_slice() else {
            panic!();
        };
        assert_eq!(jwt.max_token_bytes, 8192);
        assert!(!jwt.require_bound && jwt.reach.paths.is_empty() && jwt.clients.is_empty());
        let ApiKind::Jwt(own) = &jwt.kind else {
            panic!()
        };
        assert_eq!(own.algorithms, DEFAULT_ALGORITHMS);
        assert_eq!(own.max_age, Duration::from_hours(1));
        assert!(!own.accept_plain_typ);
        let ApiKind::Introspection(own) = &asked.kind else {
            panic!()
        };
        assert_eq!(own.cache_ttl, Duration::from_secs(10));
        assert_eq!((own.cache_entries, own.timeout.as_secs()), (10_000, 3));
        assert_eq!(asked.reach.hosts, ["emr.hospital.example"]);
        let certificates = config.identity.client_certificates.unwrap();
        assert_eq!(certificates.name, "certificates");
        let name = CertificateName::Dns("mirth.hospital.example".to_owned());
        assert_eq!(certificates.clients[0].names, name);
    }

    #[test]
    fn an_issuer_at_which_users_sign_in_can_be_named() {
        let text = TEMPLATE.split("[[identity.issuer]]").nth(1).unwrap();
        let name = text
            .split("name = \"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let named = JWT.replace("https://login.hospital.example/realms/systems", name);
        let config = config(&named);
        let ApiKind::Jwt(own) = &config.identity.api[0].kind else {
            panic!()
        };
        assert_eq!(own.issuer, config.identity.issuers[0].url);
    }

    #[test]
    fn what_could_be_forged_or_misplaced_is_an_error() {
        for (from, to, message) in [
            ("https://login", "http://login", "without encryption"),
            (
                "https://login.hospital.example/realms/systems",
                "nobody",
                "neither a URL",
            ),
            ("kind = \"jwt\"", "kind = \"opaque\"", "is not \"jwt\" or"),
            (
                "audience = \"https://emr.hospital.example\"\n",
                "",
                "`identity.api[0].audience` is missing",
            ),
            (
                "\"system/*.read\" = \"interface-engine\"",
                "",
                "no scope gives anything",
            ),
            (
                "emr.hospital.example\"]",
                "x.example\"]",
                "no EMR is served as",
            ),
            (
                "hosts = [\"emr.hospital.example\"]",
                "hosts = []",
                "accepted nowhere",
            ),
            (
                "[identity.api.scopes]",
                "algorithms = [\"HS256\"]\n[identity.api.scopes]",
                "shared secret",
            ),
            (
                "[identity.api.scopes]",
                "paths = [\"fhir\"]\n[identity.api.scopes]",
                "is not a path",
            ),
            (
                "[identity.api.scopes]",
                "max_age = \"2d\"\n[identity.api.scopes]",
                "outside of",
            ),
            (
                "[identity.api.scopes]",
                "require_bound = true\n[identity.api.scopes]",
                "no client is asked for one",
            ),
            (
                "[identity.api.scopes]",
                "cache_ttl = \"5s\"\n[identity.api.scopes]",
                "not known",
            ),
        ] {
            error(JWT, from, to, message);
        }
        error(
            INTROSPECTION,
            "kind",
            "cache_ttl = \"31s\"\nkind",
            "outside of",
        );
        let client_id = "client_id = \"chartgate\"";
        assert!(TEMPLATE.contains(client_id));
        error(
            JWT,
            "audience = \"https://emr.hospital.example\"",
            "audience = \"chartgate\"\naccept_plain_typ = true",
            "audience of ID tokens",
        );
        error(
            &[JWT, &JWT.replace("\"interfaces\"", "\"again\"")].concat(),
            "\"again\"",
            "\"twice\"",
            "judge the same tokens",
        );
    }

    #[test]
    fn a_certificate_is_told_in_one_way_and_names_are_never_shared() {
        error(
            CERTIFICATES,
            "san_dns",
            "sha256 = \"00\"\nsan_dns",
            "no SHA-256 fingerprint",
        );
        error(
            CERTIFICATES,
            "san_dns",
            "subject = \"CN=x\"\nsan_dns",
            "one thing has to tell",
        );
        error(
            CERTIFICATES,
            "hosts = [\"emr.hospital.example\"]",
            "",
            "`identity.client_certificates.hosts` is missing",
        );
        error(
            CERTIFICATES,
            "ca = \"certs/server.pem\"",
            "ca = \"certs/none.pem\"",
            "cannot be read",
        );
        error(
            &[JWT, CERTIFICATES].concat(),
            "ca = ",
            "name = \"interfaces\"\nca = ",
            "names two sources of identity",
        );
        let binding_only = "[identity.client_certificates]\nca = \"certs/server.pem\"\n";
        let certificates = config(binding_only).identity.client_certificates.unwrap();
        assert!(certificates.reach.is_none());
    }
}
