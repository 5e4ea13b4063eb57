//! Who used what, in bounded room.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::audit::entry::Phase;
use crate::audit::recall::Recalled;
use crate::cli::policy::feed::Tally;
use crate::policy::question::{CareRelation, PrincipalKind};
use crate::request::Action;
use crate::request::facts::Verdict;

/// Most uses that are told apart.
const MOST_USES: usize = 50_000;
/// Most users of a use that are told apart.
const MOST_USERS: usize = 1_000;

/// What is used: by people or programs with exactly these roles, an action on a section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Use {
    pub(super) kind: PrincipalKind,
    pub(super) roles: BTreeSet<String>,
    pub(super) section: String,
    pub(super) action: Action,
}

/// How it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) count: u64,
    users: HashSet<u64>,
    /// How user and patient were related by care.
    pub(super) relations: BTreeSet<CareRelation>,
}

impl Used {
    /// How many users, as far as they are told apart.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.relations.extend(&other.relations);
        for user in &other.users {
            if self.users.len() < MOST_USERS {
                self.users.insert(*user);
            }
        }
    }
}

/// All use.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) uses: HashMap<Use, Used>,
    /// Admitted only because the glass was broken.
    pub(super) by_break_glass: u64,
    /// Admitted although no profile maps them.
    pub(super) unmapped: u64,
    /// Beyond what is told apart.
    pub(super) others: u64,
}

impl Seen {
    fn add(&mut self, key: Use, used: &Used) {
        if let Some(known) = self.uses.get_mut(&key) {
            known.add(used);
        } else if self.uses.len() < MOST_USES {
            self.uses.insert(key, used.clone());
        } else {
            self.others = self.others.saturating_add(used.count);
        }
    }
}

impl Tally for Seen {
    fn note(&mut self, seen: &Recalled) {
        let (Phase::Admit, Some(facts)) = (seen.phase, &seen.facts) else {
            return;
        };
        let (Some(principal), Some(mapping), Some(decision)) =
            (&facts.principal, &facts.mapping, &facts.decision)
        else {
            return;
        };
        if decision.verdict != Verdict::Allow {
            return;
        }
        if decision.grant.is_some() {
            self.by_break_glass = self.by_break_glass.saturating_add(1);
            return;
        }
        if mapping.action == Action::Unmapped {
            self.unmapped = self.unmapped.saturating_add(1);
            return;
        }
        let mut hasher = DefaultHasher::new();
        principal.id().hash(&mut hasher);
        let relation = CareRelation::by_word(&decision.care_relation).unwrap_or_default();
        let used = Used {
            count: 1,
            users: HashSet::from([hasher.finish()]),
            relations: BTreeSet::from([relation]),
        };
        let key = Use {
            kind: PrincipalKind::of(principal),
            roles: principal.roles().iter().map(ToString::to_string).collect(),
            section: mapping.section.clone(),
            action: mapping.action,
        };
        self.add(key, &used);
    }

    fn merge(&mut self, other: Self) {
        self.by_break_glass = self.by_break_glass.saturating_add(other.by_break_glass);
        self.unmapped = self.unmapped.saturating_add(other.unmapped);
        self.others = self.others.saturating_add(other.others);
        for (key, used) in other.uses {
            self.add(key, &used);
        }
    }
}
