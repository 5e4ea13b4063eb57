//! The people and patients that a bundle names.
//!
//! A policy knows people and patients by their names alone: the schema gives them no attributes, and people no ancestors
//! but their roles. So whoever is not named in a bundle is to it like anyone else who is not, and an answer for one is an
//! answer for all of them. That is what lets 200,000 patients share a few remembered answers.
//!
//! INVARIANT: a question holds at most one principal and one patient. A second value of either type in a question would
//! let a policy compare the two, and that comparison would have to become part of the key.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::rule::Rule;
use crate::request::PatientRef;

/// Whom a bundle names.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    principals: HashSet<String>,
    /// Numbers by numbering system.
    patients: HashMap<String, HashSet<String>>,
    /// Whether a policy could not be read, so that anyone may be named.
    anyone: bool,
}

impl Named {
    /// Whom these policies name.
    pub(super) fn of<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        let mut all = Self::default();
        for named in rules.map(Rule::named) {
            all.anyone |= named.anyone;
            all.principals.extend(named.principals.iter().cloned());
            for (system, numbers) in &named.patients {
                let known = all.patients.entry(system.clone()).or_default();
                known.extend(numbers.iter().cloned());
            }
        }
        all
    }

    /// Whom a policy of this JSON form names.
    pub(super) fn in_form(form: Option<&Value>) -> Self {
        let mut named = Self {
            anyone: form.is_none(),
            ..Self::default()
        };
        if let Some(form) = form {
            named.walk(form);
        }
        named
    }

    /// Whether a policy names this principal.
    pub(super) fn has_principal(&self, principal: &str) -> bool {
        self.anyone || self.principals.contains(principal)
    }

    /// Whether a policy names this patient.
    pub(super) fn has_patient(&self, patient: &PatientRef) -> bool {
        let numbers = self.patients.get(&patient.system);
        self.anyone || numbers.is_some_and(|numbers| numbers.contains(&patient.id))
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(map) => {
                let text = |key| map.get(key).and_then(Value::as_str);
                // In a scope `{"type", "id"}`, in an expression the same below `__entity`.
                if let (Some(kind), Some(id)) = (text("type"), text("id")) {
                    match kind {
                        "User" | "Service" => drop(self.principals.insert(id.to_owned())),
                        // A system is a URI, which has no `|`.
                        "Patient" => {
                            if let Some((system, number)) = id.split_once('|') {
                                let numbers = self.patients.entry(system.to_owned()).or_default();
                                numbers.insert(number.to_owned());
                            }
                        }
                        _other => {}
                    }
                }
                map.values().for_each(|value| self.walk(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{patient, small_with};

    #[test]
    fn whoever_stands_anywhere_in_a_policy_is_named() {
        let bundle = small_with(
            r#"@id("scope") @doc("x") permit (principal == User::"main|1", action, resource);
            @id("set") @doc("x") forbid (principal, action, resource)
            when { principal is User && [User::"main|2"].contains(principal) }
            unless { context has patient && (if context.mfa then context.patient == Patient::"urn:mrn|7|8" else false) };"#,
        );
        let named = Named::of(bundle.policies());
        for (who, is_named) in [("main|1", true), ("main|2", true), ("main|3", false)] {
            assert_eq!(named.has_principal(who), is_named, "{who}");
        }
        assert!(named.has_patient(&patient("7|8")));
        assert!(!named.has_patient(&patient("7")));
    }
}
