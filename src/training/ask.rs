//! How training stands: for operators, the status and the metrics.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::book::{Book, Person};
use super::{Attestation, Training, TrainingError};
use crate::policy::courses::Course;
use crate::policy::question::Training as State;
use crate::policy::standing::until;
use crate::telemetry::metrics as names;

/// Most people of one answer.
const MOST: usize = 1_000;
/// How somebody can stand with a course that concerns them.
const STATES: [State; 4] = [State::Current, State::Due, State::Urgent, State::Lapsed];

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// [`Piece`]s: every course with its counts, then those who have something to do; of one user, every course.
    Status {
        /// Whom, by name or id.
        user: Option<String>,
    },
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Piece {
    /// A course.
    Course(Count),
    /// Somebody, and a course that concerns them.
    Person {
        /// Stable id.
        user: String,
        /// Name.
        name: String,
        /// The course.
        course: String,
        /// `current`, `due`, `urgent` or `lapsed`.
        state: String,
        /// When it has to be done.
        due: Timestamp,
        /// What they attested last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attested: Option<Attestation>,
        /// Until when their training holds, as their identity provider stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stated: Option<Timestamp>,
    },
    /// There are more people than an answer names.
    More {
        /// How many more.
        people: usize,
    },
}

/// How many people stand how with a course.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The course.
    pub course: String,
    /// Its version.
    pub version: String,
    /// Done.
    pub current: usize,
    /// Due within thirty days.
    pub due: usize,
    /// Due within seven.
    pub urgent: usize,
    /// Overdue.
    pub lapsed: usize,
}

/// How the room is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Course by course.
    pub counts: Vec<Count>,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl Training {
    /// Answers an operator.
    ///
    /// # Errors
    /// [`TrainingError::Unknown`] where nobody is meant.
    pub async fn answer(&self, ask: Ask) -> Result<Vec<Value>, TrainingError> {
        let Ask::Status { user } = ask;
        let (courses, now) = (self.courses(), self.now());
        let book = self.book.lock().await;
        let mut pieces: Vec<Piece> = Vec::new();
        if let Some(user) = user {
            let named = |person: &&Person| person.user == user || person.name == user;
            let meant: Vec<&Person> = book.people.values().filter(named).collect();
            if meant.is_empty() {
                return Err(TrainingError::Unknown(user));
            }
            let of = |person| self.enrolments(&book, person, &courses, now);
            pieces.extend(meant.into_iter().flat_map(of));
        } else {
            let counts = self.counts(&book, &courses, now);
            pieces.extend(counts.into_iter().map(Piece::Course));
            let mut people: Vec<Piece> = book
                .people
                .values()
                .flat_map(|person| self.enrolments(&book, person, &courses, now))
                .filter(|piece| match piece {
                    Piece::Person { state, .. } => state != State::Current.word(),
                    Piece::Course(_) | Piece::More { .. } => false,
                })
                .collect();
            people.sort_by_key(|piece| match piece {
                Piece::Person { due, .. } => *due,
                Piece::Course(_) | Piece::More { .. } => Timestamp::MAX,
            });
            let more = people.len().saturating_sub(MOST);
            people.truncate(MOST);
            pieces.append(&mut people);
            if more > 0 {
                pieces.push(Piece::More { people: more });
            }
        }
        drop(book);
        let values = pieces.iter().map(serde_json::to_value);
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// How the room is.
    pub async fn condition(&self) -> Condition {
        let (courses, now) = (self.courses(), self.now());
        let book = self.book.lock().await;
        let feed = book.feed.problem().into_iter();
        let feed = feed.map(|problem| format!("the feed cannot be read: {problem}"));
        Condition {
            counts: self.counts(&book, &courses, now),
            problems: feed.chain(book.trouble.clone()).collect(),
        }
    }

    fn enrolments(
        &self,
        book: &Book,
        person: &Person,
        courses: &[Course],
        now: Timestamp,
    ) -> Vec<Piece> {
        let grace = self.grace();
        let concerned = courses.iter().filter(|one| one.concerns(&person.roles));
        concerned
            .map(|course| {
                let due = book.due(person, course, grace);
                let counted = book.counted(person, course, grace);
                Piece::Person {
                    user: person.user.clone(),
                    name: person.name.clone(),
                    course: course.id().to_owned(),
                    state: until(due, now).word().to_owned(),
                    due,
                    attested: counted.map(|(attestation, _)| attestation.clone()),
                    stated: person.stated,
                }
            })
            .collect()
    }

    fn counts(&self, book: &Book, courses: &[Course], now: Timestamp) -> Vec<Count> {
        let grace = self.grace();
        let count = |course: &Course| {
            let mut count = Count {
                course: course.id().to_owned(),
                version: course.version().to_owned(),
                current: 0,
                due: 0,
                urgent: 0,
                lapsed: 0,
            };
            let people = book.people.values();
            for person in people.filter(|person| course.concerns(&person.roles)) {
                if let Some(number) = count.of(until(book.due(person, course, grace), now)) {
                    *number = number.saturating_add(1);
                }
            }
            count
        };
        courses.iter().map(count).collect()
    }

    /// Brings the metrics up to date.
    pub(super) fn measure(&self, book: &mut Book, courses: &[Course]) {
        let gauge = |course: &str, state: State, number: usize| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "Prometheus numbers are floating point"
            )]
            metrics::gauge!(names::TRAINING_USERS, "course" => course.to_owned(), "state" => state.word())
                .set(number as f64);
        };
        let mut now_measured = BTreeSet::new();
        for mut count in self.counts(book, courses, self.now()) {
            for state in STATES {
                let number = count.of(state).map_or(0, |number| *number);
                gauge(&count.course, state, number);
            }
            now_measured.insert(count.course);
        }
        for gone in book.measured.difference(&now_measured) {
            for state in STATES {
                gauge(gone, state, 0);
            }
        }
        book.measured = now_measured;
    }
}

impl Count {
    const fn of(&mut self, state: State) -> Option<&mut usize> {
        match state {
            State::Current => Some(&mut self.current),
            State::Due => Some(&mut self.due),
            State::Urgent => Some(&mut self.urgent),
            State::Lapsed => Some(&mut self.lapsed),
            State::Unknown => None,
        }
    }
}
