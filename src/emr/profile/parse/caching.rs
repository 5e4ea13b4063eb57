//! Whether answers of a route may be kept: `no_store`, `cache` and its reason.

use super::super::problem::Problems;
use super::super::raw::{RawCache, RawRoute};
use crate::request::facts::Action;

/// Whether answers may be kept nowhere.
///
/// SECURITY: what is about a patient, or protected more than usual, is never kept because a profile forgot to say so;
/// whoever wants it kept says why.
pub(super) fn no_store(
    raw: &RawRoute,
    at: &dyn Fn(&str) -> usize,
    problems: &mut Problems<'_>,
) -> bool {
    let sensitive = raw
        .sensitivity
        .as_deref()
        .is_some_and(|level| matches!(level, "R" | "V"));
    let guarded = raw.action != Action::Navigate || raw.patient.is_some() || sensitive;
    let reason = raw.cache_reason.as_deref().unwrap_or_default().trim();
    match (raw.no_store, raw.cache) {
        (Some(_), Some(RawCache::Emr)) => problems.add(
            at("cache"),
            "`cache` and `no_store` both say whether answers may be kept",
            "keep one of them",
        ),
        (Some(false), None) if guarded => problems.add(
            at("no_store"),
            "answers of this route are about patients and may be kept nowhere",
            "remove `no_store`; where the EMR has to decide, write `cache = \"emr\"` with a `cache_reason`",
        ),
        (None, Some(RawCache::Emr)) if reason.is_empty() => problems.add(
            at("cache"),
            "nothing says why answers about patients may be kept",
            "write cache_reason = \"…\"",
        ),
        (Some(_) | None, None) if raw.cache_reason.is_some() => problems.add(
            at("cache_reason"),
            "a reason for nothing: the EMR does not decide about caching here",
            "write cache = \"emr\", or remove it",
        ),
        (Some(_) | None, _) => {}
    }
    raw.cache.is_none() && (guarded || raw.no_store == Some(true))
}
