//! An alarm as it leaves the gateway.
//!
//! *Never*: a name of a patient; an identifier that the receiver's configuration does not include.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::show::Shown;
use crate::config::alarm::{Identifier, Level, Selection};
use crate::request::Event;

/// The rule on the record of a test.
pub(super) const TEST_RULE: &str = "chartgate.notify.test";
/// The particular that tells tests apart.
pub(super) const NONCE: &str = "nonce";
/// The form of the JSON document. A new member is not a new version; a changed meaning is.
const VERSION: u32 = 1;

/// An alarm, as it stands on the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id of the alarm's own record; the same in every attempt.
    pub id: String,
    /// Its position on the trail.
    pub seq: u64,
    /// The gateway's node.
    pub node: String,
    /// When it was raised.
    pub time: Timestamp,
    /// The rule's stable name.
    pub rule: String,
    /// What a person reads.
    pub title: String,
    /// How serious it is.
    pub level: Level,
    /// Ids of the records that it is about.
    pub records: Vec<String>,
    /// The case that it belongs to.
    pub case: Option<String>,
    /// What the rule asked for.
    pub response: Option<String>,
    pub(super) nonce: Option<String>,
    user: Option<String>,
    patient: Option<String>,
    client: Option<String>,
}

impl Message {
    /// The alarm on a record, if it is one.
    #[must_use]
    pub fn of(shown: &Shown) -> Option<Self> {
        let entry = &shown.entry;
        if entry.event != Some(Event::Alarm) {
            return None;
        }
        let detail = |name: &str| entry.detail.get(name).cloned();
        // An alarm whose level cannot be read must not be taken for a harmless one.
        let level = detail("level").and_then(|level| Level::named(&level));
        let records = detail("records").unwrap_or_default();
        Some(Self {
            id: entry.id.to_string(),
            seq: shown.seq,
            node: entry.node.to_string(),
            time: entry.time,
            rule: detail("rule").unwrap_or_else(|| "unnamed".to_owned()),
            title: detail("title").unwrap_or_else(|| "Alarm".to_owned()),
            level: level.unwrap_or(Level::High),
            records: records
                .split([',', ' '])
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect(),
            case: detail("case"),
            response: detail("response"),
            nonce: detail(NONCE),
            user: detail("user"),
            patient: detail("patient"),
            client: detail("client"),
        })
    }

    /// Whether the receiver wants it.
    pub(super) fn is_for(&self, selection: &Selection) -> bool {
        self.level >= selection.min_level || self.rule == TEST_RULE
    }

    /// The identifiers that the receiver may see.
    fn identifiers<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        selection.include.iter().filter_map(|identifier| {
            let value = match identifier {
                Identifier::User => &self.user,
                Identifier::Patient => &self.patient,
                Identifier::Client => &self.client,
            };
            value.as_deref().map(|value| (identifier.name(), value))
        })
    }

    /// The JSON document.
    pub(super) fn json(&self, selection: &Selection) -> String {
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
        set("version", json!(VERSION));
        set("id", json!(self.id));
        set("seq", json!(self.seq));
        set("node", json!(self.node));
        set("time", json!(self.time.to_string()));
        set("rule", json!(self.rule));
        set("title", json!(self.title));
        set("level", json!(self.level.name()));
        set("records", json!(self.records));
        if let Some(case) = &self.case {
            set("case", json!(case));
        }
        if let Some(response) = &self.response {
            set("response", json!(response));
        }
        for (name, value) in self.identifiers(selection) {
            set(name, json!(value));
        }
        Value::Object(document).to_string()
    }

    /// The subject of a mail.
    pub(super) fn subject(&self) -> String {
        let level = self.level.name().to_uppercase();
        format!("[Chartgate {}] {level}: {}", self.node, self.title)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(200)
            .collect()
    }

    /// The text of a mail.
    pub(super) fn text(&self, selection: &Selection) -> String {
        let mut text = format!(
            "{}\n\nlevel    {}\nrule     {}\ntime     {}\nnode     {}\nalarm    {} (record {})\n",
            self.title,
            self.level,
            self.rule,
            self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            self.node,
            self.id,
            self.seq
        );
        let case = self.case.as_deref().map(|case| ("case", case));
        let response = self
            .response
            .as_deref()
            .map(|response| ("response", response));
        let pairs = case
            .into_iter()
            .chain(response)
            .chain(self.identifiers(selection));
        for (name, value) in pairs {
            text.extend([format!("{name:<8} {value}\n")]);
        }
        if !self.records.is_empty() {
            text.push_str("\nRecords:\n");
            for record in &self.records {
                text.extend(["  ", record, "\n"]);
            }
            text.push_str("\nSee them with: chartgate audit show --request ID\n");
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::audit::entry::Entry;

    pub(in crate::notify) fn selection(include: &[Identifier]) -> Selection {
        Selection {
            name: "soc".to_owned(),
            min_level: Level::Medium,
            include: include.to_vec(),
        }
    }

    pub(in crate::notify) fn alarm(level: &str) -> Message {
        let detail = BTreeMap::from(
            [
                ("rule", "volume"),
                ("title", "Many charts by one user"),
                ("level", level),
                ("records", "a,b"),
                ("user", "nurse.lind"),
                ("patient", "4711"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let entry = Entry::event(
            &"gw1".into(),
            Timestamp::UNIX_EPOCH,
            Event::Alarm,
            None,
            detail,
        );
        Message::of(&Shown { seq: 7, entry }).unwrap()
    }

    #[test]
    fn only_what_the_receiver_may_see_leaves() {
        let message = alarm("high");
        let json = message.json(&selection(&[]));
        assert!(
            !json.contains("nurse.lind") && !json.contains("4711"),
            "{json}"
        );
        assert!(json.contains(r#""records":["a","b"]"#) && json.contains(r#""level":"high""#));
        let json = message.json(&selection(&[Identifier::User]));
        assert!(json.contains("nurse.lind") && !json.contains("4711"));
        let text = message.text(&selection(&[Identifier::Patient, Identifier::Client]));
        assert!(
            text.contains("patient  4711") && !text.contains("nurse.lind"),
            "{text}"
        );
        assert_eq!(
            message.subject(),
            "[Chartgate gw1] HIGH: Many charts by one user"
        );
    }

    #[test]
    fn levels_select_and_an_unknown_one_is_high() {
        let wanted = selection(&[]);
        assert!(!alarm("low").is_for(&wanted));
        assert!(alarm("medium").is_for(&wanted));
        assert_eq!(alarm("shrug").level, Level::High);
    }
}
