//! The form with which someone breaks the glass.
//!
//! *Never*: a patient, user or page that the form names; they come from the sealed offer alone.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{BreakGlass, Reason, Stated};
use crate::desk::Desk;
use crate::desk::offers::Stage;
use crate::desk::page::{self, handled, page, plain, redirect, sole, typed};
use crate::identity::ReturnTo;
use crate::identity::identify::Identified;
use crate::identity::routes::{Asked, BREAK_GLASS, login_location};
use crate::refusal::Refusal;
use crate::request::statement::{self, LENGTH, Lack};
use crate::request::{Demand, Event, Handled, Offer, Principal, Refused};

/// The largest form.
const LARGEST: u64 = 32 * 1024;

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
}

/// What was typed.
#[derive(Debug, Default)]
struct Typed {
    reason: String,
    text: String,
}

impl Desk for BreakGlass {
    fn owns(&self, path: &str) -> bool {
        path == BREAK_GLASS
    }

    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(async move {
            let method = &visitor.received().parts().method;
            if method == Method::GET || method == Method::HEAD {
                self.form(visitor).await
            } else if method == Method::POST {
                self.taken(visitor).await
            } else {
                Err(visitor.refuse(Refusal::MethodRefused))
            }
        })
    }
}

impl BreakGlass {
    /// Shows the form to the one who was refused, after a fresh sign-in. Care does not wait for a provider that is down:
    /// the record then says that nobody confirmed it.
    async fn form(&self, visitor: Identified) -> Result<Handled, Refused> {
        let now = self.now();
        let opened = sole(&visitor.received().parts().target, "offer")
            .and_then(|token| self.ground.offers.open(Stage::Offered, &token, now))
            .filter(|offer| is_for(offer, &visitor));
        let Some(offer) = opened else {
            return Err(visitor.refuse(Refusal::BreakGlassVoid));
        };
        let must_confirm = self.must_confirm(&visitor, now);
        if must_confirm && self.can_confirm(&visitor).await {
            let back = visitor.received().parts().target.as_str();
            let location = login_location(back, Asked::StepUp(self.fresh()));
            return Ok(told(visitor, &offer, "step-up", redirect(&location)));
        }
        let shown = Offer {
            at: now,
            unconfirmed: must_confirm,
            ..offer.clone()
        };
        let Some(ticket) = self.ground.offers.seal(Stage::Shown, &shown) else {
            return Err(visitor.refuse(Refusal::Internal));
        };
        let page = self.page(&visitor, &offer, &ticket, &Typed::default(), None);
        let step = if must_confirm {
            "form-unconfirmed"
        } else {
            "form"
        };
        Ok(told(visitor, &offer, step, page))
    }

    async fn can_confirm(&self, visitor: &Identified) -> bool {
        match visitor.principal() {
            Principal::User(user) => self.ground.providers.answers(&user.issuer).await,
            Principal::Service(_) => true,
        }
    }

    /// What breaking the glass demands of the sign-in.
    fn fresh(&self) -> Demand {
        Demand::fresh(self.ground.settings.fresh)
    }

    /// Whether the sign-in has to be confirmed first: it is too old, and the provider can tell when it was.
    fn must_confirm(&self, visitor: &Identified, now: Timestamp) -> bool {
        let signed_in = visitor.principal().proof().auth_time;
        // A provider that never says when cannot confirm either; care does not wait for it. The record says so.
        signed_in.is_some()
            && self
                .fresh()
                .shortfall(visitor.principal().proof(), now)
                .is_some()
    }

    /// Takes what was typed, and breaks the glass.
    async fn taken(&self, visitor: Identified) -> Result<Handled, Refused> {
        let (visitor, mut fields) = typed(visitor, LARGEST).await?;
        let ticket = fields.remove("offer").unwrap_or_default();
        let opened = self
            .ground
            .offers
            .open(Stage::Shown, &ticket, self.now())
            .filter(|offer| is_for(offer, &visitor));
        let Some(offer) = opened else {
            return Err(visitor.refuse(Refusal::BreakGlassVoid));
        };
        let said = Typed {
            reason: fields.remove("reason").unwrap_or_default(),
            text: plain(&fields.remove("text").unwrap_or_default()),
        };
        let reason = match judged(&said) {
            Ok(reason) => reason,
            Err(problem) => {
                let page = self.page(&visitor, &offer, &ticket, &said, Some(problem));
                return Ok(told(visitor, &offer, "form-incomplete", page));
            }
        };
        let stated = Stated {
            principal: visitor.principal().clone(),
            facts: visitor.received().facts().clone(),
            reason,
            text: said.text,
            offer: offer.clone(),
        };
        match self.break_it(stated).await {
            Ok(glass) => {
                let back = ReturnTo::parse(&offer.return_to);
                let mut answer = told(visitor, &offer, "broken", redirect(back.as_str()));
                answer.detail.insert("grant".to_owned(), glass.id);
                Ok(answer)
            }
            Err(error) => {
                tracing::warn!(%error, request = %visitor.received().parts().id, "the glass was not broken");
                Err(visitor.refuse(error.refusal()))
            }
        }
    }

    fn page(
        &self,
        visitor: &Identified,
        offer: &Offer,
        ticket: &str,
        typed: &Typed,
        problem: Option<&'static str>,
    ) -> Response<Bytes> {
        let nonce = visitor.received().parts().id.to_string();
        let settings = &self.ground.settings;
        let zone = TimeZone::system();
        let at = |after: Duration| {
            let end = self.now().saturating_add(after).unwrap_or(Timestamp::MAX);
            end.to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M %Z")
                .to_string()
        };
        let form = Form {
            nonce: &nonce,
            patient: &offer.patient.id,
            emr: &offer.emr,
            section: &offer.section,
            why: self.why(offer),
            name: visitor.principal().display(),
            hours: span(settings.duration),
            until: at(settings.duration),
            due: span(settings.review_within),
            reasons: Reason::ALL,
            chosen: &typed.reason,
            text: &typed.text,
            shortest: *LENGTH.start(),
            longest: *LENGTH.end(),
            problem,
            ticket,
        };
        // A template of text cannot fail to render; if it did, the page is empty and the chart stays closed.
        let html = form.render().unwrap_or_default();
        let status = match problem {
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        };
        page(html, status, &nonce)
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

fn is_for(offer: &Offer, visitor: &Identified) -> bool {
    let Offer {
        user,
        session,
        authority,
        ..
    } = offer;
    page::is_for(visitor, (user, session, authority))
}

/// The reason that was stated, or what is missing.
fn judged(typed: &Typed) -> Result<Reason, &'static str> {
    let reason = Reason::of(&typed.reason).ok_or("Choose the reason that fits best.")?;
    statement::judge(&typed.text).map_err(|lack| match lack {
        Lack::Short => {
            "Say in your own words why you need this chart now, in at least 10 characters."
        }
        Lack::Long => "The text is too long: at most 1000 characters.",
    })?;
    Ok(reason)
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

/// What goes on record about a visit to the form.
fn told(visitor: Identified, offer: &Offer, step: &str, response: Response<Bytes>) -> Handled {
    let mut handled = handled(
        visitor,
        Event::PageShown,
        &[("break_glass", step)],
        response,
    );
    handled.facts = super::facts_of(handled.facts, offer);
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
        assert_eq!(
            judged(&typed("OVRER", "Unconscious after a fall.")),
            Ok(Reason::Emergency)
        );
        for (reason, text) in [
            ("", "Unconscious after a fall."),
            ("BTG", "Unconscious after a fall."),
            ("OVRER", ""),
            ("OVRER", "emergency"),
            ("OVRER", " . . . . . . . . . . "),
            ("OVRER", "a\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}b"),
        ] {
            assert!(judged(&typed(reason, text)).is_err(), "{reason} {text:?}");
        }
        assert!(judged(&typed("OVRER", &"a".repeat(1_000))).is_ok());
        assert!(judged(&typed("OVRER", &"a".repeat(1_001))).is_err());
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        assert_eq!(span(Duration::from_hours(4)), "4 hours");
        assert_eq!(span(Duration::from_hours(1)), "1 hour");
        assert_eq!(span(Duration::from_mins(90)), "90 minutes");
    }
}
