//! Reads a profile file: all problems at once, or a [`Profile`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::de::{DeTable, DeValue};

use super::head::{Identifiers, cookies, login, logout, session};
use super::headers::{RawHeaders, headers};
use super::held::keep_alive;
use super::problem::Problems;
use super::raw::{
    RawCookies, RawHead, RawInspect, RawKeepAlive, RawLogin, RawLogout, RawRoute, RawSession,
};
use super::{Effect, Login, Modes, PatientRule, Problem, Profile, Route, Source};
use crate::emr::profile::route::{Need, Polling};

mod appears;
mod caching;
mod disclosure;
mod inspect;
mod limits;
mod links;
mod patches;
mod routes;
mod step_up;

pub(super) use appears::RawAppears;
pub(super) use limits::duration;
use routes::RouteReader;
pub(super) use routes::header_name;

type Spanned<T> = toml::Spanned<T>;

impl Profile {
    /// Reads the profile file at `path`.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) => Err(vec![Problem {
                file,
                line: 0,
                message: format!("the EMR profile cannot be read: {error}"),
                remedy: "name an existing, readable file".to_owned(),
            }]),
        }
    }

    /// Reads a profile from `text`; `file` names it in problems.
    ///
    /// # Errors
    /// Every problem of the text.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            problems.refused(error, 1);
        }
        if !errors.is_empty() {
            return Err(problems.into_sorted());
        }
        let profile = assemble(table, &mut problems);
        match profile {
            Some(profile) if problems.is_empty() => Ok(profile),
            Some(_) | None => Err(problems.into_sorted()),
        }
    }
}

fn assemble(mut table: Spanned<DeTable<'_>>, problems: &mut Problems<'_>) -> Option<Profile> {
    let top = table.get_mut();
    let routes = top.remove("route");
    let patches = top.remove("patch");
    let inspect_section = section::<RawInspect>(top, "inspect", problems);
    let session_section = section::<RawSession>(top, "session", problems);
    let login_section = section::<RawLogin>(top, "login", problems);
    let logout_section = section::<RawLogout>(top, "logout", problems);
    let cookie_section = section::<RawCookies>(top, "cookies", problems);
    let keep_alive_section = section::<RawKeepAlive>(top, "keep_alive", problems);
    let header_section = section::<RawHeaders>(top, "headers", problems);
    let head = RawHead::deserialize(table.into_deserializer())
        .map_err(|error| problems.refused(&error, 1))
        .ok();
    let identifiers = head.as_ref().map(|head| Identifiers::of(head, problems));

    let sessions =
        session_section.map_or_else(Vec::new, |(raw, line)| session(raw, line, problems));
    let login = login_section.and_then(|(raw, line)| login(raw, line, problems).map(|l| (l, line)));
    let logout =
        logout_section.and_then(|(raw, line)| logout(raw, line, problems).map(|l| (l, line)));
    let cookies = cookies(cookie_section.map(|(raw, _)| raw).unwrap_or_default());

    let keep_alive = keep_alive_section.and_then(|(raw, line)| keep_alive(&raw, line, problems));
    let (raw, line) = header_section.unwrap_or_default();
    let headers = headers(raw, line, problems);

    let reader = RouteReader {
        identifiers: identifiers.unwrap_or_default(),
        login: login.as_ref().map(|(login, _)| login),
        overriding: head
            .as_ref()
            .and_then(|head| head.method_override)
            .unwrap_or_default(),
    };
    let routes = read_routes(routes, &reader, problems);
    check_references(
        &routes,
        login.as_ref(),
        logout.as_ref(),
        &sessions,
        problems,
    );

    let inspect = inspect_section.map_or_else(Modes::default, |(raw, line)| {
        inspect::of_profile(&raw, line, problems)
    });
    let patches = patches::read(patches, problems);

    let head = head?;
    let (by_first, any_first) = index(&routes);
    Some(Profile {
        name: head.name,
        vendor: head.vendor,
        product: head.product,
        sessions,
        login: login.map(|(login, _)| login),
        logout: logout.map(|(logout, _)| logout),
        cookies,
        headers,
        routes,
        by_first,
        any_first,
        inspect,
        patches,
        keep_alive,
    })
}

/// Takes one section out of the document and reads it by itself, so that its problems hide no others.
fn section<'i, T: Deserialize<'i>>(
    top: &mut DeTable<'i>,
    key: &str,
    problems: &mut Problems<'_>,
) -> Option<(T, usize)> {
    let value = top.remove(key)?;
    let line = problems.line(&value.span());
    T::deserialize(value.into_deserializer())
        .map_err(|error| problems.refused(&error, line))
        .ok()
        .map(|raw| (raw, line))
}

fn read_routes(
    routes: Option<Spanned<DeValue<'_>>>,
    reader: &RouteReader<'_>,
    problems: &mut Problems<'_>,
) -> Vec<Arc<Route>> {
    let list = match routes.map(Spanned::into_inner) {
        Some(DeValue::Array(list)) => list,
        Some(
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_),
        )
        | None => {
            problems.add(
                0,
                "the profile has no routes",
                "write at least one [[route]]",
            );
            return Vec::new();
        }
    };
    let mut read: Vec<Arc<Route>> = Vec::new();
    for value in list {
        let line = problems.line(&value.span());
        let lines = key_lines(value.get_ref(), problems);
        let raw = match RawRoute::deserialize(value.into_deserializer()) {
            Ok(raw) => raw,
            Err(error) => {
                problems.refused(&error, line);
                continue;
            }
        };
        let at = |key: &str| lines.get(key).copied().unwrap_or(line);
        if let Some(earlier) = read.iter().find(|route| route.id == raw.id) {
            let message = format!("route `{}` is already on line {}", raw.id, earlier.line);
            problems.add(at("id"), message, "give every route its own id");
        }
        if let Some(route) = reader.read(raw, &at, problems) {
            read.push(Arc::new(route));
        }
    }
    read
}

fn key_lines(value: &DeValue<'_>, problems: &Problems<'_>) -> BTreeMap<String, usize> {
    value.as_table().map_or_else(BTreeMap::new, |table| {
        table
            .iter()
            .map(|(key, _)| (key.get_ref().to_string(), problems.line(&key.span())))
            .collect()
    })
}

fn check_references(
    routes: &[Arc<Route>],
    login: Option<&(Login, usize)>,
    logout: Option<&(super::Logout, usize)>,
    sessions: &[String],
    problems: &mut Problems<'_>,
) {
    let named = [
        login.map(|(login, line)| (login.route.as_str(), *line)),
        logout.map(|(logout, line)| (logout.route.as_str(), *line)),
    ];
    for (id, line) in named.into_iter().flatten() {
        if !routes.iter().any(|route| route.id == id) {
            let message = format!("there is no route `{id}`");
            problems.add(line, message, "name the id of a [[route]] of this profile");
        }
    }
    links::check(routes, problems);
    let sticks = |route: &&Arc<Route>| {
        route.patient == PatientRule::Sticky
            || route.effect != Effect::Keeps
            || !route.lessons.is_empty()
    };
    if let Some(route) = routes.iter().find(sticks).filter(|_| sessions.is_empty()) {
        let message = format!(
            "route `{}` depends on the EMR session, which the profile does not name",
            route.id
        );
        problems.add(
            route.line,
            message,
            "write [session] with the cookies that carry the EMR session",
        );
    }
}

fn index(routes: &[Arc<Route>]) -> (HashMap<String, Vec<usize>>, Vec<usize>) {
    let mut by_first: HashMap<String, Vec<usize>> = HashMap::new();
    let mut any_first = Vec::new();
    for (position, route) in routes.iter().enumerate() {
        if route
            .paths
            .iter()
            .all(|path| path.first_literal().is_some())
        {
            for first in route.paths.iter().filter_map(|path| path.first_literal()) {
                let entry = by_first.entry(first.to_owned()).or_default();
                if entry.last() != Some(&position) {
                    entry.push(position);
                }
            }
        } else {
            any_first.push(position);
        }
    }
    (by_first, any_first)
}

/// A flag that a profile may leave out.
fn polling(poll: Option<bool>) -> Polling {
    if poll == Some(true) {
        Polling::Background
    } else {
        Polling::User
    }
}

/// Whether a patient is needed, unless the profile says otherwise.
fn need(required: Option<bool>, patient: &PatientRule) -> Need {
    match (required, patient) {
        (Some(false), _) | (None, PatientRule::None) => Need::Optional,
        (Some(true), _)
        | (None, PatientRule::Sticky | PatientRule::Named { .. } | PatientRule::Linked { .. }) => {
            Need::Required
        }
    }
}
