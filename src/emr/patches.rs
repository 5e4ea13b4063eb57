//! Virtual patches at work: what a request asks of a known hole is let through only where the patch says so.
//!
//! *On failure*: a field that cannot be read, or has two values, is not one that the patch lets through.

use std::sync::Arc;

use super::choose::Choice;
use super::content::Content;
use super::fields::Inputs;
use super::profile::{BodyNeed, Patch, Profile, Source};
use crate::refusal::Refusal;
use crate::request::Received;
use crate::request::facts::Inspected;
use crate::telemetry::metrics as names;

/// The patches that are about one request, with what the names in their paths stand for.
#[derive(Debug, Default)]
pub(super) struct Applied {
    list: Vec<(Arc<Patch>, Captures)>,
}

/// Names in a path, and what they stand for.
type Captures = Vec<(String, String)>;

impl Applied {
    /// Finds them.
    pub(super) fn to(profile: &Profile, received: &Received) -> Self {
        if profile.patches().is_empty() {
            return Self::default();
        }
        let parts = received.parts();
        let segments: Vec<&str> = parts.target.segments().collect();
        let applied = |patch: &Arc<Patch>| {
            let found = patch.captures(&parts.method, &segments)?;
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            Some((Arc::clone(patch), found.into_iter().map(owned).collect()))
        };
        Self {
            list: profile.patches().iter().filter_map(applied).collect(),
        }
    }

    /// The body that has to be read for them, if one has to be.
    pub(super) fn need(&self) -> Option<BodyNeed> {
        let mut fields = self.list.iter().flat_map(|(patch, _)| patch.fields());
        fields.find_map(|field| match field {
            Source::Form(_) => Some(BodyNeed::Form),
            Source::Json(_) => Some(BodyNeed::Json),
            Source::Path(_) | Source::Query(_) | Source::Header(_) => None,
        })
    }

    /// Refuses what they do not let through, and notes which of them it was.
    pub(super) fn refuse(
        &self,
        choice: &Choice,
        received: &Received,
        inspected: &mut Inspected,
    ) -> Result<(), Refusal> {
        for (patch, captures) in &self.list {
            let inputs = Inputs {
                captures,
                ..choice.inputs(received)
            };
            if patch.fields().is_empty() {
                return Err(refused(patch, None, inspected));
            }
            for field in patch.fields() {
                if !lets_through(patch, field, &inputs) {
                    return Err(refused(patch, Some(field), inspected));
                }
            }
        }
        Ok(())
    }
}

fn lets_through(patch: &Patch, field: &Source, inputs: &Inputs<'_>) -> bool {
    // SECURITY: of a body that was not read nothing is known; that happens where no route takes the request.
    let is_unread = match (field, inputs.content) {
        (Source::Form(_) | Source::Json(_), Content::Unread) => true,
        (Source::Form(_) | Source::Json(_), Content::Form(_) | Content::Json(_))
        | (Source::Path(_) | Source::Query(_) | Source::Header(_), _) => false,
    };
    let values = inputs.all(field).ok().filter(|_| !is_unread);
    values.is_some_and(|values| values.iter().all(|value| patch.allow().takes(value)))
}

fn refused(patch: &Patch, field: Option<&Source>, inspected: &mut Inspected) -> Refusal {
    patch.count();
    metrics::counter!(names::PATCH_HITS, "patch" => patch.id().to_owned()).increment(1);
    inspected.patch = Some(patch.id().to_owned());
    inspected.patch_field = field.map(Source::label);
    Refusal::Patched
}
