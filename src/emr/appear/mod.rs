//! Hears which patients an answer names while it passes: search results, worklists, exports.
//!
//! A profile says where in the answers of a route patients stand (`appears`). They go on record with the outcome, so
//! that "who saw this patient" includes lists.
//!
//! *Owns*: the patients of one answer, bounded, and what its reader keeps: one path and one scalar, never the answer.
//! *Never*: a byte held back or changed, an answer refused, a patient of a number that broke off in the middle.
//! *On failure*: what was heard counts, and the record says that it may not be all ([`Unheard`]).

mod csv;
mod gathered;
mod html;
mod json;
mod kind;
mod rule;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::response::Parts;

use self::csv::CsvReader;
use self::gathered::Gathered;
use self::html::HtmlReader;
use self::json::JsonReader;
use self::kind::{Format, format};
pub(super) use self::rule::{Elements, Part, Place, Rule};
use super::profile::Route;
use crate::request::appeared::{Appeared, Unheard};
use crate::telemetry::metrics as names;

/// Most places that a route names.
pub(super) const MOST_RULES: usize = 16;

/// The places of a route.
pub(super) type Rules = Arc<[Rule]>;

/// An answer in which patients are to be heard.
#[derive(Debug)]
pub(super) struct Expected {
    route: Arc<Route>,
    format: Result<Format, Unheard>,
}

impl Expected {
    /// What is expected of an answer with this head; nothing where the route names no places, or nothing is shown.
    pub(super) fn of(route: &Arc<Route>, head: &Parts) -> Option<Self> {
        let rules = route.appears();
        if rules.is_empty() || !head.status.is_success() {
            return None;
        }
        Some(Self {
            route: Arc::clone(route),
            format: format(rules, head),
        })
    }

    /// The body begins.
    pub(super) fn begin(self) -> Hearing {
        let rules = self.route.appears();
        let gathered = Rc::new(RefCell::new(Gathered::by(Arc::clone(rules))));
        let reader = match self.format {
            Ok(Format::Json) => Reader::Json(JsonReader::by(Arc::clone(rules))),
            Ok(Format::Html) => Reader::Html(Box::new(HtmlReader::by(rules, &gathered))),
            Ok(Format::Csv) => Reader::Csv(CsvReader::by(Arc::clone(rules))),
            Err(unheard) => Reader::Deaf(unheard),
        };
        Hearing {
            route: self.route,
            gathered,
            reader,
            began: false,
        }
    }
}

/// Listens to one answer.
pub(super) struct Hearing {
    route: Arc<Route>,
    gathered: Rc<RefCell<Gathered>>,
    reader: Reader,
    /// Whether anything came at all: what is empty names nobody.
    began: bool,
}

enum Reader {
    Json(JsonReader),
    Html(Box<HtmlReader>),
    Csv(CsvReader),
    /// It does not understand the answer, or not any more.
    Deaf(Unheard),
}

/// How the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It came to its end.
    Yes,
    /// It broke off: what was under way is nobody.
    No,
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}

impl Hearing {
    /// A piece of the answer passes.
    pub(super) fn hear(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        // A byte order mark of UTF-16 counts for more than what the head says.
        if !self.began && matches!(piece, [0xfe | 0xff, ..]) {
            self.reader = Reader::Deaf(Unheard::Charset);
        }
        self.began = true;
        let heard = match &mut self.reader {
            Reader::Json(reader) => reader.hear(piece, &mut self.gathered.borrow_mut()),
            Reader::Html(reader) => reader.hear(piece),
            Reader::Csv(reader) => reader.hear(piece, &mut self.gathered.borrow_mut()),
            Reader::Deaf(_) => Ok(()),
        };
        if let Err(unheard) = heard {
            self.reader = Reader::Deaf(unheard);
        }
    }

    /// There is no more. Who appeared; nothing where the answer was empty.
    pub(super) fn finish(mut self, whole: Whole) -> Option<Appeared> {
        if !self.began {
            return None;
        }
        let ended = match (&mut self.reader, whole) {
            (Reader::Deaf(unheard), _) => Err(*unheard),
            (_, Whole::No) => Ok(()),
            (Reader::Json(reader), Whole::Yes) => reader.end(&mut self.gathered.borrow_mut()),
            (Reader::Html(reader), Whole::Yes) => reader.end(),
            (Reader::Csv(reader), Whole::Yes) => reader.end(&mut self.gathered.borrow_mut()),
        };
        let appeared = self.gathered.borrow_mut().appeared(ended.err());
        let result = match (&appeared.unknown, appeared.more) {
            (Some(unheard), _) => {
                tracing::warn!(
                    route = self.route.id(),
                    reason = unheard.word(),
                    "not all patients of a list could be put on record"
                );
                "unknown"
            }
            (None, 0) => "heard",
            (None, _) => "more",
        };
        metrics::counter!(names::LISTS, "result" => result).increment(1);
        Some(appeared)
    }
}

#[cfg(test)]
mod tests;
