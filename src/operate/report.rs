//! "Report something suspicious": what a user saw becomes a case under their name.
//!
//! *Never*: what they wrote on an alarm or in the log; it is in the case, sealed, for those who look into it.
//! *On failure*: the refusal says so, and the text is still in their browser.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response, StatusCode};
use uuid::Uuid;

use super::cases::{CaseError, Cases, Kind, Level, Opening};
use crate::audit::trail::Audit;
use crate::config::Rate;
use crate::desk::Desk;
use crate::desk::page::{handled, page, plain, typed};
use crate::identity::identify::Identified;
use crate::identity::routes::REPORT;
use crate::limit::keyed::Keyed;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Principal, Refused, Target};

/// The largest form.
const LARGEST: u64 = 32 * 1024;
/// The shortest and the longest text, in characters; the longest fits into the note of a case in any script.
const TEXT: std::ops::RangeInclusive<usize> = 10..=1_000;
/// Reports of one user.
const REPORTS: u32 = 10;
const REPORTS_PER: Duration = Duration::from_hours(1);
/// Users that are remembered.
const MOST_USERS: usize = 50_000;
/// The rule that alarms of reports are known by.
const RULE: &str = "user-report";

/// The form, or the thanks for it.
#[derive(Template)]
#[template(path = "report.html")]
struct Form<'a> {
    nonce: &'a str,
    name: &'a str,
    text: &'a str,
    request: &'a str,
    shortest: usize,
    longest: usize,
    problem: Option<&'static str>,
    done: Option<u64>,
}

/// What was typed.
#[derive(Debug, Default)]
struct Typed {
    text: String,
    request: String,
}

/// Takes reports.
#[derive(Debug, Clone)]
pub struct Reports {
    cases: Arc<Cases>,
    audit: Audit,
    rate: Arc<Keyed<String>>,
}

impl Desk for Reports {
    fn owns(&self, path: &str) -> bool {
        path == REPORT
    }

    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(async move {
            let method = visitor.received().parts().method.clone();
            if method == Method::GET || method == Method::HEAD {
                let typed = Typed {
                    request: asked_about(&visitor.received().parts().target).unwrap_or_default(),
                    ..Typed::default()
                };
                let response = show(&visitor, &typed, None, None);
                Ok(told(visitor, Event::PageShown, "form", response))
            } else if method == Method::POST {
                self.taken(visitor).await
            } else {
                Err(visitor.refuse(Refusal::MethodRefused))
            }
        })
    }
}

impl Reports {
    /// Takes reports as cases.
    #[must_use]
    pub fn new(cases: Arc<Cases>, audit: Audit) -> Self {
        let reports = NonZeroU32::new(REPORTS).unwrap_or(NonZeroU32::MIN);
        let rate = Rate {
            requests: reports,
            per: REPORTS_PER,
            burst: reports,
        };
        Self {
            cases,
            audit,
            rate: Arc::new(Keyed::new("reports", rate, MOST_USERS)),
        }
    }

    async fn taken(&self, visitor: Identified) -> Result<Handled, Refused> {
        let (visitor, mut fields) = typed(visitor, LARGEST).await?;
        let typed = Typed {
            text: plain(&fields.remove("text").unwrap_or_default()),
            request: fields
                .remove("request")
                .unwrap_or_default()
                .trim()
                .to_owned(),
        };
        if let Some(problem) = problem(&typed) {
            let response = show(&visitor, &typed, Some(problem), None);
            return Ok(told(visitor, Event::PageShown, "form-incomplete", response));
        }
        if let Err(throttle) = self.rate.check(&visitor.principal().id()) {
            return Err(visitor.refuse(Refusal::RouteRate).throttled(throttle));
        }
        let own = visitor.received().parts().id.to_string();
        let records: BTreeSet<String> = id(&typed.request).into_iter().chain([own]).collect();
        match self.open(visitor.principal(), &typed.text, records).await {
            Ok(number) => {
                let response = show(&visitor, &Typed::default(), None, Some(number));
                let mut told = told(visitor, Event::SuspicionReported, "sent", response);
                let title = "Somebody reported something suspicious".to_owned();
                told.detail.insert("title".to_owned(), title);
                told.detail.insert("case".to_owned(), number.to_string());
                if let Some(request) = id(&typed.request) {
                    told.detail.insert("about".to_owned(), request);
                }
                Ok(told)
            }
            Err(error) => {
                tracing::error!(%error, request = %visitor.received().parts().id, "a report became no case");
                Err(visitor.refuse(refusal(&error)))
            }
        }
    }

    /// Opens the case. Once begun it is done to the end, even if the client hangs up.
    async fn open(
        &self,
        reporter: &Principal,
        text: &str,
        records: BTreeSet<String>,
    ) -> Result<u64, CaseError> {
        let name = reporter.display().to_owned();
        let title = format!("{name} reports something suspicious");
        let opening = Opening {
            kind: Kind::Report,
            title,
            level: Level::Medium,
            rule: None,
            user: None,
            patient: None,
            records: records.clone(),
            by: reporter.id(),
        };
        let number = self.cases.open_with(opening, &name, text).await?.number();
        // SECURITY: the title leaves for every receiver of alarms; the reporter's name, only for those who may know.
        let detail: BTreeMap<String, String> = [
            ("rule", RULE.to_owned()),
            ("title", "Somebody reported something suspicious".to_owned()),
            ("user", name.clone()),
            ("level", Level::Medium.word().to_owned()),
            ("case", number.to_string()),
            ("records", records.into_iter().collect::<Vec<_>>().join(" ")),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        // The case is there; whoever reported it does not wait for the alarm.
        if let Err(error) = self.audit.event(Event::Alarm, None, detail).await {
            tracing::error!(%error, "an alarm could not be recorded");
        }
        Ok(number)
    }
}

fn show(
    visitor: &Identified,
    typed: &Typed,
    problem: Option<&'static str>,
    done: Option<u64>,
) -> Response<Bytes> {
    let nonce = visitor.received().parts().id.to_string();
    let form = Form {
        nonce: &nonce,
        name: visitor.principal().display(),
        text: &typed.text,
        request: &typed.request,
        shortest: *TEXT.start(),
        longest: *TEXT.end(),
        problem,
        done,
    };
    let status = if problem.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    // A template of text cannot fail to render.
    page(form.render().unwrap_or_default(), status, &nonce)
}

fn told(visitor: Identified, event: Event, step: &str, response: Response<Bytes>) -> Handled {
    handled(visitor, event, &[("report", step)], response)
}

/// The request that the page was opened about.
fn asked_about(target: &Target) -> Option<String> {
    let mut fields = target.fields();
    let (_, value) = fields.find(|(name, _)| name == "request")?;
    id(&value)
}

/// A request id, where it is one.
fn id(text: &str) -> Option<String> {
    let id = Uuid::try_parse(text.trim()).ok()?;
    Some(id.as_hyphenated().to_string())
}

/// What is missing.
fn problem(typed: &Typed) -> Option<&'static str> {
    let length = typed.text.chars().count();
    if length < *TEXT.start() {
        Some("Please say in a few words what happened.")
    } else if length > *TEXT.end() {
        Some("The text is too long: at most 1000 characters.")
    } else if !typed.request.is_empty() && id(&typed.request).is_none() {
        Some("The request id is not one that a page shows. Leave the field empty if you have none.")
    } else {
        None
    }
}

const fn refusal(error: &CaseError) -> Refusal {
    match error {
        CaseError::Store(_) => Refusal::StoreUnavailable,
        CaseError::Audit(_) => Refusal::AuditUnavailable,
        CaseError::TooMany => Refusal::Busy,
        CaseError::Unknown(_)
        | CaseError::Closed(_)
        | CaseError::TooManyNotes(_)
        | CaseError::Text(_) => Refusal::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::Ground;
    use crate::request::principal::{Proof, User};

    #[test]
    fn a_report_says_something_and_names_a_request_or_none() {
        let said = |text: &str, request: &str| {
            let typed = Typed {
                text: plain(text),
                request: request.to_owned(),
            };
            problem(&typed).is_none()
        };
        let request = Uuid::now_v7().to_string();
        assert!(said("A strange call from IT", ""));
        assert!(said("A strange call from IT", &request));
        assert!(said(&"\u{1f600}".repeat(1_000), ""));
        assert!(!said(&"a".repeat(1_001), ""));
        assert!(!said("short", ""));
        assert!(!said("\u{1b}[2J\u{7}\u{7}\u{7}\u{7}\u{7}\u{7}\u{7}abc", ""));
        assert!(!said("A strange call from IT", "<script>"));
    }

    #[tokio::test]
    async fn a_report_is_a_case_under_the_reporter_s_name_and_an_alarm_without_their_words() {
        let ground = Ground::new().await;
        let cases = Cases::load(
            ground.store.clone(),
            ground.audit.clone(),
            ground.shared_clock(),
        );
        let cases = cases.await.unwrap();
        let reports = Reports::new(cases.clone(), ground.audit.clone());
        let reporter = Principal::User(User {
            issuer: "main".to_owned(),
            subject: "7".to_owned(),
            name: "nurse.lee".to_owned(),
            roles: BTreeSet::default(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        });
        let words = "\u{1f600}".repeat(1_000);
        for number in 1..=2 {
            let opened = reports.open(&reporter, &words, BTreeSet::default()).await;
            assert_eq!(opened.unwrap(), number, "each report is a case of its own");
        }
        let case = cases.show(1).await.unwrap();
        assert_eq!((case.kind, case.level), (Kind::Report, Level::Medium));
        assert_eq!(case.by, "main|7");
        assert_eq!(case.notes.len(), 1);
        assert_eq!(
            (case.notes[0].by.as_str(), &case.notes[0].text),
            ("nurse.lee", &words)
        );
        let alarms = ground.recorded(Event::Alarm);
        assert_eq!(alarms.len(), 2);
        assert_eq!(
            (alarms[0]["rule"].as_str(), alarms[0]["case"].as_str()),
            (RULE, "1")
        );
        let told = ground.trail().into_iter();
        let told = told.map(|entry| format!("{:?}", entry.detail));
        assert!(told.into_iter().all(|detail| !detail.contains('\u{1f600}')));
    }
}
