//! Reads what a profile says of lists: where in answers patients stand.

use lol_html::Selector;
use serde::Deserialize;

use super::super::problem::Problems;
use super::super::raw::RawRoute;
use super::routes::RouteReader;
use crate::emr::appear::{Elements, MOST_RULES, Part, Place, Rule};
use crate::emr::id::IdForm;
use crate::emr::json::Pointer;

/// The most steps of a pointer.
const MOST_STEPS: usize = 32;

/// One place. `appears = [{ json = .. }, { html = .., attribute = .. }, { csv = .. }]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawAppears {
    json: Option<String>,
    html: Option<String>,
    csv: Option<String>,
    attribute: Option<String>,
    strip: Option<String>,
    query: Option<String>,
    patient_system: Option<String>,
    pub(in super::super) patient_pattern: Option<IdForm>,
    pub(in super::super) patient_max_length: Option<usize>,
}

impl RouteReader<'_> {
    /// Where in the route's answers patients stand.
    pub(super) fn appears(
        &self,
        raw: &RawRoute,
        at: &dyn Fn(&str) -> usize,
        problems: &mut Problems<'_>,
    ) -> Vec<Rule> {
        let line = at("appears");
        if !raw.appears.is_empty() && raw.websocket == Some(true) {
            problems.add(
                line,
                "an answer that may never end is no list",
                "remove appears, or websocket",
            );
        }
        if raw.appears.len() > MOST_RULES {
            problems.add(
                line,
                format!("{} places, of at most {MOST_RULES}", raw.appears.len()),
                "name fewer places, or split the route",
            );
        }
        let places = raw.appears.iter();
        places
            .filter_map(|one| self.appearance(raw, one, line, problems))
            .collect()
    }

    fn appearance(
        &self,
        raw: &RawRoute,
        one: &RawAppears,
        line: usize,
        problems: &mut Problems<'_>,
    ) -> Option<Rule> {
        let place = place(one, line, problems);
        let part = part(one, line, problems);
        let pattern = self.identifiers.pattern_of_list(raw, one, line, problems);
        let own = one.patient_system.clone().filter(|own| !own.is_empty());
        let system = own.or_else(|| self.identifiers.system_of(raw));
        if system.is_none() {
            problems.add(
                line,
                "the patient's numbering system is not named",
                "write `patient_system` at the top of the profile",
            );
        }
        Some(Rule {
            place: place?,
            part,
            pattern,
            system: system?,
        })
    }
}

fn place(one: &RawAppears, line: usize, problems: &mut Problems<'_>) -> Option<Place> {
    if one.attribute.is_some() && one.html.is_none() {
        problems.add(
            line,
            "only elements of a page have attributes",
            "write `html` beside `attribute`",
        );
    }
    match (&one.json, &one.html, &one.csv) {
        (Some(text), None, None) => pointer(text, line, problems),
        (None, Some(text), None) => elements(text, one.attribute.clone(), line, problems),
        (None, None, Some(name)) => {
            if name.trim().is_empty() {
                problems.add(
                    line,
                    "the column has no name",
                    "write the name that stands in the first line of the file",
                );
            }
            Some(Place::Csv(name.trim().to_owned()))
        }
        (None, None, None) | (Some(_), _, _) | (None, Some(_), Some(_)) => {
            problems.add(
                line,
                "a place in a list is one of `json`, `html` and `csv`",
                "write { json = .. }, { html = .. } or { csv = .. }",
            );
            None
        }
    }
}

fn pointer(text: &str, line: usize, problems: &mut Problems<'_>) -> Option<Place> {
    let read = Pointer::parse(text).filter(|pointer| pointer.depth() <= MOST_STEPS);
    if read.is_none() {
        let message = format!("`{text}` is not a JSON pointer");
        problems.add(line, message, "write a pointer such as /*/patient_id");
    }
    read.map(Place::Json)
}

fn elements(
    text: &str,
    attribute: Option<String>,
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<Place> {
    if attribute.as_ref().is_some_and(String::is_empty) {
        problems.add(
            line,
            "the attribute has no name",
            "remove attribute: then the text of the elements is read",
        );
    }
    match text.parse::<Selector>() {
        Ok(selector) => Some(Place::Html(Elements {
            text: text.to_owned(),
            selector,
            attribute: attribute.map(|name| name.to_ascii_lowercase()),
        })),
        Err(error) => {
            problems.add(
                line,
                format!("`{text}` cannot be looked for in a page that streams: {error}"),
                "write a CSS selector of elements, classes and attributes, such as tr[data-pid]",
            );
            None
        }
    }
}

fn part(one: &RawAppears, line: usize, problems: &mut Problems<'_>) -> Part {
    let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
    if is_empty(&one.strip) || is_empty(&one.query) {
        problems.add(
            line,
            "nothing is written in `strip` or `query`",
            "remove it: then the whole value is the identifier",
        );
    }
    match (&one.strip, &one.query) {
        (None, None) => Part::Whole,
        (Some(before), None) => Part::After(before.clone()),
        (None, Some(name)) => Part::Field(name.clone()),
        (Some(_), Some(_)) => {
            problems.add(
                line,
                "`strip` and `query` both say which part is the identifier",
                "keep one of them",
            );
            Part::Whole
        }
    }
}
