//! Listens to an answer as it passes, and learns from it whose the numbers in it are.
//!
//! *Never*: a byte held back. The answer goes on piece by piece; what it teaches is known before its end is passed on,
//! so that no request which follows it comes too early.
//! *On failure*: nothing is learnt, and requests that rely on it are refused until a chart is opened again.

use std::sync::Arc;

use http::header;
use http::response::Parts;

use super::bindings::{Bindings, EmrSession};
use super::json::Json;
use super::profile::{Lesson, Route};
use crate::request::facts::PatientRef;

/// The longest answer that is listened to: it is kept in memory until its end.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Most numbers that one answer may teach.
const MOST_LEARNT: usize = 20_000;

/// Listens to one answer.
#[derive(Debug)]
pub struct Listener {
    bindings: Arc<Bindings>,
    session: Arc<EmrSession>,
    route: Arc<Route>,
    path: usize,
    patient: Option<PatientRef>,
    heard: Vec<u8>,
}

impl Listener {
    /// Who listens to the answer of this request; nobody where the route's answers teach nothing.
    pub(super) fn of(
        bindings: &Arc<Bindings>,
        session: Option<&Arc<EmrSession>>,
        route: Option<&Arc<Route>>,
        path: usize,
        patients: &[PatientRef],
    ) -> Option<Self> {
        let route = route.filter(|route| !route.lessons().is_empty())?;
        Some(Self {
            bindings: Arc::clone(bindings),
            session: Arc::clone(session?),
            route: Arc::clone(route),
            path,
            patient: match patients {
                [one] => Some(one.clone()),
                [] | [_, _, ..] => None,
            },
            heard: Vec::new(),
        })
    }

    /// Whether an answer with this head can teach anything.
    pub(super) fn cares_for(&self, head: &Parts) -> bool {
        let value =
            |name: header::HeaderName| head.headers.get(name).map(http::HeaderValue::as_bytes);
        let is_json = value(header::CONTENT_TYPE).is_some_and(|kind| {
            let essence = kind.split(|b| *b == b';').next().unwrap_or_default();
            let essence = essence.trim_ascii().to_ascii_lowercase();
            essence == b"application/json" || essence.ends_with(b"+json")
        });
        let is_plain = value(header::CONTENT_ENCODING)
            .is_none_or(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
        if !head.status.is_success() {
            return false;
        }
        if !is_plain {
            tracing::warn!(
                route = self.route.id(),
                "a compressed answer teaches nothing"
            );
        }
        is_json && is_plain
    }

    /// A piece of the answer passes; says whether to go on listening.
    #[must_use]
    pub fn hear(&mut self, piece: &[u8]) -> bool {
        let fits = self.heard.len().saturating_add(piece.len()) <= MOST_BYTES;
        if fits {
            self.heard.extend_from_slice(piece);
        } else {
            tracing::warn!(
                route = self.route.id(),
                "an answer is too long to learn from"
            );
        }
        fits
    }

    /// The answer came to its end: what it teaches counts from now on.
    pub fn finish(self) {
        if self.heard.is_empty() {
            return;
        }
        // SECURITY: an answer that has two readings teaches nothing, like a request that has two.
        let Ok(answer) = Json::parse(&self.heard) else {
            tracing::warn!(
                route = self.route.id(),
                "an answer cannot be read: nothing is learnt"
            );
            return;
        };
        let mut learnt = 0_usize;
        for lesson in self.route.lessons() {
            let parts = lesson
                .each
                .as_ref()
                .map_or_else(|| vec![&answer], |each| answer.list(each));
            for part in parts {
                learnt = learnt.saturating_add(self.learn(lesson, part, learnt));
            }
        }
        if learnt >= MOST_LEARNT {
            tracing::warn!(
                route = self.route.id(),
                "an answer names more than can be learnt"
            );
        }
    }

    /// Learns from one part of an answer that speaks of one patient; says how much.
    fn learn(&self, lesson: &Lesson, part: &Json, before: usize) -> usize {
        let (Some(patient), Some(link)) = (self.whose(lesson, part), lesson.links.at(self.path))
        else {
            return 0;
        };
        let patient = Arc::new(patient);
        let numbers = part.list(&lesson.numbers);
        let room = MOST_LEARNT.saturating_sub(before);
        // In the one spelling that requests are read in.
        let read = |number: &Json| lesson.pattern.read(&number.scalar()?);
        let readable = numbers.into_iter().filter_map(read).take(room);
        readable
            .map(|number| {
                let session = self.session.key();
                self.bindings
                    .links()
                    .learn(session, link, &number, &patient);
            })
            .count()
    }

    fn whose(&self, lesson: &Lesson, part: &Json) -> Option<PatientRef> {
        let Some(pointer) = &lesson.patient else {
            return self.patient.clone();
        };
        let found = part.list(pointer);
        let [one] = found.as_slice() else {
            return None;
        };
        Some(PatientRef {
            system: lesson.system.clone(),
            id: lesson.pattern.read(&one.scalar()?)?,
            source: crate::request::facts::PatientSource::Linked,
        })
    }
}
