//! What rules see of a record: a flat list of named fields.
//!
//! *Never*: a field that is not in [`FIELDS`], except a particular of an event (`detail.` and its name).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Text.
    Text,
    /// Any number of texts; a condition on it asks whether one of them fits.
    Texts,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
}

/// A field as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in rules.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What it says.
    pub help: &'static str,
}

const fn field(name: &'static str, holds: Holds, help: &'static str) -> Field {
    Field { name, holds, help }
}

use Holds::{Number, Text, Texts, Truth};

/// Every field.
pub const FIELDS: &[Field] = &[
    field("phase", Text, "`admit`, `outcome`, `refuse` or `event`"),
    field(
        "event",
        Text,
        "for an event: which, like `login` or `break_glass`",
    ),
    field("refusal", Text, "for a refusal: its code, like `CG-3001`"),
    field("user", Text, "the user's name"),
    field("user_id", Text, "the user's stable id, `issuer|subject`"),
    field("roles", Texts, "the user's roles"),
    field(
        "mfa",
        Truth,
        "whether the user signed in with a second factor",
    ),
    field("session", Text, "a fingerprint of the session"),
    field("client", Text, "the client's address"),
    field(
        "network",
        Text,
        "the client's network: /24 of IPv4, /48 of IPv6",
    ),
    field(
        "zone",
        Text,
        "the zone of `networks.toml` that the client is in",
    ),
    field("emr", Text, "the EMR's name"),
    field("method", Text, "the HTTP method"),
    field("path", Text, "the canonical path"),
    field("route", Text, "the route's id in the profile"),
    field("action", Text, "the clinical action, like `Read`"),
    field("section", Text, "the section of the chart"),
    field(
        "sensitivity",
        Text,
        "the section's confidentiality code: `N`, `R`, `V`",
    ),
    field("poll", Truth, "whether the request is a background poll"),
    field("patient", Texts, "the ids of the patients concerned"),
    field("patients", Number, "how many patients are concerned"),
    field(
        "finding",
        Texts,
        "the ids of the inspection rules that found an attack in a value, like `sql-union`",
    ),
    field(
        "finding_class",
        Texts,
        "their classes: `sql`, `xss`, `path`, `command`, `lookup`",
    ),
    field(
        "patch",
        Text,
        "the id of the virtual patch that refused the request",
    ),
    field("verdict", Text, "`allow` or `deny`"),
    field("policy", Texts, "the ids of the deciding policies"),
    field("purpose", Text, "the purpose of use"),
    field(
        "care_relation",
        Text,
        "the care relation of user and patient",
    ),
    field("break_glass", Truth, "whether a break-glass grant applied"),
    field("lockdown", Number, "the lockdown level that applied"),
    field("training", Text, "how the user stood with training"),
    field("status", Number, "for an outcome: the EMR's status"),
    field("end", Text, "for an outcome: how it ended, like `complete`"),
    field(
        "bytes_out",
        Number,
        "for an outcome: bytes delivered to the client",
    ),
    field(
        "hour",
        Number,
        "the hour of the day, 0 to 23, in the configured time zone",
    ),
    field("weekday", Text, "the day of the week, `mon` to `sun`"),
    field(
        "off_hours",
        Truth,
        "whether it is outside of the working hours",
    ),
    field(
        "seq_step",
        Truth,
        "whether the user went from one patient id to a neighbouring one (1 or 2 further)",
    ),
    field(
        "new_network",
        Truth,
        "whether the user comes from a network not seen before, having been seen in another",
    ),
];

/// Before the name of a particular of an event.
pub const DETAIL: &str = "detail.";

/// What a field of this name holds, if there is one.
#[must_use]
pub fn holds(name: &str) -> Option<Holds> {
    if name
        .strip_prefix(DETAIL)
        .is_some_and(|rest| !rest.is_empty())
    {
        return Some(Text);
    }
    FIELDS
        .iter()
        .find(|field| field.name == name)
        .map(|field| field.holds)
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A number.
    Number(i64),
    /// A truth.
    Truth(bool),
}

/// The fields of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<Cow<'static, str>, Value>);

impl Fields {
    /// Sets a field.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// Sets a text, if there is one.
    pub(super) fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.set(name, Value::Text(value.to_owned()));
        }
    }

    /// A field.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text of a field; the first of several.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            Value::Texts(texts) => texts.first().map(String::as_str),
            Value::Number(_) | Value::Truth(_) => None,
        }
    }

    /// Every value of a field, as text.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<Cow<'_, str>> {
        match self.0.get(name) {
            None => Vec::new(),
            Some(Value::Text(text)) => vec![Cow::Borrowed(text.as_str())],
            Some(Value::Texts(texts)) => texts
                .iter()
                .map(|text| Cow::Borrowed(text.as_str()))
                .collect(),
            Some(Value::Number(number)) => vec![Cow::Owned(number.to_string())],
            Some(Value::Truth(truth)) => vec![Cow::Owned(truth.to_string())],
        }
    }
}

/// The fields as a Markdown table, for `docs/detection.md`.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("| field | holds | what it says |\n|---|---|---|\n");
    for Field { name, holds, help } in FIELDS {
        let holds = match holds {
            Text => "text",
            Texts => "texts",
            Number => "number",
            Truth => "true or false",
        };
        table.extend(["| `", name, "` | ", holds, " | ", help, " |\n"]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_field() {
        let manual = include_str!("../../docs/detection.md");
        assert!(
            manual.contains(&table()),
            "docs/detection.md must contain:\n{}",
            table()
        );
    }

    #[test]
    fn particulars_of_events_are_fields() {
        assert_eq!(holds("detail.reason"), Some(Text));
        assert_eq!(holds("detail."), None);
        assert_eq!(holds("patients"), Some(Number));
        assert_eq!(holds("patient_name"), None);
    }
}
