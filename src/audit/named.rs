//! The names by which records speak of patients, and whether one is sought.

use crate::request::PatientRef;

/// What stands between a numbering system and an identifier. No URI has it.
pub(super) const BETWEEN: char = '|';

/// A name of a patient in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'e> {
    /// A system's number.
    Numbered {
        /// The numbering system.
        system: &'e str,
        /// The identifier in it.
        id: &'e str,
    },
    /// What an event states: `identifier`, or `system|identifier`.
    Stated(&'e str),
}

impl<'e> Named<'e> {
    /// The name of a patient of a request.
    #[must_use]
    pub fn of(patient: &'e PatientRef) -> Self {
        Self::Numbered {
            system: &patient.system,
            id: &patient.id,
        }
    }

    /// Whether it is this one: an identifier of any system, or `system|identifier`. Where one of both says no system, that
    /// is not what tells them apart.
    #[must_use]
    pub fn is(self, sought: &str) -> bool {
        match self {
            Self::Numbered { system, id } => sought == id || within(sought, id) == Some(system),
            Self::Stated(stated) => {
                sought == stated
                    || within(sought, stated).is_some()
                    || within(stated, sought).is_some()
            }
        }
    }
}

/// The system in `system|identifier`, if that is the identifier.
fn within<'t>(text: &'t str, identifier: &str) -> Option<&'t str> {
    text.strip_suffix(identifier)?.strip_suffix(BETWEEN)
}

/// What could be the identifier in a text that may begin with a system.
pub(super) fn tails(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BETWEEN)
        .filter_map(|(at, between)| text.get(at.saturating_add(between.len())..))
}
