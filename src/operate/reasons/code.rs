//! Why somebody needs what they open: codes of HL7 v3 `PurposeOfUse`.

/// A purpose that can be stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Treatment.
    Treatment,
    /// Care management.
    CareManagement,
    /// What the patient asked for.
    PatientRequest,
    /// Payment.
    Payment,
    /// Health care operations.
    Operations,
    /// Quality improvement.
    Quality,
    /// Training.
    Training,
    /// Legal.
    Legal,
    /// Public health.
    PublicHealth,
    /// Research.
    Research,
    /// Administration of the system.
    SystemAdministration,
}

impl Code {
    /// Every purpose, in the order of the form.
    pub const ALL: &'static [Self] = &[
        Self::Treatment,
        Self::CareManagement,
        Self::PatientRequest,
        Self::Training,
        Self::Quality,
        Self::Operations,
        Self::Payment,
        Self::Legal,
        Self::PublicHealth,
        Self::Research,
        Self::SystemAdministration,
    ];

    /// The code on record.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::CareManagement => "CAREMGT",
            Self::PatientRequest => "PATRQT",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::Quality => "HQUALIMP",
            Self::Training => "TRAIN",
            Self::Legal => "HLEGAL",
            Self::PublicHealth => "PUBHLTH",
            Self::Research => "HRESCH",
            Self::SystemAdministration => "HSYSADMIN",
        }
    }

    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Treatment => "Treatment",
            Self::CareManagement => "Coordination of care",
            Self::PatientRequest => "The patient asked for it",
            Self::Payment => "Billing",
            Self::Operations => "Running the hospital",
            Self::Quality => "Quality improvement",
            Self::Training => "Teaching and training",
            Self::Legal => "A legal matter",
            Self::PublicHealth => "Public health",
            Self::Research => "Research",
            Self::SystemAdministration => "Work on the system itself",
        }
    }

    /// Whether this is its code.
    #[must_use]
    pub fn is(self, code: &str) -> bool {
        self.code() == code
    }

    /// The purpose with this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.is(code))
    }
}
