//! Where someone breaks the glass: the form is shown, and what was typed is taken.
//!
//! *Never*: a patient, ward, user or page that the form names; they come from the sealed offer alone.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response};
use jiff::Timestamp;

use super::form::{Shown, Typed};
use super::{BreakGlass, Choice, Reason, Stated, Stopped};
use crate::desk::Desk;
use crate::desk::offers::Stage;
use crate::desk::page::{self, handled, plain, redirect, sole, typed};
use crate::identity::ReturnTo;
use crate::identity::identify::Identified;
use crate::identity::routes::{Asked, BREAK_GLASS, login_location};
use crate::refusal::Refusal;
use crate::request::statement::{self, Lack};
use crate::request::{Demand, Event, Handled, Offer, Principal, Refused};

/// The largest form.
const LARGEST: u64 = 32 * 1024;

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
        let ward = self.ward_to_offer(&offer).await;
        let sealed = Offer {
            at: now,
            unconfirmed: must_confirm,
            ward: ward.as_ref().map(super::Declaration::offered),
            ..offer.clone()
        };
        let Some(ticket) = self.ground.offers.seal(Stage::Shown, &sealed) else {
            return Err(visitor.refuse(Refusal::Internal));
        };
        let shown = Shown {
            offer: &offer,
            ticket: &ticket,
            ward: ward.as_ref(),
        };
        let page = self.page(&visitor, &shown, &Typed::default(), None);
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
            choice: Choice::of(fields.remove("reach").as_deref()),
        };
        let (reason, choice) = match judged(&said) {
            Ok(judged) => judged,
            Err(problem) => {
                let ward = self.standing_ward(&offer).await;
                let shown = Shown {
                    offer: &offer,
                    ticket: &ticket,
                    ward: ward.as_ref(),
                };
                let page = self.page(&visitor, &shown, &said, Some(problem));
                return Ok(told(visitor, &offer, "form-incomplete", page));
            }
        };
        let stated = Stated {
            choice,
            principal: visitor.principal().clone(),
            facts: visitor.received().facts().clone(),
            reason,
            text: said.text.clone(),
            offer: offer.clone(),
        };
        match self.break_it(stated).await {
            Ok(glass) => {
                let back = ReturnTo::parse(&offer.return_to);
                let mut answer = told(visitor, &offer, "broken", redirect(back.as_str()));
                answer.detail.insert("grant".to_owned(), glass.id);
                Ok(answer)
            }
            Err(Stopped::NoWard) => self.without_ward(visitor, offer, &said),
            Err(error) => {
                tracing::warn!(%error, request = %visitor.received().parts().id, "the glass was not broken");
                Err(visitor.refuse(error.refusal()))
            }
        }
    }
}

impl BreakGlass {
    /// Shows the form once more, for the one chart: the event is over, or the patient lies somewhere else now.
    fn without_ward(
        &self,
        visitor: Identified,
        offer: Offer,
        said: &Typed,
    ) -> Result<Handled, Refused> {
        let sealed = Offer {
            ward: None,
            ..offer
        };
        let Some(ticket) = self.ground.offers.seal(Stage::Shown, &sealed) else {
            return Err(visitor.refuse(Refusal::Internal));
        };
        let shown = Shown {
            offer: &sealed,
            ticket: &ticket,
            ward: None,
        };
        let problem = "The ward cannot be opened as a whole, or not any more: no event is declared for it, or this patient does not lie there. You can open this one chart.";
        let page = self.page(&visitor, &shown, said, Some(problem));
        Ok(told(visitor, &sealed, "form-without-ward", page))
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

/// The reason that was stated and what is to be opened, or what is missing.
fn judged(typed: &Typed) -> Result<(Reason, Choice), &'static str> {
    let choice = typed.choice.ok_or("Choose what you open.")?;
    let reason = Reason::of(&typed.reason).ok_or("Choose the reason that fits best.")?;
    statement::judge(&typed.text).map_err(|lack| match lack {
        Lack::Short => {
            "Say in your own words why you need this chart now, in at least 10 characters."
        }
        Lack::Long => "The text is too long: at most 1000 characters.",
    })?;
    Ok((reason, choice))
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
            choice: Some(Choice::Patient),
        };
        assert_eq!(
            judged(&typed("OVRER", "Unconscious after a fall.")),
            Ok((Reason::Emergency, Choice::Patient))
        );
        let nothing = Typed {
            choice: None,
            ..typed("OVRER", "Unconscious after a fall.")
        };
        assert_eq!(judged(&nothing), Err("Choose what you open."));
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
}
