//! Looks at one value of a request for what is used to attack EMRs: SQL injection, cross-site scripting, path
//! traversal, command injection, lookup strings.
//!
//! Values in, rules out: pure, bounded by the length of the value, and quick with what cannot be an attack. The rules
//! with an example and a near miss of each are in [`rules`]; how a value is unfolded before they see it, in `views`.
//!
//! *Owns*: the compiled rules. *Never*: the value in what it says.
//! *On failure*: a rule that cannot be compiled fires at everything (a test holds that all can).

mod marks;
pub mod rules;
mod sql;
#[cfg(test)]
mod tests;
mod views;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

pub use rules::{Class, RULES, Rule};
use views::Views;

/// The compiled rules.
#[derive(Debug)]
pub struct Inspector {
    /// All rules at once: one pass over a value says whether any of them could fire.
    set: Option<RegexSet>,
    /// Rules whose matches need a second look, by position.
    second: Vec<Second>,
}

#[derive(Debug)]
struct Second {
    rule: usize,
    pattern: Option<Regex>,
    holds: fn(&[u8], &regex::bytes::Match<'_>) -> bool,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Inspector {
    /// Compiles the rules.
    #[must_use]
    pub fn new() -> Self {
        let patterns = RULES.iter().map(|rule| rule.pattern);
        let set = RegexSetBuilder::new(patterns)
            .unicode(false)
            .case_insensitive(true)
            .build();
        let second = RULES.iter().enumerate().filter_map(|(position, rule)| {
            Some(Second {
                rule: position,
                holds: rule.holds?,
                pattern: RegexBuilder::new(rule.pattern)
                    .unicode(false)
                    .case_insensitive(true)
                    .build()
                    .ok(),
            })
        });
        Self {
            set: set.ok(),
            second: second.collect(),
        }
    }

    /// Tells `say` each rule that fires at `value`, once. `scope` chooses among the classes.
    ///
    /// Clean short values cost one pass over their bytes and allocate nothing.
    pub fn look(&self, value: &[u8], scope: Scope, say: &mut dyn FnMut(&'static Rule)) {
        if !marks::could_be(value, scope) {
            return;
        }
        let mut fired = Vec::new();
        for view in Views::of(value) {
            self.look_at(&view, &mut fired);
        }
        for (rule, _) in RULES.iter().zip(&fired).filter(|(_, fired)| **fired) {
            if scope.takes(rule.class) {
                say(rule);
            }
        }
    }

    fn look_at(&self, view: &views::View<'_>, fired: &mut Vec<bool>) {
        let Some(set) = &self.set else {
            fired.resize(RULES.len(), true);
            fired.fill(true);
            return;
        };
        let bytes = view.bytes();
        if !set.is_match(bytes) {
            return;
        }
        fired.resize(RULES.len(), false);
        for position in set.matches(bytes) {
            let known = RULES.get(position).zip(fired.get_mut(position));
            if let Some((rule, fired)) = known
                && !*fired
                && view.shows(rule)
                && self.holds(position, bytes)
            {
                *fired = true;
            }
        }
    }

    fn holds(&self, position: usize, bytes: &[u8]) -> bool {
        match self.second.iter().find(|second| second.rule == position) {
            None => true,
            Some(second) => second.pattern.as_ref().is_none_or(|pattern| {
                pattern
                    .find_iter(bytes)
                    .any(|found| (second.holds)(bytes, &found))
            }),
        }
    }
}

/// What a value is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Lookup strings only: for headers, which EMRs log and do nothing else with.
    Lookups,
}

impl Scope {
    const fn takes(self, class: Class) -> bool {
        match self {
            Self::All => true,
            Self::Lookups => matches!(class, Class::Lookup),
        }
    }
}
