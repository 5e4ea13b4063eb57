//! `audit.witnesses`: a path, or a table that says what kind of witness it is.

use std::time::Duration;

use super::identity::optional_secret;
use super::optional_file;
use super::s3::bucket;
use crate::config::section::{Item, Section};
use crate::config::source::says;
use crate::config::syslog::SyslogServer;
use crate::config::witness::{HttpsWitness, S3Witness, Witness};
use crate::config::{Certificate, S3Target};

/// The most witnesses: each has a thread.
const MOST: usize = 8;
const EXAMPLE: &str = "witnesses = [\"/srv/witness/chartgate.checkpoints\"]";

/// The witnesses; objects are locked for `years` unless they say otherwise.
pub(super) fn witnesses(section: &mut Section<'_>, years: u16) -> Option<Vec<Witness>> {
    let items = section.mixed("witnesses", EXAMPLE)?;
    if items.is_empty() {
        // SECURITY: without a witness a trail that was cut or rolled back cannot be told from a short one.
        let message = "the trail has no witness outside its directory";
        let remedy = format!("add `{EXAMPLE}`, best on another disk or host");
        section.error("witnesses", says(message, remedy));
    }
    if items.len() > MOST {
        let message = format!("{} witnesses are more than can be served", items.len());
        section.error("witnesses", says(message, format!("name at most {MOST}")));
    }
    super::all(items.into_iter().map(|item| match item {
        Item::Text(path) => Some(Witness::File(section.document().source().resolve(&path))),
        Item::Table(table) => kind(table, years),
    }))
}

fn kind(mut section: Section<'_>, years: u16) -> Option<Witness> {
    const KINDS: &str = "write a path, or a table with one of `https = \"https://…\"`, `syslog = \"log.example:6514\"`, `s3 = { … }`";
    let https: Option<url::Url> = section.optional("https");
    let syslog: Option<String> = section.optional("syslog");
    let s3 = section.optional_table("s3");
    let witness = match (https, syslog, s3) {
        (Some(url), None, None) => Some(endpoint(&mut section, url)),
        (None, Some(text), None) => receiver(&mut section, &text),
        (None, None, Some(table)) => objects(&mut section, table, years),
        (None, None, None) | (Some(_), _, _) | (_, Some(_), Some(_)) => {
            let message = "a witness must be one of a file, an HTTPS endpoint, a syslog receiver and a bucket";
            section.error("https", says(message, KINDS));
            return None;
        }
    };
    section.done();
    witness
}

fn endpoint(section: &mut Section<'_>, url: url::Url) -> Witness {
    if url.scheme() != "https" && !is_here(&url) {
        // SECURITY: a token would cross the network in clear, and anybody on it could answer for the witness.
        let message = "the witness is reached by http over a network";
        section.error("https", says(message, "use https"));
    }
    Witness::Https(Box::new(HttpsWitness {
        url,
        ca: optional_file(section, "ca"),
        client: client(section),
        token: optional_secret(section, "token_file"),
        cosigner: optional_file(section, "cosigner"),
    }))
}

fn is_here(url: &url::Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn receiver(section: &mut Section<'_>, text: &str) -> Option<Witness> {
    let ca = optional_file(section, "ca");
    let found = SyslogServer::at(text, ca, client(section));
    if found.is_none() {
        let message = format!("`{text}` is not a host, nor a host with a port");
        let remedy = "write `syslog = \"log.example:6514\"`";
        section.error("syslog", says(message, remedy));
    }
    found.map(|server| Witness::Syslog(Box::new(server)))
}

fn objects(section: &mut Section<'_>, table: Section<'_>, years: u16) -> Option<Witness> {
    let target: Option<S3Target> = bucket(table);
    let lock = section.within("lock_years", u64::from(years), 1..=100);
    let every = section.within(
        "every",
        Duration::from_mins(1),
        Duration::from_secs(1)..=Duration::from_hours(1),
    );
    Some(Witness::S3(Box::new(S3Witness {
        target: target?,
        lock_years: u16::try_from(lock).unwrap_or(years),
        every,
    })))
}

/// The certificate that is shown, if one is named. One of which half is missing is an error.
fn client(section: &mut Section<'_>) -> Option<Certificate> {
    let chain = optional_file(section, "certificate");
    let key: Option<String> = section.optional("key");
    match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(_)) => {
            let key = super::secret_file(section, "key", "key = \"certs/client.key\"")?;
            Some(Certificate { chain, key })
        }
        (Some(_), None) | (None, Some(_)) => {
            let message = "`certificate` and `key` belong together";
            let remedy = "name the PEM chain that is shown and its key, or neither";
            section.error("certificate", says(message, remedy));
            None
        }
    }
}
