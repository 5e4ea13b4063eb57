//! Who listens to an answer as it passes: what it teaches, and who appears in it.
//!
//! *Never*: a byte held back.

use http::response::Parts;

use super::appear::{Expected, Hearing, Whole};
use super::lessons::Listener;
use crate::audit::outcome::End;
use crate::request::appeared::Appeared;

/// Who is to listen to an answer of which only the head is there; most answers have nobody.
#[derive(Debug)]
pub struct Listeners {
    pub(super) lessons: Option<Box<Listener>>,
    pub(super) appear: Option<Expected>,
}

impl Listeners {
    /// Those of `lessons` and `appear` who can make something of an answer with this head.
    pub(super) fn of(lessons: Option<Listener>, appear: Option<Expected>, head: &Parts) -> Self {
        let lessons = lessons.filter(|listener| listener.cares_for(head));
        Self {
            lessons: lessons.map(Box::new),
            appear,
        }
    }

    /// The body begins.
    #[must_use]
    pub fn begin(self) -> Listening {
        Listening {
            lessons: self.lessons,
            appear: self.appear.map(|expected| Box::new(expected.begin())),
        }
    }
}

/// Who listens to a body, on the thread that delivers it.
#[derive(Debug)]
pub struct Listening {
    lessons: Option<Box<Listener>>,
    appear: Option<Box<Hearing>>,
}

impl Listening {
    /// Nobody.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            lessons: None,
            appear: None,
        }
    }

    /// A piece of the answer passes.
    pub fn hear(&mut self, piece: &[u8]) {
        if let Some(listener) = &mut self.lessons
            && !listener.hear(piece)
        {
            self.lessons = None;
        }
        if let Some(hearing) = &mut self.appear {
            hearing.hear(piece);
        }
    }

    /// The answer came to its end: what it teaches counts from now on.
    pub fn learn(&mut self) {
        if let Some(listener) = self.lessons.take() {
            listener.finish();
        }
    }

    /// There is no more. Who appeared, once.
    pub fn appeared(&mut self, end: End) -> Option<Appeared> {
        let whole = match end {
            End::Complete => Whole::Yes,
            End::Abandoned | End::UpstreamFailed | End::Cut | End::Unknown => Whole::No,
        };
        self.appear.take()?.finish(whole)
    }
}
