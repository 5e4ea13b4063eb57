//! The text of `chartgate.toml`, and where in it a key stands.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Problems, Severity};

/// A configuration file: its name and its text.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    /// The file called `file` with this text.
    #[must_use]
    pub const fn new(file: PathBuf, text: String) -> Self {
        Self { file, text }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A path of the file: relative ones are relative to the file's own directory.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        match self.file.parent() {
            Some(directory) => directory.join(path),
            None => PathBuf::from(path),
        }
    }

    /// The place of a span, cut to its first line.
    #[must_use]
    pub fn place(&self, span: &Range<usize>, excerpt: Excerpt) -> Option<Place> {
        let (before, from) = self.text.split_at_checked(span.start)?;
        let line_start = before
            .rfind('\n')
            .map_or(0, |newline| newline.saturating_add(1));
        let (above, indent) = before.split_at_checked(line_start)?;
        let rest_of_line = from.lines().next().unwrap_or_default();
        let marked = from.get(..span.len()).unwrap_or(rest_of_line);
        let marked = marked.lines().next().unwrap_or_default();
        let shown = match excerpt {
            Excerpt::WholeLine => format!("{indent}{rest_of_line}"),
            Excerpt::UpToMark => format!("{indent}{marked} …"),
        };
        Some(Place {
            line: above.matches('\n').count().saturating_add(1),
            column: indent.chars().count().saturating_add(1),
            width: marked.chars().count().max(1),
            // A tab has no width that the caret line could know.
            excerpt: shown.replace('\t', " "),
        })
    }
}

/// How much of the line a problem shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excerpt {
    /// All of it.
    WholeLine,
    /// Nothing after what is marked.
    UpToMark,
}

/// A parsed file that collects problems while it is read.
#[derive(Debug)]
pub struct Document<'s> {
    source: &'s Source,
    root: Spanned<DeTable<'s>>,
    problems: RefCell<Problems>,
    files: RefCell<BTreeSet<String>>,
}

impl<'s> Document<'s> {
    /// Parses the text.
    ///
    /// # Errors
    /// Every place at which the text is not TOML.
    pub fn parse(source: &'s Source) -> Result<Self, Problems> {
        let (root, errors) = DeTable::parse_recoverable(source.text());
        let mut problems = Problems::default();
        for error in &errors {
            problems.push(Problem {
                severity: Severity::Error,
                file: source.file.clone(),
                place: error
                    .span()
                    .and_then(|span| source.place(&span, Excerpt::WholeLine)),
                key: String::new(),
                message: format!("this is not TOML: {}", error.message()),
                remedy: "correct the syntax; strings stand in double quotes, see https://toml.io"
                    .to_owned(),
            });
        }
        if problems.is_empty() {
            let problems = RefCell::new(problems);
            Ok(Self {
                source,
                root,
                problems,
                files: RefCell::default(),
            })
        } else {
            problems.sort();
            Err(problems)
        }
    }

    /// The file.
    #[must_use]
    pub const fn source(&self) -> &'s Source {
        self.source
    }

    /// Notes that the value at a key names a file that was read.
    pub(super) fn names_file(&self, key: String) {
        self.files.borrow_mut().insert(key);
    }

    /// The keys whose values name files that were read.
    pub(super) fn named_files(&self) -> BTreeSet<String> {
        self.files.borrow().clone()
    }

    /// The table of the whole file.
    #[must_use]
    pub const fn root(&self) -> &Spanned<DeTable<'s>> {
        &self.root
    }

    /// What was found so far, in the order of the file.
    #[must_use]
    pub fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }

    /// Notes an error at a span.
    pub(super) fn error(&self, span: &Range<usize>, excerpt: Excerpt, key: String, says: Says) {
        self.note(Severity::Error, self.source.place(span, excerpt), key, says);
    }

    /// Notes a problem at a key (`emr[0].backend.url`), or at its nearest parent that is written.
    pub fn at(&self, severity: Severity, key: &str, says: Says) {
        let place = match self.locate(key) {
            Some(span) => self.source.place(&span, Excerpt::WholeLine),
            None => None,
        };
        self.note(severity, place, key.to_owned(), says);
    }

    fn note(&self, severity: Severity, place: Option<Place>, key: String, says: Says) {
        self.problems.borrow_mut().push(Problem {
            severity,
            file: self.source.file.clone(),
            place,
            key,
            message: says.message,
            remedy: says.remedy,
        });
    }

    fn locate(&self, key: &str) -> Option<Range<usize>> {
        let mut table = Some(self.root.get_ref());
        let mut array = None;
        let mut span = None;
        for step in key.split(['.', '[']) {
            let next = match step.strip_suffix(']') {
                Some(index) => {
                    let index = index.parse::<usize>().ok()?;
                    array.and_then(|array: &toml::de::DeArray<'s>| array.get(index))
                }
                None => table.and_then(|table| table.get(step)),
            };
            let Some(value) = next else { break };
            span = Some(value.span());
            (table, array) = inside(value.get_ref());
        }
        span
    }
}

fn inside<'v, 's>(
    value: &'v DeValue<'s>,
) -> (Option<&'v DeTable<'s>>, Option<&'v toml::de::DeArray<'s>>) {
    (value.as_table(), value.as_array())
}

/// A message with its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Says {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Puts a message and its remedy together.
pub fn says(message: impl Into<String>, remedy: impl Into<String>) -> Says {
    Says {
        message: message.into(),
        remedy: remedy.into(),
    }
}
