//! What a policy is about: the sections, and the one patient, outside of which it is never satisfied and never fails.
//!
//! Read from the scope and from the terms with which the first `when` begins: `resource in [Section::"…", …]`,
//! `resource == Section::"…"`, `context has patient && context.patient == Patient::"…"`. Cedar evaluates a conjunction
//! from the left and stops at the first term that is false; none of these terms can fail. So a policy that is about
//! something else can be left out of an evaluation without a change of the answer, and what stands behind the first term
//! that is none of these is not looked at.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy, ResourceConstraint};
use serde_json::Value;

use super::vocabulary::SECTION;
use crate::request::PatientRef;

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct About {
    /// These sections; nothing where it may be any.
    sections: Option<BTreeSet<String>>,
    /// This patient by their name in policies; nothing where it may be any, or none.
    patient: Option<String>,
}

impl About {
    /// What `policy`, whose JSON form this is, is about.
    pub(super) fn of(policy: &Policy, form: Option<&Value>) -> Self {
        let mut about = Self::default();
        match policy.resource_constraint() {
            ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => about.scope(&one),
            ResourceConstraint::Any | ResourceConstraint::Is(_) | ResourceConstraint::IsIn(..) => {}
        }
        if let Some(form) = form {
            about.begins_with(form);
        }
        about
    }

    /// Whether it is about this section, or may be.
    pub(super) fn fits_section(&self, section: &str) -> bool {
        let sections = self.sections.as_ref();
        sections.is_none_or(|sections| sections.contains(section))
    }

    /// The one patient whom it is about.
    pub(super) fn patient(&self) -> Option<&str> {
        self.patient.as_deref()
    }

    fn scope(&mut self, one: &EntityUid) {
        // Sections have no ancestors: a section is in itself alone.
        if one.type_name().to_string() == SECTION {
            self.only([one.id().unescaped().to_owned()].into());
        }
    }

    fn only(&mut self, sections: BTreeSet<String>) {
        self.sections = Some(match self.sections.take() {
            Some(before) => before.intersection(&sections).cloned().collect(),
            None => sections,
        });
    }

    fn begins_with(&mut self, form: &Value) {
        let conditions = form.get("conditions").and_then(Value::as_array);
        let Some(first) = conditions.and_then(|all| all.first()) else {
            return;
        };
        if first.get("kind").and_then(Value::as_str) != Some("when") {
            return;
        }
        let mut terms = Vec::new();
        if let Some(body) = first.get("body") {
            conjuncts(body, &mut terms);
        }
        for term in known(&terms) {
            match term {
                Term::Sections(sections) => self.only(sections),
                Term::Presence => {}
                Term::Patient(patient) => drop(self.patient.get_or_insert(patient)),
            }
        }
    }

    /// Which of the terms of a first `when` are true wherever the policy is about the section.
    pub(super) fn decided_among(terms: &[&Value]) -> Vec<bool> {
        let mut decided: Vec<bool> = known(terms)
            .map(|term| matches!(term, Term::Sections(_)))
            .collect();
        decided.resize(terms.len(), false);
        decided
    }
}

/// A term that says what a policy is about.
enum Term {
    Sections(BTreeSet<String>),
    Presence,
    Patient(String),
}

/// The terms with which a conjunction begins that say what it is about.
fn known(terms: &[&Value]) -> impl Iterator<Item = Term> {
    let mut is_present = false;
    terms.iter().map_while(move |term| {
        if let Some(sections) = sections_of(term) {
            Some(Term::Sections(sections))
        } else if says_present(term) {
            is_present = true;
            Some(Term::Presence)
        } else {
            let patient = patient_of(term).filter(|_| is_present);
            patient.map(Term::Patient)
        }
    })
}

/// A patient's name in policies.
pub(super) fn name_of(patient: &PatientRef) -> String {
    format!("{}|{}", patient.system, patient.id)
}

/// The terms of a conjunction in the order in which they are evaluated.
pub(super) fn conjuncts<'v>(value: &'v Value, terms: &mut Vec<&'v Value>) {
    match value.get("&&") {
        Some(both) => {
            for side in ["left", "right"] {
                if let Some(side) = both.get(side) {
                    conjuncts(side, terms);
                }
            }
        }
        None => terms.push(value),
    }
}

/// The sections of `resource in […]` and `resource == …`.
fn sections_of(term: &Value) -> Option<BTreeSet<String>> {
    let compared = term.get("in").or_else(|| term.get("=="))?;
    is_variable(compared.get("left")?, "resource").then_some(())?;
    let right = compared.get("right")?;
    match right.get("Set") {
        // A set is never equal to a section, whatever is in it.
        Some(set) if term.get("in").is_some() => {
            let items = set.as_array()?.iter();
            items.map(|item| literal(item, SECTION)).collect()
        }
        Some(_) => None,
        None => Some([literal(right, SECTION)?].into()),
    }
}

fn says_present(term: &Value) -> bool {
    term.get("has").is_some_and(|has| {
        has.get("left")
            .is_some_and(|left| is_variable(left, "context"))
            && has.get("attr").and_then(Value::as_str) == Some("patient")
    })
}

/// The patient of `context.patient == Patient::"…"`.
fn patient_of(term: &Value) -> Option<String> {
    let compared = term.get("==")?;
    let attribute = compared.get("left")?.get(".")?;
    let is_patient = is_variable(attribute.get("left")?, "context")
        && attribute.get("attr")?.as_str()? == "patient";
    is_patient.then_some(())?;
    literal(compared.get("right")?, "Patient")
}

fn is_variable(value: &Value, name: &str) -> bool {
    value.get("Var").and_then(Value::as_str) == Some(name)
}

/// The id of an entity that is written out, if it is of this type.
fn literal(value: &Value, kind: &str) -> Option<String> {
    let entity = value.get("Value")?.get("__entity")?;
    let id = entity.get("id")?.as_str()?;
    (entity.get("type")?.as_str()? == kind).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(resource: &str, conditions: &str) -> (Option<Vec<String>>, Option<String>) {
        let text = format!("forbid (principal, action, {resource}) {conditions};");
        let policy = Policy::parse(None, text).expect("a policy");
        let about = About::of(&policy, policy.to_json().ok().as_ref());
        let sections = about.sections.map(|all| all.into_iter().collect());
        (sections, about.patient)
    }

    #[test]
    fn sections_are_known_from_the_scope_and_from_the_first_terms() {
        let only = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (resource, conditions, sections) in [
            ("resource", "", None),
            (r#"resource == Section::"notes""#, "", only(&["notes"])),
            (r#"resource in Section::"notes""#, "", only(&["notes"])),
            (
                "resource",
                r#"when { resource in [Section::"notes", Section::"log"] && context.mfa }"#,
                only(&["log", "notes"]),
            ),
            (
                "resource",
                r#"when { resource == Section::"log" }"#,
                only(&["log"]),
            ),
            (
                r#"resource == Section::"notes""#,
                r#"when { resource in [Section::"log"] }"#,
                only(&[]),
            ),
            (
                "resource",
                r#"when { context.mfa && resource in [Section::"log"] }"#,
                None,
            ),
            (
                "resource",
                r#"when { resource in [Section::"log"] || context.mfa }"#,
                None,
            ),
            (
                "resource",
                r#"unless { resource in [Section::"log"] }"#,
                None,
            ),
            (
                "resource",
                r#"when { !(resource in [Section::"log"]) }"#,
                None,
            ),
            (
                "resource",
                r#"when { resource in [Section::"log", Role::"nurse"] }"#,
                None,
            ),
            (
                "resource",
                r#"when { context.mfa } when { resource in [Section::"log"] }"#,
                None,
            ),
        ] {
            assert_eq!(
                about(resource, conditions).0,
                sections,
                "{resource} {conditions}"
            );
        }
    }

    #[test]
    fn a_policy_about_one_patient_is_known_only_where_nothing_can_fail_before() {
        let one = r#"context has patient && context.patient == Patient::"mrn|1""#;
        for conditions in [
            format!("when {{ {one} }}"),
            format!("when {{ {one} && context.mfa }}"),
            format!("when {{ {one} }} unless {{ context.mfa }}"),
            format!("when {{ resource == Section::\"log\" && {one} }}"),
        ] {
            let found = about("resource", &conditions).1;
            assert_eq!(found.as_deref(), Some("mrn|1"), "{conditions}");
        }
        for conditions in [
            format!("unless {{ {one} }}"),
            format!("when {{ context.lockdown + 1 > 0 && {one} }}"),
            format!("when {{ context.mfa }} when {{ {one} }}"),
            format!("when {{ ({one}) || context.mfa }}"),
            r#"when { context has patient && context.patient != Patient::"mrn|1" }"#.to_owned(),
            r#"when { context.patient == Patient::"mrn|1" }"#.to_owned(),
            r#"when { context has department && context.patient == Patient::"mrn|1" }"#.to_owned(),
        ] {
            assert_eq!(about("resource", &conditions).1, None, "{conditions}");
        }
    }
}
