//! What the space says is held against what the bundles answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Cell;
use super::compare::{Comparison, Turn};
use super::lint::{Lint, findings};
use crate::policy::bundle::Bundle;
use crate::policy::decide::Active;
use crate::policy::question::{CareRelation, PrincipalKind};
use crate::policy::scene::{Scene, patient};
use crate::policy::tests::{SHIPPED, SMALL, load, roles, small_with};
use crate::request::facts::Verdict;
use crate::request::situation::{DeviceKind, Words};
use crate::request::{Action, Situation};

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
fn a_patient_whom_no_policy_names_is_any() {
    let new = r#"@id("add") @doc("x") permit (principal is User in Role::"nurse", action == Action::"Create", resource == Section::"notes")
        when { context has patient };"#;
    assert_eq!(compared("", new).changes[0].when, ["patient any"]);
    let one = r#"@id("add") @doc("x") permit (principal is User in Role::"nurse", action == Action::"Create", resource == Section::"notes")
        when { context has patient && context.patient != Patient::"urn:mrn|1" };"#;
    assert_eq!(compared("", one).changes[0].when, ["patient any other"]);
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

const DAY: &str = "[[shift]]\nname = \"day\"\ntime_zone = \"UTC\"\nfrom = \"06:00\"\nto = \"14:00\"\n[[shift]]\nname = \"night\"\ntime_zone = \"UTC\"\nfrom = \"22:00\"\nto = \"06:00\"\n";

/// The small bundle with two shifts, and these policies.
fn with_shifts(policies: &str) -> Active {
    let guarded = format!("{GUARD}{policies}");
    let files = [
        ("small.cedar", SMALL),
        ("more.cedar", &guarded),
        ("calendars.toml", DAY),
    ];
    Active::new(load(&files).unwrap())
}

/// Every combination of what is known of shift, ward, device, sign-in and kind of information.
fn situations() -> Vec<Situation> {
    let set = |all: &[&str]| -> Words { all.iter().map(|one| Arc::from(*one)).collect() };
    let shifts = [[].as_slice(), &["day"], &["night"], &["day", "night"]].map(set);
    let wards = [[].as_slice(), &["a"], &["icu"], &["a", "icu"]].map(set);
    let mut all = Vec::new();
    for (shifts, wards) in shifts
        .iter()
        .flat_map(|one| wards.iter().map(move |two| (one, two)))
    {
        for patient_ward in [None, Some("a"), Some("b"), Some("icu")] {
            for device in DeviceKind::ALL {
                for (auth_age, strong) in [
                    (Some(60), true),
                    (Some(300), false),
                    (Some(600), false),
                    (None, false),
                ] {
                    for kinds in [set(&[]), set(&["PSY"]), set(&["PSY", "HIV"])] {
                        all.push(Situation {
                            shifts: shifts.clone(),
                            wards: wards.clone(),
                            patient_ward: patient_ward.map(Arc::from),
                            device: *device,
                            phishing_resistant: strong,
                            auth_age,
                            information_types: kinds,
                        });
                    }
                }
            }
        }
    }
    all
}

/// In which situations one bundle permits what the other refuses, asked one by one and as the space says.
#[test]
fn the_comparison_agrees_about_shifts_wards_devices_and_sign_ins() {
    for (number, (old, new)) in [
        (
            r#"context.shifts.contains("day")"#,
            r#"context.zone == "moon""#,
        ),
        (
            r#"context.shifts.contains("day")"#,
            r#"context.shifts.containsAll(["day", "night"])"#,
        ),
        (
            "context.shifts.isEmpty()",
            r#"!context.shifts.contains("day")"#,
        ),
        (
            "context has patient_ward && context.wards.contains(context.patient_ward)",
            r#"context has patient_ward && context.patient_ward == "icu""#,
        ),
        (
            r#"context.wards.contains("icu")"#,
            r#"context.wards == ["a", "icu"]"#,
        ),
        (
            r#"context.device == "shared""#,
            r#"["shared", "certified"].contains(context.device)"#,
        ),
        ("context.auth_age <= 300", "context.auth_age <= 100"),
        ("context.auth_age <= 300", "context.auth_age <= 900"),
        (
            r#"context.mfa_strength == "phishing-resistant""#,
            "context.mfa",
        ),
        (
            r#"context.information_types.containsAny(["PSY", "HIV"])"#,
            r#"context.information_types == ["PSY"]"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let bundle = |condition: &str| {
            with_shifts(&format!(
                r#"@id("a") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource == Section::"notes") when {{ {condition} }};"#
            ))
        };
        let (was, is) = (bundle(old), bundle(new));
        let found = Comparison::of(&was, &is);
        assert!(found.unvaried.is_empty(), "{number}: {:?}", found.unvaried);
        let of_people = found
            .changes
            .iter()
            .filter(|change| change.cell.kind == PrincipalKind::User);
        let said: BTreeSet<bool> = of_people
            .map(|change| matches!(change.turn, Turn::Permitted(_)))
            .collect();
        let asked: BTreeSet<bool> = situations()
            .into_iter()
            .filter_map(|situation| {
                let scene = Scene {
                    patient: Some(patient("4")),
                    situation,
                    ..Scene::new(roles(&["nurse"]), Action::Print, "notes")
                };
                let (was, is) = (was.ask(&scene.question()), is.ask(&scene.question()));
                (was.verdict != is.verdict).then_some(is.verdict == Verdict::Allow)
            })
            .collect();
        assert_eq!(said, asked, "{number}: {old} -> {new}");
    }
}

#[test]
fn policies_about_shifts_and_devices_are_judged_too() {
    let found = findings(&with_shifts(
        r#"@id("dead") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource == Section::"notes") when { context.device == "toaster" };
        @id("alive") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource == Section::"notes") when { context.shifts.contains("day") };
        @id("taken") @doc("x") permit (principal in Role::"nurse", action == Action::"Print", resource == Section::"results") when { context.shifts.contains("night") };
        @id("takes") @doc("x") forbid (principal in Role::"nurse", action == Action::"Print", resource == Section::"results") unless { context.shifts.contains("day") && !context.shifts.contains("night") };"#,
    ));
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.lint, one.id.as_str()))
        .collect();
    assert_eq!(
        found,
        [(Lint::Unreachable, "dead"), (Lint::ShadowedPermit, "taken")]
    );
    let strong = load(&[(
        "strong.cedar",
        r#"@id("strong") @doc("x") permit (principal is User in Role::"him", action == Action::"Export", resource == Section::"export") when { context.mfa_strength == "phishing-resistant" };
        @id("weak") @doc("x") permit (principal is User in Role::"him", action == Action::"Print", resource == Section::"export") when { context.device == "certified" };"#,
    )]);
    let found = lints(strong.unwrap());
    assert_eq!(found, [(Lint::PermitWithoutMfa, "weak".to_owned())]);
}
