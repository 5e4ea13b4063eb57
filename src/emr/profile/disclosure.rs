//! Where a request says to whom a copy of a chart goes, and what for: what an accounting of disclosures lists.

use std::collections::BTreeMap;

use super::Source;

/// Where one of these particulars stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::emr) enum Told {
    /// Nobody says it.
    #[default]
    Nothing,
    /// It is the same in every request of the route.
    Text(String),
    /// It is in the request: the first place that names something counts.
    Places(Vec<Source>),
}

/// `disclosure = { recipient = .., address = .., description = .., purpose = .., codes = { .. } }`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::emr) struct DisclosureRule {
    /// Who receives it.
    pub(in crate::emr) recipient: Told,
    /// Where they are.
    pub(in crate::emr) address: Told,
    /// What is handed over.
    pub(in crate::emr) description: Told,
    /// What for.
    pub(in crate::emr) purpose: Told,
    /// Which words of the EMR's stand for which code of HL7 v3 `PurposeOfUse`.
    pub(in crate::emr) codes: BTreeMap<String, String>,
}

impl DisclosureRule {
    /// Every place of a request that it looks at.
    pub(super) fn places(&self) -> impl Iterator<Item = &Source> {
        let all = [
            &self.recipient,
            &self.address,
            &self.description,
            &self.purpose,
        ];
        all.into_iter().flat_map(|told| match told {
            Told::Nothing | Told::Text(_) => [].iter(),
            Told::Places(places) => places.iter(),
        })
    }
}
