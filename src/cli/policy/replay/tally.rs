//! What is counted of a replay, in bounded room.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::audit::entry::Phase;
use crate::audit::recall::Recalled;
use crate::cli::policy::feed::Tally;
use crate::policy::replay::{Candidate, Gap, Replayed};
use crate::request::facts::Verdict;
use crate::request::{Action, Facts, Principal, Role};

/// Most groups that are told apart; what comes after is counted as others.
const MOST_GROUPS: usize = 10_000;
/// Most users of a group that are told apart.
const MOST_USERS: usize = 1_000;
/// How many requests a group names.
const EXAMPLES: usize = 3;
/// How many policies a group names.
const MOST_POLICIES: usize = 8;

/// How a decision comes out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Turn {
    /// It was permitted and would be refused.
    Refused,
    /// It was refused and would be permitted.
    Admitted,
    /// It would be permitted with other obligations.
    Obliged,
}

/// What decisions are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) turn: Turn,
    pub(super) roles: String,
    pub(super) program: bool,
    pub(super) department: Option<String>,
    pub(super) emr: String,
    pub(super) route: String,
    pub(super) action: Action,
    pub(super) section: String,
    /// The route that the request was mapped to, where it is another now.
    pub(super) was: Option<String>,
    pub(super) obligations: Vec<String>,
}

/// What is known of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) count: u64,
    users: HashSet<u64>,
    pub(super) examples: Vec<String>,
    /// The policies that decided then, and those that decide now.
    pub(super) policies: BTreeSet<String>,
}

impl Group {
    /// How many users, as far as they are told apart.
    pub(super) fn users(&self) -> String {
        if self.users.len() >= MOST_USERS {
            format!("{MOST_USERS} or more")
        } else {
            self.users.len().to_string()
        }
    }

    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        for user in other.users {
            if self.users.len() < MOST_USERS {
                self.users.insert(user);
            }
        }
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
        for policy in other.policies {
            if self.policies.len() < MOST_POLICIES {
                self.policies.insert(policy);
            }
        }
    }
}

/// The sum of a replay.
#[derive(Debug)]
pub(super) struct Count<'c> {
    candidate: &'c Candidate<'c>,
    /// Decisions that were made again.
    pub(super) replayed: u64,
    /// Of those, how many are about another route than was recorded.
    pub(super) mapped_otherwise: u64,
    /// Of those, how many failed in the evaluation.
    pub(super) failed: u64,
    /// Requests that could not be replayed, by the reason.
    pub(super) gaps: BTreeMap<Gap, u64>,
    /// Refusals from before policy was asked, by their code.
    pub(super) codes: BTreeMap<String, u64>,
    pub(super) totals: BTreeMap<Turn, u64>,
    pub(super) groups: HashMap<Key, Group>,
    pub(super) others: u64,
}

impl<'c> Count<'c> {
    pub(super) fn new(candidate: &'c Candidate<'c>) -> Self {
        Self {
            candidate,
            replayed: 0,
            mapped_otherwise: 0,
            failed: 0,
            gaps: BTreeMap::new(),
            codes: BTreeMap::new(),
            totals: BTreeMap::new(),
            groups: HashMap::new(),
            others: 0,
        }
    }

    pub(super) fn changes_nothing(&self) -> bool {
        self.totals.is_empty()
    }

    fn add(&mut self, key: Key, group: Group) {
        let more = group.count;
        if let Some(known) = self.groups.get_mut(&key) {
            known.add(group);
        } else if self.groups.len() < MOST_GROUPS {
            self.groups.insert(key, group);
        } else {
            self.others = self.others.saturating_add(more);
        }
    }

    fn gap(&mut self, gap: Gap, refusal: Option<&String>) {
        bump(&mut self.gaps, gap, 1);
        if let (Gap::NotAsked, Some(code)) = (gap, refusal) {
            // Codes are a closed list; a stranger's record cannot make it grow.
            if self.codes.len() < 1_000 || self.codes.contains_key(code) {
                bump(&mut self.codes, code.clone(), 1);
            }
        }
    }
}

fn bump<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, by: u64) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(by);
}

impl Tally for Count<'_> {
    fn note(&mut self, seen: &Recalled) {
        let (Phase::Admit | Phase::Refuse, Some(facts)) = (seen.phase, &seen.facts) else {
            return;
        };
        let replayed = match self.candidate.decide(facts) {
            Ok(replayed) => replayed,
            Err(gap) => return self.gap(gap, seen.refusal.as_ref()),
        };
        self.replayed = self.replayed.saturating_add(1);
        if !replayed.after.errors.is_empty() {
            self.failed = self.failed.saturating_add(1);
        }
        let recorded = facts
            .mapping
            .as_deref()
            .map(|mapping| mapping.route.as_str());
        let otherwise = recorded.is_some_and(|route| route != replayed.mapping.route);
        if otherwise {
            self.mapped_otherwise = self.mapped_otherwise.saturating_add(1);
        }
        let Some(turn) = turn(&replayed) else {
            return;
        };
        bump(&mut self.totals, turn, 1);
        let was = recorded.filter(|_| otherwise).map(str::to_owned);
        if let Some((key, group)) = grouped(turn, facts, &replayed, was) {
            self.add(key, group);
        }
    }

    fn merge(&mut self, other: Self) {
        self.replayed = self.replayed.saturating_add(other.replayed);
        self.mapped_otherwise = self.mapped_otherwise.saturating_add(other.mapped_otherwise);
        self.failed = self.failed.saturating_add(other.failed);
        self.others = self.others.saturating_add(other.others);
        for (gap, count) in other.gaps {
            bump(&mut self.gaps, gap, count);
        }
        for (code, count) in other.codes {
            bump(&mut self.codes, code, count);
        }
        for (turn, count) in other.totals {
            bump(&mut self.totals, turn, count);
        }
        for (key, group) in other.groups {
            self.add(key, group);
        }
    }
}

fn turn(replayed: &Replayed<'_>) -> Option<Turn> {
    match (replayed.before, replayed.after.verdict) {
        (Verdict::Allow, Verdict::Deny) => Some(Turn::Refused),
        (Verdict::Deny, Verdict::Allow) => Some(Turn::Admitted),
        (Verdict::Allow, Verdict::Allow) => {
            let before: BTreeSet<&String> = replayed.obliged_before.iter().collect();
            let after = replayed.obliged_after();
            let after: BTreeSet<&String> = after.iter().collect();
            (before != after).then_some(Turn::Obliged)
        }
        (Verdict::Deny, Verdict::Deny) => None,
    }
}

fn grouped(
    turn: Turn,
    facts: &Facts,
    replayed: &Replayed<'_>,
    was: Option<String>,
) -> Option<(Key, Group)> {
    let principal = facts.principal.as_deref()?;
    let names: Vec<&str> = principal.roles().iter().map(Role::as_str).collect();
    let mut hasher = DefaultHasher::new();
    principal.id().hash(&mut hasher);
    let then = facts
        .decision
        .iter()
        .flat_map(|decision| &decision.policies);
    let policies = then.chain(&replayed.after.policies);
    let mapping = &replayed.mapping;
    let key = Key {
        turn,
        roles: names.join(", "),
        program: match principal {
            Principal::User(_) => false,
            Principal::Service(_) => true,
        },
        department: principal.department().map(str::to_owned),
        emr: facts.emr.clone().unwrap_or_default(),
        route: mapping.route.clone(),
        action: mapping.action,
        section: mapping.section.clone(),
        was,
        obligations: replayed.obliged_after(),
    };
    let group = Group {
        count: 1,
        users: HashSet::from([hasher.finish()]),
        examples: vec![facts.request.clone()],
        policies: policies.take(MOST_POLICIES).cloned().collect(),
    };
    Some((key, group))
}
