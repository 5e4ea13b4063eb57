//! What kind of place a client works at.

/// Whether several people use the client's workstation, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Workplace {
    /// One person's, as far as is known.
    #[default]
    Personal,
    /// Several people's.
    Shared,
}

impl Workplace {
    /// A stable word for it, in metrics and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Shared => "shared",
        }
    }
}
