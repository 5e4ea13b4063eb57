//! The questions of a course, line by line.
//!
//! `### What is asked?`, then `- [ ] a choice` and once `- [x] the right one`, then, where the author wants to say why,
//! lines that begin with `>`.

use super::{Notes, Question};

/// Most questions of one course, and most choices of one question.
const MOST: usize = 50;
const MOST_CHOICES: usize = 8;
/// Longest question, choice or reason, in bytes.
const LONGEST: usize = 1_000;

/// What a line of this part may be.
enum Line<'t> {
    Asked(&'t str),
    Choice(&'t str),
    Right(&'t str),
    Why(&'t str),
}

impl<'t> Line<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let after = |start: &str| line.strip_prefix(start).map(str::trim);
        after("### ")
            .map(Self::Asked)
            .or_else(|| after("- [ ] ").map(Self::Choice))
            .or_else(|| after("- [x] ").map(Self::Right))
            .or_else(|| after(">").map(Self::Why))
    }

    const fn text(&self) -> &'t str {
        match self {
            Self::Asked(text) | Self::Choice(text) | Self::Right(text) | Self::Why(text) => text,
        }
    }
}

/// A question while it is read.
struct Open {
    line: usize,
    question: Question,
    rights: usize,
}

impl Open {
    const fn new(line: usize, text: String) -> Self {
        let question = Question {
            text,
            choices: Vec::new(),
            right: 0,
            why: None,
        };
        Self {
            line,
            question,
            rights: 0,
        }
    }

    fn take(&mut self, line: &Line<'_>) {
        let text = line.text().to_owned();
        match line {
            Line::Right(_) => {
                self.rights = self.rights.saturating_add(1);
                self.question.right = self.question.choices.len();
                self.question.choices.push(text);
            }
            Line::Choice(_) => self.question.choices.push(text),
            Line::Asked(_) | Line::Why(_) => {
                let why = self.question.why.get_or_insert_default();
                if !why.is_empty() {
                    why.push(' ');
                }
                why.push_str(&text);
            }
        }
    }

    fn close(self, notes: &mut Notes<'_>) -> Option<Question> {
        let choices = self.question.choices.len();
        if !(2..=MOST_CHOICES).contains(&choices) {
            let plural = if choices == 1 { "" } else { "s" };
            let message = format!("the question has {choices} choice{plural}");
            notes.push(self.line, message, "Give it 2 to 8 choices.");
            return None;
        }
        if self.rights != 1 {
            let message = format!("the question has {} right answers", self.rights);
            notes.push(self.line, message, "Mark exactly one choice with `- [x]`.");
            return None;
        }
        Some(self.question)
    }
}

/// Reads the questions; `first` is the number of the first line.
pub(super) fn read(text: &str, first: usize, notes: &mut Notes<'_>) -> Option<Vec<Question>> {
    let before = notes.findings.count();
    let mut questions = Vec::new();
    let mut open: Option<Open> = None;
    for (at, line) in text.lines().enumerate() {
        let number = first.saturating_add(at);
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let Some(read) = Line::of(line) else {
            notes.push(
                number,
                "the line is none that a question has",
                "Write `### …?`, `- [ ] …`, `- [x] …` or `> …`, each in one line.",
            );
            continue;
        };
        let length = read.text().len();
        if length == 0 || length > LONGEST || read.text().chars().any(char::is_control) {
            notes.push(
                number,
                "the line's text cannot be used",
                "Write 1 to 1000 bytes.",
            );
        }
        if let Line::Asked(text) = read {
            let next = Open::new(number, text.to_owned());
            if let Some(done) = open.replace(next) {
                questions.extend(done.close(notes));
            }
        } else if let Some(open) = &mut open {
            open.take(&read);
        } else {
            notes.push(
                number,
                "the line stands before any question",
                "Begin with `### …?`.",
            );
        }
    }
    if let Some(done) = open {
        questions.extend(done.close(notes));
    }
    if !(1..=MOST).contains(&questions.len()) {
        let message = format!("the course has {} questions", questions.len());
        notes.push(first, message, "Ask 1 to 50.");
    }
    (notes.findings.count() == before).then_some(questions)
}
