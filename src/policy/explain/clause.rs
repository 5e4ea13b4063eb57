//! Takes the conditions of a policy apart, and finds the clauses that kept it from applying.
//!
//! Read from the policy's JSON form (EST): `when` is split at `&&`, `unless` at `||`, and each part is asked by itself.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Value, json};

use super::Said;
use crate::policy::attribute::Attribute;
use crate::policy::scene::Scene;
use crate::request::situation::{UNKNOWN_AGE, Words};

/// The clauses that kept `policy` from applying, in words. Never empty: what cannot be taken apart is named whole.
pub(super) fn unmet(policy: &Policy, scene: &Scene, ask: impl Fn(&Policy) -> Said) -> Vec<String> {
    let form = policy.to_json().unwrap_or_default();
    let conditions = form.get("conditions").and_then(Value::as_array);
    let mut found = Vec::new();
    for condition in conditions.into_iter().flatten() {
        let Some(body) = condition.get("body") else {
            continue;
        };
        if condition.get("kind").is_some_and(|kind| kind == "unless") {
            for part in parts(body, "||") {
                if said(part, &ask) == Said::Applies {
                    found.push(in_words(part, scene, "holds, which lifts it"));
                }
            }
        } else {
            for part in parts(body, "&&") {
                match said(part, &ask) {
                    Said::Applies => {}
                    Said::Not => found.push(in_words(part, scene, "does not hold")),
                    // The clause before it is there so that this one is not reached.
                    Said::Failed => break,
                }
            }
        }
    }
    if found.is_empty() {
        found.push("its conditions do not hold together".to_owned());
    }
    found
}

/// An expression split at an operator, in order.
fn parts<'v>(body: &'v Value, operator: &str) -> Vec<&'v Value> {
    let sides = body
        .get(operator)
        .and_then(|sides| Some((sides.get("left")?, sides.get("right")?)));
    match sides {
        Some((left, right)) => {
            let mut all = parts(left, operator);
            all.extend(parts(right, operator));
            all
        }
        None => vec![body],
    }
}

/// The expression as a policy of its own, that applies where it is true.
fn alone(expression: &Value) -> Option<Policy> {
    let everything = json!({ "op": "All" });
    let form = json!({
        "effect": "permit",
        "principal": everything,
        "action": everything,
        "resource": everything,
        "conditions": [{ "kind": "when", "body": expression }],
    });
    Policy::from_json(Some(PolicyId::new("clause")), form).ok()
}

fn said(expression: &Value, ask: &impl Fn(&Policy) -> Said) -> Said {
    alone(expression).map_or(Said::Failed, |policy| ask(&policy))
}

fn in_words(expression: &Value, scene: &Scene, says: &str) -> String {
    let mut known = Vec::new();
    values(expression, scene, &mut known);
    known.sort_unstable();
    known.dedup();
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(": {}", known.join(", "))
    };
    format!("`{}` {says}{known}", text(expression))
}

/// The expression as its author wrote it. Cedar itself would print a comparison as the negation that it keeps.
fn text(expression: &Value) -> String {
    written(&as_written(expression))
}

fn written(expression: &Value) -> String {
    for operator in [">=", ">", "||", "&&"] {
        let sides = expression
            .get(operator)
            .and_then(|sides| Some((sides.get("left")?, sides.get("right")?)));
        if let Some((left, right)) = sides {
            let side = |side: &Value| {
                let text = written(side);
                if operator == "&&" && side.get("||").is_some() {
                    format!("({text})")
                } else {
                    text
                }
            };
            return format!("{} {operator} {}", side(left), side(right));
        }
    }
    let printed = alone(expression).and_then(|policy| policy.to_cedar());
    let inner = printed.as_deref().and_then(|printed| {
        let (_, rest) = printed.split_once("when {")?;
        let (inner, _) = rest.rsplit_once('}')?;
        Some(inner.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    inner.map_or_else(
        || "a clause".to_owned(),
        |inner| unwrapped(&inner).to_owned(),
    )
}

/// Cedar keeps `a >= b` as `!(a < b)`; a reader looks for what the author wrote.
fn as_written(expression: &Value) -> Value {
    match expression {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => expression.clone(),
        Value::Array(items) => items.iter().map(as_written).collect(),
        Value::Object(map) => {
            let negated = map.get("!").and_then(|not| not.get("arg"));
            for (kept, written) in [("<", ">="), ("<=", ">")] {
                if let Some(sides) = negated.and_then(|arg| arg.get(kept)) {
                    return json!({ written: as_written(sides) });
                }
            }
            let members = map.iter();
            members
                .map(|(key, value)| (key.clone(), as_written(value)))
                .collect()
        }
    }
}

/// Without one pair of parentheses around the whole.
fn unwrapped(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else {
        return text;
    };
    let mut depth = 0_i32;
    for c in inner.chars() {
        depth = match c {
            '(' => depth.saturating_add(1),
            ')' => depth.saturating_sub(1),
            _ => depth,
        };
        if depth < 0 {
            return text;
        }
    }
    inner
}

/// What the expression looks at, with what is there.
fn values(expression: &Value, scene: &Scene, found: &mut Vec<String>) {
    match expression {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(items) => items.iter().for_each(|item| values(item, scene, found)),
        Value::Object(map) => {
            for (operator, operands) in map {
                let of = |name: &str| {
                    operands.get("left").and_then(|left| left.get("Var")) == Some(&json!(name))
                };
                match operator.as_str() {
                    "." | "has" if of("context") => {
                        let name = operands.get("attr").and_then(Value::as_str);
                        found.extend(name.and_then(|name| attribute(name, scene)));
                    }
                    "Var" => found.extend(operands.as_str().and_then(|name| variable(name, scene))),
                    _other => values(operands, scene, found),
                }
            }
        }
    }
}

fn attribute(name: &str, scene: &Scene) -> Option<String> {
    let text = |value: &str| format!("{name} is \"{value}\"");
    Some(match name {
        "emr" => text(&scene.emr),
        "patient" => scene.patient.as_ref().map_or_else(
            || "there is no patient".to_owned(),
            |patient| text(&format!("{}|{}", patient.system, patient.id)),
        ),
        "mfa" => format!("mfa is {}", scene.mfa),
        "sensitivity" => text(&scene.sensitivity),
        "care_relation" => text(scene.care_relation.word()),
        "purpose" => text(scene.purpose.code()),
        "lockdown" => format!("lockdown is {}", scene.lockdown),
        "zone" => text(&scene.zone),
        "training" => text(scene.training.word()),
        "department" => scene
            .department
            .as_deref()
            .map_or_else(|| "there is no department".to_owned(), text),
        "break_glass" => format!("break_glass is {}", scene.break_glass),
        _ => return newer(name, scene),
    })
}

/// The attributes that not every schema has.
fn newer(name: &str, scene: &Scene) -> Option<String> {
    let situation = &scene.situation;
    let text = |value: &str| format!("{name} is \"{value}\"");
    let set = |words: &Words| {
        let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        format!("{name} is [{}]", words.join(", "))
    };
    let one = Attribute::ALL
        .iter()
        .copied()
        .find(|one| one.name() == name)?;
    Some(match one {
        Attribute::Shifts => set(&situation.shifts),
        Attribute::Wards => set(&situation.wards),
        Attribute::PatientWard => situation
            .patient_ward
            .as_deref()
            .map_or_else(|| "there is no patient_ward".to_owned(), text),
        Attribute::Device => text(situation.device.word()),
        Attribute::MfaStrength => text(situation.mfa_strength(scene.mfa)),
        Attribute::AuthAge => format!("auth_age is {}", situation.auth_age.unwrap_or(UNKNOWN_AGE)),
        Attribute::InformationTypes => set(&situation.information_types),
    })
}

fn variable(name: &str, scene: &Scene) -> Option<String> {
    match name {
        "principal" => {
            let roles: Vec<_> = scene.roles.iter().map(ToString::to_string).collect();
            Some(format!("the roles are {}", roles.join(", ")))
        }
        "resource" => Some(format!("the section is \"{}\"", scene.section)),
        "action" => Some(format!("the action is {}", scene.action.name())),
        _ => None,
    }
}
