//! Whose charts a broken glass opens.

use std::sync::Arc;

use super::PatientRef;

/// Whose charts a broken glass opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// One patient's.
    Patient {
        /// The numbering system.
        system: String,
        /// The number in it.
        number: String,
    },
    /// Those of whoever lies on a ward at the time of each request: a mass-casualty event is declared there.
    Ward(Arc<str>),
}

impl Reach {
    /// The chart of `patient`.
    #[must_use]
    pub fn of(patient: &PatientRef) -> Self {
        Self::Patient {
            system: patient.system.clone(),
            number: patient.id.clone(),
        }
    }

    /// Whether it holds the chart of `patient`, who lies on `ward`, where that is known.
    ///
    /// SECURITY: a patient whose ward nobody states lies on none.
    #[must_use]
    pub fn holds(&self, patient: &PatientRef, ward: Option<&str>) -> bool {
        match self {
            Self::Patient { system, number } => *system == patient.system && *number == patient.id,
            Self::Ward(name) => ward == Some(&**name),
        }
    }

    /// Whether it is one patient's chart.
    #[must_use]
    pub const fn is_one_chart(&self) -> bool {
        match self {
            Self::Patient { .. } => true,
            Self::Ward(_) => false,
        }
    }
}
