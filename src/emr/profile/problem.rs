//! What is wrong in a profile, and where.

use std::fmt;
use std::ops::Range;

/// One thing to mend in a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            message,
            remedy,
        } = self;
        write!(f, "{file}:{line}: {message} ({remedy})")
    }
}

/// Collects the problems of one file.
pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            found: Vec::new(),
        }
    }

    /// The line on which a span starts.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.bytes().take(span.start);
        before.filter(|b| *b == b'\n').count().saturating_add(1)
    }

    pub(super) fn add(&mut self, line: usize, message: impl Into<String>, remedy: &str) {
        self.found.push(Problem {
            file: self.file.to_owned(),
            line,
            message: message.into(),
            remedy: remedy.to_owned(),
        });
    }

    /// A value that TOML or serde refused.
    pub(super) fn refused(&mut self, error: &toml::de::Error, otherwise: usize) {
        let line = error.span().map_or(otherwise, |span| self.line(&span));
        let message = error.message().trim().to_owned();
        self.add(
            line,
            message,
            "see the comments of the shipped profiles for the format",
        );
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.line);
        self.found
    }
}
