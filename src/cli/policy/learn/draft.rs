//! What is proposed, as Cedar text, and what is to be said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cedar_policy_formatter::{Config, policies_str_to_pretty};
use jiff::Timestamp;

use super::tally::{Seen, Use, Used};
use crate::cli::policy::printable;
use crate::policy::decide::Active;
use crate::policy::question::{CareRelation, PrincipalKind};
use crate::request::Action;

/// What is too rare to be proposed.
pub(super) struct Thresholds {
    pub(super) users: usize,
    pub(super) uses: u64,
}

/// What no use can show.
const LIMITS: &[&str] = &[
    "what was not done in this time is not in it: night shifts, holidays, the end of the quarter, emergencies",
    "what was done is not thereby right: someone who reads what they need not is learned too",
    "refusals are not in it: who needs something and is refused today stays refused",
    "a forbid of the bundle goes on to win; the draft has no forbids of its own",
];

/// Who a permit is for, and under which condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Grantee {
    role: String,
    kind: PrincipalKind,
    care: CareBound,
}

/// As much of the care relation as every use had. Whoever was admitted without one that is known is not held to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CareBound {
    /// In care of the patient.
    Assigned,
    /// In care of the patient, or nobody knew.
    NotUnrelated,
    /// Any, or a patient at their own chart.
    Any,
}

impl CareBound {
    const ALL: [Self; 3] = [Self::Assigned, Self::NotUnrelated, Self::Any];

    fn of(relations: &BTreeSet<CareRelation>) -> Self {
        let least = relations.iter().map(|relation| match relation {
            CareRelation::Assigned => Self::Assigned,
            CareRelation::Unknown => Self::NotUnrelated,
            CareRelation::Unrelated | CareRelation::Patient => Self::Any,
        });
        least.max().unwrap_or(Self::Any)
    }

    const fn condition(self) -> Option<&'static str> {
        match self {
            Self::Assigned => Some("context.care_relation == \"assigned\""),
            Self::NotUnrelated => {
                Some("[\"assigned\", \"unknown\"].contains(context.care_relation)")
            }
            Self::Any => None,
        }
    }
}

/// What is done on a section.
type Actions = BTreeMap<Action, Used>;

/// A section with what is done on it.
type Place<'s> = (&'s String, &'s Actions);

/// A draft.
pub(super) struct Draft {
    permits: BTreeMap<Grantee, BTreeMap<String, Actions>>,
    notes: Vec<String>,
    taken: BTreeSet<String>,
}

impl Draft {
    pub(super) fn of(seen: &Seen, active: &Active, thresholds: &Thresholds) -> Self {
        let bundle = active.bundle();
        let known = bundle.vocabulary();
        let mut draft = Self {
            permits: BTreeMap::new(),
            notes: Vec::new(),
            taken: bundle.policies().map(|rule| rule.id().to_owned()).collect(),
        };
        let mut uses: Vec<(&Use, &Used)> = seen.uses.iter().collect();
        uses.sort_by_key(|(of, _)| *of);
        let mut by_role: BTreeMap<(PrincipalKind, &str, &str, Action), Used> = BTreeMap::new();
        let mut of_several = Vec::new();
        for (of, used) in uses {
            let roles: Vec<&String> = of.roles.iter().collect();
            let [role] = roles.as_slice() else {
                of_several.push((of, used));
                continue;
            };
            if !known.roles().contains(*role) || !known.sections().contains(&of.section) {
                draft.notes.push(format!(
                    "left out: {role}: {} {}; the schema does not know the role or the section",
                    of.action.name(),
                    of.section
                ));
                continue;
            }
            let key = (of.kind, role.as_str(), of.section.as_str(), of.action);
            by_role.entry(key).or_default().add(used);
        }
        for ((kind, role, section, action), used) in &by_role {
            if used.users() < thresholds.users || used.count < thresholds.uses {
                draft.notes.push(format!(
                    "left out: {role}: {} {section}, {} times by {} users",
                    action.name(),
                    used.count,
                    used.users()
                ));
                continue;
            }
            let grantee = Grantee {
                role: (*role).to_owned(),
                kind: *kind,
                care: CareBound::of(&used.relations),
            };
            let sections = draft.permits.entry(grantee).or_default();
            let actions = sections.entry((*section).to_owned()).or_default();
            actions.insert(*action, used.clone());
        }
        draft.of_several(&of_several);
        draft.beyond(seen);
        draft
    }

    /// Who has several roles used one of them; which one, nobody recorded.
    fn of_several(&mut self, uses: &[(&Use, &Used)]) {
        for (of, used) in uses {
            let covered = |role: &String| {
                CareBound::ALL.iter().any(|care| {
                    let grantee = Grantee {
                        role: role.clone(),
                        kind: of.kind,
                        care: *care,
                    };
                    let sections = self.permits.get(&grantee);
                    sections
                        .and_then(|sections| sections.get(&of.section))
                        .is_some_and(|actions| actions.contains_key(&of.action))
                })
            };
            if !of.roles.iter().any(covered) {
                let roles: Vec<&str> = of.roles.iter().map(String::as_str).collect();
                let roles = if roles.is_empty() {
                    "no role".to_owned()
                } else {
                    roles.join(" and ")
                };
                self.notes.push(format!(
                    "left out: {} {}, {} times by {} users with {roles}; give it to the role that it belongs to",
                    of.action.name(),
                    of.section,
                    used.count,
                    used.users()
                ));
            }
        }
    }

    fn beyond(&mut self, seen: &Seen) {
        let mut note = |count: u64, says: &str| {
            if count > 0 {
                self.notes.push(format!("left out: {count} {says}"));
            }
        };
        note(seen.by_break_glass, "requests that a broken glass opened");
        note(
            seen.unmapped,
            "requests that no profile maps; write routes for them first",
        );
        note(seen.others, "requests beyond what is told apart");
    }

    /// What is to be said beside the draft.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        let notes = self.notes.iter().map(|note| printable(note));
        notes.chain(
            LIMITS
                .iter()
                .map(|limit| format!("cannot be known: {limit}")),
        )
    }

    /// The draft, formatted.
    pub(super) fn cedar(&self, since: Timestamp, until: Timestamp) -> miette::Result<String> {
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        let (from, to) = (day(since), day(until));
        let mut text = String::new();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        for (grantee, sections) in &self.permits {
            for (actions, sections) in grouped(sections) {
                let id = self.id(&grantee.role, &mut numbers);
                write_permit(&mut text, grantee, (&actions, &sections), &id, (&from, &to));
            }
        }
        let head = format!(
            "// A draft by `chartgate policy learn`, from what was admitted between {from} and {to}.\n// Nothing of it is in force. Read it, cut it, test it, and take over what you answer for.\n"
        );
        if text.is_empty() {
            return Ok(format!(
                "{head}// Nothing was used often enough to be proposed.\n"
            ));
        }
        let formatted = policies_str_to_pretty(&text, &Config::default())?;
        Ok(format!("{head}\n{}\n", formatted.trim_end()))
    }

    /// A name that no policy has.
    fn id(&self, role: &str, numbers: &mut BTreeMap<String, usize>) -> String {
        let number = numbers.entry(role.to_owned()).or_default();
        loop {
            *number = number.saturating_add(1);
            // Names have at most 64 letters.
            let role: String = role.chars().take(48).collect();
            let id = format!("learned-{role}-{number}");
            if !self.taken.contains(&id) {
                return id;
            }
        }
    }
}

/// Sections with the same actions, together: one permit for each set of actions.
fn grouped(sections: &BTreeMap<String, Actions>) -> BTreeMap<Vec<Action>, Vec<Place<'_>>> {
    let mut groups: BTreeMap<Vec<Action>, Vec<Place<'_>>> = BTreeMap::new();
    for (section, actions) in sections {
        let set: Vec<Action> = actions.keys().copied().collect();
        groups.entry(set).or_default().push((section, actions));
    }
    groups
}

fn write_permit(
    text: &mut String,
    grantee: &Grantee,
    (actions, sections): (&[Action], &[Place<'_>]),
    id: &str,
    (from, to): (&str, &str),
) {
    let mut sum = Used::default();
    for used in sections.iter().flat_map(|(_, actions)| actions.values()) {
        sum.add(used);
    }
    let kind = match grantee.kind {
        PrincipalKind::User => "User",
        PrincipalKind::Service => "Service",
    };
    let list = |names: Vec<String>| names.join(", ");
    let actions = list(
        actions
            .iter()
            .map(|one| format!("Action::{:?}", one.name()))
            .collect(),
    );
    let places = list(
        sections
            .iter()
            .map(|(one, _)| format!("Section::{one:?}"))
            .collect(),
    );
    let mut conditions = Vec::new();
    let resource = if sections.len() == 1 {
        format!("resource == {places}")
    } else {
        conditions.push(format!("resource in [{places}]"));
        "resource".to_owned()
    };
    conditions.extend(grantee.care.condition().map(str::to_owned));
    let when = if conditions.is_empty() {
        String::new()
    } else {
        format!(" when {{ {} }}", conditions.join(" && "))
    };
    let _ = writeln!(
        text,
        "@id(\"{id}\")\n@doc(\"Learned: {} uses by {} users between {from} and {to}.\")\npermit (principal is {kind} in Role::{:?}, action in [{actions}], {resource}){when};\n",
        sum.count,
        sum.users(),
        grantee.role,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::Entry;
    use crate::audit::fixture::facts;
    use crate::audit::recall::Recalled;
    use crate::cli::policy::feed::Tally;
    use crate::config::fixture::Fixture;
    use crate::policy::bundle::Bundle;
    use crate::request::{Facts, Principal, Role};
    use std::sync::Arc;

    fn note(seen: &mut Seen, user: &str, roles: &[&str], change: impl FnOnce(&mut Facts)) {
        let mut facts = facts(Action::Read, &["4"]);
        if let Some(Principal::User(known)) = facts.principal.as_mut().map(Arc::make_mut) {
            known.subject = user.to_owned();
            known.roles = roles.iter().map(|role| Role::new(role)).collect();
        }
        change(&mut facts);
        let entry = Entry::admit(
            &"gw1".into(),
            "2026-03-02T07:15:27Z".parse().unwrap(),
            &facts,
        );
        seen.note(&Recalled::from_bytes(&entry.to_bytes().unwrap()).unwrap());
    }

    fn relation(facts: &mut Facts, word: &str) {
        facts.decision.as_mut().unwrap().care_relation = word.to_owned();
    }

    #[test]
    fn a_draft_permits_what_was_done_and_passes_the_check() {
        let mut seen = Seen::default();
        for user in ["a", "b", "c"] {
            for _ in 0..3 {
                note(&mut seen, user, &["physician"], |_| {});
                note(&mut seen, user, &["nurse"], |facts| {
                    relation(facts, "unknown");
                });
                note(&mut seen, user, &["nurse"], |facts| {
                    Arc::make_mut(facts.mapping.as_mut().unwrap()).section = "results".to_owned();
                    relation(facts, "unknown");
                });
            }
        }
        note(&mut seen, "a", &["billing"], |_| {});
        note(&mut seen, "a", &["billing", "him"], |_| {});
        note(&mut seen, "a", &["physician"], |facts| {
            facts.decision.as_mut().unwrap().grant = Some("g1".to_owned());
        });
        let fixture = Fixture::with_policies();
        let load = || Bundle::load(&fixture.path("policies"));
        let active = Active::new(load().unwrap());
        let thresholds = Thresholds { users: 2, uses: 5 };
        let draft = Draft::of(&seen, &active, &thresholds);
        let at = "2026-03-03T00:00:00Z".parse().unwrap();
        let text = draft.cedar(at, at).unwrap();
        for part in [
            "@id(\"learned-nurse-1\")",
            "@doc(\"Learned: 18 uses by 3 users between 2026-03-03 and 2026-03-03.\")",
            "@id(\"learned-physician-1\")",
            "context.care_relation == \"assigned\"",
            "[\"assigned\", \"unknown\"].contains(context.care_relation)",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("billing"), "{text}");
        let notes: Vec<String> = draft.notes().collect();
        for part in [
            "left out: billing: Read notes, 1 times by 1 users",
            "1 times by 1 users with billing and him",
            "left out: 1 requests that a broken glass opened",
            "cannot be known: what was not done",
        ] {
            assert!(
                notes.iter().any(|note| note.contains(part)),
                "{part}\n{notes:#?}"
            );
        }
        fixture.write("policies/learned.cedar", &text);
        assert!(load().is_ok(), "{}", load().unwrap_err());
    }

    #[test]
    fn nothing_seen_is_nothing_proposed() {
        let fixture = Fixture::with_policies();
        let active = Active::new(Bundle::load(&fixture.path("policies")).unwrap());
        let draft = Draft::of(&Seen::default(), &active, &Thresholds { users: 1, uses: 1 });
        let at = "2026-03-03T00:00:00Z".parse().unwrap();
        assert!(draft.cedar(at, at).unwrap().contains("// Nothing was used"));
    }
}
