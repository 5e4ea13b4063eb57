//! Forms that met an ended, locked or stale session: kept where they are refused, offered to their user, and sent by
//! the whole request path when their user says so.
//!
//! *Never*: sent without its user's word, around a stage, or about another patient than it was written for.
//! *On failure*: the text is shown to its user; it is gone only once the EMR took it, or its user discarded it.

mod onward;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, REFERER};
use http::{HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;

use super::{Activity, Gateway};
use crate::desk::page::{redirect, typed};
use crate::identity::held::{
    About, CLAIMED_EVERY, Draft, HeldPost, HeldPosts, Sought, Way, id_of, is_kept, location,
};
use crate::identity::identify::Identified;
use crate::identity::routes::is_own;
use crate::language::Language;
use crate::limit::screen::Purpose;
use crate::refusal::Refusal;
use crate::request::held::{Holding, Lost, Remains};
use crate::request::received::{Manner, Parts};
use crate::request::{AnswerBody, Body, BodyError, Facts, Principal, Received, Refused, Target};
pub(super) use onward::drain;
use onward::{absolute, buffered, on, refused_so};

use crate::respond;
use crate::respond::held::{Step, render};
use crate::telemetry::metrics as names;

/// The largest form that says what becomes of one.
const LARGEST: u64 = 4 * 1024;
/// How long the answer to a form that was sent is read.
const DRAINED: Duration = Duration::from_mins(1);

/// What came of sending a form.
enum Sent {
    /// The EMR took it and sends its user on.
    Onward(HeaderMap, String),
    /// The EMR answered with a page.
    Answered,
    /// It was not taken; why, and what leads on.
    Not(String, Option<(String, &'static str)>),
}

impl Gateway {
    /// Keeps what was sent with a refused request, where that is done, and states what became of it.
    pub(super) async fn hold(self: &Rc<Self>, mut refused: Refused) -> Refused {
        let Some(remains) = refused.take_remains() else {
            return refused;
        };
        let Some(held) = self.stages.held.clone() else {
            return refused;
        };
        if is_own(&remains.parts.target) {
            return refused;
        }
        let id = refused.manner().id.to_string();
        match Box::pin(self.keep(&held, &refused, remains)).await {
            Ok(until) => {
                count("held");
                refused.holding(Holding::Kept {
                    location: location(&id),
                    until,
                })
            }
            Err(lost) => {
                count("lost");
                tracing::info!(request = id, why = lost.word(), "a form is not kept");
                refused.holding(Holding::Lost(lost))
            }
        }
    }

    async fn keep(
        self: &Rc<Self>,
        held: &HeldPosts,
        refused: &Refused,
        remains: Remains,
    ) -> Result<Timestamp, Lost> {
        let Remains { parts, mut body } = remains;
        // A program has no page to find it on.
        let user = match refused.facts().principal.as_deref() {
            Some(principal @ Principal::User(_)) => principal.id(),
            Some(Principal::Service(_)) | None => return Err(Lost::Kind),
        };
        if !is_kept(&parts.headers) {
            return Err(Lost::Kind);
        }
        let bytes = body
            .read(held.max_size(), self.stages.emrs.body_timeout())
            .await
            .map_err(|error| match error {
                BodyError::TooLarge { .. } => Lost::TooLarge,
                BodyError::Transport(_) | BodyError::Timeout => Lost::Broken,
            })?;
        let (about, way, facts) = self.understand(refused, &parts, &bytes).await?;
        let id = parts.id.to_string();
        let draft = Draft {
            id: id.clone(),
            user,
            authority: parts.authority.clone(),
            target: parts.target.as_str().to_owned(),
            headers: parts.headers,
            body: bytes.clone(),
            about,
            way,
        };
        let until = held.keep(draft).await?;
        let size = bytes.len().to_string();
        let way = match way {
            Way::Replay => "replay",
            Way::Show => "show",
        };
        let detail = [
            ("step", "held"),
            ("held", id.as_str()),
            ("bytes", &size),
            ("way", way),
            ("until", &until.to_string()),
        ];
        if self.note_held(facts, &detail).await {
            return Ok(until);
        }
        // Nothing is kept that is not on record.
        if let Err(error) = held.discard(&id).await {
            tracing::error!(%error, held = id, "a form that is not on record is still kept");
        }
        Err(Lost::Store)
    }

    /// Finds out what a form is about, as if it were sent, without sending it.
    async fn understand(
        self: &Rc<Self>,
        refused: &Refused,
        parts: &Parts,
        bytes: &Bytes,
    ) -> Result<(Option<About>, Way, Facts), Lost> {
        let stages = &*self.stages;
        let mut facts = refused.facts().clone();
        let behalf = stages.identity.on_record(&facts).ok_or(Lost::Kind)?;
        let derived = parts.derived(parts.method.clone(), parts.target.clone());
        let request = Received::new(derived, buffered(bytes), None, facts.edition());
        let identified = stages
            .screen
            .screen(request, Purpose::Ordinary)
            .and_then(|screened| stages.identity.identify_for(screened, &behalf));
        let (mapping, whole) = match identified {
            Ok(identified) => match stages.emrs.map(identified).await {
                Ok(mapped) => (mapped.received().facts().mapping.clone(), true),
                Err(refused) => (refused.facts().mapping.clone(), false),
            },
            Err(_refused) => (None, false),
        };
        let emr = stages
            .emrs
            .by_host(&parts.host)
            .and_then(|index| stages.emrs.emr(index));
        let (Some(mapping), Some(emr)) = (mapping, emr) else {
            return Ok((None, Way::Show, facts));
        };
        if emr.profile().is_sign_in(&mapping.route) {
            return Err(Lost::SignIn);
        }
        let way = match emr.profile().held_post(&mapping.route) {
            crate::emr::profile::HeldPost::Replay if whole => Way::Replay,
            crate::emr::profile::HeldPost::Replay | crate::emr::profile::HeldPost::Show => {
                Way::Show
            }
        };
        let about = About {
            emr: emr.name().to_owned(),
            route: mapping.route.clone(),
            action: mapping.action,
            section: mapping.section.clone(),
            patients: mapping.patients.clone(),
        };
        facts.emr = Some(about.emr.clone());
        facts.mapping = Some(mapping);
        Ok((Some(about), way, facts))
    }

    /// The pages of what is kept.
    pub(super) async fn held(
        self: &Rc<Self>,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let parts = received.parts();
        let again = parts.derived(Method::POST, parts.target.clone());
        let manner = Manner::of(parts);
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let id = id_of(screened.received().parts().target.path()).map(str::to_owned);
        let (Some(held), Some(id)) = (stages.held.clone(), id) else {
            return Err(screened.refuse(Refusal::NotFound));
        };
        let visitor = stages.identity.identify(screened).await?;
        stages.identity.touch(&visitor);
        let post = match held.find(&id, &visitor.principal().id()).await {
            Ok(Sought::Own(post)) if post.authority() == visitor.received().parts().authority => {
                *post
            }
            Ok(Sought::Others) => {
                let facts = visitor.received().facts().clone();
                let detail = [
                    ("step", "discarded"),
                    ("held", &*id),
                    ("why", "another user"),
                ];
                let _ = self.note_held(facts, &detail).await;
                count("discarded");
                return Err(visitor.refuse(Refusal::HeldGone));
            }
            Ok(Sought::Own(_) | Sought::Nothing) => {
                return Err(visitor.refuse(Refusal::HeldGone));
            }
            Err(error) => {
                tracing::error!(%error, "what is kept could not be looked up");
                return Err(visitor.refuse(Refusal::StoreUnavailable));
            }
        };
        let method = visitor.received().parts().method.clone();
        if method == Method::GET || method == Method::HEAD {
            let facts = visitor.received().facts().clone();
            let nonce = visitor.received().parts().id.to_string();
            let spoken = (nonce.as_str(), manner.language);
            let response = render(&post, Step::first(&post), None, spoken);
            return Ok(self.told(facts, &post, "offered", response, &manner).await);
        }
        if method != Method::POST {
            return Err(visitor.refuse(Refusal::MethodRefused));
        }
        let (visitor, fields) = typed(visitor, LARGEST).await?;
        // What is confirmed is what was shown.
        if fields.get("digest") != Some(&post.digest()) {
            return Err(visitor.refuse(Refusal::HeldGone));
        }
        match (fields.get("do").map(String::as_str), post.way()) {
            (Some("discard"), _) => self.discard(&held, visitor, &post, &manner).await,
            (Some("send"), Way::Replay) => {
                self.send_held(&held, visitor, post, again, &manner).await
            }
            (_, Way::Replay | Way::Show) => Err(visitor.refuse(Refusal::MethodRefused)),
        }
    }

    async fn discard(
        self: &Rc<Self>,
        held: &HeldPosts,
        visitor: Identified,
        post: &HeldPost,
        manner: &Manner,
    ) -> Result<Response<AnswerBody>, Refused> {
        if let Err(error) = held.discard(post.id()).await {
            tracing::error!(%error, "what is kept could not be deleted");
            return Err(visitor.refuse(Refusal::StoreUnavailable));
        }
        count("discarded");
        let facts = visitor.received().facts().clone();
        let response = redirect("/");
        Ok(self.told(facts, post, "discarded", response, manner).await)
    }

    /// Sends a form by the whole request path. It stays kept until the EMR took it.
    async fn send_held(
        self: &Rc<Self>,
        held: &Arc<HeldPosts>,
        visitor: Identified,
        mut post: HeldPost,
        again: Parts,
        manner: &Manner,
    ) -> Result<Response<AnswerBody>, Refused> {
        let facts = visitor.received().facts().clone();
        let nonce = visitor.received().parts().id.to_string();
        let language = manner.language;
        let (phrases, spoken) = (language.phrases(), (nonce.as_str(), language));
        match held.claim(&mut post).await {
            Ok(true) => {}
            Ok(false) => {
                let step = Step::Refused(phrases.held.being_sent);
                let response = render(&post, step, None, spoken);
                return Ok(self.told(facts, &post, "offered", response, manner).await);
            }
            Err(error) => {
                tracing::error!(%error, "what is kept could not be claimed");
                return Err(visitor.refuse(Refusal::StoreUnavailable));
            }
        }
        // In a task of its own: whether it was taken is found out even if its user hangs up.
        let (gateway, kept, sent) = (Rc::clone(self), Arc::clone(held), post.clone());
        let followed = tokio::task::spawn_local(async move {
            let mut replay = pin!(gateway.replay(&sent, again, language));
            let came = loop {
                tokio::select! {
                    biased;
                    came = &mut replay => break came,
                    () = tokio::time::sleep(CLAIMED_EVERY) => kept.keep_claim(&sent).await.unwrap_or_else(|error| {
                        tracing::error!(%error, held = sent.id(), "a form that is being sent may be sent again");
                    }),
                }
            };
            let done = match &came {
                Sent::Onward(..) | Sent::Answered => kept.discard(sent.id()).await,
                Sent::Not(..) => Ok(()),
            };
            let released = kept.release(&sent).await;
            if let Err(error) = done.and(released) {
                tracing::error!(%error, held = sent.id(), "a form that was sent could not be put away");
            }
            came
        });
        let came = followed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a form was not sent to the end");
            Sent::Not(Refusal::Internal.words(language).detail.to_owned(), None)
        });
        let (step, response) = match came {
            Sent::Onward(cookies, onward) => ("sent", on(&cookies, &onward)),
            Sent::Answered => (
                "sent",
                render(&post, Step::Sent, Some(("/", phrases.go_to_emr)), spoken),
            ),
            Sent::Not(why, link) => {
                let link = link.as_ref().map(|(href, label)| (href.as_str(), *label));
                ("refused", render(&post, Step::Refused(&why), link, spoken))
            }
        };
        count(step);
        Ok(self.told(facts, &post, step, response, manner).await)
    }

    async fn replay(self: &Rc<Self>, post: &HeldPost, again: Parts, language: Language) -> Sent {
        let words = &language.phrases().held;
        let authority = again.authority.clone();
        let host = again.host.clone();
        let response = match Box::pin(self.sent_again(post, again)).await {
            Ok(response) => response,
            Err(refused) => {
                let sent = refused_so(&refused, post, language);
                drop(self.refuse(refused).await);
                return sent;
            }
        };
        let (head, body) = response.into_parts();
        // Nobody reads it; that the EMR took the form is in the head.
        let drained = tokio::time::timeout(DRAINED, drain(body));
        drop(tokio::task::spawn_local(async {
            let _late = drained.await;
        }));
        let status = head.status;
        if status.is_success() {
            return Sent::Answered;
        }
        let goes_on = [
            StatusCode::FOUND,
            StatusCode::SEE_OTHER,
            StatusCode::MOVED_PERMANENTLY,
        ];
        let onward = head
            .headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .filter(|_| goes_on.contains(&status))
            .and_then(|location| absolute(&authority, post.target(), location));
        let Some(onward) = onward else {
            let (before, after) = words.not_taken;
            let why = format!("{before}{}{after}", status.as_u16());
            return Sent::Not(why, None);
        };
        let asks_to_sign_in = Target::parse_str(&onward).is_ok_and(|target| {
            let emrs = &self.stages.emrs;
            let emr = emrs.by_host(&host).and_then(|index| emrs.emr(index));
            emr.is_some_and(|emr| emr.profile().asks_to_sign_in(&target))
        });
        if asks_to_sign_in {
            let why = words.emr_asks_sign_in.to_owned();
            return Sent::Not(why, Some((onward, words.sign_in_to_emr)));
        }
        Sent::Onward(head.headers, onward)
    }

    /// The whole request path, with one thing more: what the form was written about is what it is about now.
    async fn sent_again(
        self: &Rc<Self>,
        post: &HeldPost,
        mut parts: Parts,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let target = Target::parse_str(post.target());
        let headers = &mut parts.headers;
        headers.remove(CONTENT_ENCODING);
        headers.remove(REFERER);
        for (name, value) in [
            (CONTENT_TYPE, Some(post.content_type())),
            (REFERER, post.referer()),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let edition = stages.policies.edition();
        let target = match target {
            Ok(target) => target,
            Err(_unreadable) => {
                let received = Received::new(parts, Body::empty(), None, edition);
                return Err(received.refuse(Refusal::AmbiguousTarget));
            }
        };
        parts.target = target;
        let mut received = Received::new(parts, buffered(&post.body()), None, edition);
        received.note("held", post.id().to_owned());
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let identified = stages.identity.identify(screened).await?;
        let (mapped, in_force) = self.map(identified).await?;
        // SECURITY: what was written about one patient is never sent while another is selected.
        let mapping = mapped.mapping();
        let is_same = post.about().is_some_and(|about| {
            let named = |patients: &[crate::request::PatientRef]| -> Vec<(String, String)> {
                let ids = patients.iter();
                ids.map(|one| (one.system.clone(), one.id.clone()))
                    .collect()
            };
            about.route == mapping.route && named(&about.patients) == named(&mapping.patients)
        });
        if !is_same {
            return Err(mapped.refuse(Refusal::PatientUnknown));
        }
        stages.identity.touch(mapped.identified());
        self.carry_out(mapped, &in_force, Activity::User).await
    }

    /// Answers a visitor once what happened is on record.
    async fn told(
        &self,
        facts: Facts,
        post: &HeldPost,
        step: &str,
        response: Response<Bytes>,
        manner: &Manner,
    ) -> Response<AnswerBody> {
        let target = post.target();
        let path = target.split('?').next().unwrap_or(target);
        let detail = [("step", step), ("held", post.id()), ("to", path)];
        if !self.note_held(facts, &detail).await {
            return respond::refused::trail_down(manner).map(AnswerBody::from);
        }
        let mut response = response;
        respond::own::protect(response.headers_mut(), self.stages.backends.hsts());
        if manner.method == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response.map(AnswerBody::from)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(names::HELD_POSTS, "outcome" => outcome).increment(1);
}
