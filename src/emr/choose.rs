//! Finds the route of a request, and reads as much of the body as that takes.

use std::sync::Arc;
use std::time::Duration;

use super::content::{self, Content};
use super::fields::{Inputs, Stage};
use super::overrides;
use super::profile::{BodyNeed, Profile, Route, Source};
use crate::refusal::Refusal;
use crate::request::Received;

/// The route of a request, with what was read to find it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) route: Option<Arc<Route>>,
    /// Which of the route's paths matched.
    pub(super) path: usize,
    pub(super) captures: Vec<(String, String)>,
    pub(super) content: Content,
    /// Routes whose conditions were looked at: their fields decided too.
    considered: Vec<Arc<Route>>,
}

/// What beside the route asks something of the body.
#[derive(Clone, Copy, Default)]
pub(super) struct Beyond<'a> {
    /// Where a sign-in names its user.
    pub(super) login_user: Option<&'a Source>,
    /// The body whose fields a virtual patch looks at.
    pub(super) patched: Option<BodyNeed>,
}

enum Step {
    Read(usize, Arc<Route>),
    Chosen(Arc<Route>, usize, Vec<(String, String)>),
    Unmapped,
}

/// Tries the routes in order; the first whose method, path and conditions fit is the one.
pub(super) async fn choose(
    profile: &Profile,
    received: &mut Received,
    otherwise: Duration,
) -> Result<Choice, Refusal> {
    let mut content = Content::Unread;
    let mut considered = Vec::new();
    let mut from = 0;
    loop {
        let (route, path, captures) =
            match step(profile, received, &content, from, &mut considered)? {
                Step::Read(index, route) => {
                    content = content::read(route.body(), &route, received, otherwise).await?;
                    overrides::refuse_in_content(&content)?;
                    from = index;
                    continue;
                }
                Step::Chosen(route, path, captures) => (Some(route), path, captures),
                Step::Unmapped => (None, 0, Vec::new()),
            };
        return Ok(Choice {
            route,
            path,
            captures,
            content,
            considered,
        });
    }
}

fn step(
    profile: &Profile,
    received: &Received,
    content: &Content,
    from: usize,
    considered: &mut Vec<Arc<Route>>,
) -> Result<Step, Refusal> {
    let parts = received.parts();
    let segments: Vec<&str> = parts.target.segments().collect();
    let first = segments.first().copied().unwrap_or("");
    for (index, route) in profile.candidates(first, from) {
        if !route.takes(&parts.method) {
            continue;
        }
        let Some((path, found)) = route.captures(&segments) else {
            continue;
        };
        let captures: Vec<_> = found
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if !route.tests().is_empty() {
            let inputs = Inputs {
                target: &parts.target,
                headers: &parts.headers,
                captures: &captures,
                content,
            };
            if !considered
                .last()
                .is_some_and(|last| Arc::ptr_eq(last, route))
            {
                considered.push(Arc::clone(route));
            }
            if !inputs.hold(route.tests(), Stage::Head)? {
                continue;
            }
            if route.tests_body() {
                if matches!(content, Content::Unread) {
                    return Ok(Step::Read(index, Arc::clone(route)));
                }
                inputs.stand_once(route.decisive())?;
                if !inputs.hold(route.tests(), Stage::Body)? {
                    continue;
                }
            }
        }
        return Ok(Step::Chosen(Arc::clone(route), path, captures));
    }
    Ok(Step::Unmapped)
}

impl Choice {
    /// Reads what the chosen route needs beyond what finding it took, and refuses fields with two readings.
    pub(super) async fn complete(
        &mut self,
        route: &Route,
        beyond: Beyond<'_>,
        received: &mut Received,
        otherwise: Duration,
    ) -> Result<(), Refusal> {
        let asks_query = self.considered.iter().any(|route| route.asks_query());
        let need = match (route.body(), beyond.patched) {
            (BodyNeed::Unread, None) if asks_query => BodyNeed::NoRepeat,
            (BodyNeed::Unread | BodyNeed::NoRepeat, Some(need)) | (need, _) => need,
        };
        if matches!(self.content, Content::Unread) {
            self.content = content::read(need, route, received, otherwise).await?;
            overrides::refuse_in_content(&self.content)?;
        }
        let is_as_needed = match (need, &self.content) {
            (BodyNeed::Form, Content::Json(_) | Content::Unread)
            | (BodyNeed::Json, Content::Form(_) | Content::Unread) => false,
            (BodyNeed::Form, Content::Form(_))
            | (BodyNeed::Json, Content::Json(_))
            | (BodyNeed::Unread | BodyNeed::NoRepeat, _) => true,
        };
        if !is_as_needed {
            return Err(Refusal::UnsupportedBody);
        }
        let inputs = self.inputs(received);
        for considered in &self.considered {
            inputs.stand_once(considered.decisive())?;
        }
        inputs.stand_once(route.decisive().chain(beyond.login_user))
    }

    /// The request, as conditions and extractors see it.
    pub(super) fn inputs<'a>(&'a self, received: &'a Received) -> Inputs<'a> {
        let parts = received.parts();
        Inputs {
            target: &parts.target,
            headers: &parts.headers,
            captures: &self.captures,
            content: &self.content,
        }
    }
}
