//! What a page carries that its permit marks: who opened it, when, and under which request id.

use jiff::Timestamp;

/// What a page says of who opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Marks {
    /// Nothing.
    #[default]
    None,
    /// It carries a watermark: `@watermark`.
    Watermark,
}

/// What is written over a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// Whom the page was shown to.
    pub user: String,
    /// When.
    pub at: Timestamp,
    /// The request, as the trail names it.
    pub request: String,
}

/// What became of the watermark of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It stands on the page.
    Carried,
    /// The answer is for a script, which makes a part of a page of it; the page itself is marked.
    Part,
    /// There is nothing to look at: a redirect, or an answer without a body.
    Empty,
    /// A person would look at it, and it cannot carry one: no HTML page, compressed, or of a character set that is not known.
    Impossible,
}

impl Marking {
    /// The word on records and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Part => "part",
            Self::Empty => "empty",
            Self::Impossible => "impossible",
        }
    }
}
