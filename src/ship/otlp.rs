//! Messages as OpenTelemetry logs: OTLP/HTTP with Protocol Buffers, `POST /v1/logs` (OTLP 1, "OTLP/HTTP").

use serde_json::{Value, json};

use super::channel::{SendError, Taken};
use super::https::{Post, words};
use super::protobuf::{Field, Wire, fields};
use crate::audit::export::Format;
use crate::audit::export::message::Message;
use crate::config::sink::HttpReceiver;
use crate::outbound::HttpError;
use crate::outbound::syslog::Severity;

const PROTOBUF: &str = "application/x-protobuf";

#[derive(Debug)]
pub(super) struct OtlpChannel {
    post: Post,
    format: Format,
}

impl OtlpChannel {
    pub(super) fn new(receiver: &HttpReceiver, format: Format) -> Result<Self, HttpError> {
        Ok(Self {
            post: Post::new(receiver)?,
            format,
        })
    }

    /// An empty request is one that every receiver takes: it says whether address, trust and token are right.
    pub(super) async fn send(&mut self, messages: &[Message]) -> Result<Taken, SendError> {
        let answer = self
            .post
            .body(PROTOBUF, request(self.format, messages))
            .await?;
        Ok(match partial(answer.body()) {
            Some((rejected, said)) => Taken::Part { rejected, said },
            None => Taken::All,
        })
    }
}

/// `ExportLogsServiceRequest`: one resource for each node.
fn request(format: Format, messages: &[Message]) -> Vec<u8> {
    let mut wire = Wire::default();
    for of_node in messages.chunk_by(|a, b| a.node == b.node) {
        let node = of_node.first().map_or("", |message| message.node.as_str());
        wire.message(1, |resource_logs| {
            resource_logs.message(1, |resource| {
                resource.pair(1, "service.name", &json!("chartgate"));
                resource.pair(1, "service.version", &json!(env!("CARGO_PKG_VERSION")));
                resource.pair(1, "service.instance.id", &json!(node));
            });
            resource_logs.message(2, |scope_logs| {
                scope_logs.message(1, |scope| scope.text(1, "chartgate.trail"));
                for message in of_node {
                    scope_logs.message(2, |record| log_record(record, format, message));
                }
            });
        });
    }
    wire.into_bytes()
}

fn log_record(record: &mut Wire, format: Format, message: &Message) {
    let nanoseconds = u64::try_from(message.time.as_nanosecond()).unwrap_or_default();
    record.fixed(1, nanoseconds.to_le_bytes());
    let (number, text) = severity(message.severity);
    record.number(2, number);
    record.text(3, text);
    record.message(5, |body| body.value(&document(format, &message.text)));
    record.pair(6, "chartgate.record", &json!(message.id));
    record.pair(6, "chartgate.sequence", &json!(message.seq));
    record.pair(6, "chartgate.format", &json!(format.name()));
    record.text(12, &format!("chartgate.{}", message.name.to_lowercase()));
}

/// JSON as what it means, so that receivers can ask for its members; anything else as text.
fn document(format: Format, text: &str) -> Value {
    match format {
        Format::Fhir | Format::Ocsf | Format::Jsonl => {
            serde_json::from_str(text).unwrap_or_else(|_error| json!(text))
        }
        Format::Atna | Format::Cef | Format::Csv => json!(text),
    }
}

/// As the OpenTelemetry log data model maps syslog (appendix B).
const fn severity(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Alert => (19, "ERROR3"),
        Severity::Critical => (18, "ERROR2"),
        Severity::Error => (17, "ERROR"),
        Severity::Warning => (13, "WARN"),
        Severity::Notice => (10, "INFO2"),
        Severity::Informational => (9, "INFO"),
    }
}

/// Of an `ExportLogsServiceResponse`: how many records were not taken, and why. An answer that is none (some receivers
/// answer in JSON, or with nothing) says no more than its status does.
fn partial(answer: &[u8]) -> Option<(u64, String)> {
    let find = |fields: &[(u64, Field<'_>)], number| {
        let found = fields.iter().rfind(|(n, _)| *n == number);
        found
            .map(|(_, field)| *field)
            .map_or((0, Vec::new()), |field| match field {
                Field::Number(number) => (number, Vec::new()),
                Field::Bytes(bytes) => (0, bytes.to_vec()),
                Field::Fixed(_) => (0, Vec::new()),
            })
    };
    let (_, partial) = find(&fields(answer)?, 1);
    let partial = fields(&partial)?;
    let (rejected, _) = find(&partial, 1);
    let (_, said) = find(&partial, 2);
    // Without a number it is a warning; everything was taken.
    (rejected > 0).then(|| (rejected, words(&said)))
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::tests::{any, find, inner};
    use super::*;
    use crate::audit::export::message::messages;
    use crate::audit::fixture as sample;
    use crate::request::{Action, Event};

    #[test]
    fn a_request_reads_back() {
        let sent = [
            messages(Format::Ocsf, &sample::done(Action::Read, &["4"])),
            messages(
                Format::Ocsf,
                &sample::event(Event::Alarm, None, &[("level", "critical")]),
            ),
        ]
        .concat();
        let bytes = request(Format::Ocsf, &sent);
        let logs = inner(find(&fields(&bytes).unwrap(), 1));
        let resource = inner(find(&logs, 1));
        let node = inner(Some(resource[2].1));
        assert_eq!(any(&inner(find(&node, 2))), "gw1");
        let scope = inner(find(&logs, 2));
        let records: Vec<_> = scope.iter().filter(|(number, _)| *number == 2).collect();
        assert_eq!(records.len(), 2);
        let record = inner(Some(records[0].1));
        let time = u64::try_from(sample::time().as_nanosecond()).unwrap();
        assert_eq!(find(&record, 1), Some(Field::Fixed(time.to_le_bytes())));
        assert_eq!(find(&record, 2), Some(Field::Number(9)));
        assert_eq!(find(&record, 12), Some(Field::Bytes(b"chartgate.read")));
        let body = any(&inner(find(&record, 5)));
        assert_eq!(body, serde_json::from_str::<Value>(&sent[0].text).unwrap());
        let alarm = inner(Some(records[1].1));
        assert_eq!(find(&alarm, 2), Some(Field::Number(18)));
        assert!(request(Format::Ocsf, &[]).is_empty());
    }

    #[test]
    fn a_partial_success_says_how_many_and_why() {
        let mut wire = Wire::default();
        wire.message(1, |partial| {
            partial.number(1, 3);
            partial.text(2, "too old");
        });
        assert_eq!(partial(&wire.into_bytes()), Some((3, "too old".to_owned())));
        assert_eq!(partial(b""), None);
        assert_eq!(partial(b"<html>"), None);
        assert_eq!(partial(b"{}"), None);
    }
}
