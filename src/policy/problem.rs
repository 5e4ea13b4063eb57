//! What is wrong with a bundle, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// One problem of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the bundle's directory.
    pub file: PathBuf,
    /// The line, from 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}\n    remedy: {}", self.message, self.remedy)
    }
}

/// A bundle that does not load, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy bundle in {} does not load:{}", directory.display(), Listed(problems))]
pub struct BundleError {
    directory: PathBuf,
    problems: Vec<Problem>,
}

impl BundleError {
    /// The bundle's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every problem, by file and line. Never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Collects problems while a bundle is read.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Problem>);

impl Findings {
    /// Adds a problem.
    pub(super) fn push(
        &mut self,
        file: &Path,
        line: Option<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Problem {
            file: file.to_owned(),
            line,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Adds what Cedar found in `text`; its own advice is the remedy where it gives some.
    pub(super) fn diagnostic(
        &mut self,
        file: &Path,
        text: &str,
        found: &dyn Diagnostic,
        remedy: &str,
    ) {
        let line = first_offset(found).map(|offset| line_of(text, offset));
        self.found(file, line, found, remedy);
    }

    fn found(&mut self, file: &Path, line: Option<usize>, found: &dyn Diagnostic, remedy: &str) {
        let remedy = found
            .help()
            .map_or_else(|| remedy.to_owned(), |help| help.to_string());
        self.push(file, line, found.to_string(), remedy);
    }

    /// Adds what was found elsewhere.
    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Whether there is no problem so far.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many problems there are so far.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// The error, in the order of files and lines.
    pub(super) fn into_error(mut self, directory: &Path) -> BundleError {
        self.0.sort();
        self.0.dedup();
        BundleError {
            directory: directory.to_owned(),
            problems: self.0,
        }
    }
}

/// A file with its text and the places where its lines end, for files in which many lines are asked for.
pub(super) struct Source<'t> {
    file: &'t Path,
    ends: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(super) fn of(file: &'t Path, text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at);
        Self {
            file,
            ends: ends.collect(),
        }
    }

    /// The file, relative to the bundle's directory.
    pub(super) const fn file(&self) -> &'t Path {
        self.file
    }

    /// The line, from 1, of the byte at `offset`.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = self.ends.partition_point(|end| *end < offset);
        before.saturating_add(1)
    }

    /// Adds what Cedar found in it; its own advice is the remedy where it gives some.
    pub(super) fn diagnostic(&self, found: &dyn Diagnostic, remedy: &str, findings: &mut Findings) {
        let line = first_offset(found).map(|offset| self.line_of(offset));
        findings.found(self.file, line, found, remedy);
    }
}

/// Where what Cedar found begins.
pub(super) fn first_offset(found: &dyn Diagnostic) -> Option<usize> {
    found
        .labels()
        .and_then(|mut labels| labels.next())
        .map(|label| label.offset())
}

/// The line, from 1, of the byte at `offset`.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_counted_from_one_and_never_past_the_end() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 2), 2);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(line_of("a\nb\nc", usize::MAX), 3);
        let text = "\na\n\nb";
        let source = Source::of(Path::new("a"), text);
        for offset in 0..8 {
            assert_eq!(source.line_of(offset), line_of(text, offset), "{offset}");
        }
    }

    #[test]
    fn the_error_names_each_problem_once_and_in_order() {
        let mut findings = Findings::default();
        findings.push(Path::new("b.cedar"), Some(10), "late", "fix it");
        findings.push(Path::new("b.cedar"), Some(9), "early", "fix it");
        findings.push(Path::new("a.toml"), None, "first", "fix it");
        findings.push(Path::new("a.toml"), None, "first", "fix it");
        let text = findings.into_error(Path::new("policies")).to_string();
        let order: Vec<_> = ["a.toml: first", "b.cedar:9: early", "b.cedar:10: late"]
            .iter()
            .map(|part| text.find(part).expect("listed"))
            .collect();
        assert!(order.is_sorted(), "{text}");
        assert_eq!(text.matches("first").count(), 1);
    }
}
