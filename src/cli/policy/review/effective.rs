//! What someone with certain roles may really do: the bundle asked over its whole vocabulary.

use std::collections::BTreeSet;

use crate::policy::decide::Active;
use crate::policy::question::{CareRelation, PrincipalKind, UNKNOWN_ZONE};
use crate::policy::scene::{Scene, patient};
use crate::policy::situation::where_permissions_may_be;
use crate::request::facts::Verdict;
use crate::request::{Action, Role, Situation};

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effective {
    /// The section.
    pub(super) section: String,
    /// The action.
    pub(super) action: Action,
    /// When: empty for always.
    pub(super) condition: String,
    /// What is obliged.
    pub(super) obligations: Vec<String>,
    /// The policies that permit it.
    pub(super) policies: Vec<String>,
}

/// The situations in which permissions are looked at, from the most common to the rarest; the first word is for always.
const SITUATIONS: &[(&str, CareRelation, bool, bool)] = &[
    // (condition, relation, glass broken, a patient is named)
    ("", CareRelation::Unrelated, false, true),
    ("in their care", CareRelation::Assigned, false, true),
    ("care relation unknown", CareRelation::Unknown, false, true),
    ("own chart", CareRelation::Patient, false, true),
    ("by break-glass", CareRelation::Unrelated, true, true),
    ("without a patient", CareRelation::Unknown, false, false),
];

/// Everything that someone with `roles` may do.
pub(super) fn effective(active: &Active, roles: &BTreeSet<Role>) -> Vec<Effective> {
    let bundle = active.bundle();
    let mentions = |word: &str| {
        let mut policies = bundle.policies();
        policies.any(|rule| rule.policy().to_string().contains(word))
    };
    let mut zones: Vec<&str> = vec![UNKNOWN_ZONE];
    if mentions("zone") {
        let named = bundle.networks().zones().iter().map(|zone| &*zone.name);
        zones.extend(named.chain([crate::policy::networks::OUTSIDE]));
    }
    let situations = where_permissions_may_be(active);
    let mut found = Vec::new();
    for section in bundle.vocabulary().sections() {
        for action in Action::ALL.iter().copied() {
            found.extend(one(active, (roles, section, action), &zones, &situations));
        }
    }
    found
}

fn one(
    active: &Active,
    (roles, section, action): (&BTreeSet<Role>, &str, Action),
    zones: &[&str],
    situations: &[Situation],
) -> Option<Effective> {
    let mut conditions = Vec::new();
    let mut first = None;
    for kind in PrincipalKind::ALL.iter().copied() {
        for (condition, care_relation, break_glass, of_patient) in SITUATIONS {
            let allowed: Vec<_> = zones
                .iter()
                .filter_map(|zone| {
                    let scene = |situation: &Situation| Scene {
                        kind,
                        patient: of_patient.then(|| patient("any")),
                        care_relation: *care_relation,
                        break_glass: *break_glass,
                        zone: (*zone).to_owned(),
                        situation: situation.clone(),
                        ..Scene::new(roles.clone(), action, section)
                    };
                    let mut asked = situations.iter().map(|situation| {
                        let outcome = active.ask(&scene(situation).question());
                        (*zone, outcome, *situation == Situation::UNKNOWN)
                    });
                    asked.find(|(_, outcome, _)| outcome.verdict == Verdict::Allow)
                })
                .collect();
            let Some((_, outcome, is_ordinary)) = allowed.first() else {
                continue;
            };
            let mut says = (*condition).to_owned();
            if allowed.len() < zones.len() {
                let names: Vec<_> = allowed.iter().map(|(zone, _, _)| *zone).collect();
                let from = format!("from {}", names.join(", "));
                says = if says.is_empty() {
                    from
                } else {
                    format!("{says} {from}")
                };
            }
            if !is_ordinary {
                let more = "depending on shift, ward, device or sign-in";
                says = if says.is_empty() {
                    more.to_owned()
                } else {
                    format!("{says}, {more}")
                };
            }
            if first.is_none() {
                first = Some(outcome.clone());
            }
            let always = says.is_empty();
            conditions.push(says);
            if always {
                break;
            }
        }
        if first.is_some() {
            if kind == PrincipalKind::Service {
                conditions.push("programs only".to_owned());
            }
            break;
        }
    }
    let outcome = first?;
    conditions.retain(|condition| !condition.is_empty());
    Some(Effective {
        section: section.to_owned(),
        action,
        condition: conditions.join(" or "),
        obligations: outcome.obligations.as_recorded(),
        policies: outcome.policies.clone(),
    })
}
