//! One table of the file, read key by key.
//!
//! What is asked for is what is known: a key that nobody asked for is a problem when the section is done, with
//! the nearest known key as a suggestion. Reading goes on after a problem, so that all are reported at once.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Severity;
use super::source::{Document, Excerpt, Says, says};
use super::value::{Fault, Show, Value};

/// One of a list whose members are texts or tables.
#[derive(Debug)]
pub(super) enum Item<'d> {
    /// A text.
    Text(String),
    /// A table.
    Table(Section<'d>),
}

/// A table on its way into a typed section.
#[derive(Debug)]
#[must_use = "call `done`, or unknown keys go unnoticed"]
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,
    span: Option<Range<usize>>,
    path: String,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(super) fn root(document: &'d Document<'d>) -> Self {
        Self {
            document,
            table: Some(document.root().get_ref()),
            span: None,
            path: String::new(),
            known: Vec::new(),
        }
    }

    /// The document, for what only the caller can judge.
    pub(super) const fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// The full name of a key of this section.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// A value that must be written; `example` is a line that would do.
    pub(super) fn required<T: Value>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if let Some(value) = self.find(key) {
            return self.read(key, value);
        }
        let name = self.key(key);
        let said = says(
            format!("`{name}` is missing; it has no default"),
            format!("add `{example}`"),
        );
        self.document.at(Severity::Error, &name, said);
        None
    }

    /// A value that may be left out. `None` also where it is wrong, which has been noted then.
    pub(super) fn optional<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        self.read(key, value)
    }

    /// A value with a default.
    pub(super) fn or<T: Value>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A value with a default that must lie in a range.
    pub(super) fn within<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Value + Show + PartialOrd,
    {
        let Some(value) = self.find(key) else {
            return default;
        };
        match self.read(key, value) {
            Some(read) if range.contains(&read) => read,
            Some(read) => {
                let (low, high) = (range.start().show(), range.end().show());
                let said = says(
                    format!("`{key}` is {}, outside of {low} to {high}", read.show()),
                    format!(
                        "choose a value from {low} to {high} (the default is {})",
                        default.show()
                    ),
                );
                self.note(&value.span(), key, said);
                default
            }
            None => default,
        }
    }

    /// A table that may be left out: it reads as an empty one then.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let path = self.key(key);
        self.optional_table(key).unwrap_or(Self {
            document: self.document,
            table: None,
            span: self.span.clone(),
            path,
            known: Vec::new(),
        })
    }

    /// A table, if it is written.
    pub(super) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.find(key)?;
        self.enter(key, self.key(key), value)
    }

    /// A table that must be written.
    pub(super) fn required_table(&mut self, key: &'static str, why: &str) -> Option<Self> {
        if self.find(key).is_none() {
            let name = self.key(key);
            let said = says(
                format!(
                    "the section [{}] is missing; it has no default",
                    without_index(&name)
                ),
                why,
            );
            self.document.at(Severity::Error, &name, said);
            return None;
        }
        self.optional_table(key)
    }

    /// The tables of an array, `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_form(
                key,
                value,
                &format!("an array of tables, `[[{}]]`", self.key(key)),
            );
            return Vec::new();
        };
        let name = self.key(key);
        let entries = array.iter().enumerate();
        entries
            .filter_map(|(index, value)| self.enter(key, format!("{name}[{index}]"), value))
            .collect()
    }

    /// A list of texts and tables that must be written; `example` is a line that would do.
    pub(super) fn mixed(&mut self, key: &'static str, example: &str) -> Option<Vec<Item<'d>>> {
        let Some(value) = self.find(key) else {
            return self.required::<String>(key, example).map(|_| Vec::new());
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_form(key, value, &format!("a list, like `{example}`"));
            return None;
        };
        let name = self.key(key);
        let read: Vec<Item<'d>> = array
            .iter()
            .enumerate()
            .filter_map(|(index, value)| {
                if value.get_ref().as_table().is_some() {
                    let path = format!("{name}[{index}]");
                    self.enter(key, path, value).map(Item::Table)
                } else {
                    self.read(key, value).map(Item::Text)
                }
            })
            .collect();
        // A list with a hole would be a shorter list than the operator wrote.
        Some(read).filter(|read| read.len() == array.len())
    }

    /// A table whose keys are the file's own names.
    pub(super) fn map<T: Value>(&mut self, key: &'static str) -> Option<BTreeMap<String, T>> {
        let value = self.find(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_form(key, value, "a table");
            return None;
        };
        let mut map = BTreeMap::new();
        for (name, value) in table {
            let name: &str = name.get_ref();
            if let Some(value) = self.read(&format!("{key}.{name}"), value) {
                map.insert(name.to_owned(), value);
            }
        }
        Some(map)
    }

    /// Ends the section: what nobody asked for is a problem.
    pub(super) fn done(self) {
        let Some(table) = self.table else { return };
        for name in table.keys() {
            let key: &str = name.get_ref();
            if self.known.contains(&key) {
                continue;
            }
            let remedy = match nearest(key, &self.known) {
                Some(known) if known == format!("{key}_file") => {
                    format!(
                        "secrets are named by file, never written here: use `{known} = \"path\"`"
                    )
                }
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("remove it; known here are {}", listed(&self.known)),
            };
            let said = says(
                format!("the key `{key}` is not known in {}", self.place_name()),
                remedy,
            );
            // SECURITY: the value of an unknown key is not shown; it may be a secret under a misspelt name.
            self.document
                .error(&name.span(), Excerpt::UpToMark, self.key(key), said);
        }
    }

    /// Notes an error at a key of this section.
    pub(super) fn error(&self, key: &str, said: Says) {
        self.document.at(Severity::Error, &self.key(key), said);
    }

    /// Notes a warning at a key of this section.
    pub(super) fn warn(&self, key: &str, said: Says) {
        self.document.at(Severity::Warning, &self.key(key), said);
    }

    fn place_name(&self) -> String {
        if self.path.is_empty() {
            "the file's top level".to_owned()
        } else {
            format!("[{}]", without_index(&self.path))
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.and_then(|table| table.get(key))
    }

    fn read<T: Value>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let mut faults = Vec::new();
        let read = T::read(value, &mut faults);
        for Fault { span, said } in faults {
            self.note(&span, key, said);
        }
        read
    }

    fn enter(
        &self,
        key: &'static str,
        path: String,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Option<Self> {
        if let Some(table) = value.get_ref().as_table() {
            let span = Some(value.span());
            return Some(Self {
                document: self.document,
                table: Some(table),
                span,
                path,
                known: Vec::new(),
            });
        }
        self.wrong_form(
            key,
            value,
            &format!("a table, `[{}]`", without_index(&path)),
        );
        None
    }

    fn wrong_form(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        let said = says(
            format!("`{key}` must be {expected}, not {}", article(found)),
            format!("write {expected}"),
        );
        self.note(&value.span(), key, said);
    }

    fn note(&self, span: &Range<usize>, key: &str, said: Says) {
        self.document
            .error(span, Excerpt::WholeLine, self.key(key), said);
    }
}

/// `emr[0].backend` as a person writes it: `emr.backend`.
fn without_index(path: &str) -> String {
    let mut name = String::new();
    for (position, part) in path.split('.').enumerate() {
        if position > 0 {
            name.push('.');
        }
        name.push_str(part.split('[').next().unwrap_or_default());
    }
    name
}

/// A TOML type with its article.
pub(super) fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn listed(known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The known key that `key` was probably meant to be.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let longer = known
        .iter()
        .find(|name| name.strip_prefix(key) == Some("_file"));
    let near = known
        .iter()
        .map(|name| (distance(key, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    longer.copied().or(near.map(|(_, name)| name))
}

/// How many single-character edits lead from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut left = line.saturating_add(1);
        let mut next = vec![left];
        for (b, pair) in to.iter().zip(row.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            let replaced = diagonal.saturating_add(usize::from(a != *b));
            left = replaced
                .min(above.saturating_add(1))
                .min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_only_when_it_is_near() {
        let known = ["listen", "redirect_http", "client_secret_file", "scopes"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("redirect-http", &known), Some("redirect_http"));
        assert_eq!(nearest("client_secret", &known), Some("client_secret_file"));
        assert_eq!(nearest("scope", &known), Some("scopes"));
        assert_eq!(nearest("verify_tls", &known), None);
    }

    proptest! {
        #[test]
        fn distance_is_a_metric(a in "[a-c]{0,6}", b in "[a-c]{0,6}", c in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &c) <= distance(&a, &b).saturating_add(distance(&b, &c)));
        }
    }
}
