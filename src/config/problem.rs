//! What is wrong with a configuration: every problem at once, each with its place and its remedy.
//!
//! *Never*: stops at the first problem, or shows the value of a key that it does not know (it may be a secret).

use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::counted::counted;

/// Whether a problem keeps the gateway from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The gateway does not start.
    Error,
    /// The gateway starts, and someone should look.
    Warning,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where in a file a problem is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are marked; at least 1.
    pub width: usize,
    /// The text of the line, as far as it may be shown.
    #[serde(skip)]
    pub excerpt: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it keeps the gateway from starting.
    pub severity: Severity,
    /// The file in which it is to be put right.
    pub file: PathBuf,
    /// Where in the file; none where the file as a whole is meant.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The key, as in `emr[0].backend.url`; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// Writes the problem with its source line and a caret.
    fn render(&self, paint: Paint, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.severity.word();
        let colour = match self.severity {
            Severity::Error => "31;1",
            Severity::Warning => "33;1",
        };
        writeln!(
            f,
            "{}: {}",
            paint.with(colour, word),
            paint.with("1", &self.message)
        )?;
        let file = self.file.display();
        let key = if self.key.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.key)
        };
        match &self.place {
            None => writeln!(f, "  --> {file}{key}")?,
            Some(place) => {
                let number = place.line.to_string();
                let gutter = " ".repeat(number.len());
                writeln!(
                    f,
                    "{gutter} --> {file}:{}:{}{key}",
                    place.line, place.column
                )?;
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{number} | {}", place.excerpt)?;
                let indent = " ".repeat(place.column.saturating_sub(1));
                let caret = "^".repeat(place.width);
                writeln!(f, "{gutter} | {indent}{}", paint.with(colour, &caret))?;
            }
        }
        writeln!(f, "  = {}: {}", paint.with("36", "remedy"), self.remedy)
    }
}

/// Every problem that was found, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all problems of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Whether nothing at all was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many problems of this severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.0
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// Orders the problems by file and line; those of a whole file come first.
    pub fn sort(&mut self) {
        let place = |problem: &Problem| {
            problem
                .place
                .as_ref()
                .map(|place| (place.line, place.column))
        };
        self.0
            .sort_by(|a, b| a.file.cmp(&b.file).then_with(|| place(a).cmp(&place(b))));
    }

    /// The problems as text, painted where `paint` says so.
    #[must_use]
    pub const fn rendered(&self, paint: Paint) -> Rendered<'_> {
        Rendered {
            problems: self,
            paint,
        }
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rendered(Paint::Plain).fmt(f)
    }
}

impl std::error::Error for Problems {}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// With ANSI colours, for a terminal.
    Colour,
    /// Without.
    Plain,
}

impl Paint {
    /// Colours on a terminal, none elsewhere.
    #[must_use]
    pub fn suited_to(stream: &impl IsTerminal) -> Self {
        if stream.is_terminal() {
            Self::Colour
        } else {
            Self::Plain
        }
    }

    fn with(self, colour: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Problems on their way to a person.
#[derive(Debug)]
pub struct Rendered<'p> {
    problems: &'p Problems,
    paint: Paint,
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems {
            problem.render(self.paint, f)?;
            writeln!(f)?;
        }
        let errors = self.problems.count(Severity::Error);
        let warnings = self.problems.count(Severity::Warning);
        writeln!(
            f,
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        )
    }
}

/// A problem with a file as a whole.
#[must_use]
pub fn of_file(file: &Path, message: String, remedy: String) -> Problem {
    Problem {
        severity: Severity::Error,
        file: file.to_owned(),
        place: None,
        key: String::new(),
        message,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Problems {
        let mut problems = Problems::default();
        problems.push(Problem {
            severity: Severity::Error,
            file: "chartgate.toml".into(),
            place: Some(Place {
                line: 12,
                column: 6,
                width: 3,
                excerpt: "a = [one]".to_owned(),
            }),
            key: "a".to_owned(),
            message: "wrong".to_owned(),
            remedy: "put it right".to_owned(),
        });
        problems
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let expected = "\
error: wrong
   --> chartgate.toml:12:6 (a)
   |
12 | a = [one]
   |      ^^^
  = remedy: put it right

1 error, 0 warnings
";
        assert_eq!(sample().to_string(), expected);
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = sample().rendered(Paint::Colour).to_string();
        assert!(coloured.contains("\u{1b}[31;1merror\u{1b}[0m"));
        let mut plain = String::new();
        let mut inside = false;
        for c in coloured.chars() {
            match (inside, c) {
                (false, '\u{1b}') => inside = true,
                (true, 'm') => inside = false,
                (true, _) => {}
                (false, c) => plain.push(c),
            }
        }
        assert_eq!(plain, sample().to_string());
    }
}
