//! `[[audit.sink]]`

use std::time::Duration;

use super::identity::optional_secret;
use super::{all, optional_file};
use crate::config::Certificate;
use crate::config::section::Section;
use crate::config::sink::{Beginning, HttpReceiver, Included, Sink, SinkFormat, SinkTarget};
use crate::config::source::says;
use crate::config::syslog::SyslogServer;
use crate::config::value::ShortName;

/// Every sink; none is no problem.
pub(super) fn sinks(audit: &mut Section<'_>) -> Option<Vec<Sink>> {
    let sinks = all(audit.tables("sink").into_iter().map(sink))?;
    let mut names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
        let message = format!("two sinks are called `{twice}`; they would share a position");
        audit.error("sink", says(message, "give each a name of its own"));
    }
    Some(sinks)
}

fn sink(mut section: Section<'_>) -> Option<Sink> {
    let name: Option<ShortName> = section.required("name", "name = \"siem\"");
    let format = word(&mut section, "format", SinkFormat::ALL, None);
    let from = word(&mut section, "from", Beginning::ALL, Some(Beginning::Now));
    let include = included(&mut section);
    let patients = super::sink_patients::patients(&mut section);
    let minute = Duration::from_mins(1);
    let alarm_after = section.within(
        "alarm_after",
        minute.saturating_mul(15),
        minute..=Duration::from_hours(24 * 7),
    );
    let target = target(&mut section);
    if format == Some(SinkFormat::Atna)
        && matches!(target, Some(SinkTarget::Otlp(_) | SinkTarget::Https(_)))
    {
        let message = "audit messages of ATNA are sent by syslog";
        let remedy =
            "use `syslog`, or `format = \"fhir\"` with `https`, as ATNA's RESTful transport has it";
        section.error("format", says(message, remedy));
    }
    section.done();
    Some(Sink {
        name: name?.0,
        format: format?,
        target: target?,
        include: include?,
        patients: patients?,
        from: from?,
        alarm_after,
    })
}

/// One of a few words.
fn word<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    words: &[(&str, T)],
    default: Option<T>,
) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let written: String = match default {
        Some(default) => match section.optional(key) {
            Some(written) => written,
            None => return Some(default),
        },
        None => section.required(key, &format!("{key} = \"{}\"", names.first()?))?,
    };
    let known = words.iter().find(|(name, _)| *name == written);
    if known.is_none() {
        let message = format!("`{written}` is no value of `{key}`");
        section.error(key, says(message, format!("write {}", names.join(", "))));
    }
    known.map(|(_, meaning)| *meaning)
}

fn included(section: &mut Section<'_>) -> Option<Vec<Included>> {
    let Some(written) = section.optional::<Vec<String>>("include") else {
        return Some(Included::ALL.iter().map(|(_, kind)| *kind).collect());
    };
    let mut include = Vec::new();
    for (index, word) in written.iter().enumerate() {
        let Some((_, kind)) = Included::ALL.iter().find(|(name, _)| name == word) else {
            let message = format!("`{word}` is no kind of record");
            let remedy = "write requests, refusals or events";
            section.error(&format!("include[{index}]"), says(message, remedy));
            return None;
        };
        include.push(*kind);
    }
    if include.is_empty() {
        let message = "the sink would get nothing";
        section.error(
            "include",
            says(message, "leave `include` out to send everything"),
        );
        return None;
    }
    Some(include)
}

/// The one place that the sink sends to.
fn target(section: &mut Section<'_>) -> Option<SinkTarget> {
    let syslog: Option<String> = section.optional("syslog");
    let otlp: Option<url::Url> = section.optional("otlp");
    let https: Option<url::Url> = section.optional("https");
    let ca = optional_file(section, "ca");
    let certificate = certificate(section);
    let token_is_written = section.optional::<String>("token_file").is_some();
    let token = optional_secret(section, "token_file");
    let http = |url: url::Url| HttpReceiver {
        url,
        ca: ca.clone(),
        certificate: certificate.clone(),
        token: token.clone(),
    };
    match (syslog, otlp, https) {
        (Some(address), None, None) => {
            if token_is_written {
                let message = "syslog has no place for a token";
                section.error("token_file", says(message, "use `certificate` and `key`"));
            }
            let server = SyslogServer::at(&address, ca, certificate);
            if server.is_none() {
                let message = format!("`{address}` is no address of a syslog receiver");
                section.error(
                    "syslog",
                    says(message, "write it like \"logs.hospital.example:6514\""),
                );
            }
            server.map(SinkTarget::Syslog)
        }
        (None, Some(url), None) => {
            encrypted(section, "otlp", url).map(|url| SinkTarget::Otlp(http(url)))
        }
        (None, None, Some(url)) => {
            encrypted(section, "https", url).map(|url| SinkTarget::Https(http(url)))
        }
        _ => {
            let message = "a sink sends to one place";
            let remedy = "write one of `syslog = \"logs.hospital.example:6514\"`, `otlp = \"https://…/v1/logs\"`, `https = \"https://…\"`";
            section.error("name", says(message, remedy));
            None
        }
    }
}

/// SECURITY: records name users and patients.
fn encrypted(section: &Section<'_>, key: &str, url: url::Url) -> Option<url::Url> {
    if url.scheme() == "https" || (url.scheme() == "http" && super::emr::is_loopback(&url)) {
        return Some(url);
    }
    let message = "the trail would cross the network in clear";
    let remedy = "use an https URL; http is accepted on loopback only";
    section.error(key, says(message, remedy));
    None
}

/// `certificate` and `key`, both or neither.
fn certificate(section: &mut Section<'_>) -> Option<Certificate> {
    let chain = optional_file(section, "certificate");
    let key = optional_file(section, "key");
    match (chain, key) {
        (Some(chain), Some(key)) => {
            if let Err(said) = crate::config::secrets::guard(&key) {
                section.error("key", said);
            }
            Some(Certificate { chain, key })
        }
        (None, None) => None,
        (Some(_), None) => {
            section.error(
                "certificate",
                says("there is a certificate without its key", "add `key`"),
            );
            None
        }
        (None, Some(_)) => {
            section.error(
                "key",
                says(
                    "there is a key without its certificate",
                    "add `certificate`",
                ),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::fixture::{Fixture, TEMPLATE, sole};
    use crate::config::sink::{Beginning, Included, Sink, SinkFormat, SinkTarget};

    fn fixture() -> Fixture {
        let fixture = Fixture::new();
        fixture.write("certs/logs.pem", "ca\n");
        fixture.write("secrets/token", "t0ken\n");
        fixture
    }

    fn with(text: &str) -> String {
        let sinks = format!("[[audit.sink]]\nname = \"siem\"\n{text}\n\n[store]");
        TEMPLATE.replacen("[store]", &sinks, 1)
    }

    fn read(text: &str) -> Sink {
        let reading = fixture().read(&with(text));
        assert!(reading.problems.is_empty(), "{}", reading.problems);
        reading.config.unwrap().audit.sinks.remove(0)
    }

    fn refused(text: &str) -> (String, String) {
        let reading = fixture().read(&with(text));
        let problem = sole(&reading.problems);
        (problem.key.clone(), problem.message.clone())
    }

    #[test]
    fn a_sink_has_one_place_and_defaults() {
        let sink = read(
            "format = \"atna\"\nsyslog = \"logs.hospital.example\"\nca = \"certs/logs.pem\"\ncertificate = \"certs/server.pem\"\nkey = \"certs/server.key\"",
        );
        assert_eq!(
            (sink.name.as_str(), sink.format),
            ("siem", SinkFormat::Atna)
        );
        assert_eq!((sink.from, sink.include.len()), (Beginning::Now, 3));
        assert_eq!(sink.alarm_after, Duration::from_mins(15));
        let SinkTarget::Syslog(server) = sink.target else {
            panic!("{:?}", sink.target)
        };
        assert_eq!(server.to_string(), "logs.hospital.example:6514");
        assert!(server.ca.is_some() && server.certificate.is_some());
        let sink = read(
            "format = \"ocsf\"\notlp = \"https://otel.hospital.example/v1/logs\"\ntoken_file = \"secrets/token\"\nfrom = \"beginning\"\ninclude = [\"refusals\"]\nalarm_after = \"1h\"",
        );
        assert_eq!(
            (sink.from, sink.include),
            (Beginning::Oldest, vec![Included::Refusals])
        );
        let SinkTarget::Otlp(receiver) = sink.target else {
            panic!("{:?}", sink.target)
        };
        assert_eq!(receiver.token.unwrap().expose(), "t0ken");
        assert!(
            fixture()
                .read(TEMPLATE)
                .config
                .unwrap()
                .audit
                .sinks
                .is_empty()
        );
    }

    #[test]
    fn what_cannot_work_is_said_with_its_place() {
        for (text, key, message) in [
            (
                "format = \"cef\"",
                "audit.sink[0].name",
                "sends to one place",
            ),
            (
                "format = \"cef\"\nsyslog = \"a:1\"\nhttps = \"https://b.example\"",
                "audit.sink[0].name",
                "sends to one place",
            ),
            (
                "format = \"leef\"\nsyslog = \"a:1\"",
                "audit.sink[0].format",
                "no value of `format`",
            ),
            ("syslog = \"a:1\"", "audit.sink[0].format", "is missing"),
            (
                "format = \"atna\"\nhttps = \"https://b.example\"",
                "audit.sink[0].format",
                "by syslog",
            ),
            (
                "format = \"cef\"\nhttps = \"http://b.example\"",
                "audit.sink[0].https",
                "in clear",
            ),
            (
                "format = \"cef\"\nsyslog = \"a:0\"",
                "audit.sink[0].syslog",
                "no address",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\ntoken_file = \"secrets/token\"",
                "audit.sink[0].token_file",
                "no place for a token",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\ncertificate = \"certs/server.pem\"",
                "audit.sink[0].certificate",
                "without its key",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\ninclude = [\"users\"]",
                "audit.sink[0].include[0]",
                "no kind",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\nfrom = \"yesterday\"",
                "audit.sink[0].from",
                "no value of `from`",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\n\n[[audit.sink]]\nname = \"siem\"\nformat = \"cef\"\nsyslog = \"b\"",
                "audit.sink",
                "two sinks are called `siem`",
            ),
            (
                "format = \"cef\"\nsyslog = \"a\"\nfilter = \"x\"",
                "audit.sink[0].filter",
                "not known",
            ),
        ] {
            let (found, said) = refused(text);
            assert!(
                found == key && said.contains(message),
                "{text}: {found}: {said}"
            );
        }
    }
}
