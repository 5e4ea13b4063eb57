//! What a policy mentions: the circumstances that it reads, and the values that it holds them against.
//!
//! Read from the policy's JSON form (EST). What is not recognised counts as read, so that a mistake here makes a
//! comparison say less, never something wrong.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::{Map, Value};

use crate::policy::attribute::Attribute;

/// What one policy mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    /// The attributes of the context that it reads.
    pub(super) attributes: BTreeSet<String>,
    /// Those of them whose answer a few values do not cover: matched by a pattern, or held against each other.
    pub(super) entangled: BTreeSet<String>,
    /// Whether it takes the context as a whole.
    pub(super) whole_context: bool,
    /// The parts of the cell that its answer can depend on.
    pub(super) parts: BTreeSet<Part>,
    /// The texts that an attribute is held against.
    pub(super) held: BTreeMap<String, BTreeSet<String>>,
    /// The texts written in it.
    pub(super) texts: BTreeSet<String>,
    /// The numbers written in it.
    pub(super) numbers: BTreeSet<i64>,
    /// The entities written in it.
    pub(super) entities: BTreeSet<EntityUid>,
}

/// A part of a cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Principal,
    Action,
    Section,
}

impl Mentions {
    /// Whether its answer can depend on this part of the cell.
    pub(super) fn looks_at(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    pub(super) fn of(policy: &Policy) -> Self {
        let mut mentions = Self::default();
        mentions.scope(policy);
        match policy
            .to_json()
            .ok()
            .as_ref()
            .map(|form| form.get("conditions"))
        {
            Some(Some(conditions)) => mentions.walk(conditions),
            Some(None) | None => mentions.whole_context = true,
        }
        mentions
    }

    fn scope(&mut self, policy: &Policy) {
        match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
            PrincipalConstraint::In(of)
            | PrincipalConstraint::Eq(of)
            | PrincipalConstraint::IsIn(_, of) => {
                self.parts.insert(Part::Principal);
                self.entities.insert(of);
            }
        }
        match policy.action_constraint() {
            ActionConstraint::Any => {}
            ActionConstraint::In(_) | ActionConstraint::Eq(_) => {
                self.parts.insert(Part::Action);
            }
        }
        match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
            ResourceConstraint::In(_)
            | ResourceConstraint::Eq(_)
            | ResourceConstraint::IsIn(..) => {
                self.parts.insert(Part::Section);
            }
        }
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(map) => self.expression(map),
        }
    }

    fn expression(&mut self, map: &Map<String, Value>) {
        for (operator, operands) in map {
            match operator.as_str() {
                "Var" => self.variable(operands),
                "Value" => self.literal(operands),
                "." | "has" if is_context(operands.get("left")) => {
                    match operands.get("attr").and_then(Value::as_str) {
                        Some(attribute) => {
                            self.attributes.insert(attribute.to_owned());
                        }
                        None => self.whole_context = true,
                    }
                }
                "like" => {
                    self.entangled.extend(read_in(operands));
                    self.walk(operands);
                }
                "==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "containsAll"
                | "containsAny" | "in" => {
                    let side = |name: &str| operands.get(name).map(read_in).unwrap_or_default();
                    let (left, right) = (side("left"), side("right"));
                    let both: BTreeSet<String> = left.union(&right).cloned().collect();
                    let texts = texts_in(operands);
                    for attribute in &both {
                        let held = self.held.entry(attribute.clone()).or_default();
                        held.extend(texts.iter().cloned());
                    }
                    // The values of these two are made for each other.
                    let wards = [Attribute::PatientWard, Attribute::Wards].map(Attribute::name);
                    let is_of_wards = both.iter().eq(wards);
                    if !left.is_empty() && !right.is_empty() && !is_of_wards {
                        self.entangled.extend(both);
                    }
                    self.walk(operands);
                }
                _other => self.walk(operands),
            }
        }
    }

    fn variable(&mut self, name: &Value) {
        let part = match name.as_str() {
            Some("principal") => Part::Principal,
            Some("action") => Part::Action,
            Some("resource") => Part::Section,
            Some(_) | None => {
                self.whole_context = true;
                return;
            }
        };
        self.parts.insert(part);
    }

    fn literal(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.texts.insert(text.clone());
            }
            Value::Number(number) => self.numbers.extend(number.as_i64()),
            Value::Array(items) => items.iter().for_each(|item| self.literal(item)),
            Value::Object(map) => match map.get("__entity") {
                Some(entity) => self
                    .entities
                    .extend(EntityUid::from_json(entity.clone()).ok()),
                None => map.values().for_each(|value| self.literal(value)),
            },
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// The attributes of the context that an expression reads.
fn read_in(expression: &Value) -> BTreeSet<String> {
    let mut within = Mentions::default();
    within.walk(expression);
    within.attributes
}

/// The texts that an expression holds.
fn texts_in(expression: &Value) -> BTreeSet<String> {
    let mut within = Mentions::default();
    within.walk(expression);
    within.texts
}

fn is_context(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("Var"))
        .and_then(Value::as_str)
        == Some("context")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentions(conditions: &str) -> Mentions {
        let text = format!("permit (principal, action, resource) {conditions};");
        Mentions::of(&Policy::parse(None, text).unwrap())
    }

    #[test]
    fn what_is_read_and_what_it_is_held_against() {
        let found = mentions(
            r#"when { ["assigned", "unknown"].contains(context.care_relation) && context.lockdown >= 3 }
               unless { context has patient && context.patient == Patient::"mrn|1" }"#,
        );
        let names: Vec<_> = found.attributes.iter().map(String::as_str).collect();
        assert_eq!(names, ["care_relation", "lockdown", "patient"]);
        assert!(found.texts.contains("assigned") && found.texts.contains("unknown"));
        assert!(found.numbers.contains(&3));
        assert_eq!(found.entities.len(), 1);
        assert!(found.entangled.is_empty() && !found.whole_context && found.parts.is_empty());
    }

    #[test]
    fn what_a_few_values_do_not_cover_is_known() {
        assert!(
            mentions(r#"when { context.zone like "ward-*" }"#)
                .entangled
                .contains("zone")
        );
        let held = mentions("when { context.zone == context.purpose }");
        assert_eq!(held.entangled.len(), 2);
        assert!(mentions("when { context == context }").whole_context);
        assert!(mentions(r#"when { resource in [Section::"notes"] }"#).looks_at(Part::Section));
        assert!(mentions(r#"when { principal in Role::"nurse" }"#).looks_at(Part::Principal));
    }
}
