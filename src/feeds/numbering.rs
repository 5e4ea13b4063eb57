//! Which numbering systems the identifiers of HL7 v2 messages are of.

use std::collections::BTreeMap;

/// Numbering systems by assigning authority.
#[derive(Debug, Clone)]
pub(super) struct Numbering {
    /// The numbering system of each assigning authority.
    pub(super) authorities: BTreeMap<String, String>,
    /// That of identifiers without an authority, or of all where no authority is listed.
    pub(super) system: String,
}

impl Numbering {
    /// Identifiers with their assigning authorities, as `(system, identifier)`: those whose system is known.
    pub(super) fn known(&self, identifiers: Vec<(String, String)>) -> Vec<(String, String)> {
        let known = identifiers.into_iter().filter_map(|(id, authority)| {
            let system = self.authorities.get(&authority);
            let any = (authority.is_empty() || self.authorities.is_empty()).then_some(&self.system);
            Some((system.or(any)?.clone(), id))
        });
        known.collect()
    }
}
