//! What a policy's answer can depend on beyond roles and the plain circumstances: who exactly, which patient.
//!
//! Read from the policy's JSON form (EST). What is not recognised counts as a dependency, so that a mistake here
//! costs speed, never a wrong answer.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy, PrincipalConstraint};
use serde_json::{Map, Value};

use super::attribute::Attributes;
use super::vocabulary::ROLE;

/// How much of the patient an answer can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatientRead {
    /// Nothing.
    Nothing,
    /// Whether the request names one.
    Presence,
    /// Which one it is.
    Identity,
}

/// How much of the principal an answer can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalRead {
    /// Kind and roles.
    Roles,
    /// Which one it is.
    Identity,
}

/// What a policy's answer, or that of a set of policies, can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// Of the patient.
    pub patient: PatientRead,
    /// Of the principal.
    pub principal: PrincipalRead,
    /// Of the attributes that not every schema has.
    pub attributes: Attributes,
}

impl Reads {
    /// The least that anything reads.
    pub const LEAST: Self = Self {
        patient: PatientRead::Nothing,
        principal: PrincipalRead::Roles,
        attributes: Attributes::NONE,
    };

    /// The most: what is assumed of a policy that cannot be read.
    pub const MOST: Self = Self {
        patient: PatientRead::Identity,
        principal: PrincipalRead::Identity,
        attributes: Attributes::ALL,
    };

    /// What `policy`, whose JSON form this is, reads.
    #[must_use]
    pub fn of(policy: &Policy, form: Option<&Value>) -> Self {
        let Some(conditions) = form.and_then(|form| form.get("conditions")) else {
            return Self::MOST;
        };
        let mut reads = Self::LEAST;
        reads.scope(&policy.principal_constraint());
        reads.walk(conditions);
        reads
    }

    /// What either reads.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            patient: self.patient.max(other.patient),
            principal: self.principal.max(other.principal),
            attributes: self.attributes.union(other.attributes),
        }
    }

    fn scope(&mut self, constraint: &PrincipalConstraint) {
        match constraint {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
            PrincipalConstraint::In(of) | PrincipalConstraint::IsIn(_, of) => {
                if !is_role(of) {
                    self.principal = PrincipalRead::Identity;
                }
            }
            PrincipalConstraint::Eq(_) => self.principal = PrincipalRead::Identity,
        }
    }

    fn patient(&mut self, at_least: PatientRead) {
        self.patient = self.patient.max(at_least);
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
                "in" if is_variable(operands.get("left"), "principal")
                    && operands.get("right").is_some_and(names_roles) => {}
                "is" if is_variable(operands.get("left"), "principal") => {
                    if let Some(of) = operands.get("in")
                        && !names_roles(of)
                    {
                        self.principal = PrincipalRead::Identity;
                        self.walk(of);
                    }
                }
                "." if is_variable(operands.get("left"), "context") => {
                    self.attribute(operands.get("attr"), PatientRead::Identity);
                }
                "has" if is_variable(operands.get("left"), "context") => {
                    self.attribute(operands.get("attr"), PatientRead::Presence);
                }
                _other => self.walk(operands),
            }
        }
    }

    fn attribute(&mut self, name: Option<&Value>, read: PatientRead) {
        match name.and_then(Value::as_str) {
            Some("patient") => self.patient(read),
            Some(other) => self.attributes = self.attributes.union(Attributes::named(other)),
            None => *self = Self::MOST,
        }
    }

    fn variable(&mut self, name: &Value) {
        match name.as_str() {
            Some("action" | "resource") => {}
            Some("principal") => self.principal = PrincipalRead::Identity,
            Some("context") => {
                self.patient(PatientRead::Identity);
                self.attributes = Attributes::ALL;
            }
            Some(_) | None => *self = Self::MOST,
        }
    }
}

/// The shifts that a policy asks for by name: `context.shifts.contains("day")`, and those of `containsAny` and
/// `containsAll`.
pub(super) fn shifts(form: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(conditions) = form.get("conditions") {
        named_shifts(conditions, &mut names);
    }
    names
}

fn named_shifts(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(items) => items.iter().for_each(|item| named_shifts(item, names)),
        Value::Object(map) => {
            for (operator, operands) in map {
                if operator.starts_with("contains")
                    && operands.get("left").is_some_and(is_shifts)
                    && let Some(asked) = operands.get("right")
                {
                    let listed = asked.get("Set").and_then(Value::as_array);
                    let one = std::slice::from_ref(asked);
                    let asked = listed.map_or(one, Vec::as_slice).iter();
                    names.extend(
                        asked.filter_map(|item| Some(item.get("Value")?.as_str()?.to_owned())),
                    );
                }
                named_shifts(operands, names);
            }
        }
    }
}

fn is_shifts(value: &Value) -> bool {
    value.get(".").is_some_and(|access| {
        is_variable(access.get("left"), "context")
            && access.get("attr").and_then(Value::as_str) == Some("shifts")
    })
}

/// Whether an entity is a role.
pub(super) fn is_role(entity: &EntityUid) -> bool {
    entity.type_name().to_string() == ROLE
}

fn is_variable(value: Option<&Value>, name: &str) -> bool {
    value
        .and_then(|value| value.get("Var"))
        .and_then(Value::as_str)
        == Some(name)
}

/// Whether an expression is one role, or a set of roles, written out.
fn names_roles(value: &Value) -> bool {
    let one = |value: &Value| {
        value
            .get("Value")
            .and_then(|value| value.get("__entity"))
            .and_then(|entity| entity.get("type"))
            .and_then(Value::as_str)
            == Some(ROLE)
    };
    one(value)
        || value
            .get("Set")
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().all(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(conditions: &str) -> Reads {
        scoped("principal", conditions)
    }

    fn scoped(principal: &str, conditions: &str) -> Reads {
        let text = format!("permit ({principal}, action, resource) {conditions};");
        let policy = Policy::parse(None, text).expect("a policy");
        Reads::of(&policy, policy.to_json().ok().as_ref())
    }

    #[test]
    fn roles_and_kinds_are_no_identity() {
        for conditions in [
            "",
            r"when { context.mfa }",
            r#"when { principal in Role::"nurse" }"#,
            r#"when { !(principal in [Role::"nurse", Role::"physician"]) }"#,
            r"when { principal is User }",
            r#"unless { principal is User in Role::"nurse" && context.lockdown > 2 }"#,
            r#"when { resource in [Section::"notes"] && action == Action::"Read" }"#,
        ] {
            assert_eq!(reads(conditions), Reads::LEAST, "{conditions}");
        }
        for scope in [
            r#"principal in Role::"nurse""#,
            "principal is User",
            r#"principal is User in Role::"nurse""#,
        ] {
            assert_eq!(scoped(scope, ""), Reads::LEAST, "{scope}");
        }
    }

    #[test]
    fn anything_else_of_the_principal_is_identity() {
        for conditions in [
            r#"when { principal == User::"main|1" }"#,
            r#"when { principal in User::"main|1" }"#,
            r#"when { principal in [Role::"nurse", User::"main|1"] }"#,
            r#"when { [principal].contains(User::"main|1") }"#,
            r#"when { {"is": principal} == {"is": User::"main|1"} }"#,
            r#"when { principal has name && principal.name == "x" }"#,
            r#"when { principal is User in User::"main|1" }"#,
            r#"when { Role::"nurse" in principal }"#,
            r#"when { if principal == User::"a" then true else false }"#,
        ] {
            assert_eq!(
                reads(conditions).principal,
                PrincipalRead::Identity,
                "{conditions}"
            );
        }
        for scope in [
            r#"principal == User::"main|1""#,
            r#"principal in User::"main|1""#,
            r#"principal is User in User::"main|1""#,
        ] {
            assert_eq!(
                scoped(scope, "").principal,
                PrincipalRead::Identity,
                "{scope}"
            );
        }
    }

    #[test]
    fn an_attribute_is_read_where_it_is_named_or_could_be() {
        use crate::policy::attribute::Attribute;
        let shifts = reads(r#"when { context.shifts.contains("day") }"#).attributes;
        assert_eq!(shifts, Attributes::NONE.with(Attribute::Shifts));
        let ward =
            r"when { context has patient_ward && context.wards.contains(context.patient_ward) }";
        let both = Attributes::NONE
            .with(Attribute::Wards)
            .with(Attribute::PatientWard);
        assert_eq!(reads(ward).attributes, both);
        assert_eq!(
            reads("when { context == context }").attributes,
            Attributes::ALL
        );
        assert_eq!(reads("when { context.mfa }").attributes, Attributes::NONE);
    }

    #[test]
    fn the_patient_is_read_by_presence_or_identity() {
        let patient = |conditions: &str| reads(conditions).patient;
        assert_eq!(
            patient("when { context has patient }"),
            PatientRead::Presence
        );
        for conditions in [
            r#"when { context has patient && context.patient == Patient::"mrn|1" }"#,
            r"when { context == context }",
            r"when { [context].contains(context) }",
            r"when { {patient: context}.patient has mfa }",
        ] {
            assert_eq!(patient(conditions), PatientRead::Identity, "{conditions}");
        }
    }
}
