//! The page of the form with which someone breaks the glass.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{BreakGlass, Choice, Declaration, Reason};
use crate::desk::page;
use crate::identity::identify::Identified;
use crate::request::Offer;
use crate::request::statement::LENGTH;

/// The form.
#[derive(Template)]
#[template(path = "break_glass.html")]
struct Form<'a> {
    nonce: &'a str,
    patient: &'a str,
    emr: &'a str,
    section: &'a str,
    why: Vec<String>,
    name: &'a str,
    hours: String,
    until: String,
    due: String,
    reasons: &'a [Reason],
    chosen: &'a str,
    text: &'a str,
    shortest: usize,
    longest: usize,
    problem: Option<&'static str>,
    ticket: &'a str,
    ward: Option<Ward<'a>>,
}

/// A ward that may be opened as a whole.
struct Ward<'a> {
    name: &'a str,
    event: &'a str,
    until: String,
    is_chosen: bool,
}

/// What was typed.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) reason: String,
    pub(super) text: String,
    /// What is to be opened; nothing where a word was sent that is none.
    pub(super) choice: Option<Choice>,
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            reason: String::new(),
            text: String::new(),
            choice: Some(Choice::default()),
        }
    }
}

/// What the form is shown for.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) offer: &'a Offer,
    /// The offer, sealed.
    pub(super) ticket: &'a str,
    /// The event that is declared for the patient's ward.
    pub(super) ward: Option<&'a Declaration>,
}

impl BreakGlass {
    pub(super) fn page(
        &self,
        visitor: &Identified,
        shown: &Shown<'_>,
        typed: &Typed,
        problem: Option<&'static str>,
    ) -> Response<Bytes> {
        let nonce = visitor.received().parts().id.to_string();
        let settings = &self.ground.settings;
        let zone = TimeZone::system();
        let said = |end: Timestamp| {
            end.to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M %Z")
                .to_string()
        };
        let end = self.now().saturating_add(settings.duration);
        let end = end.unwrap_or(Timestamp::MAX);
        let offer = shown.offer;
        let form = Form {
            nonce: &nonce,
            patient: &offer.patient.id,
            emr: &offer.emr,
            section: &offer.section,
            why: self.why(offer),
            name: visitor.principal().display(),
            hours: span(settings.duration),
            until: said(end),
            due: span(settings.review_within),
            reasons: Reason::ALL,
            chosen: &typed.reason,
            text: &typed.text,
            shortest: *LENGTH.start(),
            longest: *LENGTH.end(),
            problem,
            ticket: shown.ticket,
            ward: shown.ward.map(|declared| Ward {
                name: &declared.ward,
                event: &declared.reason,
                until: said(declared.expires.min(end)),
                is_chosen: typed.choice == Some(Choice::Ward),
            }),
        };
        // A template of text cannot fail to render; if it did, the page is empty and the chart stays closed.
        page::form(form.render().unwrap_or_default(), problem, &nonce)
    }

    /// What the policies that said no mean, in their own words.
    fn why(&self, offer: &Offer) -> Vec<String> {
        let active = self.ground.policies.active();
        let said: Vec<String> = active
            .bundle()
            .policies()
            .filter(|rule| offer.policies.iter().any(|id| id == rule.id()))
            .map(|rule| rule.doc().to_owned())
            .collect();
        if said.is_empty() {
            vec![format!(
                "No policy opens “{}” of this chart to you in the ordinary course of work.",
                offer.section
            )]
        } else {
            said
        }
    }
}

/// A length of time for a person.
fn span(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes.is_multiple_of(60) {
        match minutes / 60 {
            1 => "1 hour".to_owned(),
            hours => format!("{hours} hours"),
        }
    } else {
        format!("{minutes} minutes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_say_them() {
        assert_eq!(span(Duration::from_hours(4)), "4 hours");
        assert_eq!(span(Duration::from_hours(1)), "1 hour");
        assert_eq!(span(Duration::from_mins(90)), "90 minutes");
    }
}
