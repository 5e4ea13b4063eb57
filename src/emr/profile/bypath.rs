//! The route of a request of which only method and path are known, as a record of the trail has them.
//!
//! *Never*: a guess. Where a route asks for fields that are not known, and nothing else says whether it fits, the
//! answer is that nobody knows.

use http::Method;

use super::{Profile, Route};
use crate::request::Target;

/// The route of a request, as far as method and path tell.
#[derive(Debug, Clone, Copy)]
pub enum ByPath<'p> {
    /// It is this one.
    Route(&'p Route),
    /// None takes it.
    Unmapped,
    /// It hangs on fields that are not known.
    Unknown,
}

impl Profile {
    /// The route that takes a request of this method and path. `recorded` is the id of the route that took it when it
    /// was made: its conditions held then. `did_not_fit` says of another route whether it stood before that one then,
    /// so that its conditions did not hold.
    pub fn by_path(
        &self,
        method: &Method,
        target: &Target,
        recorded: &str,
        did_not_fit: impl Fn(&str) -> bool,
    ) -> ByPath<'_> {
        let segments: Vec<&str> = target.segments().collect();
        let first = segments.first().copied().unwrap_or("");
        for (_, route) in self.candidates(first, 0) {
            if !route.takes(method) || route.captures(&segments).is_none() {
                continue;
            }
            if route.tests.is_empty() || route.id == recorded {
                return ByPath::Route(route);
            }
            if !did_not_fit(&route.id) {
                return ByPath::Unknown;
            }
        }
        ByPath::Unmapped
    }
}
