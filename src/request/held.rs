//! What was sent with a request that ends because of its session: it need not be lost.
//!
//! *Never*: a body in a record or a log.

use http::Method;
use jiff::Timestamp;

use super::Body;
use super::received::{Audience, Manner, Parts};
use crate::language::Language;
use crate::refusal::Refusal;

/// The rest of a refused request, unread.
#[derive(Debug)]
pub struct Remains {
    /// The head; the gateway's own cookies are taken out.
    pub parts: Parts,
    /// The body.
    pub body: Body,
}

impl Remains {
    /// Whether a refused request may be one that its user wants to send again: a form that a person sent, refused for
    /// nothing but the state of a session whose user is known.
    pub(super) fn are_worth_keeping(refusal: Refusal, manner: &Manner) -> bool {
        manner.method == Method::POST
            && manner.audience == Audience::Navigation
            && matches!(
                refusal,
                Refusal::SessionExpired
                    | Refusal::NotRenewed
                    | Refusal::ScreenLocked
                    | Refusal::StepUpRequired
                    | Refusal::ReasonRequired
            )
    }
}

/// What became of what was sent with a refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// It is kept for its user.
    Kept {
        /// Where they find it.
        location: String,
        /// Until when.
        until: Timestamp,
    },
    /// It is not kept.
    Lost(Lost),
    /// It was on its way to the EMR when the session ended: whether it was taken is not known.
    Unknown,
}

/// Why something is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Larger than is kept.
    TooLarge,
    /// It did not arrive, or not in time.
    Broken,
    /// An upload, or another kind of content that could not be shown.
    Kind,
    /// It is a sign-in to the EMR, with a password in it.
    SignIn,
    /// The user has as many kept as are kept for one.
    Many,
    /// There is no room.
    Full,
    /// The store did not take it.
    Store,
}

impl Lost {
    /// A stable word, for records and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Broken => "broken",
            Self::Kind => "kind",
            Self::SignIn => "sign-in",
            Self::Many => "many",
            Self::Full => "full",
            Self::Store => "store",
        }
    }

    /// What its user is told.
    #[must_use]
    pub const fn in_words(self, language: Language) -> &'static str {
        let words = &language.phrases().held;
        match self {
            Self::TooLarge => words.too_large,
            Self::Broken => words.broken,
            Self::Kind => words.kind,
            Self::SignIn => words.password,
            Self::Many => words.many,
            Self::Full | Self::Store => words.no_room,
        }
    }
}
