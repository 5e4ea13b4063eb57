//! The form with which someone states a reason.
//!
//! *Never*: a patient, user or page that the form names; they come from the sealed enquiry alone.

use askama::Template;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response};

use super::{Code, Reasons};
use crate::desk::Desk;
use crate::desk::offers::Stage;
use crate::desk::page::{self, handled, plain, redirect, sole, typed};
use crate::identity::ReturnTo;
use crate::identity::identify::Identified;
use crate::identity::routes::REASON;
use crate::refusal::Refusal;
use crate::request::statement::{self, LENGTH, Lack};
use crate::request::{Enquiry, Event, Handled, Refused};

/// The largest form.
const LARGEST: u64 = 32 * 1024;

/// The form.
#[derive(Template)]
#[template(path = "reason.html")]
struct Form<'a> {
    nonce: &'a str,
    patients: &'a str,
    emr: &'a str,
    action: &'a str,
    section: &'a str,
    why: Vec<String>,
    name: &'a str,
    holds: String,
    codes: &'a [Code],
    chosen: &'a str,
    text: &'a str,
    shortest: usize,
    longest: usize,
    problem: Option<&'static str>,
    ticket: &'a str,
}

/// What was typed.
#[derive(Debug, Default)]
struct Typed {
    reason: String,
    text: String,
}

impl Desk for Reasons {
    fn owns(&self, path: &str) -> bool {
        path == REASON
    }

    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(async move {
            let method = &visitor.received().parts().method;
            if method == Method::GET || method == Method::HEAD {
                self.form(visitor)
            } else if method == Method::POST {
                self.taken(visitor).await
            } else {
                Err(visitor.refuse(Refusal::MethodRefused))
            }
        })
    }
}

impl Reasons {
    /// Shows the form to the one who was asked.
    fn form(&self, visitor: Identified) -> Result<Handled, Refused> {
        let now = self.now();
        let opened = sole(&visitor.received().parts().target, "enquiry")
            .and_then(|token| self.offers.open_enquiry(Stage::Offered, &token, now))
            .filter(|enquiry| is_for(enquiry, &visitor));
        let Some(enquiry) = opened else {
            return Err(visitor.refuse(Refusal::ReasonVoid));
        };
        let shown = Enquiry {
            at: now,
            ..enquiry.clone()
        };
        let Some(ticket) = self.offers.seal_enquiry(Stage::Shown, &shown) else {
            return Err(visitor.refuse(Refusal::Internal));
        };
        let page = self.page(&visitor, &enquiry, &ticket, &Typed::default(), None);
        Ok(told(visitor, &enquiry, "form", page))
    }

    /// Takes what was typed.
    async fn taken(&self, visitor: Identified) -> Result<Handled, Refused> {
        let (visitor, mut fields) = typed(visitor, LARGEST).await?;
        let ticket = fields.remove("enquiry").unwrap_or_default();
        let opened = self
            .offers
            .open_enquiry(Stage::Shown, &ticket, self.now())
            .filter(|enquiry| is_for(enquiry, &visitor));
        let Some(enquiry) = opened else {
            return Err(visitor.refuse(Refusal::ReasonVoid));
        };
        let said = Typed {
            reason: fields.remove("reason").unwrap_or_default(),
            text: plain(&fields.remove("text").unwrap_or_default()),
        };
        let code = match judged(&said) {
            Ok(code) => code,
            Err(problem) => {
                let page = self.page(&visitor, &enquiry, &ticket, &said, Some(problem));
                return Ok(told(visitor, &enquiry, "form-incomplete", page));
            }
        };
        let facts = visitor.received().facts().clone();
        let (room, about) = (self.clone(), enquiry.clone());
        // In a task of its own: a client that hangs up must not leave a reason on record that is not in force.
        let stating =
            tokio::spawn(async move { room.state(&about, facts, (code, said.text)).await });
        match stating.await {
            Ok(Ok(id)) => {
                let back = ReturnTo::parse(&enquiry.return_to);
                let mut answer = told(visitor, &enquiry, "stated", redirect(back.as_str()));
                answer.detail.insert("stated".to_owned(), id);
                Ok(answer)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, request = %visitor.received().parts().id, "a reason was not stated");
                Err(visitor.refuse(Refusal::AuditUnavailable))
            }
            Err(error) => {
                tracing::error!(%error, request = %visitor.received().parts().id, "a reason was not stated");
                Err(visitor.refuse(Refusal::Internal))
            }
        }
    }

    fn page(
        &self,
        visitor: &Identified,
        enquiry: &Enquiry,
        ticket: &str,
        typed: &Typed,
        problem: Option<&'static str>,
    ) -> Response<Bytes> {
        let nonce = visitor.received().parts().id.to_string();
        let patients: Vec<&str> = enquiry.patients.iter().map(|one| one.id.as_str()).collect();
        let form = Form {
            nonce: &nonce,
            patients: &patients.join(", "),
            emr: &enquiry.emr,
            action: enquiry.action.name(),
            section: &enquiry.section,
            why: self.why(enquiry),
            name: visitor.principal().display(),
            holds: span(enquiry.holds),
            codes: Code::ALL,
            chosen: &typed.reason,
            text: &typed.text,
            shortest: *LENGTH.start(),
            longest: *LENGTH.end(),
            problem,
            ticket,
        };
        // A template of text cannot fail to render; if it did, the page is empty and nothing opens.
        page::form(form.render().unwrap_or_default(), problem, &nonce)
    }

    /// What the permits mean that ask for it, in their own words.
    fn why(&self, enquiry: &Enquiry) -> Vec<String> {
        let active = self.policies.active();
        active
            .bundle()
            .policies()
            .filter(|rule| rule.obligations().reason.is_some())
            .filter(|rule| enquiry.policies.iter().any(|id| id == rule.id()))
            .map(|rule| rule.doc().to_owned())
            .collect()
    }
}

fn is_for(enquiry: &Enquiry, visitor: &Identified) -> bool {
    let Enquiry {
        user,
        session,
        authority,
        ..
    } = enquiry;
    page::is_for(visitor, (user, session, authority))
}

/// The purpose that was stated, or what is missing.
fn judged(typed: &Typed) -> Result<Code, &'static str> {
    let code = Code::of(&typed.reason).ok_or("Choose the purpose that fits best.")?;
    statement::judge(&typed.text).map_err(|lack| match lack {
        Lack::Short => "Say in your own words why you need this, in at least 10 characters.",
        Lack::Long => "The text is too long: at most 1000 characters.",
    })?;
    Ok(code)
}

/// A length of time for a person.
fn span(seconds: u64) -> String {
    let (count, one) = if seconds.is_multiple_of(3600) {
        (seconds / 3600, "hour")
    } else if seconds.is_multiple_of(60) {
        (seconds / 60, "minute")
    } else {
        (seconds, "second")
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// What goes on record about a visit to the form.
fn told(visitor: Identified, enquiry: &Enquiry, step: &str, response: Response<Bytes>) -> Handled {
    let detail = [("reason_form", step)];
    let mut handled = handled(visitor, Event::PageShown, &detail, response);
    handled.facts = super::facts_of(handled.facts, enquiry);
    handled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_needs_a_code_and_words() {
        let typed = |reason: &str, text: &str| Typed {
            reason: reason.to_owned(),
            text: plain(text),
        };
        let words = "Second opinion for Dr. Reyes.";
        for code in Code::ALL {
            assert_eq!(judged(&typed(code.code(), words)), Ok(*code));
        }
        for (reason, text) in [
            ("", words),
            ("treat", words),
            ("TREAT", ""),
            ("TREAT", "check"),
            ("TREAT", " . . . . . . . . . . "),
        ] {
            assert!(judged(&typed(reason, text)).is_err(), "{reason} {text:?}");
        }
        assert!(judged(&typed("TREAT", &"a".repeat(1_001))).is_err());
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        for (seconds, said) in [
            (3600, "1 hour"),
            (7200, "2 hours"),
            (900, "15 minutes"),
            (90, "90 seconds"),
        ] {
            assert_eq!(span(seconds), said);
        }
    }
}
