//! A virtual patch: a known hole of the EMR, and what is let through to it until the EMR is mended.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use jiff::civil::Date;
use regex::Regex;

use super::route::{Methods, Source};
use crate::emr::pattern::{Captures, PathPattern};

/// A known hole of the EMR, closed at the gateway. `[[patch]]`
#[derive(Debug)]
pub struct Patch {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) source: String,
    pub(super) line: usize,
    pub(super) expires: Date,
    pub(super) methods: Methods,
    pub(super) paths: Vec<PathPattern>,
    pub(super) fields: Vec<Source>,
    pub(super) allow: Allow,
    pub(super) hits: AtomicU64,
}

/// What a field may hold.
#[derive(Debug)]
pub(in crate::emr) enum Allow {
    /// The page is closed.
    Nothing,
    /// What the pattern fits as a whole.
    Pattern(Regex),
    /// One of these.
    OneOf(Vec<String>),
}

impl PartialEq for Allow {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Pattern(one), Self::Pattern(two)) => one.as_str() == two.as_str(),
            (Self::OneOf(one), Self::OneOf(two)) => one == two,
            (Self::Nothing | Self::Pattern(_) | Self::OneOf(_), _) => false,
        }
    }
}

impl Allow {
    pub(in crate::emr) fn takes(&self, value: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Pattern(pattern) => pattern.is_match(value),
            Self::OneOf(values) => values.iter().any(|one| one == value),
        }
    }
}

impl Patch {
    /// Its id: on records, in metrics and in the status.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the hole is.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it is described.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The line of its id in the profile.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The day by which somebody has to look whether the EMR is mended. The patch holds on after it.
    #[must_use]
    pub const fn expires(&self) -> Date {
        self.expires
    }

    /// How many requests it refused since the gateway started.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(in crate::emr) fn count(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn continue_count(&self, before: &Self) {
        self.hits.fetch_add(before.hits(), Ordering::Relaxed);
    }

    pub(in crate::emr) fn fields(&self) -> &[Source] {
        &self.fields
    }

    pub(in crate::emr) const fn allow(&self) -> &Allow {
        &self.allow
    }

    /// What the names in its path stand for, if the request is one that it is about.
    pub(in crate::emr) fn captures<'a>(
        &'a self,
        method: &Method,
        segments: &[&'a str],
    ) -> Option<Captures<'a>> {
        if !self.methods.take(method) {
            return None;
        }
        self.paths.iter().find_map(|path| path.captures(segments))
    }

    /// Whether both look at some place of some request.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let shares = (self.fields.is_empty() && other.fields.is_empty())
            || self.fields.iter().any(|field| other.fields.contains(field));
        shares && self.methods.meet(&other.methods) && self.meets(&other.paths)
    }

    /// Whether some path is its own and one of `paths`.
    pub(super) fn meets(&self, paths: &[PathPattern]) -> bool {
        let mut own = self.paths.iter();
        own.any(|own| paths.iter().any(|path| own.meets(path)))
    }
}
