//! The parts of a profile beside its routes: identifiers, session, sign-in, sign-out, cookies.

use std::collections::HashMap;

use http::Method;

use super::parse::{RawAppears, header_name};
use super::problem::Problems;
use super::raw::{
    RawAnswer, RawCookies, RawHead, RawLogin, RawLogout, RawRoute, RawSession, RawSource, RawStatus,
};
use super::{CookieHardening, DomainScope, Flag, Hardening, Login, Logout, SameSite, Source};
use crate::emr::answer::{AnswerRule, Glob, NewSession, StatusRule};
use crate::emr::id::{IdForm, IdPattern};
use crate::emr::json::Pointer;
use crate::request::Target;

/// The longest identifier where a profile does not say.
const MAX_ID: usize = 64;
/// The longest identifier that a profile may allow.
const LONGEST_ID: usize = 256;

/// How patients are numbered unless a route says otherwise.
#[derive(Default)]
pub(super) struct Identifiers {
    pub(super) system: Option<String>,
    form: Option<IdForm>,
    max_length: Option<usize>,
}

impl Identifiers {
    pub(super) fn of(head: &RawHead, problems: &mut Problems<'_>) -> Self {
        if head.version != 1 {
            let message = format!("version {} is not known", head.version);
            problems.add(1, message, "write version = 1");
        }
        if head.name.is_empty() {
            problems.add(1, "the profile has no name", "write name = \"…\"");
        }
        Self {
            system: head.patient_system.clone(),
            form: head.patient_pattern,
            max_length: head.patient_max_length,
        }
    }

    /// The numbering system of a route's patients.
    pub(super) fn system_of(&self, raw: &RawRoute) -> Option<String> {
        let own = raw.patient_system.clone();
        own.or_else(|| self.system.clone())
            .filter(|system| !system.is_empty())
    }

    pub(super) fn pattern(
        &self,
        raw: &RawRoute,
        line: usize,
        problems: &mut Problems<'_>,
    ) -> IdPattern {
        self.pattern_or((None, None), raw, line, problems)
    }

    /// The form of patients at one place of a list.
    pub(super) fn pattern_of_list(
        &self,
        raw: &RawRoute,
        list: &RawAppears,
        line: usize,
        problems: &mut Problems<'_>,
    ) -> IdPattern {
        let own = (list.patient_pattern, list.patient_max_length);
        self.pattern_or(own, raw, line, problems)
    }

    fn pattern_or(
        &self,
        (form, length): (Option<IdForm>, Option<usize>),
        raw: &RawRoute,
        line: usize,
        problems: &mut Problems<'_>,
    ) -> IdPattern {
        let form = form.or(raw.patient_pattern).or(self.form);
        let form = form.unwrap_or(IdForm::Token);
        let length = length.or(raw.patient_max_length).or(self.max_length);
        let length = length.unwrap_or(MAX_ID);
        if length == 0 || length > LONGEST_ID {
            problems.add(
                line,
                "an identifier has 1 to 256 characters",
                "correct patient_max_length",
            );
        }
        IdPattern::new(form, length)
    }
}

pub(super) fn session(raw: RawSession, line: usize, problems: &mut Problems<'_>) -> Vec<String> {
    if raw.cookies.is_empty() {
        problems.add(
            line,
            "no session cookie is named",
            "write cookies = [\"…\"]",
        );
    }
    for name in &raw.cookies {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            problems.add(
                line,
                format!("`{name}` is not a cookie name"),
                "write the name as the EMR sets it",
            );
        }
    }
    raw.cookies
}

pub(super) fn login(raw: RawLogin, line: usize, problems: &mut Problems<'_>) -> Option<Login> {
    let user = source(&raw.user, line, problems);
    let success = answer(&raw.success, line, problems);
    let failure = match &raw.failure {
        Some(failure) => Some(answer(failure, line, problems)?),
        None => None,
    };
    let user = user?;
    if raw.user.via.is_some() {
        problems.add(line, "a user name is nobody's number", "remove via");
    }
    if matches!(user, Source::Path(_)) {
        problems.add(
            line,
            "a user name is not taken from a path",
            "use { form = .. }, { json = .. } or { query = .. }",
        );
    }
    Some(Login {
        route: raw.route,
        user,
        success: success?,
        failure,
        bind_user: raw.bind_user,
    })
}

pub(super) fn logout(raw: RawLogout, line: usize, problems: &mut Problems<'_>) -> Option<Logout> {
    let method = Method::from_bytes(raw.method.as_bytes()).ok();
    if method.is_none() {
        problems.add(
            line,
            format!("`{}` is not a method", raw.method),
            "write \"GET\" or \"POST\"",
        );
    }
    if !Target::parse_str(&raw.path).is_ok_and(|target| target.ambiguities().is_empty()) {
        problems.add(
            line,
            format!("`{}` is not a plain path", raw.path),
            "write a path such as \"/logout\"",
        );
    }
    Some(Logout {
        route: raw.route,
        method: method?,
        path: raw.path,
    })
}

pub(super) fn cookies(raw: RawCookies) -> CookieHardening {
    let flag = |value: Option<bool>, otherwise| match value {
        Some(true) => Flag::Add,
        Some(false) => Flag::Leave,
        None => otherwise,
    };
    let default = Hardening {
        secure: flag(raw.secure, Flag::Add),
        http_only: flag(raw.http_only, Flag::Add),
        same_site: raw.same_site.unwrap_or(SameSite::Lax),
        domain: raw.domain.unwrap_or(DomainScope::Strip),
    };
    let except: HashMap<_, _> = raw
        .except
        .into_iter()
        .map(|(name, cookie)| {
            let hardening = Hardening {
                secure: flag(cookie.secure, default.secure),
                http_only: flag(cookie.http_only, default.http_only),
                same_site: cookie.same_site.unwrap_or(default.same_site),
                domain: cookie.domain.unwrap_or(default.domain),
            };
            (name, hardening)
        })
        .collect();
    CookieHardening { default, except }
}

/// Where a value stands: exactly one place.
pub(super) fn source(raw: &RawSource, line: usize, problems: &mut Problems<'_>) -> Option<Source> {
    let RawSource {
        via: _,
        path,
        query,
        form,
        json,
        header,
        strip: _,
    } = raw;
    let pointer = |text: &String| {
        let pointer = Pointer::parse(text).map(Source::Json);
        if pointer.is_none() {
            problems.add(
                line,
                format!("`{text}` is not a JSON pointer"),
                "write a pointer such as /patient/id",
            );
        }
        pointer
    };
    let places: Vec<Option<Source>> = [
        path.clone().map(|name| Some(Source::Path(name))),
        query.clone().map(|name| Some(Source::Query(name))),
        form.clone().map(|name| Some(Source::Form(name))),
        json.as_ref().map(pointer),
        header
            .as_deref()
            .map(|name| header_name(name).map(Source::Header)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if places.len() != 1 {
        problems.add(
            line,
            "a value is found in exactly one place",
            "write one of path, query, form, json, header",
        );
        return None;
    }
    let place = places.into_iter().next().flatten();
    if place.is_none() && header.is_some() {
        problems.add(line, "not a header name", "correct the name");
    }
    place
}

/// How an answer is recognised.
pub(super) fn answer(
    raw: &RawAnswer,
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<AnswerRule> {
    let mut status = Vec::new();
    for rule in &raw.status {
        let text = match rule {
            RawStatus::Code(code) => code.to_string(),
            RawStatus::Class(text) => text.clone(),
        };
        match StatusRule::parse(&text) {
            Some(rule) => status.push(rule),
            None => problems.add(
                line,
                format!("`{text}` is not a status"),
                "write 302 or \"2xx\"",
            ),
        }
    }
    if status.is_empty() {
        problems.add(line, "no status is named", "write status = [302]");
        return None;
    }
    Some(AnswerRule {
        status,
        location: raw.location.as_deref().map(Glob::new),
        not_location: raw.not_location.as_deref().map(Glob::new),
        new_session: if raw.new_session == Some(true) {
            NewSession::Required
        } else {
            NewSession::Optional
        },
    })
}
