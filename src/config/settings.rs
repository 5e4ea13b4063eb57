//! The settings as the file says them, one name and one text each: what the trail compares from one start to the next.
//!
//! *Never*: a secret. Secrets stand in files; here is where they lie. An address keeps its host only, as its path may be
//! a password (a webhook's).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_lc_rs::digest;
use toml::de::{DeTable, DeValue};

use super::source::Document;

/// Longest text of a setting, in characters; a longer one is known by its digest as a whole.
const LONGEST: usize = 200;
/// The names in a table of an array by which an operator knows it, the first that is there.
const NAMES: &[&str] = &["name", "chain", "id"];

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its value, as far as it may be shown.
    pub text: String,
    /// What is not shown of it but has to be compared: the file that it names, or the rest of an address.
    pub hidden: Hidden,
}

/// What of a setting is compared without being shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hidden {
    /// Nothing.
    Nothing,
    /// The content of this file.
    File(PathBuf),
    /// This text.
    Text(String),
}

/// Every setting that the file writes, by its name: `audit.retention_years`, `emr[clinic].backend.url`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    written: BTreeMap<String, Setting>,
    sha256: String,
}

// SECURITY: what is compared without being shown is not shown here either.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

impl Settings {
    /// Those of a document that was read.
    pub(super) fn of(document: &Document<'_>) -> Self {
        let files = document.named_files();
        let mut walk = Walk {
            document,
            files: &files,
            written: BTreeMap::new(),
        };
        walk.table(document.root().get_ref(), ("", ""));
        let text = document.source().text();
        Self {
            written: walk.written,
            sha256: hex::encode(digest::digest(&digest::SHA256, text.as_bytes())),
        }
    }

    /// Each with its name, in order.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.written
            .iter()
            .map(|(name, setting)| (name.as_str(), setting))
    }

    /// SHA-256 of the file, in hexadecimal, as `sha256sum` prints it.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

struct Walk<'d, 's> {
    document: &'d Document<'s>,
    files: &'d BTreeSet<String>,
    written: BTreeMap<String, Setting>,
}

impl Walk<'_, '_> {
    /// `place` is where the table stands in the file (`emr[0].backend`), `name` what it is called (`emr[clinic].backend`).
    fn table(&mut self, table: &DeTable<'_>, (place, name): (&str, &str)) {
        for (key, value) in table {
            let key: &str = key.get_ref();
            let within = |outer: &str| {
                if outer.is_empty() {
                    key.to_owned()
                } else {
                    format!("{outer}.{key}")
                }
            };
            self.value(value.get_ref(), (&within(place), &within(name)));
        }
    }

    fn value(&mut self, value: &DeValue<'_>, (place, name): (&str, &str)) {
        if let Some(table) = value.as_table() {
            self.table(table, (place, name));
            return;
        }
        let tables: Option<Vec<&DeTable<'_>>> = value.as_array().map_or(Some(vec![]), |array| {
            array.iter().map(|item| item.get_ref().as_table()).collect()
        });
        if let Some(tables) = tables.filter(|tables| !tables.is_empty()) {
            for (index, table) in tables.into_iter().enumerate() {
                let named = NAMES
                    .iter()
                    .find_map(|key| table.get(*key)?.get_ref().as_str());
                let called = named.map_or_else(|| index.to_string(), str::to_owned);
                let mut name = format!("{name}[{called}]");
                if self.has(&name) {
                    name = format!("{name}[{index}]");
                }
                self.table(table, (&format!("{place}[{index}]"), &name));
            }
            return;
        }
        let setting = self.setting(value, place);
        self.written.insert(name.to_owned(), setting);
    }

    /// Whether something of that name was written already.
    fn has(&self, name: &str) -> bool {
        let from = self.written.range(name.to_owned()..);
        from.take(1).any(|(known, _)| known.starts_with(name))
    }

    fn setting(&self, value: &DeValue<'_>, place: &str) -> Setting {
        let whole = text(value);
        if self.files.contains(place) {
            let path = self.document.source().resolve(&whole);
            return Setting {
                text: shown(&whole),
                hidden: Hidden::File(path),
            };
        }
        let kept = shown(&hosts_only(&whole));
        Setting {
            hidden: if kept == whole {
                Hidden::Nothing
            } else {
                Hidden::Text(whole)
            },
            text: kept,
        }
    }
}

/// A value in one line.
fn text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(one) => one.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| text(item.get_ref())).collect();
            items.join(", ")
        }
        DeValue::Table(table) => {
            let pairs = table.iter();
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{}={}", key.get_ref(), text(value.get_ref())))
                .collect();
            pairs.join(" ")
        }
    }
}

/// Addresses without what follows their host.
fn hosts_only(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at.saturating_add(3));
        shown.push_str(before);
        let end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        let (host, more) = after.split_at(end);
        shown.push_str(host);
        let end = more.find([',', ' ']).unwrap_or(more.len());
        let (hidden, next) = more.split_at(end);
        shown.push_str(if matches!(hidden, "" | "/") {
            hidden
        } else {
            "/…"
        });
        rest = next;
    }
    shown.push_str(rest);
    shown
}

/// What is put on record of a value: its beginning, without line breaks and the like.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut kept: String = plain.take(LONGEST).collect();
    if kept.chars().count() < text.chars().count() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

    fn settings(text: &str, files: &[&str]) -> Settings {
        let source = Source::new("/etc/chartgate/chartgate.toml".into(), text.to_owned());
        let document = Document::parse(&source).unwrap();
        for key in files {
            document.names_file((*key).to_owned());
        }
        Settings::of(&document)
    }

    #[test]
    fn settings_are_called_as_an_operator_calls_them() {
        let text = "[audit]\nretention_years = 7\nwitnesses = [\"/a\", \"/b\"]\n[[emr]]\nname = \"clinic\"\n[emr.backend]\nurl = \"http://10.0.0.2:8080\"\n[[emr]]\nname = \"clinic\"\n[admin.operators]\n1001 = \"bob\"\n";
        let settings = settings(text, &[]);
        let found: Vec<String> = settings
            .each()
            .map(|(name, setting)| format!("{name}={}", setting.text))
            .collect();
        assert_eq!(
            found,
            [
                "admin.operators.1001=bob",
                "audit.retention_years=7",
                "audit.witnesses=/a, /b",
                "emr[clinic].backend.url=http://10.0.0.2:8080",
                "emr[clinic].name=clinic",
                "emr[clinic][1].name=clinic",
            ]
        );
        let sum = digest::digest(&digest::SHA256, text.as_bytes());
        assert_eq!(settings.sha256(), hex::encode(sum));
    }

    #[test]
    fn what_may_be_a_secret_is_compared_and_not_shown() {
        let text = "[[notify.webhook]]\nname = \"team\"\nurl = \"https://hooks.example/T0/secret?k=1\"\nsecret_file = \"secrets/hook\"\n";
        let settings = settings(text, &["notify.webhook[0].secret_file"]);
        let of = |name: &str| {
            let mut all = settings.each();
            let found = all.find(|(known, _)| *known == format!("notify.webhook[team].{name}"));
            found.unwrap().1.clone()
        };
        let url = of("url");
        assert_eq!(url.text, "https://hooks.example/…");
        assert!(matches!(url.hidden, Hidden::Text(whole) if whole.contains("secret")));
        let file = of("secret_file");
        assert_eq!(file.text, "secrets/hook");
        assert_eq!(
            file.hidden,
            Hidden::File("/etc/chartgate/secrets/hook".into())
        );
        assert_eq!(
            hosts_only("a https://x/y, https://z b"),
            "a https://x/…, https://z b"
        );
    }

    #[test]
    fn a_long_or_odd_text_is_cut_and_compared_as_a_whole() {
        let text = format!("[client]\nbanner = \"{}\\nend\"\n", "x".repeat(300));
        let settings = settings(&text, &[]);
        let (_, setting) = settings.each().next().unwrap();
        assert_eq!(setting.text.chars().count(), LONGEST + 1);
        assert!(matches!(&setting.hidden, Hidden::Text(whole) if whole.ends_with("end")));
    }
}
