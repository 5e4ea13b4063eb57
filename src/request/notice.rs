//! What people have to be told on the EMR's own pages while something out of the ordinary is in force.
//!
//! It follows from the circumstances of a decision, and is shown by [`crate::respond`].

use jiff::Timestamp;

/// Something that the reader of a page has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The page is of a chart that a broken glass opened.
    BreakGlass {
        /// The patient, as the EMR numbers them.
        patient: String,
        /// When the grant ends.
        until: Timestamp,
    },
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
            Self::Lockdown { .. } => "lockdown",
            Self::TrainingDue { .. } => "training-due",
            Self::TrainingLapsed { .. } => "training-lapsed",
        }
    }
}
