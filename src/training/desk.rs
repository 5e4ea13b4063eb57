//! The pages of courses: which there are, the text with its questions, and what became of the answers.
//!
//! *Never*: which answer is right, before it was given; an attempt that is not on record.

use std::collections::BTreeMap;

use askama::Template;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::attest::Judged;
use super::{Piece, Training};
use crate::desk::Desk;
use crate::desk::page::{handled, page, redirect, typed};
use crate::identity::identify::Identified;
use crate::identity::routes::TRAINING;
use crate::policy::courses::{Course, Question};
use crate::policy::question::Training as State;
use crate::policy::standing::until;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Refused};

/// The largest form.
const LARGEST: u64 = 16 * 1024;

/// The list of courses.
#[derive(Template)]
#[template(path = "courses.html")]
struct List<'a> {
    nonce: &'a str,
    name: &'a str,
    courses: Vec<Listed<'a>>,
}

struct Listed<'a> {
    id: &'a str,
    title: &'a str,
    state: &'static str,
    day: String,
    concerns: bool,
}

/// A course.
#[derive(Template)]
#[template(path = "course.html")]
struct Page<'a> {
    nonce: &'a str,
    id: &'a str,
    title: &'a str,
    version: &'a str,
    digest: &'a str,
    html: &'a str,
    pass_mark: u8,
    questions: Vec<Asked<'a>>,
    problem: Option<String>,
}

struct Asked<'a> {
    number: usize,
    text: &'a str,
    choices: Vec<Choice<'a>>,
    wrong: bool,
}

struct Choice<'a> {
    value: usize,
    text: &'a str,
    chosen: bool,
}

/// What there is to say about an attempt that is shown again.
struct Attempt {
    answers: Vec<Option<usize>>,
    problem: Option<String>,
    wrong: Vec<bool>,
}

impl Desk for Training {
    fn owns(&self, path: &str) -> bool {
        path == TRAINING || course_of(path).is_some()
    }

    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(async move {
            let parts = visitor.received().parts();
            let method = parts.method.clone();
            let looks = method == Method::GET || method == Method::HEAD;
            let asked = course_of(parts.target.path()).map(ToOwned::to_owned);
            let courses = self.courses();
            let Some(id) = asked else {
                if !looks {
                    return Err(visitor.refuse(Refusal::MethodRefused));
                }
                return Ok(self.list(visitor, &courses).await);
            };
            let Some(course) = courses.iter().find(|course| course.id() == id) else {
                return Err(visitor.refuse(Refusal::NotFound));
            };
            if looks {
                let response = show(&visitor, course, &Attempt::none(), StatusCode::OK);
                Ok(told(visitor, course, "shown", response))
            } else if method == Method::POST {
                self.taken(visitor, course).await
            } else {
                Err(visitor.refuse(Refusal::MethodRefused))
            }
        })
    }
}

impl Training {
    async fn list(&self, visitor: Identified, courses: &[Course]) -> Handled {
        let principal = visitor.principal();
        let (user, roles) = (principal.id(), principal.roles());
        let mine = self.answer(super::Ask::Status { user: Some(user) }).await;
        // Whoever was not noticed yet has every course before them, and time.
        let mine: BTreeMap<String, Timestamp> = mine
            .unwrap_or_default()
            .into_iter()
            .filter_map(|value| match serde_json::from_value(value).ok()? {
                Piece::Person { course, due, .. } => Some((course, due)),
                Piece::Course(_) | Piece::More { .. } => None,
            })
            .collect();
        let now = self.now();
        let listed = courses.iter().map(|course| {
            let due = mine.get(course.id());
            Listed {
                id: course.id(),
                title: course.title(),
                state: in_words(due.map(|due| until(*due, now))),
                day: due.map_or_else(String::new, |due| day(*due)),
                concerns: course.concerns(roles),
            }
        });
        let nonce = visitor.received().parts().id.to_string();
        let list = List {
            nonce: &nonce,
            name: principal.display(),
            courses: listed.collect(),
        };
        // A template of text cannot fail to render.
        let html = list.render().unwrap_or_default();
        let response = page(html, StatusCode::OK, &nonce);
        handled(visitor, Event::PageShown, &[("training", "list")], response)
    }

    /// Takes somebody's answers.
    async fn taken(&self, visitor: Identified, course: &Course) -> Result<Handled, Refused> {
        let (visitor, fields) = typed(visitor, LARGEST).await?;
        let answers = answers(course, &fields);
        let problem = if fields.get("digest").map(String::as_str) != Some(course.digest()) {
            Some("The course has changed since you opened it. Please read it again.")
        } else if answers.iter().any(Option::is_none) {
            Some("Please answer every question.")
        } else {
            None
        };
        if let Some(problem) = problem {
            let attempt = Attempt {
                answers,
                problem: Some(problem.to_owned()),
                wrong: Vec::new(),
            };
            let response = show(&visitor, course, &attempt, StatusCode::UNPROCESSABLE_ENTITY);
            return Ok(told(visitor, course, "incomplete", response));
        }
        let principal = visitor.principal();
        let key = format!("{} {}", course.id(), principal.id());
        if let Err(throttle) = self.attempts.check(&key) {
            return Err(visitor.refuse(Refusal::RouteRate).throttled(throttle));
        }
        let facts = visitor.received().facts().clone();
        match self.judge(principal, facts, course, &answers).await {
            Ok(Judged::Passed(_)) => Ok(told(visitor, course, "passed", redirect(TRAINING))),
            Ok(Judged::Failed { score }) => {
                let wrong = course.right(&answers).map(|right| !right).collect();
                let problem = format!(
                    "{score} % of the answers are right; {} % are needed. Read the text again, and look at the questions that are marked.",
                    course.pass_mark()
                );
                let attempt = Attempt {
                    answers,
                    problem: Some(problem),
                    wrong,
                };
                let response = show(&visitor, course, &attempt, StatusCode::UNPROCESSABLE_ENTITY);
                Ok(told(visitor, course, "failed", response))
            }
            Err(error) => {
                tracing::error!(%error, request = %visitor.received().parts().id, "a course was not attested");
                Err(visitor.refuse(error.refusal()))
            }
        }
    }
}

impl Attempt {
    const fn none() -> Self {
        Self {
            answers: Vec::new(),
            problem: None,
            wrong: Vec::new(),
        }
    }
}

/// The course that a path names.
fn course_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix(TRAINING)?.strip_prefix('/')?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// The choices made, question by question.
fn answers(course: &Course, fields: &BTreeMap<String, String>) -> Vec<Option<usize>> {
    let answer = |(at, question): (usize, &Question)| {
        let chosen: usize = fields.get(&format!("q{at}"))?.parse().ok()?;
        (chosen < question.choices.len()).then_some(chosen)
    };
    course.questions().iter().enumerate().map(answer).collect()
}

fn show(
    visitor: &Identified,
    course: &Course,
    attempt: &Attempt,
    status: StatusCode,
) -> Response<Bytes> {
    let nonce = visitor.received().parts().id.to_string();
    let asked = |(at, question)| asked(at, question, attempt);
    let shown = Page {
        nonce: &nonce,
        id: course.id(),
        title: course.title(),
        version: course.version(),
        digest: course.digest(),
        html: course.html(),
        pass_mark: course.pass_mark(),
        questions: course.questions().iter().enumerate().map(asked).collect(),
        problem: attempt.problem.clone(),
    };
    let html = shown.render().unwrap_or_default();
    page(html, status, &nonce)
}

fn asked<'q>(at: usize, question: &'q Question, attempt: &Attempt) -> Asked<'q> {
    let chosen = attempt.answers.get(at).copied().flatten();
    let choices = question.choices.iter().enumerate();
    Asked {
        number: at,
        text: &question.text,
        wrong: attempt.wrong.get(at).copied().unwrap_or_default(),
        choices: choices
            .map(|(value, text)| Choice {
                value,
                text,
                chosen: chosen == Some(value),
            })
            .collect(),
    }
}

/// What goes on record about a visit to a course.
fn told(visitor: Identified, course: &Course, step: &str, response: Response<Bytes>) -> Handled {
    let detail = [("training", step), ("course", course.id())];
    handled(visitor, Event::PageShown, &detail, response)
}

const fn in_words(state: Option<State>) -> &'static str {
    match state {
        Some(State::Current) => "done or not due yet; next by",
        Some(State::Due) => "due by",
        Some(State::Urgent) => "due within a week, by",
        Some(State::Lapsed) => "overdue since",
        Some(State::Unknown) | None => "not required",
    }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d")
        .to_string()
}
