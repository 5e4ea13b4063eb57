//! The courses of a bundle: what people have to have read and understood, with the questions that show it.
//!
//! A course is a file `training/<id>.md`: a head in TOML between two lines `+++`, the text in Markdown, and behind
//! a line `## Questions` the questions with their choices.
//!
//! *Never*: markup of the author's that reaches a page as it is: raw HTML and images are problems, all text is escaped.

mod questions;
mod text;

use std::collections::BTreeSet;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::problem::{Findings, line_of};
use super::rule::is_name;
use crate::config::unit::parse_duration;
use crate::request::Role;

/// Most courses of one bundle.
const MOST: usize = 50;
/// Most bytes of one course.
const LARGEST: usize = 256 * 1024;
/// Longest title or version, in characters.
const LONGEST_TITLE: usize = 120;
const LONGEST_VERSION: usize = 40;
/// The shortest and the longest that an attestation may hold.
const SHORTEST_VALIDITY: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 3_660);

/// What stands around the head.
const FENCE: &str = "+++";
/// What stands before the questions.
const QUESTIONS: &str = "## Questions";

/// A course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    id: String,
    title: String,
    version: String,
    roles: BTreeSet<Role>,
    valid_for: SignedDuration,
    pass_mark: u8,
    html: String,
    questions: Vec<Question>,
    digest: String,
}

/// A question of a course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// What may be answered.
    pub choices: Vec<String>,
    /// Which of them is right.
    pub right: usize,
    /// Why, where the author says so.
    pub why: Option<String>,
}

impl Course {
    /// The name of its file: what records, feeds and addresses call it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its version, as its author wrote it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How long an attestation holds.
    #[must_use]
    pub const fn valid_for(&self) -> SignedDuration {
        self.valid_for
    }

    /// How many of 100 answers must be right.
    #[must_use]
    pub const fn pass_mark(&self) -> u8 {
        self.pass_mark
    }

    /// Its text as HTML, safe to stand in a page as it is.
    #[must_use]
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Its questions.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// SHA-256 of its file, in hex: what exactly somebody attested.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether somebody with these roles has to do it.
    #[must_use]
    pub fn concerns(&self, roles: &BTreeSet<Role>) -> bool {
        self.roles.is_empty() || !self.roles.is_disjoint(roles)
    }

    /// How many of 100 answers are right. `answers` are the choices made, question by question.
    #[must_use]
    pub fn score(&self, answers: &[Option<usize>]) -> u8 {
        let right = self.right(answers).filter(|right| *right).count();
        let percent = right
            .saturating_mul(100)
            .checked_div(self.questions.len())
            .unwrap_or_default();
        u8::try_from(percent).unwrap_or(100)
    }

    /// Question by question, whether the answer is right.
    pub fn right(&self, answers: &[Option<usize>]) -> impl Iterator<Item = bool> {
        let answer = |at: usize| answers.get(at).copied().flatten();
        self.questions
            .iter()
            .enumerate()
            .map(move |(at, question)| answer(at) == Some(question.right))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    title: Spanned<String>,
    version: Spanned<String>,
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    valid_for: Spanned<String>,
    pass_mark: Spanned<u8>,
}

/// Where a course's problems are noted.
struct Notes<'n> {
    file: &'n Path,
    findings: &'n mut Findings,
}

impl Notes<'_> {
    fn push(&mut self, line: usize, message: impl Into<String>, remedy: &str) {
        self.findings.push(self.file, Some(line), message, remedy);
    }
}

/// Reads every course. `known` are the schema's roles, if it could be read.
pub(super) fn read_all<'f>(
    files: impl Iterator<Item = (&'f Path, &'f str)>,
    known: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) -> Vec<Course> {
    let courses: Vec<Course> = files
        .filter_map(|(file, text)| read(file, text, known, findings))
        .collect();
    if courses.len() > MOST {
        findings.push(
            Path::new(super::files::COURSES),
            None,
            format!("there are {} courses", courses.len()),
            format!("A bundle holds {MOST} courses at most."),
        );
    }
    courses
}

/// Reads one course; what is wrong is noted.
fn read(
    file: &Path,
    text: &str,
    known: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) -> Option<Course> {
    let mut notes = Notes { file, findings };
    if text.len() > LARGEST {
        let message = format!("the course is larger than {LARGEST} bytes");
        notes.push(1, message, "Make two courses of it.");
        return None;
    }
    let id = file.file_stem()?.to_str().filter(|id| is_name(id));
    if id.is_none() {
        notes.push(
            1,
            "the name of the file cannot be a course's",
            "Use lower-case letters, digits and hyphens: `privacy-and-security.md`.",
        );
    }
    let (head, body, body_line) = split(text, &mut notes)?;
    let head = read_head(head, known, &mut notes);
    let asked = at_line(body, QUESTIONS);
    let prose = asked.map_or(body, |(prose, _, _)| prose);
    let html = text::html(prose, body_line, &mut notes);
    let questions = if let Some((_, asked, line)) = asked {
        let line = line.saturating_add(body_line).saturating_sub(1);
        questions::read(asked, line, &mut notes)
    } else {
        notes.push(
            body_line,
            "the course has no questions",
            "Add a line `## Questions`, and behind it `### …?` with choices `- [ ] …` and one `- [x] …`.",
        );
        None
    };
    let head = head?;
    Some(Course {
        id: id?.to_owned(),
        title: head.title,
        version: head.version,
        roles: head.roles,
        valid_for: head.valid_for,
        pass_mark: head.pass_mark,
        html: html?,
        questions: questions?,
        digest: hex::encode(digest(&SHA256, text.as_bytes())),
    })
}

/// The head, the rest, and the line at which the rest begins.
fn split<'t>(text: &'t str, notes: &mut Notes<'_>) -> Option<(&'t str, &'t str, usize)> {
    let remedy =
        "Begin with `+++`, then title, version, valid_for and pass_mark in TOML, then `+++` again.";
    let found = text
        .strip_prefix(FENCE)
        .and_then(|rest| {
            rest.strip_prefix('\n')
                .or_else(|| rest.strip_prefix("\r\n"))
        })
        .and_then(|rest| at_line(rest, FENCE));
    let Some((head, body, line)) = found else {
        notes.push(1, "the course has no head", remedy);
        return None;
    };
    // One line for the first fence; `line` counts to the second.
    Some((head, body, line.saturating_add(1)))
}

/// What stands before and behind the first line that reads `wanted`, and the number of the line behind it, where the
/// first is 1.
fn at_line<'t>(text: &'t str, wanted: &str) -> Option<(&'t str, &'t str, usize)> {
    let mut offset = 0_usize;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let end = offset.saturating_add(line.len());
        if line.trim_end() == wanted {
            return Some((text.get(..offset)?, text.get(end..)?, at.saturating_add(2)));
        }
        offset = end;
    }
    None
}

/// A head without a problem.
struct Checked {
    title: String,
    version: String,
    roles: BTreeSet<Role>,
    valid_for: SignedDuration,
    pass_mark: u8,
}

fn read_head(
    text: &str,
    known: Option<&BTreeSet<String>>,
    notes: &mut Notes<'_>,
) -> Option<Checked> {
    let line = |offset: usize| line_of(text, offset).saturating_add(1);
    let head: Head = match toml::from_str(text) {
        Ok(head) => head,
        Err(error) => {
            let at = error.span().map_or(1, |span| line(span.start));
            let remedy = "A head holds title, version, valid_for (\"365d\"), pass_mark (80) and, where not everyone is meant, roles.";
            notes.push(at, error.message().trim_end(), remedy);
            return None;
        }
    };
    let before = notes.findings.count();
    let is_text = |text: &str, longest: usize| {
        !text.trim().is_empty()
            && text.chars().count() <= longest
            && !text.chars().any(char::is_control)
    };
    if !is_text(head.title.get_ref(), LONGEST_TITLE) {
        let message = "`title` cannot be used";
        notes.push(
            line(head.title.span().start),
            message,
            "Write 1 to 120 characters.",
        );
    }
    let version = head.version.get_ref();
    if !is_text(version, LONGEST_VERSION) || version.contains([',', '"']) {
        let message = "`version` cannot be used";
        let remedy = "Write 1 to 40 characters without comma and quotation mark: \"2026.1\".";
        notes.push(line(head.version.span().start), message, remedy);
    }
    let unknown =
        |role: &&Spanned<String>| known.is_some_and(|known| !known.contains(role.get_ref()));
    for role in head.roles.iter().filter(unknown) {
        let message = format!("there is no role \"{}\"", role.get_ref());
        notes.push(
            line(role.span().start),
            message,
            "Use a role that schema.cedarschema declares.",
        );
    }
    let valid_for = parse_duration(head.valid_for.get_ref())
        .ok()
        .and_then(|span| SignedDuration::try_from(span).ok())
        .filter(|span| (SHORTEST_VALIDITY..=LONGEST_VALIDITY).contains(span));
    if valid_for.is_none() {
        let message = "`valid_for` cannot be used";
        notes.push(
            line(head.valid_for.span().start),
            message,
            "Write 1 to 3660 days: \"365d\".",
        );
    }
    let pass_mark = *head.pass_mark.get_ref();
    if !(1..=100).contains(&pass_mark) {
        let message = "`pass_mark` cannot be used";
        notes.push(
            line(head.pass_mark.span().start),
            message,
            "Write the percentage of right answers: 1 to 100.",
        );
    }
    (notes.findings.count() == before).then_some(())?;
    Some(Checked {
        title: head.title.into_inner(),
        version: head.version.into_inner(),
        roles: head
            .roles
            .iter()
            .map(|role| Role::new(role.get_ref()))
            .collect(),
        valid_for: valid_for?,
        pass_mark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "+++\ntitle = \"Privacy\"\nversion = \"1\"\nroles = [\"nurse\"]\nvalid_for = \"365d\"\npass_mark = 60\n+++\nRead *this* & that.\n\n## Why\n\n- one\n\n## Questions\n\n### May you?\n\n- [ ] Yes\n- [x] No\n\n> The law says so.\n\n### And <b>now</b>?\n\n- [x] Perhaps\n- [ ] Never\n";

    fn one(text: &str) -> (Option<Course>, Vec<String>) {
        let known = BTreeSet::from(["nurse".to_owned()]);
        let mut findings = Findings::default();
        let course = read(
            Path::new("training/privacy.md"),
            text,
            Some(&known),
            &mut findings,
        );
        let problems = if findings.is_empty() {
            Vec::new()
        } else {
            let error = findings.into_error(Path::new("policies"));
            error
                .problems()
                .iter()
                .map(|problem| {
                    let line = problem
                        .line
                        .map_or_else(String::new, |line| line.to_string());
                    format!("{line}: {}", problem.message)
                })
                .collect()
        };
        (course, problems)
    }

    #[test]
    fn a_course_is_read_as_its_author_wrote_it() {
        let (course, problems) = one(SOUND);
        assert!(problems.is_empty(), "{problems:?}");
        let course = course.unwrap();
        assert_eq!(
            (course.id(), course.title(), course.version()),
            ("privacy", "Privacy", "1")
        );
        assert_eq!(course.valid_for(), SignedDuration::from_hours(24 * 365));
        assert!(
            course.html().contains("Read <em>this</em> &amp; that."),
            "{}",
            course.html()
        );
        assert!(course.html().contains("<h2>Why</h2>") && course.html().contains("<li>one</li>"));
        let [first, second] = course.questions() else {
            panic!("{course:?}")
        };
        assert_eq!(
            (first.text.as_str(), first.right, first.choices.len()),
            ("May you?", 1, 2)
        );
        assert_eq!(first.why.as_deref(), Some("The law says so."));
        assert_eq!((second.text.as_str(), second.right), ("And <b>now</b>?", 0));
        assert_eq!(course.digest().len(), 64);
        let nurse = BTreeSet::from([Role::new("nurse")]);
        assert!(course.concerns(&nurse) && !course.concerns(&BTreeSet::new()));
    }

    #[test]
    fn right_answers_count_and_nothing_else() {
        let course = one(SOUND).0.unwrap();
        for (answers, score) in [
            (vec![Some(1), Some(0)], 100),
            (vec![Some(1), Some(1)], 50),
            (vec![Some(1)], 50),
            (vec![None, None], 0),
            (vec![Some(7), Some(usize::MAX), Some(0)], 0),
            (Vec::new(), 0),
        ] {
            assert_eq!(course.score(&answers), score, "{answers:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (from, to, problem) in [
            ("+++\ntitle", "title", "1: the course has no head"),
            (
                "version = \"1\"",
                "version = \"1,2\"",
                "3: `version` cannot be used",
            ),
            ("\"nurse\"", "\"nurze\"", "4: there is no role \"nurze\""),
            ("365d", "1h", "5: `valid_for` cannot be used"),
            ("365d", "always", "5: `valid_for` cannot be used"),
            ("= 60", "= 0", "6: `pass_mark` cannot be used"),
            ("pass_mark = 60", "pas_mark = 60", "6: unknown field"),
            ("Read *this*", "Read <script>", "8: raw HTML"),
            ("Read *this*", "![this](x.png)", "8: an image"),
            ("Read *this*", "[this](javascript:alert(1))", "8: a link"),
            ("## Why", "# Why", "10: a heading of the first level"),
            ("## Questions", "## Quiz", "8: the course has no questions"),
            ("- [ ] Yes\n", "", "16: the question has 1 choice"),
            (
                "- [ ] Yes",
                "- [x] Yes",
                "16: the question has 2 right answers",
            ),
            (
                "- [x] No",
                "- [ ] No",
                "16: the question has 0 right answers",
            ),
            ("- [ ] Yes", "- Yes", "18: the line is none"),
            ("### May you?\n", "", "17: the line stands before"),
        ] {
            let text = SOUND.replacen(from, to, 1);
            assert_ne!(text, SOUND, "{from}");
            let (course, problems) = one(&text);
            assert!(
                course.is_none() && problems.iter().any(|found| found.starts_with(problem)),
                "{problem}: {problems:?}"
            );
        }
    }
}
