//! Reads what a profile says of links: which answers teach whose something is, and which requests rely on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::problem::Problems;
use super::super::raw::{RawLesson, RawNames, RawRoute};
use super::super::{Lesson, LinkNames, PatientRule, Route, Source};
use super::routes::RouteReader;
use crate::emr::json::Pointer;
use crate::emr::pattern::PathPattern;

/// Names of links: one, or one for each path.
pub(super) fn names(
    raw: &RawNames,
    paths: &[PathPattern],
    line: usize,
    problems: &mut Problems<'_>,
) -> LinkNames {
    let names = match raw {
        RawNames::One(name) => vec![name.clone()],
        RawNames::Several(names) => names.clone(),
    };
    if names.len() != 1 && names.len() != paths.len() {
        let message = format!("{} links for {} paths", names.len(), paths.len());
        problems.add(
            line,
            message,
            "name one link, or one for each path in order",
        );
    }
    if names.iter().any(String::is_empty) {
        problems.add(line, "a link has no name", "name what is the patient's");
    }
    LinkNames(names)
}

impl RouteReader<'_> {
    /// What the route's answers teach.
    pub(super) fn lessons(
        &self,
        raw: &RawRoute,
        paths: &[PathPattern],
        patient: Option<&PatientRule>,
        at: &dyn Fn(&str) -> usize,
        problems: &mut Problems<'_>,
    ) -> Vec<Lesson> {
        let line = at("learns");
        if !raw.learns.is_empty() && raw.websocket == Some(true) {
            problems.add(
                line,
                "an answer that may never end teaches nothing",
                "remove learns, or websocket",
            );
        }
        let lessons = raw.learns.iter();
        lessons
            .filter_map(|lesson| self.lesson(raw, lesson, paths, patient, line, problems))
            .collect()
    }

    fn lesson(
        &self,
        raw: &RawRoute,
        lesson: &RawLesson,
        paths: &[PathPattern],
        patient: Option<&PatientRule>,
        line: usize,
        problems: &mut Problems<'_>,
    ) -> Option<Lesson> {
        let mut pointer = |text: &str| {
            let read = Pointer::parse(text);
            if read.is_none() {
                let message = format!("`{text}` is not a JSON pointer");
                problems.add(line, message, "write a pointer such as /episodes/*/id");
            }
            read
        };
        let numbers = pointer(&lesson.json);
        let each = lesson.each.as_deref().map(&mut pointer);
        let whose = lesson.patient.as_deref().map(&mut pointer);
        if matches!(&whose, Some(Some(whose)) if whose.is_list()) {
            problems.add(
                line,
                "a part of an answer speaks of one patient",
                "move the `*` to `each`",
            );
        }
        let names_one = match patient {
            Some(PatientRule::Named {
                source: Source::Json(pointer),
                ..
            }) => !pointer.is_list(),
            Some(PatientRule::Named { .. } | PatientRule::Linked { .. } | PatientRule::Sticky)
            | None => true,
            Some(PatientRule::None) => false,
        };
        if whose.is_none() && !names_one {
            problems.add(
                line,
                "nothing says whose the learnt numbers are",
                "write `patient`: where in the answer, or on the route",
            );
        }
        let pattern = self.identifiers.pattern(raw, line, problems);
        let system = self.identifiers.system_of(raw);
        if system.is_none() {
            problems.add(
                line,
                "the patient's numbering system is not named",
                "write `patient_system` at the top of the profile",
            );
        }
        let links = names(&lesson.link, paths, line, problems);
        Some(Lesson {
            links,
            each: each.map_or(Some(None), |each| each.map(Some))?,
            numbers: numbers?,
            patient: whose.map_or(Some(None), |whose| whose.map(Some))?,
            pattern,
            system: system?,
        })
    }
}

/// Every link that is relied on is learnt somewhere, and every one that is learnt is relied on.
pub(super) fn check(routes: &[Arc<Route>], problems: &mut Problems<'_>) {
    let learnt: BTreeSet<&str> = routes
        .iter()
        .flat_map(|route| &route.lessons)
        .flat_map(|lesson| lesson.links.all())
        .collect();
    let mut used = BTreeSet::new();
    for route in routes {
        for rule in std::iter::once(&route.patient).chain(&route.same) {
            let PatientRule::Linked { links, .. } = rule else {
                continue;
            };
            for name in links.all() {
                used.insert(name);
                if !learnt.contains(name) {
                    let message = format!("no answer teaches whose `{name}` is");
                    problems.add(
                        route.line,
                        message,
                        "write `learns` on the route whose answers say it",
                    );
                }
            }
        }
        if !route.same.is_empty() && route.patient.source().is_none() {
            problems.add(
                route.line,
                "`same_patient` compares with the patient that the request names, and it names none",
                "write `patient`",
            );
        }
    }
    for route in routes {
        let idle = route.lessons.iter().flat_map(|lesson| lesson.links.all());
        for name in idle.filter(|name| !used.contains(name)) {
            let message = format!("no request relies on the link `{name}`");
            problems.add(route.line, message, "remove it from `learns`");
        }
    }
}
