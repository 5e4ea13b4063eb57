//! What is probably not meant: policies that never matter, and permits that reach too far.
//!
//! Everyone with one role, and nobody's role, is looked at; who has several roles is looked at where a policy speaks
//! of several. *Never*: a claim about a policy that reads what this space does not vary.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cedar_policy::{ActionConstraint, ResourceConstraint};

use super::axes::{Axes, Value};
use super::bench::Ruled;
use super::compare::speaking;
use super::mentions::Part;
use super::{Bench, Cell, Laid, Said, Space, Together, Truth, everyone, everything};
use crate::policy::decide::Active;
use crate::policy::obligation::Obligations;
use crate::policy::question::PrincipalKind;
use crate::request::{Action, Factor, Role};

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lint {
    /// No situation satisfies it.
    Unreachable,
    /// Wherever it permits, something forbids.
    ShadowedPermit,
    /// Wherever it forbids, another policy forbids as well.
    ShadowedForbid,
    /// It lets a person in who has no second factor.
    PermitWithoutMfa,
    /// It lets in whoever has no role, or permits everything everywhere.
    WideOpenPermit,
}

/// A policy that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub lint: Lint,
    /// The policy's `@id`.
    pub id: String,
    /// Its file, relative to the bundle's directory.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// What was found, for a person.
    pub message: String,
}

/// What was seen of one policy.
#[derive(Debug, Clone, Default)]
struct Seen {
    applies: bool,
    /// It decided alone of its kind: permitted, or refused where no other policy does.
    matters: bool,
    /// Where somebody gets in without a second factor.
    without_mfa: Option<String>,
    /// Where somebody gets in without a role.
    without_role: Option<String>,
}

/// What deserves a look in a bundle, by file and line.
#[must_use]
pub fn findings(active: &Active) -> Vec<Finding> {
    let bundles = [active];
    let mut space = Space::of(&bundles);
    let mut seen = vec![Seen::default(); active.bundle().policies().len()];
    for (roles, kind) in everyone(&bundles) {
        for (section, action) in everything(&bundles) {
            let cell = Cell {
                roles: roles.clone(),
                kind,
                section,
                action,
            };
            look(&mut space, &cell, &mut seen);
        }
    }
    let mut found = Vec::new();
    let numbers = 0..seen.len();
    for (number, seen) in numbers.zip(seen) {
        found.extend(of_policy(&mut space, &bundles, number, &seen));
    }
    found.sort_by(|a, b| (&a.file, a.line, a.lint).cmp(&(&b.file, b.line, b.lint)));
    found
}

/// What to look for in a cell that was not seen elsewhere.
fn look(space: &mut Space<'_>, cell: &Cell, seen: &mut [Seen]) {
    let Some(bench) = space.benches.first_mut() else {
        return;
    };
    let truths = speaking(bench, cell);
    for (number, truth) in &truths {
        if let Some(seen) = seen.get_mut(*number) {
            seen.applies |= truth.said.contains(&Said::Applies);
        }
    }
    let guarded = is_guarded(&space.axes, bench, &truths);
    let open: Vec<usize> = truths
        .iter()
        .map(|(number, _)| *number)
        .filter(|number| is_open_in(*number, bench, (cell, guarded), seen))
        .collect();
    if open.is_empty() {
        return;
    }
    let (grid, _) = space.grid(truths.iter().map(|(_, truth)| truth));
    let possible = space.possible(&grid, cell.kind);
    let Some(bench) = space.benches.first() else {
        return;
    };
    let laid = Laid::onto(&grid, bench, &truths);
    for (point, possible) in possible.iter().enumerate() {
        if !possible {
            continue;
        }
        let together = laid.at(&grid.coordinates(point));
        let has_mfa = grid
            .values(&space.axes, point)
            .find_map(|(axis, value)| (axis.name == "mfa").then(|| *value == Value::Flag(true)));
        note(&together, bench, cell, has_mfa, seen);
        let is_open = |number: &usize| is_open_in(*number, bench, (cell, guarded), seen);
        let all_seen = !open.iter().any(is_open);
        if all_seen {
            return;
        }
    }
}

/// Whether one policy alone refuses everyone here who has no second factor.
fn is_guarded(axes: &Axes, bench: &Bench<'_>, truths: &[(usize, Truth)]) -> bool {
    let without = |truth: &Truth, point: usize| {
        let mut values = truth.grid.values(axes, point);
        values.any(|(axis, value)| axis.name == "mfa" && *value == Value::Flag(false))
    };
    truths.iter().any(|(number, truth)| {
        let forbids = bench.rules.get(*number).is_some_and(Ruled::forbids);
        let mut said = truth.said.iter().enumerate().peekable();
        let mut found = false;
        forbids
            && said.peek().is_some()
            && said.all(|(point, said)| {
                let asked = without(truth, point);
                found |= asked;
                !asked || *said == Said::Applies
            })
            && found
    })
}

/// Whether something is still to be found out of a policy in this cell.
fn is_open_in(
    number: usize,
    bench: &Bench<'_>,
    (cell, guarded): (&Cell, bool),
    seen: &[Seen],
) -> bool {
    let (Some(ruled), Some(seen)) = (bench.rules.get(number), seen.get(number)) else {
        return false;
    };
    let asks = !ruled.forbids() && cell.kind == PrincipalKind::User;
    !seen.matters
        || (asks && !guarded && seen.without_mfa.is_none())
        || (asks && cell.roles.is_empty() && seen.without_role.is_none())
}

/// Takes down what one situation shows of the policies that apply to it.
fn note(
    together: &Together,
    bench: &Bench<'_>,
    cell: &Cell,
    has_mfa: Option<bool>,
    seen: &mut [Seen],
) {
    let forbids = |number: &usize| bench.rules.get(*number).is_some_and(Ruled::forbids);
    let forbidding: Vec<usize> = together.applying.iter().copied().filter(forbids).collect();
    if let [only] = forbidding.as_slice()
        && let Some(seen) = seen.get_mut(*only)
    {
        seen.matters = true;
    }
    let Some(obliged) = &together.permitted else {
        return;
    };
    let place = format!("{} {}", cell.action.name(), cell.section);
    let person = cell.kind == PrincipalKind::User;
    for number in &together.applying {
        let Some(seen) = seen.get_mut(*number) else {
            continue;
        };
        seen.matters = true;
        if person && has_mfa != Some(true) && !demands_factor(obliged) && seen.without_mfa.is_none()
        {
            let who = who(&cell.roles);
            seen.without_mfa = Some(format!("{place}, for {who}"));
        }
        if cell.roles.is_empty() && seen.without_role.is_none() {
            seen.without_role = Some(place.clone());
        }
    }
}

fn demands_factor(obliged: &Obligations) -> bool {
    obliged.demand.factor() != Factor::default()
}

fn who(roles: &BTreeSet<Role>) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    if names.is_empty() {
        "someone without a role".to_owned()
    } else {
        names.join(", ")
    }
}

/// What is to be said of one policy.
fn of_policy(
    space: &mut Space<'_>,
    bundles: &[&Active],
    number: usize,
    seen: &Seen,
) -> Vec<Finding> {
    let applies = seen.applies || applies_to_several(space, bundles, number);
    let Some(ruled) = space
        .benches
        .first()
        .and_then(|bench| bench.rules.get(number))
    else {
        return Vec::new();
    };
    let rule = &ruled.rule;
    let finding = |lint: Lint, message: String| Finding {
        lint,
        id: rule.id().to_owned(),
        file: rule.file().to_owned(),
        line: rule.line(),
        message,
    };
    let id = rule.id();
    let mut found = Vec::new();
    if !ruled.unvaried {
        if !applies {
            found.push(finding(
                Lint::Unreachable,
                format!("the policy \"{id}\" can never apply: nobody is in a situation that satisfies it"),
            ));
        } else if seen.applies && !seen.matters && ruled.forbids() {
            found.push(finding(
                Lint::ShadowedForbid,
                format!("the forbid \"{id}\" changes nothing: wherever it applies, another policy forbids too"),
            ));
        } else if seen.applies && !seen.matters {
            found.push(finding(
                Lint::ShadowedPermit,
                format!(
                    "the permit \"{id}\" permits nothing: wherever it applies, a policy forbids"
                ),
            ));
        }
    }
    if let Some(place) = &seen.without_mfa {
        found.push(finding(
            Lint::PermitWithoutMfa,
            format!("the permit \"{id}\" lets a person in who has no second factor ({place})"),
        ));
    }
    if let Some(place) = &seen.without_role {
        found.push(finding(
            Lint::WideOpenPermit,
            format!("the permit \"{id}\" lets in whoever signs in, even without a role ({place})"),
        ));
    } else if !ruled.forbids() && is_unconstrained(ruled) {
        found.push(finding(
            Lint::WideOpenPermit,
            format!("the permit \"{id}\" names neither actions nor sections: it permits everything everywhere"),
        ));
    }
    found
}

fn is_unconstrained(ruled: &Ruled) -> bool {
    let policy = ruled.rule.policy();
    let any_action = matches!(policy.action_constraint(), ActionConstraint::Any);
    let any_section = matches!(
        policy.resource_constraint(),
        ResourceConstraint::Any | ResourceConstraint::Is(_)
    );
    let looks_at = |part| ruled.mentions.looks_at(part);
    any_action && any_section && !looks_at(Part::Action) && !looks_at(Part::Section)
}

/// Whether it applies to someone who has several of the roles that it speaks of.
fn applies_to_several(space: &mut Space<'_>, bundles: &[&Active], number: usize) -> bool {
    let Some(bench) = space.benches.first_mut() else {
        return false;
    };
    let Some(ruled) = bench.rules.get(number) else {
        return false;
    };
    let named: Vec<Role> = ruled
        .mentions
        .entities
        .iter()
        .filter(|uid| crate::policy::reads::is_role(uid))
        .map(|uid| Role::new(uid.id().unescaped()))
        .collect();
    let mut sets: Vec<BTreeSet<Role>> = vec![named.iter().cloned().collect()];
    for (first, one) in named.iter().enumerate() {
        let others = named.iter().skip(first.saturating_add(1));
        sets.extend(others.map(|other| BTreeSet::from([one.clone(), other.clone()])));
    }
    let places = everything(bundles);
    let actions: BTreeSet<Action> = places.iter().map(|(_, action)| *action).collect();
    let sections: BTreeSet<&String> = places.iter().map(|(section, _)| section).collect();
    for roles in sets.iter().filter(|roles| roles.len() > 1) {
        for kind in PrincipalKind::ALL {
            for action in &actions {
                for section in &sections {
                    let cell = Cell {
                        roles: roles.clone(),
                        kind: *kind,
                        section: (*section).clone(),
                        action: *action,
                    };
                    let truth = bench.truth(number, &cell);
                    if truth.is_some_and(|truth| truth.said.contains(&Said::Applies)) {
                        return true;
                    }
                }
            }
        }
    }
    false
}
