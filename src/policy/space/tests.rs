//! What the space says is held against what the bundles answer.

use std::collections::BTreeSet;

use super::Cell;
use super::compare::{Comparison, Turn};
use super::lint::{Lint, findings};
use crate::policy::bundle::Bundle;
use crate::policy::decide::Active;
use crate::policy::question::{CareRelation, PrincipalKind};
use crate::policy::scene::{Scene, patient};
use crate::policy::tests::{SHIPPED, load, roles, small_with};
use crate::request::Action;
use crate::request::facts::Verdict;

const GUARD: &str = r#"
@id("mfa") @doc("x") forbid (principal is User, action, resource) unless { context.mfa };
@id("level-2") @doc("x") forbid (principal, action in [Action::"Create", Action::"Export"], resource) when { context.lockdown >= 2 };
"#;

fn guarded(more: &str) -> Active {
    Active::new(small_with(&format!("{GUARD}{more}")))
}

fn compared(old: &str, new: &str) -> Comparison {
    Comparison::of(&guarded(old), &guarded(new))
}

#[test]
fn another_name_or_comment_changes_nothing() {
    let one = r#"@id("one") @doc("a") permit (principal in Role::"nurse", action == Action::"Create", resource);"#;
    let two = r#"@id("two") @doc("b") permit (principal in Role::"nurse", action == Action::"Create", resource);"#;
    let found = compared(one, two);
    assert_eq!(found.changes, []);
    assert!(found.cells > 5_000);
}

#[test]
fn a_new_permit_is_said_with_its_own_conditions_and_not_those_of_the_guards() {
    let new = r#"@id("add") @doc("x") permit (principal is User in Role::"nurse", action == Action::"Create", resource == Section::"notes")
        when { context.care_relation == "assigned" };"#;
    let found = compared("", new);
    let [change] = found.changes.as_slice() else {
        panic!("{:#?}", found.changes)
    };
    assert_eq!(change.turn, Turn::Permitted(Vec::new()));
    assert_eq!(change.cell.section, "notes");
    assert_eq!(change.cell.roles, roles(&["nurse"]));
    assert_eq!(change.when, ["care relation assigned"]);
    assert_eq!(change.policies, BTreeSet::from(["add".to_owned()]));
    assert!(found.unvaried.is_empty());
    let back = compared(new, "");
    assert_eq!(back.changes[0].turn, Turn::Refused);
    assert_eq!(back.changes[0].when, ["care relation assigned"]);
}

#[test]
fn without_conditions_it_is_every_situation() {
    let new = r#"@id("add") @doc("x") permit (principal in Role::"billing", action == Action::"Read", resource == Section::"billing");"#;
    let found = compared("", new);
    // As a person, and as a program, which has no second factor and needs none.
    assert_eq!(found.changes.len(), 2);
    assert!(
        found.changes.iter().all(|change| change.when == [""]),
        "{:#?}",
        found.changes
    );
}

#[test]
fn obligations_that_change_are_changes() {
    let of = |seconds: u32| {
        format!(
            r#"@id("add") @doc("x") @stepup("{seconds}s") permit (principal is User in Role::"him", action == Action::"Export", resource == Section::"export");"#
        )
    };
    let found = compared(&of(300), &of(60));
    let [change] = found.changes.as_slice() else {
        panic!("{:#?}", found.changes)
    };
    let listed = |text: &str| vec![text.to_owned()];
    assert_eq!(
        change.turn,
        Turn::Obliged {
            from: listed("stepup=300s"),
            to: listed("stepup=60s")
        }
    );
}

/// What the comparison says of a cell is what the two bundles answer in some situation, and nothing is left out.
#[test]
fn the_comparison_agrees_with_the_answers() {
    let old = guarded(
        r#"@id("a") @doc("x") permit (principal in Role::"nurse", action == Action::"Create", resource)
        when { context.care_relation == "assigned" || context.break_glass };"#,
    );
    let new = guarded(
        r#"@id("a") @doc("x") permit (principal in Role::"nurse", action in [Action::"Create", Action::"Print"], resource)
        when { ["assigned", "unknown"].contains(context.care_relation) && context has patient };
        @id("b") @doc("x") forbid (principal, action == Action::"Read", resource == Section::"notes")
        when { context.sensitivity == "R" && context.lockdown == 1 };"#,
    );
    let found = Comparison::of(&old, &new);
    let mut seen: BTreeSet<(Cell, bool)> = BTreeSet::new();
    for role in ["nurse", "physician", "billing"] {
        for action in [Action::Create, Action::Print, Action::Read, Action::Export] {
            for section in ["notes", "results"] {
                let cell = Cell {
                    roles: roles(&[role]),
                    kind: PrincipalKind::User,
                    section: section.to_owned(),
                    action,
                };
                for scene in scenes(&cell) {
                    let (was, is) = (old.ask(&scene.question()), new.ask(&scene.question()));
                    if was.verdict != is.verdict {
                        seen.insert((cell.clone(), is.verdict == Verdict::Allow));
                    }
                }
                let said: BTreeSet<bool> = found
                    .changes
                    .iter()
                    .filter(|change| change.cell == cell)
                    .map(|change| matches!(change.turn, Turn::Permitted(_)))
                    .collect();
                let found: BTreeSet<bool> = seen
                    .iter()
                    .filter(|(known, _)| *known == cell)
                    .map(|(_, more)| *more)
                    .collect();
                assert_eq!(said, found, "{cell:?}");
            }
        }
    }
    assert!(seen.len() > 4);
}

fn scenes(cell: &Cell) -> Vec<Scene> {
    let mut all = Vec::new();
    for mfa in [true, false] {
        for lockdown in 0..=4 {
            for sensitivity in ["N", "R"] {
                for (relation, glass, named) in [
                    (CareRelation::Unknown, false, true),
                    (CareRelation::Assigned, false, true),
                    (CareRelation::Unrelated, false, true),
                    (CareRelation::Unrelated, true, true),
                    (CareRelation::Unknown, false, false),
                ] {
                    all.push(Scene {
                        mfa,
                        lockdown,
                        sensitivity: sensitivity.to_owned(),
                        care_relation: relation,
                        break_glass: glass,
                        patient: named.then(|| patient("4")),
                        ..Scene::new(cell.roles.clone(), cell.action, &cell.section)
                    });
                }
            }
        }
    }
    all
}

fn lints(bundle: Bundle) -> Vec<(Lint, String)> {
    let found = findings(&Active::new(bundle));
    found
        .into_iter()
        .map(|finding| (finding.lint, finding.id))
        .collect()
}

#[test]
fn a_policy_that_never_matters_is_found() {
    let found = lints(small_with(&format!(
        r#"{GUARD}
        @id("moon") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource) when {{ context.zone == "moon" }};
        @id("both") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource) when {{ principal in Role::"physician" }};
        @id("taken") @doc("x") permit (principal in Role::"billing", action == Action::"Read", resource == Section::"notes");
        @id("takes") @doc("x") forbid (principal in Role::"billing", action, resource == Section::"notes");
        @id("level-3") @doc("x") forbid (principal, action == Action::"Create", resource) when {{ context.lockdown >= 3 }};"#
    )));
    let of = |lint: Lint| -> Vec<&str> {
        let all = found.iter().filter(|(of, _)| *of == lint);
        all.map(|(_, id)| id.as_str()).collect()
    };
    assert_eq!(of(Lint::Unreachable), ["moon"]);
    assert_eq!(of(Lint::ShadowedPermit), ["taken"]);
    assert_eq!(of(Lint::ShadowedForbid), ["level-3"]);
    assert!(of(Lint::PermitWithoutMfa).is_empty() && of(Lint::WideOpenPermit).is_empty());
}

#[test]
fn a_permit_that_reaches_too_far_is_found() {
    let bundle = load(&[(
        "wide.cedar",
        r#"@id("all") @doc("x") permit (principal in Role::"nurse", action, resource) when { context.mfa };
        @id("any") @doc("x") permit (principal, action == Action::"Read", resource == Section::"shell");
        @id("own") @doc("x") @mfa permit (principal in Role::"him", action == Action::"Export", resource == Section::"export");"#,
    )]);
    let found = lints(bundle.unwrap());
    let pair = |lint: Lint, id: &str| (lint, id.to_owned());
    assert_eq!(
        found,
        [
            pair(Lint::WideOpenPermit, "all"),
            pair(Lint::PermitWithoutMfa, "any"),
            pair(Lint::WideOpenPermit, "any"),
        ]
    );
}

#[test]
fn nothing_is_wrong_with_the_shipped_policies() {
    assert_eq!(lints(SHIPPED.clone()), []);
}
