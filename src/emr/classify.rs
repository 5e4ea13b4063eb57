//! The first stage of the way back: what the EMR's answer says about sign-in, session and selected patient.
//!
//! Order: the exchange that [`Mapped::into_parts`](super::map::Mapped::into_parts) handed out is classified as soon
//! as the head of the answer is there, before any byte of it goes to the client; so a browser never holds an EMR
//! session that is not bound yet.
//!
//! *Never*: a look into a body; where a profile says that answers teach something, or name patients, [`Listeners`] are sent
//! along.
//! *On failure*: nobody is selected, and what could not be kept is unknown to the next request.

use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::response::Parts;
use jiff::Timestamp;

use super::answer::NewSession;
use super::appear::Expected;
use super::bindings::{Bindings, CookieKey, EmrSession, Owner};
use super::emrs::{Emr, Emrs};
use super::lessons::Listener;
use super::listeners::Listeners;
use super::profile::{Effect, Route};
use super::sessions::OwnSessions;
use super::set_cookie::{self, Change as CookieChange};
use super::sticky::{Change, Dependence, SessionBusy};
use crate::audit::outcome::OutcomeGuard;
use crate::clock::SharedClock;
use crate::identity::identify::Identified;
use crate::request::facts::{PatientRef, PatientSource};

/// What a request holds of the selected patient while the EMR works on it.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    Dependence(Dependence),
    Change(Change),
    /// No profile says what the request does; once it is sent, nobody counts as selected. With the time to wait for
    /// requests that depend on the selection.
    Unknown(Arc<EmrSession>, Duration),
}

/// Whether a request signs in to the EMR or out of it.
#[derive(Debug)]
pub(super) enum Sign {
    In { user: Option<String> },
    Out,
}

/// What the mapping remembers for the way back. While it exists, the selected patient is held.
#[derive(Debug)]
#[must_use]
pub struct Exchange {
    emr: Arc<Emr>,
    route: Option<Arc<Route>>,
    bindings: Arc<Bindings>,
    clock: SharedClock,
    owner: Owner,
    expires: Timestamp,
    own: OwnSessions,
    held: Held,
    selection: Option<PatientRef>,
    sign: Option<Sign>,
    listener: Option<Listener>,
}

/// What became of a sign-in to the EMR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmrLogin {
    /// The EMR accepted it.
    Succeeded,
    /// The EMR refused it.
    Failed,
    /// The answer fits neither description of the profile.
    Undecided,
}

/// An answer of the EMR, as far as it is classified.
pub trait Answer {
    /// The head, and the outcome that it belongs to; none where a live stream carries it.
    fn head(&mut self) -> (&Parts, Option<&mut OutcomeGuard>);

    /// These listen to the body as it passes.
    fn listen(&mut self, listeners: Listeners);
}

/// An answer whose consequences for EMR session and selected patient are in force.
#[derive(Debug)]
#[must_use]
pub struct Classified<T> {
    answer: T,
    emr: Arc<Emr>,
    login: Option<EmrLogin>,
}

impl<T> Classified<T> {
    /// What became of a sign-in to the EMR, if the request was one.
    #[must_use]
    pub const fn login(&self) -> Option<EmrLogin> {
        self.login
    }

    /// The EMR, with its profile.
    #[must_use]
    pub const fn emr(&self) -> &Arc<Emr> {
        &self.emr
    }

    /// The answer.
    pub const fn answer(&self) -> &T {
        &self.answer
    }

    /// The answer itself, for the next stage.
    pub fn into_answer(self) -> T {
        self.answer
    }
}

/// What the head of an answer says, without reference to it.
struct Reading {
    changes: Vec<(String, Option<CookieKey>)>,
    login: Option<EmrLogin>,
    selected: Option<PatientRef>,
    signed_out: SignedOut,
}

#[derive(PartialEq, Eq)]
enum SignedOut {
    Yes,
    No,
}

/// Draws the consequences of an answer's head.
pub async fn classify<T: Answer>(mut exchange: Exchange, mut answer: T) -> Classified<T> {
    let lessons = exchange.listener.take();
    let reading = {
        let (head, outcome) = answer.head();
        let reading = exchange.read(head);
        if let (Some(patient), Some(outcome)) = (&reading.selected, outcome) {
            outcome.concerns(PatientRef {
                source: PatientSource::Sticky,
                ..patient.clone()
            });
        }
        reading
    };
    let head = answer.head().0;
    let route = exchange.route.as_ref();
    let appear = route.and_then(|route| Expected::of(route, head));
    let listeners = Listeners::of(lessons, appear, head);
    answer.listen(listeners);
    let login = reading.login;
    let emr = Arc::clone(&exchange.emr);
    exchange.conclude(reading).await;
    Classified { answer, emr, login }
}

impl Exchange {
    #[expect(
        clippy::too_many_arguments,
        reason = "the only caller hands over what it just found, once"
    )]
    pub(super) fn new(
        emrs: &Emrs,
        emr: Arc<Emr>,
        route: Option<Arc<Route>>,
        identified: &Identified,
        own: OwnSessions,
        held: Held,
        selection: Option<PatientRef>,
        sign: Option<Sign>,
    ) -> Self {
        Self {
            emr,
            route,
            bindings: Arc::clone(&emrs.bindings),
            clock: Arc::clone(&emrs.clock),
            owner: Owner {
                session: identified.session().as_str().to_owned(),
                user: identified.principal().id(),
            },
            expires: identified.expires(),
            own,
            held,
            selection,
            sign,
            listener: None,
        }
    }

    /// The same exchange, whose answer is listened to.
    pub(super) fn listening(self, listener: Option<Listener>) -> Self {
        Self { listener, ..self }
    }

    /// Whether somebody wants to listen to the answer.
    pub(super) fn is_listened_to(&self) -> bool {
        let is_list = |route: &Arc<Route>| !route.appears().is_empty();
        self.listener.is_some() || self.route.as_ref().is_some_and(is_list)
    }

    /// The EMR, with its profile, for cookies and redirects on the way back.
    #[must_use]
    pub const fn emr(&self) -> &Arc<Emr> {
        &self.emr
    }

    /// Whether the exchange must go on to the head of the answer even if the client hangs up: a selection or
    /// sign-in that the EMR may carry out later must not be overtaken by the next one.
    #[must_use]
    pub const fn outlives_client(&self) -> bool {
        matches!(self.held, Held::Change(_) | Held::Unknown(..))
    }

    /// Whether the request acts on the selected patient: a change that was sent must be followed to its answer before
    /// somebody else may be selected.
    #[must_use]
    pub const fn depends_on_selection(&self) -> bool {
        matches!(self.held, Held::Dependence(_))
    }

    /// The request goes to the EMR now.
    pub(super) async fn begin(&mut self) -> Result<(), SessionBusy> {
        if let Held::Unknown(session, wait) = &self.held {
            self.held = Held::Change(session.sticky().change(*wait).await?);
        }
        self.count();
        Ok(())
    }

    /// From now on a change counts.
    pub(super) fn count(&mut self) {
        match &mut self.held {
            Held::Change(change) => change.begin(),
            Held::Unknown(session, _) => session.sticky().clear(),
            Held::Nothing | Held::Dependence(_) => {}
        }
    }

    fn read(&self, head: &Parts) -> Reading {
        let changes = self.cookie_changes(head);
        let sets_session = if changes.iter().any(|(_, key)| key.is_some()) {
            NewSession::Required
        } else {
            NewSession::Optional
        };
        let login = self
            .emr
            .profile()
            .login()
            .filter(|_| matches!(self.sign, Some(Sign::In { .. })));
        let login = login.map(|login| {
            if login.success.fits(head, sets_session) {
                EmrLogin::Succeeded
            } else if login
                .failure
                .as_ref()
                .is_some_and(|rule| rule.fits(head, sets_session))
            {
                EmrLogin::Failed
            } else {
                EmrLogin::Undecided
            }
        });
        let selected = match self.route.as_ref().map(|route| route.effect()) {
            Some(Effect::Selects(rule)) if rule.fits(head, sets_session) => self.selection.clone(),
            Some(Effect::Selects(_) | Effect::Keeps | Effect::Clears) | None => None,
        };
        let is_out = matches!(self.sign, Some(Sign::Out))
            && (head.status.is_success() || head.status.is_redirection());
        let signed_out = if is_out {
            SignedOut::Yes
        } else {
            SignedOut::No
        };
        Reading {
            changes,
            login,
            selected,
            signed_out,
        }
    }

    fn cookie_changes(&self, head: &Parts) -> Vec<(String, Option<CookieKey>)> {
        let now = self.clock.now();
        let names = self.emr.profile().session_cookies();
        head.headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| set_cookie::change(value, now))
            .filter(|(name, _)| names.iter().any(|own| own == name))
            .map(|(name, change)| {
                let key = match change {
                    CookieChange::Set(text) => Some(CookieKey::of(self.emr.name(), name, text)),
                    CookieChange::Deleted => None,
                };
                (name.to_owned(), key)
            })
            .collect()
    }

    async fn conclude(self, reading: Reading) {
        let opened = self.apply(&reading.changes).await;
        if reading.signed_out == SignedOut::Yes {
            for (_, key) in &self.own.keys {
                self.forget(key).await;
            }
        }
        let session = opened.as_ref().or(self.own.primary.as_ref());
        if let (Some(EmrLogin::Succeeded), Some(Sign::In { user: Some(user) }), Some(session)) =
            (reading.login, &self.sign, session)
        {
            let learned = self.bindings.learn_user(session, user, self.expires).await;
            report(learned, "the EMR's user of a session could not be kept");
        }
        match (reading.selected, opened, self.held) {
            // The selection came with a new EMR session, and belongs to it alone.
            (Some(patient), Some(opened), _) => opened.sticky().start_with(patient),
            (Some(patient), None, Held::Change(change)) => change.succeed(patient),
            // A change that did not succeed leaves nobody selected.
            (_, _, Held::Change(change)) => drop(change),
            // Only now may the selection change again.
            (_, _, Held::Dependence(dependence)) => drop(dependence),
            (_, _, Held::Nothing | Held::Unknown(..)) => {}
        }
    }

    /// Binds the sessions that the answer opens and forgets those that it ends; returns the one patients stick to.
    async fn apply(&self, changes: &[(String, Option<CookieKey>)]) -> Option<Arc<EmrSession>> {
        let mut opened: Vec<(&str, Arc<EmrSession>)> = Vec::new();
        for (name, change) in changes {
            let Some(key) = change else {
                for (_, key) in self.own.keys.iter().filter(|(own, _)| own == name) {
                    self.forget(key).await;
                }
                continue;
            };
            if self.own.keys.iter().any(|(_, own)| own == key) {
                continue;
            }
            let bound = self
                .bindings
                .bind(key, self.owner.clone(), self.expires)
                .await;
            if let Some(Some(bound)) = report(bound, "a new EMR session could not be bound") {
                opened.push((name, bound));
            }
        }
        let names = self.emr.profile().session_cookies();
        names.iter().find_map(|name| {
            opened
                .iter()
                .rev()
                .find(|(own, _)| own == name)
                .map(|(_, bound)| Arc::clone(bound))
        })
    }

    async fn forget(&self, key: &CookieKey) {
        report(
            self.bindings.forget(key).await,
            "an ended EMR session could not be forgotten",
        );
    }

    /// An exchange with an EMR that has a trivial profile.
    #[cfg(test)]
    pub(crate) fn for_test(identified: &Identified, index: usize) -> Self {
        super::tests::exchange(identified, index)
    }
}

/// The answer goes on whatever the store says: what it cannot keep is unknown to the next request, which refuses.
fn report<T>(result: Result<T, crate::store::StoreError>, what: &'static str) -> Option<T> {
    result
        .map_err(|error| tracing::error!(%error, "{what}"))
        .ok()
}
