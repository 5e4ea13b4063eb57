//! A policy without what is decided already wherever a slice holds it.
//!
//! A slice holds a policy only if its scope matches and the section is one that it is about ([`About`]), so those parts of
//! it are true there, and Cedar need not evaluate them again for each question: half of the cost of an ordinary permit.
//!
//! INVARIANT: what is left out is what `Compiled::cut` decides by, and cannot fail. `tests/evaluation.rs` holds slices to
//! the whole bundle.

use cedar_policy::{Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::{Value, json};

use super::about::{About, conjuncts};
use super::reads::is_role;
use super::vocabulary::SECTION;

/// `policy`, whose JSON form this is, as slices hold it; itself where nothing can be left out.
pub(super) fn of(policy: &Policy, form: Option<&Value>) -> Policy {
    let lean = form.and_then(|form| reduced(policy, form.clone()));
    // From its text it is small to copy.
    let lean = lean
        .and_then(|form| Policy::from_json(Some(policy.id().clone()), form).ok())
        .and_then(|lean| lean.to_cedar())
        .and_then(|text| Policy::parse(Some(policy.id().clone()), text).ok());
    lean.unwrap_or_else(|| policy.clone())
}

fn reduced(policy: &Policy, mut form: Value) -> Option<Value> {
    let parts = form.as_object_mut()?;
    parts.remove("annotations");
    parts.insert("action".to_owned(), json!({ "op": "All" }));
    if is_decided_by_roles(&policy.principal_constraint()) {
        parts.insert("principal".to_owned(), json!({ "op": "All" }));
    }
    if is_about_sections(&policy.resource_constraint()) {
        parts.insert("resource".to_owned(), json!({ "op": "All" }));
    }
    let conditions = parts.get_mut("conditions")?.as_array_mut()?;
    if let Some(first) = conditions.first_mut()
        && first.get("kind").and_then(Value::as_str) == Some("when")
        && let Some(body) = first.get_mut("body")
    {
        match without_sections(body) {
            Some(rest) => *body = rest,
            None => drop(conditions.remove(0)),
        }
    }
    Some(form)
}

/// Anything but a role may be an ancestor that is not known when a slice is cut.
fn is_decided_by_roles(constraint: &PrincipalConstraint) -> bool {
    match constraint {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) | PrincipalConstraint::Eq(_) => true,
        PrincipalConstraint::In(of) | PrincipalConstraint::IsIn(_, of) => is_role(of),
    }
}

fn is_about_sections(constraint: &ResourceConstraint) -> bool {
    match constraint {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => {
            one.type_name().to_string() == SECTION
        }
        ResourceConstraint::Is(_) | ResourceConstraint::IsIn(..) => false,
    }
}

/// A conjunction without the terms about sections that it is known by; nothing where it says no more.
fn without_sections(body: &Value) -> Option<Value> {
    let mut terms = Vec::new();
    conjuncts(body, &mut terms);
    let decided = About::decided_among(&terms);
    let rest = terms.iter().zip(decided).filter(|(_, decided)| !decided);
    let rest = rest.map(|(term, _)| (*term).clone());
    rest.reduce(|left, right| json!({ "&&": { "left": left, "right": right } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean(text: &str) -> String {
        let policy = Policy::parse(None, text).expect("a policy");
        let lean = of(&policy, policy.to_json().ok().as_ref());
        assert_eq!(lean.id(), policy.id());
        let text = lean.to_cedar().expect("text");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_a_slice_is_cut_by_is_left_out_and_nothing_else() {
        for (policy, expected) in [
            (
                r#"@id("a") permit (principal in Role::"nurse", action in [Action::"Read"], resource == Section::"notes");"#,
                "permit(principal, action, resource);",
            ),
            (
                r#"permit (principal is User in Role::"nurse", action, resource) when { resource in [Section::"notes", Section::"log"] && context.mfa };"#,
                "permit(principal, action, resource) when { (context.mfa) };",
            ),
            (
                r#"forbid (principal == User::"a", action, resource) when { resource == Section::"notes" };"#,
                "forbid(principal, action, resource);",
            ),
            (
                r#"forbid (principal in Group::"g", action, resource in Folder::"f") when { context.mfa && resource == Section::"notes" };"#,
                r#"forbid(principal in Group::"g", action, resource in Folder::"f") when { ((context.mfa) && (resource == Section::"notes")) };"#,
            ),
        ] {
            let squeezed = |text: &str| text.replace([' ', '(', ')'], "");
            assert_eq!(squeezed(&lean(policy)), squeezed(expected));
        }
    }
}
