//! `[[emr]]`: what is protected and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::identity::secret;
use super::{all, certificate, file, optional_file, secret_file};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::{HostName, ShortName};
use crate::config::{
    Assertion, Backend, BackendProtocol, Basic, Emr, ErrorPages, HostHeader, PassIdentity,
};

/// Headers that carry the message itself or the gateway's own statements.
const RESERVED_HEADERS: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

/// `[[emr]]`
pub(super) fn emrs(root: &mut Section<'_>) -> Option<Vec<Emr>> {
    let sections = root.tables("emr");
    if sections.is_empty() {
        let remedy = "add `[[emr]]` with `name`, `hosts`, `profile` and `[emr.backend]` with `url`";
        root.error("emr", says("there is no EMR to protect", remedy));
    }
    all(sections.into_iter().map(emr))
}

/// Each by its name, with its profile; how it is reached is not looked at.
pub(super) fn profiles(root: &mut Section<'_>) -> Option<Vec<(String, PathBuf)>> {
    all(root.tables("emr").into_iter().map(|mut section| {
        let (name, profile) = (name(&mut section), profile(&mut section));
        Some((name?.0, profile?))
    }))
}

fn name(section: &mut Section<'_>) -> Option<ShortName> {
    section.required("name", "name = \"clinic\"")
}

fn profile(section: &mut Section<'_>) -> Option<PathBuf> {
    file(section, "profile", "profile = \"policies/emr/opal.toml\"")
}

fn emr(mut section: Section<'_>) -> Option<Emr> {
    let name = name(&mut section);
    let hosts: Option<Vec<HostName>> =
        section.required("hosts", "hosts = [\"emr.hospital.example\"]");
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        section.error(
            "hosts",
            says("no host leads to this EMR", "name at least one host"),
        );
    }
    let profile = profile(&mut section);
    let error_pages = section.or("error_pages", ErrorPages::Pass);
    let why = "add `[emr.backend]` with `url = \"https://emr.internal:8443\"`";
    let backend = section.required_table("backend", why).and_then(backend);
    let identity = pass_identity(section.table("identity"));
    section.done();
    let ShortName(name) = name?;
    Some(Emr {
        name,
        hosts: hosts?.into_iter().map(|HostName(host)| host).collect(),
        profile: profile?,
        backend: backend?,
        identity: identity?,
        error_pages,
    })
}

/// `[emr.backend]`
fn backend(mut section: Section<'_>) -> Option<Backend> {
    let url: Option<url::Url> = section.required("url", "url = \"https://emr.internal:8443\"");
    let allow_plain_http = section.or("allow_plain_http", false);
    if let Some(url) = &url {
        check_url(&section, url);
        check_transport(&section, url, allow_plain_http);
    }
    let protocol = section.or("protocol", BackendProtocol::Http1);
    let host = section.or("host", HostHeader::Public);
    let ca = optional_file(&mut section, "ca");
    let client = section.optional_table("client_certificate");
    let has_client = client.is_some();
    let client_certificate = client.and_then(certificate);
    let plain = url.as_ref().is_some_and(|url| url.scheme() == "http");
    for (key, written) in [("ca", ca.is_some()), ("client_certificate", has_client)] {
        if plain && written {
            let message = format!("`{key}` has no use: the EMR is reached by http");
            section.error(
                key,
                says(message, "use the https URL of the EMR, or remove the key"),
            );
        }
    }
    let secs = Duration::from_secs;
    let backend = url.map(|url| Backend {
        url,
        protocol,
        host,
        ca,
        client_certificate,
        connect_timeout: section.within(
            "connect_timeout",
            secs(5),
            Duration::from_millis(100)..=secs(120),
        ),
        response_timeout: section.within("response_timeout", secs(60), secs(1)..=secs(3600)),
        idle_timeout: section.within(
            "idle_timeout",
            secs(15),
            Duration::from_millis(50)..=secs(3600),
        ),
        max_idle: section.within("max_idle", 64, 0..=10_000),
        max_connections: section.within("max_connections", 512, 1..=100_000),
        breaker_failures: section.within("breaker_failures", 5, 1..=1000),
        breaker_pause: section.within(
            "breaker_pause",
            secs(5),
            Duration::from_millis(100)..=secs(600),
        ),
    })?;
    section.done();
    Some(backend)
}

fn check_url(section: &Section<'_>, url: &url::Url) {
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let message = format!("`{url}` has a path or query; the EMR is addressed as a whole");
        let origin = url.origin().ascii_serialization();
        section.error("url", says(message, format!("write `url = \"{origin}\"`")));
    }
}

fn check_transport(section: &Section<'_>, url: &url::Url, allow_plain_http: bool) {
    if url.scheme() != "http" || is_loopback(url) {
        return;
    }
    let message = format!("traffic to the EMR at `{url}` is not encrypted");
    if allow_plain_http {
        let remedy = "give the EMR a certificate (or a TLS tunnel) and use its https URL";
        section.warn("url", says(message, remedy));
    } else {
        // SECURITY: patient data in clear on a network is a decision that somebody must sign for.
        let remedy = "use an https URL; where the network in between is trusted, confirm with `allow_plain_http = true`";
        section.error("url", says(message, remedy));
    }
}

/// Whether a URL stays on this machine.
pub(super) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `[emr.identity]`
fn pass_identity(mut section: Section<'_>) -> Option<PassIdentity> {
    let user_header: Option<HeaderName> = section.optional("user_header");
    let roles_header: Option<HeaderName> = section.optional("roles_header");
    let assertion_section = section.optional_table("assertion");
    let has_assertion = assertion_section.is_some();
    let assertion = assertion_section.and_then(assertion);
    let basic_section = section.optional_table("basic");
    let has_basic = basic_section.is_some();
    let basic = basic_section.and_then(basic);
    let mut seen: Vec<&HeaderName> = Vec::new();
    let headers = [
        ("user_header", user_header.as_ref()),
        ("roles_header", roles_header.as_ref()),
        (
            "assertion.header",
            assertion.as_ref().map(|assertion| &assertion.header),
        ),
    ];
    for (key, header) in headers {
        let Some(header) = header else { continue };
        if RESERVED_HEADERS.contains(&header.as_str()) {
            let message = format!("`{header}` belongs to HTTP or to the gateway");
            section.error(
                key,
                says(
                    message,
                    "choose a header of its own, like \"X-Remote-User\"",
                ),
            );
        }
        if seen.contains(&header) {
            let message = format!("`{header}` is used for two things");
            section.error(key, says(message, "give each statement its own header"));
        }
        seen.push(header);
    }
    section.done();
    let complete = has_assertion == assertion.is_some() && has_basic == basic.is_some();
    complete.then_some(PassIdentity {
        user_header,
        roles_header,
        assertion,
        basic,
    })
}

/// `[emr.identity.assertion]`
fn assertion(mut section: Section<'_>) -> Option<Assertion> {
    let header = section.or("header", HeaderName::from_static("x-chartgate-assertion"));
    let audience = section.required("audience", "audience = \"emr\"");
    let secs = Duration::from_secs;
    let lifetime = section.within("lifetime", secs(60), secs(5)..=secs(600));
    let key = secret_file(&mut section, "key", "key = \"keys/assertion.pem\"");
    section.done();
    Some(Assertion {
        header,
        audience: audience?,
        lifetime,
        key: key?,
    })
}

/// `[emr.identity.basic]`
fn basic(mut section: Section<'_>) -> Option<Basic> {
    let username: Option<String> = section.required("username", "username = \"gateway\"");
    if username.as_ref().is_some_and(|name| name.contains(':')) {
        let message = "a user name with a colon cannot be sent by HTTP Basic";
        section.error(
            "username",
            says(message, "use an account whose name has no colon"),
        );
    }
    let password = secret(&mut section, "password_file");
    section.done();
    Some(Basic {
        username: username?,
        password: password?,
    })
}
