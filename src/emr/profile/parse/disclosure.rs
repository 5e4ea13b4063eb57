//! To whom a copy goes, as a route says it: `disclosure = { recipient = { form = "to" }, purpose = { form = "why" } }`.

use super::super::disclosure::{DisclosureRule, Told};
use super::super::head::source;
use super::super::problem::Problems;
use super::super::raw::{RawDisclosure, RawRoute, RawSource, RawTold};
use super::Source;
use crate::emr::pattern::PathPattern;
use crate::request::facts::Action;

/// Reads the rule of a route.
pub(super) fn rule(
    raw: &RawRoute,
    paths: &[PathPattern],
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<DisclosureRule> {
    let written = raw.disclosure.as_ref()?;
    if !matches!(
        raw.action,
        Action::Disclose | Action::Export | Action::Print
    ) {
        problems.add(
            line,
            "`disclosure` says where a copy goes, and this route makes none",
            "remove it, or write action = \"Disclose\", \"Export\" or \"Print\"",
        );
    }
    let RawDisclosure {
        recipient,
        address,
        description,
        purpose,
        codes,
    } = written;
    if [recipient, address, description, purpose]
        .iter()
        .all(|told| told.is_none())
    {
        problems.add(
            line,
            "`disclosure` says nothing",
            "write recipient, address, description or purpose",
        );
    }
    if purpose.is_none() && !codes.is_empty() {
        problems.add(
            line,
            "`codes` stand for words of `purpose`, and there is none",
            "write purpose, or remove codes",
        );
    }
    let mut read = |raw: &Option<RawTold>| told(raw.as_ref(), paths, line, problems);
    Some(DisclosureRule {
        recipient: read(recipient),
        address: read(address),
        description: read(description),
        purpose: read(purpose),
        codes: codes.clone(),
    })
}

fn told(
    raw: Option<&RawTold>,
    paths: &[PathPattern],
    line: usize,
    problems: &mut Problems<'_>,
) -> Told {
    let places = match raw {
        None => return Told::Nothing,
        Some(RawTold::Text(text)) if text.trim().is_empty() => {
            problems.add(line, "the text is empty", "say it, or leave it out");
            return Told::Nothing;
        }
        Some(RawTold::Text(text)) => return Told::Text(text.trim().to_owned()),
        Some(RawTold::One(one)) => std::slice::from_ref(one),
        Some(RawTold::Several(several)) => several.as_slice(),
    };
    let read = places.iter();
    Told::Places(
        read.filter_map(|raw| place(raw, paths, line, problems))
            .collect(),
    )
}

fn place(
    raw: &RawSource,
    paths: &[PathPattern],
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<Source> {
    let place = source(raw, line, problems)?;
    if raw.strip.is_some() || raw.via.is_some() {
        problems.add(
            line,
            "`strip` and `via` are for numbers of patients",
            "remove them",
        );
    }
    match &place {
        Source::Path(name) if !paths.iter().any(|path| path.names().any(|n| n == name)) => {
            let message = format!("no path has a `{{{name}}}`");
            problems.add(line, message, "name the segment in a path of the route");
        }
        Source::Json(pointer) if pointer.is_list() => problems.add(
            line,
            "a copy goes to one recipient",
            "write a pointer to one value",
        ),
        Source::Path(_)
        | Source::Json(_)
        | Source::Query(_)
        | Source::Form(_)
        | Source::Header(_) => {}
    }
    Some(place)
}
