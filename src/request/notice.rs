//! What people have to be told on the EMR's own pages while something out of the ordinary is in force.
//!
//! It follows from the circumstances of a decision, and is shown by [`crate::respond`].

use std::sync::Arc;

use jiff::Timestamp;

use super::Reach;
use super::browser::Browser;
use crate::language::Language;

/// Something that the reader of a page has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The page is of a chart that a broken glass opened.
    BreakGlass {
        /// Whose charts it opens.
        reach: Reach,
        /// When the grant ends.
        until: Timestamp,
    },
    /// What is shown may be looked at only (`@readonly`).
    ReadOnly,
    /// A lockdown is in force for this request.
    Lockdown {
        /// 1 to 4.
        level: u8,
    },
    /// A course has to be attested.
    TrainingDue {
        /// Until when.
        by: Timestamp,
    },
    /// The browser is older than is accepted.
    OldBrowser {
        /// What it says it is.
        browser: Browser,
        /// What would do, in words.
        accepted: Arc<str>,
    },
    /// The browser does not say what it is.
    UnknownBrowser {
        /// What would do, in words.
        accepted: Arc<str>,
    },
    /// The reader signed in a moment ago.
    SignedIn {
        /// The sign-in before, and from where; none where there was none.
        last: Option<(Timestamp, Arc<str>)>,
        /// Sign-ins since then that the provider vouched for and that were refused here.
        failed: u32,
    },
    /// The workstation is one that several people use.
    SharedWorkstation {
        /// Who is signed in.
        name: Arc<str>,
    },
    /// A course is overdue.
    TrainingLapsed {
        /// Since when.
        since: Timestamp,
    },
}

impl Notice {
    /// A stable word for it, in pages and metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::BreakGlass { .. } => "break-glass",
            Self::ReadOnly => "read-only",
            Self::Lockdown { .. } => "lockdown",
            Self::TrainingDue { .. } => "training-due",
            Self::TrainingLapsed { .. } => "training-lapsed",
            Self::SignedIn { .. } => "signed-in",
            Self::SharedWorkstation { .. } => "shared-workstation",
            Self::OldBrowser { .. } => "old-browser",
            Self::UnknownBrowser { .. } => "unknown-browser",
        }
    }

    /// What is said of a browser, where that is what it is about; it goes on after "Your browser:".
    #[must_use]
    pub fn of_browser(&self, language: Language) -> Option<String> {
        let words = &language.phrases().browser;
        let (before, after) = words.accepted_are;
        match self {
            Self::OldBrowser { browser, accepted } => Some(format!(
                "{browser} {} {before}{accepted}{after}",
                words.too_old
            )),
            Self::UnknownBrowser { accepted } => {
                Some(format!("{} {before}{accepted}{after}", words.unknown))
            }
            Self::BreakGlass { .. }
            | Self::ReadOnly
            | Self::Lockdown { .. }
            | Self::TrainingDue { .. }
            | Self::SignedIn { .. }
            | Self::SharedWorkstation { .. }
            | Self::TrainingLapsed { .. } => None,
        }
    }

    /// The browser as it is put on record, where that is what it is about.
    #[must_use]
    pub fn recorded_browser(&self) -> Option<String> {
        match self {
            Self::OldBrowser { browser, .. } => {
                Some(format!("{} {}", browser.family.word(), browser.version))
            }
            Self::UnknownBrowser { .. } => Some("unknown".to_owned()),
            Self::BreakGlass { .. }
            | Self::ReadOnly
            | Self::Lockdown { .. }
            | Self::TrainingDue { .. }
            | Self::SignedIn { .. }
            | Self::SharedWorkstation { .. }
            | Self::TrainingLapsed { .. } => None,
        }
    }
}
