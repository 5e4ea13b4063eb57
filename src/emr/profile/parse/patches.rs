//! Reads the virtual patches of a profile.

use std::sync::Arc;

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::de::DeValue;

use super::super::head::source;
use super::super::patch::{Allow, Patch};
use super::super::problem::Problems;
use super::super::raw::{RawAllow, RawPatch, RawSources};
use super::routes::{methods, paths};
use super::{Source, Spanned, key_lines};

/// Most bytes that a compiled pattern may take.
const MOST_PATTERN: usize = 256 * 1024;

/// `[[patch]]`
pub(super) fn read(
    patches: Option<Spanned<DeValue<'_>>>,
    problems: &mut Problems<'_>,
) -> Vec<Arc<Patch>> {
    let Some(patches) = patches else {
        return Vec::new();
    };
    let line = problems.line(&patches.span());
    let list = match patches.into_inner() {
        DeValue::Array(list) => list,
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => {
            problems.add(line, "`patch` is a list", "write [[patch]]");
            return Vec::new();
        }
    };
    let mut read: Vec<Arc<Patch>> = Vec::new();
    for value in list {
        let line = problems.line(&value.span());
        let lines = key_lines(value.get_ref(), problems);
        let raw = match RawPatch::deserialize(value.into_deserializer()) {
            Ok(raw) => raw,
            Err(error) => {
                problems.refused(&error, line);
                continue;
            }
        };
        let at = |key: &str| lines.get(key).copied().unwrap_or(line);
        if let Some(earlier) = read.iter().find(|patch| patch.id == raw.id) {
            let message = format!("patch `{}` is already on line {}", raw.id, earlier.line);
            problems.add(at("id"), message, "give every patch its own id");
        }
        if let Some(patch) = patch(raw, &at, problems) {
            read.push(Arc::new(patch));
        }
    }
    read
}

fn patch(raw: RawPatch, at: &dyn Fn(&str) -> usize, problems: &mut Problems<'_>) -> Option<Patch> {
    let is_word = |text: &str| {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !text.is_empty() && text.len() <= 64 && text.bytes().all(is_part)
    };
    if !is_word(&raw.id) {
        problems.add(
            at("id"),
            "an id is up to 64 letters, digits, `-`, `_` and `.`",
            "write the hole's number, like CVE-2023-33466",
        );
    }
    for (key, text) in [("title", &raw.title), ("source", &raw.source)] {
        if text.trim().is_empty() {
            problems.add(
                at(key),
                format!("`{key}` is empty"),
                "say what the hole is, and where it is described",
            );
        }
    }
    let expires = date(&raw.expires);
    if expires.is_none() {
        problems.add(
            at("expires"),
            "not a date",
            "write a date such as expires = 2027-06-30",
        );
    }
    let methods = methods(&raw.methods, at("methods"), problems);
    let paths = paths(&raw.path, at("path"), problems);
    let fields = fields(raw.field.as_ref(), at("field"), problems);
    let allow = allow(raw.allow.as_ref(), at("allow"), problems);
    let patch = Patch {
        id: raw.id,
        title: raw.title,
        source: raw.source,
        line: at("id"),
        expires: expires?,
        methods: methods?,
        paths,
        fields: fields?,
        allow: allow?,
        hits: std::sync::atomic::AtomicU64::new(0),
    };
    check(&patch, at, problems);
    Some(patch)
}

fn check(patch: &Patch, at: &dyn Fn(&str) -> usize, problems: &mut Problems<'_>) {
    if patch.fields.is_empty() != (patch.allow == Allow::Nothing) {
        problems.add(
            at("id"),
            "`field` and `allow` go together; without both, the patch closes the page",
            "write both, or neither",
        );
    }
    for field in &patch.fields {
        if let Source::Path(name) = field
            && !patch
                .paths
                .iter()
                .all(|path| path.names().any(|n| n == name))
        {
            let message = format!("the path has no `{{{name}}}`");
            problems.add(
                at("field"),
                message,
                "name the segment in every path of the patch",
            );
        }
        if matches!(field, Source::Form(_) | Source::Json(_)) && !patch.methods.can_have_body() {
            problems.add(
                at("methods"),
                "GET and HEAD have no body to read a field from",
                "add the method that carries the body, or use `query`",
            );
        }
    }
    let reads = |is: fn(&Source) -> bool| patch.fields.iter().any(is);
    if reads(|s| matches!(s, Source::Form(_))) && reads(|s| matches!(s, Source::Json(_))) {
        problems.add(
            at("field"),
            "a body is a form or JSON, not both",
            "split the patch in two",
        );
    }
}

fn fields(
    raw: Option<&RawSources>,
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<Vec<Source>> {
    let raw = match raw {
        None => return Some(Vec::new()),
        Some(RawSources::One(one)) => std::slice::from_ref(one),
        Some(RawSources::Several(several)) => several.as_slice(),
    };
    let mut read = Vec::new();
    for place in raw {
        if place.via.is_some() || place.strip.is_some() {
            problems.add(
                line,
                "a patch looks at the value as it is",
                "remove `via` and `strip`",
            );
        }
        read.push(source(place, line, problems)?);
    }
    Some(read)
}

fn allow(raw: Option<&RawAllow>, line: usize, problems: &mut Problems<'_>) -> Option<Allow> {
    match raw {
        None => Some(Allow::Nothing),
        Some(RawAllow::Values(values)) => Some(Allow::OneOf(values.clone())),
        Some(RawAllow::Pattern(text)) => {
            // The whole value has to fit, whatever the pattern says about its ends.
            let whole = format!(r"\A(?:{text})\z");
            let built = regex::RegexBuilder::new(&whole)
                .size_limit(MOST_PATTERN)
                .build();
            match built {
                Ok(pattern) => Some(Allow::Pattern(pattern)),
                Err(error) => {
                    let message = format!("the pattern cannot be used: {error}");
                    problems.add(
                        line,
                        message,
                        "write a regular expression such as \"[0-9]{1,10}\"",
                    );
                    None
                }
            }
        }
    }
}

fn date(written: &toml::value::Datetime) -> Option<Date> {
    let date = written.date.filter(|_| written.time.is_none())?;
    let (year, month, day) = (
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    );
    Date::new(year, month, day).ok()
}
