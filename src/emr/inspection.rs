//! Brings the values of a request before the inspector, each under the mode of its route and field.
//!
//! Looked at are the segments of the path, the fields of the query, `User-Agent` and `Referer` (for lookup strings), and
//! of a body what the mapping read. A body that no route reads is streamed, and nothing is known of it.
//!
//! *Owns*: the inspector, its bounds, and the counts of what it found.
//! *Never*: a value on record or in a log.
//! *On failure*: beyond the bounds a value of mode `block` refuses the request; one of mode `detect` passes, counted.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{REFERER, USER_AGENT};
use percent_encoding::percent_decode_str;

use super::choose::Choice;
use super::content::Content;
use super::form;
use super::json::Json;
use super::profile::{Modes, Profile, Route};
use crate::config::inspection::{Inspection as Settings, Mode};
use crate::inspect::{Inspector, Scope};
use crate::refusal::Refusal;
use crate::request::Received;
use crate::request::facts::{Finding, Inspected};
use crate::telemetry::metrics as names;

/// The longest name of a field that is kept on record.
const MOST_NAME: usize = 64;

/// Looks at requests.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    // Compiled once: when the gateway starts, or where nobody said how to inspect, when the first value is looked at.
    inspector: OnceLock<Inspector>,
    settings: Settings,
    blocked: AtomicU64,
    detected: AtomicU64,
}

impl Inspection {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            inspector: OnceLock::from(Inspector::new()),
            settings,
            ..Self::default()
        }
    }

    /// Requests that were refused, and findings that passed, since the gateway started.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.blocked), count(&self.detected))
    }

    /// Looks at every value of the request that was read, and notes what it finds.
    ///
    /// # Errors
    /// [`Refusal::ValueBlocked`] where something was found in a field of mode `block`, [`Refusal::Uninspectable`]
    /// where such a field is beyond the bounds.
    pub(super) fn examine(
        &self,
        profile: &Profile,
        route: Option<&Route>,
        choice: &Choice,
        received: &Received,
        inspected: &mut Inspected,
    ) -> Result<(), Refusal> {
        let rules = Rules {
            route: route.map(Route::inspect),
            profile: profile.inspect(),
            settings: &self.settings,
        };
        let mut look = Look {
            inspection: self,
            rules,
            inspected,
            values: 0,
            bytes: 0,
            worst: Outcome::Passes,
        };
        look.path(choice, received);
        if let Some(query) = received.parts().target.query() {
            look.fields("query", query);
        }
        match &choice.content {
            Content::Unread => {}
            Content::Form(text) => look.fields("form", text),
            Content::Json(json) => look.json("", json),
        }
        for name in [USER_AGENT, REFERER] {
            for value in received.parts().headers.get_all(&name) {
                look.value("header", name.as_str(), value.as_bytes(), Scope::Lookups);
            }
        }
        match look.worst {
            Outcome::Passes => Ok(()),
            Outcome::Beyond => Err(Refusal::Uninspectable),
            Outcome::Blocked => {
                self.blocked.fetch_add(1, Ordering::Relaxed);
                Err(Refusal::ValueBlocked)
            }
        }
    }
}

/// Which mode holds for a field: the most specific word counts, and no word is stricter than `at_most`.
struct Rules<'a> {
    route: Option<&'a Modes>,
    profile: &'a Modes,
    settings: &'a Settings,
}

impl Rules<'_> {
    fn of(&self, name: &str) -> Mode {
        let stated = [self.route, Some(self.profile)].into_iter().flatten();
        let usual = stated
            .clone()
            .find_map(|modes| modes.mode)
            .unwrap_or(self.settings.mode);
        let mode = stated
            .clone()
            .find_map(|modes| modes.fields.get(name).copied())
            .unwrap_or_else(|| {
                // SECURITY: an EMR that reads `PID` or `pid[]` as `pid` must not be reached around a stricter mode.
                let alike = stated
                    .flat_map(|modes| &modes.fields)
                    .filter(|(known, _)| form::is_alike(name, known));
                alike.map(|(_, mode)| *mode).fold(usual, Mode::max)
            });
        mode.min(self.settings.at_most)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passes,
    Beyond,
    Blocked,
}

/// One request on its way past the inspector.
struct Look<'a> {
    inspection: &'a Inspection,
    rules: Rules<'a>,
    inspected: &'a mut Inspected,
    values: usize,
    bytes: usize,
    worst: Outcome,
}

impl Look<'_> {
    /// The segments of the path; those that the route names, under their names.
    fn path(&mut self, choice: &Choice, received: &Received) {
        for segment in received.parts().target.segments() {
            let mut captures = choice.captures.iter();
            let name = captures
                .find(|(_, value)| value == segment)
                .map_or("", |(name, _)| name.as_str());
            self.value("path", name, segment.as_bytes(), Scope::All);
        }
    }

    /// The fields of a query or form, and their names, which attackers choose as well.
    fn fields(&mut self, place: &'static str, raw: &str) {
        for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let name = decoded(name);
            let shown = String::from_utf8_lossy(&name);
            self.value(place, &shown, &name, Scope::All);
            self.value(place, &shown, &decoded(value), Scope::All);
        }
    }

    /// Texts and keys of a JSON document. `key` is the nearest one; the parser bounds the depth.
    fn json(&mut self, key: &str, json: &Json) {
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
            Json::Text(text) => self.value("json", key, text.as_bytes(), Scope::All),
            Json::Array(items) => {
                for item in items {
                    self.json(key, item);
                }
            }
            Json::Object(members) => {
                for (name, value) in members {
                    self.value("json", name, name.as_bytes(), Scope::All);
                    self.json(name, value);
                }
            }
        }
    }

    fn value(&mut self, place: &'static str, name: &str, value: &[u8], scope: Scope) {
        if value.is_empty() {
            return;
        }
        let mode = self.rules.of(name);
        if mode == Mode::Off {
            return;
        }
        let settings = &self.inspection.settings;
        let left = settings.max_bytes.saturating_sub(self.bytes);
        let room = settings.max_value_bytes.min(left);
        let room = if self.values < settings.max_values {
            room
        } else {
            0
        };
        let seen = value.get(..room).unwrap_or(value);
        self.values = self.values.saturating_add(1);
        self.bytes = self.bytes.saturating_add(seen.len());
        if seen.len() < value.len() {
            self.inspected.beyond = self.inspected.beyond.saturating_add(1);
            if mode == Mode::Block {
                self.worst = self.worst.max(Outcome::Beyond);
            }
        }
        let inspection = self.inspection;
        let inspector = inspection.inspector.get_or_init(Inspector::new);
        inspector.look(seen, scope, &mut |rule| {
            self.found(rule.id, rule.class.word(), place, name, mode);
        });
    }

    fn found(
        &mut self,
        rule: &'static str,
        class: &'static str,
        place: &'static str,
        name: &str,
        mode: Mode,
    ) {
        metrics::counter!(names::INSPECTION_FINDINGS, "class" => class, "mode" => mode.word())
            .increment(1);
        if mode == Mode::Block {
            self.worst = Outcome::Blocked;
        } else {
            self.inspection.detected.fetch_add(1, Ordering::Relaxed);
        }
        let finding = Finding {
            rule: rule.to_owned(),
            class: class.to_owned(),
            field: label(place, name),
            mode: mode.word().to_owned(),
        };
        let list = &mut self.inspected.findings;
        if list.len() < Inspected::MOST && !list.contains(&finding) {
            list.push(finding);
        }
    }
}

/// Where a value stood. A name that is none is left out: what an attacker writes there is no better than a value.
pub(super) fn label(place: &str, name: &str) -> String {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() {
        place.to_owned()
    } else if name.len() <= MOST_NAME && name.bytes().all(is_part) {
        format!("{place}:{name}")
    } else {
        format!("{place}:?")
    }
}

/// Decoded once, as any back end does; what does not decode stays as it is.
fn decoded(raw: &str) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw.as_bytes());
    }
    let spaced = raw.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).collect())
}
