//! Evaluates a route's conditions and extractors against one request.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::content::Content;
use super::form::{self, FieldError};
use super::id::IdPattern;
use super::profile::{FieldTest, PatientRule, Route, Source, Told};
use crate::refusal::Refusal;
use crate::request::facts::{PatientRef, PatientSource};
use crate::request::{Disclosure, Target};

/// Most patients that one request may name.
const MOST_PATIENTS: usize = 256;
/// Most characters of a field that are kept on record.
const MOST_RECORDED: usize = 200;

/// A request, as conditions and extractors see it.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) target: &'a Target,
    pub(super) headers: &'a HeaderMap,
    pub(super) captures: &'a [(String, String)],
    pub(super) content: &'a Content,
}

/// Which conditions are evaluated: those of the query can be before the body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Head,
    Body,
}

impl Inputs<'_> {
    /// Whether the conditions of this stage hold.
    pub(super) fn hold(&self, tests: &[FieldTest], stage: Stage) -> Result<bool, Refusal> {
        for FieldTest { source, test } in tests {
            let is_body = matches!(source, Source::Form(_) | Source::Json(_));
            if is_body != (stage == Stage::Body) {
                continue;
            }
            if !test.holds(self.one(source)?.as_deref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refuses a request in which a deciding field stands in query and form at once.
    ///
    /// SECURITY: some back ends let the form win over the query, others the query over the form.
    pub(super) fn stand_once<'s>(
        &self,
        mut sources: impl Iterator<Item = &'s Source>,
    ) -> Result<(), Refusal> {
        sources.try_for_each(|source| match (source, self.content) {
            (Source::Form(name), _) => {
                absent(&form::value(self.query(), name), Refusal::AmbiguousTarget)
            }
            (Source::Query(name), Content::Form(form)) => {
                absent(&form::value(form, name), Refusal::MalformedBody)
            }
            (Source::Query(_), Content::Unread | Content::Json(_))
            | (Source::Path(_) | Source::Json(_) | Source::Header(_), _) => Ok(()),
        })
    }

    /// The one value at `source`.
    pub(super) fn one(&self, source: &Source) -> Result<Option<String>, Refusal> {
        let mut values = self.all(source)?;
        let value = values.pop();
        if values.is_empty() {
            Ok(value)
        } else {
            Err(Refusal::AmbiguousField)
        }
    }

    /// Every value at `source`.
    pub(super) fn all(&self, source: &Source) -> Result<Vec<String>, Refusal> {
        match source {
            Source::Path(name) => Ok(self.capture(name).map(str::to_owned).into_iter().collect()),
            Source::Query(name) => field(self.query(), name, Refusal::AmbiguousTarget),
            Source::Form(name) => match self.content {
                Content::Form(text) => field(text, name, Refusal::MalformedBody),
                Content::Unread | Content::Json(_) => Ok(Vec::new()),
            },
            Source::Json(pointer) => match self.content {
                Content::Json(json) => json
                    .find(pointer)
                    .map_err(|error| refusal(error, Refusal::MalformedBody))?
                    .into_iter()
                    .map(|value| value.scalar().ok_or(Refusal::MalformedBody))
                    .collect(),
                Content::Unread | Content::Form(_) => Ok(Vec::new()),
            },
            Source::Header(name) => self
                .headers
                .get_all(name)
                .iter()
                .map(|value| {
                    value
                        .to_str()
                        .map(str::to_owned)
                        .ok()
                        .ok_or(Refusal::AmbiguousField)
                })
                .collect(),
        }
    }

    /// The patients that the request names in the place of `rule`; `path` tells which of the route's paths matched, and
    /// `known` tells whose something is, if anything said so.
    pub(super) fn patients(
        &self,
        rule: &PatientRule,
        path: usize,
        known: &dyn Fn(&str, &str) -> Option<PatientRef>,
    ) -> Result<Vec<PatientRef>, Refusal> {
        let read = |source, strip, pattern| self.numbers(source, strip, pattern);
        match rule {
            PatientRule::None | PatientRule::Sticky => Ok(Vec::new()),
            PatientRule::Named {
                source,
                strip,
                pattern,
                system,
            } => {
                let numbers = read(source, strip, *pattern)?.into_iter();
                Ok(distinct(numbers.map(|id| PatientRef {
                    system: system.clone(),
                    id,
                    source: PatientSource::Request,
                })))
            }
            PatientRule::Linked {
                links,
                source,
                strip,
                pattern,
            } => {
                let numbers = read(source, strip, *pattern)?;
                let link = links.at(path).ok_or(Refusal::PatientUnknown)?;
                // SECURITY: a number that nothing was learnt of could be anybody's; with it, the request is about a
                // patient whom nobody knows, whatever else it names.
                let patients: Option<Vec<_>> =
                    numbers.iter().map(|number| known(link, number)).collect();
                Ok(distinct(patients.ok_or(Refusal::PatientUnknown)?))
            }
        }
    }

    /// The identifiers at a place of the request, each in its one spelling.
    fn numbers(
        &self,
        source: &Source,
        strip: &str,
        pattern: IdPattern,
    ) -> Result<Vec<String>, Refusal> {
        let is_list = matches!(source, Source::Json(pointer) if pointer.is_list());
        let values = self.all(source)?;
        if values.len() > 1 && !is_list {
            return Err(Refusal::AmbiguousField);
        }
        if values.len() > MOST_PATIENTS {
            return Err(Refusal::MalformedBody);
        }
        let read = |value: &String| {
            let bare = value.strip_prefix(strip).unwrap_or(value);
            pattern.read(bare).ok_or(match source {
                Source::Path(_) | Source::Query(_) => Refusal::AmbiguousTarget,
                Source::Form(_) | Source::Json(_) => Refusal::MalformedBody,
                Source::Header(_) => Refusal::AmbiguousField,
            })
        };
        values.iter().map(read).collect()
    }

    /// The fields that the profile keeps on record: named path segments that are no patient, and its allow-list.
    pub(super) fn recorded(&self, route: &Route) -> Result<BTreeMap<String, String>, Refusal> {
        let mut fields = BTreeMap::new();
        let is_patient = |name: &str| matches!(route.patient(), PatientRule::Named { source: Source::Path(path), .. } if path == name);
        for (name, value) in self.captures.iter().filter(|(name, _)| !is_patient(name)) {
            fields.insert(name.clone(), shortened(value));
        }
        let record = route.record();
        let queries = record
            .query
            .iter()
            .map(|name| (name.as_str(), Source::Query(name.clone())));
        let forms = record
            .form
            .iter()
            .map(|name| (name.as_str(), Source::Form(name.clone())));
        let values = record
            .json
            .iter()
            .map(|p| (p.as_str(), Source::Json(p.clone())));
        for (name, source) in queries.chain(forms).chain(values) {
            if let Some(value) = self.one(&source)? {
                fields.insert(name.to_owned(), shortened(&value));
            }
        }
        Ok(fields)
    }

    /// What the request says of a copy that it hands out: of each place the first one that names something.
    pub(super) fn disclosed(&self, route: &Route) -> Result<Option<Disclosure>, Refusal> {
        let Some(rule) = route.disclosure() else {
            return Ok(None);
        };
        let told = |told: &Told| match told {
            Told::Nothing => Ok(None),
            Told::Text(text) => Ok(Some(text.clone())),
            Told::Places(places) => {
                for place in places {
                    let value = self.one(place)?.filter(|value| !value.trim().is_empty());
                    if let Some(value) = value {
                        return Ok(Some(shortened(value.trim())));
                    }
                }
                Ok(None)
            }
        };
        let purpose = told(&rule.purpose)?;
        let disclosure = Disclosure {
            recipient: told(&rule.recipient)?,
            address: told(&rule.address)?,
            description: told(&rule.description)?,
            purpose: purpose.map(|word| rule.codes.get(&word).cloned().unwrap_or(word)),
        };
        Ok((!disclosure.is_empty()).then_some(disclosure))
    }

    fn query(&self) -> &str {
        self.target.query().unwrap_or("")
    }

    fn capture(&self, wanted: &str) -> Option<&str> {
        let mut captures = self.captures.iter();
        captures
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    }
}

fn distinct(patients: impl IntoIterator<Item = PatientRef>) -> Vec<PatientRef> {
    let mut found: Vec<PatientRef> = Vec::new();
    for patient in patients {
        if !found.contains(&patient) {
            found.push(patient);
        }
    }
    found
}

/// A record holds the beginning of a long value.
pub(super) fn shortened(value: &str) -> String {
    let end = value.char_indices().nth(MOST_RECORDED);
    let kept = end.and_then(|(end, _)| value.get(..end));
    kept.unwrap_or(value).to_owned()
}

fn field(raw: &str, name: &str, malformed: Refusal) -> Result<Vec<String>, Refusal> {
    form::value(raw, name)
        .map(|value| value.into_iter().collect())
        .map_err(|error| refusal(error, malformed))
}

fn absent(value: &Result<Option<String>, FieldError>, malformed: Refusal) -> Result<(), Refusal> {
    match value {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Refusal::AmbiguousField),
        Err(error) => Err(refusal(*error, malformed)),
    }
}

const fn refusal(error: FieldError, malformed: Refusal) -> Refusal {
    match error {
        FieldError::Twice => Refusal::AmbiguousField,
        FieldError::Malformed => malformed,
    }
}
