//! Obligations that a permit cannot keep, by its own words: they keep the bundle from loading.

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint};

use super::obligation::{Extent, Obligations};
use crate::request::Action;

/// What is wrong with `obligations` on this permit, and what to do about it.
pub(super) fn of(policy: &Policy, obligations: &Obligations) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    if obligations.extent == Extent::LooksOnly {
        let beyond = beyond_looking(policy);
        if !beyond.is_empty() {
            found.push((
                format!(
                    "`@readonly` is on a permit that opens more than looking: {}",
                    beyond.join(", ")
                ),
                "Name in the permit's head only `Search`, `Read` and `Navigate`, and give the rest a permit of its own.",
            ));
        }
    }
    if obligations.reason.is_some() && is_for_programs(policy) {
        found.push((
            "`@reason` is on a permit for programs, which cannot state one".to_owned(),
            "Leave it out, or write the permit for people (`principal is User`).",
        ));
    }
    found
}

/// What of the permit's head is not looking. A head without a list is about every action.
fn beyond_looking(policy: &Policy) -> Vec<String> {
    let beyond = |uid: &EntityUid| {
        let name = uid.id().unescaped();
        // A group of the schema is not taken apart: what is in it is not to be read off the permit.
        let looks = Action::by_name(name).is_some_and(Action::only_looks);
        (!looks).then(|| name.to_owned())
    };
    match policy.action_constraint() {
        ActionConstraint::Any => vec!["every action".to_owned()],
        ActionConstraint::In(listed) => listed.iter().filter_map(beyond).collect(),
        ActionConstraint::Eq(one) => beyond(&one).into_iter().collect(),
    }
}

fn is_for_programs(policy: &Policy) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
            kind.basename() == "Service"
        }
        PrincipalConstraint::Eq(one) => one.type_name().basename() == "Service",
        PrincipalConstraint::Any | PrincipalConstraint::In(_) => false,
    }
}
