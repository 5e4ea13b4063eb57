//! How a screen is, as its pages ask; and what the gateway does toward the EMR while one is locked.
//!
//! Two answers are not put on record one by one: whether a screen is locked, and that somebody works at it. Pages ask
//! every few seconds and are told nothing but how their own screen is; that it locked, and was unlocked, is on record.
//!
//! *Never*: activity behind a lock; a request to the EMR that is not decided and recorded like any other.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, Method, Response};

use super::{Activity, Gateway};
use crate::identity::behalf::Behalf;
use crate::identity::identify::Identified;
use crate::identity::lock::Asks;
use crate::limit::screen::Purpose;
use crate::refusal::Refusal;
use crate::request::received::Parts;
use crate::request::{AnswerBody, Body, Event, Handled, Received, Refused, Target};
use crate::respond;
use crate::telemetry::metrics as names;

/// A locked screen that somebody signs out at.
#[derive(Debug)]
pub(super) struct Before {
    behalf: Behalf,
    parts: Parts,
}

/// Why the gateway makes a request by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// To keep an EMR session behind a locked screen.
    KeepAlive,
    /// To end one that its user left.
    SignOut,
}

impl Errand {
    /// On record.
    const fn word(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::SignOut => "signed out",
        }
    }

    const fn activity(self) -> Activity {
        match self {
            Self::KeepAlive => Activity::None,
            Self::SignOut => Activity::Leaving,
        }
    }
}

impl Gateway {
    /// Tells a page how its screen is.
    pub(super) async fn screen(
        self: &Rc<Self>,
        asks: Asks,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        if !stages.identity.locks_screens() {
            return Err(screened.refuse(Refusal::NotFound));
        }
        let parts = screened.received().parts();
        let wanted = match asks {
            Asks::Looks => Method::GET,
            Asks::Works => Method::POST,
        };
        if parts.method != wanted {
            return Err(screened.refuse(Refusal::MethodRefused));
        }
        let screen = match stages.identity.screen(parts, asks).await {
            Ok(screen) => screen,
            Err(error) => {
                tracing::error!(%error, request = %parts.id, "a screen could not be looked up");
                return Err(screened.refuse(Refusal::StoreUnavailable));
            }
        };
        let kept = match asks {
            Asks::Looks => self.keep_alive(screened.received().parts(), &screen).await,
            Asks::Works => Vec::new(),
        };
        let json = serde_json::to_vec(screen.view()).unwrap_or_default();
        let mut response = Response::new(Bytes::from(json));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for cookie in kept {
            headers.append(SET_COOKIE, cookie);
        }
        respond::own::protect(headers, stages.backends.hsts());
        Ok(response.map(AnswerBody::from))
    }

    /// Keeps the EMR's session behind a locked screen, as its profile says; gives the cookies that it was answered with.
    async fn keep_alive(
        self: &Rc<Self>,
        parts: &Parts,
        screen: &crate::identity::lock::Screen,
    ) -> Vec<HeaderValue> {
        let stages = &*self.stages;
        let emr = stages
            .emrs
            .by_host(&parts.host)
            .and_then(|index| stages.emrs.emr(index));
        let Some(emr) = emr else { return Vec::new() };
        let Some(keep) = emr.profile().keep_alive() else {
            return Vec::new();
        };
        let Some(behalf) = screen.keep_alive(keep.every()) else {
            return Vec::new();
        };
        let parts = parts.derived(Method::GET, keep.target().clone());
        let answered = self.ask_for(parts, behalf, Errand::KeepAlive).await;
        answered.map_or_else(Vec::new, |response| {
            let cookies = response.headers().get_all(SET_COOKIE);
            cookies.iter().cloned().collect()
        })
    }

    /// Makes a request in the name of somebody else than the one who waits: it is no activity. Its answer is read to its
    /// end and thrown away; a refusal is put on record.
    pub(super) async fn ask_for(
        self: &Rc<Self>,
        parts: Parts,
        behalf: &Behalf,
        errand: Errand,
    ) -> Option<Response<()>> {
        let stages = &*self.stages;
        let request = self.on_an_errand(parts, errand);
        let identified = stages
            .screen
            .screen(request, Purpose::Ordinary)
            .and_then(|screened| stages.identity.identify_for(screened, behalf));
        self.run(identified, errand).await
    }

    /// A request of the gateway's own; its record says what for.
    pub(super) fn on_an_errand(&self, parts: Parts, errand: Errand) -> Received {
        let edition = self.stages.policies.edition();
        let mut request = Received::new(parts, Body::empty(), None, edition);
        request.note("gateway", errand.word().to_owned());
        request
    }

    /// Makes it, once it is known in whose name.
    pub(super) async fn run(
        self: &Rc<Self>,
        identified: Result<Identified, Refused>,
        errand: Errand,
    ) -> Option<Response<()>> {
        let answered = match identified {
            Ok(identified) => Box::pin(self.proceed(identified, errand.activity())).await,
            Err(refused) => Err(refused),
        };
        match answered {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                super::held::drain(body).await;
                Some(Response::from_parts(parts, ()))
            }
            Err(refused) => {
                drop(self.refuse(refused).await);
                None
            }
        }
    }

    /// Who is at a locked screen that somebody signs out at.
    pub(super) async fn before(&self, parts: &Parts) -> Option<Before> {
        if !self.stages.identity.locks_screens() {
            return None;
        }
        let behalf = match self.stages.identity.behind_lock(parts).await {
            Ok(behalf) => behalf?,
            Err(error) => {
                tracing::warn!(%error, "whose screen it was could not be looked up");
                return None;
            }
        };
        Some(Before {
            behalf,
            parts: parts.derived(parts.method.clone(), parts.target.clone()),
        })
    }

    /// Somebody signs out at a locked screen: the EMR's session ends, too.
    pub(super) async fn leave(
        self: &Rc<Self>,
        before: Before,
        method: Method,
        target: Target,
    ) -> Vec<HeaderValue> {
        let removed = self.stages.emrs.removals(&before.parts.host);
        let parts = before.parts.derived(method, target);
        let _ = self.ask_for(parts, &before.behalf, Errand::SignOut).await;
        removed
    }

    /// How the EMR of a host signs its user out.
    pub(super) fn emr_logout(&self, host: &str) -> Option<(Method, Target)> {
        let emrs = &self.stages.emrs;
        let emr = emrs.emr(emrs.by_host(host)?)?;
        let logout = emr.profile().logout()?;
        let target = Target::parse_str(logout.path()).ok()?;
        Some((logout.method().clone(), target))
    }

    /// Counts what became of a lock.
    pub(super) fn count_locks(handled: &Handled) {
        let cause = if handled.event == Event::ScreenLocked {
            "user"
        } else if handled.event == Event::ScreenUnlocked {
            "unlocked"
        } else {
            return;
        };
        metrics::counter!(names::LOCKS, "cause" => cause).increment(1);
    }

    /// Puts on record what became of a form; whether it is.
    pub(super) async fn note_held(
        &self,
        facts: crate::request::Facts,
        detail: &[(&str, &str)],
    ) -> bool {
        let detail: BTreeMap<String, String> = detail
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        match self.audit.event(Event::PostHeld, Some(facts), detail).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "what became of a form could not be recorded");
                false
            }
        }
    }
}
