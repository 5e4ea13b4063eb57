//! Asks Cedar what single policies say to the situations that they tell apart, once for each, and remembers it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Effect, Entities, EntityUid, Policy, PolicySet, Request,
    RestrictedExpression,
};

use super::axes::{Axes, Value, WHO};
use super::grid::Grid;
use super::mentions::{Mentions, Part};
use crate::policy::attribute::Attributes;
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::decide::Active;
use crate::policy::question::PrincipalKind;
use crate::policy::rule::Rule;
use crate::policy::scene::{Scene, patient};
use crate::request::{Action, Role};

/// In whose name a policy is asked that names nobody.
const ANYONE: &str = "anyone";
/// Most situations of one policy.
const MOST_POINTS: usize = 1 << 16;

/// Who does what where: one cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The roles.
    pub roles: BTreeSet<Role>,
    /// The kind of principal.
    pub kind: PrincipalKind,
    /// The section.
    pub section: String,
    /// The action.
    pub action: Action,
}

impl Cell {
    pub(super) fn scene(&self) -> Scene {
        Scene {
            kind: self.kind,
            patient: Some(patient("any")),
            ..Scene::new(self.roles.clone(), self.action, &self.section)
        }
    }
}

/// What a policy says to a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Not,
    Applies,
    Failed,
}

/// What one policy says in one cell, situation by situation.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) grid: Arc<Grid>,
    pub(super) said: Arc<[Said]>,
}

impl Truth {
    /// Whether it says the same everywhere, and what.
    pub(super) fn everywhere(&self) -> Option<Said> {
        let first = self.said.first().copied()?;
        self.said.iter().all(|one| *one == first).then_some(first)
    }
}

/// A policy on the bench.
#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) rule: Rule,
    pub(super) mentions: Mentions,
    alone: Option<PolicySet>,
    grid: Arc<Grid>,
    /// What of the situation is not varied although the policy reads it.
    pub(super) unvaried: bool,
}

impl Ruled {
    pub(super) fn forbids(&self) -> bool {
        self.rule.effect() == Effect::Forbid
    }
}

/// What an answer is remembered by: as much of the cell as the policy looks at.
type Key = (
    usize,
    PrincipalKind,
    Option<BTreeSet<Role>>,
    Option<Action>,
    Option<String>,
);

/// The policies of one bundle, asked one by one.
pub(super) struct Bench<'b> {
    active: &'b Active,
    axes: Arc<Axes>,
    pub(super) rules: Vec<Ruled>,
    by_id: HashMap<String, usize>,
    authorizer: Authorizer,
    known: HashMap<Key, Truth>,
    contexts: HashMap<Arc<Grid>, Vec<Option<Context>>>,
    people: HashMap<(PrincipalKind, BTreeSet<Role>, String), Option<Entities>>,
}

/// The context of the plain question.
pub(super) fn usual_context(bundle: &Bundle) -> Context {
    let section = bundle.vocabulary().sections().first();
    let cell = Cell {
        roles: BTreeSet::new(),
        kind: PrincipalKind::User,
        section: section.cloned().unwrap_or_default(),
        action: Action::Read,
    };
    let scene = cell.scene();
    let context = scene
        .question()
        .context(bundle.vocabulary().names(), Attributes::ALL);
    context.unwrap_or_else(|_| Context::empty())
}

impl<'b> Bench<'b> {
    pub(super) fn of(active: &'b Active, mentions: Vec<Mentions>, axes: &Arc<Axes>) -> Self {
        let rules: Vec<Ruled> = active
            .bundle()
            .policies()
            .zip(mentions)
            .map(|(rule, mentions)| {
                let read = |name: &str| {
                    mentions.attributes.contains(name) || (name == WHO && mentions.names_people())
                };
                let read: Vec<usize> = axes
                    .all
                    .iter()
                    .enumerate()
                    .filter_map(|(index, axis)| read(&axis.name).then_some(index))
                    .collect();
                let whole = Grid::over(read, axes);
                let too_many = whole.len() > MOST_POINTS;
                let grid = if too_many { Grid::default() } else { whole };
                let beyond = mentions
                    .attributes
                    .iter()
                    .any(|name| axes.unvaried.contains(name));
                Ruled {
                    alone: PolicySet::from_policies([rule.policy().clone()]).ok(),
                    rule: rule.clone(),
                    grid: Arc::new(grid),
                    unvaried: too_many || beyond || mentions.whole_context,
                    mentions,
                }
            })
            .collect();
        let by_id = rules.iter().enumerate();
        Self {
            by_id: by_id
                .map(|(index, ruled)| (ruled.rule.id().to_owned(), index))
                .collect(),
            active,
            axes: Arc::clone(axes),
            rules,
            authorizer: Authorizer::new(),
            known: HashMap::new(),
            contexts: HashMap::new(),
            people: HashMap::new(),
        }
    }

    pub(super) fn compiled(&self) -> &Compiled {
        self.active.compiled()
    }

    /// The policies, by number, whose scope fits the cell as far as principal and action go.
    pub(super) fn fitting(&self, cell: &Cell) -> Vec<usize> {
        let scene = cell.scene();
        let slice = self.compiled().slice(&scene.question());
        let numbers = slice
            .rules()
            .filter_map(|rule| self.by_id.get(rule.id()).copied());
        numbers.collect()
    }

    /// What a policy says in a cell.
    pub(super) fn truth(&mut self, number: usize, cell: &Cell) -> Option<Truth> {
        let ruled = self.rules.get(number)?;
        let of = &ruled.mentions;
        let key = (
            number,
            cell.kind,
            of.looks_at(Part::Principal).then(|| cell.roles.clone()),
            of.looks_at(Part::Action).then_some(cell.action),
            of.looks_at(Part::Section).then(|| cell.section.clone()),
        );
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        let grid = Arc::clone(&ruled.grid);
        let alone = ruled.alone.clone()?;
        if !self.contexts.contains_key(&grid) {
            let made = (0..grid.len())
                .map(|point| self.context(&grid, point))
                .collect();
            self.contexts.insert(Arc::clone(&grid), made);
        }
        let mut said = Vec::with_capacity(grid.len());
        for point in 0..grid.len() {
            said.push(if grid.is_possible(&self.axes, cell.kind, point) {
                self.ask(&alone, cell, &grid, point)
            } else {
                Said::Not
            });
        }
        let truth = Truth {
            grid,
            said: said.into(),
        };
        self.known.insert(key, truth.clone());
        Some(truth)
    }

    fn ask(&mut self, alone: &PolicySet, cell: &Cell, grid: &Arc<Grid>, point: usize) -> Said {
        let who = grid
            .values(&self.axes, point)
            .find_map(|(axis, value)| match value {
                Value::Entity(uid) if axis.name == WHO => Some(uid.id().unescaped().to_owned()),
                Value::Entity(_)
                | Value::Absent
                | Value::Flag(_)
                | Value::Number(_)
                | Value::Text(_)
                | Value::Words(_) => None,
            });
        let who = who.unwrap_or_else(|| ANYONE.to_owned());
        let context = self
            .contexts
            .get(grid)
            .and_then(|all| all.get(point).cloned().flatten());
        let names = self.active.bundle().vocabulary().names();
        let request = context.and_then(|context| {
            let principal = names.principal(cell.kind, &who);
            let (action, resource) = (names.action(cell.action), names.section(&cell.section));
            Request::new(principal, action, resource, context, None).ok()
        });
        let vocabulary = self.active.bundle().vocabulary();
        let key = (cell.kind, cell.roles.clone(), who);
        let people = self
            .people
            .entry(key)
            .or_insert_with_key(|(kind, roles, who)| vocabulary.entities(*kind, who, roles).ok());
        let (Some(request), Some(entities)) = (request, people.as_ref()) else {
            return Said::Failed;
        };
        let response = self.authorizer.is_authorized(&request, alone, entities);
        if response.diagnostics().errors().next().is_some() {
            Said::Failed
        } else if response.diagnostics().reason().next().is_some() {
            Said::Applies
        } else {
            Said::Not
        }
    }

    fn context(&self, grid: &Grid, point: usize) -> Option<Context> {
        let mut pairs: BTreeMap<String, RestrictedExpression> =
            usual_context(self.active.bundle()).into_iter().collect();
        for (axis, value) in grid.values(&self.axes, point) {
            if axis.name == WHO {
                continue;
            }
            match value.expression() {
                Some(expression) => pairs.insert(axis.name.clone(), expression),
                None => pairs.remove(&axis.name),
            };
        }
        Context::from_pairs(pairs).ok()
    }
}

impl Mentions {
    /// Whether it names a person or a program, not only roles.
    pub(super) fn names_people(&self) -> bool {
        let is_one = |uid: &EntityUid| ["User", "Service"].contains(&&*uid.type_name().to_string());
        self.entities.iter().any(is_one)
    }
}

/// A policy as what it means: two that say the same differ in name and comment at most.
pub(super) fn meaning(policy: &Policy, obligations: &[String]) -> String {
    let mut form = policy.to_json().unwrap_or_default();
    if let Some(form) = form.as_object_mut() {
        form.remove("annotations");
    }
    format!("{form} {}", obligations.join(" "))
}
