//! "Your sessions": where someone is signed in, and a way to end what they do not recognise.
//!
//! *Never*: a session of anybody else; a change without a record.
//! *On failure*: a refusal, and the session that could not be ended is named by the page again.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use futures_util::future::LocalBoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::By;
use super::containment::{Containment, ContainmentError};
use crate::desk::Desk;
use crate::desk::page::{handled, page, redirect, typed};
use crate::identity::identify::Identified;
use crate::identity::routes::SESSIONS;
use crate::identity::{Identity, SessionView};
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Notice, Refused};

/// The largest form.
const LARGEST: u64 = 1024;
/// What the record says of why.
const REASON: &str = "ended by its user";

#[derive(Template)]
#[template(path = "sessions.html")]
struct Page<'a> {
    nonce: &'a str,
    name: &'a str,
    last: Option<String>,
    sessions: Vec<Listed>,
}

struct Listed {
    id: String,
    device: String,
    address: String,
    since: String,
    used: String,
    shared: bool,
    this: bool,
}

/// Answers the page of one's own sessions.
#[derive(Debug, Clone)]
pub struct Devices {
    identity: Arc<Identity>,
    containment: Arc<Containment>,
}

impl Devices {
    /// Lists the sessions of `identity`, and ends them through `containment`.
    #[must_use]
    pub const fn new(identity: Arc<Identity>, containment: Arc<Containment>) -> Self {
        Self {
            identity,
            containment,
        }
    }

    async fn shown(&self, visitor: Identified) -> Result<Handled, Refused> {
        let open = match self.identity.sessions_of(&visitor.principal().id()).await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "the sessions of a user could not be listed");
                return Err(visitor.refuse(Refusal::StoreUnavailable));
            }
        };
        let nonce = visitor.received().parts().id.to_string();
        let zone = TimeZone::system();
        let listed = open.iter().rev();
        let page_of = Page {
            nonce: &nonce,
            name: visitor.principal().display(),
            last: self
                .identity
                .welcome_of(&visitor)
                .and_then(|notice| before(&notice, &zone)),
            sessions: listed
                .map(|session| Listed::of(session, visitor.session().as_str(), &zone))
                .collect(),
        };
        // A template of text cannot fail to render.
        let response = page(page_of.render().unwrap_or_default(), StatusCode::OK, &nonce);
        Ok(told(visitor, "list", response))
    }

    async fn ended(&self, visitor: Identified) -> Result<Handled, Refused> {
        let (visitor, fields) = typed(visitor, LARGEST).await?;
        let this = visitor.session().as_str().to_owned();
        let wanted = wish(&fields);
        let meant = |session: &SessionView| match &wanted {
            Wish::Others => session.id != this,
            Wish::One(id) => session.id == *id && session.id != this,
            Wish::None => false,
        };
        let principal = visitor.principal();
        let by = By::User(principal.display().to_owned());
        let ended = self
            .containment
            .end_own(&principal.id(), meant, REASON, &by)
            .await;
        match ended {
            Ok(_) => Ok(told(visitor, "end", redirect(SESSIONS))),
            Err(error) => {
                tracing::error!(%error, "a user's session could not be ended");
                Err(visitor.refuse(refusal(&error)))
            }
        }
    }
}

impl Desk for Devices {
    fn owns(&self, path: &str) -> bool {
        path == SESSIONS
    }

    fn answer(&self, visitor: Identified) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(async move {
            let method = visitor.received().parts().method.clone();
            if method == Method::GET || method == Method::HEAD {
                self.shown(visitor).await
            } else if method == Method::POST {
                self.ended(visitor).await
            } else {
                Err(visitor.refuse(Refusal::MethodRefused))
            }
        })
    }
}

impl Listed {
    fn of(session: &SessionView, this: &str, zone: &TimeZone) -> Self {
        let address = session.last_address.or(session.address);
        Self {
            id: session.id.clone(),
            device: session.device.clone(),
            address: address.map_or_else(|| "unknown".to_owned(), |address| address.to_string()),
            since: moment(session.created, zone),
            used: moment(session.last_active, zone),
            shared: session.shared,
            this: session.id == this,
        }
    }
}

enum Wish {
    Others,
    One(String),
    None,
}

fn wish(fields: &BTreeMap<String, String>) -> Wish {
    match (fields.get("session"), fields.get("others")) {
        (Some(id), None) => Wish::One(id.clone()),
        (None, Some(_)) => Wish::Others,
        (Some(_), Some(_)) | (None, None) => Wish::None,
    }
}

/// The sign-in before this session, in words.
fn before(notice: &Notice, zone: &TimeZone) -> Option<String> {
    match notice {
        Notice::SignedIn { last, failed } => {
            let last = last.as_ref().map_or_else(
                || "You had not signed in here before.".to_owned(),
                |(at, from)| format!("You signed in before on {} from {from}.", moment(*at, zone)),
            );
            Some(match failed {
                0 => last,
                1 => format!("{last} One attempt failed between then and now."),
                more => format!("{last} {more} attempts failed between then and now."),
            })
        }
        Notice::BreakGlass { .. }
        | Notice::Lockdown { .. }
        | Notice::TrainingDue { .. }
        | Notice::TrainingLapsed { .. }
        | Notice::SharedWorkstation { .. }
        | Notice::OldBrowser { .. }
        | Notice::UnknownBrowser { .. }
        | Notice::ReadOnly => None,
    }
}

fn moment(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M %Z").to_string()
}

fn told(visitor: Identified, step: &str, response: http::Response<bytes::Bytes>) -> Handled {
    handled(visitor, Event::PageShown, &[("sessions", step)], response)
}

const fn refusal(error: &ContainmentError) -> Refusal {
    match error {
        ContainmentError::Store(_) => Refusal::StoreUnavailable,
        ContainmentError::Audit(_) => Refusal::AuditUnavailable,
        ContainmentError::NotLocked(_)
        | ContainmentError::NoSession
        | ContainmentError::TooMany
        | ContainmentError::Text(_)
        | ContainmentError::TooLong => Refusal::Internal,
    }
}
