//! Records as single messages, for receivers that the trail is sent to.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::judged::judge;
use super::{Format, atna, cef, fhir, ocsf};
use crate::audit::entry::Entry;
use crate::audit::events;
use crate::audit::query::join::Joined;
use crate::audit::show::Shown;
use crate::outbound::syslog::{MAX_MESSAGE, Origin, Severity};

/// Of a document that is too long for syslog: most characters of a text, most items of a list.
const BRIEF: (usize, usize) = (256, 16);

/// A message: what a record, or one patient of it, became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The record's sequence number; of an admitted request, the admission's.
    pub seq: u64,
    /// The record's own id: what tells a message that came twice.
    pub id: String,
    /// The node that wrote it.
    pub node: String,
    /// When it was admitted or refused, or happened.
    pub time: Timestamp,
    /// How serious it is.
    pub severity: Severity,
    /// The event, or the action of a request.
    pub name: &'static str,
    /// The message, in the format that was asked for.
    pub text: String,
}

impl Message {
    fn of(seq: u64, entry: &Entry, severity: Severity, text: String) -> Self {
        let mapping = entry.facts.as_ref().and_then(|f| f.mapping.as_ref());
        let name = match (entry.event, mapping) {
            (Some(event), _) => events::name(event),
            (None, Some(mapping)) => mapping.action.name(),
            (None, None) => "request",
        };
        Self {
            seq,
            id: entry.id.to_string(),
            node: entry.node.to_string(),
            time: entry.time,
            severity,
            name,
            text,
        }
    }

    /// A single record as it is.
    ///
    /// # Errors
    /// Where it cannot be written as JSON, which its types rule out.
    pub fn single(shown: &Shown) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(shown)?;
        Ok(Self::of(
            shown.seq,
            &shown.entry,
            Severity::Informational,
            text,
        ))
    }

    /// The message as a line of RFC 5424, `format` being what it was made in. One that is too long is cut in its values,
    /// never left out.
    #[must_use]
    pub fn line(&self, format: Format) -> String {
        if format == Format::Atna {
            // It is one already.
            return self.text.clone();
        }
        let origin = Origin::of_records(&self.node);
        let line = |text: &str| origin.message(self.severity, self.time, format.name(), text);
        let stub = || {
            let stub =
                json!({ "record": self.id, "seq": self.seq, "left_out": "too long for syslog" });
            line(&stub.to_string()).unwrap_or_default()
        };
        line(&self.text)
            .or_else(|_| line(&brief(&self.text)))
            .unwrap_or_else(|_| stub())
    }
}

/// The messages of a joined record. None for formats that are of single records or of rows.
#[must_use]
pub fn messages(format: Format, joined: &Joined) -> Vec<Message> {
    let severity = severity(joined);
    let json = |documents: Vec<Value>| documents.iter().map(Value::to_string).collect();
    let texts: Vec<String> = match format {
        Format::Fhir => json(fhir::events(joined)),
        Format::Ocsf => json(vec![ocsf::event(joined)]),
        Format::Atna => atna::lines(joined),
        Format::Cef => vec![cef::event(joined)],
        Format::Csv | Format::Jsonl => Vec::new(),
    };
    texts
        .into_iter()
        .map(|text| Message::of(joined.seq, &joined.entry, severity, text))
        .collect()
}

/// From OCSF's severity.
fn severity(joined: &Joined) -> Severity {
    match ocsf::severity(joined, judge(joined).0) {
        5 => Severity::Critical,
        4 => Severity::Error,
        3 => Severity::Warning,
        2 => Severity::Notice,
        _ => Severity::Informational,
    }
}

/// A document with its values cut; a line of CEF with its end cut.
fn brief(text: &str) -> String {
    if let Ok(mut document) = serde_json::from_str(text) {
        cut(&mut document);
        return document.to_string();
    }
    let room = MAX_MESSAGE / 2;
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
    let kept = text.get(..end.unwrap_or_default()).unwrap_or_default();
    // An escape that lost its second half would take the next field's beginning for it.
    kept.trim_end_matches('\\').to_owned()
}

fn cut(value: &mut Value) {
    let (longest, most) = BRIEF;
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(longest) {
                text.truncate(end);
            }
        }
        Value::Array(items) => {
            items.truncate(most);
            items.iter_mut().for_each(cut);
        }
        Value::Object(members) => members.values_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture as sample;
    use crate::request::{Action, Event};

    #[test]
    fn a_message_says_where_it_comes_from_in_every_format() {
        let joined = sample::done(Action::Read, &["4", "5"]);
        for (format, count) in [
            (Format::Fhir, 2),
            (Format::Ocsf, 1),
            (Format::Atna, 2),
            (Format::Cef, 1),
        ] {
            let messages = messages(format, &joined);
            assert_eq!(messages.len(), count, "{format}");
            for message in messages {
                assert_eq!((message.seq, message.name), (11, "Read"));
                assert_eq!(message.id, joined.entry.id.to_string());
                let line = message.line(format);
                assert!(
                    line.starts_with('<') && line.contains(" gw1 chartgate - "),
                    "{line}"
                );
                assert_eq!(
                    line.matches("<85>1 ").count(),
                    usize::from(format == Format::Atna)
                );
            }
        }
        let alarm = sample::event(Event::Alarm, None, &[("level", "high")]);
        assert_eq!(messages(Format::Cef, &alarm)[0].severity, Severity::Error);
    }

    #[test]
    fn what_is_too_long_for_syslog_is_cut_in_its_values() {
        let long = "\\=x".repeat(100_000);
        let joined = sample::event(
            Event::AuditRead,
            None,
            &[("operator", "alice"), ("filter", &long)],
        );
        for format in [Format::Fhir, Format::Ocsf, Format::Cef] {
            let line = messages(format, &joined)[0].line(format);
            assert!(
                line.len() < MAX_MESSAGE && line.contains("alice"),
                "{format}"
            );
            let text = line.splitn(8, ' ').nth(7).unwrap();
            if format == Format::Cef {
                assert!(text.starts_with("CEF:0|") && !text.ends_with('\\'));
            } else {
                let document: Value = serde_json::from_str(text).unwrap();
                assert!(document.to_string().contains(&joined.entry.id.to_string()));
            }
        }
        let many: Vec<String> = (0..5_000).map(|n| format!("key-{n:0>40}")).collect();
        let detail: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "v")).collect();
        let joined = sample::event(Event::AuditRead, None, &detail);
        let line = messages(Format::Ocsf, &joined)[0].line(Format::Ocsf);
        assert!(line.contains("left_out") && line.contains(&joined.entry.id.to_string()));
    }
}
