//! Turns a route as written into a route that can be matched.

use http::{HeaderName, Method};

use super::super::disclosure::DisclosureRule;
use super::super::head::{Identifiers, answer, source};
use super::super::problem::Problems;
use super::super::raw::{RawPaths, RawPatient, RawRecord, RawRoute, RawSource, RawTest};
use super::super::route::{BodyNeed, Methods, Multipart, Place};
use super::super::{
    DEFAULT_BODY_LIMIT, Effect, FieldTest, InspectedBody, Login, MOST_READ, MethodOverride,
    PatientRule, Record, Route, RouteTraits, Source, Test,
};
use super::caching::no_store;
use super::{disclosure, inspect, limits, links, step_up};
use crate::emr::answer::AnswerRule;
use crate::emr::json::Pointer;
use crate::emr::pattern::PathPattern;
use crate::request::facts::Action;
use crate::request::situation::is_kind;

/// HL7 v3 Confidentiality, from unrestricted to very restricted.
const SENSITIVITIES: &[&str] = &["U", "L", "M", "N", "R", "V"];

/// What routes depend on beyond themselves.
pub(super) struct RouteReader<'a> {
    pub(super) identifiers: Identifiers,
    pub(super) login: Option<&'a Login>,
    pub(super) overriding: MethodOverride,
}

impl RouteReader<'_> {
    /// Reads one route; `at` finds the line of a key.
    pub(super) fn read(
        &self,
        raw: RawRoute,
        at: &dyn Fn(&str) -> usize,
        problems: &mut Problems<'_>,
    ) -> Option<Route> {
        let methods = methods(&raw.methods, at("methods"), problems);
        let paths = paths(&raw.path, at("path"), problems);
        check_names(&raw, at, problems);
        let tests = tests(&raw, at, problems);
        let record = record(&raw.record, at("record"), problems);
        let patient = self.patient(&raw, &paths, at, problems);
        let same = self.same_patient(&raw, &paths, at, problems);
        let lessons = self.lessons(&raw, &paths, patient.as_ref(), at, problems);
        let appears = self.appears(&raw, at, problems);
        let effect = effect(&raw, patient.as_ref(), at, problems);
        let (body_limit, body_timeout) = limits(&raw, at, problems);
        let no_store = no_store(&raw, at, problems);
        let demand = step_up::demand(raw.step_up.as_ref(), at("step_up"), problems);
        let disclosure = disclosure::rule(&raw, &paths, at("disclosure"), problems);
        let patient = patient?;
        let login_user = self
            .login
            .filter(|login| login.route == raw.id)
            .map(|login| &login.user);
        let mut route = Route {
            line: at("id"),
            methods: methods?,
            paths,
            tests,
            action: raw.action,
            section: raw.section,
            sensitivity: raw.sensitivity.unwrap_or_else(|| "N".to_owned()),
            information_types: raw.information_types.into_iter().map(Into::into).collect(),
            need: super::need(raw.patient_required, &patient),
            patient,
            same,
            lessons,
            appears: appears.into(),
            effect,
            poll: super::polling(raw.poll),
            held_post: raw.held_post.unwrap_or_default(),
            traits: RouteTraits {
                websocket: raw.websocket.unwrap_or(false),
                pass_authorization: raw.pass_authorization.unwrap_or(false),
                body_limit,
                no_store,
            },
            body_timeout,
            body: BodyNeed::Unread,
            place: if raw.guard == Some(true) {
                Place::Guard
            } else {
                Place::Usual
            },
            multipart: if raw.multipart == Some(true) {
                Multipart::Passes
            } else {
                Multipart::Refused
            },
            allow: raw.allow,
            record,
            inspect: inspect::modes(&raw.inspect),
            demand,
            disclosure,
            id: raw.id,
        };
        let read = Read {
            login_user,
            inspected: raw.inspect.body,
            overriding: self.overriding,
        };
        route.body = body_need(&route, &read, at, problems);
        Some(route)
    }

    fn patient(
        &self,
        raw: &RawRoute,
        paths: &[PathPattern],
        at: &dyn Fn(&str) -> usize,
        problems: &mut Problems<'_>,
    ) -> Option<PatientRule> {
        let line = at("patient");
        let named = match &raw.patient {
            None if raw.patient_required == Some(true) => {
                problems.add(
                    at("patient_required"),
                    "nothing says where the patient is found",
                    "write `patient`",
                );
                return None;
            }
            None => return Some(PatientRule::None),
            Some(RawPatient::Word(word)) if word == "sticky" => return Some(PatientRule::Sticky),
            Some(RawPatient::Word(word)) => {
                let message = format!("`{word}` is not a place where a patient is found");
                problems.add(
                    line,
                    message,
                    "write \"sticky\" or { path = .. }, { query = .. }, …",
                );
                return None;
            }
            Some(RawPatient::Source(named)) => named,
        };
        self.place(raw, named, paths, line, problems)
    }

    /// Further places that may name the patient.
    fn same_patient(
        &self,
        raw: &RawRoute,
        paths: &[PathPattern],
        at: &dyn Fn(&str) -> usize,
        problems: &mut Problems<'_>,
    ) -> Vec<PatientRule> {
        let line = at("same_patient");
        let places = raw.same_patient.iter();
        places
            .filter_map(|named| self.place(raw, named, paths, line, problems))
            .collect()
    }

    /// One place that names a patient, or something that is a patient's.
    fn place(
        &self,
        raw: &RawRoute,
        named: &RawSource,
        paths: &[PathPattern],
        line: usize,
        problems: &mut Problems<'_>,
    ) -> Option<PatientRule> {
        let source = source(named, line, problems)?;
        if let Source::Path(name) = &source
            && !paths.iter().all(|path| path.names().any(|n| n == name))
        {
            let message = format!("the path has no `{{{name}}}`");
            problems.add(line, message, "name the segment in every path of the route");
        }
        let pattern = self.identifiers.pattern(raw, line, problems);
        let strip = named.strip.clone().unwrap_or_default();
        if let Some(via) = &named.via {
            return Some(PatientRule::Linked {
                links: links::names(via, paths, line, problems),
                source,
                strip,
                pattern,
            });
        }
        let Some(system) = self.identifiers.system_of(raw) else {
            problems.add(
                line,
                "the patient's numbering system is not named",
                "write `patient_system` at the top of the profile",
            );
            return None;
        };
        Some(PatientRule::Named {
            source,
            strip,
            pattern,
            system,
        })
    }
}

pub(super) fn methods(raw: &[String], line: usize, problems: &mut Problems<'_>) -> Option<Methods> {
    if raw.iter().any(|method| method == "*") {
        return Some(Methods::Any);
    }
    let mut read = Vec::new();
    for name in raw {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method)
                if method != Method::CONNECT
                    && method != Method::TRACE
                    && name.bytes().all(|b| b.is_ascii_uppercase()) =>
            {
                read.push(method);
            }
            Ok(_) | Err(_) => {
                let message = format!("`{name}` is not a method that is forwarded");
                problems.add(line, message, "write GET, POST, … or \"*\"");
            }
        }
    }
    if raw.is_empty() {
        problems.add(
            line,
            "the route takes no method",
            "write methods = [\"GET\"]",
        );
    }
    (read.len() == raw.len() && !raw.is_empty()).then_some(Methods::Of(read))
}

pub(super) fn paths(raw: &RawPaths, line: usize, problems: &mut Problems<'_>) -> Vec<PathPattern> {
    let texts = match raw {
        RawPaths::One(text) => std::slice::from_ref(text),
        RawPaths::Several(texts) => texts.as_slice(),
    };
    if texts.is_empty() {
        problems.add(line, "the route has no path", "write path = \"/…\"");
    }
    let mut read = Vec::new();
    for text in texts {
        match PathPattern::parse(text) {
            Ok(pattern) => read.push(pattern),
            Err(error) => problems.add(line, format!("path `{text}`: {error}"), "correct the path"),
        }
    }
    read
}

fn check_names(raw: &RawRoute, at: &dyn Fn(&str) -> usize, problems: &mut Problems<'_>) {
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if !is_word(&raw.id) || raw.id == "unmapped" {
        problems.add(
            at("id"),
            "an id is letters, digits, `-`, `_` and `.`, and not `unmapped`",
            "rename the route",
        );
    }
    if !is_word(&raw.section) {
        problems.add(
            at("section"),
            "a section is letters, digits, `-`, `_` and `.`",
            "use one of the policy's sections",
        );
    }
    if raw.action == Action::Unmapped {
        problems.add(
            at("action"),
            "`Unmapped` is what matches no route",
            "choose the action that the route means",
        );
    }
    if let Some(code) = &raw.sensitivity
        && !SENSITIVITIES.contains(&code.as_str())
    {
        let message = format!("`{code}` is not a confidentiality code");
        problems.add(
            at("sensitivity"),
            message,
            "write U, L, M, N, R or V (HL7 v3 Confidentiality)",
        );
    }
    for code in &raw.information_types {
        if !is_kind(code) {
            problems.add(
                at("information_types"),
                format!("`{code}` is no code of a kind of information"),
                "write HL7 InformationSensitivityPolicy codes, as in [\"PSY\", \"HIV\"]",
            );
        }
    }
}

fn tests(
    raw: &RawRoute,
    at: &dyn Fn(&str) -> usize,
    problems: &mut Problems<'_>,
) -> Vec<FieldTest> {
    let test = |raw: &RawTest| match raw {
        RawTest::Presence(true) => Test::Present,
        RawTest::Presence(false) => Test::Absent,
        RawTest::Value(value) => Test::Equals(value.clone()),
    };
    let mut tests = Vec::new();
    for (name, wanted) in &raw.query {
        tests.push(FieldTest {
            source: Source::Query(name.clone()),
            test: test(wanted),
        });
    }
    for (name, wanted) in &raw.form {
        tests.push(FieldTest {
            source: Source::Form(name.clone()),
            test: test(wanted),
        });
    }
    for (text, wanted) in &raw.json {
        match Pointer::parse(text) {
            Some(pointer) if !pointer.is_list() => {
                tests.push(FieldTest {
                    source: Source::Json(pointer),
                    test: test(wanted),
                });
            }
            Some(_) | None => problems.add(
                at("json"),
                format!("`{text}` does not point to one value"),
                "write a JSON pointer such as /patient/id",
            ),
        }
    }
    tests
}

fn record(raw: &RawRecord, line: usize, problems: &mut Problems<'_>) -> Record {
    let mut json = Vec::new();
    for text in &raw.json {
        match Pointer::parse(text) {
            Some(pointer) if !pointer.is_list() => json.push(pointer),
            Some(_) | None => problems.add(
                line,
                format!("`{text}` does not point to one value"),
                "write a JSON pointer such as /patient/id",
            ),
        }
    }
    Record {
        query: raw.query.clone(),
        form: raw.form.clone(),
        json,
    }
}

fn effect(
    raw: &RawRoute,
    patient: Option<&PatientRule>,
    at: &dyn Fn(&str) -> usize,
    problems: &mut Problems<'_>,
) -> Effect {
    let selects = raw.selects == Some(true);
    if raw.success.is_some() && !selects {
        problems.add(
            at("success"),
            "`success` says when a selection worked, and the route selects nobody",
            "remove it, or write selects = true",
        );
    }
    if !selects {
        return if raw.clears == Some(true) {
            Effect::Clears
        } else {
            Effect::Keeps
        };
    }
    if raw.clears == Some(true) {
        problems.add(
            at("clears"),
            "a route selects a patient or clears the selection, not both",
            "remove one",
        );
    }
    let names_one = match patient {
        Some(PatientRule::Named {
            source: Source::Json(pointer),
            ..
        }) => !pointer.is_list(),
        Some(PatientRule::Named { .. }) | None => raw.patient_required != Some(false),
        Some(PatientRule::None | PatientRule::Sticky | PatientRule::Linked { .. }) => false,
    };
    if !names_one {
        problems.add(
            at("selects"),
            "a route that selects a patient must name exactly one",
            "write where in the request the patient is named",
        );
    }
    let rule = raw.success.as_ref().map_or_else(
        || Some(AnswerRule::fine()),
        |raw| answer(raw, at("success"), problems),
    );
    rule.map_or(Effect::Clears, Effect::Selects)
}

fn limits(
    raw: &RawRoute,
    at: &dyn Fn(&str) -> usize,
    problems: &mut Problems<'_>,
) -> (u64, Option<std::time::Duration>) {
    let limit = raw.body_limit.as_deref().map(limits::bytes);
    if limit == Some(None) {
        problems.add(
            at("body_limit"),
            "not a size",
            "write a size such as \"64KiB\" or \"2GiB\"",
        );
    }
    let timeout = raw.body_timeout.as_deref().map(limits::duration);
    if timeout == Some(None) {
        problems.add(
            at("body_timeout"),
            "not a duration",
            "write a duration such as \"30s\"",
        );
    }
    (
        limit.flatten().unwrap_or(DEFAULT_BODY_LIMIT),
        timeout.flatten(),
    )
}

/// Why a body is read, beyond what the route itself asks of it.
struct Read<'a> {
    login_user: Option<&'a Source>,
    inspected: Option<InspectedBody>,
    overriding: MethodOverride,
}

fn body_need(
    route: &Route,
    read: &Read<'_>,
    at: &dyn Fn(&str) -> usize,
    problems: &mut Problems<'_>,
) -> BodyNeed {
    let decisive = || route.decisive().chain(read.login_user);
    let told = || route.disclosure.iter().flat_map(DisclosureRule::places);
    let form = read.inspected == Some(InspectedBody::Form)
        || told().any(|s| matches!(s, Source::Form(_)))
        || decisive().any(|s| matches!(s, Source::Form(_)))
        || !route.record.form.is_empty();
    let json = read.inspected == Some(InspectedBody::Json)
        || told().any(|s| matches!(s, Source::Json(_)))
        || decisive().any(|s| matches!(s, Source::Json(_)))
        || !route.record.json.is_empty();
    let query = decisive().any(|s| matches!(s, Source::Query(_)));
    if form && json {
        problems.add(
            at("id"),
            "a body is a form or JSON, not both",
            "split the route in two",
        );
    }
    let can_have_body = route.methods.can_have_body();
    if (form || json) && !can_have_body {
        problems.add(
            at("methods"),
            "GET and HEAD have no body to map",
            "use `query`, or add the method that carries the body",
        );
    }
    if (form || json) && route.traits.body_limit > MOST_READ {
        problems.add(
            at("body_limit"),
            "a body that is mapped is held in memory: at most 16MiB",
            "lower body_limit",
        );
    }
    if form {
        BodyNeed::Form
    } else if json {
        BodyNeed::Json
    } else if (query || read.overriding == MethodOverride::Form) && can_have_body {
        BodyNeed::NoRepeat
    } else {
        BodyNeed::Unread
    }
}

/// A header whose value a profile may map.
pub(in crate::emr::profile) fn header_name(text: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}
